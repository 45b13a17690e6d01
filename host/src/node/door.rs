//! The one door into the node: [`NodeApi`] over its running parts.

mod emergency;
mod inbox;
mod mailbox;
mod parcel;
mod peers;
mod ping;
mod routes;
mod status;
mod trust;
mod why;

pub(super) use inbox::READ_KEY;
pub(crate) use inbox::inbox_places;
pub(super) use peers::SERVER_PREFIX;
pub(crate) use routes::route_table;
pub(super) use status::nowhere;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use qpq_schemas::TopicId;
use qpq_schemas::envelope::Envelope;
use tokio::sync::Notify;

use super::channels::{BOTS, USER};
use super::shared::Shared;
use crate::api::{
    ApiError, BlocksImported, BotStatus, BroadcastRequest, ChannelInfo, DeliveryPage, DeliveryQuery, ExportPage,
    ExportQuery, FederationReport, IdentityInfo, ImportOutcome, InboxPage, InboxQuery, LinkLimit, MachineReport,
    NodeApi, NodeStatus, NoticeInfo, PeerInfo, PingReport, PluginStatus, QueuePage, QueueQuery, Receipt, Reply,
    RouteTable, ScriptApproval, ScriptEval, ScriptEvaluated, ScriptLogPage, ScriptLogQuery, SendRequest, ServerNote,
    SourceText, StoreStats, Trust, WhyReport,
};
use crate::config::{Config, ConfigErrors};
use crate::core::{Event, Limit};
use crate::identity::Sighting;
use crate::plugin::{Fresh, Registry};
use crate::script::ScriptHost;

/// The door, as one kind of client goes through it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) plugins: Arc<OnceLock<Registry>>,
    pub(super) scripts: Arc<OnceLock<ScriptHost>>,
    /// Who subscribes through this door.
    pub(super) subscriber: &'static str,
    /// Set when the node shall stop.
    pub(super) stop: Arc<Notify>,
}

