//! Which version of which bot runs, and what follows from what happens to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::api::{ApiError, NodeApi, ScriptApproval, ScriptEval, ScriptEvaluated};

use super::super::approvals::{Approvals, Grant};
use super::super::clock::Clock;
use super::super::failure::{Failure, Kind};
use super::super::handover::{Handover, Place};
use super::super::lock;
use super::super::log::{About, Counter, Level};
use super::super::manifest;
use super::super::process::{self, Pool};
use super::super::shared::{Among, Offer, Shared, State, Verdict};
use super::super::source::{Found, Source, discover};
use super::super::store::BotStore;
use super::super::watch::Watcher;
use super::super::worker::{End, Order};
use super::thread::{self, LoadResult, Loaded, Start, Version};
use super::{BotConfig, Isolation, Known, Message, ScriptConfig};

mod versions;

use versions::{Cause, Leaving, Next};

/// Files must be quiet for so long before they are read: one save makes several events.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// Files that never are quiet are read all the same after this time.
const DEBOUNCE_LIMIT: Duration = Duration::from_secs(2);

/// A bot whose process died comes back that soon the first time: it has left nothing behind, and it may have been no fault of its own.
const SOON: Duration = Duration::from_secs(1);
/// How soon a bot is loaded again for which the node could not do its part; each time in a row twice as late.
const UNREADY: Duration = Duration::from_secs(5);
/// That late at most.
const UNREADY_MOST: Duration = Duration::from_secs(300);

/// A bot, with its versions.
struct Bot {
    shared: Arc<Shared>,
    found: Found,
    /// Of the newest files seen, good or bad.
    hash: u64,
    current: Option<Version>,
    next: Option<Next>,
    /// The files may have changed again while `next` is on its way.
    again: bool,
    store_read: bool,
    restart_at: Option<Instant>,
    /// The next version comes in place of one that fell; its faults still count.
    restarting: bool,
    /// How often in a row the node could not do its part.
    unready: u32,
    /// A version fell that had begun what nobody else does.
    fell: bool,
}

/// Somebody who waits for a reload.
struct Waiter {
    pending: Vec<String>,
    reply: oneshot::Sender<Result<(), ApiError>>,
}

pub(super) struct Supervisor {
    config: ScriptConfig,
    node: Arc<dyn NodeApi>,
    kv: Arc<dyn BotStore>,
    known: Known,
    lines: Arc<Counter>,
    approvals: Approvals,
    messages: Sender<Message>,
    watcher: Option<Watcher>,
    bots: BTreeMap<String, Bot>,
    waiters: Vec<Waiter>,
    /// When to read the files, and when the first of the changes came.
    rescan_at: Option<(Instant, Instant)>,
    stop_at: Option<Instant>,
    /// Versions that are replaced or stopped.
    leaving: Vec<Leaving>,
    /// Versions made so far: each has its number.
    made: u32,
    /// Versions that have not ended.
    alive: usize,
    /// Those who guard the bots in processes of their own.
    pool: Pool,
}

