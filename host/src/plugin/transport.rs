//! Transports: what the shell calls, and what it is told.
#![allow(unsafe_code, reason = "calls the plugin's functions")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use qpq_plugin_api::abi::{self, LinkEvent, Str, link_event, link_flags};
use qpq_plugin_api::{FrameBatch, Status, offer};
use qpq_schemas::PeerId;

use super::descriptor::Vtable;
use super::error::PluginError;
use super::instance::Instance;
use super::log::clean;
use super::port::{Port, Role};

/// How long a transport may take to listen.
pub const LISTEN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a transport may take to make a link.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(20);
/// The smallest frame that a transport must carry, in bytes; links with less are refused. The link layer's own minimum.
pub const MIN_MAX_FRAME: u32 = qpq_schemas::link::MIN_TRANSPORT_FRAME as u32;
/// The longest channel binding, in bytes.
const MAX_BINDING: usize = 256;

/// A frame of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The host's number for the link.
    pub link: u64,
    /// What it carries.
    pub bytes: Bytes,
}

/// A link that has come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkUp {
    /// The host's number for it, unique in the life of the process.
    pub link: u64,
    /// Whether this node dialled.
    pub outbound: bool,
    /// The remote address as a URI, cleaned of control characters.
    pub remote: String,
    /// The remote's key, where the transport says that it has proven it. The transport isn't trusted: the link handshake
    /// proves it again.
    pub peer: Option<PeerId>,
    /// The largest frame that it carries, in bytes: at least [`MIN_MAX_FRAME`].
    pub max_frame: usize,
    /// Whether a third party forwards the frames, as the transport reports it.
    pub relayed: bool,
    /// Whether frames arrive all, once and in order while the link is up.
    pub reliable: bool,
    /// Bytes that only the two ends share; empty where the transport has none. Up to 256.
    pub channel_binding: Vec<u8>,
    /// Round-trip time, where the transport knows it.
    pub rtt: Option<Duration>,
    /// Whether a dial of this node asked for it.
    pub dialled: bool,
}

/// How a link goes on after its path has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPath<'a> {
    /// The remote address as a URI, cleaned of control characters.
    pub remote: &'a str,
    /// Whether a third party forwards the frames now.
    pub relayed: bool,
    /// Round-trip time, where the transport knows it.
    pub rtt: Option<Duration>,
}

