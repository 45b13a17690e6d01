//! Somebody with a mailbox at a node, and no node of their own: a `NodeApi` again, so that the command line and the prompt
//! need to know nothing of it.
//!
//! Messages are sealed and signed here and handed to the node; what it keeps for this key is fetched, opened and put on
//! this disk before the node is told. The node never sees a text or a secret. What only the node can do fails with the
//! node's own words.

#[cfg(feature = "fuzz-doors")]
pub mod fuzz;
mod inbox_file;
mod lock;
mod post;
mod remote_mailbox;

pub(super) use lock::HomeLock;
pub(super) use remote_mailbox::RemoteMailbox;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use qpq_schemas::PeerId;
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::Envelope;
use tokio::time::Instant;

use super::RemoteNode;
use crate::api::mailbox::MailboxQuery;
use crate::api::*;
use crate::config::{ConfigErrors, MessagesConfig, Sources};
use crate::identity::{self, Directory, IDENTITY_FILE, Identity, IdentityError, SealingKeys};
use crate::node::channels::{Channels, USER};
use crate::node::clock::now_ms;
use crate::node::deliveries::Deliveries;
use crate::node::emergency::Desk;
use crate::node::mail::Defaults;
use inbox_file::InboxFile;

/// Messages in a page when nobody names a number, and at most.
const LIMITS: (usize, usize) = (100, 1_000);
/// Longest wait for a message.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// One question for mail waits so long in the node. Shorter than what routers remember of a quiet flow.
const WAIT_STEP: Duration = Duration::from_secs(20);