impl Door {
    /// Runs a call with a door of its own.
    fn call<T, F>(&self, work: impl FnOnce(Self) -> F) -> Reply<T>
    where
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        work(self.clone()).boxed()
    }

    fn registry(&self) -> Result<&Registry, ApiError> {
        self.plugins.get().ok_or_else(|| ApiError::new("starting", "the node is still starting"))
    }

    async fn direct(self, request: SendRequest) -> Result<Receipt, ApiError> {
        let to = self.addressee(&request.to).await?;
        self.refuse_blocked(to, &request.to)?;
        let record = self.shared.record_of(to).await?;
        let key = self.shared.identity.signing_key();
        let awaited = request.receipt && self.subscriber == USER; // bots hear of theirs by events
        let envelope = self.shared.defaults.direct(request, to, record.as_ref(), key)?;
        if awaited {
            self.shared.deliveries.expect(envelope.id(), to);
        }
        // Whom this node writes to is known from now on, so that it is dialled by its key alone. A full directory refuses.
        _ = self.shared.directory().upsert(to, &Sighting::default());
        self.shared.submit(envelope, true).await
    }

    async fn publish(self, request: BroadcastRequest) -> Result<Receipt, ApiError> {
        let channel = self.shared.channels().key_for(&request.topic)?;
        let envelope = self.shared.defaults.broadcast(request, &channel, self.shared.identity.signing_key())?;
        self.shared.submit(envelope, true).await
    }

    async fn take_in(self, wire: Bytes) -> Result<Receipt, ApiError> {
        let envelope = Envelope::from_wire(wire, self.shared.defaults.max_payload)
            .map_err(|refusal| ApiError::new(refusal.code(), refusal.to_string()))?;
        self.shared.submit(envelope, false).await
    }

    /// Changes the channels on a thread that may wait for the disk, then tells the core.
    async fn join(
        self,
        change: impl FnOnce(&Self) -> Result<ChannelInfo, ApiError> + Send + 'static,
    ) -> Result<ChannelInfo, ApiError> {
        let door = self.clone();
        let info = blocking(move || change(&door)).await?;
        self.shared.event(Event::Subscribe(info.topic_id)).await?;
        Ok(info)
    }

    /// Leaves a channel. Bots leave it with the user once none of them listens: of those that are gone nobody else takes it off.
    async fn leave(self, topic: String) -> Result<(), ApiError> {
        let bots = self.scripts.get().map_or_else(Vec::new, |scripts| scripts.on_channel(&topic));
        let is_for_all = self.subscriber == USER && bots.is_empty();
        let (door, name) = (self.clone(), topic.clone());
        let deserted: Result<Option<TopicId>, ApiError> = blocking(move || {
            let subscribers = if is_for_all { &[USER, BOTS][..] } else { &[door.subscriber] };
            door.shared.channels().leave(&name, subscribers)
        })
        .await;
        match deserted {
            Ok(Some(id)) => {
                self.shared.event(Event::Unsubscribe(id)).await?;
                // One that came to listen in between has it again.
                if is_for_all && self.scripts.get().is_some_and(|scripts| !scripts.on_channel(&topic).is_empty()) {
                    self.join(move |door| door.shared.channels().join(&topic, BOTS)).await?;
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.code == "not-subscribed" && !bots.is_empty() => {
                let bots = bots.join(", ");
                let text =
                    format!("`{topic}` is joined here by bots alone ({bots}); it can be left when none listens to it");
                Err(ApiError::new("joined-by-bots", text))
            }
            Err(error) => Err(error),
        }
    }

    async fn enable(self, name: String) -> Result<PluginStatus, ApiError> {
        let fresh = self.read_anew(&name).await?;
        self.registry()?.enable(&name, fresh).await.map_err(|error| ApiError::new("plugin", error.to_string()))
    }

    /// What the configuration says of a plugin now; only that is taken over.
    async fn read_anew(&self, name: &str) -> Result<Option<Fresh>, ApiError> {
        let fresh = |config: Config| {
            let trusted_with_key = config.plugins.trusted_with_key.clone();
            Fresh { config: config.plugin_config(name), trusted_with_key }
        };
        Ok(self.config_now().await?.map(fresh))
    }

    /// What the configuration says now; nothing where it was put together by hand.
    async fn config_now(&self) -> Result<Option<Config>, ApiError> {
        let Some(sources) = self.shared.sources.clone() else { return Ok(None) };
        let wrong =
            |errors: ConfigErrors| ApiError::new("configuration", format!("the configuration is wrong now: {errors}"));
        blocking(move || Ok(Some(sources.load().map_err(wrong)?.config))).await
    }

    async fn swap(self, name: String, file: Option<String>) -> Result<PluginStatus, ApiError> {
        let swapped = self.registry()?.swap(&name, file.map(PathBuf::from)).await;
        swapped.map_err(|error| ApiError::new(error.code(), error.to_string()))
    }

    async fn reload(self, name: Option<String>) -> Result<Vec<BotStatus>, ApiError> {
        let bots = self.bots()?;
        if let Some(config) = self.config_now().await? {
            bots.configure(name.as_deref(), config.script_host().bots);
        }
        bots.reload(name).await
    }

    fn bots(&self) -> Result<&ScriptHost, ApiError> {
        let off = || ApiError::new("scripts-off", "bots are off; set `scripts.enabled = true` and start again");
        self.scripts.get().ok_or_else(off)
    }
}

/// Runs what waits for the disk beside the tasks that must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::new("internal", error.to_string()))?
}

impl NodeApi for Door {
    fn status(&self) -> Reply<NodeStatus> {
        self.call(Self::node_status)
    }

    fn identity(&self) -> Reply<IdentityInfo> {
        self.call(|door| async move { Ok(door.own_identity()) })
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        self.call(Self::all_peers)
    }

    fn note_server(&self, address: String) -> Reply<ServerNote> {
        self.call(|door| door.note(address))
    }

    fn forget_server(&self, address: String) -> Reply<Option<String>> {
        self.call(|door| door.forget(address))
    }

