//! All configured plugins of a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::check;
use super::descriptor::{Vtable, is_name};
use super::discovery::{DiscoveryEvents, DiscoveryHandle};
use super::error::{LoadError, PluginError, Problem};
use super::identity::PluginIdentity;
use super::instance::{Instance, run};
use super::loader::{Image, Loader};
use super::policy::RestartPolicy;
use super::port::{Port, Role};
use super::routing::{RoutingHandle, Scratch};
use super::store::{StoreEvents, StoreHandle};
use super::supervisor::{Command, Live, LiveState, Order, Supervisor};
use super::transport::{TransportEvents, TransportHandle};
use super::tried::Tried;
use super::watch::{self, Watch};
use crate::api::PluginStatus;

/// How long a library may take to load and be checked.
const LOAD_DEADLINE: Duration = Duration::from_secs(20);
/// How long a plugin may take for its figures.
const STATS_DEADLINE: Duration = Duration::from_secs(1);
/// How long the answer to a swap waits for the first frame that the new instance takes in, which ends the pause.
const PAUSE_WAIT: Duration = Duration::from_secs(1);
/// How often it looks.
const PAUSE_LOOK: Duration = Duration::from_millis(2);
/// Events that wait for the shell; supervisors wait when it is full.
const MAX_EVENTS: usize = 64;

/// Stands for the kind of a plugin whose library was never loaded.
pub(super) const KIND_UNKNOWN: &str = "unknown";

/// One configured plugin.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its name in the configuration: lower-case letters, digits and '-'.
    pub name: String,
    /// The library.
    pub file: PathBuf,
    /// Its own section of the configuration: an object.
    pub config: Value,
}

/// What a configuration that was read anew says of a plugin.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Its own section: an object.
    pub config: Value,
    /// Names of the plugins that get the node's secret key when they ask for it.
    pub trusted_with_key: Vec<String>,
}

/// What all plugins of a node share.
pub struct Settings {
    /// Where libraries are copied to before they are mapped: `plugins` in the state directory.
    pub folder: PathBuf,
    /// SHA-256 digests (hex) of the libraries that may be loaded; empty allows all.
    pub pinned: Vec<String>,
    /// Names of the plugins that get the node's secret key when they ask for it.
    pub trusted_with_key: Vec<String>,
    /// The `qpq` program, which tries a library in a process of its own before it is loaded into this one. `None`: it is
    /// loaded at once.
    pub program: Option<PathBuf>,
    /// The node's identity.
    pub identity: Arc<dyn PluginIdentity>,
    /// Makes the listeners.
    pub listeners: Arc<dyn Listeners>,
    /// Whether a plugin is swapped when its file is replaced.
    pub watch: bool,
    /// When a plugin that failed starts again.
    pub restarts: RestartPolicy,
}

/// Makes the listener for each instance of a plugin, by the plugin's name.
pub trait Listeners: Send + Sync {
    /// For a transport.
    fn transport(&self, name: &str) -> Arc<dyn TransportEvents>;
    /// For a discovery service; by default what it finds is dropped.
    fn discovery(&self, name: &str) -> Arc<dyn DiscoveryEvents> {
        let _ = name;
        Arc::new(Deaf)
    }
    /// For a store; by default only logged.
    fn store(&self, name: &str) -> Arc<dyn StoreEvents> {
        let _ = name;
        Arc::new(Deaf)
    }
    /// In a swap of a transport that can ([`OVERLAPS`](qpq_plugin_api::abi::plugin_flags::OVERLAPS)), has the links of the
    /// instance before go over to `running` while they carry on. What does not go over in time is left.
    fn overlap(&self, name: &str, running: Running) -> BoxFuture<'static, ()> {
        let _ = (name, running);
        ready(()).boxed()
    }
    /// In a swap, lets `running` take the place of the instance before it, which may still run or be drained: a transport
    /// listens, a routing protocol gets the links. An error, in words for the admin, means that it did not; then the
    /// instance before it counts as before, as long as it runs.
    fn adopt(&self, name: &str, running: Running) -> BoxFuture<'static, Result<(), String>> {
        let _ = (name, running);
        ready(Ok(())).boxed()
    }
}

