//! The running node: the shell that performs the core's effects.
//!
//! ```text
//! transports ─► link tasks ─► engine (owns the core) ─► store thread, signature workers, link tasks
//!    ▲              │              ▲        │
//!    └── dialer     └──────────────┘        └─► listener ─► directory, bots
//!                    door (NodeApi) ─► engine, store, channels, plugins, bots
//! ```
//!
//! Nothing here waits for a peer, a plugin or a script inside a shared loop, and every queue has a bound.

mod addresses;
mod bot_store;
pub(crate) mod channels;
pub(crate) mod clock;
mod commands;
pub(crate) mod deliveries;
mod dialer;
mod discovery;
pub(crate) mod door;
pub(crate) mod emergency;
mod engine;
mod federation;
#[cfg(feature = "fuzz-doors")]
pub(crate) mod fuzz;
pub mod index;
mod keeper;
mod link_task;
mod listener;
pub(crate) mod mail;
mod mailboxes;
mod open;
mod pings;
mod plugins;
mod shared;
mod switchboard;
mod transports;
mod verify;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::api::NodeApi;
use crate::api::mailbox::MailboxApi;
use crate::config::Config;
use crate::identity::{Identity, IdentityError, PeerSet};
use crate::link::LinkConfig;
use crate::plugin::{PluginError, Registry, Settings};
use crate::script::ScriptHost;
use crate::store::{MAX_SCAN, StoreError};
use bot_store::KvBotStore;
use channels::{BOTS, USER};
use dialer::{Dialer, Limits, Pauses};
use discovery::Discovery;
use door::Door;
use engine::{Engine, MAX_MESSAGES, Message, Parts};
use listener::News;
use open::Opened;
use plugins::{Follower, Stage};
use shared::{Basics, Shared};
use switchboard::Switchboard;
use transports::{LinkParts, Places, Transports};
use verify::VerifyPool;

/// How the bots, the plugins and the rest share the five seconds in which a node must stop.
const STOP_BOTS: Duration = Duration::from_millis(1_000);
const STOP_PLUGINS: Duration = Duration::from_millis(1_500);

/// A node that runs.
pub struct RunningNode {
    /// The door into it.
    pub api: Arc<dyn NodeApi>,
    /// The mailboxes that it keeps for others.
    pub mailboxes: Arc<dyn MailboxApi>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Whom its admin has blocked.
    pub blocked: PeerSet,
    /// Ready when it has drained and stopped, after [`NodeApi::shutdown`].
    pub stopped: BoxFuture<'static, ()>,
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// Its identity, directory, channels or sealing keys.
    Identity(IdentityError),
    /// Its store.
    Store(StoreError),
    /// Its plugins, as a whole: a single one that fails is a warning.
    Plugin(PluginError),
    /// The system refused a thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Plugin(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "the system gave no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<IdentityError> for StartError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PluginError> for StartError {
    fn from(error: PluginError) -> Self {
        Self::Plugin(error)
    }
}

/// Starts a node in its data directory, which must exist and be locked by the caller.
///
/// # Errors
/// When the identity or the store can't be opened. A plugin or a bot that fails is reported in the status instead.
pub async fn start(config: Config) -> Result<RunningNode, StartError> {
    let settings = config.clone();
    let opened = tokio::task::spawn_blocking(move || open::open(&settings));
    let opened = opened.await.map_err(|error| StartError::Thread(error.into()))??;
    let scripts = Arc::new(OnceLock::new());
    let (shared, engine) = start_engine(&config, opened, &scripts)?;
    let transports = Arc::new(Transports::new(link_parts(&config, &shared)));
    let (registry, wanted, started) = start_plugins(&config, &shared, &transports)?;
    start_dialing(&config, &shared, transports);
    tokio::spawn(keeper::run(Arc::clone(&shared)));
    let plugins = Arc::new(OnceLock::from(registry));
    let door = Door { shared, plugins, scripts, subscriber: USER, stop: Arc::new(Notify::new()) };
    start_bots(&config, &door);
    let settled = plugins::settle(wanted, started).await;
    if let Some(text) = door::nowhere(&door.shared).filter(|_| settled) {
        warn!("{text}");
    }
    let stopped = until_stopped(door.clone(), engine).boxed();
    let identity = Arc::clone(&door.shared.identity);
    let blocked = door.shared.directory().blocked();
    let door = Arc::new(door);
    Ok(RunningNode { api: door.clone(), mailboxes: door, identity, blocked, stopped })
}

/// Starts the task that owns the core, with the signature workers.
fn start_engine(
    config: &Config,
    opened: Opened,
    scripts: &Arc<OnceLock<ScriptHost>>,
) -> Result<(Arc<Shared>, JoinHandle<()>), StartError> {
    let Opened { store, core, identity, guarded, last_inbox } = opened;
    let (messages, message_queue) = mpsc::channel(MAX_MESSAGES);
    let (completions, completed) = mpsc::unbounded_channel();
    let (inbox, inbox_watch) = watch::channel(last_inbox);
    let board = Arc::new(Switchboard::new(identity.peer_id()));
    let basics = Basics {
        home: config.home.clone(),
        nickname: config.node.nickname.clone(),
        domain: config.node.domain.clone(),
        configured: config.node.peers.iter().cloned().chain(config.federation_peers()).collect(),
        configured_at: config.peers_origin.clone(),
        sources: config.sources.clone(),
        defaults: mail::Defaults {
            ttl_secs: config.messages.ttl_secs,
            max_hops: config.messages.max_hops,
            max_payload: config.messages.max_payload,
        },
        desk: emergency::Desk::of(config),
        identity: Arc::clone(&identity),
        store: store.clone(),
        board: Arc::clone(&board),
        engine: messages,
        inbox: inbox_watch,
        discovery: Arc::new(Discovery::new(
            config.discovery.clone(),
            config.federation_policy().filter(|_| config.federation.discover),
        )),
    };
    let shared = Arc::new(Shared::new(basics, guarded));
    let listener = Box::new(News { shared: Arc::clone(&shared), scripts: Arc::clone(scripts) });
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let done = completions.clone();
    let verify = VerifyPool::start(workers, move |event| _ = done.send(event)).map_err(StartError::Thread)?;
    let parts = Parts { core, board, identity, store, verify, completions, inbox, listener };
    let engine = tokio::spawn(Engine::new(parts).run(message_queue, completed));
    Ok((shared, engine))
}

