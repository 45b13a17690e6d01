#![allow(unsafe_code, reason = "the C entries of a transport, and the host's functions for it")]

use std::collections::VecDeque;
use std::ffi::c_void;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::abi::{self, Frame, HostTransport, LinkEvent, Out, Slice, Status, Str, link_event, link_flags};
use crate::sdk::error::Error;
use crate::sdk::frames::{FrameBatch, offer};
use crate::sdk::glue::{begin, enter, write_json};
use crate::sdk::host::{Host, text};
use crate::sdk::op::Op;
use crate::sdk::plugin::Plugin;

/// Carries frames between nodes. Every function may be called on any thread, also at once on several, and must not block:
/// hand the work to your runtime and answer the [`Op`] from there.
///
/// Links are numbered by the transport, from 1 on, below 2⁴⁸, and never twice by one instance.
pub trait Transport: Plugin {
    /// Listens at `uri` and answers with the bound URI.
    fn listen(&self, op: Op, uri: &str);

    /// Makes a link to `uri`; where `peer` is given, only to the node with that key. On success, first
    /// [`TransportHost::link_up`] with [`Op::id`], then [`Op::ok`].
    fn dial(&self, op: Op, uri: &str, peer: Option<[u8; 32]>);

    /// Closes a link once what it accepted is sent; [`TransportHost::link_down`] follows. Unknown links are ignored.
    fn close(&self, link: u64, reason: &str);

    /// Pops the frames (all of one link) that it has room for, best through [`FrameQueue::accept`](crate::FrameQueue::accept).
    /// For a link that is gone it pops all and drops them. What it leaves makes it owe a [`TransportHost::writable`].
    fn send(&self, frames: &mut FrameBatch<'_>);

    /// The host has room again for what [`TransportHost::deliver`] could not hand over.
    fn resume(&self, link: u64);

    /// Figures for `qpq plugin list`: one JSON object.
    fn stats(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// A link that has come up.
#[derive(Debug, Clone, Copy)]
pub struct LinkUp<'a> {
    /// The transport's number for it.
    pub link: u64,
    /// [`Op::id`] of the dial that made it, 0 for an incoming one.
    pub op: u64,
    /// Whether this node dialled.
    pub outbound: bool,
    /// Whether a third party forwards the frames, since the two ends don't reach each other.
    pub relayed: bool,
    /// Whether frames arrive all, once and in order while the link is up.
    pub reliable: bool,
    /// The remote's key, where the transport has proven it.
    pub peer: Option<[u8; 32]>,
    /// The remote's address as a URI that `dial` understands.
    pub remote: &'a str,
    /// The largest frame that it carries, in bytes.
    pub max_frame: u32,
    /// Bytes that only the two ends share, such as a TLS exporter; empty where there are none.
    pub channel_binding: &'a [u8],
    /// Round-trip time, where known.
    pub rtt: Option<Duration>,
}

/// The host's side of a transport. None of its functions blocks; don't call them from inside [`Transport`]'s functions.
#[derive(Clone, Copy)]
pub struct TransportHost {
    host: Host,
    vtable: &'static HostTransport,
}

impl std::fmt::Debug for TransportHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TransportHost")
    }
}

impl TransportHost {
    pub(crate) fn new(host: Host, vtable: &'static HostTransport) -> Self {
        Self { host, vtable }
    }

    /// Reports a link that has come up, before its first frame. An error means that the host doesn't want it: close it.
    pub fn link_up(&self, up: &LinkUp<'_>) -> Result<(), Error> {
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let flags = flag(up.outbound, link_flags::OUTBOUND)
            | flag(up.reliable, link_flags::RELIABLE)
            | flag(up.peer.is_some(), link_flags::PEER_PROVEN)
            | flag(up.relayed, link_flags::RELAYED);
        let status = self.event(&LinkEvent {
            op: up.op,
            flags,
            max_frame: up.max_frame,
            rtt_us: micros(up.rtt),
            peer: up.peer.unwrap_or_default(),
            remote: Str::new(up.remote),
            channel_binding: Slice::new(up.channel_binding),
            ..LinkEvent::new(link_event::UP, up.link)
        });
        Error::check(status, "the host does not want this link")
    }

    /// Reports that a link is gone, once, after its last frame.
    pub fn link_down(&self, link: u64, reason: &str) {
        self.event(&LinkEvent { reason: Str::new(reason), ..LinkEvent::new(link_event::DOWN, link) });
    }

    /// Reports that a link goes on over another path: `relayed` says whether a third party forwards its frames now.
    pub fn path_changed(&self, link: u64, remote: &str, relayed: bool, max_frame: u32, rtt: Option<Duration>) {
        self.event(&LinkEvent {
            remote: Str::new(remote),
            flags: if relayed { link_flags::RELAYED } else { 0 },
            max_frame,
            rtt_us: micros(rtt),
            ..LinkEvent::new(link_event::PATH, link)
        });
    }

