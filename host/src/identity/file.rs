//! The format of `identity.json`.

use std::collections::BTreeMap;
use std::path::Path;

use qpq_schemas::PeerId;
use serde::{Deserialize, Serialize};

use super::directory::{MAX_PEERS, Peer, Sighting};
use super::private_json::{Secret, Seed, parse};
use super::{Identity, IdentityError};
use crate::api::Trust;

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
