//! Reading the inbox, with a durable place for each reader.

use std::time::Duration;

use qpq_schemas::envelope::Kind;
use qpq_schemas::{MessageId, TopicId};
use tokio::time::Instant;

use super::super::channels::USER;
use super::{Door, blocking};
use crate::api::{ApiError, InboxPage, InboxQuery};
use crate::core::{Core, Event};
use crate::store::Head;

/// Messages in a page when the reader names no number.
const DEFAULT_LIMIT: usize = 100;
/// Messages in a page at most.
const MAX_LIMIT: usize = 1_000;
/// Bytes of envelopes in a page, beyond its first message: a page must fit into one answer.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Longest wait for a message.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Longest name of a reader, in bytes.
const MAX_READER: usize = 128;

/// How far the user has read, by whichever client: beyond it the inbox never makes room.
pub(in crate::node) const READ_KEY: &[u8] = b"inbox-read";

fn reader_key(reader: &str) -> Result<Vec<u8>, ApiError> {
    if reader.is_empty() || reader.len() > MAX_READER {
        return Err(ApiError::new("bad-reader", format!("a reader's name has 1 to {MAX_READER} bytes")));
    }
    Ok([b"reader/", reader.as_bytes()].concat())
}

/// Where the messages of a page of the inbox stand: the oldest after that place, or the newest; of one topic, or of all.
pub(crate) fn inbox_places(
    core: &Core,
    after: u64,
    limit: usize,
    newest: bool,
    topic: Option<TopicId>,
) -> Vec<(u64, MessageId)> {
    let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) };
    let wanted = |head: &Head| topic.is_none_or(|topic| head.kind == Kind::Broadcast && head.destination == topic.0);
    let mut heads: Vec<Head> = match newest {
        true => {
            let newer = core.shelf().inbox_newest().take_while(|head| head.seq > after);
            newer.filter(wanted).take(limit).collect()
        }
        false => core.shelf().inbox(after).filter(wanted).take(limit).collect(),
    };
    let mut bytes = 0;
    let fits = heads.iter().take_while(|head| {
        bytes += head.wire_len as usize;
        bytes <= MAX_PAGE_BYTES
    });
    let fitting = fits.count().max(1);
    heads.truncate(fitting);
    if newest {
        heads.reverse();
    }
    heads.into_iter().map(|head| (head.seq, head.id)).collect()
}

impl Door {
    pub(super) async fn acknowledge(self, reader: String, seq: u64) -> Result<(), ApiError> {
        let mut kv = vec![(reader_key(&reader)?, Some(seq.to_be_bytes().to_vec()))];
        if self.subscriber == USER {
            kv.push((READ_KEY.to_vec(), Some(seq.to_be_bytes().to_vec())));
            self.shared.event(Event::InboxRead { seq }).await?;
        }
        self.shared.keep(kv).await
    }

    pub(super) async fn read_inbox(self, query: InboxQuery) -> Result<InboxPage, ApiError> {
        let after = match (query.after, &query.reader) {
            (Some(after), _) => after,
            (None, Some(reader)) => self.place_of(reader).await?,
            (None, None) => 0,
        };
        let topic = match &query.topic {
            Some(name) => Some(self.shared.channels().key_for(name)?.topic_id()),
            None => None,
        };
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        let mut grew = self.shared.inbox.clone();
        loop {
            grew.mark_unchanged();
            let places = self.places(after, query.limit, query.newest, topic).await?;
            if !places.is_empty() || Instant::now() >= deadline {
                return self.page(after, places).await;
            }
            // Whether the time is up or a message came, the next look decides.
            if let Ok(Err(_)) = tokio::time::timeout_at(deadline, grew.changed()).await {
                return Err(super::super::shared::stopping());
            }
        }
    }

    async fn place_of(&self, reader: &str) -> Result<u64, ApiError> {
        let (key, store) = (reader_key(reader)?, self.shared.store.clone());
        let found = blocking(move || store.kv_get(&key).map_err(|e| ApiError::new(e.code(), e.to_string()))).await?;
        Ok(found.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    async fn places(
        &self,
        after: u64,
        limit: usize,
        newest: bool,
        topic: Option<TopicId>,
    ) -> Result<Vec<(u64, MessageId)>, ApiError> {
        self.shared.ask(move |core| inbox_places(core, after, limit, newest, topic)).await
    }

    async fn page(&self, after: u64, places: Vec<(u64, MessageId)>) -> Result<InboxPage, ApiError> {
        let next_after = places.last().map_or(after, |(seq, _)| *seq);
        let shared = self.shared.clone();
        let (items, damaged) = blocking(move || shared.open(&places)).await?;
        for id in damaged {
            self.shared.event(Event::Damaged { id }).await?;
        }
        Ok(InboxPage { items, next_after })
    }
}
