//! The door into a virtual node, as its bots go through it.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;

use super::super::lock;
use super::world::World;
use crate::api::{
    ApiError, BotStatus, BroadcastRequest, ChannelInfo, DeliveryPage, DeliveryQuery, IdentityInfo, InboxPage,
    InboxQuery, LinkLimit, MachineReport, NodeApi, PeerInfo, PluginStatus, Receipt, Reply, RouteTable, SendRequest,
    SourceText, StoreStats, Trust,
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

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        self.answer(|world| world.judge(self.node, &peer, trust))
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
}
