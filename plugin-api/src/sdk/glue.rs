#![allow(unsafe_code, reason = "the C entries of a plugin's life")]

use std::ffi::c_void;
use std::sync::{Once, PoisonError, RwLock};
use std::time::Duration;

use crate::abi::{self, ABI_MAJOR, ABI_MINOR, MAGIC, Out, Status, Str, plugin_flags};
use crate::sdk::error::Error;
use crate::sdk::guard::catch;
use crate::sdk::host::{Host, text};
use crate::sdk::op::Op;
use crate::sdk::plugin::Plugin;

/// What stands behind the `void *` of an instance.
pub(crate) struct Instance<P> {
    pub(crate) host: Host,
    pub(crate) plugin: P,
}

/// Calls `work` with the instance; a panic is reported as its failure and answered with `otherwise`.
///
/// # Safety
/// `instance` is NULL or came from [`Exported::<P>`]'s `create` and was not destroyed yet.
pub(crate) unsafe fn enter<P: 'static, R>(
    instance: *mut c_void,
    otherwise: R,
    work: impl FnOnce(&Instance<P>) -> R,
) -> R {
    // SAFETY: the caller vouches for the pointer.
    let Some(instance) = (unsafe { instance.cast::<Instance<P>>().as_ref() }) else { return otherwise };
    match catch(|| work(instance)) {
        Ok(value) => value,
        Err(panic) => {
            instance.host.fail(&Error::new(Status::PANIC, format!("the plugin panicked: {}", panic.0)));
            otherwise
        }
    }
}

/// As [`enter`], for calls that begin an operation: a panic answers it too, through the drop of [`Op`].
///
/// # Safety
/// As for [`enter`].
pub(crate) unsafe fn begin<P: 'static>(
    instance: *mut c_void,
    op: u64,
    work: impl FnOnce(&P, Op) -> Result<(), Error>,
) -> Status {
    // SAFETY: handed on to the caller. OK after a panic, since dropping the operation has answered it.
    unsafe {
        enter(instance, Status::OK, |instance: &Instance<P>| {
            if let Err(error) = work(&instance.plugin, instance.host.op(op)) {
                instance.host.warn(error.to_string());
            }
            Status::OK
        })
    }
}

/// Writes a JSON value to where the host wants it.
pub(crate) fn write_json(out: Out, value: &serde_json::Value) -> Status {
    let Some(write) = out.write else { return Status::INVALID };
    let text = value.to_string();
    // SAFETY: the host says that `out` is valid during the call; the text outlives it.
    unsafe { write(out.ctx, Str::new(&text)) };
    Status::OK
}

/// The parts of a descriptor that [`export_plugin!`](crate::export_plugin) takes from its caller.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// See [`abi::Plugin::id`].
    pub id: &'static str,
    /// See [`abi::Plugin::kind`].
    pub kind: &'static str,
    /// See [`abi::Plugin::version`].
    pub version: &'static str,
    /// See [`abi::Plugin::licence`].
    pub licence: &'static str,
    /// See [`abi::Plugin::interfaces`].
    pub interfaces: &'static str,
    /// See [`abi::Plugin::needs`].
    pub needs: &'static str,
    /// See [`abi::Plugin::config_schema`].
    pub config_schema: &'static str,
    /// See [`abi::Plugin::schemes`].
    pub schemes: &'static str,
    /// Whether two instances can't work side by side.
    pub exclusive: bool,
    /// Whether they can but for their ports.
    pub overlaps: bool,
    /// Whether the plugin's crate was built with unwinding panics.
    pub unwinds: bool,
}

/// The C entries of plugin type `P`.
#[derive(Debug)]
pub struct Exported<P>(std::marker::PhantomData<P>);

impl<P: Plugin> Exported<P> {
    /// The descriptor of `P`.
    pub const fn descriptor(parts: Parts, get_interface: unsafe extern "C" fn(Str) -> *const c_void) -> abi::Plugin {
        let unwinds = if parts.unwinds { plugin_flags::PANIC_UNWIND } else { 0 };
        let exclusive = if parts.exclusive { plugin_flags::NEEDS_EXCLUSIVE } else { 0 };
        let overlaps = if parts.overlaps { plugin_flags::OVERLAPS } else { 0 };
        abi::Plugin {
            magic: MAGIC,
            size: size_of::<abi::Plugin>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            flags: unwinds | exclusive | overlaps,
            id: Str::new(parts.id),
            kind: Str::new(parts.kind),
            version: Str::new(parts.version),
            build: Str::new(concat!("Rust, qpq-plugin-api ", env!("CARGO_PKG_VERSION"))),
            licence: Str::new(parts.licence),
            interfaces: Str::new(parts.interfaces),
            needs: Str::new(parts.needs),
            config_schema: Str::new(parts.config_schema),
            create: Some(Self::create),
            start: Some(Self::start),
            quiesce: Some(Self::quiesce),
            stop: Some(Self::stop),
            destroy: Some(Self::destroy),
            get_interface: Some(get_interface),
            schemes: Str::new(parts.schemes),
        }
    }

