//! Moderation: what the moderators that this reader names have said last of each post and of each key.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::{MessageId, PeerId};

use super::entry::{Act, Entry, Rank};
use super::reference::Reference;

/// Posts and keys that have a mark at most; of more the oldest marks go. Only moderators make marks.
const MARKS: usize = 4_096;

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

/// The marks in force.
#[derive(Debug, Default)]
pub(super) struct Marks {
    of: BTreeMap<Target, Mark>,
    ranks: BTreeMap<Rank, Target>,
    expiries: BTreeSet<(u64, Rank)>,
    /// The newest mark that went for want of room: none older is taken.
    floor: Option<Rank>,
}

impl Marks {
    /// Takes a moderator's entry; whether it is the last word on its target now.
    pub(super) fn apply(&mut self, entry: &Entry) -> bool {
        let (target, on, reason) = match &entry.act {
            Act::Pin { of, on } => (Target::Pin(*of), *on, Box::default()),
            Act::Hide { of, on, reason } => (Target::Hide(*of), *on, reason.clone()),
            Act::Ban { key, on } => (Target::Ban(*key), *on, Box::default()),
            _ => return false,
        };
        let rank = entry.rank();
        let older = self.of.get(&target).is_some_and(|mark| mark.rank >= rank);
        if older || self.floor.is_some_and(|floor| rank <= floor) {
            return false;
        }
        self.remove(&target);
        self.expiries.insert((entry.expires_ms, rank));
        self.ranks.insert(rank, target);
        self.of.insert(target, Mark { rank, expires_ms: entry.expires_ms, on, reason });
        if self.of.len() > MARKS
            && let Some((rank, target)) = self.ranks.pop_first()
        {
            self.floor = Some(rank);
            self.remove(&target);
        }
        true
    }

    /// Drops what is past its time; whether there was any.
    pub(super) fn expire(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        while let Some((_, rank)) = self.expiries.first().filter(|(at, _)| *at <= now_ms).copied()
            && let Some(target) = self.ranks.get(&rank).copied()
        {
            self.remove(&target);
            any = true;
        }
        any
    }

    /// When the first of them is past its time.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// All entries will be told again: older ones may count once more.
    pub(super) fn begin_again(&mut self) {
        self.floor = None;
    }

    pub(super) fn is_banned(&self, key: &PeerId) -> bool {
        self.of.get(&Target::Ban(*key)).is_some_and(|mark| mark.on)
    }

    /// Whether the post is pinned, whatever else the references may mean.
    pub(super) fn pins(&self, id: &MessageId) -> bool {
        self.last(Target::Pin, id, |_| true).is_some_and(|mark| mark.on)
    }

    /// As [`Marks::pins`], by those references only that are `clear`.
    pub(super) fn is_pinned(&self, id: &MessageId, clear: impl Fn(&Reference) -> bool) -> bool {
        self.last(Target::Pin, id, clear).is_some_and(|mark| mark.on)
    }

    /// Why the post is hidden, if it is.
    pub(super) fn hidden(&self, id: &MessageId, clear: impl Fn(&Reference) -> bool) -> Option<&str> {
        self.last(Target::Hide, id, clear).filter(|mark| mark.on).map(|mark| &*mark.reason)
    }

    /// The references of pins that stand.
    pub(super) fn pinned(&self) -> impl Iterator<Item = &Reference> {
        let lowest = Target::Pin(Reference::first());
        self.of
            .range(lowest..)
            .map_while(|(target, mark)| match target {
                Target::Pin(reference) => Some((reference, mark)),
                _ => None,
            })
            .filter(|(_, mark)| mark.on)
            .map(|(reference, _)| reference)
    }

    /// The last word on a post among the marks that can mean it.
    fn last(&self, kind: fn(Reference) -> Target, id: &MessageId, clear: impl Fn(&Reference) -> bool) -> Option<&Mark> {
        let (first, last) = Reference::all_to(id).into_inner();
        let between = self.of.range(kind(first)..=kind(last));
        let meant = between.filter_map(|(target, mark)| match target {
            Target::Pin(reference) | Target::Hide(reference) => reference.matches(id).then_some((reference, mark)),
            Target::Ban(_) => None,
        });
        meant.filter(|(reference, _)| clear(reference)).map(|(_, mark)| mark).max_by_key(|mark| mark.rank)
    }

    fn remove(&mut self, target: &Target) {
        if let Some(mark) = self.of.remove(target) {
            self.ranks.remove(&mark.rank);
            self.expiries.remove(&(mark.expires_ms, mark.rank));
        }
    }
}