    fn event(&self, event: &LinkEvent) -> Status {
        // SAFETY: `ctx` belongs to this host; the event and its texts outlive the call.
        self.vtable.on_link.map_or(Status::UNSUPPORTED, |f| unsafe { f(self.host.ctx(), event) })
    }

    /// Hands over frames that came in on `link` and removes those that the host took; returns how many. When some stay,
    /// stop reading this link until [`Transport::resume`]. It may be called before this returns, so let it leave a permit
    /// behind (as tokio's `Notify` does). One thread at a time for each link.
    pub fn deliver(&self, link: u64, frames: &mut VecDeque<Bytes>) -> usize {
        let Some(f) = self.vtable.on_frames else { return 0 };
        // SAFETY: `ctx` belongs to this host; `offer` passes frames that live for the call.
        let taken = offer(link, frames.iter(), |array, n| unsafe { f(self.host.ctx(), array, n) });
        frames.drain(..taken);
        taken
    }

    /// There is room again on `link`, after a `send` that left frames.
    pub fn writable(&self, link: u64) {
        if let Some(f) = self.vtable.on_writable {
            // SAFETY: `ctx` belongs to this host.
            unsafe { f(self.host.ctx(), link) };
        }
    }

    /// Returns frames that were accepted and not sent, in their order; before `link_down`.
    pub fn unsent(&self, link: u64, frames: &[Bytes]) {
        if let Some(f) = self.vtable.on_unsent {
            // SAFETY: as in `deliver`; the host takes them all.
            offer(link, frames, |array, n| unsafe {
                f(self.host.ctx(), array, n);
                n
            });
        }
    }
}

fn micros(time: Option<Duration>) -> u64 {
    time.map_or(0, |t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX))
}

impl LinkEvent {
    /// An event of that kind with nothing else in it.
    pub const fn new(kind: u32, link: u64) -> Self {
        Self {
            size: size_of::<Self>() as u32,
            kind,
            link,
            op: 0,
            flags: 0,
            max_frame: 0,
            rtt_us: 0,
            peer: [0; 32],
            remote: Str::EMPTY,
            channel_binding: Slice::EMPTY,
            reason: Str::EMPTY,
        }
    }
}

/// The vtable of transport `P`.
pub const fn vtable<P: Transport>() -> *const c_void {
    std::ptr::from_ref(Entries::<P>::VTABLE).cast()
}

struct Entries<P>(std::marker::PhantomData<P>);

impl<P: Transport> Entries<P> {
    const VTABLE: &'static abi::Transport = &abi::Transport {
        size: size_of::<abi::Transport>() as u32,
        rsvd: 0,
        listen: Some(Self::listen),
        dial: Some(Self::dial),
        close: Some(Self::close),
        send: Some(Self::send),
        resume: Some(Self::resume),
        stats: Some(Self::stats),
    };

    // SAFETY, for all of them: the host passes the pointer that `create` gave it, before `destroy`, and texts and frames
    // that live for the call.

    unsafe extern "C" fn listen(plugin: *mut c_void, op: u64, uri: Str) -> Status {
        // SAFETY: see above.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.listen(op, text(uri, "URI")?);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn dial(plugin: *mut c_void, op: u64, uri: Str, peer: *const u8) -> Status {
        // SAFETY: see above; `peer` is NULL or points to 32 bytes.
        unsafe {
            let peer = peer.cast::<[u8; 32]>().as_ref().copied();
            begin(plugin, op, |plugin: &P, op| {
                plugin.dial(op, text(uri, "URI")?, peer);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn close(plugin: *mut c_void, link: u64, reason: Str) -> Status {
        // SAFETY: see above.
        unsafe {
            enter::<P, _>(plugin, Status::PANIC, |this| {
                this.plugin.close(link, text(reason, "reason").unwrap_or_default());
                Status::OK
            })
        }
    }

    unsafe extern "C" fn send(plugin: *mut c_void, frames: *const Frame, n: usize) -> usize {
        // SAFETY: see above. After a panic the popped frames are gone, and still have to be counted as taken.
        unsafe {
            let mut batch = FrameBatch::from_raw(frames, n);
            enter::<P, _>(plugin, (), |this| this.plugin.send(&mut batch));
            batch.taken()
        }
    }

    unsafe extern "C" fn resume(plugin: *mut c_void, link: u64) {
        // SAFETY: see above.
        unsafe { enter::<P, _>(plugin, (), |this| this.plugin.resume(link)) }
    }

    unsafe extern "C" fn stats(plugin: *mut c_void, out: Out) -> Status {
        // SAFETY: see above.
        unsafe { enter::<P, _>(plugin, Status::PANIC, |this| write_json(out, &this.plugin.stats())) }
    }
}
