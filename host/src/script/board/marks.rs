//! Moderation: what the moderators that this reader names have said last of each post and of each key.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::{MessageId, PeerId};

use super::entry::{Act, Entry, Rank};
use super::reference::Reference;

/// Pins that count: of more the oldest go. Each keeps posts on a board that is full.
const PINS: usize = 128;
/// Hidden posts and banned keys: of more the oldest go.
const OTHERS: usize = 4_096;

/// What a mark is about. Of a post there may be several, one for each length in which its id was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Pin(Reference),
    Hide(Reference),
    Ban(PeerId),
}

/// The last word on a target.
#[derive(Debug, Clone)]
struct Mark {
    rank: Rank,
    expires_ms: u64,
    on: bool,
    reason: Box<str>,
}

/// The marks in force. Only moderators make them.
#[derive(Debug)]
pub(super) struct Marks {
    pins: Book,
    others: Book,
}

/// The newest marks, up to a number.
#[derive(Debug)]
struct Book {
    most: usize,
    of: BTreeMap<Target, Mark>,
    ranks: BTreeMap<Rank, Target>,
    expiries: BTreeSet<(u64, Rank)>,
    /// The newest mark that went for want of room: none older is taken.
    floor: Option<Rank>,
}

/// What a word of a moderator has done.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Applied {
    /// It is the last word on its target now.
    pub stands: bool,
    /// A ban went for want of room.
    pub lifted: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self::with(PINS, OTHERS)
    }
}

impl Marks {
    pub(super) fn with(pins: usize, others: usize) -> Self {
        Self { pins: Book::new(pins), others: Book::new(others) }
    }

    /// Takes a moderator's entry.
    pub(super) fn apply(&mut self, entry: &Entry) -> Applied {
        let (target, on, reason) = match &entry.act {
            Act::Pin { of, on } => (Target::Pin(*of), *on, Box::default()),
            Act::Hide { of, on, reason } => (Target::Hide(*of), *on, reason.clone()),
            Act::Ban { key, on } => (Target::Ban(*key), *on, Box::default()),
            _ => return Applied::default(),
        };
        let mark = Mark { rank: entry.rank(), expires_ms: entry.expires_ms, on, reason };
        if matches!(target, Target::Pin(_)) { self.pins.apply(target, mark) } else { self.others.apply(target, mark) }
    }

    /// Drops what is past its time; whether there was any.
    pub(super) fn expire(&mut self, now_ms: u64) -> bool {
        let pins = self.pins.expire(now_ms);
        self.others.expire(now_ms) || pins
    }

    /// When the first of them is past its time.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        [&self.pins, &self.others].into_iter().filter_map(|book| Some(book.expiries.first()?.0)).min()
    }

    /// All entries will be told again: older ones may count once more.
    pub(super) fn begin_again(&mut self) {
        (self.pins.floor, self.others.floor) = (None, None);
    }

    pub(super) fn is_banned(&self, key: &PeerId) -> bool {
        self.others.of.get(&Target::Ban(*key)).is_some_and(|mark| mark.on)
    }

    /// The pin of a post, whatever else it may mean.
    pub(super) fn pin(&self, id: &MessageId) -> Option<&Reference> {
        self.pins.last(Target::Pin, id, |_| true).filter(|(_, mark)| mark.on).map(|(reference, _)| reference)
    }

    /// Whether the post is pinned by those references that are `clear`.
    pub(super) fn is_pinned(&self, id: &MessageId, clear: impl Fn(&Reference) -> bool) -> bool {
        self.pins.last(Target::Pin, id, clear).is_some_and(|(_, mark)| mark.on)
    }

    /// Why the post is hidden, if it is.
    pub(super) fn hidden(&self, id: &MessageId, clear: impl Fn(&Reference) -> bool) -> Option<&str> {
        self.others.last(Target::Hide, id, clear).filter(|(_, mark)| mark.on).map(|(_, mark)| &*mark.reason)
    }

    /// The references of pins that stand.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &Reference> {
        self.pins.of.iter().filter(|(_, mark)| mark.on).filter_map(|(target, _)| match target {
            Target::Pin(reference) => Some(reference),
            _ => None,
        })
    }
}

impl Book {
    fn new(most: usize) -> Self {
        let (of, ranks, expiries) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { most, of, ranks, expiries, floor: None }
    }

    fn apply(&mut self, target: Target, mark: Mark) -> Applied {
        let rank = mark.rank;
        let older = self.of.get(&target).is_some_and(|mark| mark.rank >= rank);
        if older || self.floor.is_some_and(|floor| rank <= floor) {
            return Applied::default();
        }
        self.remove(&target);
        self.expiries.insert((mark.expires_ms, rank));
        self.ranks.insert(rank, target);
        self.of.insert(target, mark);
        let mut applied = Applied { stands: true, lifted: false };
        if self.of.len() > self.most
            && let Some((rank, oldest)) = self.ranks.pop_first()
        {
            self.floor = Some(rank);
            applied.stands = oldest != target;
            let gone = self.remove(&oldest);
            applied.lifted = applied.stands && matches!(oldest, Target::Ban(_)) && gone.is_some_and(|mark| mark.on);
        }
        applied
    }

    fn expire(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        while let Some((_, rank)) = self.expiries.first().filter(|(at, _)| *at <= now_ms).copied()
            && let Some(target) = self.ranks.get(&rank).copied()
        {
            self.remove(&target);
            any = true;
        }
        any
    }

    /// The last word on a post among the marks that can mean it.
    fn last(
        &self,
        kind: fn(Reference) -> Target,
        id: &MessageId,
        clear: impl Fn(&Reference) -> bool,
    ) -> Option<(&Reference, &Mark)> {
        let (first, last) = Reference::all_to(id).into_inner();
        let between = self.of.range(kind(first)..=kind(last));
        let meant = between.filter_map(|(target, mark)| match target {
            Target::Pin(reference) | Target::Hide(reference) => reference.matches(id).then_some((reference, mark)),
            Target::Ban(_) => None,
        });
        meant.filter(|(reference, _)| clear(reference)).max_by_key(|(_, mark)| mark.rank)
    }

    fn remove(&mut self, target: &Target) -> Option<Mark> {
        let mark = self.of.remove(target)?;
        self.ranks.remove(&mark.rank);
        self.expiries.remove(&(mark.expires_ms, mark.rank));
        Some(mark)
    }
}
