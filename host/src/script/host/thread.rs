//! The thread of one version of a bot: build, load, report, work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::api::{ApiError, IdentityInfo, NodeApi};

use super::super::api::Command;
use super::super::context::Parts;
use super::super::failure::{Failure, Kind};
use super::super::limits::ScriptLimits;
use super::super::lock;
use super::super::manifest::Permissions;
use super::super::plain::Plain;
use super::super::program::{self, Program};
use super::super::pulse::Pulse;
use super::super::shared::{Offer, Shared};
use super::super::source::{Source, SourceError};
use super::super::store::{BotStore, Cache};
use super::super::vm::Vm;
use super::super::worker::{BEGUN, End, Order, Worker, begin};
use super::{BotConfig, Message};

/// Stack of a bot's thread: Luau's parser and its C calls are bounded, this is well above both.
const STACK_BYTES: usize = 4 << 20;
/// How long the node may take to say who it is, and to note where a bot begins.
const NODE_WAIT: Duration = Duration::from_secs(5);

/// What a version shows of itself once it runs.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub commands: Vec<Offer>,
    pub topics: Vec<String>,
    pub version: Option<String>,
    /// Where it runs, in a word for the admin.
    pub isolation: &'static str,
    /// The limits that it has.
    pub limits: ScriptLimits,
}

pub(crate) type LoadResult = Result<Loaded, Failure>;

/// What a version is started with.
pub(crate) struct Start {
    pub shared: Arc<Shared>,
    pub generation: u32,
    pub node: Arc<dyn NodeApi>,
    pub kv: Arc<dyn BotStore>,
    pub limits: ScriptLimits,
    pub config: BotConfig,
    pub source: Source,
    /// What it may do: what it needs, as far as that was granted.
    pub permissions: Permissions,
    pub state: Option<Plain>,
    /// Whether the store is to be read from disk: at the bot's first version only.
    pub read_store: bool,
    pub messages: Sender<Message>,
}

impl Start {
    /// The limits in force: what the manifest asks for less of, and what the admin has set.
    pub(crate) fn effective_limits(&self) -> ScriptLimits {
        self.limits.clone().lowered(&self.source.manifest.limits).replaced(&self.config.limits)
    }
}

/// What a bot is told at its start, beside its files.
pub(crate) struct Prepared {
    pub identity: IdentityInfo,
    pub permissions: Permissions,
    pub limits: ScriptLimits,
}

/// The supervisor's end of a version.
pub(crate) struct Version {
    pub generation: u32,
    pub orders: UnboundedSender<Order>,
    pub pulse: Arc<Pulse>,
}

/// Starts a version on a thread of its own.
pub(super) fn start(start: Start) -> std::io::Result<Version> {
    let (orders, receiver) = unbounded_channel();
    let pulse = Arc::new(Pulse::default());
    let version = Version { generation: start.generation, orders, pulse: Arc::clone(&pulse) };
    let name = format!("bot-{}", start.shared.name);
    std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || live(start, &pulse, receiver))?;
    Ok(version)
}

fn live(start: Start, pulse: &Arc<Pulse>, orders: UnboundedReceiver<Order>) {
    pulse.attach();
    let (bot, generation, messages) = (start.shared.name.clone(), start.generation, start.messages.clone());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Kind::Panic, format!("no runtime for the bot: {error}"));
            let _ = messages.send(Message::Loaded { bot, generation, result: Err(failure) });
            return;
        }
    };
    let work = async {
        let (result, worker) = match load(start, pulse).await {
            Ok((vm, loaded)) => (Ok(loaded), Some(Worker::new(vm, Arc::clone(pulse), orders))),
            Err(failure) => (Err(failure), None),
        };
        let _ = messages.send(Message::Loaded { bot: bot.clone(), generation, result });
        match worker {
            Some(worker) => worker.run().await,
            None => End::Done,
        }
    };
    // The machine's own panics are caught at each poll; this is for those of the host around it.
    let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))).unwrap_or(End::Broken);
    if !pulse.is_abandoned() {
        let _ = messages.send(Message::Ended { bot, generation, end });
    }
}

/// Builds a version's machine and loads its bot. Needs a tokio runtime around it.
pub(crate) async fn load(start: Start, pulse: &Arc<Pulse>) -> Result<(std::rc::Rc<Vm>, Loaded), Failure> {
    let Prepared { identity, permissions, limits } = prepare(&start).await?;
    let program = Program::compile(start.source).map_err(program::first)?;
    let parts = Parts {
        shared: start.shared,
        node: start.node,
        kv: start.kv,
        limits,
        program,
        permissions,
        overrides: start.config.config,
        self_id: identity.peer_id,
        self_name: identity.nickname,
    };
    assemble(parts, start.state.as_ref(), pulse).await
}

/// Asks the node what a bot needs to know. At its first version reads its store, and notes where a new bot begins.
pub(crate) async fn prepare(start: &Start) -> Result<Prepared, Failure> {
    let refused = |error: ApiError| Failure::new(Kind::Unready, error.to_string());
    let late = |_| Failure::new(Kind::Unready, "the node doesn't answer");
    let identity = tokio::time::timeout(NODE_WAIT, start.node.identity()).await;
    let identity = identity.map_err(late)?.map_err(refused)?;
    if start.read_store {
        let mut entries = start.kv.load(&start.shared.name).await.map_err(refused)?;
        let note = entries.iter().find(|(key, ..)| key == BEGUN).map(|(_, value, _)| value.as_slice());
        let begun = tokio::time::timeout(NODE_WAIT, begin(&start.shared, &*start.node, &*start.kv, note)).await;
        entries.extend(begun.map_err(late)?.map_err(refused)?);
        *lock(&start.shared.store) = Cache::new(entries, start.shared.clock.unix_ms());
    }
    let limits = start.effective_limits();
    Ok(Prepared { identity, permissions: start.permissions.clone(), limits })
}

/// Builds the machine of a compiled bot on this thread, and loads the bot.
pub(crate) async fn assemble(
    parts: Parts,
    state: Option<&Plain>,
    pulse: &Arc<Pulse>,
) -> Result<(std::rc::Rc<Vm>, Loaded), Failure> {
    let (shared, version) = (Arc::clone(&parts.shared), parts.program.source.manifest.version.clone());
    pulse.enter();
    let vm = Vm::build(parts, state, Arc::clone(pulse));
    pulse.leave();
    let vm = vm.map_err(|error| Failure::new(Kind::Panic, format!("no machine for the bot: {error}")))?;
    let ran = vm.load().await;
    lock(&shared.traffic).cpu.take(ran.cpu.as_secs_f64());
    ran.result?;
    shared.figures.memory.store(vm.memory_at_rest() as u64, std::sync::atomic::Ordering::Relaxed);
    let loaded = Loaded {
        commands: vm.ctx.commands.borrow().iter().map(Command::offer).collect(),
        topics: vm.ctx.topics.borrow().iter().cloned().collect(),
        version,
        isolation: "thread",
        limits: vm.ctx.limits.clone(),
    };
    Ok((vm, loaded))
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let (file, line) = (Some(error.file), error.line);
        Self { file, line, ..Self::new(Kind::Refused, error.message) }
    }
}
