//! The replica of a board: which entries it holds.
//!
//! What is held depends on the set of entries that were told, not on their order. That is plain as long as everything
//! fits. When it does not, what stays is the newest, by the time of making: whatever else comes later, something that is
//! too old once stays too old. What went before may belong here after all where something is pinned, banned or banned no
//! more, where something has expired, and where a post comes after its edits. Then the replica is
//! [stale](Replica::is_stale), and is told everything once more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use qpq_schemas::{MessageId, PeerId};

use super::entry::{Act, Entry, Owner, Rank};
use super::marks::Marks;
use super::reference::Reference;

/// Memory for each entry that a board may hold, in bytes, on average: boards are short texts.
const BYTES_PER_ENTRY: usize = 2 << 10;
/// Posts beyond the bound that one pin keeps, the oldest: with two of them nobody knows which one it means.
const MEANT: usize = 2;
/// Edits of one pinned post beyond the bound, the newest, and deletes of it, the oldest, that are kept where they can mean
/// another post of the same owner as well.
const UNCLEAR: usize = 4;

/// What a reader wants of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a post stays, in milliseconds from its making.
    pub keep_ms: u64,
    /// Whose pins, hides and bans count here.
    pub moderators: BTreeSet<PeerId>,
    /// Entries held at most; edits and deletes count as well.
    pub posts: usize,
}

/// One node's copy of a board.
#[derive(Debug)]
pub(crate) struct Replica {
    settings: Settings,
    content: BTreeMap<Rank, Entry>,
    /// The posts and replies in `content`.
    posts: BTreeMap<MessageId, Rank>,
    /// The edits and deletes in it, by what they change.
    changes: BTreeSet<(Reference, Rank)>,
    /// The replies in it, by what they answer.
    replies: BTreeSet<(Reference, Rank)>,
    expiries: BTreeSet<(u64, Rank)>,
    marks: Marks,
    floor: Option<Floor>,
    /// Posts that came when there was a floor. Edits that went before may be wanted for them, or be the last again that mean
    /// one post and no other.
    late: BTreeSet<MessageId>,
    /// Entries above the floor, and their bytes.
    used: (usize, usize),
    stale: bool,
}

/// The newest entry that went for want of room. What is older stays only if a pinned post needs it.
#[derive(Debug, Clone, Copy)]
struct Floor {
    rank: Rank,
    /// When there may be room for older ones, since this one lives no more.
    expires_ms: u64,
}

/// What an entry changed, for those who watch the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// `new`, `edited`, `deleted`, `pinned`, `unpinned`, `hidden`, `shown`, `banned` or `unbanned`.
    pub word: &'static str,
    /// The post that it is about.
    pub post: Option<MessageId>,
    /// The key that it is about.
    pub key: Option<PeerId>,
}

