//! From what a person types to a key.

use std::fmt;

use qpq_schemas::PeerId;

use super::Directory;
use crate::identity::nickname::{self, MIN_PREFIX};

/// The most candidates that an ambiguous name is answered with.
const MAX_CANDIDATES: usize = 8;

/// Why a text does not name one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// Nobody in the directory is called so.
    Unknown,
    /// Several are; the first few of them.
    Ambiguous(Vec<PeerId>),
    /// Hexadecimal digits, but too few to name a key.
    TooShort,
}

impl ResolveError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-peer",
            Self::Ambiguous(_) => "ambiguous-peer",
            Self::TooShort => "short-peer",
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such peer in the directory; give its key of 64 hexadecimal digits"),
            Self::TooShort => write!(f, "give at least {MIN_PREFIX} digits of the key"),
            Self::Ambiguous(candidates) => {
                f.write_str("that could be ")?;
                for (i, peer) in candidates.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { " or " }, peer)?;
                }
                f.write_str("; give more digits of the key")
            }
        }
    }
}

impl std::error::Error for ResolveError {}

impl Directory {
    /// The peer that a person means: by all 64 digits of its key, by a beginning of at least [`MIN_PREFIX`] digits that
    /// only one peer has, or by a nickname that only one peer has.
    ///
    /// A nickname that the admin gave goes before those that peers gave themselves.
    pub fn resolve(&self, text: &str) -> Result<PeerId, ResolveError> {
        let text = text.trim();
        if let Ok(peer) = text.parse() {
            return Ok(peer);
        }
        if nickname::is_key_like(text) {
            return one(self.with_prefix(&text.to_ascii_lowercase()));
        }
        if let Some(peer) = self.given_by_admin(text) {
            return Ok(peer);
        }
        let folded = nickname::folded(text);
        let named = |(id, peer): (&PeerId, &super::Peer)| {
            peer.nickname.as_deref().is_some_and(|name| nickname::folded(name) == folded).then_some(*id)
        };
        match one(self.peers.iter().filter_map(named)) {
            Err(ResolveError::Unknown) if is_short_key(text) => Err(ResolveError::TooShort),
            result => result,
        }
    }

    /// The peer to whom the admin gave that nickname.
    pub(super) fn given_by_admin(&self, name: &str) -> Option<PeerId> {
        let folded = nickname::folded(name);
        let is_it = |peer: &super::Peer| {
            peer.named_by_admin && peer.nickname.as_deref().map(nickname::folded) == Some(folded.clone())
        };
        self.peers.iter().find(|(_, peer)| is_it(peer)).map(|(id, _)| *id)
    }

    /// The peers whose key begins with those (lower-case) digits, this node among them.
    fn with_prefix<'a>(&'a self, digits: &'a str) -> impl Iterator<Item = PeerId> + 'a {
        let own = self.own.peer_id();
        let least = PeerId(first_key(digits));
        let in_order =
            self.peers.range(least..).map(|(id, _)| *id).take_while(move |id| id.to_string().starts_with(digits));
        in_order.chain(Some(own).filter(|own| own.to_string().starts_with(digits)))
    }
}

/// The one peer of an iterator.
fn one(mut peers: impl Iterator<Item = PeerId>) -> Result<PeerId, ResolveError> {
    let first = peers.next().ok_or(ResolveError::Unknown)?;
    match peers.next() {
        None => Ok(first),
        Some(second) => {
            Err(ResolveError::Ambiguous([first, second].into_iter().chain(peers).take(MAX_CANDIDATES).collect()))
        }
    }
}

fn is_short_key(text: &str) -> bool {
    !text.is_empty() && text.len() < MIN_PREFIX && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The smallest key that begins with those digits.
fn first_key(digits: &str) -> [u8; 32] {
    let padded = format!("{digits:0<64}");
    padded.parse::<PeerId>().map_or([0; 32], |id| id.0)
}
