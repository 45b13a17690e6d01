//! What only waits may stand outside of memory, in files: then memory holds just what is in use, and figures.
//!
//! A message that only waits is *warm* while it is in memory, and *cold* when nothing but the files knows it. It comes in warm,
//! stays so until it is durable and a number of others have come after it, and is warmed again when it is to leave. What of
//! a queue is cold is merged with what is warm wherever somebody looks. Figures (of senders, recipients and all) count both.
//!
//! A file that can't be read says nothing: what would have been decided by it is not decided now. A message is then neither
//! taken in (its sender tries again) nor given up.

#[cfg(test)]
pub(crate) mod model;

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use qpq_schemas::{MessageId, PeerId};

use super::entry::Entry;
use super::names::Tally;
use super::queues::{Item, RecipientQueue, Turn};
use super::seen::secs;
use super::{Head, Places, Reject, RejectCode, SeenState, Shelf};
use crate::store::{Batch, Filed, InLane};

/// Messages that stay warm although nothing needs them: most leave soon after they came. About 250 bytes each.
const WARM: usize = 16_384;
/// Whether those that left are gone from the files is looked at whenever so many more have left.
const LOOK_EVERY: usize = 16;
/// Records remembered at most that could not be written. Only those of the first commit that failed may be there.
const MAX_DOUBTFUL: usize = 65_536;
/// Messages read at once.
pub(super) const PAGE: usize = 64;
/// Messages looked at by one step of a walk over all of them: about a millisecond.
const WALK: u32 = 1_024;
/// Bits for each message that may be held, to know without a look that a sender has nothing cold in a queue.
const BITS: u64 = 8;
/// The fewest and the most of these bits: 8 KiB and 16 MiB.
const BITS_BOUNDS: (u64, u64) = (1 << 16, 1 << 27);

/// The files could not be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread;

/// The index of what only waits, outside of memory. It has what batches with [`Filed`] entries brought to disk.
pub trait Files: fmt::Debug + Send {
    /// A message by its id.
    ///
    /// # Errors
    /// [`Unread`], here and below.
    fn find(&self, id: &MessageId) -> Result<Option<Filed>, Unread>;
    /// Up to `limit` messages of a recipient's queue behind a place, in order.
    fn queue(&self, recipient: &[u8; 32], after: Turn, limit: usize) -> Result<Vec<Filed>, Unread>;
    /// What one sender has in a recipient's queue.
    fn lane(&self, recipient: &[u8; 32], sender: &PeerId) -> Result<Vec<InLane>, Unread>;
    /// Up to `limit` messages that end in that second or before, behind a second and record, in order.
    fn ended(&self, until_secs: u32, after: (u32, u64), limit: usize) -> Result<Vec<Filed>, Unread>;
    /// Up to `limit` records, of all places, from a number on; and the number to go on from.
    fn walk(&self, from: u64, limit: usize) -> Result<(Vec<Head>, Option<u64>), Unread>;
}

/// The files, and what of them is not as it stands there.
#[derive(Debug)]
pub(super) struct Filing {
    files: Box<dyn Files>,
    /// Records that are still in the files, or may still come there, and are gone all the same.
    leaving: HashSet<u64>,
    /// Those of them that are known to have come there, in the order in which they went.
    on_way_out: VecDeque<(u64, MessageId)>,
    /// Those of them that may still come.
    not_in_yet: HashMap<MessageId, u64>,
    /// Records that were not written, as far as is known. A start, or the store when it recovers, may find them all the same.
    doubtful: HashSet<u64>,
    /// Nothing ends before this second but what has left.
    ended_before: Cell<u32>,
    /// Warm messages, by number and slot, in the order in which they turn cold when nothing needs them.
    idle: VecDeque<(u64, u32)>,
    warm: usize,
    lanes: Sketch,
    /// What has left of the message that is being admitted.
    earlier: Option<Filed>,
    unread: Cell<u64>,
}

impl Filing {
    fn new(files: Box<dyn Files>, messages: u32, warm: usize) -> Self {
        Self {
            files,
            leaving: HashSet::new(),
            on_way_out: VecDeque::new(),
            not_in_yet: HashMap::new(),
            doubtful: HashSet::new(),
            ended_before: Cell::new(0),
            idle: VecDeque::new(),
            warm,
            lanes: Sketch::for_messages(messages),
            earlier: None,
            unread: Cell::new(0),
        }
    }

    fn noted<T>(&self, read: Result<T, Unread>) -> Result<T, Unread> {
        read.inspect_err(|_| self.unread.set(self.unread.get() + 1))
    }

