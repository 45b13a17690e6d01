//! What belongs to a bot and outlives each of its machines: figures, quotas, store, faults.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::api::{BotStatus, LimitUse};
use crate::core::Notice;

use super::board::Board;
use super::bucket::Bucket;
use super::chatter::Chatter;
use super::clock::Clock;
use super::elect::Election;
use super::handover::Carried;
use super::limits::{CPU_WINDOW, ERRORS_TO_PAUSE, KILL_WINDOW, KILLS_TO_DISABLE, LIVE_QUEUE, PAUSES, ScriptLimits};
use super::lock;
use super::log::{About, Book, Counter};
use super::store::Cache;
use super::traffic::Traffic;

/// Failures kept for a look back. A bot is paused before it makes more of them in a minute.
const PROBLEMS_KEPT: usize = 16;
/// Longest text of a problem, in bytes.
pub(crate) const PROBLEM_BYTES: usize = 2_048;

/// What happened in the mesh at this moment. Messages come another way: bots read the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEvent {
    /// What happened.
    pub kind: LiveKind,
    /// The peer that it is about.
    pub peer: Option<PeerId>,
    /// The peer's nickname.
    pub name: Option<String>,
    /// The message that it is about.
    pub id: Option<MessageId>,
    /// A few words: the transport, the reason.
    pub detail: Option<String>,
}

impl LiveEvent {
    /// What bots are told of something that happened in the core; without the peer's nickname, which the node knows.
    pub(crate) fn of(notice: &Notice) -> Option<Self> {
        let (kind, peer, id, detail) = match notice {
            Notice::PeerUp(peer) => (LiveKind::PeerUp, Some(*peer), None, None),
            Notice::PeerDown(peer) => (LiveKind::PeerDown, Some(*peer), None, None),
            Notice::LinkChange { peer, up } => {
                (LiveKind::LinkChange, Some(*peer), None, Some(if *up { "up" } else { "down" }))
            }
            Notice::RoutesChanged => (LiveKind::RouteChange, None, None, None),
            Notice::Delivered { id, by } => (LiveKind::Delivered, Some(*by), Some(*id), None),
            Notice::Failed { id, to } => (LiveKind::Failed, Some(*to), Some(*id), Some("expired")),
            Notice::Evicted { id, from } => (LiveKind::Evicted, Some(*from), Some(*id), None),
            Notice::NoWay(_) | Notice::Record { .. } | Notice::Twin | Notice::RecordsGone(_) => return None,
        };
        Some(Self { kind, peer, name: None, id, detail: detail.map(str::to_owned) })
    }
}

/// The kinds of live events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveKind {
    /// The first link to a peer is up.
    PeerUp,
    /// The last link to a peer went down.
    PeerDown,
    /// A link came, went or moved.
    LinkChange,
    /// The routing table changed.
    RouteChange,
    /// A message reached its recipient.
    Delivered,
    /// A message won't reach its recipient.
    Failed,
    /// A message was dropped for want of room.
    Evicted,
}

impl LiveKind {
    /// The name of the event in scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerUp => "peer_up",
            Self::PeerDown => "peer_down",
            Self::LinkChange => "link_change",
            Self::RouteChange => "route_change",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
        }
    }
}

/// A bot's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    Loading,
    Running,
    /// For the admin's approval.
    Waiting,
    Paused,
    Failed,
    Disabled,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// A command that a bot answers, as `!help` and other bots see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub name: String,
    /// How it is typed, and what it does.
    pub help: String,
    /// Where it is answered besides direct messages.
    pub channels: Vec<String>,
}

impl Offer {
    /// Whether it is answered in direct messages (`None`), or on a channel.
    pub(crate) fn is_answered(&self, topic: Option<&str>) -> bool {
        topic.is_none_or(|topic| self.channels.iter().any(|channel| channel == topic))
    }
}

/// A bot of this node that runs, and the commands that it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Other {
    pub name: String,
    pub commands: Vec<Offer>,
}

/// What the bots of one node have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Among {
    /// Numbers their log lines.
    pub lines: Arc<Counter>,
    /// Their time.
    pub clock: Clock,
    /// All of them.
    pub known: Weak<RwLock<Vec<Arc<Shared>>>>,
}

/// What `qpq script list` shows beside the figures.
#[derive(Debug, Default)]
pub(crate) struct Face {
    pub state: State,
    pub version: Option<String>,
    /// Why the newest version didn't load.
    pub load_problem: Option<String>,
    /// Why a handler failed last.
    pub run_problem: Option<String>,
    pub commands: Vec<Offer>,
    pub topics: Vec<String>,
    /// The permissions that the newest version asks for; those of them that nobody has decided on, and those that the admin
    /// didn't grant.
    pub needs: Vec<String>,
    pub missing: Vec<String>,
    pub denied: Vec<String>,
    /// Where it runs: the word of [`BotStatus::isolation`].
    pub isolation: &'static str,
}

