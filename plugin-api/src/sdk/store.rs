#![allow(unsafe_code, reason = "the C entries of a store, and the host's function for it")]

use std::ffi::c_void;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use crate::abi::{self, Buf, HostStore, Out, Status, StoreItem, StoreSink, Str};
use crate::sdk::error::Error;
use crate::sdk::frames::owned;
use crate::sdk::glue::{begin, enter, write_json};
use crate::sdk::host::{Host, text};
use crate::sdk::op::Op;
use crate::sdk::plugin::Plugin;

/// Keeps envelopes. What `append` and `remove` did is durable (fsynced) once their [`Op`] is answered with success.
/// The functions with an [`Op`] must not block; `fetch` may, for the time of a disk access.
pub trait Store: Plugin {
    /// Opens the store in a folder that exists and belongs to the plugin. Called once, first.
    fn open(&self, op: Op, path: &Path);

    /// Stores all items or none.
    fn append(&self, op: Op, items: Vec<StoredItem>);

    /// Passes up to `limit` items for `recipient` with places after `cursor` to `sink`, in order, until it returns `false`.
    fn fetch(
        &self,
        recipient: &[u8; 32],
        cursor: u64,
        limit: u32,
        sink: &mut dyn FnMut(&StoredItem) -> bool,
    ) -> Result<(), Error>;

    /// Removes items by id; unknown ids are ignored.
    fn remove(&self, op: Op, ids: Vec<[u8; 32]>);

    /// Removes what has expired at `now_ms` (Unix time), and answers with how many, as a decimal number.
    fn expire(&self, op: Op, now_ms: u64);

    /// Figures for `qpq plugin list`: one JSON object.
    fn stats(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// One stored envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// The message id.
    pub id: [u8; 32],
    /// For whom it is kept.
    pub recipient: [u8; 32],
    /// When it dies, Unix time in milliseconds.
    pub expires_ms: u64,
    /// Its place in the recipient's queue; given by the store.
    pub cursor: u64,
    /// 0 low … 3 emergency.
    pub priority: u32,
    /// The envelope in wire form.
    pub envelope: Bytes,
}

/// The host's side of a store.
#[derive(Clone, Copy)]
pub struct StoreHost {
    host: Host,
    vtable: &'static HostStore,
}

impl std::fmt::Debug for StoreHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreHost")
    }
}

impl StoreHost {
    pub(crate) fn new(host: Host, vtable: &'static HostStore) -> Self {
        Self { host, vtable }
    }

    /// The store takes no more, and why; or takes again.
    pub fn read_only(&self, why: Option<&str>) {
        if let Some(f) = self.vtable.on_read_only {
            // SAFETY: `ctx` belongs to this host; the text outlives the call.
            unsafe { f(self.host.ctx(), Str::new(why.unwrap_or_default())) };
        }
    }
}

/// The vtable of store `P`.
pub const fn vtable<P: Store>() -> *const c_void {
    std::ptr::from_ref(Entries::<P>::VTABLE).cast()
}

struct Entries<P>(std::marker::PhantomData<P>);

impl<P: Store> Entries<P> {
    const VTABLE: &'static abi::Store = &abi::Store {
        size: size_of::<abi::Store>() as u32,
        rsvd: 0,
        open: Some(Self::open),
        append: Some(Self::append),
        fetch: Some(Self::fetch),
        remove: Some(Self::remove),
        expire: Some(Self::expire),
        stats: Some(Self::stats),
    };

    // SAFETY, for all of them: the host passes the pointer that `create` gave it, before `destroy`, and texts and arrays
    // that live for the call.

    unsafe extern "C" fn open(plugin: *mut c_void, op: u64, path: Str) -> Status {
        // SAFETY: see above.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.open(op, Path::new(text(path, "path")?));
                Ok(())
            })
        }
    }

    unsafe extern "C" fn append(plugin: *mut c_void, op: u64, items: *const StoreItem, n: usize) -> Status {
        // SAFETY: see above; with the OK that `begin` returns, the buffers are ours.
        unsafe {
            let items = if items.is_null() { &[] } else { std::slice::from_raw_parts(items, n) };
            let items = items.iter().map(|item| take_item(item)).collect();
            begin(plugin, op, |plugin: &P, op| {
                plugin.append(op, items);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn fetch(
        plugin: *mut c_void,
        recipient: *const u8,
        cursor: u64,
        limit: u32,
        sink: StoreSink,
    ) -> Status {
        // SAFETY: see above; `recipient` points to 32 bytes, the sink is valid during the call.
        unsafe {
            let (Some(recipient), Some(take)) = (recipient.cast::<[u8; 32]>().as_ref(), sink.item) else {
                return Status::INVALID;
            };
            let mut give = |item: &StoredItem| take(sink.ctx, &lend_item(item)) != 0;
            enter::<P, _>(plugin, Status::PANIC, |this| match this.plugin.fetch(recipient, cursor, limit, &mut give) {
                Ok(()) => Status::OK,
                Err(error) => {
                    this.host.warn(format!("fetch: {error}"));
                    error.status
                }
            })
        }
    }

    unsafe extern "C" fn remove(plugin: *mut c_void, op: u64, ids: *const u8, n: usize) -> Status {
        // SAFETY: see above; `ids` points to `n` ids of 32 bytes.
        unsafe {
            let ids = if ids.is_null() { &[] } else { std::slice::from_raw_parts(ids.cast::<[u8; 32]>(), n) };
            begin(plugin, op, |plugin: &P, op| {
                plugin.remove(op, ids.to_vec());
                Ok(())
            })
        }
    }

    unsafe extern "C" fn expire(plugin: *mut c_void, op: u64, now_ms: u64) -> Status {
        // SAFETY: see above.
        unsafe {
            begin(plugin, op, |plugin: &P, op| {
                plugin.expire(op, now_ms);
                Ok(())
            })
        }
    }

    unsafe extern "C" fn stats(plugin: *mut c_void, out: Out) -> Status {
        // SAFETY: see above.
        unsafe { enter::<P, _>(plugin, Status::PANIC, |this| write_json(out, &this.plugin.stats())) }
    }
}

/// # Safety
/// The item's buffer belongs to the caller, and is used once.
unsafe fn take_item(item: &StoreItem) -> StoredItem {
    StoredItem {
        id: item.id,
        recipient: item.recipient,
        expires_ms: item.expires_ms,
        cursor: item.cursor,
        priority: item.priority,
        // SAFETY: handed on to the caller.
        envelope: unsafe { owned(&item.envelope) },
    }
}

fn lend_item(item: &StoredItem) -> StoreItem {
    StoreItem {
        id: item.id,
        recipient: item.recipient,
        expires_ms: item.expires_ms,
        cursor: item.cursor,
        priority: item.priority,
        rsvd: 0,
        envelope: Buf {
            data: item.envelope.as_ptr(),
            len: item.envelope.len(),
            owner: std::ptr::null_mut(),
            release: None,
        },
    }
}
