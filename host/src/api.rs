//! What a node offers to those who talk to it: the control socket, the scripts, the tests.
//!
//! [`NodeApi`] is the only door into a running node. The REPL and the command line come through it over
//! `node.capnp`, bots come through it inside the process; nothing reaches the node by another way.
//! The result types are what `--json` prints.

mod emergency;
mod federation;
pub mod mailbox;
mod messages;
mod parcel;
mod routes;
mod scripts;
mod store;
mod why;

pub use emergency::{NoticeInfo, NoticeKey, NoticeMark};
pub use federation::{CertificateInfo, DomainInfo, FederationReport, RefusedDomain};
pub use messages::{
    BroadcastRequest, Delivery, DeliveryPage, DeliveryQuery, InboxItem, InboxPage, InboxQuery, Receipt, SendRequest,
};
pub use parcel::{ExportPage, ExportQuery, ImportOutcome};
pub use routes::{Feasibility, LostRoute, RouteAlternative, RouteInfo, RouteLink, RouteTable};
pub use scripts::{
    BotStatus, LimitUse, LinkLimit, MachineGateway, MachineNeighbour, MachineReport, ScriptApproval, ScriptEval,
    ScriptEvaluated, ScriptLogLine, ScriptLogPage, ScriptLogQuery, SourceText,
};
pub use store::{QueueInfo, QueuePage, QueueQuery, QueuedItem, SenderUse, StoreQuotas, StoreStats};
pub use why::{HopInfo, RefusedInfo, WaitInfo, WhyReport};

use bytes::Bytes;
use futures::future::BoxFuture;
use qpq_schemas::{PeerId, TopicId};
use serde::{Deserialize, Serialize};

/// The answer to a call, ready when the node has done what was asked.
pub type Reply<T> = BoxFuture<'static, Result<T, ApiError>>;

/// A link with so many envelopes sent and not yet taken over is busy.
const BUSY_IN_FLIGHT: usize = 32;