    /// Times that the files could not be read.
    pub(super) fn unread(&self) -> u64 {
        self.unread.get()
    }

    fn find(&self, id: &MessageId) -> Result<Option<Filed>, Unread> {
        self.noted(self.files.find(id))
    }

    pub(super) fn has_left(&self, seq: u64) -> bool {
        self.leaving.contains(&seq) || self.doubtful.contains(&seq)
    }

    /// A message may end in that second.
    pub(super) fn note_end(&self, secs: u32) {
        self.ended_before.set(self.ended_before.get().min(secs));
    }

    /// A message could not be written.
    pub(super) fn was_refused(&mut self, seq: u64) {
        if self.doubtful.len() < MAX_DOUBTFUL {
            self.doubtful.insert(seq);
        }
    }

    /// The next page of a queue. What has left is still in it.
    pub(super) fn queue(&self, recipient: &[u8; 32], after: Turn) -> Result<Vec<Filed>, Unread> {
        self.noted(self.files.queue(recipient, after, PAGE))
    }

    /// A message has left that is in the files, or on its way there.
    pub(super) fn left(&mut self, seq: u64, id: MessageId, is_in: bool) {
        self.leaving.insert(seq);
        if is_in {
            self.on_way_out.push_back((seq, id));
        } else {
            self.not_in_yet.insert(id, seq);
        }
        if self.leaving.len().is_multiple_of(LOOK_EVERY) {
            self.look_at_leaving(2 * LOOK_EVERY, false);
        }
    }

    /// A message came into the files; it may have left meanwhile.
    fn came_in(&mut self, id: &MessageId) {
        if let Some(seq) = self.not_in_yet.remove(id) {
            self.on_way_out.push_back((seq, *id));
        }
    }

    /// A message will not come into the files.
    pub(super) fn never_comes(&mut self, id: &MessageId) {
        if let Some(seq) = self.not_in_yet.remove(id) {
            self.leaving.remove(&seq);
            self.was_refused(seq);
        }
    }

    /// Forgets up to `max` of those that have left once the files say so, too. They go from there in the order in which they
    /// left, but for those whose removal failed: `past` such ones it goes on to the next.
    pub(super) fn look_at_leaving(&mut self, max: usize, past: bool) {
        for _ in 0..max.min(self.on_way_out.len()) {
            let Some((seq, id)) = self.on_way_out.pop_front() else { return };
            match self.files.find(&id) {
                Ok(found) if found.is_none_or(|filed| filed.head.seq != seq) => _ = self.leaving.remove(&seq),
                _ if past => self.on_way_out.push_back((seq, id)),
                _ => return self.on_way_out.push_front((seq, id)),
            }
        }
    }

    pub(super) fn idles(&mut self, seq: u64, slot: u32) {
        self.idle.push_back((seq, slot));
    }
}

/// Which senders may have something cold in which queues. May say yes where the answer is no, never the other way.
#[derive(Debug)]
struct Sketch {
    bits: Vec<u64>,
    hasher: RandomState,
}

impl Sketch {
    fn for_messages(messages: u32) -> Self {
        let (fewest, most) = BITS_BOUNDS;
        let bits = (u64::from(messages) * BITS).next_power_of_two().clamp(fewest, most);
        Self { bits: vec![0; usize::try_from(bits / 64).unwrap_or(1)], hasher: RandomState::new() }
    }

    fn places(&self, recipient: &[u8; 32], sender: &PeerId) -> impl Iterator<Item = (usize, u64)> + use<> {
        let hash = self.hasher.hash_one((recipient, sender.0));
        let (step, mask) = (hash.rotate_left(32) | 1, self.bits.len() as u64 * 64 - 1);
        (0..3).map(move |n| hash.wrapping_add(step.wrapping_mul(n)) & mask).map(|bit| ((bit / 64) as usize, bit % 64))
    }

    fn note(&mut self, recipient: &[u8; 32], sender: &PeerId) {
        for (word, bit) in self.places(recipient, sender) {
            if let Some(word) = self.bits.get_mut(word) {
                *word |= 1 << bit;
            }
        }
    }

    fn may_have(&self, recipient: &[u8; 32], sender: &PeerId) -> bool {
        self.places(recipient, sender).all(|(word, bit)| self.bits.get(word).is_some_and(|word| word >> bit & 1 == 1))
    }
}

impl Shelf {
    /// An empty shelf that keeps what only waits in files.
    pub fn with_files(limits: super::StoreLimits, files: Box<dyn Files>) -> Self {
        Self::with_files_and(limits, files, WARM)
    }

