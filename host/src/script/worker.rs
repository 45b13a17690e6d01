//! A bot's thread: pulls messages, calls handlers, keeps to the limits.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::api::{ApiError, InboxPage, Reply, ScriptEvaluated};

use super::api::deliver_when_free;
use super::call::Ran;
use super::chatter::LOOK;
use super::dispatch::{self, Job};
use super::failure::{Failure, Kind};
use super::limits::{HANDLER_LIFE_SECS, LIVE_QUEUE};
use super::lock;
use super::log::About;
use super::plain::Plain;
use super::pulse::Pulse;
use super::shared::{Shared, State, Verdict};
use super::vm::Vm;

mod contest;
mod inbox;
mod job;

use contest::Contests;
pub(crate) use inbox::{BEGUN, PAGE, reader};
pub(crate) use job::perform;

/// The longest sleep of an idle bot. Nothing depends on it: everything that happens wakes the thread.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the supervisor tells a worker.
pub(crate) enum Order {
    /// Begin: take events.
    Activate { reloaded: bool },
    /// Take no new events and hand over `mesh.state`.
    Freeze(Sender<Option<Plain>>),
    /// Go on, the new version failed.
    Thaw,
    /// A new version took over: finish what is running, then end.
    Retire,
    /// The node stops.
    Stop,
    /// Run a piece of Lua that the admin typed.
    Eval { code: String, write: bool, reply: oneshot::Sender<ScriptEvaluated> },
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// It was told to.
    Done,
    /// Its bot used too much CPU too often.
    Disabled,
    /// Its machine failed.
    Broken,
    /// Its process died or was ended, for this reason.
    Killed(String),
}

/// Something that a worker waited for.
pub(crate) enum Finished {
    Event {
        what: String,
        ran: Ran,
        seq: Option<u64>,
        unsaid: Option<ApiError>,
    },
    Said {
        seq: Option<u64>,
        unsaid: Option<ApiError>,
    },
    Subscribed {
        topic: String,
        result: Result<(), ApiError>,
    },
    /// Something that is answered elsewhere.
    Aside,
}

enum Happened {
    Order(Option<Order>),
    Finished(Finished),
    Page(Result<InboxPage, ApiError>),
    Acked(Result<(), ApiError>),
    Woken,
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    Frozen,
    /// Finishing what runs.
    Ending(Instant),
}

/// The thread's state.
pub(crate) struct Worker {
    vm: Rc<Vm>,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    orders: UnboundedReceiver<Order>,
    /// Nobody is left to give orders.
    alone: bool,
    phase: Phase,
    running: FuturesUnordered<LocalBoxFuture<'static, Finished>>,
    ready: VecDeque<(Job, Option<u64>)>,
    /// Messages begun and not finished: sequence number and jobs left.
    open: BTreeMap<u64, usize>,
    /// Commands that bots of other nodes could answer, too.
    contests: Contests,
    /// The last message pulled; `None` before the first page.
    after: Option<u64>,
    acked: u64,
    behind: bool,
    /// The boards have read what came between the load and the first page.
    read_boards: bool,
    fetch: Option<Reply<InboxPage>>,
    ack: Option<Reply<()>>,
    ack_at: Option<Instant>,
    fetch_not_before: Option<Instant>,
    paused_until: Option<Instant>,
    /// When to look whether there is room for what waits.
    chatter_at: Option<Instant>,
    stopped_for: Option<End>,
}

impl Worker {
    pub(crate) fn new(vm: Rc<Vm>, pulse: Arc<Pulse>, orders: UnboundedReceiver<Order>) -> Self {
        Self {
            shared: Arc::clone(&vm.ctx.shared),
            vm,
            pulse,
            orders,
            alone: false,
            phase: Phase::Waiting,
            running: FuturesUnordered::new(),
            ready: VecDeque::new(),
            open: BTreeMap::new(),
            contests: Contests::new(),
            after: None,
            acked: 0,
            behind: true,
            read_boards: false,
            fetch: None,
            ack: None,
            ack_at: None,
            fetch_not_before: None,
            paused_until: None,
            chatter_at: None,
            stopped_for: None,
        }
    }