struct Deaf;

impl DiscoveryEvents for Deaf {
    fn peer(&self, _: qpq_plugin_api::PeerEvent, _: Value) -> bool {
        true
    }
}

impl StoreEvents for Deaf {
    fn read_only(&self, why: Option<&str>) {
        tracing::warn!(why, "the store plugin changed between read-only and writable");
    }
}

/// A plugin that has just started.
pub enum Running {
    /// A transport, or a federation.
    Transport(TransportHandle),
    /// A routing protocol.
    Routing(RoutingHandle),
    /// A discovery service.
    Discovery(DiscoveryHandle),
    /// A store.
    Store(StoreHandle),
}

impl Running {
    pub(super) fn of(instance: &Arc<Instance>) -> Option<Self> {
        let instance = || Arc::clone(instance);
        TransportHandle::new(instance())
            .map(Self::Transport)
            .or_else(|| RoutingHandle::new(instance()).map(Self::Routing))
            .or_else(|| DiscoveryHandle::new(instance()).map(Self::Discovery))
            .or_else(|| StoreHandle::new(instance()).map(Self::Store))
    }
}

/// What the shell hears of its plugins.
pub enum PluginEvent {
    /// It runs; earlier handles of this name are dead.
    Started {
        /// Its name.
        name: String,
        /// How to call it.
        running: Running,
    },
    /// It was refused, or has failed. The links of a transport were reported down before this.
    Failed {
        /// Its name.
        name: String,
        /// Why, and how to mend it.
        reason: String,
        /// When it starts again; `None`: when the admin enables it.
        restart: Option<Duration>,
        /// It failed too often, and is only tried now and then.
        disabled: bool,
    },
}

/// What supervisors share.
pub(super) struct Shared {
    loader: Arc<Loader>,
    folder: PathBuf,
    pub(super) program: Option<PathBuf>,
    trusted_with_key: Arc<RwLock<Vec<String>>>,
    identity: Arc<dyn PluginIdentity>,
    listeners: Arc<dyn Listeners>,
    events: mpsc::Sender<PluginEvent>,
    pub(super) restarts: RestartPolicy,
}

impl Shared {
    pub(super) async fn load(&self, spec: &PluginSpec, file: &Path) -> Result<Arc<Image>, PluginError> {
        let (loader, spec, file) = (Arc::clone(&self.loader), spec.clone(), file.to_owned());
        let name = spec.name.clone();
        let work = move || loader.load(&spec.name, &file, &spec.config);
        Ok(run(&name, "load", LOAD_DEADLINE, work).await??)
    }

    /// Loads a plugin's configured file, after it was tried in a process of its own: one that hangs or crashes as it is
    /// loaded must not take the node with it. What did no harm before isn't tried again.
    pub(super) async fn load_tried(self: &Arc<Self>, spec: &PluginSpec) -> Result<Arc<Image>, PluginError> {
        let tried = Tried::take(&self.folder.join(&spec.name), &spec.file);
        if let (false, Some(program)) = (tried.is_known(), &self.program)
            && let Some(found) = check::fatal(program, &spec.file).await
        {
            return Err(LoadError::new(&spec.file, Problem::Fatal(found)).into());
        }
        let image = self.load(spec, &spec.file).await?;
        tried.keep();
        Ok(image)
    }

    pub(super) fn port(&self, name: &str, image: &Image) -> Port {
        let role = match image.descriptor.vtable {
            Vtable::Transport(_) => Role::Transport(self.listeners.transport(name)),
            Vtable::Discovery(_) => Role::Discovery(self.listeners.discovery(name)),
            Vtable::Routing(_) => Role::Routing(Arc::new(Scratch::new(None))),
            Vtable::Store(_) => Role::Store(self.listeners.store(name)),
        };
        let trusted = self.trusted_with_key.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = trusted.iter().any(|trusted| trusted == name);
        Port::new(name, &image.descriptor.info.id, role, Arc::clone(&self.identity)).trusted_with_key(trusted)
    }