/// A running node, as its clients and bots see it.
pub trait NodeApi: Send + Sync + 'static {
    /// The node's state in one page: uptime, links, plugins, bots, warnings.
    fn status(&self) -> Reply<NodeStatus> {
        not_here()
    }
    /// The public half of the node's identity, and where it listens.
    fn identity(&self) -> Reply<IdentityInfo> {
        not_here()
    }
    /// Every peer in the directory, and the links to those that are up.
    fn peers(&self) -> Reply<Vec<PeerInfo>>;
    /// Whether a link has so much to carry that what can wait should.
    fn is_busy(&self) -> Reply<bool> {
        let peers = self.peers();
        Box::pin(async move {
            let busy = |link: &LinkInfo| link.in_flight >= BUSY_IN_FLIGHT;
            Ok(peers.await?.iter().flat_map(|peer| &peer.links).any(busy))
        })
    }
    /// Notes a server's address (`host:port`, or a transport URI) and keeps a link to it from now on.
    fn note_server(&self, _address: String) -> Reply<ServerNote> {
        not_here()
    }
    /// Keeps no link to that address any more, noted by the user or found. A remark says where it still stands: it comes
    /// back from there when the node starts again.
    fn forget_server(&self, _address: String) -> Reply<Option<String>> {
        not_here()
    }
    /// Measures the round trip to a neighbour `count` times (1 to 100) over each link to it.
    fn ping(&self, _peer: String, _count: u32) -> Reply<PingReport> {
        not_here()
    }
    /// Says how far a peer is trusted; durable. Blocking one closes its links.
    fn set_trust(&self, _peer: String, _trust: Trust) -> Reply<PeerInfo> {
        not_here()
    }
    /// The blocked peers as text, one key on each line.
    fn export_blocks(&self) -> Reply<String> {
        not_here()
    }
    /// Blocks the peers of such a list, too: all of them, or none when a line is wrong.
    fn import_blocks(&self, _list: String) -> Reply<BlocksImported> {
        not_here()
    }
    /// Seals, signs and stores a direct message. The reply comes once it is durable here.
    fn send(&self, request: SendRequest) -> Reply<Receipt>;
    /// Encrypts, signs and stores a broadcast. The reply comes once it is durable here.
    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt>;
    /// Takes in an envelope that its sender has signed already, in wire form.
    fn enqueue(&self, _envelope: Bytes) -> Reply<Receipt> {
        not_here()
    }
    /// Joins a channel by topic name or invite string, for good.
    fn subscribe(&self, topic: String) -> Reply<ChannelInfo>;
    /// Leaves a channel.
    fn unsubscribe(&self, _topic: String) -> Reply<()> {
        not_here()
    }
    /// Makes a private channel of that name with a random key, and joins it.
    fn create_private(&self, _name: String) -> Reply<ChannelInfo> {
        not_here()
    }
    /// The channels that this node has joined.
    fn channels(&self) -> Reply<Vec<ChannelInfo>>;
    /// A notice of an emergency that nobody has signed yet, good for `ttl_secs` (`None`: a day).
    fn emergency_draft(&self, _text: String, _ttl_secs: Option<u32>) -> Reply<NoticeInfo> {
        not_here()
    }
    /// The notice with this node's signature too. Several copies, each with signatures of others, are put together.
    fn emergency_sign(&self, _copies: Vec<String>) -> Reply<NoticeInfo> {
        not_here()
    }
    /// Who has signed a notice, and who is missing.
    fn emergency_show(&self, _copies: Vec<String>) -> Reply<NoticeInfo> {
        not_here()
    }
    /// Publishes a notice that enough admins have signed, to go before everything else.
    fn emergency_publish(&self, _copies: Vec<String>) -> Reply<Receipt> {
        not_here()
    }
    /// Messages for this node: direct ones and those of subscribed channels, in order of arrival.
    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage>;
    /// Notes that `reader` has handled all up to `seq`; durable.
    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()>;
    /// Receipts for the user's messages that asked for one, in order of arrival.
    fn deliveries(&self, _query: DeliveryQuery) -> Reply<DeliveryPage> {
        not_here()
    }
    /// What the routing plugin knows.
    fn routes(&self) -> Reply<RouteTable>;
    /// The store-and-forward figures.
    fn store_stats(&self) -> Reply<StoreStats>;
    /// What became of a message: its id, or at least 8 digits of the beginning.
    fn why(&self, _id: String) -> Reply<WhyReport> {
        not_here()
    }
    /// What waits for one recipient, in the order in which it goes.
    fn queue(&self, _query: QueueQuery) -> Reply<QueuePage> {
        not_here()
    }
    /// Envelopes that are held here, to be carried to another node in a file. They stay here as well.
    fn export_mail(&self, _query: ExportQuery) -> Reply<ExportPage> {
        not_here()
    }
    /// Takes in envelopes that came in a file, as if a neighbour offered them: one outcome for each, in order. At most 256.
    fn import_mail(&self, _envelopes: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        not_here()
    }
    /// The loaded plugins and their states.
    fn plugins(&self) -> Reply<Vec<PluginStatus>>;
    /// Enables a plugin that was disabled after too many failures, and starts it at once.
    fn plugin_enable(&self, _name: String) -> Reply<PluginStatus> {
        not_here()
    }
    /// Replaces a running plugin by the library in `file` (`None`: its configured file), without losing a message.
    fn plugin_swap(&self, _name: String, _file: Option<String>) -> Reply<PluginStatus> {
        not_here()
    }
    /// How this domain and the others stand.
    fn federation(&self) -> Reply<FederationReport> {
        not_here()
    }
    /// The bots and their states.
    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        not_here()
    }
    /// Loads one bot anew, or all of them.
    fn script_reload(&self, _name: Option<String>) -> Reply<Vec<BotStatus>> {
        not_here()
    }
    /// Grants a bot the permissions that it asks for, or takes them back; durable. It is loaded anew.
    fn script_approve(&self, _name: String, _approval: ScriptApproval) -> Reply<BotStatus> {
        not_here()
    }
    /// What bots logged, oldest first.
    fn script_logs(&self, _query: ScriptLogQuery) -> Reply<ScriptLogPage> {
        not_here()
    }
    /// Runs a piece of Lua inside a running bot, within its sandbox and its budget for one event.
    fn script_eval(&self, _eval: ScriptEval) -> Reply<ScriptEvaluated> {
        not_here()
    }
    /// What the admin named as a source for a bot. Only bots ask for it.
    fn source(&self, _bot: String, _name: String) -> Reply<SourceText> {
        not_here()
    }
    /// What the machine's own mesh routing knows. Only bots ask for it.
    fn machine(&self) -> Reply<MachineReport> {
        not_here()
    }
    /// Bounds what a neighbour may bring in, in place of what the configuration says, until the node stops; `None` lifts it.
    /// Only bots ask for it.
    fn limit_link(&self, _peer: String, _limit: Option<LinkLimit>) -> Reply<()> {
        not_here()
    }
    /// Drains and stops the node.
    fn shutdown(&self) -> Reply<()> {
        not_here()
    }
}

