//! What the parts of a running node share.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use qpq_schemas::envelope::Envelope;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::{MessageId, PeerId};
use tokio::sync::{mpsc, oneshot, watch};

use super::channels::Channels;
use super::deliveries::Deliveries;
use super::dialer::Dialer;
use super::discovery::Discovery;
use super::emergency::Desk;
use super::engine::Message;
use super::mail::{Defaults, Opener};
use super::mailboxes::Mailboxes;
use super::switchboard::Switchboard;
use crate::api::{ApiError, InboxItem, LinkInfo, Receipt, Reply};
use crate::config::{Place, Sources};
use crate::core::{Core, Event};
use crate::identity::{Directory, Identity, SealingKeys};
use crate::store::{Batch, Store, StoreError, StoredRecord};

/// The state that tasks, the API and the listener all work on. Its locks are held for moments only, never over an await.
pub(super) struct Shared {
    basics: Basics,
    pub(super) started: Instant,
    pub(super) dialer: OnceLock<Arc<Dialer>>,
    /// Where the transports listen, as they told.
    listening: Mutex<Vec<String>>,
    /// What an admin should look at, by the part that it is about.
    warnings: Mutex<BTreeMap<String, String>>,
    directory: Mutex<Directory>,
    channels: Mutex<Channels>,
    sealing: Mutex<SealingKeys>,
    pub(super) deliveries: Deliveries,
    mailboxes: Mailboxes,
    /// Held while the directory is being written, so that one write follows the other.
    pub(super) saving: tokio::sync::Mutex<()>,
}

/// What [`Shared`] guards by locks of its own.
pub(super) struct Guarded {
    pub(super) directory: Directory,
    pub(super) channels: Channels,
    pub(super) sealing: SealingKeys,
    pub(super) mailboxes: Mailboxes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of a node that every call may need.
pub(super) struct Basics {
    pub(super) home: PathBuf,
    pub(super) nickname: Option<String>,
    pub(super) domain: Option<String>,
    /// The servers that the configuration names.
    pub(super) configured: Vec<String>,
    /// Where it names them.
    pub(super) configured_at: Place,
    /// To read the configuration anew.
    pub(super) sources: Option<Sources>,
    pub(super) defaults: Defaults,
    pub(super) desk: Desk,
    pub(super) identity: Arc<Identity>,
    pub(super) store: Store,
    pub(super) board: Arc<Switchboard>,
    pub(super) engine: mpsc::Sender<Message>,
    pub(super) inbox: watch::Receiver<u64>,
    pub(super) discovery: Arc<Discovery>,
}

impl Deref for Shared {
    type Target = Basics;

    fn deref(&self) -> &Basics {
        &self.basics
    }
}

impl Shared {
    pub(super) fn new(basics: Basics, guarded: Guarded) -> Self {
        Self {
            basics,
            started: Instant::now(),
            dialer: OnceLock::new(),
            listening: Mutex::default(),
            warnings: Mutex::default(),
            directory: Mutex::new(guarded.directory),
            channels: Mutex::new(guarded.channels),
            sealing: Mutex::new(guarded.sealing),
            deliveries: Deliveries::default(),
            mailboxes: guarded.mailboxes,
            saving: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }

    pub(super) fn channels(&self) -> MutexGuard<'_, Channels> {
        lock(&self.channels)
    }

    pub(super) fn sealing(&self) -> MutexGuard<'_, SealingKeys> {
        lock(&self.sealing)
    }

    /// Who has a mailbox here.
    pub(super) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    pub(super) fn listening(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.listening)
    }

    /// Puts up a warning, or takes it down.
    pub(super) fn warn(&self, about: &str, text: Option<String>) {
        let mut warnings = lock(&self.warnings);
        match text {
            Some(text) => _ = warnings.insert(about.to_owned(), text),
            None => _ = warnings.remove(about),
        }
    }

    /// Whether a warning about it is up.
    pub(super) fn warns(&self, about: &str) -> bool {
        lock(&self.warnings).contains_key(about)
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).iter().map(|(about, text)| format!("{about}: {text}")).collect()
    }

    /// Looks at the core.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |core: &Core| _ = reply.send(look(core)));
        self.engine.send(Message::Ask(look)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Looks at the core where that takes its router as well. What the core wants done is done with its next event.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Core, u64) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let look = move |core: &mut Core, now_ms: u64| {
            _ = reply.send(look(core, now_ms)); // who asked may have gone
            Vec::new()
        };
        self.engine.send(Message::Change(Box::new(look))).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Hands an envelope out of a file to the core; the reply comes once it is durable.
    pub(super) async fn import(&self, envelope: Envelope) -> Result<Receipt, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.engine.send(Message::Import { envelope, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    pub(super) async fn event(&self, event: Event) -> Result<(), ApiError> {
        self.engine.send(Message::Event(event)).await.map_err(|_| stopping())
    }

    /// Hands an envelope to the core; the reply comes once it is durable.
    pub(super) async fn submit(&self, envelope: Envelope, trusted: bool) -> Result<Receipt, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.engine.send(Message::Submit { envelope, trusted, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// The links to each peer, and how the core uses them.
    pub(super) async fn links_by_peer(&self) -> Result<BTreeMap<PeerId, Vec<LinkInfo>>, ApiError> {
        let used = self.ask(Core::links_in_use).await?;
        let mut peers = self.board.by_peer();
        for link in peers.values_mut().flatten() {
            if let Some(used) = used.get(&link.link) {
                (link.in_flight, link.preferred) = (used.in_flight, used.preferred);
            }
        }
        Ok(peers)
    }

    pub(super) async fn record_of(&self, peer: PeerId) -> Result<Option<NodeRecord>, ApiError> {
        self.ask(move |core| core.records().get(&peer).cloned()).await
    }

    /// Writes to the store's key-value space; the future is ready once it is durable. Writes take effect in the order of
    /// the calls, whenever their futures are polled.
    pub(super) fn keep(&self, kv: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Reply<()> {
        let (reply, answer) = oneshot::channel();
        let batch = Batch { kv, ..Batch::default() };
        let taken = self.store.submit(batch, move |result| _ = reply.send(result)); // who asked may have gone
        async move {
            taken.map_err(|_| ApiError::new("busy", "the store's queue is full; try again in a moment"))?;
            answer.await.map_err(|_| stopping())?.map_err(|error| ApiError::new(error.code(), error.to_string()))
        }
        .boxed()
    }

    /// Reads and opens messages. Blocks on the disk.
    pub(super) fn open(&self, places: &[(u64, MessageId)]) -> Result<(Vec<InboxItem>, Vec<MessageId>), ApiError> {
        let mut damaged = Vec::new();
        let mut records: Vec<StoredRecord> = Vec::with_capacity(places.len());
        for (seq, id) in places {
            match self.store.read(*seq) {
                Ok(record) => records.push(record),
                Err(StoreError::DamagedRecord { .. }) => damaged.push(*id),
                Err(StoreError::Missing { .. }) => {} // expired or removed since
                Err(error) => return Err(ApiError::new(error.code(), error.to_string())),
            }
        }
        let (channels, sealing, directory) = (self.channels(), self.sealing(), self.directory());
        let me = self.identity.peer_id();
        let desk = &self.desk;
        let opener = Opener { me, channels: &channels, sealing: &sealing, directory: &directory, desk };
        Ok((records.iter().filter_map(|record| opener.open(record)).collect(), damaged))
    }
}

/// The node is about to end.
pub(super) fn stopping() -> ApiError {
    ApiError::new("stopping", "the node is stopping")
}
