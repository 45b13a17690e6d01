//! The door into a virtual node, as its bots go through it.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;

use super::super::lock;
use super::world::World;
use crate::api::{
    ApiError, BlocksImported, BotStatus, BroadcastRequest, ChannelInfo, DeliveryPage, DeliveryQuery, ExportPage,
    ExportQuery, FederationReport, IdentityInfo, ImportOutcome, InboxPage, InboxQuery, LinkLimit, MachineReport,
    NodeApi, NodeStatus, NoticeInfo, PeerInfo, PingReport, PluginStatus, QueuePage, QueueQuery, Receipt, Reply,
    RouteTable, ScriptApproval, ScriptEval, ScriptEvaluated, ScriptLogPage, ScriptLogQuery, SendRequest, ServerNote,
    SourceText, StoreStats, Trust, WhyReport,
};
use crate::node::door::route_table;

/// See the module. The world is locked for moments only: bots never run while it is.
pub(super) struct Door {
    pub world: Arc<Mutex<World>>,
    pub node: usize,
    pub bot: String,
}

impl Door {
    fn answer<T: Send + 'static>(&self, ask: impl FnOnce(&mut World) -> Result<T, ApiError>) -> Reply<T> {
        ready(ask(&mut lock(&self.world))).boxed()
    }

    fn receipt(&self, send: impl FnOnce(&mut World) -> Result<super::world::Answer, ApiError>) -> Reply<Receipt> {
        let answer = send(&mut lock(&self.world));
        async move {
            let stopping = |_| ApiError::new("stopping", "the node went down");
            answer?.await.map_err(stopping)?
        }
        .boxed()
    }
}

fn gone() -> ApiError {
    ApiError::new("stopping", "there is no such node")
}

fn not_here<T: Send + 'static>() -> Reply<T> {
    ready(Err(ApiError::new("not-here", "a virtual node has none of this"))).boxed()
}

impl NodeApi for Door {
    fn identity(&self) -> Reply<IdentityInfo> {
        self.answer(|world| {
            world.core(self.node)?;
            let node = world.nodes.get(self.node).ok_or_else(|| ApiError::new("stopping", "there is no such node"))?;
            Ok(IdentityInfo {
                peer_id: node.peer(),
                nickname: Some(node.name.clone()),
                domain: None,
                listen: vec![format!("virtual://{}", node.name)],
                identity_file: String::new(),
                known_peers: node.directory.len(),
                fingerprint: node.identity.fingerprint(),
            })
        })
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        self.answer(|world| world.peers(self.node))
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        self.receipt(|world| world.send(self.node, request, Some(&self.bot)))
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        self.receipt(|world| world.broadcast(self.node, request, Some(&self.bot)))
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        self.answer(|world| world.join(self.node, &topic, true))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        self.answer(|world| Ok(world.nodes.get(self.node).map(|node| node.channels.list()).unwrap_or_default()))
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        self.answer(|world| world.inbox(self.node, &query))
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        self.answer(|world| {
            world.core(self.node)?;
            world.nodes.get_mut(self.node).map(|node| node.readers.insert(reader, seq));
            Ok(())
        })
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        self.answer(|world| {
            world.core(self.node)?;
            Ok(world.nodes.get(self.node).map(|node| node.deliveries.look(query)).unwrap_or_default())
        })
    }

    fn routes(&self) -> Reply<RouteTable> {
        self.answer(|world| {
            let (plugin, dump) = world.core(self.node)?.routes(world.now_ms());
            let Some(node) = world.nodes.get(self.node) else { return Ok(RouteTable::default()) };
            let table = route_table(plugin, &dump, &node.directory)?;
            Ok(RouteTable { here: Some(node.peer()), here_name: Some(node.name.clone()), ..table })
        })
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        self.answer(|world| Ok(world.core(self.node)?.store_stats()))
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        self.answer(|world| Ok(world.nodes.get(self.node).map(|node| node.scene.plugins.clone()).unwrap_or_default()))
    }

    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        self.answer(|world| {
            let bots = world.nodes.get(self.node).map(|node| Arc::clone(&node.bots)).unwrap_or_default();
            let bots = bots.read().unwrap_or_else(PoisonError::into_inner);
            Ok(bots.iter().map(|bot| bot.status()).collect())
        })
    }

    fn status(&self) -> Reply<NodeStatus> {
        not_here()
    }

    fn note_server(&self, _: String) -> Reply<ServerNote> {
        not_here()
    }

    fn forget_server(&self, _: String) -> Reply<Option<String>> {
        not_here()
    }

    fn ping(&self, _: String, _: u32) -> Reply<PingReport> {
        not_here()
    }

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        self.answer(|world| world.judge(self.node, &peer, trust))
    }

    fn export_blocks(&self) -> Reply<String> {
        not_here()
    }

    fn import_blocks(&self, _: String) -> Reply<BlocksImported> {
        not_here()
    }

    fn enqueue(&self, _: Bytes) -> Reply<Receipt> {
        not_here()
    }

    fn unsubscribe(&self, _: String) -> Reply<()> {
        not_here()
    }

    fn create_private(&self, _: String) -> Reply<ChannelInfo> {
        not_here()
    }

    fn why(&self, _: String) -> Reply<WhyReport> {
        not_here()
    }

    fn queue(&self, _: QueueQuery) -> Reply<QueuePage> {
        not_here()
    }

    fn export_mail(&self, _: ExportQuery) -> Reply<ExportPage> {
        not_here()
    }

    fn import_mail(&self, _: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        not_here()
    }

    fn plugin_enable(&self, _: String) -> Reply<PluginStatus> {
        not_here()
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        self.answer(|world| world.nodes.get_mut(self.node).ok_or_else(gone)?.scene.swap(name, file))
    }

    fn source(&self, _: String, name: String) -> Reply<SourceText> {
        self.answer(|world| world.nodes.get(self.node).ok_or_else(gone)?.scene.source(&name))
    }

    fn machine(&self) -> Reply<MachineReport> {
        self.answer(|world| Ok(world.nodes.get(self.node).ok_or_else(gone)?.scene.machine.clone()))
    }

    fn limit_link(&self, peer: String, limit: Option<LinkLimit>) -> Reply<()> {
        self.answer(|world| world.limit(self.node, &peer, limit))
    }

    fn federation(&self) -> Reply<FederationReport> {
        not_here()
    }

    fn script_reload(&self, _: Option<String>) -> Reply<Vec<BotStatus>> {
        not_here()
    }

    fn script_approve(&self, _: String, _: ScriptApproval) -> Reply<BotStatus> {
        not_here()
    }

    fn script_logs(&self, _: ScriptLogQuery) -> Reply<ScriptLogPage> {
        not_here()
    }

    fn script_eval(&self, _: ScriptEval) -> Reply<ScriptEvaluated> {
        not_here()
    }

    fn emergency_draft(&self, _: String, _: Option<u32>) -> Reply<NoticeInfo> {
        not_here()
    }

    fn emergency_sign(&self, _: Vec<String>) -> Reply<NoticeInfo> {
        not_here()
    }

    fn emergency_show(&self, _: Vec<String>) -> Reply<NoticeInfo> {
        not_here()
    }

    fn emergency_publish(&self, _: Vec<String>) -> Reply<Receipt> {
        not_here()
    }

    fn shutdown(&self) -> Reply<()> {
        not_here()
    }
}
