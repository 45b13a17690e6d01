//! The host's side of one bot's process: passes orders and news, checks and does its calls, ends it when it must.
//!
//! All guards share one thread of the host. None of them waits for a process or for the node anywhere but in its one
//! `select!`, and what waits to be written to a process, or to be done for it, is bounded: beyond the bounds the guard
//! reads no more from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::api::{ApiError, InboxQuery, ScriptEvaluated};

use super::super::bucket::Bucket;
use super::super::failure::{Failure, Kind};
use super::super::handover::{Carried, Handover, Taker};
use super::super::host::{Message, Prepared, StartVersion, Version, prepare};
use super::super::limits::{HANDLER_LIFE_SECS, ScriptLimits};
use super::super::lock;
use super::super::plain::Plain;
use super::super::pulse::Pulse;
use super::super::shared::{Other, Shared};
use super::super::store::StoreOp;
use super::super::worker::{End, Order};
use super::confine;
use super::gate::{Gate, Refusal, strip};
use super::perform::perform;
use super::spawn::{ChildProgram, Process};
use super::watch::{self, LOAD_CPU, LOAD_WALL, Verdict, Watch};
use super::wire::{self, Answer, BadFrame, Call, Frames, ToChild};

mod begin;
mod frames;
mod pool;

pub(crate) use pool::Pool;
use pool::Siblings;

/// While more than that waits to be written to a process, it is asked nothing and told nothing, in bytes.
const OUT_HIGH: usize = 1 << 20;
/// Calls of one process under way. A bot has one for each handler at most, and one for each channel that it joins.
const MAX_CALLS: usize = 512;
/// Of those that may bring large answers or take long, so many are done at a time.
const WIDE_AT_ONCE: usize = 4;
/// Frames of a process a second, and at once. A page of 4 KiB counts as one more. What comes faster waits.
const FRAMES_PER_SECOND: f64 = 5_000.0;
const FRAMES_AT_ONCE: f64 = 10_000.0;
const FRAME_PAGE_BYTES: usize = 4 << 10;
/// Pieces of typed code that wait for an answer.
const MAX_EVALS: usize = 16;
/// CPU time beyond its share for which a process is ended: one that keeps to its budgets stops long before.
const CPU_DEBT: Duration = Duration::from_secs(5);
/// How long a process that was told to end may take beyond the life of a handler.
const END_GRACE: Duration = Duration::from_secs(5);
/// How long a process may take to hand over: one that is heard all the while, but doesn't, can't be replaced otherwise.
const HAND_OVER: Duration = Duration::from_secs(60);
/// Room for one read from the socket, in bytes.
const READ_BYTES: usize = 16 << 10;
/// Buffers that have grown beyond that are given back when they are empty, in bytes.
const BUFFER_KEPT: usize = 64 << 10;

/// Why a guard lets go of its process.
#[derive(Debug)]
enum Fall {
    /// It said that it is done.
    Done(End),
    /// Its socket is closed: it died.
    Gone,
    /// It broke a rule.
    Broken(String),
    /// It doesn't answer, or takes too much.
    Ended(String),
    /// It could not be started.
    Refused(Failure),
}

impl From<BadFrame> for Fall {
    fn from(BadFrame(why): BadFrame) -> Self {
        Self::Broken(why)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The supervisor has yet to hear whether the bot runs.
    Loading,
    /// Loaded, and waiting for the supervisor.
    Waiting,
    Active,
    Frozen,
    /// Finishing what runs; it is ended at that time.
    Ending(Instant),
}

/// What a call under way is about, as far as it matters when it is done.
#[derive(Debug)]
enum Kept {
    Inbox(InboxQuery),
    /// It may bring a large answer, or take long.
    Wide,
    /// A message, and whom it goes to.
    Sent(String),
    /// Bytes of changes to the store.
    Commit(usize),
    Other,
}

type Under = BoxFuture<'static, (u64, Kept, Result<Answer, ApiError>)>;

enum Happened {
    Order(Option<Order>),
    Written(std::io::Result<usize>),
    Answered(Box<(u64, Kept, Result<Answer, ApiError>)>),
    Read(std::io::Result<usize>),
    Changed(Option<Vec<StoreOp>>),
    News,
    Tick,
}

/// Starts a version of a bot in a process of its own.
pub(crate) fn start(start: StartVersion, program: &ChildProgram, pool: &mut Pool) -> std::io::Result<Version> {
    let runtime = pool.runtime()?;
    let (process, socket) = Process::start(program, &start.shared.name)?;
    socket.set_nonblocking(true)?;
    let (orders, receiver) = unbounded_channel();
    // A process is watched by its guard; this heart never beats.
    let version = Version { generation: start.generation, orders, pulse: Arc::new(Pulse::default()) };
    let siblings = pool.siblings();
    runtime.spawn(async move {
        let told =
            Told { bot: start.shared.name.clone(), generation: start.generation, messages: start.messages.clone() };
        match UnixStream::from_std(socket) {
            Ok(socket) => Guard::new(start, process, socket, receiver, siblings).run().await,
            Err(error) => {
                told.loaded(Err(Failure::new(Kind::Panic, format!("no socket for the bot: {error}"))));
                told.ended(End::Done);
            }
        }
    });
    Ok(version)
}

/// Tells the supervisor.
struct Told {
    bot: String,
    generation: u32,
    messages: Sender<Message>,
}

impl Told {
    fn loaded(&self, result: super::super::host::LoadResult) {
        let (bot, generation) = (self.bot.clone(), self.generation);
        let _ = self.messages.send(Message::Loaded { bot, generation, result });
    }

