//! The supervisor: finds bots, starts a worker for each version, replaces what is stuck.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qpq_schemas::channel::normalise;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::api::{
    ApiError, BotStatus, MachineReport, NodeApi, ScriptApproval, ScriptEval, ScriptEvaluated, ScriptLogPage,
    ScriptLogQuery, SourceText,
};

use super::handover::Handover;
use super::limits::{LimitsPatch, ScriptLimits};
use super::log::Counter;
use super::machine::Machine;
use super::process::ChildProgram;
use super::shared::{LiveEvent, Shared};
use super::sources::Sources;
use super::store::BotStore;

mod supervisor;
pub(crate) mod thread;

use supervisor::Supervisor;
pub(crate) use thread::{LoadResult, Loaded, Prepared, Start as StartVersion, Version, assemble, prepare};

/// Where a bot runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// On a thread of the node: for bots that the admin has looked at.
    #[default]
    Thread,
    /// In a process of its own, without files, environment or network: for bots of strangers.
    Process,
}

/// Which bots run, and what they may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptConfig {
    /// Whether bots run at all.
    pub enabled: bool,
    /// The folders to look for bots in. Of two bots with one name the first folder's wins.
    pub dirs: Vec<PathBuf>,
    /// Whether a saved file is loaded at once.
    pub watch: bool,
    /// The limits of every bot.
    pub limits: ScriptLimits,
    /// babeld's local socket: its path, or HOST:PORT. Looked for where it usually is when left out.
    pub babel: Option<String>,
    /// The program `batctl`. Looked for where it usually is when left out.
    pub batctl: Option<PathBuf>,
    /// Where bots run.
    pub isolation: Isolation,
    /// The program that runs the bots in processes of their own; this one when left out.
    #[serde(skip)]
    pub child: ChildProgram,
    /// When a bot is started anew that fell again, or whose thread hangs.
    #[serde(skip)]
    pub restart_after: Duration,
    /// What is different for one bot, by its name.
    pub bots: BTreeMap<String, BotConfig>,
}

impl Default for ScriptConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            dirs: Vec::new(),
            watch: true,
            limits: ScriptLimits::default(),
            babel: None,
            batctl: None,
            isolation: Isolation::default(),
            child: ChildProgram::default(),
            restart_after: Duration::from_secs(60),
            bots: BTreeMap::new(),
        }
    }
}

/// The admin's settings for one bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BotConfig {
    /// Whether the bot runs.
    pub enabled: bool,
    /// Values for the bot's own configuration (`mesh.config`), checked against its defaults.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Limits in place of the common ones.
    pub limits: LimitsPatch,
    /// The permissions granted beside what was approved with `qpq script approve`; when left out, those that a bot of a single
    /// file has.
    pub granted: Option<Vec<String>>,
    /// Files and http(s) addresses that the bot may read, by the names that it knows them by.
    pub sources: BTreeMap<String, String>,
    /// Where the bot runs, in place of what goes for all.
    pub isolation: Option<Isolation>,
}

impl Default for BotConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            config: serde_json::Map::new(),
            limits: LimitsPatch::default(),
            granted: None,
            sources: BTreeMap::new(),
            isolation: None,
        }
    }
}

/// Longest code that an admin may type at once, in bytes.
const EVAL_BYTES: usize = 16 << 10;

/// What the supervisor is told.
pub(crate) enum Message {
    /// Something changed in a scripts directory.
    FilesChanged,
    /// What the configuration says of bots now: of one, or of all.
    Configure { name: Option<String>, bots: BTreeMap<String, BotConfig> },
    /// Load one bot anew, or all.
    Reload { name: Option<String>, reply: oneshot::Sender<Result<(), ApiError>> },
    /// Grant a bot what it asks for, or take it back.
    Approve { name: String, approval: ScriptApproval, reply: oneshot::Sender<Result<(), ApiError>> },
    /// Run a piece of Lua in a bot.
    Eval { eval: ScriptEval, reply: oneshot::Sender<Result<oneshot::Receiver<ScriptEvaluated>, ApiError>> },
    /// A version begins nothing more, and hands over.
    Frozen { bot: String, generation: u32, handover: Handover },
    /// A worker's version runs, or doesn't.
    Loaded { bot: String, generation: u32, result: LoadResult },
    /// A worker ended.
    Ended { bot: String, generation: u32, end: super::worker::End },
    /// Drain and end.
    Stop { deadline: Instant },
}

/// The bots that are known, for those who ask from any thread.
type Known = Arc<RwLock<Vec<Arc<Shared>>>>;

/// The running script host. Dropping it stops the bots without waiting.
pub struct ScriptHost {
    known: Known,
    lines: Arc<Counter>,
    sources: RwLock<Arc<Sources>>,
    machine: Arc<Machine>,
    messages: Sender<Message>,
    supervisor: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for ScriptHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptHost").finish_non_exhaustive()
    }
}

impl ScriptHost {
    /// Starts the bots of the configured directories. Returns at once; bots load beside each other.
    ///
    /// Call it once the node answers: bots subscribe and may send as they load.
    pub fn start(config: ScriptConfig, node: Arc<dyn NodeApi>, kv: Arc<dyn BotStore>) -> Self {
        let (messages, inbox) = channel();
        let known = Known::default();
        let lines = Arc::new(Counter::default());
        let sources = RwLock::new(Arc::new(Sources::new(&config.bots)));
        let machine = Arc::new(Machine::new(config.babel.clone(), config.batctl.clone()));
        let supervisor = Supervisor::new(config, node, kv, Arc::clone(&known), Arc::clone(&lines), messages.clone());
        let spawned = std::thread::Builder::new().name("bots".to_owned()).spawn(move || supervise(supervisor, &inbox));
        if let Err(error) = &spawned {
            tracing::error!(target: "qpq::script", "the script host has no thread: {error}");
        }
        Self { known, lines, sources, machine, messages, supervisor: std::sync::Mutex::new(spawned.ok()) }
    }

