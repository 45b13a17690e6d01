//! One instance of a plugin, from `create` to `destroy`, each step with a deadline.
#![allow(unsafe_code, reason = "calls the plugin's functions and holds its pointer")]

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qpq_plugin_api::abi::{Host, Out, Str, plugin_flags};
use qpq_plugin_api::{Error, Status};
use serde_json::Value;
use tokio::sync::oneshot;

use super::descriptor::Vtable;
use super::error::PluginError;
use super::gate::Gate;
use super::loader::Image;
use super::ops::Done;
use super::port::Port;
use super::token::Token;

/// How long `create` may take.
pub const CREATE_DEADLINE: Duration = Duration::from_secs(5);
/// How long `start` may take, with its answer.
pub const START_DEADLINE: Duration = Duration::from_secs(10);
/// How long `stop` may take when the plugin has failed.
pub const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// What `stop` gets on top of its deadline before the instance counts as a zombie.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// The longest JSON that a plugin may write in one call, in bytes.
const MAX_OUT: usize = 4 * 1024 * 1024;

/// One instance.
pub(super) struct Instance {
    pub(super) image: Arc<Image>,
    pub(super) port: Arc<Port>,
    pub(super) gate: Gate,
    raw: *mut c_void,
    token: &'static Token,
    /// Stopped and destroyed, or given up.
    ended: AtomicBool,
}

// SAFETY: the ABI lets the plugin's functions be called on any thread; routing calls are serialised by their handle.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Stopped and freed.
    Stopped,
    /// It didn't stop in time: it is left alone for ever, and its calls get CLOSED.
    Zombie,
}

impl Instance {
    /// Makes an instance on a thread of its own.
    pub(super) async fn create(image: Arc<Image>, port: Port, config: &Value) -> Result<Arc<Self>, PluginError> {
        let port = Arc::new(port);
        let (name, config, asked) = (port.name().to_owned(), config.to_string(), Arc::clone(&port));
        let (token, host) = Token::leak(Arc::clone(&port));
        let made = run(&name, "create", CREATE_DEADLINE, move || Self::make(image, port, token, host, &config)).await;
        // After a hang the thread may end some day; its instance then drops itself.
        made.flatten().inspect_err(|_| token.bury()).map_err(|error| for_want_of_the_key(error, &asked))
    }

    /// Makes an instance on this thread, without a deadline.
    pub(super) fn create_here(image: Arc<Image>, port: Port, config: &Value) -> Result<Arc<Self>, PluginError> {
        let port = Arc::new(port);
        let (token, host) = Token::leak(Arc::clone(&port));
        Self::make(image, port, token, host, &config.to_string()).inspect_err(|_| token.bury())
    }

    fn make(
        image: Arc<Image>,
        port: Arc<Port>,
        token: &'static Token,
        host: &'static Host,
        config: &str,
    ) -> Result<Arc<Self>, PluginError> {
        let mut raw = std::ptr::null_mut();
        let status = image.descriptor.raw.create.map_or(Status::UNSUPPORTED, |create| {
            // SAFETY: `host` lives for ever, the texts and `raw` for the call.
            unsafe { create(host, Str::new(port.name()), Str::new(config), &raw mut raw) }
        });
        let failed =
            |status, detail| PluginError::Failed { plugin: port.name().to_owned(), call: "create", status, detail };
        if !status.is_ok() {
            let why = port.why().map_or_else(String::new, |e| e.message);
            return Err(failed(status, why));
        }
        if raw.is_null() {
            return Err(failed(Status::FAILED, "it reported success, but made no instance".to_owned()));
        }
        Ok(Arc::new(Self { image, port, gate: Gate::default(), raw, token, ended: AtomicBool::new(false) }))
    }

    /// The plugin's name in the configuration.
    pub(super) fn name(&self) -> &str {
        self.port.name()
    }

    /// The plugin's pointer; use it only inside the gate.
    pub(super) fn raw(&self) -> *mut c_void {
        self.raw
    }

    /// A failure of that call.
    pub(super) fn failed(&self, call: &'static str, status: Status, detail: &str) -> PluginError {
        if status == Status::CLOSED {
            return PluginError::Closed { plugin: self.name().to_owned() };
        }
        let detail = match (detail, self.port.why()) {
            ("", Some(Error { message, .. })) => message,
            _ => super::log::clean(detail),
        };
        PluginError::Failed { plugin: self.name().to_owned(), call, status, detail }
    }