    fn ended(&self, end: End) {
        let (bot, generation) = (self.bot.clone(), self.generation);
        let _ = self.messages.send(Message::Ended { bot, generation, end });
    }
}

/// One process and all that the host knows of it.
struct Guard {
    start: StartVersion,
    shared: Arc<Shared>,
    told: Told,
    process: Process,
    orders: UnboundedReceiver<Order>,
    siblings: Siblings,
    changes: Receiver<Vec<StoreOp>>,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    frames: Frames,
    out: BytesMut,
    gate: Gate,
    watch: Watch,
    limits: ScriptLimits,
    phase: Phase,
    /// What the supervisor asked for, until the process hears that it is shut off.
    prepared: Option<Prepared>,
    isolation: &'static str,
    calls: FuturesUnordered<Under>,
    /// Calls that wait for their turn among those with large answers.
    queued: std::collections::VecDeque<(u64, Call)>,
    wide: usize,
    commit_bytes: usize,
    /// Reads of the inbox that a frozen bot has to wait for.
    held: Vec<(u64, InboxQuery)>,
    /// Who waits for what it hands over, and until when.
    taker: Option<(Taker, Instant)>,
    /// How far versions before it have come in the inbox.
    inherited: u64,
    /// What the admin typed, and who waits for what it comes to.
    evals: Vec<(u64, oneshot::Sender<ScriptEvaluated>)>,
    evals_made: u64,
    /// The other bots, as the process knows them.
    others: Vec<Other>,
    /// The figures at the last report.
    seen: wire::Report,
    rate: Bucket,
    /// For the lines of the bot's log: what it writes, and as much again for what the host says about it.
    book_rate: Bucket,
    inbox_told: u64,
    news_due: bool,
    look_at: Instant,
    orders_over: bool,
    /// The process reads no more: it is about to be gone.
    mute: bool,
}

impl Guard {
    /// Guards the process to its end, and tells the supervisor about it.
    async fn run(mut self) {
        let fall = self.work().await;
        self.siblings.leave(&self.told.bot, self.told.generation);
        if !matches!(fall, Fall::Done(_) | Fall::Gone) {
            self.process.kill();
        }
        let Self { process, told, phase, .. } = self;
        let ended = tokio::task::spawn_blocking(move || process.reap()).await;
        let how = || match &ended {
            Ok(Ok(ended)) => ended.explain(),
            _ => "its process is gone".to_owned(),
        };
        let (kind, why) = match fall {
            Fall::Done(end) if phase != Phase::Loading => return told.ended(end),
            Fall::Done(_) | Fall::Gone => (Kind::Panic, how()),
            Fall::Broken(rule) => (Kind::Panic, format!("its process broke the rules: {rule}")),
            Fall::Ended(why) => (Kind::Cpu, why),
            Fall::Refused(failure) => {
                told.loaded(Err(failure));
                return told.ended(End::Done);
            }
        };
        match phase {
            Phase::Loading => {
                told.loaded(Err(Failure::new(kind, why)));
                told.ended(End::Done);
            }
            _ => {
                if matches!(phase, Phase::Ending(_)) {
                    tracing::warn!(target: "qpq::script", bot = %told.bot, "{why}; it was about to end");
                }
                told.ended(End::Killed(why));
            }
        }
    }

