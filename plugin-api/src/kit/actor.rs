//! One instance of the plugin, and the calls that a host makes.
#![allow(unsafe_code, reason = "calls the functions of a plugin under trial")]

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::case::{Case, Stop, ensure};
use super::catalogue::Kind;
use super::parcel::Loan;
use super::shape::Shape;
use super::stage::{Stage, within};
use crate::abi::{self, Out, Status, Str};

/// A call that may not block may take so long on a busy machine.
const SLOW: Duration = Duration::from_secs(3);
/// The deadline that `stop` and `quiesce` get.
pub(super) const STOP_MS: u32 = 5_000;

/// An instance. It is stopped and destroyed at the latest when this is dropped.
pub(super) struct Actor {
    pub(super) stage: &'static Stage,
    plugin: &'static abi::Plugin,
    instance: *mut c_void,
    transport: Option<abi::Transport>,
    started: AtomicBool,
    ended: AtomicBool,
}

// SAFETY: the functions of a plugin may be called on any thread.
unsafe impl Sync for Actor {}
// SAFETY: as above.
unsafe impl Send for Actor {}

impl Actor {
    /// An instance that was created.
    pub(super) fn create(case: &Case, stage: &'static Stage) -> Result<Self, Stop> {
        let config = case.setting.config.to_string();
        let (status, instance) = call_create(case, stage, Str::new("kit"), Str::new(&config));
        if !status.is_ok() {
            let why = stage.state().failures.first().map(|(_, why)| why.clone()).unwrap_or_default();
            return Err(Stop::failed(format!("create answered {status}: {why}")));
        }
        ensure(!instance.is_null(), || "create answered OK and made no instance".to_owned())?;
        let transport = match case.library.kind() {
            Kind::Transport => Some(case.library.transport()?),
            _ => None,
        };
        let plugin = case.library.plugin;
        let (started, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { stage, plugin, instance, transport, started, ended })
    }

    /// The `void *` of the instance.
    pub(super) fn instance(&self) -> *mut c_void {
        self.instance
    }

    /// Calls a function that may not block.
    pub(super) fn quick<R>(&self, name: &'static str, work: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let result = within(name, work);
        if begun.elapsed() > SLOW {
            let time = begun.elapsed().as_secs();
            self.stage.change(|state| state.broken(format!("{name} blocked its caller for {time} s")));
        }
        result
    }

    /// Begins an operation and waits for its one answer.
    pub(super) fn operate(
        &self,
        name: &'static str,
        begin: impl FnOnce(u64) -> Status,
    ) -> Result<(Status, String), Stop> {
        let op = self.begin(name, begin)?;
        let Ok(op) = op else { return Ok((op.err().unwrap_or(Status::FAILED), String::new())) };
        let what = format!("the answer (op_done) to {name}");
        self.stage.wait(&what, |state| state.ops.get(&op).and_then(|answers| answers.first().cloned()))
    }

    /// Begins an operation: its number, or the status with which the call refused it.
    pub(super) fn begin(
        &self,
        name: &'static str,
        begin: impl FnOnce(u64) -> Status,
    ) -> Result<Result<u64, Status>, Stop> {
        let op = self.stage.new_op();
        let status = self.quick(name, || begin(op));
        if status.is_ok() {
            return Ok(Ok(op));
        }
        let answered = self.stage.state().ops.get(&op).is_some_and(|answers| !answers.is_empty());
        ensure(!answered, || format!("{name} returned {status} and answered its operation all the same"))?;
        Ok(Err(status))
    }

    pub(super) fn start(&self) -> Result<(), Stop> {
        self.started.store(true, Ordering::Relaxed);
        let Some(start) = self.plugin.start else { return Err(Stop::failed("start is NULL")) };
        // SAFETY: the instance lives.
        let (status, why) = self.operate("start", |op| unsafe { start(self.instance, op) })?;
        if self.stage.shape == Shape::Oldest && status == Status::UNSUPPORTED && !why.is_empty() {
            return Err(Stop::skipped(format!("the plugin says that it needs a newer host: {why}")));
        }
        ensure(status.is_ok(), || format!("start ended with {status}: {why}"))?;
        self.stage.change(|state| state.started = true);
        Ok(())
    }

    /// Begins to quiesce; `None` where the plugin can't.
    pub(super) fn quiesce(&self, deadline_ms: u32) -> Result<Option<Status>, Stop> {
        let Some(quiesce) = self.plugin.quiesce else { return Ok(None) };
        // SAFETY: the instance lives.
        let (status, _) = self.operate("quiesce", |op| unsafe { quiesce(self.instance, op, deadline_ms) })?;
        Ok(Some(status))
    }

    pub(super) fn stop(&self) -> Status {
        let Some(stop) = self.plugin.stop else { return Status::UNSUPPORTED };
        let begun = Instant::now();
        // SAFETY: the instance lives.
        let status = within("stop", || unsafe { stop(self.instance, STOP_MS) });
        self.started.store(false, Ordering::Relaxed);
        self.stage.change(|state| {
            state.stopped = true;
            let open = state.ops.values().filter(|answers| answers.is_empty()).count();
            if begun.elapsed() > Duration::from_millis(STOP_MS.into()) + SLOW {
                state.broken(format!(
                    "stop took {} s; its deadline was {} s",
                    begun.elapsed().as_secs(),
                    STOP_MS / 1000
                ));
            }
            if open > 0 {
                state.broken(format!("{open} operations had no answer when stop returned, and now none can come"));
            }
        });
        status
    }

