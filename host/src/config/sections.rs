//! The table of keys.
//!
//! Each line gives a key its type, default, unit and check; its comment is the text of the reference.

use std::path::PathBuf;

use qpq_schemas::PeerId;
use toml::Value;

use super::Config;
use super::key::{Key, Section, section};
use super::setting::{Fault, Setting, between};
use crate::core::federation::Limit;
use crate::core::shelf::StoreLimits;
use crate::link::HELLO_MS;
use crate::script::{Isolation, ScriptLimits};
use crate::store::{IndexPlace, StoreConfig as Engine};

mod checks;

pub(crate) use checks::domain_name;
pub use checks::{LegacyPayloads, LogFormat};
use checks::{
    channel, channels, digests, domain, domain_peers, domains, emergency_admins, filter, names, nickname, peer_keys,
    socket_address, socket_addresses, uris,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

section! {
    /// The node itself: the keys outside of any table.
    NodeConfig = "" {
        /// The name that this node gives itself. Peers see it beside its key.
        nickname: Option<String> = None, "", with nickname;
        /// The domain of this node, such as node1.mesh.local.
        /// `federation_domain` is another name for it, `QPQ_LOCAL_DOMAIN` another variable.
        domain: Option<String> = None, "", with domain;
        /// Where to listen: HOST:PORT, or an address with its transport such as quic://0.0.0.0:7000.
        listen: Vec<String> = vec!["quic://0.0.0.0:7000".to_owned()], "", with uris;
        /// Servers to keep links to: HOST:PORT, or an address with its transport.
        peers: Vec<String> = vec![], "", with uris;
        /// Whether to relay messages between domains. Where it is not set: once `domain`, `federation_cert`, `federation_key`
        /// and `federation_ca` are. Loads federation-capnp, unless `plugins.load` names another federation plugin.
        federation_enabled: Option<bool> = None, "", any;
        /// Where servers of other domains reach this one, HOST:PORT, such as 0.0.0.0:7001. Where it is not set, this node only
        /// calls others.
        federation_listen: Option<String> = None, "", with socket_address;
        /// The certificate of this server, for the federation plugin (DER or PEM).
        federation_cert: Option<PathBuf> = None, "", any;
        /// The key of that certificate (DER or PEM).
        federation_key: Option<PathBuf> = None, "", any;
        /// The certificate of the authority that both sides trust (DER or PEM).
        federation_ca: Option<PathBuf> = None, "", any;
    }
}

section! {
    /// Which plugins are loaded, and from where.
    PluginsConfig = "plugins" {
        /// Where to look for plugins, in this order. Relative paths start at the data directory.
        /// When empty: beside the program, in ../lib/qpq/plugins from there, in deps beside it, and in plugins in the
        /// data directory. `QPQ_PLUGIN_DIR` is another variable for it.
        dirs: Vec<PathBuf> = vec![], "", any;
        /// The plugins to load, by name. A table [plugins.NAME] is given to the plugin of that name.
        load: Vec<String> = default_plugins(), "", with names;
        /// SHA-256 digests, as 64 hexadecimal digits. When there are any, only a plugin file with one of them is loaded.
        pinned: Vec<String> = vec![], "", with digests;
        /// The plugins that get the node's secret key when they ask for it, by name. Whoever holds it is this node: list only
        /// plugins that you trust as much as qpq itself. transport-iroh needs it.
        trusted_with_key: Vec<String> = vec![], "", with names;
        /// Whether a running plugin is swapped when its file is replaced. A file that is refused leaves the old one running.
        watch: bool = true, "", any;
    }
}

section! {
    /// How much the node keeps, for itself and for others.
    StorageConfig = "store" {
        /// Envelopes that wait for one recipient.
        recipient_messages: u32 = StoreLimits::default().recipient_messages, "messages", between 1, 10_000_000;
        /// Envelopes that wait for one recipient.
        recipient_bytes: u64 = StoreLimits::default().recipient_bytes, "bytes", between 65_536, TIB;
        /// How much of a recipient's room one sender may fill.
        sender_share_percent: u32 = StoreLimits::default().sender_share_percent, "percent", between 1, 100;
        /// Envelopes of one sender, for all recipients together.
        sender_messages: u32 = StoreLimits::default().sender_messages, "messages", between 1, 10_000_000;
        /// Envelopes of one sender, for all recipients together.
        sender_bytes: u64 = StoreLimits::default().sender_bytes, "bytes", between 65_536, TIB;
        /// Envelopes in all.
        total_messages: u32 = StoreLimits::default().total_messages, "messages", between 100, 100_000_000;
        /// Envelopes in all.
        total_bytes: u64 = StoreLimits::default().total_bytes, "bytes", between MIB, TIB;
        /// Broadcasts of one channel, kept for those who come later.
        topic_messages: u32 = StoreLimits::default().topic_messages, "messages", between 0, 10_000_000;
        /// Broadcasts of one channel, kept for those who come later.
        topic_bytes: u64 = StoreLimits::default().topic_bytes, "bytes", between 0, TIB;
        /// How old a broadcast may become that is kept for those who come later.
        topic_age_secs: u32 = StoreLimits::default().topic_age_secs, "seconds", between 60, 2_592_000;
        /// Messages in this node's own inbox; beyond it the oldest go.
        inbox_messages: u32 = StoreLimits::default().inbox_messages, "messages", between 10, 100_000_000;
        /// Messages in this node's own inbox; beyond it the oldest go.
        inbox_bytes: u64 = StoreLimits::default().inbox_bytes, "bytes", between MIB, TIB;
        /// Envelopes that one neighbour may bring in a minute. Keys cost nothing, links do, so this bounds whoever makes up senders.
        /// A trusted peer is not bounded by it.
        link_messages_per_minute: u64 = Limit::LINK.messages_per_minute, "messages", between 60, 1_000_000_000;
        /// Envelopes that one neighbour may bring in a minute.
        link_bytes_per_minute: u64 = Limit::LINK.bytes_per_minute, "bytes", between 65_536, TIB;
        /// Messages that are remembered after they have gone, so that none is taken in twice.
        seen_ids: u32 = StoreLimits::default().seen_ids, "ids", between 1_000, 100_000_000;
        /// Memory for what was read from the disk.
        cache_bytes: u64 = Engine::default().cache_bytes, "bytes", between MIB, GIB;
        /// Memory for what will be written to the disk.
        memtable_bytes: u64 = Engine::default().memtable_bytes, "bytes", between MIB, GIB;
        /// How long writes are gathered under load, to share one sync of the disk. A lone write never waits.
        gather_us: u64 = Engine::default().gather_us, "microseconds", between 0, 100_000;
        /// Free space that is left alone on the disk.
        reserve_bytes: u64 = Engine::default().reserve_bytes, "bytes", between 0, TIB;
        /// Where the index of what waits for others is kept: memory, or disk on a machine with little memory. In memory a waiting
        /// envelope takes about 190 bytes; on disk it takes next to none, and the node takes in fewer envelopes a second.
        index: IndexPlace = Engine::default().index, "", any;
    }
}

section! {
    /// What messages may be, and what they are when nothing is said.
    MessagesConfig = "messages" {
        /// How long a message lives when its sender doesn't say.
        ttl_secs: u32 = 604_800, "seconds", between 1, 2_592_000;
        /// Over how many links a message of this node may go.
        max_hops: u8 = 16, "links", between 1, 255;
        /// Largest payload that is sent, taken in or relayed.
        max_payload: usize = 65_536, "bytes", between 256, 1_048_576;
    }
}

section! {
    /// Links to other nodes.
    LinksConfig = "links" {
        /// Links at a time. A quarter of them is kept for links that this node opens itself.
        max: usize = 256, "links", between 1, 100_000;
        /// Links at a time that have not proven who they are yet. One address may hold a quarter of them.
        max_half_open: usize = 64, "links", between 1, 100_000;
        /// How long a new link may take to prove who it is.
        handshake_timeout_ms: u64 = 5_000, "milliseconds", between 100, 60_000;
        /// How often a quiet link is tried. A link from which nothing came for two and a half times as long is dead.
        ping_interval_ms: u64 = HELLO_MS, "milliseconds", between 100, 600_000;
        /// Dials under way at a time.
        max_dials: usize = 16, "dials", between 1, 1_000;
        /// Shortest pause before a server is dialled again.
        redial_min_ms: u64 = 500, "milliseconds", between 10, 3_600_000;
        /// Longest pause before a server is dialled again.
        redial_max_ms: u64 = 15_000, "milliseconds", between 10, 86_400_000;
    }
}

section! {
    /// Nodes that discovery services find, such as mDNS.
    DiscoveryConfig = "discovery" {
        /// Whether to connect to found nodes that name their key. Otherwise they are only listed by `mesh peers`.
        connect: bool = true, "", any;
        /// Connect only to found nodes that name one of these domains, or one below it. When empty: to all. Which other domains are
        /// federated with is said by `federation.discover`.
        connect_domains: Vec<String> = vec![], "", with domains;
    }
}

section! {
    /// What crosses between this domain and others.
    FederationConfig = "federation" {
        /// Domains to keep links to: DOMAIN, which is looked up in the DNS, or DOMAIN@HOST:PORT.
        peers: Vec<String> = vec![], "", with domain_peers;
        /// Domains that may link to this one. When empty: all with a certificate of the authority.
        allow: Vec<String> = vec![], "", with domains;
        /// Domains that may not.
        block: Vec<String> = vec![], "", with domains;
        /// Whether to carry mail from one domain to another. Otherwise only mail from and to this domain crosses.
        transit: bool = false, "", any;
        /// Open channels whose messages cross, where the other domain names them too.
        channels: Vec<String> = vec![], "", with channels;
        /// Envelopes that one domain may bring in a minute.
        messages_per_minute: u64 = Limit::default().messages_per_minute, "messages", between 1, 1_000_000_000;
        /// Bytes that one domain may bring in a minute.
        bytes_per_minute: u64 = Limit::default().bytes_per_minute, "bytes", between 65_536, TIB;
        /// Whether to link to allowed domains that discovery finds nearby.
        discover: bool = false, "", any;
        /// What to do with payloads of servers of the older kind that are no envelopes: refuse, or store them for their
        /// recipients as they are.
        legacy_payloads: LegacyPayloads = LegacyPayloads::Refuse, "", any;
    }
}

section! {
    /// The Lua bots.
    ScriptsConfig = "scripts" {
        /// Whether bots run.
        enabled: bool = true, "", any;
        /// Folders with bots. Relative paths start at the data directory. When empty: scripts in the data directory.
        /// A table [scripts.config.NAME] is given to the bot of that name. A table [scripts.bots.NAME] says what is
        /// different for that bot: enabled, granted (a list of permissions), isolation, a table limits, and a table sources: files
        /// and HTTP addresses that the bot may read, by name.
        dirs: Vec<PathBuf> = vec![], "", any;
        /// Whether a saved file is loaded at once.
        watch: bool = true, "", any;
        /// babeld's local socket, for bots that watch the network: its path, or HOST:PORT. When empty: where it usually is.
        babel: Option<String> = None, "", any;
        /// The program batctl, for the same. When empty: the one that is installed, where batman-adv runs.
        batctl: Option<PathBuf> = None, "", any;
        /// Where bots run: thread, inside the node; or process, each in a process of its own, which has no files, no network and
        /// no environment. A process takes about 2 MiB.
        isolation: Isolation = Isolation::Thread, "", any;
    }
}

section! {
    /// What each bot may use.
    ScriptLimitsConfig = "scripts.limits" {
        /// Computing time for one event.
        cpu_per_event_ms: u64 = ScriptLimits::default().cpu_per_event_ms, "milliseconds", between 1, 10_000;
        /// Computing time for loading.
        cpu_at_load_ms: u64 = ScriptLimits::default().cpu_at_load_ms, "milliseconds", between 1, 60_000;
        /// Computing time on average over a minute, of one core.
        cpu_percent: u64 = ScriptLimits::default().cpu_percent, "percent", between 1, 100;
        /// Memory.
        memory_bytes: usize = ScriptLimits::default().memory_bytes, "bytes", between 1_048_576, 1_073_741_824;
        /// Handlers at work at a time.
        handlers: usize = ScriptLimits::default().handlers, "handlers", between 1, 1_000;
        /// How long a handler may take with all its waiting.
        handler_life_secs: u64 = ScriptLimits::default().handler_life_secs, "seconds", between 1, 86_400;
        /// Questions to people that wait for an answer.
        questions: usize = ScriptLimits::default().questions, "questions", between 0, 10_000;
        /// Coroutines of its own.
        coroutines: usize = ScriptLimits::default().coroutines, "coroutines", between 0, 10_000;
        /// Timers that are set.
        timers: usize = ScriptLimits::default().timers, "timers", between 0, 10_000;
        /// Channels that it listens to; with its handlers and commands 256 at most.
        channels: usize = ScriptLimits::default().channels, "channels", between 0, 128;
        /// Direct messages.
        messages_per_minute: u32 = ScriptLimits::default().messages_per_minute, "messages", between 0, 1_000_000;
        /// Broadcasts.
        broadcasts_per_minute: u32 = ScriptLimits::default().broadcasts_per_minute, "messages", between 0, 1_000_000;
        /// What it sends in an hour.
        bytes_per_hour: u32 = ScriptLimits::default().bytes_per_hour, "bytes", between 0, u32::MAX;
        /// What it keeps.
        store_bytes: usize = ScriptLimits::default().store_bytes, "bytes", between 0, 1_073_741_824;
        /// What it writes to what it keeps.
        store_bytes_per_minute: u32 = ScriptLimits::default().store_bytes_per_minute, "bytes", between 0, u32::MAX;
        /// What it keeps.
        store_keys: usize = ScriptLimits::default().store_keys, "keys", between 0, 10_000_000;
        /// One value that it keeps.
        store_value_bytes: usize = ScriptLimits::default().store_value_bytes, "bytes", between 0, 1_048_576;
        /// Posts, edits and deletes on all boards that it keeps, at 2 KiB each.
        board_posts: usize = ScriptLimits::default().board_posts, "entries", between 0, 1_000_000;
        /// What it writes to the log.
        log_lines_per_second: u32 = ScriptLimits::default().log_lines_per_second, "lines", between 0, 10_000;
        /// Size of all its source files.
        source_bytes: usize = ScriptLimits::default().source_bytes, "bytes", between 1_024, 16_777_216;
    }
}

section! {
    /// The control socket.
    ControlConfig = "control" {
        /// Clients at a time.
        max_connections: usize = 32, "connections", between 1, 10_000;
        /// Calls of one client that are being answered; it is not read while so many are.
        max_in_flight: usize = 64, "calls", between 2, 10_000;
    }
}

section! {
    /// Clients over the network: admins from afar, and people who have no node of their own.
    ClientsConfig = "clients" {
        /// Where clients are served over QUIC: HOST:PORT, such as 0.0.0.0:7002. When empty, only the control socket is.
        listen: Vec<String> = vec![], "", with socket_addresses;
        /// Keys, of 64 hexadecimal digits, that may do all that the owner of this node can. `qpq mesh identity` shows a key.
        admins: Vec<String> = vec![], "", with peer_keys;
        /// Keys, of 64 hexadecimal digits, that may have a mailbox here and send what they have signed.
        users: Vec<String> = vec![], "", with peer_keys;
        /// Whether every key may be a user. Keys cost nothing, so then strangers can fill all mailboxes.
        open: bool = false, "", any;
        /// Users at a time. Admins have places of their own.
        max_connections: usize = 256, "connections", between 1, 100_000;
        /// Connections from one address: of IPv4, or a /64 network of IPv6.
        max_per_address: usize = 32, "connections", between 1, 100_000;
        /// Connections at a time that have not proven their key yet. From half of it on an address must prove that it is
        /// the sender's.
        max_half_open: usize = 64, "connections", between 2, 100_000;
        /// The same for one address.
        max_half_open_per_address: usize = 8, "connections", between 1, 100_000;
        /// Calls of one client that are being answered; it is not read while so many are.
        max_in_flight: usize = 32, "calls", between 2, 10_000;
        /// Mailboxes. Each may hold what `store.recipient_messages` and `store.recipient_bytes` say.
        max_mailboxes: usize = 1_000, "mailboxes", between 1, 10_000_000;
    }
}

impl ClientsConfig {
    /// Whether that key may do all that the owner can.
    pub fn is_admin(&self, key: &PeerId) -> bool {
        lists(&self.admins, key)
    }

    /// Whether that key may come in at all.
    pub fn admits(&self, key: &PeerId) -> bool {
        self.open || lists(&self.users, key) || self.is_admin(key)
    }
}

/// The texts were checked when they were set.
fn lists(keys: &[String], key: &PeerId) -> bool {
    keys.iter().any(|text| text.parse() == Ok(*key))
}

section! {
    /// Who can proclaim an emergency. Without admins nothing goes before messages of high priority.
    EmergencyConfig = "emergency" {
        /// Keys, of 64 hexadecimal digits, whose signatures count. `qpq mesh identity` shows a key. At most 16.
        admins: Vec<String> = vec![], "", with emergency_admins;
        /// How many of them must have signed a notice so that it goes before everything else.
        quorum: usize = 2, "signatures", between 1, 16;
        /// The open channel for such notices.
        channel: String = "emergency".to_owned(), "", with channel;
    }
}

section! {
    /// The log, on the standard error output.
    LogConfig = "log" {
        /// What is logged: error, warn, info, debug or trace, also by part, such as info,qpq_host::link=debug.
        /// `QPQ_LOG` is another variable for it.
        filter: String = "info".to_owned(), "", with filter;
        /// text, or json for one object on each line.
        format: LogFormat = LogFormat::Text, "", any;
    }
}

/// What a node loads when nothing else is said.
fn default_plugins() -> Vec<String> {
    ["transport-quic", "discovery-mdns", "routing-babel"].map(str::to_owned).to_vec()
}

/// The keys of all sections, in the order of the reference.
const ALL: [&[Key]; 13] = [
    NodeConfig::KEYS,
    PluginsConfig::KEYS,
    StorageConfig::KEYS,
    MessagesConfig::KEYS,
    LinksConfig::KEYS,
    DiscoveryConfig::KEYS,
    FederationConfig::KEYS,
    ScriptsConfig::KEYS,
    ScriptLimitsConfig::KEYS,
    ControlConfig::KEYS,
    ClientsConfig::KEYS,
    EmergencyConfig::KEYS,
    LogConfig::KEYS,
];

/// Every key, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    ALL.into_iter().flatten()
}

