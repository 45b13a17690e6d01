//! A bot on a virtual node: what the supervisor does for it on a real one, on the stage's thread.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{AbortHandle, abortable};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::clock::Clock;
use super::super::failure::Failure;
use super::super::host::thread::{Start, load};
use super::super::limits::ScriptLimits;
use super::super::lock;
use super::super::log::About;
use super::super::plain::Plain;
use super::super::pulse::Pulse;
use super::super::shared::{Among, Faults, Shared, State};
use super::super::source::read;
use super::super::worker::{End, Order, Worker};
use super::super::{BotConfig, LimitsPatch};
use super::door::Door;
use super::world::World;

/// Share of a core that a bot may use on average, in percent: no bound, because real time doesn't pass as the mesh's does.
const CPU_PERCENT: u64 = 100_000;

/// See the module.
pub(super) struct Bot {
    pub node: usize,
    shared: RefCell<Arc<Shared>>,
    clock: Clock,
    path: PathBuf,
    world: Arc<Mutex<World>>,
    /// The admin's settings. They count from the next start or reload.
    pub config: RefCell<BotConfig>,
    /// The way to the version that runs.
    orders: RefCell<Option<UnboundedSender<Order>>>,
    /// Of all versions that may run.
    alive: RefCell<Vec<AbortHandle>>,
    started: Cell<bool>,
}

impl Bot {
    pub(super) fn new(world: Arc<Mutex<World>>, node: usize, name: &str, path: PathBuf, clock: Clock) -> Self {
        let among = Among { clock: clock.clone(), ..Among::default() };
        let shared = Shared::among(name, path.clone(), &ScriptLimits::default(), among);
        Self {
            node,
            shared: RefCell::new(Arc::new(shared)),
            clock,
            path,
            world,
            config: RefCell::default(),
            orders: RefCell::default(),
            alive: RefCell::default(),
            started: Cell::new(false),
        }
    }

    /// What is known of the bot since its node's last start.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared.borrow())
    }

    pub(super) fn waits_for_start(&self) -> bool {
        !self.started.get()
    }

    /// Stops the intake of the version that runs, which hands over what the next one gets.
    pub(super) fn freeze(&self) -> Option<Receiver<Option<Plain>>> {
        let (reply, state) = channel();
        self.orders.borrow().as_ref()?.send(Order::Freeze(reply)).ok()?;
        Some(state)
    }

    /// The node stops: it gets its `stop` event, and its place in the inbox is written.
    pub(super) fn stop(&self) {
        if let Some(orders) = self.orders.take() {
            _ = orders.send(Order::Stop); // it may have ended by itself
        }
        self.started.set(false);
    }

    /// The node crashes: nothing of it goes on.
    pub(super) fn kill(&self) {
        self.orders.take();
        self.alive.take().iter().for_each(AbortHandle::abort);
        self.started.set(false);
    }

    /// The life of one version: it is read and loaded, takes over and works.
    pub(super) fn launch(self: &Rc<Self>, state: Option<Plain>, pulse: Arc<Pulse>) -> impl Future<Output = ()> + use<> {
        let fresh = !self.started.replace(true);
        if fresh {
            let old = self.shared();
            let limits = ScriptLimits::default().replaced(&self.config.borrow().limits);
            let mut among = Among { clock: self.clock.clone(), ..Among::default() };
            let bots = lock(&self.world).nodes.get(self.node).map(|node| {
                (among.lines, among.known) = (Arc::clone(&node.lines), Arc::downgrade(&node.bots));
                Arc::clone(&node.bots)
            });
            let shared = Arc::new(Shared::among(&old.name, self.path.clone(), &limits, among));
            if let Some(bots) = bots {
                bots.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shared));
            }
            *self.shared.borrow_mut() = shared;
        }
        let (life, handle) = abortable(Rc::clone(self).live(fresh, state, pulse));
        self.alive.borrow_mut().push(handle);
        async move { _ = life.await } // a crash is no news to anybody
    }

    async fn live(self: Rc<Self>, fresh: bool, state: Option<Plain>, pulse: Arc<Pulse>) {
        let (orders, receiver) = unbounded_channel();
        let loaded = match self.start(fresh, state) {
            Ok(start) => load(start, &pulse).await,
            Err(failure) => Err(failure),
        };
        let (vm, loaded) = match loaded {
            Ok(loaded) => loaded,
            Err(failure) => return self.load_failed(&failure),
        };
        let shared = self.shared();
        let old = self.orders.replace(Some(orders.clone()));
        let reloaded = old.is_some();
        if let Some(old) = old {
            _ = old.send(Order::Retire);
        }
        *lock(&shared.faults) = Faults::default();
        shared.figures.loads.fetch_add(1, Ordering::Relaxed);
        {
            let mut face = lock(&shared.face);
            (face.commands, face.topics, face.version) = (loaded.commands, loaded.topics, loaded.version);
            (face.load_problem, face.run_problem, face.state) = (None, None, State::Running);
        }
        _ = orders.send(Order::Activate { reloaded }); // its receiver is here
        drop(orders);
        match Worker::new(vm, pulse, receiver).run().await {
            End::Done => {}
            End::Disabled => shared.set_state(State::Disabled),
            End::Broken | End::Killed(_) => shared.set_state(State::Failed),
        }
    }

    fn start(&self, fresh: bool, state: Option<Plain>) -> Result<Start, Failure> {
        let limits = ScriptLimits::default();
        let source = read(&self.path, limits.source_bytes)?;
        let mut config = self.config.borrow().clone();
        config.limits = LimitsPatch { cpu_percent: Some(CPU_PERCENT), ..config.limits };
        let door = Door { world: Arc::clone(&self.world), node: self.node, bot: self.shared().name.clone() };
        let store = lock(&self.world).nodes.get(self.node).map(|node| Arc::clone(&node.store)).unwrap_or_default();
        Ok(Start {
            shared: self.shared(),
            generation: 0,
            node: Arc::new(door),
            kv: store,
            limits,
            config,
            source,
            state,
            read_store: fresh,
            messages: channel().0, // nobody supervises
        })
    }

    /// The old version goes on, if there is one.
    fn load_failed(&self, failure: &Failure) {
        let shared = self.shared();
        shared.keep_log(About::failure("load", failure), failure.message.clone());
        shared.keep_problem(failure.to_string());
        lock(&shared.face).load_problem = Some(failure.to_string());
        match self.orders.borrow().as_ref() {
            Some(old) => _ = old.send(Order::Thaw),
            None => shared.set_state(State::Failed),
        }
    }
}