impl Replica {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            content: BTreeMap::new(),
            posts: BTreeMap::new(),
            changes: BTreeSet::new(),
            replies: BTreeSet::new(),
            expiries: BTreeSet::new(),
            marks: Marks::default(),
            floor: None,
            late: BTreeSet::new(),
            used: (0, 0),
            stale: false,
        }
    }

    /// One with room for so few pins, and hidden posts and bans.
    #[cfg(test)]
    pub(super) fn with_marks(settings: Settings, pins: usize, others: usize) -> Self {
        Self { marks: Marks::with(pins, others), ..Self::new(settings) }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes an entry; one that is known already changes nothing.
    pub(crate) fn apply(&mut self, mut entry: Entry, now_ms: u64) {
        if entry.text().is_some() {
            entry.expires_ms = entry.expires_ms.min(entry.created_ms.saturating_add(self.settings.keep_ms));
        }
        if entry.expires_ms <= now_ms {
            return;
        }
        match entry.act {
            Act::Pin { .. } | Act::Hide { .. } | Act::Ban { .. } => self.moderate(&entry),
            _ if self.is_banned(&entry) => {}
            _ => self.hold(entry),
        }
    }

    /// Drops what is past its time.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((_, rank)) = self.expiries.first().filter(|(at, _)| *at <= now_ms).copied() {
            self.remove(rank);
            self.stale |= self.floor.is_some();
        }
        self.stale |= self.floor.is_some_and(|floor| floor.expires_ms <= now_ms);
        if self.marks.expire(now_ms) {
            self.stale = true; // an older word may count again
            self.tidy(None);
        }
    }

    /// Whether something that went earlier may belong here now. Then call [`Replica::begin_again`], and tell all entries
    /// once more, in any order.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale || !self.late.is_empty()
    }

    /// When it becomes stale by itself, if nothing else happens: at the next end of something that kept others out.
    pub(crate) fn stale_from(&self) -> Option<u64> {
        let held = self.expiries.first().map(|(at, _)| *at);
        let room = self.floor.map(|floor| held.map_or(floor.expires_ms, |at| at.min(floor.expires_ms)));
        room.into_iter().chain(self.marks.next_expiry()).min()
    }

    /// What was to be told once more could not be.
    pub(crate) fn set_stale(&mut self) {
        self.stale = true;
    }

    /// All entries will be told once more. What is held stays meanwhile.
    pub(crate) fn begin_again(&mut self) {
        self.stale = false;
        self.floor = None;
        self.late.clear();
        self.used = (self.content.len(), self.content.values().map(Entry::bytes).sum());
        self.marks.begin_again();
        self.shrink(); // what is pinned may be more than fits
    }

    fn is_banned(&self, entry: &Entry) -> bool {
        self.marks.is_banned(&entry.signer) || self.marks.is_banned(&entry.author())
    }

    fn moderate(&mut self, entry: &Entry) {
        let key = match &entry.act {
            Act::Ban { key, .. } => Some(*key),
            _ => None,
        };
        let moderators = &self.settings.moderators;
        // Moderators answer to the reader alone.
        if !moderators.contains(&entry.signer) || key.is_some_and(|key| moderators.contains(&key)) {
            return;
        }
        let is_banned = |marks: &Marks| key.is_some_and(|key| marks.is_banned(&key));
        let before = is_banned(&self.marks);
        let applied = self.marks.apply(entry);
        match (before, is_banned(&self.marks)) {
            (false, true) => self.drop_banned(),
            (true, false) => self.stale = true,
            _ => {}
        }
        self.stale |= applied.lifted;
        if applied.stands && matches!(entry.act, Act::Pin { .. }) {
            self.stale |= self.floor.is_some();
            self.tidy(None);
        }
    }

    fn drop_banned(&mut self) {
        let banned: Vec<Rank> =
            self.content.iter().filter(|(_, entry)| self.is_banned(entry)).map(|(rank, _)| *rank).collect();
        self.stale |= self.floor.is_some();
        banned.into_iter().for_each(|rank| self.remove(rank));
    }

    fn hold(&mut self, entry: Entry) {
        let rank = entry.rank();
        let is_new = !self.content.contains_key(&rank);
        if !is_new || self.is_below(rank) && !self.is_wanted(&entry) {
            return;
        }
        let (is_post, near) = (entry.text().is_some(), entry.about().widened());
        if is_post && self.floor.is_some() && self.is_near_pinned(&entry) {
            self.late.insert(entry.id);
        }
        if !self.is_below(rank) {
            self.used = (self.used.0 + 1, self.used.1 + entry.bytes());
        }
        self.expiries.insert((entry.expires_ms, rank));
        match &entry.act {
            Act::Edit { of, .. } | Act::Delete { of } => _ = self.changes.insert((*of, rank)),
            Act::Reply { to, .. } => _ = self.replies.insert((*to, rank)),
            _ => {}
        }
        if is_post {
            self.posts.insert(entry.id, rank);
        }
        self.content.insert(rank, entry);
        self.shrink();
        self.tidy(Some(near)); // it may stand for another one
    }

    fn is_below(&self, rank: Rank) -> bool {
        self.floor.is_some_and(|floor| rank <= floor.rank)
    }

    /// Whether a short reference can mean the post and a pinned one of the same owner, which may be itself.
    fn is_near_pinned(&self, post: &Entry) -> bool {
        let widest = Reference::widest(&post.id);
        let near = self.posts_of(&widest, post.owner());
        near.map(|other| &other.id).chain([&post.id]).any(|id| self.marks.pin(id).is_some())
    }

    /// Lets go of the oldest until the rest fits.
    fn shrink(&mut self) {
        while self.used.0 > self.settings.posts || self.used.1 > self.settings.posts.saturating_mul(BYTES_PER_ENTRY) {
            let from = self.floor.map_or(Unbounded, |floor| Excluded(floor.rank));
            let Some((rank, entry)) = self.content.range((from, Unbounded)).next() else { return };
            let (rank, bytes, wanted) = (*rank, entry.bytes(), self.is_wanted(entry));
            self.used = (self.used.0 - 1, self.used.1.saturating_sub(bytes));
            self.floor = Some(Floor { rank, expires_ms: entry.expires_ms });
            if !wanted {
                self.remove(rank);
            }
        }
    }

    /// Lets go of what stands below the floor and is wanted no more: of all, or of what is near an entry that came.
    fn tidy(&mut self, near: Option<Reference>) {
        let Some(Floor { rank: floor, .. }) = self.floor else { return };
        for posts in [true, false] {
            let is_below = |rank: &Rank| *rank <= floor;
            let some: Vec<Rank> = match near {
                None => self.content.range(..=floor).map(|(rank, _)| *rank).collect(),
                Some(near) if posts => self.posts.range(near.ids()).map(|(_, rank)| *rank).filter(is_below).collect(),
                Some(near) => {
                    let (first, last) = near.below().into_inner();
                    let changes = self.changes.range((first, Rank::FIRST)..=(last, Rank::LAST));
                    changes.map(|(_, rank)| *rank).filter(is_below).collect()
                }
            };
            for rank in some {
                let entry = self.content.get(&rank).filter(|entry| entry.text().is_some() == posts);
                if entry.is_some_and(|entry| !self.is_wanted(entry)) {
                    self.remove(rank);
                }
            }
        }
    }

    /// Whether a pinned post needs the entry: it is the post, its last edit, or its first delete.
    fn is_wanted(&self, entry: &Entry) -> bool {
        let rank = entry.rank();
        match &entry.act {
            Act::Post { .. } | Act::Reply { .. } => self.is_wanted_post(entry),
            Act::Edit { of, .. } | Act::Delete { of } => {
                let is_edit = matches!(entry.act, Act::Edit { .. });
                let beats = |other: &Entry| match &other.act {
                    Act::Edit { .. } => is_edit && other.rank() > rank,
                    Act::Delete { .. } => !is_edit && other.rank() < rank,
                    _ => false,
                };
                let mut wanted = self.posts_of(of, entry.owner()).filter(|post| self.is_wanted_post(post));
                wanted.any(|post| {
                    let beating = || self.changes_by_owner(post).filter(|(_, other)| beats(other));
                    beating().nth(UNCLEAR - 1).is_none() && !beating().any(|(of, _)| self.is_clear_to(of, post))
                })
            }
            _ => false,
        }
    }

    /// Whether a pin keeps the post. Those that the same pin keeps before it are older, so whether they are here doesn't
    /// depend on it.
    fn is_wanted_post(&self, post: &Entry) -> bool {
        let Some(pin) = self.marks.pin(&post.id) else { return false };
        let before =
            self.meant(pin).filter(|other| other.rank() < post.rank() && self.marks.pin(&other.id) == Some(pin));
        before.take(MEANT).count() < MEANT
    }

    fn remove(&mut self, rank: Rank) {
        let Some(entry) = self.content.remove(&rank) else { return };
        if !self.is_below(rank) {
            self.used = (self.used.0 - 1, self.used.1.saturating_sub(entry.bytes()));
        }
        self.expiries.remove(&(entry.expires_ms, rank));
        match &entry.act {
            Act::Edit { of, .. } | Act::Delete { of } => _ = self.changes.remove(&(*of, rank)),
            Act::Reply { to, .. } => _ = self.replies.remove(&(*to, rank)),
            _ => {}
        }
        if entry.text().is_some() {
            self.posts.remove(&entry.id);
            self.late.remove(&entry.id);
        }
    }
}

