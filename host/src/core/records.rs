//! Signed node records: sealing keys and addresses, spread to everyone, newest wins.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, MAX_RECORDS};
use qpq_schemas::record::{NodeRecord, RecordError};

use super::{Core, Effect, LinkId, Notice};

/// Records kept at most; past it the oldest is dropped.
const MAX_KNOWN: usize = 16_384;

/// How many are dropped at once when the book is full, so that a flood of new keys doesn't search it each time.
const EVICTED_AT_ONCE: usize = MAX_KNOWN / 16;

/// How often records that have expired are dropped, in milliseconds.
const EXPIRE_EVERY_MS: u64 = 60_000;

/// Once another holder of our key was noticed, no more is said of it for this time, in milliseconds.
const TWIN_QUIET_MS: u64 = 600_000;

/// Records handed to a neighbour when a link comes up.
const MAX_SENT: usize = 4_096;

/// The newest record of each node that was heard of.
#[derive(Default)]
pub struct RecordBook {
    known: HashMap<PeerId, Known>,
    /// Peers whose records are not dropped for others'.
    favoured: HashSet<PeerId>,
    next_expiry_ms: u64,
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

    /// The newest record of that node, as it was signed.
    pub fn wire(&self, peer: &PeerId) -> Option<Bytes> {
        self.known.get(peer).map(|known| known.wire.clone())
    }

    /// How many nodes have a record here.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no record is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// An empty book in which that peer's record, the node's own, never makes room.
    pub(super) fn keeping(me: PeerId) -> Self {
        Self { favoured: HashSet::from([me]), ..Self::default() }
    }

    fn lacks(&self, peer: &PeerId, seq_ms: u64) -> bool {
        self.get(peer).is_none_or(|known| known.seq_ms < seq_ms)
    }

    /// Takes a record in; returns whose records had to make room, oldest first.
    fn insert(&mut self, record: NodeRecord, wire: Bytes) -> Vec<PeerId> {
        let full = self.known.len() >= MAX_KNOWN && !self.known.contains_key(&record.peer);
        let gone = if full { self.make_room() } else { Vec::new() };
        self.known.insert(record.peer, Known { record, wire });
        gone
    }

    fn make_room(&mut self) -> Vec<PeerId> {
        let others = self.known.iter().filter(|(peer, _)| !self.favoured.contains(*peer));
        let mut oldest: Vec<_> = others.map(|(peer, known)| (known.record.seq_ms, *peer)).collect();
        oldest.sort_unstable();
        oldest.truncate(EVICTED_AT_ONCE);
        oldest.iter().for_each(|(_, peer)| drop(self.known.remove(peer)));
        oldest.into_iter().map(|(_, peer)| peer).collect()
    }

    pub(super) fn favour(&mut self, peer: PeerId, favoured: bool) {
        if favoured {
            self.favoured.insert(peer)
        } else {
            self.favoured.remove(&peer)
        };
    }

    /// Drops what no longer counts, and returns whose records that were.
    fn expire(&mut self, now_ms: u64) -> Vec<PeerId> {
        let over = self.known.extract_if(|_, known| known.record.expires_ms <= now_ms);
        let mut peers: Vec<PeerId> = over.map(|(peer, _)| peer).collect();
        peers.sort_unstable();
        peers
    }
}

impl Core {
    /// Takes back a record that was kept over a restart; false if it no longer counts, or there are too many.
    pub fn restore_record(&mut self, wire: Bytes, now_ms: u64) -> bool {
        match read(&wire, now_ms) {
            Ok(record) if self.records.len() < MAX_KNOWN => {
                self.records.insert(record, wire);
                true
            }
            _ => false,
        }
    }

    /// Drops records that have expired, every now and then.
    pub(super) fn expire_records(&mut self, now_ms: u64) {
        if self.records.next_expiry_ms <= now_ms {
            self.records.next_expiry_ms = now_ms + EXPIRE_EVERY_MS;
            let gone = self.records.expire(now_ms);
            self.records_gone(gone);
        }
    }

    fn records_gone(&mut self, peers: Vec<PeerId>) {
        if !peers.is_empty() {
            self.effects.push(Effect::Notice(Notice::RecordsGone(peers)));
        }
    }

    pub(super) fn own_record(&mut self, wire: &Bytes, now_ms: u64) {
        if let Ok(record) = read(wire, now_ms) {
            let gone = self.records.insert(record, wire.clone());
            self.records_gone(gone);
            self.pass_on(None, self.config.me, wire);
            self.learned_of(self.config.me);
        }
    }