fn link_parts(config: &Config, shared: &Shared) -> LinkParts {
    let (blocked, trusted) = shared.directory().judged();
    LinkParts {
        identity: Arc::clone(&shared.identity),
        blocked,
        trusted,
        config: link_config(config),
        store: shared.store.clone(),
        engine: shared.engine.clone(),
        board: Arc::clone(&shared.board),
        runtime: Handle::current(),
        places: Places::new(config.links.max, config.links.max_half_open),
    }
}

/// Starts the plugins: the registry, how many there are, and where they tell that they have settled.
fn start_plugins(
    config: &Config,
    shared: &Arc<Shared>,
    transports: &Arc<Transports>,
) -> Result<(Registry, usize, mpsc::Receiver<String>), StartError> {
    let listen: Vec<String> = config.node.listen.iter().cloned().chain(config.federation_uri()).collect();
    let settings = Settings {
        folder: config.home.join("state").join("plugins"),
        pinned: config.plugins.pinned.clone(),
        trusted_with_key: config.plugins.trusted_with_key.clone(),
        identity: shared.identity.clone(),
        listeners: Arc::new(Stage {
            shared: Arc::clone(shared),
            transports: Arc::clone(transports),
            listen: listen.clone(),
        }),
        // By this name it is found even if its file was replaced by a newer one.
        program: Some("/proc/self/exe".into())
            .filter(|exe: &std::path::PathBuf| exe.exists())
            .or(std::env::current_exe().ok()),
        watch: config.plugins.watch,
        restarts: crate::plugin::RestartPolicy::default(),
    };
    let specs = plugins::specs(config, shared);
    let wanted = specs.len();
    let (registry, events) = Registry::start(settings, specs)?;
    let (settled, started) = mpsc::channel(wanted.max(1));
    let follower = Follower { shared: Arc::clone(shared), transports: Arc::clone(transports), listen, settled };
    tokio::spawn(plugins::follow(events, follower));
    Ok((registry, wanted, started))
}

fn link_config(config: &Config) -> LinkConfig {
    LinkConfig {
        handshake_ms: config.links.handshake_timeout_ms,
        hello_ms: config.links.ping_interval_ms,
        ..LinkConfig::default()
    }
}

/// Keeps links to the configured servers and to those that the user noted before, and makes others where they are wanted.
fn start_dialing(config: &Config, shared: &Arc<Shared>, transports: Arc<Transports>) {
    let links = &config.links;
    let limits = Limits {
        pauses: Pauses { min_ms: links.redial_min_ms, max_ms: links.redial_max_ms },
        max_dials: links.max_dials,
        max_links: links.max / 2,
    };
    let dialer = Dialer::new(shared.identity.peer_id(), transports, Arc::clone(&shared.board), limits);
    let noted = shared.store.kv_scan(door::SERVER_PREFIX, None, MAX_SCAN).unwrap_or_default();
    let noted =
        noted.into_iter().filter_map(|(key, _)| String::from_utf8(key.get(door::SERVER_PREFIX.len()..)?.to_vec()).ok());
    for uri in config.node.peers.iter().cloned().chain(config.federation_peers()).chain(noted) {
        if let Err(error) = dialer.keep(&uri) {
            warn!(uri, %error, "not dialled");
        }
    }
    tokio::spawn(Arc::clone(&dialer).run(Arc::clone(shared)));
    shared.discovery.connect(Arc::clone(&dialer));
    _ = shared.dialer.set(dialer);
}

fn start_bots(config: &Config, door: &Door) {
    let settings = config.script_host();
    if !settings.enabled {
        return;
    }
    let for_bots = Door { subscriber: BOTS, ..door.clone() };
    let store = KvBotStore(Arc::clone(&door.shared));
    _ = door.scripts.set(ScriptHost::start(settings, Arc::new(for_bots), Arc::new(store)));
}

/// Waits for the order to stop, then drains: bots, links, plugins, core, directory, store.
async fn until_stopped(door: Door, mut engine: JoinHandle<()>) {
    tokio::select! {
        () = door.stop.notified() => {}
        _ = &mut engine => error!("the core has ended by a fault of its own; the node stops. Nothing acknowledged is lost"),
    }
    let began = Instant::now();
    let bots = Arc::clone(&door.scripts);
    _ = tokio::task::spawn_blocking(move || bots.get().map(|bots| bots.stop(STOP_BOTS))).await;
    door.shared.board.close_all("the node stops");
    if let Some(registry) = door.plugins.get() {
        registry.stop(STOP_PLUGINS).await;
    }
    let (finished, ended) = oneshot::channel();
    if door.shared.engine.send(Message::Stop(finished)).await.is_ok() {
        _ = ended.await;
    }
    keeper::save_directory(&door.shared).await;
    let store = door.shared.store.clone();
    _ = tokio::task::spawn_blocking(move || store.close()).await;
    info!(after_ms = began.elapsed().as_millis() as u64, "drained");
}
