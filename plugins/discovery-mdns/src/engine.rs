//! The responder at work: what the host asked for, who was found, and a thread that listens and keeps house.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mdns_sd::{Error, Metrics, Receiver, RecvTimeoutError, ServiceEvent};
use qpq_plugin_api::PeerEvent;
use serde_json::{Value, json};

use crate::answer::Node;
use crate::config::Config;
use crate::daemon::{self, Daemon};
use crate::limits::{DROWNED, GOODBYE, LOOK, MAX_NAMES, MAX_REPORTS, REST, WARN_EVERY};
use crate::nodes::{Nodes, Report};
use crate::record::Own;

/// The service, unless the host looks for another.
const SERVICE: &str = "_quicproquo._udp";

/// Where reports and warnings go: to the host.
pub trait Outside: Send + Sync + 'static {
    /// A node was found, changed or lost, for the `browse` of that number. `false` when there was no room for it.
    fn peer(&self, event: PeerEvent, op: u64, record: &Value) -> bool;
    /// Something that an admin should know.
    fn warn(&self, text: &str);
}

/// What this node announces.
struct Announced {
    op: u64,
    own: Own,
    /// Its name; the same as long as it is announced, whatever changes.
    name: String,
    /// The responder has to be told.
    untold: bool,
}

/// Whom the host wants to hear of.
struct Browsing {
    op: u64,
    service: String,
    /// `None` until the responder has taken it.
    events: Option<Receiver<ServiceEvent>>,
}

#[derive(Default)]
struct State {
    daemon: Option<Daemon>,
    announced: Option<Announced>,
    browsing: Option<Browsing>,
    nodes: Nodes,
    /// When the responder was asked how much it keeps, and where the answer comes.
    load: Option<(Instant, Receiver<Metrics>)>,
    cached: i64,
    /// New names since the responder's start.
    names: usize,
    /// A responder that has been told to end, and has not yet.
    ending: Option<Daemon>,
    /// The responder may not start before that.
    rest_until: Option<Instant>,
    /// When the last goodbye was begun. It is said twice.
    withdrawn: Option<Instant>,
    warned: Option<Instant>,
    figures: Figures,
    stopping: bool,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    answers: u64,
    ignored: u64,
    floods: u64,
    refused: u64,
}

