//! Who has a mailbox here, and which topics belong to it. Kept in the store's key-value space.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_schemas::{PeerId, TopicId};
use tokio::sync::Notify;

use crate::api::ApiError;
use crate::api::mailbox::MAX_TOPICS;
use crate::config::ClientsConfig;
use crate::store::KeyValue;

/// Where mailboxes are kept over restarts, in the store's key-value space.
pub(super) const MAILBOX_PREFIX: &[u8] = b"mailbox/";
/// The version in the first byte of a kept mailbox.
const VERSION: u8 = 1;
/// Between two records of one key.
const PUBLISH_PAUSE: Duration = Duration::from_secs(10);
/// Length of a topic id, in bytes.
const TOPIC_LEN: usize = 32;

/// The mailboxes of a node.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    max: usize,
    kept: Mutex<Kept>,
    /// Held while the directory is searched for a client.
    pub(super) searching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    boxes: BTreeMap<PeerId, Mailbox>,
    readers: HashMap<TopicId, BTreeSet<PeerId>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    topics: BTreeSet<TopicId>,
    came: Arc<Notify>,
    published: Option<Instant>,
}

/// What to write so that a change is durable.
pub(super) type Write = (Vec<u8>, Option<Vec<u8>>);

impl Mailboxes {
    /// None yet; at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Puts back what the store held. Returns whose mailboxes they are, and the keys of those that no longer count: their
    /// holders are not let in any more.
    pub(super) fn restore(&self, found: Vec<KeyValue>, config: &ClientsConfig) -> (Vec<PeerId>, Vec<Vec<u8>>) {
        let mut kept = self.lock();
        let (mut owners, mut stale) = (Vec::new(), Vec::new());
        for (key, value) in found {
            match read(&key, &value).filter(|(owner, _)| config.admits(owner)) {
                Some((owner, topics)) => {
                    topics.iter().for_each(|topic| _ = kept.readers.entry(*topic).or_default().insert(owner));
                    kept.boxes.insert(owner, Mailbox { topics, ..Mailbox::default() });
                    owners.push(owner);
                }
                None => stale.push(key),
            }
        }
        (owners, stale)
    }

    /// Makes a mailbox; what to write, when it is new.
    pub(super) fn open(&self, owner: PeerId) -> Result<Option<Write>, ApiError> {
        let mut kept = self.lock();
        if kept.boxes.contains_key(&owner) {
            return Ok(None);
        }
        if kept.boxes.len() >= self.max {
            let text =
                format!("this node keeps {} mailboxes already; its admin can raise `clients.max_mailboxes`", self.max);
            return Err(ApiError::new("too-many-mailboxes", text));
        }
        kept.boxes.insert(owner, Mailbox::default());
        Ok(Some(write(&owner, &BTreeSet::new())))
    }

    /// A mailbox that could not be kept was never made.
    pub(super) fn forget(&self, owner: &PeerId) {
        self.lock().boxes.remove(owner);
    }

    /// Adds topics to a mailbox; what to write, when that changes anything.
    pub(super) fn subscribe(&self, owner: &PeerId, topics: &[TopicId]) -> Result<Option<Write>, ApiError> {
        let mut kept = self.lock();
        let mailbox = kept.boxes.get_mut(owner).ok_or_else(none)?;
        let new: BTreeSet<TopicId> = topics.iter().filter(|topic| !mailbox.topics.contains(*topic)).copied().collect();
        if mailbox.topics.len() + new.len() > MAX_TOPICS {
            let text = format!("a mailbox has at most {MAX_TOPICS} topics; unsubscribe from some first");
            return Err(ApiError::new("too-many-topics", text));
        }
        mailbox.topics.extend(&new);
        let written = (!new.is_empty()).then(|| write(owner, &mailbox.topics));
        mailbox.came.notify_waiters();
        new.iter().for_each(|topic| _ = kept.readers.entry(*topic).or_default().insert(*owner));
        Ok(written)
    }

    /// Takes topics off a mailbox; what to write, when that changes anything.
    pub(super) fn unsubscribe(&self, owner: &PeerId, topics: &[TopicId]) -> Result<Option<Write>, ApiError> {
        let mut kept = self.lock();
        let mailbox = kept.boxes.get_mut(owner).ok_or_else(none)?;
        let before = mailbox.topics.len();
        topics.iter().for_each(|topic| _ = mailbox.topics.remove(topic));
        let written = (mailbox.topics.len() != before).then(|| write(owner, &mailbox.topics));
        for topic in topics {
            let Some(readers) = kept.readers.get_mut(topic) else { continue };
            readers.remove(owner);
            if readers.is_empty() {
                kept.readers.remove(topic);
            }
        }
        Ok(written)
    }

    /// Whether a record of that key may be spread now. It goes to the whole mesh, so not too often.
    pub(super) fn may_publish(&self, owner: &PeerId) -> Result<(), ApiError> {
        let mut kept = self.lock();
        let mailbox = kept.boxes.get_mut(owner).ok_or_else(none)?;
        if mailbox.published.is_some_and(|at| at.elapsed() < PUBLISH_PAUSE) {
            let text = format!("a record was published less than {} s ago; wait a moment", PUBLISH_PAUSE.as_secs());
            return Err(ApiError::new("too-often", text));
        }
        mailbox.published = Some(Instant::now());
        Ok(())
    }

