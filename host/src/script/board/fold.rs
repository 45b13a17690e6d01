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
/// Entries beyond the bound at most: pinned posts, their last edits, their deletes.
const BEYOND: usize = 256;

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
            self.tidy();
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
        if !self.settings.moderators.contains(&entry.signer) {
            return;
        }
        match &entry.act {
            Act::Ban { key, .. } if !self.settings.moderators.contains(key) => {
                let before = self.marks.is_banned(key);
                self.marks.apply(entry);
                match (before, self.marks.is_banned(key)) {
                    (false, true) => self.drop_banned(),
                    (true, false) => self.stale = true,
                    _ => {}
                }
            }
            Act::Ban { .. } => {} // moderators answer to the reader alone
            Act::Pin { on, .. } => {
                if self.marks.apply(entry) {
                    self.stale |= *on && self.floor.is_some();
                    self.tidy();
                }
            }
            _ => _ = self.marks.apply(entry),
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
        let is_post = entry.text().is_some();
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
        if !is_post {
            self.tidy(); // it may stand for an older one
        }
    }

    fn is_below(&self, rank: Rank) -> bool {
        self.floor.is_some_and(|floor| rank <= floor.rank)
    }

    /// Whether a short reference can mean the post and a pinned one of the same owner, which may be itself.
    fn is_near_pinned(&self, post: &Entry) -> bool {
        let shortest = Reference::shortest(&post.id, [].into_iter());
        let near = self.posts_of(&shortest, post.owner());
        near.map(|other| &other.id).chain([&post.id]).any(|id| self.marks.pins(id))
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

    /// Lets go of what stands below the floor and is wanted no more.
    fn tidy(&mut self) {
        let Some(Floor { rank: floor, .. }) = self.floor else { return };
        let below = self.content.range(..=floor);
        let mut unwanted: Vec<Rank> =
            below.clone().filter(|(_, entry)| !self.is_wanted(entry)).map(|(rank, _)| *rank).collect();
        let left = below.count() - unwanted.len();
        let too_many = self.content.range(..=floor).map(|(rank, _)| *rank).filter(|rank| !unwanted.contains(rank));
        let too_many: Vec<Rank> = too_many.take(left.saturating_sub(BEYOND)).collect();
        unwanted.extend(too_many);
        unwanted.into_iter().for_each(|rank| self.remove(rank));
    }

    /// Whether a pinned post needs the entry: it is the post, its last edit, or its first delete.
    fn is_wanted(&self, entry: &Entry) -> bool {
        let rank = entry.rank();
        match &entry.act {
            Act::Post { .. } | Act::Reply { .. } => self.marks.pins(&entry.id),
            Act::Edit { of, .. } | Act::Delete { of } => {
                let is_edit = matches!(entry.act, Act::Edit { .. });
                let beaten = |other: &Entry| match &other.act {
                    Act::Edit { .. } => is_edit && other.rank() > rank,
                    Act::Delete { .. } => !is_edit && other.rank() < rank,
                    _ => false,
                };
                let pinned = self.posts_of(of, entry.owner()).filter(|post| self.marks.pins(&post.id));
                pinned.into_iter().any(|post| !self.changes_of(post).any(beaten))
            }
            _ => false,
        }
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
        let (id, owner) = (post.id, post.owner());
        let own = self.referring(&self.changes, id).filter(move |(_, entry)| entry.owner() == owner);
        own.filter(move |(reference, _)| only(self.posts_of(reference, owner)).is_some()).map(|(_, entry)| entry)
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
