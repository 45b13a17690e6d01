//! A node in memory: an inbox to fill by hand, and a record of what was sent. For tests, and for running a script once.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::api::{
    ApiError, BroadcastRequest, ChannelInfo, Delivery, DeliveryPage, DeliveryQuery, IdentityInfo, InboxItem, InboxPage,
    InboxQuery, MachineReport, NodeApi, PeerInfo, PluginStatus, Receipt, Reply, RouteInfo, RouteTable, SendRequest,
    StoreStats,
};

/// How long messages live when the sender doesn't say, in seconds.
const DEFAULT_TTL_SECS: u32 = 86_400;

/// Something that was sent through a [`MemoryNode`].
#[derive(Debug, Clone)]
pub enum Sent {
    /// A direct message.
    Direct(SendRequest),
    /// A broadcast.
    Broadcast(BroadcastRequest),
}

impl Sent {
    /// The text that was sent.
    pub fn text(&self) -> String {
        let (Self::Direct(SendRequest { payload, .. }) | Self::Broadcast(BroadcastRequest { payload, .. })) = self;
        String::from_utf8_lossy(payload).into_owned()
    }
}

#[derive(Debug, Default)]
struct Inner {
    inbox: Vec<InboxItem>,
    acked: std::collections::BTreeMap<String, u64>,
    channels: Vec<String>,
    peers: Vec<PeerInfo>,
    routes: Vec<RouteInfo>,
    plugins: Option<Vec<PluginStatus>>,
    stats: Option<StoreStats>,
    machine: Option<MachineReport>,
    sent: Vec<Sent>,
    delivered: Vec<Delivery>,
    ids: u64,
    refusal: Option<ApiError>,
    /// Places in the inbox can't be written.
    ack_refusal: Option<ApiError>,
    /// No channel can be joined.
    topic_refusal: Option<ApiError>,
}

/// A node that keeps everything in memory and talks to nobody.
#[derive(Debug, Default)]
pub struct MemoryNode {
    inner: Mutex<Inner>,
}

/// The key of every [`MemoryNode`].
pub(super) const SELF: PeerId = PeerId([0x5e; 32]);

impl MemoryNode {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the inbox and returns its sequence number.
    pub fn arrive(&self, from: PeerId, topic: Option<&str>, text: &[u8]) -> u64 {
        self.put(InboxItem { payload: text.to_vec(), ..message(from, topic) })
    }

    /// Puts an item into the inbox, with the next sequence number.
    pub fn put(&self, mut item: InboxItem) -> u64 {
        let mut inner = self.inner();
        let seq = inner.inbox.len() as u64 + 1;
        item.seq = seq;
        inner.inbox.push(item);
        seq
    }

    /// Lets a receipt come.
    pub fn deliver(&self, id: MessageId, peer: PeerId, peer_name: Option<&str>) {
        let mut inner = self.inner();
        let seq = inner.delivered.len() as u64 + 1;
        let peer_name = peer_name.map(str::to_owned);
        inner.delivered.push(Delivery { seq, id, peer, peer_name, at_ms: now_ms() });
    }

    /// From now on the node knows this peer.
    #[cfg(test)]
    pub(crate) fn meet(&self, peer: PeerInfo) {
        self.inner().peers.push(peer);
    }

    /// From now on the routing table has this line.
    #[cfg(test)]
    pub(crate) fn learn(&self, route: RouteInfo) {
        self.inner().routes.push(route);
    }

    /// From now on there is something for relay bots to look at.
    #[cfg(test)]
    pub(crate) fn reveal(&self, plugins: Vec<PluginStatus>, stats: StoreStats, machine: MachineReport) {
        let mut inner = self.inner();
        (inner.plugins, inner.stats, inner.machine) = (Some(plugins), Some(stats), Some(machine));
    }

    /// What was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.inner().sent.clone()
    }

    /// How far a reader has come.
    pub fn acked(&self, reader: &str) -> Option<u64> {
        self.inner().acked.get(reader).copied()
    }

    /// From now on refuses to send with this error; `None` accepts again.
    pub fn refuse(&self, error: Option<ApiError>) {
        self.inner().refusal = error;
    }

    /// From now on refuses to write a reader's place with this error; `None` accepts again.
    pub fn refuse_acks(&self, error: Option<ApiError>) {
        self.inner().ack_refusal = error;
    }

    /// From now on refuses to join channels with this error; `None` accepts again.
    #[cfg(test)]
    pub(crate) fn refuse_topics(&self, error: Option<ApiError>) {
        self.inner().topic_refusal = error;
    }

    fn record(&self, sent: Sent, ttl_secs: Option<u32>) -> Reply<Receipt> {
        let mut inner = self.inner();
        if let Some(error) = inner.refusal.clone() {
            return ready(Err(error));
        }
        inner.ids += 1;
        inner.sent.push(sent);
        let mut id = [0; 32];
        id.iter_mut().zip(inner.ids.to_le_bytes()).for_each(|(to, from)| *to = from);
        let expires_ms = now_ms() + u64::from(ttl_secs.unwrap_or(DEFAULT_TTL_SECS)) * 1_000;
        ready(Ok(Receipt { id: MessageId(id), expires_ms }))
    }
}

