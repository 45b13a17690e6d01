//! The peers that this node knows: names, addresses, trust.

mod blocks;
mod peer;
mod resolve;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use qpq_schemas::PeerId;

use super::private_json::Secret;
use super::{Identity, IdentityError, file, nickname, private_file};
use crate::api::Trust;

pub use blocks::{BlocksError, Imported};
pub(super) use peer::is_address;
pub(crate) use peer::is_domain;
pub use peer::{MAX_ADDRESS, MAX_ADDRESSES, MAX_DOMAIN, Peer, Sighting};
pub use resolve::ResolveError;

/// The most peers in the directory: about 3 MB of file. More are met with by forgetting those not seen for longest.
pub const MAX_PEERS: usize = 10_000;

/// How many are forgotten at once when the directory is full, so that a flood of new keys doesn't sort it each time.
const EVICTED_AT_ONCE: usize = MAX_PEERS / 16;

/// The peers that this node knows, with the key file that keeps them.
///
/// Changes stay in memory until [`Directory::save`]; whoever holds the directory decides how often that is.
pub struct Directory {
    path: PathBuf,
    own: Arc<Identity>,
    peers: BTreeMap<PeerId, Peer>,
    blocked: PeerSet,
    trusted: PeerSet,
    dirty: bool,
}

impl Directory {
    /// The directory as it was read from that file.
    pub(super) fn new(path: PathBuf, own: Arc<Identity>, peers: BTreeMap<PeerId, Peer>) -> Self {
        let mut directory =
            Self { path, own, peers, blocked: PeerSet::default(), trusted: PeerSet::default(), dirty: false };
        directory.peers.remove(&directory.own.peer_id());
        while directory.peers.len() > MAX_PEERS && directory.forget_the_oldest() > 0 {}
        directory.peers.iter().for_each(|(id, peer)| directory.enlist(*id, peer.trust));
        directory
    }

    /// An empty directory that is never saved, for tests and simulators.
    pub fn in_memory(own: Arc<Identity>) -> Self {
        Self::new(PathBuf::new(), own, BTreeMap::new())
    }