    async fn work(&mut self) -> Fall {
        match self.begin().await {
            Ok(()) => {}
            Err(failure) => return Fall::Refused(failure),
        }
        loop {
            if let Err(fall) = self.take_frames() {
                return fall;
            }
            let happened = self.wait().await;
            if let Err(fall) = self.handle(happened) {
                return fall;
            }
        }
    }

    async fn wait(&mut self) -> Happened {
        let (listens, until) = (self.listens(), self.next_wake());
        let room = self.out.len() < OUT_HIGH;
        let hears_news = self.phase == Phase::Active && room;
        let Self { orders, write, out, calls, read, frames, changes, shared, orders_over, mute, .. } = self;
        if listens {
            frames.buffer.reserve(READ_BYTES);
        }
        tokio::select! {
            biased;
            order = orders.recv(), if !*orders_over => Happened::Order(order),
            written = write.write_buf(out), if !out.is_empty() && !*mute => Happened::Written(written),
            Some(answered) = calls.next(), if room && !calls.is_empty() => Happened::Answered(Box::new(answered)),
            ops = changes.recv(), if room => Happened::Changed(ops),
            () = shared.wake.notified(), if hears_news => Happened::News,
            count = read.read_buf(&mut frames.buffer), if listens => Happened::Read(count),
            () = tokio::time::sleep_until(until.into()) => Happened::Tick,
        }
    }

    fn handle(&mut self, happened: Happened) -> Result<(), Fall> {
        match happened {
            Happened::Order(order) => {
                self.orders_over = order.is_none();
                self.obey(order.unwrap_or(Order::Stop))?;
            }
            Happened::Written(Ok(count)) if count > 0 => {
                give_back(&mut self.out);
                if self.news_due {
                    self.news()?;
                }
            }
            // Its last words may still be unread.
            Happened::Written(_) => self.mute(),
            Happened::Answered(answered) => {
                let (id, kept, result) = *answered;
                self.answered(id, kept, result)?;
            }
            Happened::Read(Ok(count)) if count > 0 => {}
            Happened::Read(_) => return Err(Fall::Gone),
            Happened::Changed(Some(ops)) => self.push(&ToChild::Changed(ops))?,
            Happened::Changed(None) => {
                return Err(Fall::Ended("it doesn't read what another version has stored".to_owned()));
            }
            Happened::News => self.news()?,
            Happened::Tick => {}
        }
        self.tick()
    }

    fn mute(&mut self) {
        self.mute = true;
        self.out.clear();
    }

    /// Writes a frame to the process, as soon as it reads.
    fn push(&mut self, frame: &ToChild) -> Result<(), Fall> {
        if self.mute {
            return Ok(());
        }
        Ok(wire::put(&mut self.out, frame)?)
    }

    /// Whether the process is heard at the moment: not while it has too much under way, or talks too much.
    fn listens(&mut self) -> bool {
        let under = self.calls.len() + self.queued.len() + self.held.len();
        let commits = self.limits.store_bytes.saturating_mul(2).saturating_add(1 << 20);
        under < MAX_CALLS
            && self.commit_bytes < commits
            && self.out.len() < OUT_HIGH
            && self.rate.wait(1.0, Instant::now()) <= 0.0
    }

    fn next_wake(&mut self) -> Instant {
        let now = Instant::now();
        let throttled = self.rate.wait(1.0, now);
        let throttled = (throttled > 0.0).then(|| now + Duration::from_secs_f64(throttled.min(60.0)));
        let ending = match self.phase {
            Phase::Ending(at) => Some(at),
            _ => None,
        };
        let handing = self.taker.as_ref().map(|(_, until)| *until);
        [throttled, ending, handing].into_iter().flatten().fold(self.look_at, Instant::min)
    }

    fn tick(&mut self) -> Result<(), Fall> {
        let now = Instant::now();
        if let Phase::Ending(at) = self.phase
            && at <= now
        {
            return Err(Fall::Ended("its process didn't end when it was told to".to_owned()));
        }
        if self.taker.as_ref().is_some_and(|(_, until)| *until <= now) {
            return Err(Fall::Ended("it didn't hand over to its next version".to_owned()));
        }
        if self.look_at <= now {
            self.look(now)?;
        }
        Ok(())
    }