    /// Works until told to end.
    pub(crate) async fn run(mut self) -> End {
        loop {
            if self.pulse.is_abandoned() {
                return End::Done;
            }
            if let Some(end) = self.ended() {
                let _ = self.vm.ctx.flush().await;
                if self.phase != Phase::Waiting && !self.vm.ctx.retired.get() {
                    self.write_cursor().await;
                }
                return end;
            }
            for seq in self.vm.ctx.handled.take() {
                self.close(Some(seq));
            }
            self.subscribe();
            self.start_ready();
            self.show();
            let happened = self.wait().await;
            self.handle(happened);
        }
    }

    /// The present moment by the bot's clock.
    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn ended(&self) -> Option<End> {
        if self.vm.is_broken() {
            return Some(End::Broken);
        }
        if let Some(end) = &self.stopped_for {
            return Some(end.clone());
        }
        let Phase::Ending(deadline) = self.phase else { return None };
        let done = self.running.is_empty() && self.ready.is_empty() && self.contests.is_empty();
        (done || self.now() >= deadline).then_some(End::Done)
    }

    async fn wait(&mut self) -> Happened {
        let until = self.next_wake();
        // One that is about to end gets no more orders, and takes no news away from the version that follows it.
        let listens = !matches!(self.phase, Phase::Ending(_));
        let Self { orders, alone, running, fetch, ack, shared, .. } = self;
        tokio::select! {
            biased;
            order = orders.recv(), if listens && !*alone => Happened::Order(order),
            Some(finished) = running.next(), if !running.is_empty() => Happened::Finished(finished),
            page = maybe(fetch) => Happened::Page(page),
            result = maybe(ack) => Happened::Acked(result),
            () = shared.wake.notified(), if listens => Happened::Woken,
            () = shared.clock.sleep_until(until) => Happened::Tick,
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Order(order) => {
                self.alone = order.is_none();
                self.obey(order.unwrap_or(Order::Stop));
            }
            Happened::Finished(finished) => self.finished(finished),
            Happened::Page(page) => {
                self.fetch = None;
                self.page(page);
            }
            Happened::Acked(result) => {
                self.ack = None;
                if let Err(error) = result {
                    tracing::warn!(target: "qpq::script", bot = %self.shared.name, "place in the inbox not written: {error}");
                }
            }
            Happened::Woken => {
                self.behind = true;
                self.live_events();
                self.chatter();
            }
            Happened::Tick => self.timers(),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Activate { reloaded } if self.phase == Phase::Waiting => {
                self.phase = Phase::Active;
                let jobs = dispatch::plain(&self.vm, if reloaded { "reload" } else { "start" }, |_| Ok(()));
                self.queue(jobs, None);
                if reloaded {
                    self.after = Some(self.shared.figures.pulled.load(Ordering::Relaxed)).filter(|at| *at > 0);
                }
            }
            Order::Freeze(reply) => {
                self.phase = Phase::Frozen;
                *lock(&self.shared.timers) = self.vm.ctx.timers.borrow().pace().collect();
                let _ = reply.send(self.state());
            }
            Order::Thaw if self.phase == Phase::Frozen => {
                self.phase = Phase::Active;
                self.live_events();
            }
            // It was told to stop meanwhile.
            Order::Activate { .. } | Order::Thaw => {}
            Order::Eval { code, write, reply } => {
                let evaluated = job::evaluate(Rc::clone(&self.vm), code, write);
                self.running.push(Box::pin(async move {
                    // Whoever asked may be gone.
                    let _ = reply.send(evaluated.await);
                    Finished::Aside
                }));
            }
            Order::Retire => {
                self.vm.ctx.retired.set(true);
                self.vm.ctx.asked.borrow_mut().clear();
                self.end_within(Duration::from_secs(HANDLER_LIFE_SECS));
            }
            Order::Stop => {
                // What waits stays unhandled, and comes again after the next start.
                self.contests.clear();
                self.vm.ctx.asked.borrow_mut().clear();
                if self.phase == Phase::Active {
                    let jobs = dispatch::plain(&self.vm, "stop", |_| Ok(()));
                    self.queue(jobs, None);
                }
                self.end_within(Duration::from_secs(HANDLER_LIFE_SECS));
            }
        }
    }

    fn state(&mut self) -> Option<Plain> {
        self.vm.state().map_err(|failure| self.failed("mesh.state", &failure)).ok()
    }