/// Counters. Read by anyone, written by the bot's thread.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub events: AtomicU64,
    pub errors: AtomicU64,
    pub cpu_us: AtomicU64,
    pub memory: AtomicU64,
    pub sent: AtomicU64,
    /// Everything in the inbox up to here is handled or being handled.
    pub pulled: AtomicU64,
    pub loads: AtomicU32,
    pub pauses: AtomicU32,
    pub kills: AtomicU32,
    /// Timers that are set.
    pub timers: AtomicU32,
    /// Handlers in flight.
    pub handlers: AtomicU32,
    /// Questions that wait for people.
    pub questions: AtomicU32,
    /// Entries of its boards.
    pub board_posts: AtomicU32,
    /// CPU time that loading took, and the most that one event has taken since, in microseconds.
    pub load_cpu_us: AtomicU64,
    pub event_cpu_us: AtomicU64,
}

/// What went wrong lately, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    errors: VecDeque<Instant>,
    kills: VecDeque<Instant>,
    pauses: usize,
    last_pause_end: Option<Instant>,
}

/// What to do after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    Pause(Duration),
    Disable,
}

impl Faults {
    /// Notes an error of a handler.
    pub(crate) fn error(&mut self, now: Instant) -> Verdict {
        if count(&mut self.errors, Duration::from_secs(60), now) < ERRORS_TO_PAUSE {
            return Verdict::GoOn;
        }
        self.errors.clear();
        // An hour without a pause, and the next one is short again.
        if self.last_pause_end.is_some_and(|end| now.saturating_duration_since(end) > Duration::from_secs(3_600)) {
            self.pauses = 0;
        }
        let pause = PAUSES.get(self.pauses).or(PAUSES.last()).copied().unwrap_or_default();
        self.pauses += 1;
        self.last_pause_end = Some(now + pause);
        Verdict::Pause(pause)
    }

    /// Kills that count at the moment.
    pub(crate) fn kills(&self) -> usize {
        self.kills.len()
    }

    /// Notes an event that was stopped for its CPU time.
    pub(crate) fn kill(&mut self, now: Instant) -> Verdict {
        if count(&mut self.kills, KILL_WINDOW, now) >= KILLS_TO_DISABLE { Verdict::Disable } else { self.error(now) }
    }
}

fn count(times: &mut VecDeque<Instant>, window: Duration, now: Instant) -> usize {
    times.push_back(now);
    times.retain(|at| now.saturating_duration_since(*at) <= window);
    times.len()
}

/// One bot, whichever machine runs it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub name: String,
    pub path: PathBuf,
    /// The bot's time.
    pub clock: Clock,
    pub inbox_seq: AtomicU64,
    /// Where in the inbox it is to begin, as it was when it was first started without a note of that.
    pub begins_after: OnceLock<u64>,
    pub wake: Notify,
    pub live: Mutex<VecDeque<LiveEvent>>,
    pub figures: Figures,
    pub face: Mutex<Face>,
    pub traffic: Mutex<Traffic>,
    pub store: Mutex<Cache>,
    pub faults: Mutex<Faults>,
    /// What it says when there is room.
    pub chatter: Mutex<Chatter>,
    /// Who else answers on its channels.
    pub election: Mutex<Election>,
    /// The bots of this node.
    known: Weak<RwLock<Vec<Arc<Shared>>>>,
    /// The boards of its last machines: a new one goes on with what is the same.
    pub boards: Mutex<Vec<Arc<Board>>>,
    /// When named timers are due, for the next machine (Unix seconds).
    pub timers: Mutex<Carried>,
    pub book: Book,
    /// Numbers the lines of all bots.
    pub lines: Arc<Counter>,
    /// The last failures of its handlers, the newest last.
    pub problems: Mutex<VecDeque<String>>,
}

impl Shared {
    /// A bot by itself.
    pub(crate) fn new(name: &str, path: PathBuf, limits: &ScriptLimits) -> Self {
        Self::among(name, path, limits, Among::default())
    }

    /// A bot among others of its node.
    pub(crate) fn among(name: &str, path: PathBuf, limits: &ScriptLimits, among: Among) -> Self {
        let Among { lines, clock, known } = among;
        Self {
            name: name.to_owned(),
            path,
            inbox_seq: AtomicU64::new(0),
            begins_after: OnceLock::new(),
            wake: Notify::new(),
            live: Mutex::default(),
            figures: Figures::default(),
            face: Mutex::default(),
            traffic: Mutex::new(Traffic::new(limits, clock.now())),
            store: Mutex::default(),
            faults: Mutex::default(),
            chatter: Mutex::default(),
            election: Mutex::default(),
            known,
            boards: Mutex::default(),
            timers: Mutex::default(),
            book: Book::default(),
            lines,
            problems: Mutex::default(),
            clock,
        }
    }

