//! The table of keys.
//!
//! Each line gives a key its type, default, unit and check; its comment is the text of the reference.

use std::path::PathBuf;

use toml::Value;

use super::Config;
use super::key::{Key, Section, section};
use super::setting::{Fault, Setting, between};

mod checks;

pub use checks::LogFormat;
use checks::{digests, domain, filter, names, nickname, socket_address, uris};

const MIB: u64 = 1 << 20;
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
        /// Whether to relay messages between domains. Needs a federation plugin in `plugins.load`.
        federation_enabled: bool = false, "", any;
        /// Where the federation plugin listens, HOST:PORT.
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
        load: Vec<String> = vec!["transport-quic".to_owned(), "routing-flood".to_owned()], "", with names;
        /// SHA-256 digests, as 64 hexadecimal digits. When there are any, only a plugin file with one of them is loaded.
        pinned: Vec<String> = vec![], "", with digests;
    }
}

section! {
    /// How much the node keeps, for itself and for others.
    StoreConfig = "store" {
        /// All envelopes that wait for others.
        max_bytes: u64 = 1024 * MIB, "bytes", between MIB, TIB;
        /// All envelopes that wait for others.
        max_messages: u64 = 500_000, "messages", between 100, 100_000_000;
        /// Envelopes that wait for one recipient.
        recipient_messages: u64 = 1_000, "messages", between 1, 10_000_000;
        /// Envelopes that wait for one recipient.
        recipient_bytes: u64 = 4 * MIB, "bytes", between 65_536, TIB;
        /// How much of a recipient's place one sender may take.
        sender_percent: u8 = 25, "percent", between 1, 100;
        /// How much of the whole store one sender may take.
        sender_total_percent: u8 = 10, "percent", between 1, 100;
        /// Broadcasts kept for those who come later.
        broadcast_bytes: u64 = 64 * MIB, "bytes", between 0, TIB;
        /// Messages kept in this node's own inbox; beyond it the oldest go.
        inbox_messages: u64 = 100_000, "messages", between 100, 100_000_000;
        /// Messages kept in this node's own inbox; beyond it the oldest go.
        inbox_bytes: u64 = 256 * MIB, "bytes", between MIB, TIB;
        /// How long a write waits for others, to share one sync of the disk.
        commit_wait_ms: u64 = 2, "milliseconds", between 0, 1_000;
        /// Size of the database's journal. A larger one makes the next start slower.
        journal_bytes: u64 = 64 * MIB, "bytes", between 32 * MIB, TIB;
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
        /// Links at a time.
        max: usize = 256, "links", between 1, 100_000;
        /// Links at a time that have not proven who they are yet.
        max_half_open: usize = 64, "links", between 1, 100_000;
        /// How long a new link may take to prove who it is.
        handshake_timeout_ms: u64 = 5_000, "milliseconds", between 100, 60_000;
        /// How often a quiet link is tried.
        ping_interval_ms: u64 = 10_000, "milliseconds", between 100, 600_000;
        /// A link from which nothing came for so long is closed.
        idle_timeout_ms: u64 = 30_000, "milliseconds", between 1_000, 3_600_000;
        /// Shortest pause before a server is dialled again.
        redial_min_ms: u64 = 500, "milliseconds", between 10, 3_600_000;
        /// Longest pause before a server is dialled again.
        redial_max_ms: u64 = 60_000, "milliseconds", between 10, 86_400_000;
    }
}

section! {
    /// The Lua bots.
    ScriptsConfig = "scripts" {
        /// Whether bots run.
        enabled: bool = true, "", any;
        /// Folders with bots. Relative paths start at the data directory. When empty: scripts in the data directory.
        /// A table [scripts.config.NAME] is given to the bot of that name.
        dirs: Vec<PathBuf> = vec![], "", any;
        /// Bots at a time.
        max_bots: usize = 64, "bots", between 1, 10_000;
        /// Memory of one bot.
        memory_bytes: u64 = 16 * MIB, "bytes", between MIB, 1_073_741_824;
        /// Computing time for one event.
        event_cpu_ms: u64 = 50, "milliseconds", between 1, 10_000;
        /// Computing time for loading a bot.
        load_cpu_ms: u64 = 250, "milliseconds", between 1, 60_000;
        /// Computing time on average over a minute, of one core.
        cpu_percent: u8 = 5, "percent", between 1, 100;
        /// Direct messages of one bot.
        messages_per_minute: u32 = 10, "messages", between 0, 1_000_000;
        /// Broadcasts of one bot.
        broadcasts_per_minute: u32 = 1, "messages", between 0, 1_000_000;
        /// What one bot may send.
        sent_bytes_per_hour: u64 = 65_536, "bytes", between 0, TIB;
        /// What one bot may keep.
        stored_bytes: u64 = MIB, "bytes", between 0, 1_073_741_824;
        /// What one bot may keep.
        stored_keys: u32 = 10_000, "keys", between 0, 10_000_000;
        /// What one bot may write to the log.
        log_lines_per_second: u32 = 20, "lines", between 0, 10_000;
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
    /// The log, on the standard error output.
    LogConfig = "log" {
        /// What is logged: error, warn, info, debug or trace, also by part, such as info,qpq_host::link=debug.
        /// `QPQ_LOG` is another variable for it.
        filter: String = "info".to_owned(), "", with filter;
        /// text, or json for one object on each line.
        format: LogFormat = LogFormat::Text, "", any;
    }
}

/// The keys of all sections, in the order of the reference.
const ALL: [&[Key]; 8] = [
    NodeConfig::KEYS,
    PluginsConfig::KEYS,
    StoreConfig::KEYS,
    MessagesConfig::KEYS,
    LinksConfig::KEYS,
    ScriptsConfig::KEYS,
    ControlConfig::KEYS,
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
        "scripts" => config.scripts.set(key.name, value),
        "control" => config.control.set(key.name, value),
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
        "scripts" => config.scripts.get(key.name),
        "control" => config.control.get(key.name),
        "log" => config.log.get(key.name),
        _ => None,
    }
}
