//! Keys and topic ids, each kept once however many messages bear it.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::limits::Room;
use super::slab::Slab;

/// The number of a name.
pub(super) type NameId = u32;

#[derive(Debug)]
struct Name {
    key: [u8; 32],
    uses: u32,
    waiting: Room,
    inbox: Room,
}

/// Which of a sender's figures.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tally {
    /// Messages that wait here for any recipient.
    Waiting,
    /// Direct messages in this node's inbox.
    Inbox,
}

/// The table of names, counted by use. Its hash is keyed, so that nobody can aim keys at one bucket.
#[derive(Debug, Default)]
pub(super) struct Names {
    slots: Slab<Name>,
    index: HashTable<NameId>,
    hasher: RandomState,
    spare: Room,
}

impl Names {
    /// The number of a name that is in use.
    pub(super) fn find(&self, key: &[u8; 32]) -> Option<NameId> {
        self.index.find(self.hasher.hash_one(key), |id| self.slots.get(*id).is_some_and(|n| n.key == *key)).copied()
    }

    /// One use more.
    pub(super) fn acquire(&mut self, key: &[u8; 32]) -> NameId {
        if let Some(id) = self.find(key) {
            if let Some(name) = self.slots.get_mut(id) {
                name.uses += 1;
            }
            return id;
        }
        let id = self.slots.insert(Name { key: *key, uses: 1, waiting: Room::default(), inbox: Room::default() });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), id, |id| {
            hasher.hash_one(slots.get(*id).map_or([0; 32], |name| name.key))
        });
        id
    }

    /// One use less; a name without uses is gone.
    pub(super) fn release(&mut self, id: NameId) {
        let Some(name) = self.slots.get_mut(id) else { return };
        name.uses = name.uses.saturating_sub(1);
        if name.uses > 0 {
            return;
        }
        let hash = self.hasher.hash_one(name.key);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.slots.remove(id);
    }

    pub(super) fn key(&self, id: NameId) -> [u8; 32] {
        self.slots.get(id).map_or([0; 32], |name| name.key)
    }

    pub(super) fn tally(&self, id: NameId, which: Tally) -> Room {
        self.slots.get(id).map_or_else(Room::default, |name| match which {
            Tally::Waiting => name.waiting,
            Tally::Inbox => name.inbox,
        })
    }

    /// A figure to change; a spare one when there is no such name.
    pub(super) fn tally_mut(&mut self, id: NameId, which: Tally) -> &mut Room {
        match (self.slots.get_mut(id), which) {
            (Some(name), Tally::Waiting) => &mut name.waiting,
            (Some(name), Tally::Inbox) => &mut name.inbox,
            (None, _) => &mut self.spare,
        }
    }

    /// The keys of which something waits as their sender, with how much.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ([u8; 32], Room)> + '_ {
        let names = (0..self.slots.slots()).filter_map(|id| self.slots.get(id));
        names.filter(|name| name.waiting.messages > 0).map(|name| (name.key, name.waiting))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
