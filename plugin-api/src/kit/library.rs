//! The library under trial.
#![allow(unsafe_code, reason = "maps a library and reads what it exports")]

use std::path::Path;

use libloading::os::unix::{Library as Mapped, RTLD_LOCAL, RTLD_NOW};

use super::case::Stop;
use super::catalogue::Kind;
use super::stage::within;
use crate::abi::{self, ENTRY_SYMBOL, EntryFn, Str, interface};

/// A library in memory, for as long as the process. Its descriptor has passed the checks of `qpq plugin check` before.
pub(super) struct Library {
    entry: EntryFn,
    /// The descriptor.
    pub(super) plugin: &'static abi::Plugin,
}

impl Library {
    pub(super) fn open(file: &Path) -> Result<Self, Stop> {
        // SAFETY: initialisers of the library run here, in a process that was made for it.
        let library = unsafe { Mapped::open(Some(file), RTLD_NOW | RTLD_LOCAL) };
        let library = library.map_err(|error| Stop::failed(format!("the library does not load: {error}")))?;
        // SAFETY: the symbol's name carries the version of its type.
        let entry = unsafe { library.get::<EntryFn>(ENTRY_SYMBOL.as_bytes()) }.map(|symbol| *symbol);
        let entry = entry.map_err(|_| Stop::failed(format!("the library does not export {ENTRY_SYMBOL}")))?;
        let _ = library.into_raw();
        // SAFETY: pure by the ABI.
        let at = unsafe { entry() };
        if at.is_null() {
            return Err(Stop::failed("the entry returned NULL"));
        }
        // SAFETY: a descriptor that passed the checks is static, and as long as its size says.
        let plugin = unsafe { abridged(at.cast(), std::mem::offset_of!(abi::Plugin, size)) };
        Ok(Self { entry, plugin: Box::leak(Box::new(plugin)) })
    }

    /// Where the entry says that the descriptor is.
    pub(super) fn entry(&self) -> *const abi::Plugin {
        // SAFETY: pure by the ABI.
        unsafe { (self.entry)() }
    }

    /// A text of the descriptor.
    pub(super) fn text(text: Str) -> &'static str {
        // SAFETY: texts of a descriptor are static.
        unsafe { text.get() }.unwrap_or_default()
    }

    pub(super) fn id(&self) -> &'static str {
        Self::text(self.plugin.id)
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of(Self::text(self.plugin.kind))
    }

    /// Where the plugin says that the vtable of that interface is.
    pub(super) fn vtable(&self, id: Str) -> *const u8 {
        let Some(find) = self.plugin.get_interface else { return std::ptr::null() };
        // SAFETY: the text outlives the call.
        within("get_interface", || unsafe { find(id) }).cast()
    }

    fn read<T: Copy>(&self, id: &str) -> Result<T, Stop> {
        let at = self.vtable(Str::new(id));
        if at.is_null() {
            return Err(Stop::failed(format!("get_interface returned NULL for {id}")));
        }
        // SAFETY: a vtable begins with its size, and is as long.
        Ok(unsafe { abridged(at, 0) })
    }

    pub(super) fn transport(&self) -> Result<abi::Transport, Stop> {
        self.read(interface::TRANSPORT)
    }

    pub(super) fn discovery(&self) -> Result<abi::Discovery, Stop> {
        self.read(interface::DISCOVERY)
    }

    pub(super) fn routing(&self) -> Result<abi::Routing, Stop> {
        self.read(interface::ROUTING)
    }
}

/// A struct of which the plugin has as many bytes as it says at the place `size`; what it lacks is NULL or no text.
///
/// # Safety
/// `at` points to such a struct, and zeros are valid for each field of `T`.
unsafe fn abridged<T: Copy>(at: *const u8, size: usize) -> T {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: handed on to the caller.
    unsafe {
        let known = (at.add(size).cast::<u32>().read() as usize).min(size_of::<T>());
        std::ptr::copy_nonoverlapping(at, value.as_mut_ptr().cast(), known);
        value.assume_init()
    }
}