    /// See [`Listeners::overlap`].
    pub(super) async fn overlap(&self, instance: &Arc<Instance>) {
        if let Some(running) = Running::of(instance) {
            self.listeners.overlap(instance.name(), running).await;
        }
    }

    /// See [`Listeners::adopt`].
    pub(super) async fn adopt(&self, instance: &Arc<Instance>) -> Result<(), String> {
        match Running::of(instance) {
            Some(running) => self.listeners.adopt(instance.name(), running).await,
            None => Err("it is of a kind that nothing uses".to_owned()),
        }
    }

    pub(super) async fn tell(&self, event: PluginEvent) {
        // The shell may be gone already when the node ends.
        let _ = self.events.send(event).await;
    }
}

/// All configured plugins, each with its supervisor.
pub struct Registry {
    plugins: BTreeMap<String, Entry>,
    trusted_with_key: Arc<RwLock<Vec<String>>>,
    loader: Arc<Loader>,
    _watch: Option<Watch>,
}

/// That there is no file of that plugin, and what to do.
pub fn missing_file(name: &str, folders: &[PathBuf]) -> String {
    let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let cargo = name.replace('-', "_");
    format!("no file {name}.so or libqpq_{cargo}.so in {}; build it, or set `plugins.dirs`", places.join(", "))
}

struct Entry {
    live: LiveState,
    commands: mpsc::Sender<Command>,
}

impl Registry {
    /// Starts all plugins, each on its own; what becomes of them comes over the channel. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When two plugins have one name, or a name has characters that don't belong there.
    pub fn start(
        settings: Settings,
        specs: Vec<PluginSpec>,
    ) -> Result<(Self, mpsc::Receiver<PluginEvent>), PluginError> {
        check_names(&specs)?;
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        let Settings { folder, pinned, trusted_with_key, program, identity, listeners, watch, restarts } = settings;
        let loader = Arc::new(Loader::new(&folder, pinned));
        let trusted_with_key = Arc::new(RwLock::new(trusted_with_key));
        let shared = Arc::new(Shared {
            loader: Arc::clone(&loader),
            folder,
            program,
            trusted_with_key: Arc::clone(&trusted_with_key),
            identity,
            listeners,
            events,
            restarts,
        });
        let files: Vec<PathBuf> = specs.iter().map(|spec| spec.file.clone()).collect();
        let started = specs.into_iter().map(|spec| (spec.name.clone(), supervise(spec, &shared)));
        let started: Vec<(String, Entry)> = started.collect();
        let watched = files.into_iter().zip(started.iter().map(|(_, entry)| entry.commands.clone())).collect();
        let watch = if watch { watch::start(watched) } else { None };
        Ok((Self { plugins: started.into_iter().collect(), trusted_with_key, loader, _watch: watch }, receiver))
    }

    fn entry(&self, name: &str) -> Result<&Entry, PluginError> {
        self.plugins.get(name).ok_or_else(|| PluginError::Unknown { plugin: name.to_owned() })
    }

    /// The state of every plugin, by name.
    pub async fn statuses(&self) -> Vec<PluginStatus> {
        futures::future::join_all(self.plugins.values().map(Entry::status)).await
    }

    /// Turns a plugin on that was disabled or refused, and starts it, with what the configuration says now where that is
    /// given. Its new state comes with the return; whether it stays up, over the channel.
    ///
    /// # Errors
    /// When no plugin has that name.
    pub async fn enable(&self, name: &str, fresh: Option<Fresh>) -> Result<PluginStatus, PluginError> {
        let entry = self.entry(name)?;
        let config = fresh.map(|fresh| {
            *self.trusted_with_key.write().unwrap_or_else(PoisonError::into_inner) = fresh.trusted_with_key;
            fresh.config
        });
        let (done, heard) = oneshot::channel();
        let closed = || PluginError::Closed { plugin: name.to_owned() };
        entry.commands.send(Command::Enable(config, done)).await.map_err(|_| closed())?;
        heard.await.map_err(|_| closed())?;
        Ok(entry.status().await)
    }

