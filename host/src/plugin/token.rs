//! The token that a plugin holds as `ctx`: alive while its instance is, a tombstone for ever after.
#![allow(unsafe_code, reason = "tokens cross the boundary as raw pointers")]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use qpq_plugin_api::abi;

use super::port::Port;
use super::vtables;

/// One instance's token. It is leaked on purpose (about 200 bytes for each start of a plugin), so that a thread that
/// outlives its instance finds it.
pub(super) struct Token {
    name: String,
    port: RwLock<Option<Arc<Port>>>,
    late: AtomicU64,
}

impl Token {
    /// A live token, and the host struct that carries it.
    pub(super) fn leak(port: Arc<Port>) -> (&'static Self, &'static abi::Host) {
        let name = port.name().to_owned();
        let token: &'static Self =
            Box::leak(Box::new(Self { name, port: RwLock::new(Some(port)), late: AtomicU64::new(0) }));
        let ctx = std::ptr::from_ref(token).cast_mut().cast();
        (token, Box::leak(Box::new(vtables::host(ctx))))
    }

    /// The token behind a `ctx`.
    ///
    /// # Safety
    /// `ctx` is NULL or was made by [`Self::leak`].
    pub(super) unsafe fn from_ctx(ctx: *mut c_void) -> Option<&'static Self> {
        // SAFETY: tokens are never freed.
        unsafe { ctx.cast::<Self>().as_ref() }
    }

    /// What the token stands for; `None`, and counted, after the instance's end.
    pub(super) fn port(&self) -> Option<Arc<Port>> {
        let port = self.port.read().unwrap_or_else(PoisonError::into_inner).clone();
        if port.is_none() && self.late.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(plugin = %self.name, "the plugin called after its stop: a thread has outlived it (ignored)");
        }
        port
    }

    /// From now on every call gets CLOSED.
    pub(super) fn bury(&self) {
        let port = self.port.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(port) = port {
            port.close();
        }
    }

    /// How many calls came after the end.
    pub(super) fn late_calls(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }
}