    fn look(&mut self, now: Instant) -> Result<(), Fall> {
        let (deaf, before) = (!self.listens(), self.watch.cpu());
        let verdict = self.watch.look(watch::sample(self.process.pid()), deaf, now);
        let used = self.watch.cpu().saturating_sub(before);
        self.shared.figures.cpu_us.fetch_add(used.as_micros() as u64, Ordering::Relaxed);
        let left = {
            let mut traffic = lock(&self.shared.traffic);
            traffic.cpu.take(used.as_secs_f64());
            traffic.cpu.level(self.shared.clock.now())
        };
        match verdict {
            Verdict::End(why) => Err(Fall::Ended(why)),
            Verdict::Fine { .. } if left < -CPU_DEBT.as_secs_f64() => {
                Err(Fall::Ended(format!("used {:.1} s of CPU time beyond its share", -left)))
            }
            Verdict::Fine { ping, look } => {
                self.look_at = look;
                match ping {
                    Some(id) => self.push(&ToChild::Ping { id, cpu_left: left }),
                    None => Ok(()),
                }
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), Fall> {
        match order {
            // It was told to end meanwhile.
            Order::Activate { .. } if matches!(self.phase, Phase::Ending(_)) => Ok(()),
            Order::Activate { reloaded, place, settled } => {
                if let Some(place) = &place {
                    self.inherited = place.pulled;
                    self.gate.handed_before(place.begin());
                    self.shared.figures.pulled.store(place.begin(), Ordering::Relaxed);
                }
                self.phase = Phase::Active;
                self.push(&ToChild::Activate { reloaded, place, settled })?;
                self.news()
            }
            Order::Settled => self.push(&ToChild::Settled),
            Order::Freeze(taker) if matches!(self.phase, Phase::Active | Phase::Frozen) => {
                self.taker = Some((taker, Instant::now() + HAND_OVER));
                self.phase = Phase::Frozen;
                self.push(&ToChild::Freeze)
            }
            Order::Thaw if self.phase == Phase::Frozen => {
                *lock(&self.shared.timers) = Carried::default();
                self.phase = Phase::Active;
                self.push(&ToChild::Thaw)?;
                for (id, query) in std::mem::take(&mut self.held) {
                    self.queue(id, Call::Inbox(query));
                }
                self.news()
            }
            // It was told to end meanwhile.
            Order::Freeze(_) | Order::Thaw => Ok(()),
            Order::Eval { code, write, reply } => {
                self.evals.retain(|(_, reply)| !reply.is_closed());
                if self.evals.len() < MAX_EVALS {
                    self.evals_made += 1;
                    self.evals.push((self.evals_made, reply));
                    self.push(&ToChild::Eval { id: self.evals_made, code, write })?;
                }
                Ok(())
            }
            Order::Retire => self.ending(&ToChild::Retire, self.limits.handler_life_secs),
            Order::Stop => self.ending(&ToChild::Stop, HANDLER_LIFE_SECS),
        }
    }

    /// Tells it to end within that many seconds.
    fn ending(&mut self, order: &ToChild, secs: u64) -> Result<(), Fall> {
        if self.phase == Phase::Loading {
            // Nobody waits for it any more.
            self.phase = Phase::Ending(Instant::now());
            self.process.kill();
            return Err(Fall::Done(End::Done));
        }
        self.gate.let_finish();
        let end = Instant::now() + Duration::from_secs(secs) + END_GRACE;
        self.phase = Phase::Ending(match self.phase {
            Phase::Ending(earlier) => end.min(earlier),
            _ => end,
        });
        self.taker = None;
        self.push(order)
    }

    /// Tells the process what has happened, if it is to know and reads.
    fn news(&mut self) -> Result<(), Fall> {
        self.news_due = self.phase == Phase::Active && self.out.len() >= OUT_HIGH;
        if self.phase != Phase::Active || self.news_due {
            return Ok(());
        }
        let grew = self.shared.inbox_seq.load(Ordering::Relaxed);
        if grew > self.inbox_told {
            self.inbox_told = grew;
            self.push(&ToChild::InboxGrew(grew))?;
        }
        let mut events: Vec<_> = lock(&self.shared.live).drain(..).collect();
        events.retain(|event| self.gate.hears(event));
        for event in events {
            self.push(&ToChild::Live(event))?;
        }
        Ok(())
    }
}

fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT {
        *buffer = BytesMut::new();
    }
}