fn not_here<T: Send + 'static>() -> Reply<T> {
    Box::pin(std::future::ready(Err(ApiError::new("not-here", "there is nothing of this kind here"))))
}

/// Why a call was not done. `code` is stable and made for programs, `message` says what, where and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// A stable word in kebab case, such as `unknown-peer` or `recipient-full`.
    pub code: String,
    /// One or two sentences for a person.
    pub message: String,
}

impl ApiError {
    /// An error of that stable code, explained to a person.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ApiError {}

/// The public half of an identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdentityInfo {
    /// The public key.
    pub peer_id: PeerId,
    /// The name that this node gives itself.
    pub nickname: Option<String>,
    /// The domain of this node.
    pub domain: Option<String>,
    /// Where it listens, as transport URIs.
    pub listen: Vec<String>,
    /// Path of the identity file.
    pub identity_file: String,
    /// Number of peers in the directory.
    pub known_peers: usize,
    /// Short numeric fingerprint to read aloud when two people compare keys.
    pub fingerprint: String,
}

/// How far a peer is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Heard of, no opinion.
    #[default]
    Known,
    /// Vouched for by this node's admin.
    Trusted,
    /// Its links and envelopes are refused.
    Blocked,
}

/// A peer and the links to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The peer's public key. `None` for a noted server that has never answered.
    pub peer_id: Option<PeerId>,
    /// Nickname in the directory.
    pub nickname: Option<String>,
    /// Trust given by the admin.
    pub trust: Trust,
    /// Addresses known, as transport URIs.
    pub addresses: Vec<String>,
    /// `up`, `connecting`, `waiting` (for the next dial) or `idle`.
    pub state: String,
    /// Links that are up.
    pub links: Vec<LinkInfo>,
    /// When it was last linked or heard of, Unix time in milliseconds.
    pub last_seen_ms: Option<u64>,
    /// Why the last dial failed.
    pub last_error: Option<String>,
    /// Where discovery services found it.
    pub discovered: Vec<Discovered>,
}

/// Where a node was found by a discovery service. Hearsay: only a link proves who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// The discovery plugin.
    pub plugin: String,
    /// The network interface, where the plugin knows.
    pub interface: Option<String>,
    /// The domain that the node names.
    pub domain: Option<String>,
    /// The address that it names for clients, HOST:PORT.
    pub server: Option<String>,
    /// Its addresses, as transport URIs.
    pub addresses: Vec<String>,
    /// When it was first found, Unix time in milliseconds.
    pub first_seen_ms: u64,
    /// When it was last heard of, Unix time in milliseconds.
    pub last_seen_ms: u64,
}

/// One live link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkInfo {
    /// The host's number for the link.
    pub link: u64,
    /// The transport plugin that carries it.
    pub transport: String,
    /// The remote address, as the transport reports it.
    pub remote: String,
    /// Whether this node dialled.
    pub outbound: bool,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// Up since, Unix time in milliseconds.
    pub since_ms: u64,
    /// Envelopes sent and not yet in the peer's custody.
    pub in_flight: usize,
    /// Envelopes sent over this link so far.
    pub sent: u64,
    /// Envelopes received over this link so far.
    pub received: u64,
    /// Whether it goes over a relay of the transport.
    pub relayed: bool,
    /// Lost frames in a million, where the link measures them.
    pub loss_ppm: Option<u32>,
    /// Whether it is the one that is used, of several to the same peer.
    pub preferred: bool,
}