/// Hears what a transport reports. Called on the plugin's threads: none of the functions may block, and each must stand
/// being called at once with others (for one link, frames come one batch after the other).
pub trait TransportEvents: Send + Sync {
    /// A link came up; its frames follow.
    fn link_up(&self, up: LinkUp);
    /// A link is gone, after its last frame; once for each link, also when the plugin failed.
    fn link_down(&self, link: u64, reason: &str);
    /// A link goes on over another path.
    fn path_changed(&self, link: u64, path: NewPath<'_>);
    /// Frames of one link. Pop what there is room for (best with `FrameQueue::accept`): what stays is offered again after
    /// [`TransportHandle::resume`]. To lose no wakeup, note that the link waits **and then look for room again**.
    fn frames(&self, link: u64, batch: &mut FrameBatch<'_>);
    /// There is room again for a link's frames, after a [`TransportHandle::send`] that took some only.
    fn writable(&self, link: u64);
    /// Frames that were taken and will not be sent by this link.
    fn unsent(&self, frames: Vec<Frame>);
    /// In a swap, before the instance is drained: no new dials, and each neighbour is told to come back at once. Ready when
    /// the plugin has taken these last words, or soon after.
    fn part(&self) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
    /// When the first and the last frame of each neighbour were taken in that is linked, or was when the swap began.
    fn taken(&self) -> BTreeMap<PeerId, (Instant, Instant)> {
        BTreeMap::new()
    }
}

/// A running transport plugin. Clones are the same instance; after it has stopped, its calls say so or do nothing.
#[derive(Clone)]
pub struct TransportHandle(Arc<Instance>);

impl TransportHandle {
    /// `None` for a plugin of another kind.
    pub(super) fn new(instance: Arc<Instance>) -> Option<Self> {
        matches!(instance.image.descriptor.vtable, Vtable::Transport(_)).then_some(Self(instance))
    }

    fn vtable(&self) -> &abi::Transport {
        match &self.0.image.descriptor.vtable {
            Vtable::Transport(vtable) => vtable,
            _ => &NOTHING,
        }
    }

    /// The plugin's name in the configuration.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Whether the running library serves addresses of that scheme (what stands before `://`).
    pub fn serves(&self, scheme: &str) -> bool {
        self.0.image.descriptor.info.schemes.iter().any(|served| served == scheme)
    }

    /// Whether the running library serves addresses like that one.
    pub fn serves_uri(&self, uri: &str) -> bool {
        uri.split_once("://").is_some_and(|(scheme, _)| self.serves(scheme))
    }

    /// Listens at `uri`; returns the URI that it bound.
    ///
    /// # Errors
    /// When the plugin can't, hangs for [`LISTEN_DEADLINE`], or is stopped.
    pub async fn listen(&self, uri: &str) -> Result<String, PluginError> {
        let (listen, uri) = (self.vtable().listen, uri.to_owned());
        let done = self.0.operate("listen", LISTEN_DEADLINE, move |plugin, op| {
            // SAFETY: the instance is alive while `operate` is inside its gate; the text outlives the call.
            listen.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, Str::new(&uri)) })
        });
        Ok(clean(&done.await?.detail))
    }

    /// Makes a link to `uri`; where `peer` is given, to the node with that key only. [`TransportEvents::link_up`] comes
    /// first, then this returns the link's number.
    ///
    /// # Errors
    /// When the remote can't be reached or is another, when the plugin hangs for [`DIAL_DEADLINE`], or is stopped.
    pub async fn dial(&self, uri: &str, peer: Option<PeerId>) -> Result<u64, PluginError> {
        let (dial, uri) = (self.vtable().dial, uri.to_owned());
        let done = self.0.operate("dial", DIAL_DEADLINE, move |plugin, op| {
            let peer = peer.as_ref().map_or(std::ptr::null(), |peer| peer.0.as_ptr());
            // SAFETY: as in `listen`; `peer` is NULL or points to 32 bytes that outlive the call.
            dial.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, Str::new(&uri), peer) })
        });
        done.await?
            .link
            .ok_or_else(|| self.0.failed("dial", Status::FAILED, "it reported success, but no link came up"))
    }

    /// Hands frames to the plugin, and returns how many it took: the first ones. Never blocks. After a short return wait
    /// for [`TransportEvents::writable`], which may come before this returns. Frames of links that are gone count as taken.
    pub fn send(&self, frames: &[Frame]) -> usize {
        let mut taken = 0;
        for run in frames.chunk_by(|a, b| a.link == b.link) {
            let n = run.first().map_or(0, |first| self.send_run(first.link, run));
            taken += n;
            if n < run.len() {
                break;
            }
        }
        taken
    }

    fn send_run(&self, link: u64, run: &[Frame]) -> usize {
        let (Some(_pass), Some(send)) = (self.0.gate.enter(), self.vtable().send) else { return run.len() };
        let Some(link) = self.0.port.plugin_link(link) else { return run.len() };
        // SAFETY: the gate keeps the instance alive; `offer` passes frames that live for the call.
        offer(link, run.iter().map(|frame| &frame.bytes), |array, n| unsafe { send(self.0.raw(), array, n) })
    }

    /// There is room again for frames of `link`, after a batch that was popped in part.
    pub fn resume(&self, link: u64) {
        if let (Some(_pass), Some(f), Some(link)) =
            (self.0.gate.enter(), self.vtable().resume, self.0.port.plugin_link(link))
        {
            // SAFETY: the gate keeps the instance alive.
            unsafe { f(self.0.raw(), link) };
        }
    }

    /// Closes a link; [`TransportEvents::link_down`] follows. Links that are gone are ignored.
    pub fn close(&self, link: u64, reason: &str) {
        if let (Some(_pass), Some(f), Some(link)) =
            (self.0.gate.enter(), self.vtable().close, self.0.port.plugin_link(link))
        {
            // SAFETY: the gate keeps the instance alive; the text outlives the call.
            unsafe { f(self.0.raw(), link, Str::new(reason)) };
        }
    }

    /// The plugin's own figures, a JSON object.
    pub fn stats(&self) -> serde_json::Value {
        self.0.stats()
    }
}