    fn end_within(&mut self, time: Duration) {
        self.fetch = None;
        self.phase = Phase::Ending(self.now() + time);
    }

    /// Whether events may start now.
    fn open_for_work(&mut self) -> bool {
        if self.paused_until.is_some_and(|until| until <= self.now()) {
            self.paused_until = None;
            self.shared.set_state(State::Running);
        }
        matches!(self.phase, Phase::Active | Phase::Ending(_))
            && self.paused_until.is_none()
            && self.cpu_wait().is_none()
    }

    /// How long until the bot's share of CPU is positive again.
    fn cpu_wait(&self) -> Option<Duration> {
        let secs = lock(&self.shared.traffic).cpu.wait(0.0, self.now());
        (secs > 0.0).then(|| Duration::from_secs_f64(secs.min(3_600.0)))
    }

    fn start_ready(&mut self) {
        if self.open_for_work() {
            // Those that wait for people don't count.
            let asking = self.vm.ctx.asked.borrow().len();
            while self.running.len().saturating_sub(asking) < self.vm.ctx.limits.handlers
                && let Some((job, seq)) = self.ready.pop_front()
            {
                self.running.push(perform(Rc::clone(&self.vm), job, seq));
            }
        }
        self.pull();
    }

    /// Looks now and then whether there is room for what waits for it.
    fn chatter(&mut self) {
        let (now, waits) = (self.now(), self.phase == Phase::Active && !lock(&self.shared.chatter).is_empty());
        match self.chatter_at {
            _ if !waits => self.chatter_at = None,
            None => self.chatter_at = Some(now + LOOK),
            Some(at) if at > now => {}
            Some(_) => {
                self.chatter_at = Some(now + LOOK);
                let vm = Rc::clone(&self.vm);
                self.running.push(Box::pin(async move {
                    Finished::Said { seq: None, unsaid: deliver_when_free(&vm.ctx).await.err() }
                }));
            }
        }
    }