    /// The same, with so many messages warm that needn't be.
    pub(crate) fn with_files_and(limits: super::StoreLimits, files: Box<dyn Files>, warm: usize) -> Self {
        let filing = Some(Filing::new(files, limits.total_messages, warm));
        let mut shelf = Self { limits, filing, ..Self::default() };
        shelf.queues.split();
        shelf
    }

    /// Adds to a batch what brings a message into the files that was just admitted, and an earlier copy of it out of them.
    pub fn file(&mut self, id: &MessageId, batch: &mut Batch) {
        let Some(filing) = &mut self.filing else { return };
        if let Some(earlier) = filing.earlier.take() {
            batch.remove.push(earlier.head.seq);
            batch.unfile.push(earlier);
        }
        let entry = self.slot(id).and_then(|slot| self.entries.get(slot)).filter(|entry| entry.filed);
        batch.file.extend(entry.map(|entry| Filed { head: entry.head(&self.names), rank: entry.rank }));
    }

    /// Whether a message would be kept in files.
    pub(super) fn files_away(&self, head: &Head) -> bool {
        self.filing.is_some() && head.places == Places::WAITING
    }

    /// Counts a message that stands in the files.
    pub(super) fn restore_cold(&mut self, head: &Head) {
        let sender = self.names.acquire(&head.sender.0);
        let recipient = self.names.acquire(&head.destination);
        self.used.add(head.wire_len);
        self.names.tally_mut(sender, Tally::Waiting).add(head.wire_len);
        let (priority, len, received_ms) = (head.priority, head.wire_len, head.received_ms);
        self.queues.count(Item { recipient, sender, priority, len, received_ms, seq: head.seq, slot: 0 });
        if let Some(filing) = &mut self.filing {
            filing.lanes.note(&head.destination, &head.sender);
        }
    }

    /// Before all that waits is filed anew, with [`Shelf::refile`], into files that are empty.
    pub fn begin_refiling(&mut self) {
        if let Some(filing) = &mut self.filing {
            filing.lanes = Sketch::for_messages(self.limits.total_messages);
        }
    }

    /// Files a message anew that was restored. It is confirmed once that is durable. To be called in order of arrival. Nothing where
    /// it isn't kept in files.
    ///
    /// # Errors
    /// [`Unread`]: try again.
    pub fn refile(&mut self, head: &Head) -> Result<Option<Filed>, Unread> {
        if !self.files_away(head) || self.slot(&head.id).is_some() {
            return Ok(None);
        }
        self.look_up_lane(head)?;
        let slot = self.warm_up(&Filed { head: *head, rank: 0 }, false);
        let (entries, queues) = (&mut self.entries, &mut self.queues);
        let Some(item) = entries.get(slot).map(|entry| entry.item(slot)) else { return Ok(None) };
        let rank = queues.place(item, &|slot| entries.get(slot).map(|entry| entry.sender));
        if let Some(entry) = entries.get_mut(slot) {
            (entry.rank, entry.pending, entry.holds_lane) = (rank, true, true);
        }
        Ok(Some(Filed { head: *head, rank }))
    }

    /// A cold message, by its id.
    pub(super) fn cold(&self, id: &MessageId) -> Option<Filed> {
        let filing = self.filing.as_ref()?;
        filing.find(id).ok().flatten().filter(|filed| !filing.has_left(filed.head.seq))
    }

    /// The slot of a message that is warm, or is warmed for it.
    pub(super) fn warm_slot(&mut self, id: &MessageId) -> Option<u32> {
        self.slot(id).or_else(|| self.cold(id).map(|filed| self.warm(&filed)))
    }

    fn warm(&mut self, filed: &Filed) -> u32 {
        let slot = self.warm_up(filed, true);
        if let Some(filing) = &mut self.filing {
            filing.idles(filed.head.seq, slot);
        }
        slot
    }

    /// Puts a message that is counted already into memory, and into its queue there when it has a rank.
    fn warm_up(&mut self, filed: &Filed, ranked: bool) -> u32 {
        let mut entry = Entry::new(&filed.head, &mut self.names, false);
        // The message has held these names since it was counted.
        self.names.release(entry.sender);
        self.names.release(entry.destination);
        (entry.rank, entry.filed) = (filed.rank, true);
        let expires = secs(entry.expires_ms);
        let slot = self.entries.insert(entry);
        self.expiry.insert((expires, slot));
        self.index_slot(&filed.head.id, slot);
        if let Some(item) = self.entries.get(slot).filter(|_| ranked).map(|entry| entry.item(slot)) {
            self.queues.show(item, filed.rank);
        }
        slot
    }

