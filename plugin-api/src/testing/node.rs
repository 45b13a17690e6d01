//! One instance of the plugin.
#![allow(unsafe_code, reason = "calls the functions of the plugin under test")]

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Host;
use super::{Keys, SOON, Told};
use crate::abi::{self, Status, Str};
use crate::{Bytes, offer};

/// The deadline of `stop`, in milliseconds.
const STOP_MS: u32 = 5_000;

/// One instance of a transport, and its host. It is stopped and destroyed when this is dropped. Whatever is waited for is
/// waited for in vain after [`Node::patience`], which panics.
pub struct Node {
    /// How long anything may take that should happen at once.
    pub patience: Duration,
    host: &'static Host,
    plugin: &'static abi::Plugin,
    transport: &'static abi::Transport,
    instance: *mut c_void,
    last_op: Mutex<u64>,
}

// SAFETY: the ABI lets any thread call an instance, and the host's state is behind a lock.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("instance", &self.instance).finish_non_exhaustive()
    }
}

// SAFETY, for all calls below: the instance lives until it is dropped, and texts, keys and frames outlive the call.
impl Node {
    /// An instance with that configuration in JSON. `plugin` is what `export_plugin!` has made.
    ///
    /// # Errors
    /// What the plugin says of the configuration.
    pub fn create(plugin: &'static abi::Plugin, keys: Keys, config: &str) -> Result<Self, String> {
        let host = Host::new(keys);
        let create = plugin.create.expect("create is there");
        let mut instance = std::ptr::null_mut();
        // SAFETY: all arguments live for the call, the host for ever.
        let status = unsafe { create(host.raw(), Str::new("test"), Str::new(config), &mut instance) };
        if !status.is_ok() {
            return Err(host.told.lock().expect("unpoisoned").failures.concat());
        }
        let find = plugin.get_interface.expect("get_interface is there");
        // SAFETY: the plugin's interfaces are static.
        let transport = unsafe { find(Str::new(abi::interface::TRANSPORT)).cast::<abi::Transport>().as_ref() };
        let transport = transport.expect("it is a transport");
        Ok(Self { patience: SOON, host, plugin, transport, instance, last_op: Mutex::new(0) })
    }

    /// Starts it.
    ///
    /// # Errors
    /// As it answers.
    pub fn start(&self) -> Result<String, (Status, String)> {
        let start = self.plugin.start.expect("start is there");
        // SAFETY: see above.
        self.op(|op| unsafe { start(self.instance, op) })
    }

    /// The public key of its identity.
    pub fn key(&self) -> [u8; 32] {
        self.host.keys.public
    }