    /// Figures of the moment, for those who look from outside.
    fn show(&self) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let figures = &self.shared.figures;
        figures.timers.store(count(self.vm.ctx.timers.borrow().count()), Ordering::Relaxed);
        figures.handlers.store(count(self.running.len()), Ordering::Relaxed);
    }

    fn queue(&mut self, jobs: Result<Vec<Job>, Failure>, seq: Option<u64>) {
        match jobs {
            Ok(jobs) => {
                if let (Some(seq), false) = (seq, jobs.is_empty()) {
                    self.open.insert(seq, jobs.len());
                }
                self.ready.extend(jobs.into_iter().map(|job| (job, seq)));
            }
            Err(failure) => self.failed("event", &failure),
        }
    }

    /// Whether enough waits to be done: then live events and timers wait where they are, and what has a bound keeps it.
    fn crowded(&self) -> bool {
        self.ready.len() >= LIVE_QUEUE
    }

    fn live_events(&mut self) {
        if matches!(self.phase, Phase::Waiting | Phase::Frozen) || self.crowded() {
            return; // They wait in their queue.
        }
        let events: Vec<_> = lock(&self.shared.live).drain(..).collect();
        if self.phase != Phase::Active || self.paused_until.is_some() {
            return;
        }
        for event in events {
            let jobs = dispatch::live(&self.vm, &event);
            self.queue(jobs, None);
        }
    }

    fn timers(&mut self) {
        if self.phase == Phase::Active && self.paused_until.is_none() && !self.crowded() {
            let now = self.vm.ctx.now();
            let due = self.vm.ctx.timers.borrow_mut().take_due(now);
            self.ready.extend(due.into_iter().map(|timer| (dispatch::timer(timer.function), None)));
            self.ready.extend(dispatch::due_readings(&self.vm).into_iter().map(|job| (job, None)));
        }
        if self.phase != Phase::Frozen && self.paused_until.is_none() {
            self.settle_contests();
        }
        self.chatter();
        if self.ack_at.is_some_and(|at| at <= self.now()) {
            self.ack_at = None;
            self.send_ack();
        }
    }

    fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Event { what, ran, seq, unsaid } => {
                self.account(&what, &ran);
                self.unsaid(unsaid);
                self.close(seq);
                self.live_events();
            }
            Finished::Aside => {}
            Finished::Said { seq, unsaid } => {
                self.unsaid(unsaid);
                self.close(seq);
            }
            Finished::Subscribed { topic, result } => {
                if let Err(error) = result {
                    let failure =
                        Failure::new(Kind::Error, format!("the channel {topic} could not be joined: {error}"));
                    self.note(&failure);
                }
            }
        }
    }

    fn account(&mut self, what: &str, ran: &Ran) {
        let figures = &self.shared.figures;
        figures.events.fetch_add(1, Ordering::Relaxed);
        figures.cpu_us.fetch_add(ran.cpu.as_micros() as u64, Ordering::Relaxed);
        figures.memory.store(self.vm.memory() as u64, Ordering::Relaxed);
        lock(&self.shared.traffic).cpu.take(ran.cpu.as_secs_f64());
        if let Err(failure) = &ran.result {
            self.failed(what, failure);
        }
    }

    fn failed(&mut self, what: &str, failure: &Failure) {
        self.shared.figures.errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(target: "qpq::script", bot = %self.shared.name, "{what}: {failure}");
        self.shared.keep_log(About::failure(what, failure), failure.message.clone());
        self.note(failure);
        let now = self.now();
        let verdict = match failure.kind {
            Kind::Cpu => {
                self.shared.figures.kills.fetch_add(1, Ordering::Relaxed);
                lock(&self.shared.faults).kill(now)
            }
            _ => lock(&self.shared.faults).error(now),
        };
        match verdict {
            Verdict::GoOn => {}
            Verdict::Pause(time) => {
                tracing::error!(target: "qpq::script", bot = %self.shared.name, "paused for {} s after too many errors", time.as_secs());
                self.shared.figures.pauses.fetch_add(1, Ordering::Relaxed);
                self.paused_until = Some(now + time);
                self.shared.set_state(State::Paused);
            }
            Verdict::Disable => {
                tracing::error!(target: "qpq::script", bot = %self.shared.name, "disabled: stopped too often for its CPU time");
                self.stopped_for = Some(End::Disabled);
            }
        }
    }

    fn note(&self, failure: &Failure) {
        self.shared.keep_problem(failure.to_string());
    }

    fn unsaid(&self, error: Option<ApiError>) {
        if let Some(error) = error {
            self.shared.keep_unsaid(&error);
        }
    }

    /// Asks the node for the channels that the bot wants to hear.
    fn subscribe(&mut self) {
        if self.phase == Phase::Waiting {
            return;
        }
        for topic in self.vm.ctx.new_topics.take() {
            let reply = self.vm.ctx.node.subscribe(topic.clone());
            self.running.push(Box::pin(async move {
                let result = reply.await.map(|_| ());
                Finished::Subscribed { topic, result }
            }));
        }
        let mut face = lock(&self.shared.face);
        let topics = self.vm.ctx.topics.borrow();
        if face.topics.len() != topics.len() {
            face.topics = topics.iter().cloned().collect();
        }
    }

    fn next_wake(&self) -> Instant {
        let now = self.now();
        let active = self.phase == Phase::Active && self.paused_until.is_none() && !self.crowded();
        let timer = self.vm.ctx.timers.borrow().next_due().filter(|_| active);
        let timer = timer.map(|due| now + Duration::from_secs_f64((due - self.vm.ctx.now()).clamp(0.0, 3_600.0)));
        let reading = dispatch::next_reading(&self.vm)
            .filter(|_| active)
            .map(|ms| now + Duration::from_millis(ms.min(3_600_000)));
        let cpu = self.cpu_wait().filter(|_| !self.ready.is_empty()).map(|wait| now + wait);
        let ending = match self.phase {
            Phase::Ending(deadline) => Some(deadline),
            _ => None,
        };
        // Else the page waits for something that wakes the thread by itself, and a time long over would keep it spinning.
        let fetch = self.fetch_not_before.filter(|_| self.wants_page());
        let contest =
            contest::next_due(&self.contests).filter(|_| self.phase != Phase::Frozen && self.paused_until.is_none());
        let moments = [timer, reading, cpu, ending, contest, self.chatter_at, self.ack_at, self.paused_until, fetch];
        moments.into_iter().flatten().fold(now + IDLE, Instant::min)
    }
}

/// The future in the option, or none that ever comes.
async fn maybe<T>(future: &mut Option<Reply<T>>) -> Result<T, ApiError> {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