    /// All peers, by key.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&PeerId, &Peer)> {
        self.peers.iter()
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is known yet.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// What is known of a peer.
    pub fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.peers.get(peer)
    }

    /// How far a peer is trusted; whoever is not in the directory is merely known.
    pub fn trust(&self, peer: &PeerId) -> Trust {
        self.get(peer).map_or(Trust::Known, |p| p.trust)
    }

    /// The peer's nickname.
    pub fn name_of(&self, peer: &PeerId) -> Option<&str> {
        self.get(peer).and_then(|p| p.nickname.as_deref())
    }

    /// The blocked peers, as a view that links and other threads may keep.
    pub fn blocked(&self) -> PeerSet {
        self.blocked.clone()
    }

    /// The blocked and the trusted peers, as such views.
    pub fn judged(&self) -> (PeerSet, PeerSet) {
        (self.blocked.clone(), self.trusted.clone())
    }

    /// Notes what was heard of a peer. A nickname that the admin gave stays; everything is cleaned and cut to its limits.
    pub fn upsert(&mut self, peer: PeerId, sighting: &Sighting) -> Result<(), DirectoryError> {
        self.edit(peer, |entry| entry.take_in(sighting))
    }

    /// Notes that a peer was linked or heard of now. Does nothing for a peer that isn't in the directory.
    pub fn note_seen(&mut self, peer: &PeerId, now_ms: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            self.dirty |= entry.see(now_ms);
        }
    }

    /// Notes an address (a transport URI) of a peer; the newest come first.
    pub fn note_address(&mut self, peer: PeerId, address: &str) -> Result<(), DirectoryError> {
        if !is_address(address) {
            return Err(DirectoryError::BadAddress);
        }
        self.edit(peer, |entry| entry.note_address(address))
    }

    /// Sets how far a peer is trusted, adding it where it is new.
    pub fn set_trust(&mut self, peer: PeerId, trust: Trust) -> Result<(), DirectoryError> {
        self.edit(peer, |entry| std::mem::replace(&mut entry.trust, trust) != trust)?;
        self.enlist(peer, trust);
        Ok(())
    }

    fn enlist(&self, peer: PeerId, trust: Trust) {
        self.blocked.set(peer, trust == Trust::Blocked);
        self.trusted.set(peer, trust == Trust::Trusted);
    }

    /// Gives a peer the admin's own nickname for it, which nothing that the peer says replaces; `None` takes it back.
    pub fn set_nickname(&mut self, peer: PeerId, name: Option<&str>) -> Result<(), DirectoryError> {
        let name = match name {
            None => None,
            Some(raw) => Some(nickname::sanitise(raw).filter(|clean| clean == raw).ok_or(DirectoryError::BadNickname)?),
        };
        if let Some(other) = name.as_deref().and_then(|name| self.given_by_admin(name)).filter(|other| *other != peer) {
            return Err(DirectoryError::NicknameTaken(other));
        }
        self.edit(peer, |entry| entry.name_by_admin(name))
    }

    /// Forgets a peer, its trust included.
    pub fn forget(&mut self, peer: &PeerId) -> bool {
        let known = self.peers.remove(peer).is_some();
        self.enlist(*peer, Trust::Known);
        self.dirty |= known;
        known
    }

    /// Whether there is something to save.
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Writes the key file, if anything changed. Blocks on the disk for some milliseconds.
    pub fn save(&mut self) -> Result<(), IdentityError> {
        let Some(save) = self.take_save() else { return Ok(()) };
        save.write().inspect_err(|_| self.dirty = true)
    }

    /// What [`save`](Self::save) would write, to be written on another thread; `None` if nothing changed.
    /// When that fails, [`mark_dirty`](Self::mark_dirty) has it tried again. Only one may be under way.
    pub fn take_save(&mut self) -> Option<PendingSave> {
        if !std::mem::take(&mut self.dirty) || self.path.as_os_str().is_empty() {
            return None;
        }
        Some(PendingSave { path: self.path.clone(), content: file::write(&self.own, &self.peers) })
    }

    /// Has the next save write the file even if nothing changes until then.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Changes an entry, made if it is new; the change tells whether it was one.
    fn edit(&mut self, peer: PeerId, change: impl FnOnce(&mut Peer) -> bool) -> Result<(), DirectoryError> {
        if peer == self.own.peer_id() {
            return Err(DirectoryError::Ourselves);
        }
        let new = !self.peers.contains_key(&peer);
        if new && self.peers.len() >= MAX_PEERS && self.forget_the_oldest() == 0 {
            return Err(DirectoryError::Full);
        }
        let changed = change(self.peers.entry(peer).or_default());
        self.dirty |= changed || new;
        Ok(())
    }

    /// Makes room by forgetting peers that were not seen for longest; never one that the admin has an opinion on.
    fn forget_the_oldest(&mut self) -> usize {
        let replaceable = self.peers.iter().filter(|(_, peer)| peer.is_replaceable());
        let mut oldest: Vec<_> = replaceable.map(|(id, peer)| (peer.last_seen_ms, *id)).collect();
        if oldest.len() > EVICTED_AT_ONCE {
            oldest.select_nth_unstable(EVICTED_AT_ONCE);
            oldest.truncate(EVICTED_AT_ONCE);
        }
        oldest.iter().for_each(|(_, id)| drop(self.peers.remove(id)));
        oldest.len()
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("path", &self.path).field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

/// A key file's next content. Holds the secret, so it shows nothing and is wiped when dropped.
pub struct PendingSave {
    path: PathBuf,
    content: Secret,
}

impl PendingSave {
    /// Writes it: temporary file, sync, rename, sync of the directory.
    pub fn write(self) -> Result<(), IdentityError> {
        private_file::replace(&self.path, self.content.as_bytes())
    }
}

impl fmt::Debug for PendingSave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSave").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Peers that the directory counts among some kind. Clones share one set, which the directory keeps up to date.
#[derive(Debug, Clone, Default)]
pub struct PeerSet(Arc<RwLock<HashSet<PeerId>>>);

impl PeerSet {
    /// Whether that peer is among them.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    fn set(&self, peer: PeerId, member: bool) {
        let mut peers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if member {
            peers.insert(peer)
        } else {
            peers.remove(&peer)
        };
    }
}

/// Why the directory did not take something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryError {
    /// The key is this node's own.
    Ourselves,
    /// Every place is taken by a peer that the admin has an opinion on.
    Full,
    /// The nickname is empty, too long, looks like a key, or has characters that can't be shown.
    BadNickname,
    /// The admin gave that nickname to this other peer.
    NicknameTaken(PeerId),
    /// The address is no transport URI.
    BadAddress,
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ourselves => f.write_str("that is this node's own key"),
            Self::Full => {
                write!(f, "the directory holds {MAX_PEERS} trusted, blocked or named peers; forget some first")
            }
            Self::BadNickname => write!(
                f,
                "a nickname has 1 to {} bytes, no control or invisible characters, and is not just hexadecimal digits",
                nickname::MAX_NICKNAME
            ),
            Self::NicknameTaken(peer) => write!(f, "that nickname belongs to {peer} already"),
            Self::BadAddress => f.write_str("an address looks like quic://host:port"),
        }
    }
}

impl std::error::Error for DirectoryError {}

#[cfg(test)]
mod tests;
