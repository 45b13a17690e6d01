//! A shelf that keeps what only waits in files does what one does that has all in memory, in the same order.

use super::*;
use crate::core::shelf::files::model::ModelFiles;
use crate::store::NewRecord;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const IDS: u8 = 120;
const NAMES: u8 = 5;

fn limits() -> StoreLimits {
    StoreLimits {
        recipient_messages: 20,
        recipient_bytes: 5_000,
        sender_share_percent: 40,
        sender_messages: 25,
        sender_bytes: 6_000,
        total_messages: 60,
        total_bytes: 15_000,
        topic_messages: 6,
        topic_bytes: 1_500,
        inbox_messages: 6,
        inbox_bytes: 1_500,
        ..StoreLimits::default()
    }
}

/// A batch under way, and what it brings.
struct Write {
    batch: Batch,
    arrives: Option<MessageId>,
}

/// Two shelves side by side, one of them with files that lag behind.
struct Pair {
    memory: Shelf,
    split: Shelf,
    files: ModelFiles,
    under_way: std::collections::VecDeque<Write>,
    warm: usize,
    now: u64,
    seq: u64,
}

impl Pair {
    fn new(warm: usize) -> Self {
        let files = ModelFiles::default();
        let split = Shelf::with_files_and(limits(), Box::new(files.clone()), warm);
        Self { memory: Shelf::new(limits()), split, files, under_way: Default::default(), warm, now: 1_000_000, seq: 1 }
    }

    fn gone(&mut self, memory: Vec<Gone>, split: Vec<Gone>) {
        let alike = |gone: &Gone| (gone.head, gone.seen);
        let sorted = |mut all: Vec<Gone>| {
            all.sort_by_key(|gone| gone.head.seq);
            all
        };
        let (memory, split) = (sorted(memory), sorted(split));
        assert_eq!(memory.iter().map(alike).collect::<Vec<_>>(), split.iter().map(alike).collect::<Vec<_>>());
        let mut batch = Batch::default();
        split.iter().for_each(|gone| gone.put_into(&mut batch));
        if !batch.is_empty() {
            self.under_way.push_back(Write { batch, arrives: None });
        }
    }

    fn admit(&mut self, rng: &mut StdRng) {
        let direct = rng.random_bool(0.85);
        let mut new = head(self.seq, rng.random_range(0..NAMES), rng.random_range(0..NAMES));
        self.seq += 1;
        new.id = MessageId([rng.random_range(0..IDS); 32]);
        new.priority = Priority::from_byte(*[1, 1, 1, 0, 3].get(rng.next_u32() as usize % 5).unwrap()).unwrap();
        new.wire_len = rng.random_range(200..300);
        new.received_ms = self.now;
        new.expires_ms = self.now + rng.random_range(1..60) * 1_000;
        new.source = rng.random_bool(0.8).then_some(PeerId([200; 32]));
        if !direct {
            (new.kind, new.places) = (Kind::Broadcast, Places::HISTORY);
        } else if rng.random_bool(0.1) {
            new.places = Places::INBOX;
        }
        while self.under_way.iter().any(|write| write.arrives == Some(new.id)) {
            self.complete_one(rng);
        }
        let memory = self.memory.admit(&new, self.now);
        let split = self.split.admit(&new, self.now);
        let (Ok(memory), Ok(split)) = (&memory, &split) else {
            return assert_eq!(memory.map(drop), split.map(drop));
        };
        self.gone(memory.clone(), split.clone());
        let mut batch = Batch { append: vec![NewRecord { head: new, wire: Bytes::new() }], ..Batch::default() };
        self.split.file(&new.id, &mut batch);
        self.under_way.push_back(Write { batch, arrives: Some(new.id) });
    }

    fn complete_one(&mut self, rng: &mut StdRng) {
        let Some(Write { batch, arrives }) = self.under_way.pop_front() else { return };
        if let Some(id) = arrives.filter(|_| rng.random_bool(0.05)) {
            // It failed.
            let (memory, split) = (self.memory.discard(&id), self.split.discard(&id));
            assert_eq!(memory.is_some(), split.is_some());
            assert!(split.is_none_or(|gone| gone.rank.is_none()), "it isn't filed");
            return;
        }
        self.files.write(&batch);
        if let Some(id) = arrives {
            self.memory.confirm(&id);
            self.split.confirm(&id);
        }
    }

