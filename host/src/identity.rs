//! Who this node is, and whom it knows.
//!
//! `identity.json` in the data directory holds the key pair and the peer directory, `sealing.json` the keys that direct
//! messages are sealed to. Both are private from their first byte: made with mode 0600 whatever the umask, refused when
//! anybody else can read or write them, when they belong to another user or are symbolic links, replaced in one step,
//! and never overwritten when damaged.

mod directory;
mod error;
mod file;
mod fingerprint;
mod keyring;
mod nickname;
mod own_record;
pub(crate) mod private_file;
pub(crate) mod private_json;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use qpq_schemas::PeerId;
use qpq_schemas::signature::SigningKey;
use rand::CryptoRng;
use zeroize::Zeroizing;

pub(crate) use directory::is_domain;
pub use directory::{
    BlocksError, Directory, DirectoryError, Imported, MAX_ADDRESS, MAX_ADDRESSES, MAX_DOMAIN, MAX_PEERS, Peer, PeerSet,
    PendingSave, ResolveError, Sighting,
};
pub use error::IdentityError;
pub use fingerprint::fingerprint;
pub use keyring::{KEEP_MS, MAX_KEYS, RECORD_LIFETIME_MS, ROTATE_MS, SEALING_FILE, SealingKeys};
pub use nickname::{MAX_NICKNAME, MIN_PREFIX, sanitise as sanitise_nickname};
pub use own_record::{About, seal_for};

/// The key file's name in the data directory.
pub const IDENTITY_FILE: &str = "identity.json";

/// This node's key pair. Its secret is wiped when dropped and never shown.
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// A new key pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::from_seed(&seed)
    }

    /// The key pair of that secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_seed(seed) }
    }

    /// The public key, which is the node's address.
    pub fn peer_id(&self) -> PeerId {
        self.key.public()
    }

    /// The key that signs envelopes, records and links.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The secret, for transports that authenticate with the same key.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.key.seed()
    }

    /// The public key's [`fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.peer_id())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id().short())
    }
}

/// Reads the identity and the directory of that data directory, or makes them on the first start.
///
/// Must be called with the data directory locked: two that save at once would each forget what the other noted.
pub fn open(data_directory: &Path, rng: &mut impl CryptoRng) -> Result<(Arc<Identity>, Directory), IdentityError> {
    let path = data_directory.join(IDENTITY_FILE);
    private_file::sweep(&path);
    let (identity, peers) = match private_file::read(&path, file::MAX_IDENTITY_FILE)? {
        Some(bytes) => file::read(&path, &bytes)?,
        None => first_start(&path, rng)?,
    };
    let identity = Arc::new(identity);
    Ok((Arc::clone(&identity), Directory::new(path, identity, peers)))
}

fn first_start(path: &Path, rng: &mut impl CryptoRng) -> Result<(Identity, BTreeMap<PeerId, Peer>), IdentityError> {
    let identity = Identity::generate(rng);
    let peers = BTreeMap::new();
    match private_file::create(path, file::write(&identity, &peers).as_bytes())? {
        private_file::Created::Yes => Ok((identity, peers)),
        // Somebody was faster; theirs is the identity then.
        private_file::Created::AlreadyThere => match private_file::read(path, file::MAX_IDENTITY_FILE)? {
            Some(bytes) => file::read(path, &bytes),
            None => Err(IdentityError::NotAFile { path: path.to_owned() }),
        },
    }
}

#[cfg(test)]
mod tests;