    /// Replaces a running plugin's library by the one in `file`, or in its configured file: a new instance beside the
    /// running one first, then the change-over. Returns when that is done and frames come in again (or a second after); the
    /// reports stand in the status.
    ///
    /// # Errors
    /// When no plugin has that name or it isn't running, when the library is refused or fails before or in the
    /// change-over. Then the instance before goes on, or another one of its library was started
    /// (but for [`super::SwapProblem::BothFailed`]).
    pub async fn swap(&self, name: &str, file: Option<PathBuf>) -> Result<PluginStatus, PluginError> {
        let entry = self.entry(name)?;
        let (reply, heard) = oneshot::channel();
        let closed = || PluginError::Closed { plugin: name.to_owned() };
        entry.commands.send(Command::Swap(Order { file, reply })).await.map_err(|_| closed())?;
        heard.await.map_err(|_| closed())??;
        let end = Instant::now() + PAUSE_WAIT;
        while entry.is_pausing() && Instant::now() < end {
            tokio::time::sleep(PAUSE_LOOK).await;
        }
        Ok(entry.status().await)
    }

    /// How many libraries this process has mapped since its start; none is ever given back, and
    /// [`super::MAX_GENERATIONS`] is the most.
    pub fn mapped_libraries(&self) -> u32 {
        self.loader.mapped()
    }

    /// Drains and stops all plugins at once, within about `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        let stops = self.plugins.values().map(|entry| async {
            let (done, heard) = oneshot::channel();
            if entry.commands.send(Command::Stop(deadline, done)).await.is_ok() {
                let _ = heard.await;
            }
        });
        let all = futures::future::join_all(stops);
        if tokio::time::timeout(deadline + Duration::from_secs(2), all).await.is_err() {
            tracing::error!("some plugins did not stop in time");
        }
    }
}

fn supervise(spec: PluginSpec, shared: &Arc<Shared>) -> Entry {
    let (commands, receiver) = mpsc::channel(8);
    let status = PluginStatus {
        name: spec.name.clone(),
        kind: KIND_UNKNOWN.to_owned(),
        version: String::new(),
        file: spec.file.display().to_string(),
        sha256: String::new(),
        state: "starting".to_owned(),
        failures: 0,
        last_error: None,
        restart_in_ms: None,
        generation: 0,
        swaps: Vec::new(),
        stats: Value::Object(serde_json::Map::new()),
    };
    let live = Arc::new(Mutex::new(Live { status, restart_at: None, instance: None, pause: None }));
    tokio::spawn(Supervisor::new(spec, Arc::clone(shared), Arc::clone(&live), receiver).run());
    Entry { live, commands }
}

impl Entry {
    /// Whether the pause of the last swap isn't over yet.
    fn is_pausing(&self) -> bool {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.measure_pause();
        live.pause.is_some()
    }

    async fn status(&self) -> PluginStatus {
        let (mut status, restart_at, instance) = {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.measure_pause();
            (live.status.clone(), live.restart_at, live.instance.clone())
        };
        let left = restart_at.map(|at| at.saturating_duration_since(Instant::now()).as_millis());
        status.restart_in_ms = left.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        if let Some(instance) = instance {
            let stats = run(&status.name, "stats", STATS_DEADLINE, move || instance.stats()).await;
            status.stats = stats.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }));
        }
        status
    }
}

fn check_names(specs: &[PluginSpec]) -> Result<(), PluginError> {
    for (n, spec) in specs.iter().enumerate() {
        let refuse = |problem| Err(LoadError::new(&spec.file, problem).into());
        if !is_name(&spec.name) {
            return refuse(Problem::Text("name in the configuration", format!("{:?} is no plugin name", spec.name)));
        }
        if let Some(other) = specs.iter().take(n).find(|other| other.name == spec.name) {
            return refuse(Problem::DuplicateId(spec.name.clone(), other.file.clone()));
        }
    }
    Ok(())
}

/// The library of the plugin `name` in the first of `folders` that has it: `name.so`, or `libqpq_name.so` as cargo builds it.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let cargo = format!("libqpq_{}.so", name.replace('-', "_"));
    let plain = format!("{name}.so");
    let of = |folder: &PathBuf| [folder.join(&plain), folder.join(&cargo)];
    folders.iter().flat_map(of).find(|path: &PathBuf| Path::is_file(path))
}
