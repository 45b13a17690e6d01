//! A bot on a virtual node: what the supervisor does for it on a real one, on the stage's thread.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{AbortHandle, abortable};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::approvals::{self, Standing};
use super::super::clock::Clock;
use super::super::failure::Failure;
use super::super::handover::Handover;
use super::super::host::thread::{Start, load};
use super::super::limits::ScriptLimits;
use super::super::lock;
use super::super::manifest::Permissions;
use super::super::plain::Plain;
use super::super::pulse::Pulse;
use super::super::shared::{Among, Shared, State};
use super::super::source::{Source, read};
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
    /// A version has read its store since the node's start.
    store_read: Cell<bool>,
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
            store_read: Cell::new(false),
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
    pub(super) fn freeze(&self) -> Option<Receiver<Handover>> {
        let (sender, handover) = channel();
        let taker = Box::new(move |handover| _ = sender.send(handover));
        self.orders.borrow().as_ref()?.send(Order::Freeze(taker)).ok()?;
        Some(handover)
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
    pub(super) fn launch(self: &Rc<Self>, handover: Handover, pulse: Arc<Pulse>) -> impl Future<Output = ()> + use<> {
        if !self.started.replace(true) {
            self.store_read.set(false);
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
        let (life, handle) = abortable(Rc::clone(self).live(handover, pulse));
        self.alive.borrow_mut().push(handle);
        async move { _ = life.await } // a crash is no news to anybody
    }

    async fn live(self: Rc<Self>, handover: Handover, pulse: Arc<Pulse>) {
        let Handover { state, place } = handover;
        let (orders, receiver) = unbounded_channel();
        let source = match read(&self.path, ScriptLimits::default().source_bytes) {
            Ok(source) => source,
            Err(error) => return self.load_failed(&error.into()),
        };
        if !self.is_granted(&source) {
            return self.thaw();
        }
        let (vm, loaded) = match load(self.start(source, state), &pulse).await {
            Ok(loaded) => loaded,
            Err(failure) => return self.load_failed(&failure),
        };
        let shared = self.shared();
        let old = self.orders.replace(Some(orders.clone()));
        let reloaded = old.is_some();
        if let Some(old) = old {
            _ = old.send(Order::Retire);
        }
        self.store_read.set(true);
        shared.took_over(loaded, false);
        // What is acknowledged too early is lost in a crash within a reload; nobody plays that.
        _ = orders.send(Order::Activate { reloaded, place, settled: true }); // its receiver is here
        drop(orders);
        match Worker::new(vm, pulse, receiver).run().await {
            End::Done => {}
            End::Disabled => shared.disabled(),
            // No test goes on with a machine that failed inside.
            End::Broken | End::Killed(_) => shared.set_state(State::Failed),
        }
    }

    /// Whether it has what it asks for. A test that says nothing of permissions grants them all.
    fn is_granted(&self, source: &Source) -> bool {
        let (needs, granted) = (&source.manifest.needs, self.config.borrow().granted.clone());
        let missing = granted.map_or_else(Vec::new, |granted| approvals::missing(needs, granted));
        let standing = Standing { has: Permissions::new(needs.clone()), denied: Vec::new(), missing };
        let shared = self.shared();
        shared.asks_for(needs, &standing);
        if !standing.missing.is_empty() {
            shared.held(&standing.missing, self.orders.borrow().is_some());
        }
        standing.missing.is_empty()
    }

    fn start(&self, source: Source, state: Option<Plain>) -> Start {
        let mut config = self.config.borrow().clone();
        config.limits = LimitsPatch { cpu_percent: Some(CPU_PERCENT), ..config.limits };
        let door = Door { world: Arc::clone(&self.world), node: self.node, bot: self.shared().name.clone() };
        let store = lock(&self.world).nodes.get(self.node).map(|node| Arc::clone(&node.store)).unwrap_or_default();
        Start {
            shared: self.shared(),
            generation: 0,
            node: Arc::new(door),
            kv: store,
            limits: ScriptLimits::default(),
            config,
            permissions: Permissions::new(source.manifest.needs.clone()),
            source,
            state,
            read_store: !self.store_read.get(),
            messages: channel().0, // nobody supervises
        }
    }

    /// The old version goes on, if there is one.
    fn load_failed(&self, failure: &Failure) {
        let shown = self.shared().not_loaded(failure, self.orders.borrow().is_some());
        self.shared().keep_problem(shown);
        self.thaw();
    }

    fn thaw(&self) {
        if let Some(old) = self.orders.borrow().as_ref() {
            _ = old.send(Order::Thaw);
        }
    }
}
