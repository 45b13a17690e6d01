//! Signed node records: sealing keys and addresses, spread to everyone, newest wins.

use std::collections::HashMap;

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, MAX_RECORDS};
use qpq_schemas::record::{NodeRecord, RecordError};

use super::{Core, Effect, LinkId, Notice};

/// Records kept at most; past it the oldest is dropped.
const MAX_KNOWN: usize = 16_384;

/// Records handed to a neighbour when a link comes up.
const MAX_SENT: usize = 4_096;

/// The newest record of each node that was heard of.
#[derive(Default)]
pub struct RecordBook {
    known: HashMap<PeerId, Known>,
}

struct Known {
    record: NodeRecord,
    wire: Bytes,
}

impl RecordBook {
    /// The newest record of that node.
    pub fn get(&self, peer: &PeerId) -> Option<&NodeRecord> {
        self.known.get(peer).map(|known| &known.record)
    }

    /// How many nodes have a record here.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no record is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn lacks(&self, peer: &PeerId, seq_ms: u64) -> bool {
        self.get(peer).is_none_or(|known| known.seq_ms < seq_ms)
    }

    fn insert(&mut self, record: NodeRecord, wire: Bytes) {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&record.peer) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.record.seq_ms).map(|(peer, _)| *peer);
            oldest.map(|peer| self.known.remove(&peer));
        }
        self.known.insert(record.peer, Known { record, wire });
    }
}

impl Core {
    /// Takes back a record that was kept over a restart.
    pub fn restore_record(&mut self, wire: Bytes, now_ms: u64) {
        if let Ok(record) = read(&wire, now_ms) {
            self.records.insert(record, wire);
        }
    }

    pub(super) fn own_record(&mut self, wire: &Bytes, now_ms: u64) {
        if let Ok(record) = read(wire, now_ms) {
            self.records.insert(record, wire.clone());
            self.pass_on(None, wire);
        }
    }

    pub(super) fn send_all_records(&mut self, link: LinkId) {
        let mut newest: Vec<_> = self.records.known.values().collect();
        newest.sort_by_key(|known| (known.record.peer != self.config.me, std::cmp::Reverse(known.record.seq_ms)));
        let wires: Vec<_> = newest.iter().take(MAX_SENT).map(|known| known.wire.clone()).collect();
        for chunk in wires.chunks(MAX_RECORDS) {
            self.effects.push(Effect::Send { link, frame: Frame::Records(chunk.to_vec()) });
        }
    }

    pub(super) fn peer_records(&mut self, link: LinkId, wires: Vec<Bytes>, now_ms: u64) {
        for wire in wires {
            match NodeRecord::peek(&wire) {
                Some((peer, _)) if peer == self.config.me => self.count("record-own"),
                Some((peer, seq_ms)) if !self.records.lacks(&peer, seq_ms) => self.count("record-old"),
                _ => self.peer_record(link, &wire, now_ms),
            }
        }
    }

    fn peer_record(&mut self, link: LinkId, wire: &Bytes, now_ms: u64) {
        let Ok(record) = read(wire, now_ms) else {
            self.count("record-refused");
            return self.bad_signature(link);
        };
        let peer = record.peer;
        if self.blocked.contains(&peer) {
            return self.count("record-blocked");
        }
        let wire = Bytes::copy_from_slice(wire); // the frame it came in is larger and shall not stay for it
        self.records.insert(record, wire.clone());
        self.count("record-new");
        self.pass_on(Some(link), &wire);
        self.with_router(now_ms, |router, out| router.seen(now_ms, peer, link, 0, out));
        self.effects.push(Effect::Notice(Notice::Record { peer, wire }));
    }

    fn pass_on(&mut self, from: Option<LinkId>, wire: &Bytes) {
        for link in self.links.keys().filter(|link| Some(**link) != from) {
            self.effects.push(Effect::Send { link: *link, frame: Frame::Records(vec![wire.clone()]) });
        }
    }
}

fn read(wire: &[u8], now_ms: u64) -> Result<NodeRecord, RecordError> {
    let record = NodeRecord::verify(wire)?;
    record.check_times(now_ms)?;
    Ok(record)
}