    /// Stops and destroys the instance.
    pub(super) fn end(&self) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.started.load(Ordering::Relaxed) {
            self.stop();
        }
        if let Some(destroy) = self.plugin.destroy {
            // SAFETY: once, last.
            within("destroy", || unsafe { destroy(self.instance) });
        }
        self.stage.change(|state| state.stopped = true);
    }

    fn transport(&self) -> Result<&abi::Transport, Stop> {
        self.transport.as_ref().ok_or_else(|| Stop::failed("no transport"))
    }

    /// Listens; answers with the bound URI.
    pub(super) fn listen(&self, uri: &str) -> Result<(Status, String), Stop> {
        let listen = self.transport()?.listen.ok_or_else(|| Stop::failed("listen is NULL"))?;
        // SAFETY: the instance lives, and so does the text.
        self.operate("listen", |op| unsafe { listen(self.instance, op, Str::new(uri)) })
    }

    /// Dials, and waits for what comes of it.
    pub(super) fn dial(&self, uri: Str, peer: Option<&[u8; 32]>) -> Result<(Status, String), Stop> {
        let dial = self.transport()?.dial.ok_or_else(|| Stop::failed("dial is NULL"))?;
        let peer = peer.map_or(std::ptr::null(), |peer| peer.as_ptr());
        // SAFETY: as above; the key has 32 bytes.
        self.operate("dial", |op| unsafe { dial(self.instance, op, uri, peer) })
    }

    /// Dials, and doesn't wait.
    pub(super) fn begin_dial(&self, uri: &str, peer: Option<&[u8; 32]>) -> Result<Result<u64, Status>, Stop> {
        let dial = self.transport()?.dial.ok_or_else(|| Stop::failed("dial is NULL"))?;
        let peer = peer.map_or(std::ptr::null(), |peer| peer.as_ptr());
        // SAFETY: as above.
        self.begin("dial", |op| unsafe { dial(self.instance, op, Str::new(uri), peer) })
    }

    /// Listens at something that may be no URI at all.
    pub(super) fn listen_raw(&self, uri: Str) -> Result<(Status, String), Stop> {
        let listen = self.transport()?.listen.ok_or_else(|| Stop::failed("listen is NULL"))?;
        // SAFETY: as above.
        self.operate("listen", |op| unsafe { listen(self.instance, op, uri) })
    }

    pub(super) fn close(&self, link: u64, reason: Str) -> Status {
        let Some(close) = self.transport.and_then(|vtable| vtable.close) else { return Status::UNSUPPORTED };
        // SAFETY: as above.
        self.quick("close", || unsafe { close(self.instance, link, reason) })
    }

    pub(super) fn resume(&self, link: u64) {
        let Some(resume) = self.transport.and_then(|vtable| vtable.resume) else { return };
        // SAFETY: as above.
        self.quick("resume", || unsafe { resume(self.instance, link) });
    }

    /// Sends what was lent; returns how many frames were taken. Borrowed bytes are spoiled when the call returns.
    pub(super) fn send(&self, loan: &mut Loan) -> usize {
        let Some(send) = self.transport.and_then(|vtable| vtable.send) else { return 0 };
        let (frames, n) = loan.frames();
        // SAFETY: as above; the loan keeps its frames for the call.
        let taken = self.quick("send", || unsafe { send(self.instance, frames, n) });
        if taken > n {
            self.stage.change(|state| state.broken(format!("send took {taken} frames of {n}")));
        }
        loan.settle(taken.min(n));
        taken.min(n)
    }

    /// `send` with whatever arguments.
    pub(super) fn send_raw(&self, frames: *const abi::Frame, n: usize) -> usize {
        let Some(send) = self.transport.and_then(|vtable| vtable.send) else { return 0 };
        // SAFETY: the caller passes no frames, or frames that live.
        self.quick("send", || unsafe { send(self.instance, frames, n) })
    }

    /// The figures, as text; `None` where the plugin has none.
    pub(super) fn stats(&self) -> Option<(Status, String)> {
        let stats = self.transport.and_then(|vtable| vtable.stats)?;
        let mut text = String::new();
        let status = self.quick("stats", || {
            // SAFETY: the instance lives, and `out` is valid during the call.
            with_out(&mut text, |out| unsafe { stats(self.instance, out) })
        });
        Some((status, text))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.end();
    }
}

/// `create`, with whatever arguments.
pub(super) fn call_create(case: &Case, stage: &'static Stage, name: Str, config: Str) -> (Status, *mut c_void) {
    let Some(create) = case.library.plugin.create else { return (Status::UNSUPPORTED, std::ptr::null_mut()) };
    let mut instance = std::ptr::null_mut();
    // SAFETY: the host lives for ever, the texts for the call.
    let status = within("create", || unsafe { create(stage.vtables().host(), name, config, &mut instance) });
    (status, instance)
}

/// `destroy` of an instance that no [`Actor`] holds.
pub(super) fn call_destroy(case: &Case, instance: *mut c_void) {
    if let (Some(destroy), false) = (case.library.plugin.destroy, instance.is_null()) {
        // SAFETY: `create` made it, and nobody else destroys it.
        within("destroy", || unsafe { destroy(instance) });
    }
}

/// Collects what a plugin writes.
pub(super) fn with_out<R>(text: &mut String, work: impl FnOnce(Out) -> R) -> R {
    unsafe extern "C" fn write(ctx: *mut c_void, text: Str) {
        // SAFETY: `ctx` is the string below, and the plugin lends the text for the call.
        unsafe {
            if let Some(all) = ctx.cast::<String>().as_mut() {
                all.push_str(text.get().unwrap_or("\u{fffd}"));
            }
        }
    }
    work(Out { ctx: std::ptr::from_mut(text).cast(), write: Some(write) })
}