    /// The topics of a mailbox, and what is told when something comes.
    pub(super) fn of(&self, owner: &PeerId) -> Result<(Vec<TopicId>, Arc<Notify>), ApiError> {
        let kept = self.lock();
        let mailbox = kept.boxes.get(owner).ok_or_else(none)?;
        Ok((mailbox.topics.iter().copied().collect(), Arc::clone(&mailbox.came)))
    }

    /// A message for that key, or of that topic, is durable.
    pub(super) fn came(&self, destination: &[u8; 32]) {
        let kept = self.lock();
        let readers = kept.readers.get(&TopicId(*destination)).into_iter().flatten();
        for owner in readers.chain([&PeerId(*destination)]) {
            if let Some(mailbox) = kept.boxes.get(owner) {
                mailbox.came.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn none() -> ApiError {
    ApiError::new("no-mailbox", "this key has no mailbox here; call `mailbox` first")
}

pub(super) fn write(owner: &PeerId, topics: &BTreeSet<TopicId>) -> Write {
    let mut value = vec![VERSION];
    topics.iter().for_each(|topic| value.extend_from_slice(&topic.0));
    ([MAILBOX_PREFIX, &owner.0].concat(), Some(value))
}

pub(super) fn read(key: &[u8], value: &[u8]) -> Option<(PeerId, BTreeSet<TopicId>)> {
    let owner = PeerId(key.strip_prefix(MAILBOX_PREFIX)?.try_into().ok()?);
    let (version, topics) = value.split_first()?;
    if *version != VERSION || topics.len() % TOPIC_LEN != 0 || topics.len() > MAX_TOPICS * TOPIC_LEN {
        return None;
    }
    let topics = topics.chunks_exact(TOPIC_LEN).filter_map(|bytes| Some(TopicId(bytes.try_into().ok()?)));
    Some((owner, topics.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> ClientsConfig {
        ClientsConfig { open: true, ..ClientsConfig::default() }
    }

    #[test]
    fn what_is_written_is_read_back_while_its_holder_is_let_in() {
        let (anna, topic) = (PeerId([1; 32]), TopicId([2; 32]));
        let mailboxes = Mailboxes::new(2);
        assert!(mailboxes.open(anna).unwrap().is_some());
        let (key, value) = mailboxes.subscribe(&anna, &[topic]).unwrap().unwrap();
        let found = vec![(key.clone(), value.unwrap())];
        let again = Mailboxes::new(2);
        assert_eq!(again.restore(found.clone(), &open()), (vec![anna], vec![]));
        assert_eq!(again.of(&anna).unwrap().0, [topic]);
        assert!(again.subscribe(&anna, &[topic]).unwrap().is_none(), "nothing new, so nothing to write");
        let closed = Mailboxes::new(2);
        assert_eq!(closed.restore(found, &ClientsConfig::default()), (vec![], vec![key]));
        assert_eq!(closed.of(&anna).unwrap_err().code, "no-mailbox");
    }

    #[test]
    fn mailboxes_and_topics_are_bounded() {
        let mailboxes = Mailboxes::new(1);
        let anna = PeerId([1; 32]);
        mailboxes.open(anna).unwrap();
        assert!(mailboxes.open(anna).unwrap().is_none());
        assert_eq!(mailboxes.open(PeerId([2; 32])).unwrap_err().code, "too-many-mailboxes");
        let topic = |n: usize| TopicId(std::array::from_fn(|i| n.to_be_bytes().get(i).copied().unwrap_or(0)));
        let topics: Vec<TopicId> = (0..MAX_TOPICS).map(topic).collect();
        mailboxes.subscribe(&anna, &topics).unwrap();
        assert_eq!(mailboxes.subscribe(&anna, &[topic(MAX_TOPICS)]).unwrap_err().code, "too-many-topics");
        mailboxes.unsubscribe(&anna, &topics).unwrap();
        mailboxes.subscribe(&anna, &[topic(MAX_TOPICS)]).unwrap();
    }

    #[test]
    fn a_record_is_not_spread_too_often() {
        let mailboxes = Mailboxes::new(1);
        let anna = PeerId([1; 32]);
        assert_eq!(mailboxes.may_publish(&anna).unwrap_err().code, "no-mailbox");
        mailboxes.open(anna).unwrap();
        mailboxes.may_publish(&anna).unwrap();
        assert_eq!(mailboxes.may_publish(&anna).unwrap_err().code, "too-often");
    }

    #[tokio::test]
    async fn mail_wakes_its_reader_and_nobody_else() {
        let mailboxes = Mailboxes::new(2);
        let (anna, ben, topic) = (PeerId([1; 32]), PeerId([2; 32]), TopicId([3; 32]));
        mailboxes.open(anna).unwrap();
        mailboxes.open(ben).unwrap();
        mailboxes.subscribe(&anna, &[topic]).unwrap();
        let (at_anna, at_ben) = (mailboxes.of(&anna).unwrap().1, mailboxes.of(&ben).unwrap().1);
        for destination in [anna.0, topic.0] {
            let (told, other) = (at_anna.notified(), at_ben.notified());
            mailboxes.came(&destination);
            told.await;
            assert!(futures::FutureExt::now_or_never(other).is_none());
        }
    }
}
