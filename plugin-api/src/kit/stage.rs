//! The host that one instance meets: what it notes, and how a trial waits for it.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Signer;
use super::case::Stop;
use super::shape::Shape;
use super::state::State;
use super::vtables::Vtables;

/// How long something that must come may take. Long, since a busy machine is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);

thread_local! {
    /// The function of the plugin that this thread is inside of.
    static INSIDE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The host of one instance. It is never freed, as the ABI promises.
pub(super) struct Stage {
    /// How messages call it.
    pub(super) name: &'static str,
    /// Which host it is.
    pub(super) shape: Shape,
    /// Whose node it is.
    pub(super) identity: Box<dyn Signer>,
    /// The plugin's id, for signatures.
    pub(super) plugin_id: String,
    /// Host interfaces may be called inside calls of the plugin only: it is a routing plugin.
    pub(super) inside_only: bool,
    /// Links whose frames are being handed over at this moment.
    pub(super) delivering: Mutex<HashSet<u64>>,
    state: Mutex<State>,
    changed: Condvar,
    next_op: AtomicU64,
    vtables: std::sync::OnceLock<Vtables>,
}

impl Stage {
    /// A host that lives for as long as the process.
    pub(super) fn leak(
        name: &'static str,
        shape: Shape,
        identity: Box<dyn Signer>,
        plugin_id: String,
        inside_only: bool,
    ) -> &'static Self {
        let stage: &'static Self = Box::leak(Box::new(Self {
            name,
            shape,
            identity,
            plugin_id,
            inside_only,
            delivering: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            next_op: AtomicU64::new(1000),
            vtables: std::sync::OnceLock::new(),
        }));
        stage.vtables.get_or_init(|| Vtables::new(shape, stage.ctx()));
        stage
    }

    /// What stands for this host at the boundary.
    pub(super) fn ctx(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The structs of this host.
    pub(super) fn vtables(&'static self) -> &'static Vtables {
        self.vtables.get_or_init(|| Vtables::new(self.shape, self.ctx()))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whoever waits for it.
    pub(super) fn change<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let result = work(&mut self.state());
        self.changed.notify_all();
        result
    }

    /// Waits until `find` finds something.
    pub(super) fn wait<R>(&self, what: &str, mut find: impl FnMut(&mut State) -> Option<R>) -> Result<R, Stop> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&mut state) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let failed = state.failures.first().map(|(_, why)| format!("; the plugin reported: {why}"));
                return Err(Stop::failed(format!(
                    "{}: {what} did not come in {} s{}",
                    self.name,
                    PATIENCE.as_secs(),
                    failed.unwrap_or_default()
                )));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A number for a new operation.
    pub(super) fn new_op(&self) -> u64 {
        let op = self.next_op.fetch_add(1, Ordering::Relaxed);
        self.change(|state| state.ops.insert(op, Vec::new()));
        op
    }

    /// Notes a call of the host by the plugin; one that comes after `stop` breaks the rules.
    pub(super) fn called(&self, function: &str) {
        let log = function == "log" || function == "log_level";
        let mut state = self.state();
        if state.stopped && !(log && inside().is_some()) {
            state.broken(format!("{}: it called {function} after stop had returned", self.name));
        }
    }
}

/// Runs `work` as a call of the plugin's `function`.
pub(super) fn within<R>(function: &'static str, work: impl FnOnce() -> R) -> R {
    let before = INSIDE.replace(Some(function));
    let result = work();
    INSIDE.set(before);
    result
}

/// The function of the plugin that this thread is inside of.
pub(super) fn inside() -> Option<&'static str> {
    INSIDE.get()
}