    fn step(&mut self, rng: &mut StdRng) {
        let id = MessageId([rng.random_range(0..IDS); 32]);
        match rng.random_range(0..100) {
            0..45 => self.admit(rng),
            45..75 => self.complete_one(rng),
            75..85 => {
                let fate = Fate::new(End::Custody, self.now);
                let memory = self.memory.release_to(&id, Places::WAITING, PASSED_ON, fate);
                let split = self.split.release_to(&id, Places::WAITING, PASSED_ON, fate);
                self.gone(memory.into_iter().collect(), split.into_iter().collect());
            }
            85..88 => {
                let by = rng.random_bool(0.7).then_some(PeerId([7; 32]));
                self.memory.held_elsewhere(&id, by.as_ref());
                self.split.held_elsewhere(&id, by.as_ref());
            }
            88..90 => {
                if self.split.waiting(&id).is_some() {
                    let (memory, split) = (self.memory.discard(&id), self.split.discard(&id).unwrap());
                    assert_eq!(memory.unwrap().head, split.head);
                    let mut batch = Batch { remove: vec![split.head.seq], ..Batch::default() };
                    split.unfile(&mut batch);
                    self.under_way.push_back(Write { batch, arrives: None });
                }
            }
            90..95 => {
                self.now += rng.random_range(0..3_000);
                let memory = self.memory.expire(self.now, 1_000);
                let split = self.split.expire(self.now, 1_000);
                self.gone(memory, split);
            }
            95..97 => {
                let name = PeerId([rng.random_range(0..NAMES); 32]);
                let favoured = rng.random_bool(0.3);
                self.memory.favour(name, favoured);
                self.split.favour(name, favoured);
            }
            97 => self.restart(rng),
            _ => self.memory_is_bounded(),
        }
    }

    /// Both start anew, once all is written: the one in memory keeps its order, so that the other must have kept it, too.
    fn restart(&mut self, rng: &mut StdRng) {
        while !self.under_way.is_empty() {
            self.complete_one(rng);
        }
        assert_eq!(self.files.all().len(), self.memory.stats().waiting, "all that waits is filed, and nothing else");
        let mut split = Shelf::with_files_and(limits(), Box::new(self.files.clone()), self.warm);
        self.files.heads().iter().for_each(|head| split.restore(head));
        for id in 0..IDS {
            if let Some(entry) = self.memory.seen_entry(&MessageId([id; 32])) {
                split.restore_seen(&entry);
            }
        }
        for name in 0..NAMES {
            split.favour(PeerId([name; 32]), self.memory.favours(&PeerId([name; 32])));
        }
        // What is held elsewhere isn't known after a start.
        for id in 0..IDS {
            self.memory.held_elsewhere(&MessageId([id; 32]), None);
        }
        self.split = split;
    }

    fn memory_is_bounded(&self) {
        let pending = self.under_way.iter().filter(|write| write.arrives.is_some()).count();
        let others = self.split.stats().broadcasts + self.split.stats().inbox + self.split.stats().replicas;
        assert!(self.split.entries.len() <= self.warm + pending + others + 1, "{}", self.split.entries.len());
    }

