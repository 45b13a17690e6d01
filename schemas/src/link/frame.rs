use bytes::Bytes;

use super::{Answer, Fragment, Hello, Reconcile, Resolve, Tree};
use crate::{MessageId, TopicId};

/// The type bytes. 0 is never used; up to 127 a frame must be understood, from 128 on an unknown one is skipped.
pub(super) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const AUTH: u8 = 2;
    pub(crate) const ENVELOPES: u8 = 3;
    pub(crate) const CUSTODY: u8 = 4;
    pub(crate) const SUBSCRIPTIONS: u8 = 5;
    pub(crate) const ROUTE: u8 = 6;
    pub(crate) const SYNC: u8 = 7;
    pub(crate) const RECORDS: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
    pub(crate) const CLOSE: u8 = 11;
    pub(crate) const FRAGMENT: u8 = 12;
    /// The first type that may be skipped.
    pub(crate) const RESOLVE: u8 = 128;
    pub(crate) const MOVING: u8 = 129;
    pub(crate) const TREE: u8 = 130;
    pub(crate) const RECONCILE: u8 = 131;
    /// The first optional type that this version doesn't know.
    pub(crate) const FIRST_UNKNOWN: u8 = 132;
}

/// One frame of a link. Byte strings share the memory of the block that they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Who I am.
    Hello(Hello),
    /// Proof of it: see [`super::auth_message`].
    Auth([u8; 64]),
    /// Envelopes in wire form, none of them parsed yet: each can be refused alone.
    Envelopes(Vec<Bytes>),
    /// What became of envelopes that were offered.
    Custody(Vec<Answer>),
    /// Which topics I want.
    Subscriptions(SubscriptionChange, Vec<TopicId>),
    /// From routing plugin to routing plugin, opaque to the host.
    Route(Bytes),
    /// For late joiners.
    Sync(Sync),
    /// Signed node records, not verified yet.
    Records(Vec<Bytes>),
    /// Asks for a PONG with the same number.
    Ping(u64),
    /// Answers a PING.
    Pong(u64),
    /// The last frame: I close the link, and why.
    Close(Close),
    /// A piece of a larger block.
    Fragment(Fragment),
    /// Who lives in which domain. Optional: an older node skips it.
    Resolve(Resolve),
    /// My transport is being replaced. Whoever dialled this link may dial the same host at this port now (never 0), and close
    /// this link once the new one is up. Optional: an older node skips it.
    Moving(u16),
    /// Announcements of broadcasts, and the shape of the tree that they go along.
    Tree(Tree),
    /// Which broadcasts the other lacks.
    Reconcile(Reconcile),
    /// An optional frame of a type that this version doesn't know. Skip it.
    Optional(u8, Bytes),
}

/// What a SUBSCRIPTIONS frame does to the topics that the neighbour is known to want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SubscriptionChange {
    /// These and no others.
    Set = 0,
    /// These as well.
    Add = 1,
    /// These no longer.
    Remove = 2,
}

impl SubscriptionChange {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Set),
            1 => Some(Self::Add),
            2 => Some(Self::Remove),
            _ => None,
        }
    }
}

/// Comparing notes, so that a late joiner gets what it missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    /// I hold these.
    Have(Vec<MessageId>),
    /// Send me these.
    Want(Vec<MessageId>),
}

/// Why a link is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// For programs.
    pub code: CloseCode,
    /// For people. Control characters were replaced by `?` when it was read.
    pub reason: String,
}

/// Why a link is closed, for programs. Unknown numbers are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The node stops, or the admin closed the link.
    pub const GOING_AWAY: Self = Self(0);
    /// Bytes that are no frame, or a frame that has no place there.
    pub const PROTOCOL: Self = Self(1);
    /// No version of the link protocol in common.
    pub const VERSION: Self = Self(2);
    /// AUTH doesn't fit.
    pub const AUTH_FAILED: Self = Self(3);
    /// The peer is blocked here.
    pub const BLOCKED: Self = Self(4);
    /// The peer is this node itself.
    pub const SELF: Self = Self(5);
    /// Another link to the same peer is used instead.
    pub const DUPLICATE: Self = Self(6);
    /// The handshake or an answer took too long.
    pub const TIMEOUT: Self = Self(7);
    /// A limit of this node was exceeded.
    pub const LIMIT: Self = Self(8);
    /// Another key than the one that was dialled, or that the transport has proven.
    pub const WRONG_PEER: Self = Self(9);
    /// The transport is replaced and will be back at once: dial again without waiting.
    pub const RESTARTING: Self = Self(10);
}
