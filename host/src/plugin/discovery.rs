//! Discovery services: what the shell calls, and what it is told.
#![allow(unsafe_code, reason = "calls the plugin's functions")]

use std::sync::Arc;
use std::time::Duration;

use qpq_plugin_api::abi::{self, Str};
use qpq_plugin_api::{PeerEvent, Status};
use serde_json::Value;

use super::descriptor::Vtable;
use super::error::PluginError;
use super::instance::Instance;
use super::port::{Port, Role};

/// How long a discovery service may take to announce or to begin watching.
pub const DISCOVERY_DEADLINE: Duration = Duration::from_secs(10);
/// The longest record of a discovered node, in bytes.
pub const MAX_RECORD: usize = 4096;

/// Hears what a discovery service finds. Called on the plugin's threads; must not block.
pub trait DiscoveryEvents: Send + Sync {
    /// A node was found, changed or lost. The record comes from the network: trust nothing in it. Returns whether there was
    /// room for it; if not, the plugin reports it again later.
    fn peer(&self, event: PeerEvent, record: Value) -> bool;
}

/// Something that a discovery service does until it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ongoing(u64);

/// A running discovery plugin.
#[derive(Clone)]
pub struct DiscoveryHandle(Arc<Instance>);

impl DiscoveryHandle {
    /// `None` for a plugin of another kind.
    pub(super) fn new(instance: Arc<Instance>) -> Option<Self> {
        matches!(instance.image.descriptor.vtable, Vtable::Discovery(_)).then_some(Self(instance))
    }

    fn vtable(&self) -> Option<abi::Discovery> {
        match &self.0.image.descriptor.vtable {
            Vtable::Discovery(vtable) => Some(*vtable),
            _ => None,
        }
    }

    /// Makes this node known, with its `peer` (64 hex digits) and `addresses` (transport URIs).
    ///
    /// # Errors
    /// When the plugin can't, hangs, or is stopped.
    pub async fn advertise(&self, record: &Value) -> Result<Ongoing, PluginError> {
        let f = self.vtable().and_then(|v| v.advertise);
        self.begin("advertise", f, record.to_string()).await
    }

    /// Begins to report the nodes of `service`.
    ///
    /// # Errors
    /// As for [`Self::advertise`].
    pub async fn browse(&self, service: &str) -> Result<Ongoing, PluginError> {
        let f = self.vtable().and_then(|v| v.browse);
        self.begin("browse", f, service.to_owned()).await
    }

    async fn begin(
        &self,
        call: &'static str,
        f: Option<unsafe extern "C" fn(*mut std::ffi::c_void, u64, Str) -> Status>,
        text: String,
    ) -> Result<Ongoing, PluginError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let begin = move |plugin, op| {
            let _ = sender.send(op);
            // SAFETY: `operate` is inside the gate; the text outlives the call.
            f.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, Str::new(&text)) })
        };
        self.0.operate(call, DISCOVERY_DEADLINE, begin).await?;
        receiver.await.map(Ongoing).map_err(|_| self.0.failed(call, Status::CLOSED, ""))
    }

    /// Ends what [`Self::advertise`] or [`Self::browse`] began.
    pub fn cancel(&self, what: Ongoing) {
        if let (Some(_pass), Some(f)) = (self.0.gate.enter(), self.vtable().and_then(|v| v.cancel)) {
            // SAFETY: the gate keeps the instance alive.
            unsafe { f(self.0.raw(), what.0) };
        }
    }

    /// The plugin's own figures, a JSON object.
    pub fn stats(&self) -> Value {
        self.0.stats()
    }
}

impl Port {
    /// A node was found, changed or lost.
    pub(super) fn discovered(&self, kind: u32, _op: u64, record: &str) -> Status {
        let Role::Discovery(events) = &self.role else { return Status::REFUSED };
        let event = match kind {
            abi::peer_event::FOUND => PeerEvent::Found,
            abi::peer_event::CHANGED => PeerEvent::Changed,
            abi::peer_event::LOST => PeerEvent::Lost,
            _ => return Status::UNSUPPORTED,
        };
        if record.len() > MAX_RECORD {
            return Status::INVALID;
        }
        let Ok(record) = serde_json::from_str(record) else { return Status::INVALID };
        if events.peer(event, record) { Status::OK } else { Status::BUSY }
    }
}
