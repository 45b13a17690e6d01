//! Broadcasts along a tree: announcements to those who get no copy unasked, and the words that change the tree.

use super::frame::kind;
use super::{FrameError, MAX_ANNOUNCED};
use crate::MessageId;

/// Bytes of one announcement: id and hop count.
const ANNOUNCED_LEN: usize = 33;
const ID_LEN: usize = 32;

/// What neighbours say about the tree that broadcasts go along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// I hold these, and send them to you when you ask.
    Announce(Vec<Announced>),
    /// Send me these, and from now on everything at once.
    Graft(Vec<MessageId>),
    /// Send me nothing unasked, only announcements.
    Prune,
}

/// A broadcast that a neighbour holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Which one.
    pub id: MessageId,
    /// Links that it has crossed on its way to the one who announces it. Signed by nobody.
    pub hops: u8,
}

impl Tree {
    pub(super) const MAX_BODY: usize = 1 + MAX_ANNOUNCED * ANNOUNCED_LEN;

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Announce(list) => {
                out.push(0);
                for announced in list {
                    out.extend_from_slice(&announced.id.0);
                    out.push(announced.hops);
                }
            }
            Self::Graft(ids) => {
                out.push(1);
                ids.iter().for_each(|id| out.extend_from_slice(&id.0));
            }
            Self::Prune => out.push(2),
        }
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        let count = match self {
            Self::Announce(list) => list.len(),
            Self::Graft(ids) => ids.len(),
            Self::Prune => 0,
        };
        match count > MAX_ANNOUNCED {
            true => Err(FrameError::TooMany { kind: kind::TREE, max: MAX_ANNOUNCED }),
            false => Ok(()),
        }
    }

    pub(super) fn read(body: &[u8]) -> Result<Self, FrameError> {
        let tree = match body.split_first() {
            None => return Err(FrameError::Truncated),
            Some((0, list)) => Self::Announce(read_list(list, |[id @ .., hops]: &[u8; ANNOUNCED_LEN]| Announced {
                id: MessageId(*id),
                hops: *hops,
            })?),
            Some((1, ids)) => Self::Graft(read_list(ids, |id: &[u8; ID_LEN]| MessageId(*id))?),
            Some((2, [])) => Self::Prune,
            Some((2, _)) => return Err(malformed("length")),
            Some(_) => return Err(malformed("form")),
        };
        tree.check().map(|()| tree)
    }
}

fn malformed(what: &'static str) -> FrameError {
    FrameError::Malformed { kind: kind::TREE, what }
}

fn read_list<const N: usize, T>(bytes: &[u8], read: impl Fn(&[u8; N]) -> T) -> Result<Vec<T>, FrameError> {
    match bytes.as_chunks::<N>() {
        (items, []) => Ok(items.iter().map(read).collect()),
        _ => Err(malformed("length")),
    }
}