    /// What the host was told so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.host.told.lock().expect("unpoisoned")
    }

    /// Waits until `look` finds what it looks for; `what` says so if it doesn't.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, look: impl FnMut(&mut Told) -> Option<T>) -> T {
        self.wait_for(self.patience, look).unwrap_or_else(|| panic!("in vain: {what}: {:?}", self.told().failures))
    }

    /// As [`Self::wait`], for so long.
    pub fn wait_for<T>(&self, patience: Duration, mut look: impl FnMut(&mut Told) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut told = self.told();
        loop {
            if let Some(found) = look(&mut told) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            told = self.host.changed.wait_timeout(told, left).expect("unpoisoned").0;
        }
    }

    fn op(&self, begin: impl FnOnce(u64) -> Status) -> Result<String, (Status, String)> {
        let op = self.begin(begin);
        self.answer(op)
    }

    fn begin(&self, begin: impl FnOnce(u64) -> Status) -> u64 {
        let mut last = self.last_op.lock().expect("unpoisoned");
        *last += 1;
        let op = *last;
        drop(last);
        assert_eq!(begin(op), Status::OK);
        op
    }

    /// Waits for the answer of an operation.
    ///
    /// # Errors
    /// What it answers when it failed.
    #[track_caller]
    pub fn answer(&self, op: u64) -> Result<String, (Status, String)> {
        match self.wait("an answer", |told| told.ops.get(&op).cloned()) {
            (Status::OK, detail) => Ok(detail),
            other => Err(other),
        }
    }

    /// Listens; returns the URI that was bound.
    ///
    /// # Errors
    /// As it answers.
    pub fn listen(&self, uri: &str) -> Result<String, (Status, String)> {
        let listen = self.transport.listen.expect("listen is there");
        // SAFETY: see above.
        self.op(|op| unsafe { listen(self.instance, op, Str::new(uri)) })
    }

    /// Dials, to that key or to whoever answers, and returns the number of the link.
    ///
    /// # Errors
    /// As it answers.
    pub fn dial(&self, uri: &str, peer: Option<[u8; 32]>) -> Result<u64, (Status, String)> {
        let dial = self.transport.dial.expect("dial is there");
        let key = peer.as_ref().map_or(std::ptr::null(), |key| key.as_ptr());
        // SAFETY: see above.
        let op = self.begin(|op| unsafe { dial(self.instance, op, Str::new(uri), key) });
        self.answer(op)?;
        // UP must have come before the answer.
        let told = self.told();
        Ok(*told.up.iter().find(|(_, up)| up.op == op).expect("a link event came first").0)
    }

    /// Offers frames; returns how many were taken.
    pub fn send(&self, link: u64, frames: &[Vec<u8>]) -> usize {
        let send = self.transport.send.expect("send is there");
        let frames: Vec<Bytes> = frames.iter().cloned().map(Bytes::from).collect();
        // SAFETY: see above.
        offer(link, &frames, |array, n| unsafe { send(self.instance, array, n) })
    }

    /// Sends everything, waiting for room as a node does.
    pub fn send_all(&self, link: u64, frames: &[Vec<u8>]) {
        let mut sent = 0;
        while let Some(rest) = frames.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += self.send(link, rest);
            if sent < frames.len() {
                self.wait("room to send", |told| {
                    let place = told.writable.iter().position(|known| *known == link)?;
                    told.writable.remove(place);
                    Some(())
                });
            }
        }
    }

    /// Makes room for so many frames, and says so for that link.
    pub fn make_room(&self, link: u64, room: usize) {
        let resume = self.transport.resume.expect("resume is there");
        self.told().room = room;
        // SAFETY: see above.
        unsafe { resume(self.instance, link) };
    }

    /// Closes a link.
    pub fn close(&self, link: u64, reason: &str) {
        let close = self.transport.close.expect("close is there");
        // SAFETY: see above.
        unsafe { close(self.instance, link, Str::new(reason)) };
    }

    /// The figures.
    pub fn stats(&self) -> Value {
        unsafe extern "C" fn write(ctx: *mut c_void, text: Str) {
            // SAFETY: `ctx` is the string below; the text lives for the call.
            unsafe { (*ctx.cast::<String>()).push_str(text.get().expect("text is UTF-8")) };
        }
        let stats = self.transport.stats.expect("stats is there");
        let mut text = String::new();
        let out = abi::Out { ctx: std::ptr::from_mut(&mut text).cast(), write: Some(write) };
        // SAFETY: see above; `out` is valid for the call.
        unsafe { stats(self.instance, out) };
        serde_json::from_str(&text).expect("stats are JSON")
    }

    /// Begins to quiesce; returns the operation, for [`Self::answer`].
    pub fn begin_quiesce(&self, deadline_ms: u32) -> u64 {
        let quiesce = self.plugin.quiesce.expect("quiesce is there");
        // SAFETY: see above.
        self.begin(|op| unsafe { quiesce(self.instance, op, deadline_ms) })
    }

    /// Stops it.
    pub fn stop(&self) -> Status {
        let stop = self.plugin.stop.expect("stop is there");
        // SAFETY: see above.
        unsafe { stop(self.instance, STOP_MS) }
    }

    /// Waits for the inbound link from that peer.
    #[track_caller]
    pub fn link_from(&self, peer: [u8; 32]) -> u64 {
        self.wait("an inbound link", |told| {
            told.up.iter().find(|(_, up)| !up.outbound && up.peer == Some(peer)).map(|(link, _)| *link)
        })
    }

    /// Waits for so many frames on a link, and returns them.
    #[track_caller]
    pub fn frames(&self, link: u64, n: usize) -> Vec<Vec<u8>> {
        self.wait("frames", |told| told.frames.get(&link).filter(|frames| frames.len() >= n).cloned())
    }

    /// Waits for the end of a link, and returns the reason.
    #[track_caller]
    pub fn end_of(&self, link: u64) -> String {
        self.wait("the end of the link", |told| told.down.get(&link).cloned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        let destroy = self.plugin.destroy.expect("destroy is there");
        // SAFETY: stopped, and used for the last time.
        unsafe { destroy(self.instance) };
    }
}
