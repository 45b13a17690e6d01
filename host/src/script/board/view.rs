//! A board as its reader sees it: lists, threads, searches.

use std::collections::BTreeSet;

use qpq_schemas::{MessageId, PeerId};

use super::entry::{Act, Entry};
use super::fold::Replica;
use super::reference::Reference;

/// Words that a search looks for at most.
pub(crate) const SEARCH_WORDS: usize = 16;

/// A post with all that was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post<'r> {
    pub id: MessageId,
    /// The shortest form that people can type.
    pub short: Reference,
    pub author: PeerId,
    /// Who signed it, if not the author.
    pub via: Option<PeerId>,
    pub text: &'r str,
    pub created_ms: u64,
    pub edited_ms: Option<u64>,
    pub pinned: bool,
    /// Why a moderator hid it.
    pub hidden: Option<&'r str>,
    pub parent: Option<MessageId>,
    /// Replies to it that are shown.
    pub replies: usize,
    pub expires_ms: u64,
    /// Below the first post of a thread: how far.
    pub depth: usize,
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Find {
    pub skip: usize,
    pub limit: usize,
    /// Only posts of this author.
    pub by: Option<PeerId>,
    /// The oldest first.
    pub reverse: bool,
    /// Replies as well.
    pub replies: bool,
    /// What moderators hid as well.
    pub hidden: bool,
}

/// Why a post is not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfound {
    Unknown,
    /// So many posts begin like this.
    Ambiguous(usize),
}

impl Replica {
    /// The id that a text means: a whole one, or its first digits.
    pub(crate) fn find(&self, text: &str) -> Result<MessageId, Unfound> {
        let reference = Reference::parse(text).ok_or(Unfound::Unknown)?;
        let meant: Vec<MessageId> =
            self.meant(&reference).filter(|post| !self.is_deleted(post)).map(|post| post.id).collect();
        match meant.as_slice() {
            [] => Err(Unfound::Unknown),
            [id] => Ok(*id),
            more => Err(Unfound::Ambiguous(more.len())),
        }
    }

    /// A post, also a hidden one. A deleted one has no text left.
    pub(crate) fn post(&self, id: &MessageId) -> Option<Post<'_>> {
        self.entry(id).map(|entry| self.show(entry, 0))
    }

    /// Pinned posts first, then the newest; replies stand in their threads.
    pub(crate) fn list(&self, find: &Find) -> Vec<Post<'_>> {
        let pinned = self.pinned();
        let above: BTreeSet<MessageId> = pinned.iter().map(|entry| entry.id).collect();
        let mut rest: Box<dyn Iterator<Item = &Entry>> = Box::new(self.posts().rev());
        let mut first: Box<dyn Iterator<Item = &Entry>> = Box::new(pinned.iter().copied());
        if find.reverse {
            (first, rest) = (Box::new(pinned.iter().rev().copied()), Box::new(self.posts()));
        }
        let all = first.chain(rest.filter(|entry| !above.contains(&entry.id)));
        let wanted = all.filter(|entry| self.is_listed(entry, find));
        wanted.skip(find.skip).take(find.limit).map(|entry| self.show(entry, 0)).collect()
    }

    fn is_listed(&self, entry: &Entry, find: &Find) -> bool {
        find.by.is_none_or(|by| entry.author() == by)
            && (find.replies || self.parent(entry).is_none())
            && self.is_shown(entry, find.hidden)
    }

    fn is_shown(&self, entry: &Entry, also_hidden: bool) -> bool {
        !self.is_deleted(entry) && (also_hidden || self.hidden(&entry.id).is_none())
    }

    /// A post and the replies below it, each with its own before the next. At most `limit`.
    pub(crate) fn thread(&self, id: &MessageId, limit: usize) -> Vec<Post<'_>> {
        let mut thread = Vec::new();
        let mut met = BTreeSet::new(); // references can be made to go in a circle
        let mut next: Vec<(&Entry, usize)> = self.entry(id).map(|entry| (entry, 0)).into_iter().collect();
        while let Some((entry, depth)) = next.pop().filter(|_| thread.len() < limit) {
            if met.insert(entry.id) && (depth == 0 || self.is_shown(entry, false)) {
                thread.push(self.show(entry, depth));
                let replies: Vec<&Entry> = self.replies_to(&entry.id).collect();
                next.extend(replies.into_iter().rev().map(|reply| (reply, depth + 1)));
            }
        }
        thread
    }

    /// The posts and replies with all these words in their text, newest first. Case doesn't matter.
    pub(crate) fn search(&self, words: &str, skip: usize, limit: usize) -> Vec<Post<'_>> {
        let words: Vec<String> = words.split_whitespace().take(SEARCH_WORDS).map(str::to_lowercase).collect();
        let fits = |entry: &&Entry| {
            let text = self.text(entry).to_lowercase();
            words.iter().all(|word| text.contains(word.as_str())) && self.is_shown(entry, false)
        };
        self.posts().rev().filter(fits).skip(skip).take(limit).map(|entry| self.show(entry, 0)).collect()
    }

    /// How many posts and replies are shown.
    pub(crate) fn size(&self) -> usize {
        self.posts().filter(|entry| self.is_shown(entry, false)).count()
    }

    /// Who may change a post.
    pub(crate) fn owner(&self, id: &MessageId) -> Option<super::entry::Owner> {
        self.entry(id).map(Entry::owner)
    }

    /// The post that a reply answers, if it is here.
    fn parent(&self, entry: &Entry) -> Option<&Entry> {
        let Act::Reply { to, .. } = &entry.act else { return None };
        let mut meant = self.meant(to);
        let parent = meant.next().filter(|_| meant.next().is_none())?;
        (parent.id != entry.id && !self.is_deleted(parent)).then_some(parent)
    }

    fn text<'r>(&'r self, entry: &'r Entry) -> &'r str {
        match self.last_edit(entry).map(|edit| &edit.act) {
            Some(Act::Edit { text, .. }) => text,
            _ => entry.text().unwrap_or_default(),
        }
    }

    fn show<'r>(&'r self, entry: &'r Entry, depth: usize) -> Post<'r> {
        let deleted = self.is_deleted(entry);
        Post {
            id: entry.id,
            short: Reference::shortest(&entry.id, self.beside(&entry.id)),
            author: entry.author(),
            via: entry.on_behalf.map(|_| entry.signer),
            text: if deleted { "" } else { self.text(entry) },
            created_ms: entry.created_ms,
            edited_ms: self.last_edit(entry).map(|edit| edit.created_ms),
            pinned: self.is_pinned(&entry.id),
            hidden: self.hidden(&entry.id),
            parent: self.parent(entry).map(|parent| parent.id),
            replies: self.replies_to(&entry.id).filter(|reply| self.is_shown(reply, false)).count(),
            expires_ms: entry.expires_ms,
            depth,
        }
    }
}
