//! One message in the index, its names replaced by numbers.

use qpq_schemas::envelope::{Kind, Priority};
use qpq_schemas::link::Place;
use qpq_schemas::{MessageId, PeerId};

use super::history::Kept;
use super::names::{NameId, Names};
use super::queues::Item;
use crate::store::{Head, Places};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) seq: u64,
    pub(super) created_ms: u64,
    pub(super) received_ms: u64,
    pub(super) expires_ms: u64,
    /// Rank in the recipient's queue, while it waits.
    pub(super) rank: u64,
    pub(super) sender: NameId,
    pub(super) destination: NameId,
    source: NameId,
    pub(super) len: u32,
    pub(super) kind: Kind,
    pub(super) priority: Priority,
    hop_count: u8,
    max_hops: u8,
    pub(super) places: Places,
    has_source: bool,
    /// Not durable yet: counted, but shown to nobody.
    pub(super) pending: bool,
    /// It stands in files, too, or will once it is durable.
    pub(super) filed: bool,
    /// Its sender's part of the queue stays in memory for it.
    pub(super) holds_lane: bool,
}

impl Entry {
    pub(super) fn new(head: &Head, names: &mut Names, pending: bool) -> Self {
        Self {
            id: head.id,
            seq: head.seq,
            created_ms: head.created_ms,
            received_ms: head.received_ms,
            expires_ms: head.expires_ms,
            rank: 0,
            sender: names.acquire(&head.sender.0),
            destination: names.acquire(&head.destination),
            source: head.source.map_or(0, |peer| names.acquire(&peer.0)),
            len: head.wire_len,
            kind: head.kind,
            priority: head.priority,
            hop_count: head.hop_count,
            max_hops: head.max_hops,
            places: head.places,
            has_source: head.source.is_some(),
            pending,
            filed: false,
            holds_lane: false,
        }
    }

    /// Lets go of the names. Afterwards the entry is of no use.
    pub(super) fn release(&self, names: &mut Names) {
        names.release(self.sender);
        names.release(self.destination);
        self.release_source(names);
    }

    /// Lets go of the source's name only: the others are kept for a message that turns cold.
    pub(super) fn release_source(&self, names: &mut Names) {
        if self.has_source {
            names.release(self.source);
        }
    }

    /// Whether a neighbour or a file brought it; else it was handed in here.
    pub(super) fn has_source(&self) -> bool {
        self.has_source
    }

    pub(super) fn source(&self, names: &Names) -> Option<PeerId> {
        self.has_source.then(|| PeerId(names.key(self.source)))
    }

    pub(super) fn head(&self, names: &Names) -> Head {
        Head {
            seq: self.seq,
            id: self.id,
            kind: self.kind,
            priority: self.priority,
            hop_count: self.hop_count,
            max_hops: self.max_hops,
            places: self.places,
            sender: PeerId(names.key(self.sender)),
            destination: names.key(self.destination),
            wire_len: self.len,
            created_ms: self.created_ms,
            received_ms: self.received_ms,
            expires_ms: self.expires_ms,
            source: self.source(names),
        }
    }

    pub(super) fn kept(&self, slot: u32) -> Kept {
        Kept {
            topic: self.destination,
            priority: self.priority as u8,
            created_ms: self.created_ms,
            seq: self.seq,
            len: self.len,
            slot,
            shared: (!self.pending && self.hop_count < self.max_hops).then(|| Place::of(self.created_ms, &self.id)),
        }
    }

    pub(super) fn item(&self, slot: u32) -> Item {
        let Self { sender, priority, len, received_ms, seq, .. } = *self;
        Item { recipient: self.destination, sender, priority, len, received_ms, seq, slot }
    }
}