/// Stands for a vtable that isn't there.
const NOTHING: abi::Transport =
    abi::Transport { size: 0, rsvd: 0, listen: None, dial: None, close: None, send: None, resume: None, stats: None };

impl Port {
    /// See [`TransportEvents::part`]; nothing for other kinds.
    pub(super) async fn part(&self) {
        if let Some(events) = self.transport() {
            events.part().await;
        }
    }

    /// See [`TransportEvents::taken`].
    pub(super) fn taken(&self) -> BTreeMap<PeerId, (Instant, Instant)> {
        self.transport().map(TransportEvents::taken).unwrap_or_default()
    }

    fn transport(&self) -> Option<&dyn TransportEvents> {
        match &self.role {
            Role::Transport(events) => Some(events.as_ref()),
            _ => None,
        }
    }

    /// The listener, and the host's number of a link that is up.
    fn live_link(&self, link: u64) -> Option<(&dyn TransportEvents, u64)> {
        let link = self.host_link(link).filter(|link| self.has_link(*link))?;
        Some((self.transport()?, link))
    }

    /// Frames that came in. Those of a link that isn't up are dropped.
    pub(super) fn frames(&self, batch: &mut FrameBatch<'_>) {
        match batch.link().and_then(|link| self.live_link(link)) {
            Some((events, link)) => events.frames(link, batch),
            None => while batch.pop().is_some() {},
        }
    }

    /// Frames that come back.
    pub(super) fn unsent(&self, batch: &mut FrameBatch<'_>) {
        let Some((events, link)) = batch.link().and_then(|link| self.live_link(link)) else { return };
        let frames = std::iter::from_fn(|| batch.pop()).map(|bytes| Frame { link, bytes }).collect();
        events.unsent(frames);
    }

    /// Room for frames.
    pub(super) fn writable(&self, link: u64) {
        if let Some((events, link)) = self.live_link(link) {
            events.writable(link);
        }
    }

    /// Something happened to a link.
    pub(super) fn link_event(&self, event: &LinkEvent, remote: &str, binding: &[u8], reason: &str) -> Status {
        let (Some(events), Some(link)) = (self.transport(), self.host_link(event.link)) else { return Status::INVALID };
        match event.kind {
            link_event::UP => return self.link_up(events, link, event, remote, binding),
            link_event::DOWN if self.remove_link(link) => events.link_down(link, &clean(reason)),
            link_event::PATH if self.has_link(link) => {
                let relayed = event.flags & link_flags::RELAYED != 0;
                events.path_changed(link, NewPath { remote: &clean(remote), relayed, rtt: rtt(event) });
            }
            link_event::DOWN | link_event::PATH => return Status::NOT_FOUND,
            _ => return Status::UNSUPPORTED,
        }
        Status::OK
    }

    fn link_up(
        &self,
        events: &dyn TransportEvents,
        link: u64,
        event: &LinkEvent,
        remote: &str,
        binding: &[u8],
    ) -> Status {
        let refuse = |why: &str| {
            tracing::warn!(plugin = %self.name(), link, why, "a link of the plugin was refused");
            Status::REFUSED
        };
        if event.max_frame < MIN_MAX_FRAME {
            return refuse("it carries only frames that are too small");
        }
        if binding.len() > MAX_BINDING {
            return refuse("its channel binding is too long");
        }
        if let Err(why) = self.add_link(link) {
            return refuse(why);
        }
        let has = |flag| event.flags & flag != 0;
        events.link_up(LinkUp {
            link,
            outbound: has(link_flags::OUTBOUND),
            remote: clean(remote),
            peer: has(link_flags::PEER_PROVEN).then_some(PeerId(event.peer)),
            max_frame: event.max_frame as usize,
            relayed: has(link_flags::RELAYED),
            reliable: has(link_flags::RELIABLE),
            channel_binding: binding.to_vec(),
            rtt: rtt(event),
            dialled: event.op != 0,
        });
        self.ops.linked(event.op, link);
        Status::OK
    }
}

fn rtt(event: &LinkEvent) -> Option<Duration> {
    (event.rtt_us != 0).then(|| Duration::from_micros(event.rtt_us))
}