/// Sets a key.
pub(super) fn set(config: &mut Config, key: &Key, value: &Value) -> Result<(), Fault> {
    match key.section {
        "" => config.node.set(key.name, value),
        "plugins" => config.plugins.set(key.name, value),
        "store" => config.store.set(key.name, value),
        "messages" => config.messages.set(key.name, value),
        "links" => config.links.set(key.name, value),
        "discovery" => config.discovery.set(key.name, value),
        "federation" => config.federation.set(key.name, value),
        "scripts" => config.scripts.set(key.name, value),
        "scripts.limits" => config.script_limits.set(key.name, value),
        "control" => config.control.set(key.name, value),
        "clients" => config.clients.set(key.name, value),
        "emergency" => config.emergency.set(key.name, value),
        "log" => config.log.set(key.name, value),
        _ => Err(Fault::new("there is no such table")),
    }
}

/// The value of a key.
pub(super) fn value(config: &Config, key: &Key) -> Option<Value> {
    match key.section {
        "" => config.node.get(key.name),
        "plugins" => config.plugins.get(key.name),
        "store" => config.store.get(key.name),
        "messages" => config.messages.get(key.name),
        "links" => config.links.get(key.name),
        "discovery" => config.discovery.get(key.name),
        "federation" => config.federation.get(key.name),
        "scripts" => config.scripts.get(key.name),
        "scripts.limits" => config.script_limits.get(key.name),
        "control" => config.control.get(key.name),
        "clients" => config.clients.get(key.name),
        "emergency" => config.emergency.get(key.name),
        "log" => config.log.get(key.name),
        _ => None,
    }
}