    fn check(&self) {
        for id in 0..IDS {
            let id = MessageId([id; 32]);
            assert_eq!(self.memory.seen(&id), self.split.seen(&id), "{id:?}");
            assert_eq!(self.memory.get(&id), self.split.get(&id));
            assert_eq!(self.memory.waiting(&id), self.split.waiting(&id));
        }
        for name in 0..NAMES {
            let peer = PeerId([name; 32]);
            let queue: Vec<Waiting> = self.memory.queue(&peer).collect();
            assert_eq!(queue, self.split.queue(&peer).collect::<Vec<_>>());
            assert_eq!(self.memory.waiting_for(&peer), self.split.waiting_for(&peer));
        }
        assert_eq!(self.memory.held(), self.split.held());
        let all = |shelf: &Shelf| {
            let (mut found, mut place) = (Vec::new(), Some(0));
            while let Some(from) = place {
                let (heads, next) = shelf.walk(from, 7);
                found.extend(heads);
                place = next;
            }
            let mut found: Vec<u64> = found.iter().map(|head| head.seq).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(all(&self.memory), all(&self.split));
        let figures = |shelf: &Shelf| {
            let mut stats = shelf.stats();
            stats.counters.clear();
            stats.seen = 0;
            stats.longest.sort_by_key(|queue| queue.recipient.0);
            stats.oldest.sort_by_key(|queue| queue.recipient.0);
            stats.senders.sort_by_key(|sender| sender.sender.0);
            stats
        };
        let (memory, mut split) = (figures(&self.memory), figures(&self.split));
        (split.evicted, split.refused) = (memory.evicted.clone(), memory.refused.clone()); // begin anew at a start
        assert_eq!(format!("{memory:?}"), format!("{split:?}"));
    }
}

#[test]
fn a_shelf_with_files_does_what_one_in_memory_does() {
    for round in 0..10 {
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = Pair::new(round % 4 * 5);
        memory::writeln_report(&format!("seed {seed}, {} warm", pair.warm));
        for _ in 0..1_500 {
            pair.step(&mut rng);
            if rng.random_bool(0.1) {
                pair.check();
            }
        }
        while !pair.under_way.is_empty() {
            pair.complete_one(&mut rng);
        }
        pair.check();
    }
}

/// A shelf with nothing warm but what is being written, and so many messages in it.
fn filled(messages: u64) -> (Shelf, ModelFiles) {
    let files = ModelFiles::default();
    let mut shelf = Shelf::with_files_and(StoreLimits::default(), Box::new(files.clone()), 0);
    (1..=messages).for_each(|seq| put(&mut shelf, &files, &head(seq, (seq % 3) as u8, 9)));
    (shelf, files)
}

fn put(shelf: &mut Shelf, files: &ModelFiles, new: &Head) {
    shelf.admit(new, 0).unwrap();
    let mut batch = Batch { append: vec![NewRecord { head: *new, wire: Bytes::new() }], ..Batch::default() };
    shelf.file(&new.id, &mut batch);
    files.write(&batch);
    shelf.confirm(&new.id);
}

#[test]
fn files_that_cannot_be_read_lose_and_double_nothing() {
    let (mut shelf, files) = filled(200);
    let (held, new) = (head(5, 2, 9), head(500, 1, 9));
    files.set_broken(true);
    assert_eq!(shelf.admit(&new, 0).unwrap_err().code, RejectCode::RelayFull, "whether it is here isn't known");
    assert_eq!(shelf.admit(&held, 0).unwrap_err().code, RejectCode::RelayFull);
    assert!(finish(&mut shelf, &held.id).is_none(), "it stays");
    assert!(shelf.expire(u64::MAX, 10).is_empty());
    assert_eq!(shelf.queue(&PeerId([9; 32])).count(), 0);
    assert!(shelf.stats().counters["index-unread"] > 0);
    files.set_broken(false);
    assert_eq!(shelf.queue(&PeerId([9; 32])).count(), 200);
    assert_eq!(shelf.seen(&held.id), Some(SeenState::Held));
    assert!(shelf.admit(&new, 0).is_ok());
    assert!(finish(&mut shelf, &held.id).is_some());
    assert_eq!(shelf.stats().waiting, 200);
}

#[test]
fn filing_anew_comes_to_the_order_of_a_shelf_in_memory() {
    let (mut shelf, files) = filled(300);
    for seq in [3, 4, 40, 41, 42, 150] {
        let gone = finish(&mut shelf, &head(seq, 0, 9).id).unwrap();
        let mut batch = Batch::default();
        gone.put_into(&mut batch);
        files.write(&batch);
    }
    let (mut memory, heads) = (Shelf::new(StoreLimits::default()), files.heads());
    heads.iter().for_each(|head| memory.restore(head));
    files.forget();
    let mut anew = Shelf::with_files_and(StoreLimits::default(), Box::new(files.clone()), 10);
    heads.iter().for_each(|head| anew.restore(head));
    anew.begin_refiling();
    for portion in heads.chunks(32) {
        let file: Vec<Filed> = portion.iter().filter_map(|head| anew.refile(head).unwrap()).collect();
        files.write(&Batch { file: file.clone(), ..Batch::default() });
        file.iter().for_each(|filed| anew.confirm(&filed.head.id));
    }
    assert!(anew.entries.len() <= 10);
    assert_eq!(queued(&anew, 9), queued(&memory, 9));
    let next = head(900, 1, 9);
    put(&mut anew, &files, &next);
    take(&mut memory, &next).unwrap();
    assert_eq!(queued(&anew, 9), queued(&memory, 9));
    assert_eq!(anew.stats().waiting, 295);
}

#[test]
fn a_message_whose_removal_failed_can_be_taken_back() {
    let (mut shelf, files) = filled(20);
    let first = head(5, 2, 9);
    release(&mut shelf, &first.id, Places::ALL, PASSED_ON).unwrap();
    assert_eq!(shelf.seen(&first.id), Some(PASSED_ON), "whatever the files say");
    assert!(!queued(&shelf, 9).contains(&5));
    shelf.expire(0, 10);
    assert!(!queued(&shelf, 9).contains(&5));
    put(&mut shelf, &files, &Head { seq: 100, ..first });
    assert!(queued(&shelf, 9).contains(&100));
    assert_eq!(files.all().iter().filter(|filed| filed.head.id == first.id).count(), 1);
    shelf.expire(0, 10);
    assert_eq!((shelf.stats().waiting, queued(&shelf, 9).len()), (20, 20));
}
