//! Mailboxes of people who have no node of their own.

use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::{MessageId, PeerId, TopicId};
use tokio::time::Instant;

use super::{Door, blocking};
use crate::api::mailbox::{MAX_ACKS, MAX_TOPICS, MailFigures, MailItem, MailPage, MailboxApi, MailboxQuery};
use crate::api::{ApiError, Reply};
use crate::core::{Event, MailPlace, MailQuery};
use crate::identity::ResolveError;
use crate::node::clock::now_ms;
use crate::node::engine::Message;
use crate::node::mailboxes::Write;
use crate::store::StoreError;

/// Messages in a page when the client names no number.
const DEFAULT_LIMIT: usize = 100;
/// Messages in a page at most.
const MAX_LIMIT: usize = 1_000;
/// Bytes of envelopes in a page, beyond its first message.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Longest wait for a message.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Between two searches for a name, of all clients together.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);
/// Longest text that is looked up, in bytes.
const MAX_WHO: usize = 256;

impl Door {
    async fn written(&self, write: Option<Write>) -> Result<(), ApiError> {
        match write {
            Some(write) => self.shared.keep(vec![write]).await,
            None => Ok(()),
        }
    }

    /// Durable first: mail must not stay here for a mailbox that is forgotten with the next restart.
    async fn make(self, owner: PeerId) -> Result<(), ApiError> {
        if owner == self.shared.identity.peer_id() {
            let text =
                "this is the node's own key, whose mail is in the node's inbox; give the client an identity of its own";
            return Err(ApiError::new("bad-key", text));
        }
        let Some(write) = self.shared.mailboxes().open(owner)? else { return Ok(()) };
        if let Err(error) = self.written(Some(write)).await {
            self.shared.mailboxes().forget(&owner);
            return Err(error);
        }
        tracing::info!(owner = %owner.short(), "a mailbox was made");
        self.shared.event(Event::Mailbox { peer: owner, kept: true }).await
    }

