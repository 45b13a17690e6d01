//! The formats of `identity.json` and `sealing.json`: strict when read, so that nothing is lost when written again.

mod secret;

use std::collections::BTreeMap;
use std::path::Path;

use qpq_schemas::PeerId;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::directory::{MAX_PEERS, Peer, Sighting};
use super::{Identity, IdentityError};
use crate::api::Trust;

pub(super) use secret::{Secret, Seed};

/// The largest identity file that is read, in bytes: [`MAX_PEERS`] entries at their longest, and room to spare.
pub(super) const MAX_IDENTITY_FILE: u64 = 4096 * MAX_PEERS as u64;

/// The format of `identity.json`.
const IDENTITY_SCHEMA: &str = "qpq.identity/1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    schema: String,
    peer_id: PeerId,
    secret_seed: Seed,
    #[serde(default)]
    peers: Vec<PeerEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerEntry {
    peer_id: PeerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    named_by_admin: bool,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen_ms: Option<u64>,
    #[serde(default)]
    trust: Trust,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Reads the content of an identity file.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(Identity, BTreeMap<PeerId, Peer>), IdentityError> {
    let file: IdentityFile = parse(path, bytes, IDENTITY_SCHEMA)?;
    let identity = Identity::from_seed(file.secret_seed.bytes());
    if identity.peer_id() != file.peer_id {
        return Err(IdentityError::KeyMismatch { path: path.to_owned() });
    }
    let peers = file.peers.into_iter().map(|entry| (entry.peer_id, entry.into_peer())).collect();
    Ok((identity, peers))
}

/// The content of an identity file.
pub(super) fn write(identity: &Identity, peers: &BTreeMap<PeerId, Peer>) -> Secret {
    Secret::json(&IdentityFile {
        schema: IDENTITY_SCHEMA.to_owned(),
        peer_id: identity.peer_id(),
        secret_seed: Seed::new(&identity.seed()),
        peers: peers.iter().map(|(id, peer)| PeerEntry::new(*id, peer)).collect(),
    })
}

impl PeerEntry {
    fn new(peer_id: PeerId, peer: &Peer) -> Self {
        let Peer { nickname, named_by_admin, addresses, domain, last_seen_ms, trust } = peer.clone();
        Self { peer_id, nickname, named_by_admin, addresses, domain, last_seen_ms, trust }
    }

    /// The entry, cleaned as if its peer had just told it: people edit files.
    fn into_peer(self) -> Peer {
        let mut peer = Peer { trust: self.trust, ..Peer::default() };
        peer.take_in(&Sighting {
            nickname: self.nickname,
            domain: self.domain,
            addresses: self.addresses,
            seen_ms: self.last_seen_ms,
        });
        peer.named_by_admin = self.named_by_admin && peer.nickname.is_some();
        peer
    }
}

/// Reads strict JSON of that schema. The errors never quote the file, since any part of it may be the secret.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    path: &Path,
    bytes: &'a [u8],
    schema: &'static str,
) -> Result<T, IdentityError> {
    /// What every version of a file has.
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        schema: Option<std::borrow::Cow<'a, str>>,
    }
    let corrupt = |error: &serde_json::Error| IdentityError::Corrupt {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: reason(error),
    };
    let head: Head<'_> = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    if head.schema.as_deref().is_some_and(|found| found != schema) {
        return Err(IdentityError::Schema { path: path.to_owned(), expected: schema });
    }
    serde_json::from_slice(bytes).map_err(|error| corrupt(&error))
}

/// What a JSON error says, as far as it can't quote the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    // The texts of syntax errors are fixed; those of data errors quote values, but for these.
    let fixed = ["missing field", "duplicate field", "expected 64 hexadecimal digits"];
    match error.classify() {
        Category::Eof => format!("the file ends too early ({text})"),
        Category::Syntax => format!("this is not JSON ({text})"),
        Category::Data if fixed.iter().any(|start| text.starts_with(start)) => text.to_owned(),
        Category::Data if text.starts_with("unknown field") => "a field that this version does not know".to_owned(),
        Category::Data | Category::Io => "a value of the wrong kind".to_owned(),
    }
}