/// The engine, with its thread.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    config: Config,
    outside: Box<dyn Outside>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Engine {
    /// An engine that doesn't run yet.
    pub fn new(config: Config, outside: Box<dyn Outside>) -> Self {
        let shared = Shared { config, outside, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// Starts the responder and the thread.
    ///
    /// # Errors
    /// When the system gives no thread or no descriptor.
    pub fn start(&self) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("mDNS can't start: {error}");
        self.shared.lock().daemon = Some(Daemon::start(&self.shared.config).map_err(|e| failed(&e))?);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("qpq-mdns".to_owned()).spawn(move || shared.run());
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.map_err(|e| failed(&e))?);
        Ok(())
    }

    /// Announces that record in place of the one before.
    pub fn advertise(&self, op: u64, own: Own) {
        let mut state = self.shared.lock();
        let before = state.announced.take().filter(|before| before.own.peer == own.peer);
        let name = before.map_or_else(|| daemon::unique_name(&own.peer), |before| before.name);
        state.announced = Some(Announced { op, own, name, untold: true });
        self.shared.announce(&mut state);
    }

    /// Looks for nodes of that service, and reports all that are known and will be.
    pub fn browse(&self, op: u64, service: &str) {
        let service = self.shared.config.service(service);
        let mut state = self.shared.lock();
        state.nodes.clear();
        state.browsing = Some(Browsing { op, service, events: None });
        self.shared.listen(&mut state);
        self.shared.changed.notify_all();
    }

    /// Ends what that number began; unknown ones are ignored.
    pub fn cancel(&self, op: u64) {
        let mut state = self.shared.lock();
        if state.announced.as_ref().is_some_and(|announced| announced.op == op) {
            self.shared.withdraw(&mut state);
        }
        if state.browsing.as_ref().is_some_and(|browsing| browsing.op == op) {
            self.shared.stop_browsing(&mut state);
        }
    }

    /// Takes the announcement back, before the end.
    pub fn say_goodbye(&self) {
        self.shared.withdraw(&mut self.shared.lock());
    }

    /// Ends the responder and the thread.
    pub fn stop(&self, deadline: Duration) {
        let (responder, drowning, withdrawn) = {
            let mut state = self.shared.lock();
            state.stopping = true;
            self.shared.withdraw(&mut state);
            (state.daemon.take(), state.ending.take(), state.withdrawn)
        };
        self.shared.changed.notify_all();
        let mut still_there: Vec<Daemon> = drowning.into_iter().collect();
        if let Some(responder) = responder {
            let left = withdrawn.map(|at| GOODBYE.saturating_sub(at.elapsed()).min(deadline / 4));
            std::thread::sleep(left.unwrap_or_default());
            responder.end(deadline / 4);
            still_there.push(responder);
        }
        for responder in still_there.iter().filter(|responder| !responder.is_gone()) {
            responder.rescue(deadline / 4);
        }
        // The end of the responder has closed the channel, and so woken it.
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            _ = thread.join(); // a panic was caught and reported already, or there was none
        }
    }

    /// Figures for people.
    pub fn stats(&self) -> Value {
        let state = self.shared.lock();
        let figures = state.figures;
        json!({
            "announced": state.announced.as_ref().map(|announced| &announced.name),
            "nodes": state.nodes.len(),
            "cached_records": state.cached,
            "answers": figures.answers,
            "ignored": figures.ignored,
            "evicted": state.nodes.evicted(),
            "floods": figures.floods,
            "refused_by_host": figures.refused,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(1));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the responder what to announce. What it doesn't take now it is told at the next look.
    fn announce(&self, state: &mut State) {
        let service = self.service(state);
        let State { daemon: Some(responder), announced: Some(announced), .. } = state else { return };
        let told = daemon::service(&announced.own, &announced.name, &service).and_then(|info| responder.announce(info));
        announced.untold = told.is_err();
    }

    fn withdraw(&self, state: &mut State) {
        if let (Some(announced), Some(responder)) = (state.announced.take(), &state.daemon) {
            responder.withdraw(&format!("{}.{}", announced.name, self.service(state)));
            state.withdrawn = Some(Instant::now());
        }
    }

    /// The service that is looked for, which is also the one that is announced.
    fn service(&self, state: &State) -> String {
        let asked = state.browsing.as_ref().map(|browsing| browsing.service.clone());
        asked.unwrap_or_else(|| self.config.service(SERVICE))
    }

    fn listen(&self, state: &mut State) {
        let State { daemon: Some(responder), browsing: Some(browsing), .. } = state else { return };
        browsing.events = responder.browse(&browsing.service).ok();
    }

    fn stop_browsing(&self, state: &mut State) {
        state.nodes.clear();
        if let (Some(browsing), Some(responder)) = (state.browsing.take(), &state.daemon) {
            responder.stop_browsing(&browsing.service);
        }
    }

    /// The thread: waits for what the responder hears, and looks after the rest every now and then.
    fn run(&self) {
        let mut looked = Instant::now();
        loop {
            let Some(events) = self.wait_for_work() else { return };
            let reports = match events.recv_timeout(LOOK) {
                Ok(event) => self.heard(event, &events),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.deaf(&events);
                    Vec::new()
                }
            };
            self.report(reports);
            if looked.elapsed() >= LOOK {
                self.look();
                looked = Instant::now();
            }
        }
    }

    /// The channel to listen at. `None` at the end.
    fn wait_for_work(&self) -> Option<Receiver<ServiceEvent>> {
        loop {
            let state = self.lock();
            if state.stopping {
                return None;
            }
            if let Some(events) = state.browsing.as_ref().and_then(|browsing| browsing.events.clone()) {
                return Some(events);
            }
            let waited = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            let stopping = waited.0.stopping;
            drop(waited);
            if !stopping {
                self.look();
            }
        }
    }

    /// Takes an event and those behind it.
    fn heard(&self, first: ServiceEvent, events: &Receiver<ServiceEvent>) -> Vec<(u64, Report)> {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(op) = state.browsing.as_ref().map(|browsing| browsing.op) else { return Vec::new() };
        let more = std::iter::from_fn(|| events.try_recv().ok());
        let mut reports = Vec::new();
        for event in std::iter::once(first).chain(more.take(MAX_REPORTS)) {
            reports.extend(state.event(event, now));
        }
        reports.into_iter().map(|report| (op, report)).collect()
    }

    /// The responder has closed the channel: it could not keep up with a flood, or has ended.
    fn deaf(&self, events: &Receiver<ServiceEvent>) {
        let mut state = self.lock();
        if let Some(browsing) = &mut state.browsing
            && browsing.events.as_ref().is_some_and(|current| current.same_channel(events))
        {
            browsing.events = None;
        }
    }

    /// Tells the host. Not under the lock: it may call back.
    fn report(&self, reports: Vec<(u64, Report)>) {
        for (op, report) in reports {
            if !self.outside.peer(report.event, op, &report.node.to_json()) {
                let mut state = self.lock();
                state.figures.refused += 1;
                state.nodes.refused(&report, Instant::now());
            }
        }
    }

    fn look(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let flooded = self.restrain(&mut state, now);
        self.mend(&mut state, now);
        let op = state.browsing.as_ref().map(|browsing| browsing.op);
        let due = op.map(|op| state.nodes.due(now).into_iter().map(|report| (op, report)).collect());
        drop(state);
        self.report(due.unwrap_or_default());
        if let Some(responder) = flooded {
            responder.rescue(LOOK);
        }
    }

    /// The responder, to be ended, if it was flooded: its cache knows no limits, and this is the only way to empty it.
    fn restrain(&self, state: &mut State, now: Instant) -> Option<Daemon> {
        let drowned = match state.load.take() {
            Some((asked, load)) => match load.try_recv() {
                Ok(load) => {
                    state.daemon.iter().for_each(Daemon::answered);
                    state.cached = daemon::cached(&load);
                    daemon::is_overloaded(&load)
                }
                Err(_) => {
                    state.load = Some((asked, load));
                    now.duration_since(asked) >= DROWNED
                }
            },
            None => false,
        };
        if drowned || state.names > MAX_NAMES {
            self.flooded(state, now);
            return self.rest(state, now);
        }
        if state.load.is_none() {
            match state.daemon.as_ref()?.ask_load() {
                Ok(load) => state.load = Some((now, load)),
                Err(Error::DaemonShutdown) => return self.rest(state, now),
                Err(_) => {}
            }
        }
        None
    }

    fn flooded(&self, state: &mut State, now: Instant) {
        state.figures.floods += 1;
        if state.warned.is_none_or(|at| now.duration_since(at) >= WARN_EVERY) {
            state.warned = Some(now);
            self.outside.warn(&format!(
                "somebody floods the network with mDNS packets; starting afresh in {} s. Nodes may be found late; links that \
                 are up are not touched",
                REST.as_secs()
            ));
        }
    }

    /// Does without the responder for a while.
    fn rest(&self, state: &mut State, now: Instant) -> Option<Daemon> {
        state.rest_until = Some(now + REST);
        (state.load, state.names) = (None, 0);
        if let Some(browsing) = &mut state.browsing {
            browsing.events = None;
        }
        state.ending.clone_from(&state.daemon);
        state.daemon.take()
    }

    /// Starts a responder where there is none, and tells it what it has not taken yet.
    fn mend(&self, state: &mut State, now: Instant) {
        if state.stopping {
            return;
        }
        if state.ending.as_ref().is_some_and(Daemon::is_gone) {
            state.ending = None;
        }
        let rested = state.rest_until.is_none_or(|until| until <= now);
        if state.daemon.is_none() && state.ending.is_none() && rested {
            match Daemon::start(&self.config) {
                Ok(daemon) => state.daemon = Some(daemon),
                Err(_) => state.rest_until = Some(now + REST),
            }
            state.nodes.doubt(now);
            if let Some(announced) = &mut state.announced {
                announced.untold = true;
            }
        }
        if state.announced.as_ref().is_some_and(|announced| announced.untold) {
            self.announce(state);
        }
        if state.browsing.as_ref().is_some_and(|browsing| browsing.events.is_none()) {
            self.listen(state);
        }
    }
}

impl State {
    fn event(&mut self, event: ServiceEvent, now: Instant) -> Vec<Report> {
        match event {
            ServiceEvent::ServiceResolved(resolved) => {
                self.figures.answers += 1;
                let node = Node::read(&daemon::answer(&resolved)).filter(|node| !self.is_own(node));
                match node {
                    Some(node) => self.nodes.found(node, now),
                    None => {
                        self.figures.ignored += 1;
                        Vec::new()
                    }
                }
            }
            ServiceEvent::ServiceFound(..) => {
                self.names += 1;
                Vec::new()
            }
            ServiceEvent::ServiceRemoved(service, fullname) => {
                let id = fullname.strip_suffix(&format!(".{service}")).unwrap_or(&fullname);
                self.nodes.lost(id).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is this node: its own echo, or its other instance during a swap.
    fn is_own(&self, node: &Node) -> bool {
        let own = self.announced.as_ref();
        own.is_some_and(|own| own.name == node.id || node.peer.as_ref() == Some(&own.own.peer))
    }
}