    fn ping(&self, peer: String, count: u32) -> Reply<PingReport> {
        self.call(|door| door.ping_links(peer, count))
    }

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        self.call(|door| door.judge(peer, trust))
    }

    fn export_blocks(&self) -> Reply<String> {
        self.call(Self::blocks)
    }

    fn import_blocks(&self, list: String) -> Reply<BlocksImported> {
        self.call(|door| door.block_all(list))
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        self.call(|door| door.direct(request))
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        self.call(|door| door.publish(request))
    }

    fn enqueue(&self, envelope: Bytes) -> Reply<Receipt> {
        self.call(|door| door.take_in(envelope))
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        self.call(|door| door.join(move |door| door.shared.channels().join(&topic, door.subscriber)))
    }

    fn unsubscribe(&self, topic: String) -> Reply<()> {
        self.call(|door| door.leave(topic))
    }

    fn create_private(&self, name: String) -> Reply<ChannelInfo> {
        self.call(|door| door.join(move |door| door.shared.channels().create_private(&name)))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        self.call(|door| async move { Ok(door.shared.channels().list()) })
    }

    fn emergency_draft(&self, text: String, ttl_secs: Option<u32>) -> Reply<NoticeInfo> {
        self.call(|door| door.draft_notice(text, ttl_secs))
    }

    fn emergency_sign(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.call(|door| door.sign_notice(copies))
    }

    fn emergency_show(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.call(|door| door.show_notice(copies))
    }

    fn emergency_publish(&self, copies: Vec<String>) -> Reply<Receipt> {
        self.call(|door| door.publish_notice(copies))
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        self.call(|door| door.read_inbox(query))
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        self.call(|door| door.acknowledge(reader, seq))
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        self.call(|door| async move { Ok(door.shared.deliveries.page(query).await) })
    }

    fn routes(&self) -> Reply<RouteTable> {
        self.call(Self::route_table)
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        self.call(Self::figures)
    }

    fn why(&self, id: String) -> Reply<WhyReport> {
        self.call(|door| door.explain(id))
    }

    fn queue(&self, query: QueueQuery) -> Reply<QueuePage> {
        self.call(|door| door.queue_of(query))
    }

    fn export_mail(&self, query: ExportQuery) -> Reply<ExportPage> {
        self.call(|door| door.export(query))
    }

    fn import_mail(&self, envelopes: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        self.call(|door| door.import(envelopes))
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        self.call(|door| async move { Ok(door.registry()?.statuses().await) })
    }

    fn plugin_enable(&self, name: String) -> Reply<PluginStatus> {
        self.call(|door| door.enable(name))
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        self.call(|door| door.swap(name, file))
    }

    fn federation(&self) -> Reply<FederationReport> {
        self.call(Self::federation_report)
    }

    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        self.call(|door| async move { Ok(door.scripts.get().map_or_else(Vec::new, ScriptHost::list)) })
    }

    fn script_reload(&self, name: Option<String>) -> Reply<Vec<BotStatus>> {
        self.call(|door| door.reload(name))
    }

    fn script_approve(&self, name: String, approval: ScriptApproval) -> Reply<BotStatus> {
        self.call(|door| async move { door.bots()?.approve(name, approval).await })
    }

    fn script_logs(&self, query: ScriptLogQuery) -> Reply<ScriptLogPage> {
        self.call(|door| async move { Ok(door.bots()?.logs(query).await) })
    }

    fn script_eval(&self, eval: ScriptEval) -> Reply<ScriptEvaluated> {
        self.call(|door| async move { door.bots()?.eval(eval).await })
    }

    fn source(&self, bot: String, name: String) -> Reply<SourceText> {
        self.call(|door| async move { door.bots()?.source(&bot, &name).await })
    }

    fn machine(&self) -> Reply<MachineReport> {
        self.call(|door| async move { door.bots()?.machine().await })
    }

    fn limit_link(&self, peer: String, limit: Option<LinkLimit>) -> Reply<()> {
        self.call(|door| async move {
            let peer = door.resolve(&peer)?;
            let limit = limit.map(|limit| Limit {
                messages_per_minute: limit.messages_per_minute,
                bytes_per_minute: limit.bytes_per_minute,
            });
            if limit.is_some()
                && let Some(bounded) = door.shared.ask(move |core| core.too_many_limits(&peer)).await?
            {
                let message = format!(
                    "{bounded} neighbours have bounds of their own already, the most there may be; lift one first, as \
                     mesh.relay.limit(PEER) does"
                );
                return Err(ApiError::new("too-many-limits", message));
            }
            door.shared.event(Event::Limit { peer, limit }).await
        })
    }

    fn shutdown(&self) -> Reply<()> {
        self.call(|door| async move {
            door.stop.notify_one();
            Ok(())
        })
    }
}