    /// The node's inbox grew to `seq`: wakes the bots. Cheap, never blocks.
    pub fn inbox_grew(&self, seq: u64) {
        self.each(|bot| bot.inbox_grew(seq));
    }

    /// Tells the bots of a live event. Each has a bounded queue; when it is full, the oldest event goes.
    pub fn event(&self, event: &LiveEvent) {
        self.each(|bot| bot.push_live(event.clone()));
    }

    fn each(&self, f: impl Fn(&Shared)) {
        self.known.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|bot| f(bot));
    }

    /// The bots and their states, by name.
    pub fn list(&self) -> Vec<BotStatus> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<BotStatus> = known.iter().map(|bot| bot.status()).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// The bots that listen to a channel, or will again by themselves.
    pub fn on_channel(&self, topic: &str) -> Vec<String> {
        let topic = normalise(topic).unwrap_or_default();
        let listens = |bot: &BotStatus| {
            bot.topics.contains(&topic) && ["running", "paused", "loading"].contains(&bot.state.as_str())
        };
        self.list().into_iter().filter(listens).map(|bot| bot.name).collect()
    }

    /// Takes over what the configuration says of one bot now, or of all. It counts from the next version on; where what is granted
    /// changed, or the bot may not run, the one that runs ends.
    pub fn configure(&self, name: Option<&str>, bots: BTreeMap<String, BotConfig>) {
        let fresh = Sources::new(&bots);
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        *sources = Arc::new(match name {
            Some(name) => sources.renewed(name, fresh),
            None => fresh,
        });
        drop(sources);
        // Whoever reloads next is told that the host has stopped.
        let _ = self.messages.send(Message::Configure { name: name.map(str::to_owned), bots });
    }

    /// Loads one bot anew, or looks for bots and loads all of them; also lets go of a pause or a disabling.
    /// Returns the list once the new versions run or failed; a failed one shows in `problem`.
    pub async fn reload(&self, name: Option<String>) -> Result<Vec<BotStatus>, ApiError> {
        let (reply, done) = oneshot::channel();
        self.messages.send(Message::Reload { name: name.clone(), reply }).map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())??;
        let wanted = |bot: &BotStatus| name.as_ref().is_none_or(|name| bot.name == *name);
        Ok(self.list().into_iter().filter(wanted).collect())
    }

    /// Grants a bot the permissions that it asks for, or takes them back, and loads it anew.
    ///
    /// # Errors
    /// When there is no such bot or permission, or the grant could not be written.
    pub async fn approve(&self, name: String, approval: ScriptApproval) -> Result<BotStatus, ApiError> {
        let (reply, done) = oneshot::channel();
        self.messages.send(Message::Approve { name: name.clone(), approval, reply }).map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())??;
        self.list().into_iter().find(|bot| bot.name == name).ok_or_else(stopped)
    }

    /// What bots logged.
    pub async fn logs(&self, query: ScriptLogQuery) -> ScriptLogPage {
        let known = Arc::clone(&self.known);
        let meant = |bot: &&Arc<Shared>| query.bot.as_ref().is_none_or(|name| bot.name == *name);
        let collect = |after| {
            let known = known.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().filter(meant).flat_map(|bot| bot.book.after(after)).collect()
        };
        self.lines.page(&query, collect).await
    }

    /// Runs a piece of Lua in a running bot.
    ///
    /// # Errors
    /// When there is no such bot, it doesn't run, or it ended meanwhile.
    pub async fn eval(&self, eval: ScriptEval) -> Result<ScriptEvaluated, ApiError> {
        if eval.code.len() > EVAL_BYTES {
            return Err(ApiError::new("too-large", format!("typed code has at most {} KiB", EVAL_BYTES >> 10)));
        }
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Eval { eval, reply }).map_err(|_| stopped())?;
        let evaluated = answer.await.map_err(|_| stopped())??;
        evaluated.await.map_err(|_| ApiError::new("not-running", "the bot ended before it answered; try again"))
    }

    /// Reads what the admin named as a source for a bot.
    ///
    /// # Errors
    /// When there is none of that name, or it can't be read.
    pub async fn source(&self, bot: &str, name: &str) -> Result<SourceText, ApiError> {
        let sources = Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner));
        sources.read(bot, name).await
    }

    /// What the machine's own mesh routing knows.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn machine(&self) -> Result<MachineReport, ApiError> {
        self.machine.look().await.map_err(|_| stopped())
    }

    /// Stops the bots: they get their `stop` event, finish what they do, and their stores are written. Blocks until
    /// they are done or the deadline has passed.
    pub fn stop(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let _ = self.messages.send(Message::Stop { deadline: until });
        let supervisor = super::lock(&self.supervisor).take();
        // The supervisor ends at the deadline at the latest, so this join is bounded.
        if let Some(supervisor) = supervisor {
            let _ = supervisor.join();
        }
    }
}

fn stopped() -> ApiError {
    ApiError::new("scripts-off", "the script host has stopped")
}

impl Drop for ScriptHost {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop { deadline: Instant::now() });
    }
}

/// How often the heartbeats are looked at.
const TICK: Duration = Duration::from_millis(100);

fn supervise(mut supervisor: Supervisor, inbox: &Receiver<Message>) {
    supervisor.rescan(true);
    loop {
        match inbox.recv_timeout(TICK) {
            Ok(message) => supervisor.handle(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        supervisor.tick();
        if supervisor.is_done() {
            return;
        }
    }
}
