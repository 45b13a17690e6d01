#![allow(unsafe_code, reason = "calls the function pointers that the host handed over")]

use std::ffi::c_void;

use crate::abi::{self, HostIdentity, Slice, Status, Str, interface, log_level};
use crate::sdk::discovery::DiscoveryHost;
use crate::sdk::error::Error;
use crate::sdk::identity::Identity;
use crate::sdk::op::Op;
use crate::sdk::store::StoreHost;
use crate::sdk::transport::TransportHost;

/// A handle to the host, for one instance of a plugin. Copy it wherever it is needed, also to other threads; it stays
/// usable until the process ends (after `stop` its calls do nothing).
#[derive(Clone, Copy)]
pub struct Host(&'static abi::Host);

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({:p})", self.0.ctx)
    }
}

impl Host {
    /// Wraps the host's struct. `None` when it is NULL or smaller than the first revision.
    ///
    /// # Safety
    /// `host` is NULL or points to a host struct, as long as its `size` says, that lives until the process ends.
    pub unsafe fn from_raw(host: *const abi::Host) -> Option<Self> {
        // SAFETY: the caller vouches for a non-NULL pointer.
        let host = unsafe { host.as_ref() }?;
        (host.size as usize >= size_of::<abi::Host>()).then_some(Self(host))
    }

    pub(crate) fn ctx(self) -> *mut c_void {
        self.0.ctx
    }

    /// Whether the host wants messages of that level (see [`abi::log_level`]).
    pub fn wants(self, level: u32) -> bool {
        // SAFETY: `ctx` belongs to this struct.
        self.0.log_level.is_some_and(|f| level <= unsafe { f(self.0.ctx) })
    }

    /// Logs a message under a target such as `quic::dial`.
    pub fn log(self, level: u32, target: &str, message: &str) {
        self.log_fields(level, target, message, "");
    }

    /// Logs a message with fields: a JSON object, or nothing.
    pub fn log_fields(self, level: u32, target: &str, message: &str, fields_json: &str) {
        if let (true, Some(f)) = (self.wants(level), self.0.log) {
            // SAFETY: `ctx` belongs to this struct; the texts outlive the call.
            unsafe { f(self.0.ctx, level, Str::new(target), Str::new(message), Str::new(fields_json)) };
        }
    }

    /// Logs an error.
    pub fn error(self, message: impl AsRef<str>) {
        self.log(log_level::ERROR, "plugin", message.as_ref());
    }

    /// Logs a warning.
    pub fn warn(self, message: impl AsRef<str>) {
        self.log(log_level::WARN, "plugin", message.as_ref());
    }

    /// Logs what an admin wants to know.
    pub fn info(self, message: impl AsRef<str>) {
        self.log(log_level::INFO, "plugin", message.as_ref());
    }

    /// Logs what the plugin's author wants to know.
    pub fn debug(self, message: impl AsRef<str>) {
        self.log(log_level::DEBUG, "plugin", message.as_ref());
    }

    /// Reports that this instance can't go on. The host stops it and starts another after a while.
    pub fn fail(self, error: &Error) {
        if let Some(f) = self.0.fail {
            // SAFETY: `ctx` belongs to this struct; the text outlives the call.
            unsafe { f(self.0.ctx, error.status, Str::new(&error.message)) };
        }
    }

    /// The operation of that number; `None` for 0.
    pub(crate) fn op(self, id: u64) -> Op {
        Op::new(self, id)
    }

    pub(crate) fn op_done(self, id: u64, status: Status, detail: &str) {
        if let Some(f) = self.0.op_done {
            // SAFETY: `ctx` belongs to this struct; the text outlives the call.
            unsafe { f(self.0.ctx, id, status, Str::new(detail)) };
        }
    }

    /// The host's side of a transport.
    pub fn transport(self) -> Result<TransportHost, Error> {
        self.vtable(interface::HOST_TRANSPORT).map(|vtable| TransportHost::new(self, vtable))
    }

    /// The host's side of a discovery service.
    pub fn discovery(self) -> Result<DiscoveryHost, Error> {
        self.vtable(interface::HOST_DISCOVERY).map(|vtable| DiscoveryHost::new(self, vtable))
    }

    /// The host's side of a store.
    pub fn store(self) -> Result<StoreHost, Error> {
        self.vtable(interface::HOST_STORE).map(|vtable| StoreHost::new(self, vtable))
    }

    /// Signing with the node's identity.
    pub fn identity(self) -> Result<Identity, Error> {
        let found = self.find(interface::HOST_IDENTITY)?.cast::<HostIdentity>();
        let missing = || missing(interface::HOST_IDENTITY);
        // SAFETY: the interface's id says what stands there: static, and it begins with its size.
        let size = unsafe { found.cast::<u32>().as_ref() }.map_or(0, |size| *size as usize);
        if size < HostIdentity::SIZE_1_0 {
            return Err(missing());
        }
        let mut vtable =
            HostIdentity { size: 0, rsvd: 0, public_key: None, sign: None, transport_subkey: None, secret: None };
        let known = size.min(size_of::<HostIdentity>());
        // SAFETY: the host's struct has `size` bytes, this one at least `known`; both hold pointers that may be NULL.
        unsafe { std::ptr::copy_nonoverlapping(found.cast::<u8>(), (&raw mut vtable).cast::<u8>(), known) };
        Ok(Identity::new(self, vtable))
    }

    fn find(self, id: &'static str) -> Result<*const c_void, Error> {
        let find = self.0.get_interface.ok_or_else(|| missing(id))?;
        // SAFETY: `ctx` belongs to this struct; the text outlives the call.
        Ok(unsafe { find(self.0.ctx, Str::new(id)) })
    }

    pub(crate) fn vtable<V: HostVtable>(self, id: &'static str) -> Result<&'static V, Error> {
        let missing = || missing(id);
        let vtable = self.find(id)?.cast::<V>();
        // SAFETY: the interface's id says what stands there: static, and as long as its size field says.
        let vtable = unsafe { vtable.as_ref() }.ok_or_else(missing)?;
        if (vtable.size() as usize) < size_of::<V>() { Err(missing()) } else { Ok(vtable) }
    }
}

fn missing(id: &str) -> Error {
    Error::unsupported(format!("the host does not offer {id}; a newer qpq does"))
}

/// A vtable of the host that begins with its size.
pub(crate) trait HostVtable: 'static {
    fn size(&self) -> u32;
}

macro_rules! host_vtables {
    ($($name:ident),*) => {$(
        impl HostVtable for abi::$name {
            fn size(&self) -> u32 {
                self.size
            }
        }
    )*};
}
host_vtables!(HostTransport, HostDiscovery, HostRouting, HostStore);

/// The text of the other side, or why it is none.
///
/// # Safety
/// As for [`Str::get`].
pub(crate) unsafe fn text<'a>(value: Str, what: &str) -> Result<&'a str, Error> {
    // SAFETY: handed on to the caller.
    unsafe { value.get() }.map_err(|e| Error::invalid(format!("the host passed a bad {what}: {e}")))
}

/// The bytes of the other side, or why there are none.
///
/// # Safety
/// As for [`Slice::get`].
pub(crate) unsafe fn bytes<'a>(value: Slice, what: &str) -> Result<&'a [u8], Error> {
    // SAFETY: handed on to the caller.
    unsafe { value.get() }.map_err(|e| Error::invalid(format!("the host passed a bad {what}: {e}")))
}
