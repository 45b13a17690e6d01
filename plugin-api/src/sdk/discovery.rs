#![allow(unsafe_code, reason = "the C entries of a discovery service, and the host's function for it")]

use std::ffi::c_void;

use serde_json::Value;

use crate::abi::{self, HostDiscovery, Out, Status, Str, peer_event};
use crate::sdk::error::Error;
use crate::sdk::glue::{begin, enter, write_json};
use crate::sdk::host::{Host, text};
use crate::sdk::op::Op;
use crate::sdk::plugin::Plugin;

/// Finds other nodes and makes this one known. Every function may be called on any thread and must not block.
pub trait Discovery: Plugin {
    /// Makes this node known until `cancel` with [`Op::id`]; answers once it is announced. The record has `peer` (64 hex
    /// digits) and `addresses` (transport URIs).
    fn advertise(&self, op: Op, record: Value);

    /// Reports the nodes of `service` until `cancel` with [`Op::id`]; answers once it watches.
    fn browse(&self, op: Op, service: &str);

    /// Ends what that operation began. Unknown ones are ignored.
    fn cancel(&self, op: u64);

    /// Figures for `qpq plugin list`: one JSON object.
    fn stats(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// What happened to a node that discovery watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerEvent {
    /// It was found.
    Found = peer_event::FOUND,
    /// Its record is another one now.
    Changed = peer_event::CHANGED,
    /// It is gone.
    Lost = peer_event::LOST,
}

/// The host's side of a discovery service.
#[derive(Clone, Copy)]
pub struct DiscoveryHost {
    host: Host,
    vtable: &'static HostDiscovery,
}

impl std::fmt::Debug for DiscoveryHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiscoveryHost")
    }
}

impl DiscoveryHost {
    pub(crate) fn new(host: Host, vtable: &'static HostDiscovery) -> Self {
        Self { host, vtable }
    }

    /// Reports a node for the browse operation `op`. An error means that the host had no room: report it again later.
    pub fn peer(&self, event: PeerEvent, op: u64, record: &Value) -> Result<(), Error> {
        let json = record.to_string();
        let f = self.vtable.on_peer.ok_or_else(|| Error::unsupported("the host does not take discovered nodes"))?;
        // SAFETY: `ctx` belongs to this host; the text outlives the call.
        let status = unsafe { f(self.host.ctx(), event as u32, op, Str::new(&json)) };
        Error::check(status, "the host did not take the node")
    }
}

/// The vtable of discovery service `P`.
pub const fn vtable<P: Discovery>() -> *const c_void {
    std::ptr::from_ref(Entries::<P>::VTABLE).cast()
}

struct Entries<P>(std::marker::PhantomData<P>);

impl<P: Discovery> Entries<P> {
    const VTABLE: &'static abi::Discovery = &abi::Discovery {
        size: size_of::<abi::Discovery>() as u32,
        rsvd: 0,
        advertise: Some(Self::advertise),
        browse: Some(Self::browse),
        cancel: Some(Self::cancel),
        stats: Some(Self::stats),
    };

    // SAFETY, for all of them: the host passes the pointer that `create` gave it, before `destroy`, and texts that live
    // for the call.

    unsafe extern "C" fn advertise(plugin: *mut c_void, op: u64, record: Str) -> Status {
        // SAFETY: see above.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.advertise(op, serde_json::from_str(text(record, "record")?)?);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn browse(plugin: *mut c_void, op: u64, service: Str) -> Status {
        // SAFETY: see above.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.browse(op, text(service, "service")?);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn cancel(plugin: *mut c_void, op: u64) -> Status {
        // SAFETY: see above.
        unsafe {
            enter::<P, _>(plugin, Status::PANIC, |this| {
                this.plugin.cancel(op);
                Status::OK
            })
        }
    }

    unsafe extern "C" fn stats(plugin: *mut c_void, out: Out) -> Status {
        // SAFETY: see above.
        unsafe { enter::<P, _>(plugin, Status::PANIC, |this| write_json(out, &this.plugin.stats())) }
    }
}