    /// Lets the longest idle turn cold, until no more are warm than may be.
    pub(super) fn cool(&mut self) {
        while let Some(filing) = &mut self.filing
            && filing.idle.len() > filing.warm
        {
            let Some((seq, slot)) = filing.idle.pop_front() else { return };
            let is_idle = |entry: &&Entry| entry.seq == seq && entry.filed && !entry.pending;
            let Some(entry) = self.entries.get(slot).filter(is_idle) else { continue };
            if self.replicas.has(entry.kept(slot)) {
                continue; // when it is none any more, it is idle again
            }
            let head = entry.head(&self.names);
            filing.lanes.note(&head.destination, &head.sender);
            filing.note_end(secs(head.expires_ms));
            self.queues.hide(entry.item(slot), entry.rank, entry.holds_lane);
            entry.release_source(&mut self.names);
            self.expiry.remove(&(secs(head.expires_ms), slot));
            self.unindex_slot(&head.id, slot);
            self.entries.remove(slot);
        }
    }

    /// A message is durable, or one that left before it was: it may turn cold.
    pub(super) fn came_in(&mut self, id: &MessageId) {
        let warm = self.slot(id).and_then(|slot| Some((self.entries.get(slot).filter(|entry| entry.filed)?.seq, slot)));
        let Some(filing) = &mut self.filing else { return };
        match warm {
            Some((seq, slot)) => filing.idles(seq, slot),
            None => filing.came_in(id),
        }
        self.cool();
    }

    /// Reads what decides on taking a message in, before anything is changed. Afterwards all that is asked of its queue stands
    /// in memory.
    ///
    /// # Errors
    /// When it is there already, or a file can't be read.
    pub(super) fn read_ahead(&mut self, head: &Head, now_ms: u64) -> Result<(), Reject> {
        let warm = self.slot(&head.id).is_some();
        let Some(filing) = &mut self.filing else { return Ok(()) };
        let busy = |_: Unread| Reject::from(RejectCode::RelayFull);
        filing.earlier = None;
        if !warm {
            match filing.find(&head.id).map_err(busy)? {
                // It comes back before it is gone from there, or its removal failed.
                Some(filed) if filing.has_left(filed.head.seq) => filing.earlier = Some(filed),
                Some(_) => return Err(RejectCode::Known(SeenState::Held).into()),
                None => {}
            }
        }
        if head.places.has(Places::WAITING) {
            self.look_up_lane(head).map_err(busy)?;
        }
        if !self.used.fits(self.limits.total(), head.wire_len) {
            self.warm_ended(head.wire_len, now_ms).map_err(busy)?;
        }
        Ok(())
    }

    /// What was read ahead for a message that was not taken is of no use.
    pub(super) fn forget_ahead(&mut self, head: &Head) {
        if self.filing.is_some()
            && let (Some(recipient), Some(sender)) =
                (self.names.find(&head.destination), self.names.find(&head.sender.0))
        {
            self.queues.let_go(recipient, sender);
        }
    }

    /// Reads where a queue begins, and what its sender has there, unless that is known.
    pub(super) fn look_up_lane(&mut self, head: &Head) -> Result<(), Unread> {
        let (Some(filing), Some(recipient)) = (&self.filing, self.names.find(&head.destination)) else { return Ok(()) };
        let Some(queue) = self.queues.get_mut(recipient) else { return Ok(()) };
        if let Some(sender) = self.names.find(&head.sender.0)
            && queue.lacks_lanes(sender)
        {
            let there = filing.lanes.may_have(&head.destination, &head.sender);
            let mut found =
                if there { filing.noted(filing.files.lane(&head.destination, &head.sender))? } else { Vec::new() };
            found.retain(|one| !filing.has_left(one.seq));
            queue.learn_lanes(sender, &found, &|slot| self.entries.get(slot).map(|entry| entry.sender));
        }
        let Some(mut place) = queue.unknown_front(head.priority) else { return Ok(()) };
        loop {
            let page = filing.queue(&head.destination, place)?;
            let first = page.iter().find(|filed| !filing.has_left(filed.head.seq));
            match (first, page.last()) {
                (None, Some(last)) if page.len() == PAGE => place = Turn::new(last.rank, last.head.seq),
                (first, _) => {
                    queue.learn_front(head.priority, first.map(|filed| filed.rank));
                    return Ok(());
                }
            }
        }
    }