/// What a ping measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReport {
    /// The peer.
    pub peer_id: PeerId,
    /// Its nickname in the directory.
    pub nickname: Option<String>,
    /// Each link to it; empty when it is no neighbour.
    pub links: Vec<LinkPing>,
    /// Without a link: the neighbour that leads to it, where the routing plugin knows one.
    pub next_hop: Option<PeerId>,
}

/// The round trips over one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPing {
    /// The host's number for the link.
    pub link: u64,
    /// The transport plugin that carries it.
    pub transport: String,
    /// The remote address, as the transport reports it.
    pub remote: String,
    /// Whether it goes over a relay of the transport.
    pub relayed: bool,
    /// Whether it is the one that is used, of several to the same peer.
    pub preferred: bool,
    /// The answers in order, in microseconds.
    pub rtts_us: Vec<u64>,
    /// Pings without an answer.
    pub lost: u32,
}

/// What an imported block list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksImported {
    /// Peers that are blocked now and were not before.
    pub added: usize,
    /// Peers that were blocked already.
    pub known: usize,
}

/// A server that was noted by its address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerNote {
    /// The address as a transport URI.
    pub address: String,
    /// The key behind it, when it answered within the waiting time (3 s).
    pub peer_id: Option<PeerId>,
    /// `up`, or why not yet.
    pub state: String,
}

/// A joined channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// The channel's name.
    pub name: String,
    /// The topic id on the wire.
    pub topic_id: TopicId,
    /// Whether the key is random and known to members only.
    pub private: bool,
    /// The key's epoch.
    pub epoch: u32,
    /// Who subscribed here: `user`, or bots by name.
    pub subscribers: Vec<String>,
    /// For a private channel: the invite to hand over out of band. A secret.
    pub invite: Option<String>,
}

/// A plugin's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginStatus {
    /// The plugin's name, such as `transport-quic`.
    pub name: String,
    /// `transport`, `discovery`, `routing`, `federation` or `store`.
    pub kind: String,
    /// The plugin's own version.
    pub version: String,
    /// Where the file came from.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// `loaded`, `created`, `starting`, `active`, `quiescing`, `drained`, `stopped`, `retired`, `failed`, `zombie` or `disabled`.
    pub state: String,
    /// Times it failed in the last ten minutes.
    pub failures: u32,
    /// Why it failed last, and the command that mends it.
    pub last_error: Option<String>,
    /// Time until the next start, in milliseconds, when it waits for one.
    pub restart_in_ms: Option<u64>,
    /// Which image of this plugin runs, counted from 1.
    pub generation: u32,
    /// The plugin's own figures.
    pub stats: serde_json::Value,
    /// The last swaps of its library, oldest first.
    pub swaps: Vec<SwapReport>,
}

/// One attempt to replace a plugin's library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapReport {
    /// The file that it was replaced by.
    pub file: String,
    /// The version of the new library, where it could be read.
    pub version: String,
    /// SHA-256 of the new library, where it could be read.
    pub sha256: String,
    /// `running`, `done`, `refused` (the old one never stopped) or `fell-back` (the old one was started again).
    pub state: String,
    /// Why it was refused or fell back, and how to mend it.
    pub reason: Option<String>,
    /// When it began, Unix time in milliseconds.
    pub at_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: Option<u64>,
    /// How long nothing was sent, in microseconds.
    pub pause_us: Option<u64>,
}

/// The node's state in one page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Version of the software.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// The data directory.
    pub home: String,
    /// The public key.
    pub peer_id: PeerId,
    /// Seconds since the start.
    pub uptime_secs: u64,
    /// Links that are up.
    pub links: usize,
    /// Resident memory in bytes, where the system tells.
    pub resident_bytes: Option<u64>,
    /// The plugins.
    pub plugins: Vec<PluginStatus>,
    /// The bots.
    pub scripts: Vec<BotStatus>,
    /// The store in short.
    pub store: StoreStats,
    /// What an admin should look at, each with its remedy.
    pub warnings: Vec<String>,
    /// Plugin libraries that this process has mapped since its start; there is a limit.
    pub mapped_libraries: u32,
}
