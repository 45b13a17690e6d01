//! Mailboxes in memory.

use std::sync::Mutex;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::ready;
use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::api::Reply;
use crate::api::mailbox::{MailFigures, MailItem, MailPage, MailboxApi, MailboxQuery};

/// Answers each call with something recognisable, and notes what was asked.
#[derive(Default)]
pub(super) struct Post {
    pub(super) calls: Mutex<Vec<String>>,
    owners: Mutex<Vec<PeerId>>,
}

impl Post {
    /// Whose mailboxes were used.
    pub(super) fn owners(&self) -> Vec<PeerId> {
        self.owners.lock().unwrap().clone()
    }

    fn note<T: Send + 'static>(&self, owner: PeerId, call: String, answer: T) -> Reply<T> {
        self.owners.lock().unwrap().push(owner);
        self.calls.lock().unwrap().push(call);
        ready(Ok(answer)).boxed()
    }
}

impl MailboxApi for Post {
    fn open(&self, owner: PeerId) -> Reply<()> {
        self.note(owner, "open".into(), ())
    }

    fn fetch(&self, owner: PeerId, query: MailboxQuery) -> Reply<MailPage> {
        let item = MailItem { seq: query.after + 1, envelope: vec![1, 2, 3], received_ms: 1_700_000_000_000 };
        let page = MailPage { items: vec![item; query.limit], next_after: query.after + 1 };
        self.note(owner, format!("fetch {query:?}"), page)
    }

    fn acknowledge(&self, owner: PeerId, ids: Vec<MessageId>) -> Reply<u32> {
        self.note(owner, format!("acknowledge {ids:?}"), 5)
    }

    fn subscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()> {
        self.note(owner, format!("subscribe {topics:?}"), ())
    }

    fn unsubscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()> {
        self.note(owner, format!("unsubscribe {topics:?}"), ())
    }

    fn publish(&self, owner: PeerId, record: Bytes) -> Reply<()> {
        self.note(owner, format!("publish {}", record.len()), ())
    }

    fn look_up(&self, who: String) -> Reply<Vec<Bytes>> {
        ready(Ok(vec![Bytes::from(who), Bytes::new()])).boxed()
    }

    fn figures(&self, owner: PeerId) -> Reply<MailFigures> {
        let topics = vec![TopicId([7; 32])];
        let figures = MailFigures { waiting: 1, waiting_bytes: 2, max_messages: 3, max_bytes: 4, topics };
        self.note(owner, "figures".into(), figures)
    }
}