    pub(super) fn send_all_records(&mut self, link: LinkId) {
        let mut newest: Vec<_> =
            self.records.known.values().filter(|known| !self.is_outsiders(&known.record)).collect();
        newest.sort_by_key(|known| {
            (known.record.peer != self.config.me, std::cmp::Reverse(known.record.seq_ms), known.record.peer)
        });
        let wires: Vec<_> = newest.iter().take(MAX_SENT).map(|known| known.wire.clone()).collect();
        for chunk in wires.chunks(MAX_RECORDS) {
            self.effects.push(Effect::Send { link, frame: Frame::Records(chunk.to_vec()) });
        }
    }

    pub(super) fn peer_records(&mut self, link: LinkId, wires: Vec<Bytes>, now_ms: u64) {
        for wire in wires {
            match NodeRecord::peek(&wire) {
                Some((peer, seq_ms)) if peer == self.config.me => self.own_record_came_back(&wire, seq_ms, now_ms),
                Some((peer, seq_ms)) if !self.records.lacks(&peer, seq_ms) => {
                    self.note_inside(link, peer);
                    self.count("record-old");
                }
                _ => self.peer_record(link, &wire, now_ms),
            }
        }
    }

    /// Our own records come back all the time. One that is newer than any that we made was made by somebody else.
    fn own_record_came_back(&mut self, wire: &[u8], seq_ms: u64, now_ms: u64) {
        self.count("record-own");
        let me = self.config.me;
        let newer = self.records.get(&me).is_some_and(|ours| ours.seq_ms < seq_ms);
        if newer && self.twin_until_ms <= now_ms && read(wire, now_ms).is_ok() {
            self.twin_until_ms = now_ms + TWIN_QUIET_MS;
            self.effects.push(Effect::Notice(Notice::Twin));
        }
    }

    fn peer_record(&mut self, link: LinkId, wire: &Bytes, now_ms: u64) {
        let Ok(record) = (self.config.check_record)(wire) else {
            self.count("record-refused");
            return self.bad_signature(link);
        };
        if record.check_times(now_ms).is_err() {
            return self.count("record-untimely"); // our clock may be the wrong one, so the neighbour is not blamed
        }
        let peer = record.peer;
        if self.blocked.contains(&peer) {
            return self.count("record-blocked");
        }
        let outside = self.domain_behind(link).is_some();
        if outside && self.peer_of(link) != Some(peer) {
            return self.count("record-between-domains"); // a gateway speaks for itself; others are asked for
        }
        if outside {
            return self.keep_record(record, wire);
        }
        self.note_inside(link, peer);
        self.learn(Some(link), record, wire);
        self.with_router(|router, out| router.seen(now_ms, peer, link, 0, out));
    }

    /// Keeps a checked record, if it is newer than what is known, and spreads it.
    pub(super) fn learn(&mut self, from: Option<LinkId>, record: NodeRecord, wire: &[u8]) {
        let peer = record.peer;
        if !self.records.lacks(&peer, record.seq_ms) {
            return self.count("record-old");
        }
        self.keep_record(record, wire);
        if let Some(wire) = self.records.wire(&peer) {
            self.pass_on(from, peer, &wire);
        }
    }

    /// Keeps a checked record, if it is newer than what is known.
    pub(super) fn keep_record(&mut self, record: NodeRecord, wire: &[u8]) {
        if !self.records.lacks(&record.peer, record.seq_ms) {
            return self.count("record-old");
        }
        let wire = Bytes::copy_from_slice(wire); // the frame it came in is larger and shall not stay for it
        let gone = self.records.insert(record.clone(), wire.clone());
        self.records_gone(gone);
        self.count("record-new");
        self.learned_of(record.peer);
        self.effects.push(Effect::Notice(Notice::Record { record: Box::new(record), wire }));
    }

    /// Tells a neighbour of another domain who this node is.
    pub(super) fn send_own_record(&mut self, link: LinkId) {
        if let Some(wire) = self.records.wire(&self.config.me) {
            self.effects.push(Effect::Send { link, frame: Frame::Records(vec![wire]) });
        }
    }

    /// Spreads the record of `peer` to all neighbours but the one it came from. Another domain hears of this node alone.
    fn pass_on(&mut self, from: Option<LinkId>, peer: PeerId, wire: &Bytes) {
        let (source, own) = (from.and_then(|link| self.peer_of(link)), peer == self.config.me);
        let wants = |to: &PeerId| Some(*to) != source && (own || self.domain_of(to).is_none());
        for (_, link) in self.preferred_links().filter(|(to, _)| wants(to)).collect::<Vec<_>>() {
            self.effects.push(Effect::Send { link, frame: Frame::Records(vec![wire.clone()]) });
        }
    }
}

fn read(wire: &[u8], now_ms: u64) -> Result<NodeRecord, RecordError> {
    let record = NodeRecord::verify(wire)?;
    record.check_times(now_ms)?;
    Ok(record)
}