    /// The inbox grew to `seq`.
    pub(crate) fn inbox_grew(&self, seq: u64) {
        self.inbox_seq.fetch_max(seq, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Queues a live event; the oldest goes when there is no room.
    pub(crate) fn push_live(&self, event: LiveEvent) {
        let mut queue = lock(&self.live);
        // Routes change by the hundred; one event says it.
        if event.kind == LiveKind::RouteChange && queue.contains(&event) {
            return;
        }
        if queue.len() >= LIVE_QUEUE {
            queue.pop_front();
        }
        queue.push_back(event);
        drop(queue);
        self.wake.notify_one();
    }

    /// Puts events back that nobody has looked at, before those that came since; the oldest go when there is no room.
    pub(crate) fn put_back_live(&self, events: impl Iterator<Item = LiveEvent>) {
        let mut queue = lock(&self.live);
        let newer = std::mem::take(&mut *queue);
        queue.extend(events.chain(newer));
        let excess = queue.len().saturating_sub(LIVE_QUEUE);
        queue.drain(..excess);
    }

    /// Whether of the bots of this node that answer this command there, this one does: the first by name. `help` is answered
    /// by the first that has any command there.
    pub(crate) fn speaks(&self, command: &str, topic: Option<&str>) -> bool {
        let Some(known) = self.known.upgrade() else { return true };
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        !known.iter().any(|bot| bot.name < self.name && bot.offers(command, topic))
    }

    fn offers(&self, command: &str, topic: Option<&str>) -> bool {
        let face = lock(&self.face);
        let fits = |offer: &Offer| offer.is_answered(topic) && (command == "help" || offer.name == command);
        face.state == State::Running && face.commands.iter().any(fits)
    }

    /// The commands of the other bots of this node there: each bot's name, and its lines. About so many bytes of them.
    pub(crate) fn others_help(&self, topic: Option<&str>, bytes: usize) -> Vec<(String, Vec<String>)> {
        let Some(known) = self.known.upgrade() else { return Vec::new() };
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        let mut others: Vec<_> = known.iter().filter(|bot| bot.name != self.name).collect();
        others.sort_by_key(|bot| &bot.name);
        let mut left = bytes;
        let lines = |bot: &Arc<Self>| {
            let face = lock(&bot.face);
            let here = face.commands.iter().filter(|offer| face.state == State::Running && offer.is_answered(topic));
            let fits = |offer: &&Offer| {
                let before = left;
                left = left.saturating_sub(offer.help.len());
                before > 0
            };
            let lines: Vec<String> = here.take_while(fits).map(|offer| offer.help.clone()).collect();
            (!lines.is_empty()).then(|| (bot.name.clone(), lines))
        };
        others.into_iter().filter_map(lines).collect()
    }

    /// The other bots of this node and their commands, as [`Shared::among`] in another process wants them.
    pub(crate) fn others(&self) -> Vec<Other> {
        let Some(known) = self.known.upgrade() else { return Vec::new() };
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        let other = |bot: &Arc<Self>| {
            let face = lock(&bot.face);
            let runs = face.state == State::Running && !face.commands.is_empty();
            runs.then(|| Other { name: bot.name.clone(), commands: face.commands.clone() })
        };
        known.iter().filter(|bot| bot.name != self.name).filter_map(other).collect()
    }

    /// A bot that runs elsewhere, as the others see it.
    pub(crate) fn elsewhere(other: Other) -> Arc<Self> {
        let bot = Self::new(&other.name, PathBuf::new(), &ScriptLimits::default());
        {
            let mut face = lock(&bot.face);
            (face.state, face.commands) = (State::Running, other.commands);
        }
        Arc::new(bot)
    }

    pub(crate) fn keep_log(&self, about: About, line: String) {
        self.book.add(&self.lines, &self.name, self.clock.unix_ms(), about, line);
    }

    /// What the bot uses of its limits.
    fn limit_use(&self) -> Vec<LimitUse> {
        let now = self.clock.now();
        let mut traffic = lock(&self.traffic);
        let Traffic { messages, broadcasts, bytes, log, cpu, stored, limits } = &mut *traffic;
        let limits = limits.clone();
        let spent = |bucket: &mut Bucket, unit: f64| {
            let (used, capacity) = bucket.spent(now);
            ((used * unit).round() as u64, (capacity * unit).round() as u64)
        };
        let buckets = [
            ("cpu_percent", spent(cpu, 100.0 / CPU_WINDOW.as_secs_f64())),
            ("messages_per_minute", spent(messages, 1.0)),
            ("broadcasts_per_minute", spent(broadcasts, 1.0)),
            ("bytes_per_hour", spent(bytes, 1.0)),
            ("store_bytes_per_minute", spent(stored, 1.0)),
            ("log_lines_per_second", spent(log, 1.0)),
        ];
        drop(traffic);
        let figures = &self.figures;
        let channels = lock(&self.face).topics.len();
        let store = lock(&self.store);
        let count = |figure: &AtomicU32, limit: usize| (figure.load(Ordering::Relaxed).into(), limit as u64);
        let cpu_ms = |figure: &AtomicU64, limit| (figure.load(Ordering::Relaxed).div_ceil(1_000), limit);
        let counts = [
            ("cpu_per_event_ms", cpu_ms(&figures.event_cpu_us, limits.cpu_per_event_ms)),
            ("cpu_at_load_ms", cpu_ms(&figures.load_cpu_us, limits.cpu_at_load_ms)),
            ("memory_bytes", (figures.memory.load(Ordering::Relaxed), limits.memory_bytes as u64)),
            ("store_bytes", (store.bytes() as u64, limits.store_bytes as u64)),
            ("store_keys", (store.keys() as u64, limits.store_keys as u64)),
            ("board_posts", count(&figures.board_posts, limits.board_posts)),
            ("timers", count(&figures.timers, limits.timers)),
            ("handlers", count(&figures.handlers, limits.handlers)),
            ("questions", count(&figures.questions, limits.questions)),
            ("channels", (channels as u64, limits.channels as u64)),
            // What nobody counts.
            ("coroutines", (0, limits.coroutines as u64)),
            ("handler_life_secs", (0, limits.handler_life_secs)),
            ("store_value_bytes", (0, limits.store_value_bytes as u64)),
            ("source_bytes", (0, limits.source_bytes as u64)),
        ];
        let line = |(name, (used, limit)): (&str, (u64, u64))| LimitUse { name: name.to_owned(), used, limit };
        buckets.into_iter().chain(counts).map(line).collect()
    }

    /// Notes why a handler failed.
    pub(crate) fn keep_problem(&self, problem: String) {
        let mut problems = lock(&self.problems);
        if problems.len() >= PROBLEMS_KEPT {
            problems.pop_front();
        }
        problems.push_back(problem.clone());
        drop(problems);
        lock(&self.face).run_problem = Some(problem);
    }

    pub(crate) fn set_state(&self, state: State) {
        lock(&self.face).state = state;
    }

    pub(crate) fn status(&self) -> BotStatus {
        let (limits, stored_bytes) = (self.limit_use(), lock(&self.store).bytes() as u64);
        let face = lock(&self.face);
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        BotStatus {
            name: self.name.clone(),
            version: face.version.clone(),
            path: self.path.display().to_string(),
            state: face.state.name().to_owned(),
            problem: face.load_problem.clone().or_else(|| face.run_problem.clone()),
            commands: face.commands.iter().map(|offer| offer.name.clone()).collect(),
            topics: face.topics.clone(),
            events: read(&self.figures.events),
            errors: read(&self.figures.errors),
            cpu_ms: read(&self.figures.cpu_us) / 1_000,
            memory_bytes: read(&self.figures.memory),
            sent: read(&self.figures.sent),
            stored_bytes,
            lag: read(&self.inbox_seq).saturating_sub(read(&self.figures.pulled)),
            loads: self.figures.loads.load(Ordering::Relaxed),
            isolation: if face.isolation.is_empty() { "thread" } else { face.isolation }.to_owned(),
            needs: face.needs.clone(),
            missing: face.missing.clone(),
            denied: face.denied.clone(),
            pauses: self.figures.pauses.load(Ordering::Relaxed),
            kills: self.figures.kills.load(Ordering::Relaxed),
            limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_errors_a_minute_pause_longer_each_time_and_three_kills_disable() {
        let mut faults = Faults::default();
        let now = Instant::now();
        let five = |faults: &mut Faults| (0..5).map(|_| faults.error(now)).last().unwrap();
        assert_eq!(five(&mut faults), Verdict::Pause(PAUSES[0]));
        assert_eq!(five(&mut faults), Verdict::Pause(PAUSES[1]));
        assert_eq!(five(&mut faults), Verdict::Pause(PAUSES[2]));
        assert_eq!(five(&mut faults), Verdict::Pause(PAUSES[2]));
        let verdicts: Vec<_> = (0..3).map(|_| Faults::kill(&mut faults, now)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Disable));
    }
}