/// Why a client can't use its data directory.
#[derive(Debug)]
pub enum OpenError {
    /// Its keys.
    Identity(IdentityError),
    /// Its configuration.
    Config(ConfigErrors),
    /// Its inbox or channels.
    Files(ApiError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Config(errors) => errors.fmt(f),
            Self::Files(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<IdentityError> for OpenError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

/// A client with a mailbox at a node. Clones are the same client.
#[derive(Clone)]
pub struct HomeClient(Arc<Inner>);

struct Inner {
    home: PathBuf,
    node: RemoteNode,
    /// The node's key.
    node_key: PeerId,
    mailbox: RemoteMailbox,
    identity: Arc<Identity>,
    nickname: Option<String>,
    defaults: Defaults,
    desk: Desk,
    files: Mutex<Files>,
    /// Receipts that this process waits for.
    deliveries: Deliveries,
    /// One fetch at a time.
    turn: tokio::sync::Mutex<Session>,
}

/// What stands in the data directory.
struct Files {
    directory: Directory,
    sealing: SealingKeys,
    inbox: InboxFile,
}

/// What was done since the connection was made.
#[derive(Default)]
struct Session {
    /// The node knows our topics.
    subscribed: bool,
}

/// The identity of a data directory, made on first use.
///
/// # Errors
/// As [`identity::open`].
pub fn identity_of(home: &Path) -> Result<Arc<Identity>, IdentityError> {
    let _lock = HomeLock::take(home)?;
    Ok(identity::open(home, &mut rand::rng())?.0)
}

impl HomeClient {
    /// A client of that node, over a connection that has proven the identity in `home`.
    ///
    /// # Errors
    /// When the data directory can't be used.
    pub fn open(home: &Path, node: RemoteNode, node_key: PeerId) -> Result<Self, OpenError> {
        let config = Sources::of_process(home.to_owned()).load().map_err(OpenError::Config)?.config;
        let (identity, directory, sealing) = {
            let _lock = HomeLock::take(home)?;
            let (identity, directory) = identity::open(home, &mut rand::rng())?;
            let sealing = SealingKeys::open(home, Arc::clone(&identity), now_ms(), &mut rand::rng())?;
            (identity, directory, sealing)
        };
        let inbox = InboxFile::open(home).map_err(OpenError::Files)?;
        let desk = Desk::of(&config);
        let MessagesConfig { ttl_secs, max_hops, max_payload } = config.messages;
        Ok(Self(Arc::new(Inner {
            home: home.to_owned(),
            mailbox: RemoteMailbox(node.clone()),
            node,
            node_key,
            identity,
            nickname: config.node.nickname,
            defaults: Defaults { ttl_secs, max_hops, max_payload },
            desk,
            files: Mutex::new(Files { directory, sealing, inbox }),
            deliveries: Deliveries::default(),
            turn: tokio::sync::Mutex::default(),
        })))
    }

    fn call<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Reply<T>
    where
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        work(Arc::clone(&self.0)).boxed()
    }
}

impl Inner {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the channels as they stand in the file, or changes them: one process of this client at a time.
    fn with_channels<T>(&self, work: impl FnOnce(&mut Channels) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let failed = |error: IdentityError| ApiError::new("channels", error.to_string());
        let _lock = HomeLock::take(&self.home).map_err(failed)?;
        work(&mut Channels::open(&self.home).map_err(failed)?)
    }

    fn channels(&self) -> Result<Channels, ApiError> {
        let failed = |error: IdentityError| ApiError::new("channels", error.to_string());
        let _lock = HomeLock::take(&self.home).map_err(failed)?;
        Channels::open(&self.home).map_err(failed)
    }

    /// Reads the sealing keys again, which another process of this client may have rotated, and rotates them when it is time.
    fn refresh_keys(&self) -> Result<(), ApiError> {
        let failed = |error: IdentityError| ApiError::new(error.code(), error.to_string());
        let _lock = HomeLock::take(&self.home).map_err(failed)?;
        let keys = SealingKeys::open(&self.home, Arc::clone(&self.identity), now_ms(), &mut rand::rng());
        self.files().sealing = keys.map_err(failed)?;
        Ok(())
    }

    fn tell_of(&self, notice: &Notice) -> NoticeInfo {
        let files = self.files();
        let names = |key: &PeerId| files.directory.name_of(key).map(str::to_owned);
        self.desk.describe(notice, self.identity.peer_id(), &names)
    }

    fn own_identity(&self) -> IdentityInfo {
        IdentityInfo {
            peer_id: self.identity.peer_id(),
            nickname: self.nickname.clone(),
            domain: None,
            listen: Vec::new(),
            identity_file: self.home.join(IDENTITY_FILE).display().to_string(),
            known_peers: self.files().directory.len(),
            fingerprint: self.identity.fingerprint(),
        }
    }

    async fn send(self: Arc<Self>, request: SendRequest) -> Result<Receipt, ApiError> {
        let (to, record) = self.recipient(&request.to).await?;
        let awaited = request.receipt;
        let envelope = self.defaults.direct(request, to, record.as_ref(), self.identity.signing_key())?;
        if awaited {
            self.deliveries.expect(envelope.id(), to);
        }
        self.hand_in(&envelope).await
    }

    async fn publish(self: Arc<Self>, request: BroadcastRequest) -> Result<Receipt, ApiError> {
        let channel = self.with_channels(|channels| channels.key_for(&request.topic))?;
        let envelope = self.defaults.broadcast(request, &channel, self.identity.signing_key())?;
        self.hand_in(&envelope).await
    }

    async fn hand_in(&self, envelope: &Envelope) -> Result<Receipt, ApiError> {
        self.node.enqueue(envelope.wire().clone()).await
    }

    /// Joins on this disk first. What the node refuses, such as one channel too many, is undone.
    async fn join(
        self: Arc<Self>,
        change: impl FnOnce(&mut Channels) -> Result<ChannelInfo, ApiError> + Send + 'static,
    ) -> Result<ChannelInfo, ApiError> {
        let (info, new) = self.with_channels(|channels| {
            let before = channels.topics();
            let info = change(channels)?;
            let new = !before.contains(&info.topic_id);
            Ok((info, new))
        })?;
        if let Err(error) = self.mailbox.subscribe(vec![info.topic_id]).await {
            if new {
                self.with_channels(|channels| channels.leave(&info.name, &[USER]))?;
            }
            return Err(error);
        }
        // What the channel had before this place was left out so far.
        self.files().inbox.start_again(self.node_key)?;
        Ok(info)
    }

    async fn leave(self: Arc<Self>, topic: String) -> Result<(), ApiError> {
        match self.with_channels(|channels| channels.leave(&topic, &[USER]))? {
            Some(topic) => self.mailbox.unsubscribe(vec![topic]).await,
            None => Ok(()),
        }
    }

    /// Fetches what waits, then reads from this disk. When there is nothing, waits at the node for something.
    async fn read(self: Arc<Self>, query: InboxQuery) -> Result<InboxPage, ApiError> {
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        loop {
            self.collect().await?;
            let page = self.page(&query)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !page.items.is_empty() || left.is_zero() {
                return Ok(page);
            }
            self.await_mail(left).await?;
        }
    }

    /// Waits at the node for mail, which the next round takes.
    async fn await_mail(&self, left: Duration) -> Result<(), ApiError> {
        let wait_ms = u64::try_from(left.min(WAIT_STEP).as_millis()).unwrap_or_default();
        let after = self.files().inbox.progress(&self.node_key).after;
        self.mailbox.fetch(MailboxQuery { after, limit: 1, wait_ms }).await.map(drop)
    }

    /// The receipts that came, or come within the time: they lie among the mail that waits at the node.
    async fn receipts(self: Arc<Self>, query: DeliveryQuery) -> Result<DeliveryPage, ApiError> {
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        loop {
            self.collect().await?;
            let page = self.deliveries.page(DeliveryQuery { wait_ms: 0, ..query }).await;
            let left = deadline.saturating_duration_since(Instant::now());
            if query.after.is_none() || !page.items.is_empty() || left.is_zero() {
                return Ok(page);
            }
            self.await_mail(left).await?;
        }
    }

    fn page(&self, query: &InboxQuery) -> Result<InboxPage, ApiError> {
        let limit = if query.limit == 0 { LIMITS.0 } else { query.limit.min(LIMITS.1) };
        let mut files = self.files();
        let after = match (query.after, &query.reader) {
            (Some(after), _) => after,
            (None, Some(reader)) => files.inbox.read_by(reader),
            (None, None) => 0,
        };
        let found = files.inbox.items(after)?;
        let mut items: Vec<InboxItem> = match query.newest {
            true => found.rev().take(limit).cloned().collect(),
            false => found.take(limit).cloned().collect(),
        };
        if query.newest {
            items.reverse();
        }
        let next_after = items.last().map_or(after, |item| item.seq);
        Ok(InboxPage { items, next_after })
    }

    /// What waits at the node, and what is here.
    async fn figures(self: Arc<Self>) -> Result<StoreStats, ApiError> {
        let figures = self.mailbox.figures().await?;
        Ok(StoreStats {
            waiting: usize::try_from(figures.waiting).unwrap_or(usize::MAX),
            waiting_bytes: figures.waiting_bytes,
            recipients: usize::from(figures.waiting > 0),
            inbox: self.files().inbox.len(),
            ..StoreStats::default()
        })
    }
}

impl NodeApi for HomeClient {
    fn identity(&self) -> Reply<IdentityInfo> {
        self.call(|client| async move { Ok(client.own_identity()) })
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        self.call(|client| client.send(request))
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        self.call(|client| client.publish(request))
    }

    fn enqueue(&self, envelope: Bytes) -> Reply<Receipt> {
        self.0.node.enqueue(envelope)
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        self.call(|client| client.join(move |channels| channels.join(&topic, USER)))
    }

    fn unsubscribe(&self, topic: String) -> Reply<()> {
        self.call(|client| client.leave(topic))
    }

    fn create_private(&self, name: String) -> Reply<ChannelInfo> {
        self.call(|client| client.join(move |channels| channels.create_private(&name)))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        self.call(|client| async move { client.with_channels(|channels| Ok(channels.list())) })
    }

    // With its own key: an admin needs no node to sign.

    fn emergency_draft(&self, text: String, ttl_secs: Option<u32>) -> Reply<NoticeInfo> {
        self.call(|client| async move { Ok(client.tell_of(&client.desk.draft(text, ttl_secs, now_ms())?)) })
    }

    fn emergency_sign(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.call(|client| async move {
            let notice = client.desk.sign(&copies, client.identity.signing_key(), now_ms())?;
            Ok(client.tell_of(&notice))
        })
    }

    fn emergency_show(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.call(|client| async move { Ok(client.tell_of(&client.desk.gather(&copies)?)) })
    }

    fn emergency_publish(&self, copies: Vec<String>) -> Reply<Receipt> {
        self.call(|client| async move {
            let key = client.identity.signing_key();
            let envelope = client.desk.envelope(&copies, &client.defaults, key, now_ms())?;
            client.hand_in(&envelope).await
        })
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        self.call(|client| client.read(query))
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        self.call(|client| async move { client.files().inbox.note_read(&reader, seq) })
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        self.call(Inner::figures)
    }

    // What only the node can do, it answers itself: a user hears that it is not permitted, and what would help.

    fn status(&self) -> Reply<NodeStatus> {
        self.0.node.status()
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        self.0.node.peers()
    }

    fn note_server(&self, address: String) -> Reply<ServerNote> {
        self.0.node.note_server(address)
    }

    fn forget_server(&self, address: String) -> Reply<Option<String>> {
        self.0.node.forget_server(address)
    }

    fn ping(&self, peer: String, count: u32) -> Reply<PingReport> {
        self.0.node.ping(peer, count)
    }

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        self.0.node.set_trust(peer, trust)
    }

    fn export_blocks(&self) -> Reply<String> {
        self.0.node.export_blocks()
    }

    fn import_blocks(&self, list: String) -> Reply<BlocksImported> {
        self.0.node.import_blocks(list)
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        self.call(|client| client.receipts(query))
    }

    fn federation(&self) -> Reply<FederationReport> {
        self.0.node.federation()
    }

    fn routes(&self) -> Reply<RouteTable> {
        self.0.node.routes()
    }

    fn why(&self, id: String) -> Reply<WhyReport> {
        self.0.node.why(id)
    }

    fn queue(&self, query: QueueQuery) -> Reply<QueuePage> {
        self.0.node.queue(query)
    }

    fn export_mail(&self, query: ExportQuery) -> Reply<ExportPage> {
        self.0.node.export_mail(query)
    }

    fn import_mail(&self, envelopes: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        self.0.node.import_mail(envelopes)
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        self.0.node.plugins()
    }

    fn plugin_enable(&self, name: String) -> Reply<PluginStatus> {
        self.0.node.plugin_enable(name)
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        self.0.node.plugin_swap(name, file)
    }

    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        self.0.node.scripts()
    }

    fn script_reload(&self, name: Option<String>) -> Reply<Vec<BotStatus>> {
        self.0.node.script_reload(name)
    }

    fn script_approve(&self, name: String, approval: ScriptApproval) -> Reply<BotStatus> {
        self.0.node.script_approve(name, approval)
    }

    fn script_logs(&self, query: ScriptLogQuery) -> Reply<ScriptLogPage> {
        self.0.node.script_logs(query)
    }

    fn script_eval(&self, eval: ScriptEval) -> Reply<ScriptEvaluated> {
        self.0.node.script_eval(eval)
    }

    fn shutdown(&self) -> Reply<()> {
        self.0.node.shutdown()
    }
}
