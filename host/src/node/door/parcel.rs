//! Envelopes that leave and come in files. The node itself opens no file: the client reads and writes them.

use bytes::Bytes;
use futures::future::join_all;
use qpq_schemas::envelope::{Envelope, LARGEST_PAYLOAD};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::super::clock::now_ms;
use super::{Door, blocking};
use crate::api::{ApiError, ExportPage, ExportQuery, ImportOutcome};
use crate::core::{Core, Event, KNOWN};
use crate::store::{Head, Places, StoreError};

/// Envelopes that one call takes in.
const MAX_IMPORT: usize = 256;
/// Bytes of envelopes in a page, beyond its first: it must fit one answer.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Messages that are looked at for one page at first; fewer, when what stands there is too much for a page.
const LOOKS: u32 = 512;
/// Looks for one page, when nothing there is wanted.
const MAX_STEPS: u32 = 64;

/// Which of the envelopes that are held are wanted.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Waiting,
    WaitingFor(PeerId),
    Topic(TopicId),
    All,
}

impl Wanted {
    fn has(self, head: &Head, now_ms: u64) -> bool {
        let waits = head.places.has(Places::WAITING);
        let kept = head.places.has(Places::HISTORY);
        head.expires_ms > now_ms
            && match self {
                Self::Waiting => waits,
                Self::WaitingFor(peer) => waits && head.destination == peer.0,
                Self::Topic(topic) => kept && head.destination == topic.0,
                Self::All => waits || kept,
            }
    }
}

/// A place in the store, and which message should stand there.
type Found = (u64, MessageId);

impl Door {
    pub(super) async fn export(self, query: ExportQuery) -> Result<ExportPage, ApiError> {
        let wanted = self.wanted(&query)?;
        let mut next = Some(query.place);
        let mut places: Vec<Found> = Vec::new();
        let mut held = 0;
        for _ in 0..MAX_STEPS {
            let Some(place) = next.filter(|_| places.is_empty()) else { break };
            let look = move |core: &Core| (find(core, wanted, place), core.shelf().held() as u64);
            ((places, next), held) = self.shared.ask(look).await?;
        }
        let store = self.shared.store.clone();
        let (envelopes, lost) = blocking(move || read(&store, &places)).await?;
        let damaged = lost.len() as u64;
        for id in lost {
            self.shared.event(Event::Damaged { id }).await?;
        }
        Ok(ExportPage { envelopes, next, damaged, held })
    }

    fn wanted(&self, query: &ExportQuery) -> Result<Wanted, ApiError> {
        let both = "name a recipient, a channel, or all, but only one of them";
        Ok(match (&query.recipient, &query.topic, query.all) {
            (None, None, false) => Wanted::Waiting,
            (None, None, true) => Wanted::All,
            (Some(peer), None, false) => Wanted::WaitingFor(self.resolve(peer)?),
            (None, Some(topic), false) => Wanted::Topic(self.shared.channels().key_for(topic)?.topic_id()),
            _ => return Err(ApiError::new("bad-query", both)),
        })
    }

    /// The core checks signatures, dedup, quotas and the block list, as for a neighbour.
    pub(super) async fn import(self, envelopes: Vec<Bytes>) -> Result<Vec<ImportOutcome>, ApiError> {
        if envelopes.len() > MAX_IMPORT {
            let text = format!("at most {MAX_IMPORT} envelopes at a time, not {}", envelopes.len());
            return Err(ApiError::new("batch-too-large", text));
        }
        let taken = envelopes.into_iter().map(|wire| self.clone().import_one(wire));
        join_all(taken).await.into_iter().collect()
    }

    async fn import_one(self, wire: Bytes) -> Result<ImportOutcome, ApiError> {
        let max_payload = self.shared.defaults.max_payload.min(LARGEST_PAYLOAD);
        let envelope = match Envelope::from_wire(wire, max_payload) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                let (code, message) = (refusal.code().to_owned(), Some(refusal.to_string()));
                return Ok(ImportOutcome { id: None, code, message });
            }
        };
        let id = Some(envelope.id());
        match self.shared.import(envelope).await {
            Ok(_) => Ok(ImportOutcome { id, code: "new".to_owned(), message: None }),
            Err(error) if error.code == KNOWN => Ok(ImportOutcome { id, code: error.code, message: None }),
            Err(error) if error.code == "stopping" => Err(error),
            Err(error) => Ok(ImportOutcome { id, code: error.code, message: Some(error.message) }),
        }
    }
}

/// The next ones that are wanted, as many as fit a page, and where to go on.
fn find(core: &Core, wanted: Wanted, place: u64) -> (Vec<Found>, Option<u64>) {
    let now_ms = now_ms();
    let mut looks = LOOKS;
    loop {
        let (heads, next) = core.shelf().walk(place, looks);
        let heads: Vec<Head> = heads.into_iter().filter(|head| wanted.has(head, now_ms)).collect();
        let bytes: usize = heads.iter().map(|head| head.wire_len as usize).sum();
        if bytes <= MAX_PAGE_BYTES || looks == 1 {
            return (heads.iter().map(|head| (head.seq, head.id)).collect(), next);
        }
        looks /= 2;
    }
}

/// The envelopes, and which of them could not be read. Blocks on the disk.
fn read(store: &crate::store::Store, places: &[Found]) -> Result<(Vec<Vec<u8>>, Vec<MessageId>), ApiError> {
    let (mut envelopes, mut damaged) = (Vec::with_capacity(places.len()), Vec::new());
    for (seq, id) in places {
        match store.read(*seq) {
            Ok(record) => envelopes.push(record.wire.to_vec()),
            Err(StoreError::DamagedRecord { .. }) => damaged.push(*id),
            Err(StoreError::Missing { .. }) => {} // it went meanwhile
            Err(error) => return Err(ApiError::new(error.code(), error.to_string())),
        }
    }
    Ok((envelopes, damaged))
}
