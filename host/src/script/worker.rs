//! A bot's thread: pulls messages, calls handlers, keeps to the limits.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::api::{ApiError, InboxPage, Reply};

use super::api::deliver_when_free;
use super::call::Ran;
use super::chatter::LOOK;
use super::dispatch::{self, Job};
use super::failure::{Failure, Kind};
use super::handover::Place;
use super::limits::LIVE_QUEUE;
use super::lock;
use super::log::About;
use super::pulse::Pulse;
use super::shared::{Shared, State, Verdict};
use super::vm::Vm;

mod contest;
mod inbox;
mod job;
mod orders;

use contest::Contests;
pub(crate) use inbox::{BEGUN, PAGE, begin, reader};
pub(crate) use job::perform;
pub(crate) use orders::Order;

/// The longest sleep of an idle bot. Nothing depends on it: everything that happens wakes the thread.
const IDLE: Duration = Duration::from_secs(3_600);

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
    Acked(Result<u64, ApiError>),
    Woken,
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    /// Handed over; it begins nothing more.
    Frozen,
    /// Finishing what has begun.
    Ending(Instant),
}

/// A message that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    /// Jobs that are not done.
    left: usize,
    /// Something of it was done, or runs.
    begun: bool,
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
    /// Messages that are not finished, by their place in the inbox.
    open: BTreeMap<u64, Open>,
    /// Commands that bots of other nodes could answer, too.
    contests: Contests,
    /// The last message pulled; `None` before the first page.
    after: Option<u64>,
    /// What was handed over to this version.
    inherited: Place,
    /// The versions before this one have ended.
    settled: bool,
    acked: u64,
    behind: bool,
    /// The boards have read what came between the load and the first page.
    read_boards: bool,
    fetch: Option<Reply<InboxPage>>,
    /// Comes to the place that was written.
    ack: Option<LocalBoxFuture<'static, Result<u64, ApiError>>>,
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
            inherited: Place::default(),
            settled: true,
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
            self.end_pause();
            self.subscribe();
            self.start_ready();
            self.show();
            let happened = self.wait().await;
            if self.pulse.is_abandoned() {
                return End::Done;
            }
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
        let may_leave = self.settled || self.vm.ctx.retired.get();
        let done = self.running.is_empty() && self.ready.is_empty() && may_leave;
        if done || self.now() < deadline {
            return done.then_some(End::Done);
        }
        // What it leaves undone somebody has to do again, where another version goes on.
        let undone = self.vm.ctx.retired.get() && self.open.values().any(|message| message.begun);
        Some(if undone { End::Broken } else { End::Done })
    }

    async fn wait(&mut self) -> Happened {
        let until = self.next_wake();
        // Another one takes no news away from the version that is or will be active.
        let listens = self.phase == Phase::Active;
        let Self { orders, alone, running, fetch, ack, shared, .. } = self;
        tokio::select! {
            biased;
            order = orders.recv(), if !*alone => Happened::Order(order),
            Some(finished) = running.next(), if !running.is_empty() => Happened::Finished(finished),
            page = maybe(fetch) => Happened::Page(page),
            result = maybe(ack) => Happened::Acked(result),
            () = shared.wake.notified(), if listens => Happened::Woken,
            () = shared.clock.sleep_until(until) => Happened::Tick,
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Order(Some(order)) => self.obey(order),
            Happened::Order(None) => {
                self.alone = true;
                if !matches!(self.phase, Phase::Ending(_)) {
                    self.obey(Order::Stop);
                }
            }
            Happened::Finished(finished) => self.finished(finished),
            Happened::Page(page) => {
                self.fetch = None;
                self.page(page);
            }
            Happened::Acked(result) => {
                self.ack = None;
                self.acked(result);
                self.plan_ack();
            }
            Happened::Woken => {
                self.behind = true;
                self.live_events();
                self.chatter();
            }
            Happened::Tick => self.timers(),
        }
    }

    /// Goes on once a pause is over.
    fn end_pause(&mut self) {
        if self.paused_until.is_some_and(|until| until <= self.now()) {
            self.paused_until = None;
            if matches!(self.phase, Phase::Active | Phase::Frozen) {
                self.shared.set_state(State::Running);
            }
            self.live_events();
        }
    }

    /// Whether events may start now. What has begun is finished at the end, whatever the bot has done and used.
    fn open_for_work(&self) -> bool {
        match self.phase {
            Phase::Active => self.paused_until.is_none() && self.cpu_wait().is_none(),
            Phase::Ending(_) => true,
            Phase::Waiting | Phase::Frozen => false,
        }
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
                if let Some(message) = seq.and_then(|seq| self.open.get_mut(&seq)) {
                    message.begun = true;
                }
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
        figures.questions.store(count(self.vm.ctx.asked.borrow().len()), Ordering::Relaxed);
        let boards = self.vm.ctx.boards.borrow();
        let entries = boards.iter().map(|board| board.held()).sum();
        figures.board_posts.store(count(entries), Ordering::Relaxed);
    }

    fn queue(&mut self, jobs: Result<Vec<Job>, Failure>, seq: Option<u64>) {
        match jobs {
            Ok(jobs) => {
                if let (Some(seq), false) = (seq, jobs.is_empty()) {
                    self.open.insert(seq, Open { left: jobs.len(), begun: false });
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
        if self.phase != Phase::Active || self.paused_until.is_some() || self.crowded() {
            return; // They wait in their queue.
        }
        let events: Vec<_> = lock(&self.shared.live).drain(..).collect();
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
        if self.phase == Phase::Active && self.paused_until.is_none() {
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
        let cpu_us = ran.cpu.as_micros() as u64;
        figures.cpu_us.fetch_add(cpu_us, Ordering::Relaxed);
        figures.event_cpu_us.fetch_max(cpu_us, Ordering::Relaxed);
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
        if self.vm.ctx.retired.get() {
            return; // It is no fault of the version that runs now.
        }
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
            contest::next_due(&self.contests).filter(|_| self.phase == Phase::Active && self.paused_until.is_none());
        let moments = [timer, reading, cpu, ending, contest, self.chatter_at, self.ack_at, self.paused_until, fetch];
        moments.into_iter().flatten().fold(now + IDLE, Instant::min)
    }
}

/// The future in the option, or none that ever comes.
async fn maybe<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