    /// Begins an operation on a thread of its own and waits for its answer, for `deadline` in all.
    pub(super) async fn operate(
        self: &Arc<Self>,
        call: &'static str,
        deadline: Duration,
        begin: impl FnOnce(*mut c_void, u64) -> Status + Send + 'static,
    ) -> Result<Done, PluginError> {
        let full = || self.failed(call, Status::BUSY, "too many operations wait for their answers");
        let (ticket, answer) = self.port.ops.begin().ok_or_else(full)?;
        let (me, op) = (Arc::clone(self), ticket.id);
        let work = move || me.gate.enter().map_or(Status::CLOSED, |_pass| begin(me.raw, op));
        let both = async {
            let status = run(self.name(), call, deadline, work).await?;
            if !status.is_ok() {
                return Err(self.failed(call, status, ""));
            }
            answer.await.map_err(|_| self.failed(call, Status::CLOSED, ""))
        };
        let done = tokio::time::timeout(deadline, both).await.map_err(|_| self.hung(call, deadline))??;
        if done.status.is_ok() { Ok(done) } else { Err(self.failed(call, done.status, &done.detail)) }
    }

    fn hung(&self, call: &'static str, waited: Duration) -> PluginError {
        PluginError::Hung { plugin: self.name().to_owned(), call, waited }
    }

    /// Starts the instance.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(), PluginError> {
        let start = self.image.descriptor.raw.start;
        let begin = move |plugin, op| {
            // SAFETY: `operate` is inside the gate.
            start.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op) })
        };
        let started = self.operate("start", START_DEADLINE, begin).await;
        started.map(drop).map_err(|error| for_want_of_the_key(error, &self.port))
    }

    /// Starts the instance on this thread, and waits for its answer.
    pub(super) fn start_here(&self) -> Result<(), PluginError> {
        let full = || self.failed("start", Status::BUSY, "");
        let (ticket, mut answer) = self.port.ops.begin().ok_or_else(full)?;
        let start = self.image.descriptor.raw.start;
        // SAFETY: the instance is alive as long as `self` is.
        let status = start.map_or(Status::UNSUPPORTED, |f| unsafe { f(self.raw, ticket.id) });
        if !status.is_ok() {
            return Err(self.failed("start", status, ""));
        }
        let end = std::time::Instant::now() + START_DEADLINE;
        loop {
            match answer.try_recv() {
                Ok(done) if done.status.is_ok() => return Ok(()),
                Ok(done) => return Err(self.failed("start", done.status, &done.detail)),
                Err(oneshot::error::TryRecvError::Closed) => return Err(self.failed("start", Status::CLOSED, "")),
                Err(oneshot::error::TryRecvError::Empty) if std::time::Instant::now() >= end => {
                    return Err(self.hung("start", START_DEADLINE));
                }
                Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Ends the instance: lets it drain for `quiesce` first, where that is given, then stops it within `deadline`.
    pub(super) async fn shut(self: &Arc<Self>, quiesce: Option<Duration>, deadline: Duration) -> End {
        if let Some(time) = quiesce {
            self.drain(time).await;
        }
        self.gate.close();
        if self.gate.emptied(deadline).await && self.stop_and_destroy(deadline).await.is_ok() {
            return End::Stopped;
        }
        self.ended.store(true, Ordering::Release);
        self.token.bury();
        tracing::error!(plugin = %self.name(), "the plugin did not stop in time; its threads and memory are left to it");
        End::Zombie
    }

    /// Lets the instance flush and give up what only one instance can have, such as a port.
    pub(super) async fn drain(self: &Arc<Self>, time: Duration) {
        let Some(f) = self.image.descriptor.raw.quiesce else { return };
        let ms = millis(time);
        // SAFETY: `operate` is inside the gate.
        let drained = self.operate("quiesce", time, move |plugin, op| unsafe { f(plugin, op, ms) }).await;
        if let Err(error) = drained {
            tracing::warn!(plugin = %self.name(), %error, "the plugin did not drain");
        }
    }

    /// Whether no second instance can work beside it.
    pub(super) fn needs_exclusive(&self) -> bool {
        self.image.descriptor.info.flags & plugin_flags::NEEDS_EXCLUSIVE != 0
    }

    /// Whether a second instance can work beside it, at other ports.
    pub(super) fn can_overlap(&self) -> bool {
        self.image.descriptor.info.flags & plugin_flags::OVERLAPS != 0
    }

    async fn stop_and_destroy(self: &Arc<Self>, deadline: Duration) -> Result<(), PluginError> {
        let (me, token) = (Arc::clone(self), self.token);
        run(self.name(), "stop", deadline + STOP_GRACE, move || me.stop_here(deadline)).await?;
        token.bury();
        let me = Arc::clone(self);
        run(self.name(), "destroy", deadline, move || me.destroy_here()).await
    }

    fn stop_here(&self, deadline: Duration) {
        let Some(stop) = self.image.descriptor.raw.stop else { return };
        // SAFETY: created and not destroyed; the gate is empty.
        let status = unsafe { stop(self.raw, millis(deadline)) };
        if !status.is_ok() {
            tracing::warn!(plugin = %self.name(), %status, "the plugin reported trouble when it stopped");
        }
    }

    fn destroy_here(&self) {
        if let (false, Some(destroy)) = (self.ended.swap(true, Ordering::AcqRel), self.image.descriptor.raw.destroy) {
            // SAFETY: stopped, the gate is empty, and the flag lets this run once.
            unsafe { destroy(self.raw) };
        }
    }

    /// How many calls came in after the end.
    pub(super) fn late_calls(&self) -> u64 {
        self.token.late_calls()
    }

    /// The plugin's own figures; an empty object where it has none.
    pub(super) fn stats(&self) -> Value {
        let f = match &self.image.descriptor.vtable {
            Vtable::Transport(t) => t.stats,
            Vtable::Discovery(d) => d.stats,
            Vtable::Store(s) => s.stats,
            Vtable::Routing(_) => None,
        };
        let text = match (self.gate.enter(), f) {
            // SAFETY: inside the gate; `out` is valid during the call.
            (Some(_pass), Some(f)) => collect(|out| unsafe { f(self.raw, out) }).unwrap_or_default(),
            _ => String::new(),
        };
        serde_json::from_str(&text).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
    }
}

impl Drop for Instance {
    /// An instance that nobody shut: made too late, or not supervised.
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Acquire) {
            self.stop_here(STOP_DEADLINE);
            self.token.bury();
            self.destroy_here();
        }
    }
}