    /// Warms what has ended until a message of that length would have room without it, or nothing is left.
    fn warm_ended(&mut self, len: u32, now_ms: u64) -> Result<(), Unread> {
        let mut used = self.used;
        for slot in self.expired(now_ms) {
            used.sub(self.entries.get(slot).map_or(0, |entry| entry.len));
        }
        let quota = self.limits.total();
        let mut after = None;
        while !used.fits(quota, len) {
            let Some(page) = self.ended_page(&mut after, now_ms, PAGE)? else { break };
            for filed in page {
                used.sub(filed.head.wire_len);
                self.warm(&filed);
            }
        }
        Ok(())
    }

    /// Warms up to `max` of what has ended.
    pub(super) fn warm_all_ended(&mut self, now_ms: u64, max: usize) {
        let (mut after, mut warmed) = (None, 0);
        while warmed < max {
            let Ok(Some(page)) = self.ended_page(&mut after, now_ms, max - warmed) else { return };
            warmed += page.len();
            page.iter().for_each(|filed| _ = self.warm(filed));
        }
    }

    /// The cold ones of the next messages that have ended; none when there are no more.
    fn ended_page(
        &self,
        after: &mut Option<(u32, u64)>,
        now_ms: u64,
        max: usize,
    ) -> Result<Option<Vec<Filed>>, Unread> {
        let Some(filing) = self.filing.as_ref().filter(|_| max > 0) else { return Ok(None) };
        let now = u32::try_from(self.sure(now_ms) / 1_000).unwrap_or(u32::MAX);
        let place = after.unwrap_or((filing.ended_before.get(), 0));
        let mut page = filing.noted(filing.files.ended(now, place, max))?;
        let Some(last) = page.last() else {
            filing.ended_before.set(filing.ended_before.get().max(now));
            return Ok(None);
        };
        *after = Some((last.ends_secs(), last.head.seq));
        page.retain(|filed| !filing.has_left(filed.head.seq) && self.slot(&filed.head.id).is_none());
        Ok(Some(page))
    }

    /// As [`Shelf::walk`], through the records.
    pub(super) fn walk_records(&self, filing: &Filing, place: u64, looks: u32) -> (Vec<Head>, Option<u64>) {
        let read = filing.noted(filing.files.walk(place, looks.min(WALK) as usize));
        let Ok((mut heads, next)) = read else { return (Vec::new(), None) };
        heads.retain_mut(|head| match self.slot(&head.id).and_then(|slot| self.entries.get(slot)) {
            Some(entry) if entry.seq == head.seq => {
                head.places = entry.places;
                !entry.pending
            }
            _ => self.files_away(head) && !filing.has_left(head.seq),
        });
        (heads, next)
    }

    /// When the oldest message of a queue came. Reads all of it, unless that is known.
    pub(super) fn oldest_of(&self, recipient: u32) -> u64 {
        let queue = self.queues.get(recipient);
        if let Some(known) = queue.and_then(RecipientQueue::known_oldest_ms) {
            return known;
        }
        let warm = queue.into_iter().flat_map(RecipientQueue::turns);
        let warm = warm.filter_map(|(_, slot)| Some(self.entries.get(slot)?.received_ms)).min();
        let cold = Cold::of(self, queue, self.names.key(recipient)).map(|filed| filed.head.received_ms).min();
        let oldest = warm.into_iter().chain(cold).min().unwrap_or(0);
        if let Some(queue) = queue {
            queue.learn_oldest_ms(oldest);
        }
        oldest
    }
}

/// What is in the files of a queue, in order, without what has left. What is warm is in them, too. Ends where a file can't be
/// read.
pub(super) struct Cold<'a> {
    filing: Option<&'a Filing>,
    recipient: [u8; 32],
    page: std::vec::IntoIter<Filed>,
    after: Turn,
    more: bool,
}

impl<'a> Cold<'a> {
    pub(super) fn of(shelf: &'a Shelf, queue: Option<&RecipientQueue>, recipient: [u8; 32]) -> Self {
        let filing = shelf.filing.as_ref().filter(|_| queue.is_some_and(RecipientQueue::has_cold));
        let after = queue.map_or(Turn::START, RecipientQueue::start);
        Self { filing, recipient, page: Vec::new().into_iter(), after, more: true }
    }
}

impl Iterator for Cold<'_> {
    type Item = Filed;

    fn next(&mut self) -> Option<Filed> {
        let filing = self.filing?;
        loop {
            let next = self.page.find(|filed| !filing.has_left(filed.head.seq));
            if next.is_some() || !self.more {
                return next;
            }
            let page = filing.queue(&self.recipient, self.after).unwrap_or_default();
            self.more = page.len() == PAGE;
            self.after = page.last().map_or(self.after, |last| Turn::new(last.rank, last.head.seq));
            self.page = page.into_iter();
        }
    }
}
