//! What one test plays on: a mesh, its clock, and the bots on it, all on one thread.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::call::{Call, Ran};
use super::super::clock::{Clock, VirtualTime};
use super::super::failure::{Failure, Kind};
use super::super::handover::Handover;
use super::super::lock;
use super::super::pulse::Pulse;
use super::bot::Bot;
use super::pool::{Flag, Pool};
use super::world::{START, World};

/// Jumps from one moment to the next in one test: some seconds of real time.
const MAX_STEPS: u64 = 2_000_000;

/// How long a mesh may take to become quiet again: above the longest series of repetitions.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

const BUSY: &str =
    "the mesh was busy for 2 million steps: something never stops, or a timer is too short for so long a time";
const FOREVER: &str = "the test waits for what never comes: nothing is due in the mesh any more";

/// Until when a test lets time pass.
pub(super) enum Until {
    /// Nothing is under way any more, and no bot can go on.
    Quiet,
    /// The time is over.
    Time,
    /// This holds, which is looked at whenever no bot can go on.
    Holds(Box<dyn Fn() -> bool>),
}

/// What a test waits for.
struct Want {
    until: Until,
    /// When it stops waiting, counted from the start.
    limit: Duration,
    reply: oneshot::Sender<bool>,
}

/// See the module.
pub(super) struct Stage {
    world: Arc<Mutex<World>>,
    time: Arc<VirtualTime>,
    pool: Pool,
    pulse: Arc<Pulse>,
    want: RefCell<Option<Want>>,
    /// The bots that were put on, in order.
    pub bots: RefCell<Vec<Rc<Bot>>>,
    steps: Cell<u64>,
}

impl Stage {
    /// An empty stage. All that is random on it follows from the seed.
    pub(super) fn new(seed: u64, pulse: Arc<Pulse>) -> Self {
        let time = Arc::new(VirtualTime::new(START));
        Self {
            world: Arc::new(Mutex::new(World::new(Arc::clone(&time), seed))),
            time,
            pool: Pool::new(),
            pulse,
            want: RefCell::default(),
            bots: RefCell::default(),
            steps: Cell::new(0),
        }
    }

    /// The mesh. Not to be held while bots run.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The same, for a look later on.
    pub(super) fn shared_world(&self) -> Arc<Mutex<World>> {
        Arc::clone(&self.world)
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::Virtual(Arc::clone(&self.time))
    }

    /// How much time has passed.
    pub(super) fn passed(&self) -> Duration {
        self.time.passed()
    }

    /// Puts a bot on a node. It runs from the next [`Stage::begin`] on.
    pub(super) fn put_on(&self, node: usize, name: &str, path: PathBuf) -> Rc<Bot> {
        let bot = Rc::new(Bot::new(Arc::clone(&self.world), node, name, path, self.clock()));
        self.bots.borrow_mut().push(Rc::clone(&bot));
        bot
    }

    /// Starts the bots that don't run yet, on nodes that do.
    pub(super) async fn begin(&self) {
        let waiting: Vec<Rc<Bot>> = self.bots.borrow().iter().filter(|bot| bot.waits_for_start()).cloned().collect();
        let mut some = false;
        for bot in waiting.iter().filter(|bot| self.world().core(bot.node).is_ok()) {
            some = true;
            self.pool.spawn(bot.launch(Handover::default(), Arc::clone(&self.pulse)));
        }
        if some {
            self.settle().await;
        }
    }

    /// Loads a bot anew, with what it carries over.
    pub(super) async fn reload(&self, bot: &Rc<Bot>) {
        let handover = bot.freeze();
        self.settle().await;
        let handover = handover.and_then(|handover| handover.try_recv().ok()).unwrap_or_default();
        self.pool.spawn(bot.launch(handover, Arc::clone(&self.pulse)));
        self.settle().await;
    }

    /// Lets the mesh become quiet.
    pub(super) async fn settle(&self) {
        self.wait(Until::Quiet, self.passed() + QUIET_WITHIN).await;
    }

    /// Lets time pass; whether that ended before the limit.
    pub(super) async fn wait(&self, until: Until, limit: Duration) -> bool {
        let (reply, answer) = oneshot::channel();
        *self.want.borrow_mut() = Some(Want { until, limit, reply });
        answer.await.unwrap_or(false)
    }

    /// Whether the test has used up its steps, or nobody waits for it any more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() >= MAX_STEPS || self.pulse.is_abandoned()
    }

    /// Runs a test, and the mesh whenever the test waits.
    pub(super) fn play(&self, mut test: Call) -> Ran {
        let woken = Flag::new(true);
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            if woken.take()
                && let Poll::Ready(ran) = std::pin::Pin::new(&mut test).poll(&mut context)
            {
                return ran;
            }
            self.pool.run();
            if woken.is_set() {
                continue;
            }
            let want = self.want.borrow_mut().take();
            let goes_on = match want {
                Some(want) => {
                    let ended = self.pursue(&want);
                    _ = want.reply.send(ended); // a test that gave up waiting
                    true
                }
                // It waits for the clock, as in mesh.sleep.
                None => self.step(Duration::MAX),
            };
            if !goes_on || self.is_exhausted() {
                let why = if goes_on { BUSY } else { FOREVER };
                return Ran { result: Err(Failure::new(Kind::Life, why)), cpu: Duration::ZERO };
            }
        }
    }

    /// Lets the mesh become quiet once the test is over.
    pub(super) fn rest(&self) {
        let (reply, _) = oneshot::channel();
        self.pursue(&Want { until: Until::Quiet, limit: self.passed() + QUIET_WITHIN, reply });
    }

    /// Lets time pass until what is wanted is there.
    fn pursue(&self, want: &Want) -> bool {
        loop {
            self.pool.run();
            let ended = match &want.until {
                Until::Quiet => !self.world().is_busy(),
                Until::Time => false,
                Until::Holds(holds) => holds(),
            };
            if ended {
                return true;
            }
            if self.is_exhausted() {
                return false;
            }
            if !self.step(want.limit) {
                self.time.advance(want.limit);
                self.pool.run();
                return matches!(&want.until, Until::Holds(holds) if holds());
            }
        }
    }

    /// Goes on to the next moment at which something is due, if that is within the limit.
    fn step(&self, limit: Duration) -> bool {
        let mut world = self.world();
        let next = world.next_due().into_iter().chain(self.time.next_due()).min();
        let Some(next) = next.filter(|next| *next <= limit) else { return false };
        self.steps.set(self.steps.get() + 1);
        self.time.advance(next);
        world.run_due();
        true
    }
}