/// Looking up.
impl Replica {
    /// How many entries are held, shown or not.
    pub(crate) fn held(&self) -> usize {
        self.content.len()
    }

    /// The posts and replies, oldest first.
    pub(super) fn posts(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.content.values().filter(|entry| entry.text().is_some())
    }

    pub(super) fn entry(&self, id: &MessageId) -> Option<&Entry> {
        self.posts.get(id).and_then(|rank| self.content.get(rank))
    }

    /// The posts that a reference can mean.
    pub(super) fn meant(&self, reference: &Reference) -> impl Iterator<Item = &Entry> {
        self.posts.range(reference.ids()).filter_map(|(_, rank)| self.content.get(rank))
    }

    /// The ids next to this one, on both sides.
    pub(super) fn beside(&self, id: &MessageId) -> impl Iterator<Item = MessageId> {
        let before = self.posts.range(..*id).next_back();
        let after = self.posts.range((Excluded(*id), Unbounded)).next();
        before.into_iter().chain(after).map(|(id, _)| *id)
    }

    fn posts_of(&self, reference: &Reference, owner: Owner) -> impl Iterator<Item = &Entry> {
        self.meant(reference).filter(move |post| post.owner() == owner)
    }

    /// Whether a reference means one post and no other.
    pub(super) fn is_clear(&self, reference: &Reference) -> bool {
        only(self.meant(reference)).is_some()
    }

    /// The edits and deletes of a post by its owner that mean it and no other of his.
    pub(super) fn changes_of(&self, post: &Entry) -> impl Iterator<Item = &Entry> {
        self.changes_by_owner(post).filter(move |(of, _)| self.is_clear_to(of, post)).map(|(_, entry)| entry)
    }

