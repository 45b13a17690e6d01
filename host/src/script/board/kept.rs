//! A bot's board over the life of its machines: the replica, and how it keeps up with the node's inbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use qpq_schemas::PeerId;

use super::super::lock;
use super::entry::{Entry, Source};
use super::fold::{Change, Replica, Settings};
use crate::api::{ApiError, InboxItem, InboxQuery, NodeApi};

/// Messages read from the inbox at a time.
const PAGE: usize = 128;
/// How long a replica goes on with what it has before it has everything told once more, in milliseconds. Only a full board
/// asks for it, and whoever fills it could make it ask all the time.
const REREAD_MS: u64 = 300_000;
/// Rounds of reading in a row: what a pin wants may name what else is wanted.
const ROUNDS: usize = 3;
/// Names of authors that are remembered.
const NAMES: usize = 4_096;

/// A board that a bot has opened.
#[derive(Debug)]
pub(crate) struct Board {
    pub topic: String,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub replica: Replica,
    /// What authors call themselves, as far as their messages said.
    names: BTreeMap<PeerId, String>,
    /// The inbox was read up to here.
    read_to: u64,
    /// When it may be read anew at the earliest.
    reread_ms: u64,
    /// Somebody is about to read it anew.
    taken: bool,
}

/// A board that is told everything anew. One that is not told to the end will be told once more.
struct Telling<'b>(Option<&'b Board>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if let Some(board) = self.0 {
            lock(&board.kept).replica.set_stale();
        }
    }
}

impl Board {
    pub(crate) fn new(topic: &str, settings: Settings) -> Self {
        let (replica, names) = (Replica::new(settings), BTreeMap::new());
        let kept = Kept { replica, names, read_to: 0, reread_ms: 0, taken: false };
        Self { topic: topic.to_owned(), kept: Mutex::new(kept) }
    }

    pub(crate) fn is(&self, topic: &str, settings: &Settings) -> bool {
        self.topic == topic && lock(&self.kept).replica.settings() == settings
    }

    /// Works on the board as it is at that moment.
    pub(crate) fn at<T>(&self, now_ms: u64, work: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = lock(&self.kept);
        kept.replica.expire(now_ms);
        work(&mut kept)
    }

    /// Entries that are held, for the figures: with those that died since somebody looked last.
    pub(crate) fn held(&self) -> usize {
        lock(&self.kept).replica.held()
    }

    /// Takes a message that came; what it changed, with the entry, if it is one.
    pub(crate) fn hear(&self, item: &InboxItem, now_ms: u64) -> Option<(Entry, Change)> {
        self.at(now_ms, |kept| {
            let entry = kept.tell(item, now_ms)?;
            let change = kept.replica.change_by(&entry)?;
            Some((entry, change))
        })
    }

    /// When the inbox is to be read again, as far as that is known: on a quiet channel nothing else would ask for it.
    pub(crate) fn next_reading_ms(&self, now_ms: u64) -> Option<u64> {
        self.at(now_ms, |kept| {
            let stale = kept.replica.is_stale().then_some(now_ms).or_else(|| kept.replica.stale_from());
            stale.map(|at| at.max(kept.reread_ms))
        })
    }

    /// Whether it is time to read the inbox again; then it is whoever asked who does.
    pub(crate) fn takes_reading(&self, now_ms: u64) -> bool {
        self.at(now_ms, |kept| {
            let due = kept.replica.is_stale() && kept.reread_ms <= now_ms;
            if due {
                (kept.reread_ms, kept.taken) = (now_ms + REREAD_MS, true);
            }
            due
        })
    }

    /// Reads what the inbox has that was not read yet; all of it, where the replica asks for that. What could not be read
    /// is read another time.
    pub(crate) async fn read(&self, node: &Arc<dyn NodeApi>, now_ms: impl Fn() -> u64) -> Result<(), ApiError> {
        let result = self.read_on(node, &now_ms).await;
        if result.is_err() {
            self.at(now_ms(), |kept| {
                kept.replica.set_stale();
                if kept.reread_ms <= now_ms() {
                    kept.reread_ms = now_ms() + REREAD_MS;
                }
            });
        }
        result
    }

    async fn read_on(&self, node: &Arc<dyn NodeApi>, now_ms: &impl Fn() -> u64) -> Result<(), ApiError> {
        let may = self.at(now_ms(), |kept| std::mem::take(&mut kept.taken) || kept.reread_ms <= now_ms());
        for _ in 0..ROUNDS {
            let mut telling = Telling(None);
            let mut after = self.at(now_ms(), |kept| {
                if may && kept.replica.is_stale() {
                    kept.replica.begin_again();
                    telling.0 = Some(self);
                    (kept.read_to, kept.reread_ms) = (0, now_ms() + REREAD_MS);
                }
                kept.read_to
            });
            loop {
                let topic = Some(self.topic.clone());
                let query = InboxQuery { after: Some(after), limit: PAGE, topic, ..InboxQuery::default() };
                let page = node.inbox(query).await?;
                if page.next_after <= after {
                    break;
                }
                after = page.next_after;
                let now_ms = now_ms();
                self.at(now_ms, |kept| {
                    page.items.iter().for_each(|item| _ = kept.tell(item, now_ms));
                    kept.read_to = kept.read_to.max(after);
                });
            }
            telling.0 = None;
            if !may || !self.at(now_ms(), |kept| kept.replica.is_stale()) {
                break;
            }
        }
        Ok(())
    }
}

impl Kept {
    /// Takes a message of the board's channel; the entry in it, if it is one.
    fn tell(&mut self, item: &InboxItem, now_ms: u64) -> Option<Entry> {
        if item.problem.is_some() || item.reaction {
            return None;
        }
        if let Some(name) = &item.from_name {
            self.note_name(item.from, name);
        }
        let InboxItem { id, from: signer, created_ms, expires_ms, .. } = *item;
        let entry = Entry::read(&Source { id, signer, created_ms, expires_ms }, &item.payload)?;
        self.replica.apply(entry.clone(), now_ms);
        Some(entry)
    }

    pub(crate) fn note_name(&mut self, peer: PeerId, name: &str) {
        if self.names.len() < NAMES || self.names.contains_key(&peer) {
            self.names.insert(peer, name.to_owned());
        }
    }

    /// What an author calls itself; the beginning of its key where that is unknown.
    pub(crate) fn name_of(&self, peer: &PeerId) -> String {
        self.names.get(peer).cloned().unwrap_or_else(|| peer.short())
    }
}