impl Supervisor {
    pub(super) fn new(
        config: ScriptConfig,
        node: Arc<dyn NodeApi>,
        kv: Arc<dyn BotStore>,
        known: Known,
        lines: Arc<Counter>,
        messages: Sender<Message>,
    ) -> Self {
        let approvals = Approvals::load(Arc::clone(&kv));
        let is_watched = config.enabled && config.watch;
        let watcher = is_watched.then(|| Watcher::start(&config.dirs, messages.clone())).flatten();
        Self {
            config,
            node,
            kv,
            known,
            lines,
            approvals,
            messages,
            watcher,
            bots: BTreeMap::new(),
            waiters: Vec::new(),
            rescan_at: None,
            stop_at: None,
            leaving: Vec::new(),
            made: 0,
            alive: 0,
            pool: Pool::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stop_at.is_some_and(|at| self.alive == 0 || Instant::now() >= at)
    }

    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::FilesChanged => {
                let now = Instant::now();
                let first = self.rescan_at.map_or(now, |(_, first)| first);
                self.rescan_at = Some(((now + DEBOUNCE).min(first + DEBOUNCE_LIMIT), first));
            }
            Message::Configure { name, bots } => self.configure(name, bots),
            Message::Reload { name, reply } => self.reload(name.as_deref(), reply),
            Message::Approve { name, approval, reply } => self.approve(&name, approval, reply),
            Message::Eval { eval, reply } => self.eval(eval, reply),
            Message::Frozen { bot, generation, handover } => self.frozen(&bot, generation, handover),
            Message::Loaded { bot, generation, result } => self.loaded(&bot, generation, result),
            Message::Ended { bot, generation, end } => self.ended(&bot, generation, &end),
            Message::Stop { deadline } => self.stop(deadline),
        }
    }

    pub(super) fn tick(&mut self) {
        if self.watcher.as_mut().is_some_and(Watcher::look) {
            self.handle(Message::FilesChanged);
        }
        let now = Instant::now();
        if self.rescan_at.is_some_and(|(at, _)| at <= now) && self.stop_at.is_none() {
            self.rescan_at = None;
            self.rescan(false);
        }
        let names: Vec<String> = self.bots.keys().cloned().collect();
        for name in names {
            self.look_after(&name, now);
        }
        self.look_after_leaving();
    }

    /// Looks for bots and loads those that are new or changed; all of them when `all` says so.
    pub(super) fn rescan(&mut self, all: bool) {
        if !self.config.enabled {
            return;
        }
        let found = discover(&self.config.dirs);
        let wanted = |name: &str| self.config.bots.get(name).is_none_or(|bot| bot.enabled);
        let found: Vec<Found> = found.into_iter().filter(|bot| wanted(&bot.name)).collect();
        let gone: Vec<String> =
            self.bots.keys().filter(|name| !found.iter().any(|bot| bot.name == **name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
        for bot in found {
            let name = bot.name.clone();
            self.meet(bot);
            self.load(&name, if all { Cause::Asked } else { Cause::Saved });
        }
    }

    fn remove(&mut self, name: &str) {
        self.stop_versions(name);
        if self.bots.remove(name).is_some() {
            self.known.write().unwrap_or_else(PoisonError::into_inner).retain(|shared| shared.name != name);
            self.settle_waiters(name);
        }
    }

    fn meet(&mut self, found: Found) {
        if self.bots.get(&found.name).is_some_and(|bot| bot.found == found) {
            return;
        }
        self.remove(&found.name);
        let patch = self.config.bots.get(&found.name).map(|bot| &bot.limits);
        let limits =
            patch.map_or_else(|| self.config.limits.clone(), |patch| self.config.limits.clone().replaced(patch));
        let among = Among { lines: Arc::clone(&self.lines), clock: Clock::Real, known: Arc::downgrade(&self.known) };
        let shared = Arc::new(Shared::among(&found.name, found.path.clone(), &limits, among));
        self.known.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shared));
        let bot = Bot {
            shared,
            hash: 0,
            current: None,
            next: None,
            again: false,
            store_read: false,
            restart_at: None,
            restarting: false,
            unready: 0,
            fell: false,
            found: found.clone(),
        };
        self.bots.insert(found.name, bot);
    }

    /// Takes over what the configuration says of bots now.
    fn configure(&mut self, name: Option<String>, mut bots: BTreeMap<String, BotConfig>) {
        let all = || self.config.bots.keys().chain(bots.keys()).cloned().collect();
        let names: BTreeSet<String> = name.map_or_else(all, |name| [name].into());
        for name in names {
            let (fresh, before) = (bots.remove(&name), self.config.bots.remove(&name).unwrap_or_default());
            self.config.bots.extend(fresh.clone().map(|fresh| (name.clone(), fresh)));
            let fresh = fresh.unwrap_or_default();
            if !fresh.enabled {
                self.remove(&name);
            } else if before.granted != fresh.granted {
                self.withdraw(&name);
            }
        }
    }

    /// The version waits for the admin. The one before it goes on, where there is one.
    fn hold(&mut self, name: &str, missing: &[String]) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let why = bot.shared.held(missing, bot.current.is_some());
        tracing::warn!(target: "qpq::script", bot = name, "{why}");
        self.settle_waiters(name);
    }

    fn approve(&mut self, name: &str, approval: ScriptApproval, reply: oneshot::Sender<Result<(), ApiError>>) {
        let Some(bot) = self.bots.get(name) else {
            let _ = reply.send(Err(self.unknown(name)));
            return;
        };
        let asked = lock(&bot.shared.face).needs.clone();
        let ScriptApproval { needs, revoke, trusted } = approval;
        if let Some(wrong) = needs.iter().find_map(|need| manifest::check_need(need).err()) {
            let _ = reply.send(Err(ApiError::new("unknown-permission", wrong)));
            return;
        }
        let needs = if needs.is_empty() { asked.clone() } else { needs };
        let config = self.config.bots.get(name).cloned().unwrap_or_default();
        let grant = (!revoke).then(|| Grant::of(needs, &asked, &config, trusted));
        let before = self.approvals.of(name).cloned().unwrap_or_default();
        // What is taken away is gone at once: the version that has it doesn't finish.
        let is_less = grant.as_ref().is_none_or(|grant| grant.is_less_than(&before));
        if let Err(error) = self.approvals.set(name, grant) {
            let _ = reply.send(Err(error));
            return;
        }
        if is_less {
            self.withdraw(name);
        }
        self.reload(Some(name), reply);
    }

    /// Ends the version that runs, because it may have more than it may now.
    fn withdraw(&mut self, name: &str) {
        self.stop_versions(name);
        self.bots.get(name).inspect(|bot| bot.shared.set_state(State::Loading));
    }

    fn eval(&self, eval: ScriptEval, reply: oneshot::Sender<Result<oneshot::Receiver<ScriptEvaluated>, ApiError>>) {
        let ScriptEval { bot: name, code, write } = eval;
        let answer = match self.bots.get(&name).map(|bot| &bot.current) {
            None => Err(self.unknown(&name)),
            Some(None) => {
                let message = format!("the bot {name} doesn't run at the moment; `qpq script list` says why");
                Err(ApiError::new("not-running", message))
            }
            Some(Some(version)) => {
                let (answer, evaluated) = oneshot::channel();
                let _ = version.orders.send(Order::Eval { code, write, reply: answer });
                Ok(evaluated)
            }
        };
        let _ = reply.send(answer);
    }

    fn unknown(&self, name: &str) -> ApiError {
        if self.config.bots.get(name).is_some_and(|bot| !bot.enabled) {
            let message = format!("the bot {name} is off: [scripts.bots.{name}] says `enabled = false`");
            return ApiError::new("bot-off", message);
        }
        let near = super::super::nearest(name, self.bots.keys().map(String::as_str));
        let near = near.map_or(String::from(";"), |near| format!("; did you mean '{near}'?"));
        ApiError::new("unknown-bot", format!("there is no bot '{name}'{near} `qpq script list` shows them"))
    }

    fn reload(&mut self, name: Option<&str>, reply: oneshot::Sender<Result<(), ApiError>>) {
        if let Some(name) = name
            && !self.bots.contains_key(name)
        {
            self.rescan(false);
            if !self.bots.contains_key(name) {
                let _ = reply.send(Err(self.unknown(name)));
                return;
            }
        }
        match name {
            Some(name) => self.load(name, Cause::Asked),
            None => self.rescan(true),
        }
        let loading = |(name, bot): (&String, &Bot)| bot.next.is_some().then(|| name.clone());
        let mut pending: Vec<String> = self.bots.iter().filter_map(loading).collect();
        pending.retain(|loading| name.is_none_or(|name| name == loading));
        if pending.is_empty() {
            let _ = reply.send(Ok(()));
        } else {
            self.waiters.push(Waiter { pending, reply });
        }
    }

    fn settle_waiters(&mut self, name: &str) {
        for waiter in &mut self.waiters {
            waiter.pending.retain(|pending| pending != name);
        }
        let (done, waiting) = std::mem::take(&mut self.waiters).into_iter().partition(|w| w.pending.is_empty());
        self.waiters = waiting;
        for waiter in Vec::<Waiter>::from_iter(done) {
            let _ = waiter.reply.send(Ok(()));
        }
    }

    fn stop(&mut self, deadline: Instant) {
        self.stop_at = Some(deadline);
        for name in self.bots.keys().cloned().collect::<Vec<_>>() {
            self.stop_versions(&name);
        }
    }
}

/// Where a bot runs: where the configuration says for it, else in a process of its own when the configuration says so for
/// all, or when it was let in for more than answering and nobody has said that it is trusted.
fn isolation(config: &ScriptConfig, approvals: &Approvals, bot: &str) -> Isolation {
    if let Some(isolation) = config.bots.get(bot).and_then(|bot| bot.isolation) {
        return isolation;
    }
    match approvals.of(bot) {
        Some(grant) if grant.trusted => Isolation::Thread,
        Some(_) => Isolation::Process,
        None => config.isolation,
    }
}