    async fn read_mail(self, owner: PeerId, query: MailboxQuery) -> Result<MailPage, ApiError> {
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) };
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        loop {
            let (topics, came) = self.shared.mailboxes().of(&owner)?;
            let mut told = std::pin::pin!(came.notified());
            told.as_mut().enable(); // what comes after the look counts
            let asked = MailQuery { peer: owner, topics, after: query.after, limit, max_bytes: MAX_PAGE_BYTES };
            let places = self.shared.ask(move |core| core.mail(&asked)).await?;
            if !places.is_empty() || Instant::now() >= deadline {
                return self.pages(query.after, places).await;
            }
            _ = tokio::time::timeout_at(deadline, told).await; // either way the next look decides
        }
    }

    async fn pages(&self, after: u64, places: Vec<MailPlace>) -> Result<MailPage, ApiError> {
        let next_after = places.iter().filter(|place| place.broadcast).map(|place| place.seq).next_back();
        let store = self.shared.store.clone();
        let (items, damaged) = blocking(move || {
            let (mut items, mut damaged) = (Vec::with_capacity(places.len()), Vec::new());
            for place in places {
                match store.read(place.seq) {
                    Ok(record) => items.push(MailItem {
                        seq: place.seq,
                        envelope: record.wire.to_vec(),
                        received_ms: record.head.received_ms,
                    }),
                    Err(StoreError::DamagedRecord { .. }) => damaged.push(place.id),
                    Err(StoreError::Missing { .. }) => {} // expired or fetched since
                    Err(error) => return Err(ApiError::new(error.code(), error.to_string())),
                }
            }
            Ok((items, damaged))
        })
        .await?;
        for id in damaged {
            self.shared.event(Event::Damaged { id }).await?;
        }
        Ok(MailPage { items, next_after: next_after.unwrap_or(after) })
    }

    async fn drop_fetched(self, owner: PeerId, ids: Vec<MessageId>) -> Result<u32, ApiError> {
        bounded("ids", ids.len(), MAX_ACKS)?;
        let held = ids.clone();
        let waiting = move |core: &crate::core::Core| {
            let waits = |id: &&MessageId| core.shelf().waiting(id).is_some_and(|head| head.destination == owner.0);
            held.iter().filter(waits).count()
        };
        let dropped = self.shared.ask(waiting).await?;
        self.shared.event(Event::Collected { peer: owner, ids }).await?;
        Ok(u32::try_from(dropped).unwrap_or(u32::MAX))
    }

    /// The signature is checked here, and not where everybody's envelopes pass.
    async fn take_record(self, owner: PeerId, wire: Bytes) -> Result<(), ApiError> {
        self.shared.mailboxes().may_publish(&owner)?;
        let refused = |error: qpq_schemas::record::RecordError| ApiError::new(error.code(), error.to_string());
        let record = NodeRecord::verify(&wire).map_err(refused)?;
        record.check_times(now_ms()).map_err(refused)?;
        if record.peer != owner {
            let text = format!("the record is of {}, and a client publishes only its own", record.peer);
            return Err(ApiError::new("not-permitted", text));
        }
        let change = Box::new(move |core: &mut crate::core::Core, _| core.client_record(record, &wire));
        self.shared.engine.send(Message::Change(change)).await.map_err(|_| crate::node::shared::stopping())
    }

    async fn find_records(self, who: String) -> Result<Vec<Bytes>, ApiError> {
        bounded("bytes", who.len(), MAX_WHO)?;
        if let Ok(peer) = who.trim().parse::<PeerId>() {
            return self.record(peer).await;
        }
        // Names are searched for in the whole directory, which others wait for meanwhile: one search at a time, with pauses.
        let _turn = self.shared.mailboxes().searching.lock().await;
        tokio::time::sleep(SEARCH_PAUSE).await;
        let found = self.shared.directory().resolve(&who);
        match found {
            Ok(peer) => self.record(peer).await,
            Err(ResolveError::Unknown) => Ok(Vec::new()),
            Err(error) => Err(ApiError::new(error.code(), error.to_string())),
        }
    }

    async fn record(&self, peer: PeerId) -> Result<Vec<Bytes>, ApiError> {
        self.shared.ask(move |core| core.records().wire(&peer).into_iter().collect()).await
    }

    async fn mail_figures(self, owner: PeerId) -> Result<MailFigures, ApiError> {
        let (topics, _) = self.shared.mailboxes().of(&owner)?;
        let counted = self.shared.ask(move |core| (core.shelf().waiting_for(&owner), core.recipient_quota()));
        let ((waiting, waiting_bytes), (max_messages, max_bytes)) = counted.await?;
        Ok(MailFigures { waiting, waiting_bytes, max_messages, max_bytes, topics })
    }
}

fn bounded(what: &str, len: usize, max: usize) -> Result<(), ApiError> {
    if len > max {
        return Err(ApiError::new("too-large", format!("one call takes at most {max} {what}, this one has {len}")));
    }
    Ok(())
}

impl MailboxApi for Door {
    fn open(&self, owner: PeerId) -> Reply<()> {
        self.call(move |door| door.make(owner))
    }

    fn fetch(&self, owner: PeerId, query: MailboxQuery) -> Reply<MailPage> {
        self.call(move |door| door.read_mail(owner, query))
    }

    fn acknowledge(&self, owner: PeerId, ids: Vec<MessageId>) -> Reply<u32> {
        self.call(move |door| door.drop_fetched(owner, ids))
    }

    fn subscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()> {
        self.call(move |door| async move {
            bounded("topics", topics.len(), MAX_TOPICS)?;
            let write = door.shared.mailboxes().subscribe(&owner, &topics)?;
            door.written(write).await
        })
    }

    fn unsubscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()> {
        self.call(move |door| async move {
            bounded("topics", topics.len(), MAX_TOPICS)?;
            let write = door.shared.mailboxes().unsubscribe(&owner, &topics)?;
            door.written(write).await
        })
    }

    fn publish(&self, owner: PeerId, record: Bytes) -> Reply<()> {
        self.call(move |door| door.take_record(owner, record))
    }

    fn look_up(&self, who: String) -> Reply<Vec<Bytes>> {
        self.call(move |door| door.find_records(who))
    }

    fn figures(&self, owner: PeerId) -> Reply<MailFigures> {
        self.call(move |door| door.mail_figures(owner))
    }
}