/// An empty message that arrives now.
pub(super) fn message(from: PeerId, topic: Option<&str>) -> InboxItem {
    let now = now_ms();
    InboxItem {
        seq: 0,
        id: MessageId([7; 32]),
        from,
        from_name: None,
        topic: topic.map(str::to_owned),
        payload: Vec::new(),
        sealed: true,
        automatic: false,
        created_ms: now,
        received_ms: now,
        expires_ms: now + u64::from(DEFAULT_TTL_SECS) * 1_000,
        priority: 1,
        hops: 1,
        own: false,
        problem: None,
        reply_to: None,
        reaction: false,
        max_hops: 16,
        notice: None,
    }
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn ready<T: Send + 'static>(result: Result<T, ApiError>) -> Reply<T> {
    Box::pin(std::future::ready(result))
}

fn not_here<T: Send + 'static>() -> Reply<T> {
    ready(Err(ApiError::new("not-here", "a node in memory has none of this")))
}

fn channel(name: &str) -> ChannelInfo {
    ChannelInfo {
        name: name.to_owned(),
        topic_id: TopicId([1; 32]),
        private: false,
        epoch: 0,
        subscribers: Vec::new(),
        invite: None,
    }
}

impl NodeApi for MemoryNode {
    fn identity(&self) -> Reply<IdentityInfo> {
        ready(Ok(IdentityInfo {
            peer_id: SELF,
            nickname: Some("memory".to_owned()),
            domain: None,
            listen: Vec::new(),
            identity_file: String::new(),
            known_peers: 0,
            fingerprint: String::new(),
        }))
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        ready(Ok(self.inner().peers.clone()))
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        let ttl = request.ttl_secs;
        self.record(Sent::Direct(request), ttl)
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        let ttl = request.ttl_secs;
        self.record(Sent::Broadcast(request), ttl)
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        let info = channel(&topic);
        let mut inner = self.inner();
        if let Some(error) = inner.topic_refusal.clone() {
            return ready(Err(error));
        }
        if !inner.channels.contains(&topic) {
            inner.channels.push(topic);
        }
        ready(Ok(info))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        ready(Ok(self.inner().channels.iter().map(|name| channel(name)).collect()))
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        let inner = self.inner();
        let acked = query.reader.as_ref().and_then(|reader| inner.acked.get(reader).copied());
        let after = query.after.or(acked).unwrap_or(0);
        let limit = if query.limit == 0 { 100 } else { query.limit };
        let wanted = |item: &&InboxItem| item.seq > after && (query.topic.is_none() || item.topic == query.topic);
        let newer: Vec<InboxItem> = inner.inbox.iter().filter(wanted).cloned().collect();
        let skip = if query.newest { newer.len().saturating_sub(limit) } else { 0 };
        let items: Vec<InboxItem> = newer.into_iter().skip(skip).take(limit).collect();
        let next_after = items.last().map_or(after, |item| item.seq);
        ready(Ok(InboxPage { items, next_after }))
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        let mut inner = self.inner();
        if let Some(error) = inner.ack_refusal.clone() {
            return ready(Err(error));
        }
        let place = inner.acked.entry(reader).or_default();
        *place = (*place).max(seq);
        ready(Ok(()))
    }

    fn routes(&self) -> Reply<RouteTable> {
        let routes = self.inner().routes.clone();
        ready(Ok(RouteTable { plugin: "none".to_owned(), routes, ..RouteTable::default() }))
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        let inner = self.inner();
        let next_after = inner.delivered.len() as u64;
        let newer = |after: u64| inner.delivered.iter().filter(|item| item.seq > after).cloned().collect();
        ready(Ok(DeliveryPage { items: query.after.map(newer).unwrap_or_default(), next_after }))
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        self.inner().stats.clone().map_or_else(not_here, |stats| ready(Ok(stats)))
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        self.inner().plugins.clone().map_or_else(not_here, |plugins| ready(Ok(plugins)))
    }

    fn machine(&self) -> Reply<MachineReport> {
        self.inner().machine.clone().map_or_else(not_here, |machine| ready(Ok(machine)))
    }
}