    unsafe extern "C" fn create(host: *const abi::Host, instance: Str, config: Str, out: *mut *mut c_void) -> Status {
        // SAFETY: the host passes a struct that lives until the process ends.
        let Some(host) = (unsafe { Host::from_raw(host) }) else { return Status::INVALID };
        install_panic_hook(host);
        // SAFETY: the host lends both texts for the call.
        let made = catch(|| unsafe { make::<P>(host, instance, config) });
        let error = match made {
            Ok(Ok(made)) if !out.is_null() => {
                // SAFETY: not NULL, and the host's to be written.
                unsafe { *out = Box::into_raw(made).cast() };
                return Status::OK;
            }
            Ok(Ok(_)) => Error::invalid("the host passed no place for the instance"),
            Ok(Err(error)) => error,
            Err(panic) => Error::new(Status::PANIC, format!("the plugin panicked in create: {}", panic.0)),
        };
        host.fail(&error);
        error.status
    }

    unsafe extern "C" fn start(plugin: *mut c_void, op: u64) -> Status {
        // SAFETY: the host passes what `create` gave it, before `destroy`.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.start(op);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn quiesce(plugin: *mut c_void, op: u64, deadline_ms: u32) -> Status {
        let deadline = Duration::from_millis(deadline_ms.into());
        // SAFETY: as for `start`.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.quiesce(op, deadline);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn stop(plugin: *mut c_void, deadline_ms: u32) -> Status {
        // SAFETY: as for `start`.
        unsafe {
            enter(plugin, Status::PANIC, |instance: &Instance<P>| {
                match instance.plugin.stop(Duration::from_millis(deadline_ms.into())) {
                    Ok(()) => Status::OK,
                    Err(error) => {
                        instance.host.warn(format!("stop: {error}"));
                        error.status
                    }
                }
            })
        }
    }

    unsafe extern "C" fn destroy(plugin: *mut c_void) {
        if plugin.is_null() {
            return;
        }
        // SAFETY: `create` made it with `Box::into_raw`, and the host calls this once, last.
        let instance = unsafe { Box::from_raw(plugin.cast::<Instance<P>>()) };
        let host = instance.host;
        if let Err(panic) = catch(|| drop(instance)) {
            host.error(format!("the plugin panicked in destroy: {}", panic.0));
        }
    }
}

/// # Safety
/// Both texts must be readable for the call.
unsafe fn make<P: Plugin>(host: Host, instance: Str, config: Str) -> Result<Box<Instance<P>>, Error> {
    // SAFETY: handed on to the caller.
    let (instance, config) = unsafe { (text(instance, "instance name")?, text(config, "configuration")?) };
    let config = if config.is_empty() { serde_json::json!({}) } else { serde_json::from_str(config)? };
    Ok(Box::new(Instance { host, plugin: P::create(host, instance, config)? }))
}

/// The vtable of `id` among those offered, or NULL.
///
/// # Safety
/// `id` must be readable for the call.
pub unsafe fn find_interface(id: Str, offered: &[(&str, *const c_void)]) -> *const c_void {
    // SAFETY: handed on to the caller.
    let Ok(id) = (unsafe { id.get() }) else { return std::ptr::null() };
    offered.iter().find(|(name, _)| *name == id).map_or(std::ptr::null(), |(_, vtable)| *vtable)
}

static PANIC_LOG: RwLock<Option<Host>> = RwLock::new(None);
static PANIC_HOOK: Once = Once::new();

/// Sends the panic messages of this library (each has a hook of its own) to the host's log, not to the terminal.
fn install_panic_hook(host: Host) {
    *PANIC_LOG.write().unwrap_or_else(PoisonError::into_inner) = Some(host);
    PANIC_HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let host = *PANIC_LOG.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(host) = host {
                host.error(format!("panic: {info}"));
            }
        }));
    });
}