    /// The edits and deletes by a post's owner that can mean it.
    fn changes_by_owner(&self, post: &Entry) -> impl Iterator<Item = (&Reference, &Entry)> {
        let owner = post.owner();
        self.referring(&self.changes, post.id).filter(move |(_, entry)| entry.owner() == owner)
    }

    /// Whether a reference that can mean a post can mean no other of its owner's.
    fn is_clear_to(&self, reference: &Reference, post: &Entry) -> bool {
        only(self.posts_of(reference, post.owner())).is_some()
    }

    /// The replies that mean a post and no other, oldest first.
    pub(super) fn replies_to(&self, id: &MessageId) -> impl Iterator<Item = &Entry> {
        let mut replies: Vec<&Entry> = self
            .referring(&self.replies, *id)
            .filter(|(reference, entry)| entry.id != *id && self.is_clear(reference))
            .map(|(_, entry)| entry)
            .collect();
        replies.sort_unstable_by_key(|entry| entry.rank());
        replies.into_iter()
    }

    fn referring<'r>(
        &'r self,
        index: &'r BTreeSet<(Reference, Rank)>,
        id: MessageId,
    ) -> impl Iterator<Item = (&'r Reference, &'r Entry)> {
        let (first, last) = Reference::all_to(&id).into_inner();
        let between = (first, Rank::FIRST)..=(last, Rank::LAST);
        let meant = index.range(between).filter(move |(reference, _)| reference.matches(&id));
        meant.filter_map(|(reference, rank)| Some((reference, self.content.get(rank)?)))
    }

    pub(super) fn is_pinned(&self, id: &MessageId) -> bool {
        self.marks.is_pinned(id, |reference| self.is_clear(reference))
    }

    /// Why the post is hidden, if it is.
    pub(super) fn hidden(&self, id: &MessageId) -> Option<&str> {
        self.marks.hidden(id, |reference| self.is_clear(reference))
    }

    /// The pinned posts, newest first.
    pub(super) fn pinned(&self) -> Vec<&Entry> {
        let meant = self.marks.pinned().filter_map(|reference| only(self.meant(reference)));
        let pinned: BTreeMap<Rank, &Entry> =
            meant.filter(|post| self.is_pinned(&post.id)).map(|post| (post.rank(), post)).collect();
        pinned.into_values().rev().collect()
    }

    /// What an entry that was told means to those who watch; `None` when it has no effect here.
    pub(crate) fn change_by(&self, entry: &Entry) -> Option<Change> {
        let moderates = self.settings.moderators.contains(&entry.signer);
        let about = |word, post: &Entry| Some(Change { word, post: Some(post.id), key: None });
        let last_word = |reference: &Reference, kind: fn(&Self, &MessageId) -> bool, on: bool| {
            only(self.meant(reference)).filter(|post| moderates && kind(self, &post.id) == on)
        };
        match &entry.act {
            Act::Post { .. } | Act::Reply { .. } => self.entry(&entry.id).and_then(|post| about("new", post)),
            Act::Edit { of, .. } => {
                let post = only(self.posts_of(of, entry.owner()))?;
                self.last_edit(post).filter(|last| last.id == entry.id)?;
                about("edited", post)
            }
            Act::Delete { of } => about("deleted", only(self.posts_of(of, entry.owner()))?),
            Act::Pin { of, on } => about(if *on { "pinned" } else { "unpinned" }, last_word(of, Self::is_pinned, *on)?),
            Act::Hide { of, on, .. } => {
                let is_hidden = |replica: &Self, id: &MessageId| replica.hidden(id).is_some();
                about(if *on { "hidden" } else { "shown" }, last_word(of, is_hidden, *on)?)
            }
            Act::Ban { key, on } => {
                let word = if *on { "banned" } else { "unbanned" };
                let stands = moderates && self.marks.is_banned(key) == *on;
                stands.then_some(Change { word, post: None, key: Some(*key) })
            }
        }
    }

    pub(super) fn last_edit(&self, post: &Entry) -> Option<&Entry> {
        let edits = self.changes_of(post).filter(|entry| matches!(entry.act, Act::Edit { .. }));
        edits.max_by_key(|entry| entry.rank())
    }

    pub(super) fn is_deleted(&self, post: &Entry) -> bool {
        self.changes_of(post).any(|entry| matches!(entry.act, Act::Delete { .. }))
    }

    /// Whether entries of that key are refused here.
    pub(crate) fn bans(&self, key: &PeerId) -> bool {
        self.marks.is_banned(key)
    }
}

/// The one item, if there is exactly one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