/// The same failure, under its own name where the plugin gave up because the host keeps the node's key from it.
fn for_want_of_the_key(error: PluginError, port: &Port) -> PluginError {
    match error {
        PluginError::Failed { plugin, status: Status::REFUSED, .. } if port.key_kept() => {
            PluginError::KeyKept { plugin }
        }
        other => other,
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// What `call` writes, up to [`MAX_OUT`] bytes of UTF-8.
pub(super) fn collect(call: impl FnOnce(Out) -> Status) -> Result<String, Status> {
    unsafe extern "C" fn write(ctx: *mut c_void, text: Str) {
        // SAFETY: `collect` passes its buffer, which lives for the call; the text does too.
        let (Some(buffer), Ok(text)) = (unsafe { ctx.cast::<String>().as_mut() }, unsafe { text.get() }) else {
            return;
        };
        if buffer.len() + text.len() <= MAX_OUT {
            buffer.push_str(text);
        }
    }
    let mut buffer = String::new();
    let status = call(Out { ctx: (&raw mut buffer).cast(), write: Some(write) });
    if status.is_ok() { Ok(buffer) } else { Err(status) }
}

/// Runs a call that may hang on a thread of its own. After the deadline the thread is left alone.
pub(super) async fn run<R: Send + 'static>(
    plugin: &str,
    call: &'static str,
    deadline: Duration,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, PluginError> {
    let plugin = || plugin.to_owned();
    let (sender, receiver) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(format!("qpq-{call}")).spawn(move || {
        let _ = sender.send(work());
    });
    let failed = |detail: String| PluginError::Failed { plugin: plugin(), call, status: Status::FAILED, detail };
    spawned.map_err(|e| failed(format!("no thread for it: {e}")))?;
    match tokio::time::timeout(deadline, receiver).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(failed("the call ended without a result".to_owned())),
        Err(_) => Err(PluginError::Hung { plugin: plugin(), call, waited: deadline }),
    }
}
