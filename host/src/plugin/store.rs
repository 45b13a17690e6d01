//! Store plugins: a thin handle over their calls.
#![allow(unsafe_code, reason = "calls the plugin's functions")]

use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qpq_plugin_api::abi::{self, Buf, StoreItem, StoreSink, Str};
use qpq_plugin_api::{Status, StoredItem};
use serde_json::Value;

use super::descriptor::Vtable;
use super::error::PluginError;
use super::instance::{Instance, run};

/// How long a store may take for one operation.
pub const STORE_DEADLINE: Duration = Duration::from_secs(30);
/// The most items in one answer of [`StoreHandle::fetch`].
pub const MAX_FETCH: u32 = 1024;

/// Hears what a store reports. Called on the plugin's threads; must not block.
pub trait StoreEvents: Send + Sync {
    /// The store takes no more, and why; or takes again.
    fn read_only(&self, why: Option<&str>);
}

/// A running store plugin.
#[derive(Clone)]
pub struct StoreHandle(Arc<Instance>);

impl StoreHandle {
    /// `None` for a plugin of another kind.
    pub(super) fn new(instance: Arc<Instance>) -> Option<Self> {
        matches!(instance.image.descriptor.vtable, Vtable::Store(_)).then_some(Self(instance))
    }

    fn vtable(&self) -> Option<abi::Store> {
        match &self.0.image.descriptor.vtable {
            Vtable::Store(vtable) => Some(*vtable),
            _ => None,
        }
    }

    /// Opens the store in a folder that exists. Once, before anything else.
    ///
    /// # Errors
    /// When the plugin can't, hangs, or is stopped. So it is for the other calls.
    pub async fn open(&self, folder: &Path) -> Result<(), PluginError> {
        let (f, path) = (self.vtable().and_then(|v| v.open), folder.display().to_string());
        let begin = move |plugin, op| {
            // SAFETY: `operate` is inside the gate; the text outlives the call.
            f.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, Str::new(&path)) })
        };
        self.0.operate("open", STORE_DEADLINE, begin).await.map(drop)
    }

    /// Stores all items or none; they are durable after the return.
    pub async fn append(&self, items: Vec<StoredItem>) -> Result<(), PluginError> {
        let f = self.vtable().and_then(|v| v.append);
        let begin = move |plugin, op| {
            let Some(f) = f else { return Status::UNSUPPORTED };
            let given: Vec<StoreItem> = items.iter().map(give).collect();
            // SAFETY: `operate` is inside the gate; the array outlives the call.
            let status = unsafe { f(plugin, op, given.as_ptr(), given.len()) };
            if !status.is_ok() {
                given.iter().for_each(take_back);
            }
            status
        };
        self.0.operate("append", STORE_DEADLINE, begin).await.map(drop)
    }

    /// Up to `limit` items for a recipient, with places after `cursor`.
    pub async fn fetch(&self, recipient: [u8; 32], cursor: u64, limit: u32) -> Result<Vec<StoredItem>, PluginError> {
        let me = self.clone();
        let limit = limit.min(MAX_FETCH);
        let work = move || me.fetch_here(&recipient, cursor, limit);
        run(self.0.name(), "fetch", STORE_DEADLINE, work).await?.map_err(|status| self.0.failed("fetch", status, ""))
    }

    fn fetch_here(&self, recipient: &[u8; 32], cursor: u64, limit: u32) -> Result<Vec<StoredItem>, Status> {
        let _pass = self.0.gate.enter().ok_or(Status::CLOSED)?;
        let f = self.vtable().and_then(|v| v.fetch).ok_or(Status::UNSUPPORTED)?;
        let mut found = Found { items: Vec::new(), limit: limit as usize };
        let sink = StoreSink { ctx: (&raw mut found).cast(), item: Some(Found::take) };
        // SAFETY: inside the gate; key and sink outlive the call.
        let status = unsafe { f(self.0.raw(), recipient.as_ptr(), cursor, limit, sink) };
        if status.is_ok() { Ok(found.items) } else { Err(status) }
    }

    /// Removes items by id; durable after the return.
    pub async fn remove(&self, ids: Vec<[u8; 32]>) -> Result<(), PluginError> {
        let f = self.vtable().and_then(|v| v.remove);
        let begin = move |plugin, op| {
            // SAFETY: `operate` is inside the gate; the ids outlive the call.
            f.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, ids.as_ptr().cast(), ids.len()) })
        };
        self.0.operate("remove", STORE_DEADLINE, begin).await.map(drop)
    }

    /// Removes what has expired at `now_ms` (Unix time); returns how many items, where the plugin says.
    pub async fn expire(&self, now_ms: u64) -> Result<Option<u64>, PluginError> {
        let f = self.vtable().and_then(|v| v.expire);
        let begin = move |plugin, op| {
            // SAFETY: `operate` is inside the gate.
            f.map_or(Status::UNSUPPORTED, |f| unsafe { f(plugin, op, now_ms) })
        };
        self.0.operate("expire", STORE_DEADLINE, begin).await.map(|done| done.detail.parse().ok())
    }

    /// The plugin's own figures, a JSON object.
    pub fn stats(&self) -> Value {
        self.0.stats()
    }
}

/// What `fetch` hands over.
struct Found {
    items: Vec<StoredItem>,
    limit: usize,
}

impl Found {
    unsafe extern "C" fn take(ctx: *mut c_void, item: *const StoreItem) -> u32 {
        // SAFETY: `fetch_here` passes a `Found` that lives for the call; the item lives for this one.
        let (Some(found), Some(item)) = (unsafe { ctx.cast::<Self>().as_mut() }, unsafe { item.as_ref() }) else {
            return 0;
        };
        let envelope = abi::Slice { ptr: item.envelope.data, len: item.envelope.len };
        // SAFETY: borrowed for this call, and copied.
        let Ok(envelope) = (unsafe { envelope.get() }) else { return 0 };
        if found.items.len() < found.limit {
            found.items.push(StoredItem {
                id: item.id,
                recipient: item.recipient,
                expires_ms: item.expires_ms,
                cursor: item.cursor,
                priority: item.priority,
                envelope: Bytes::copy_from_slice(envelope),
            });
        }
        u32::from(found.items.len() < found.limit)
    }
}

/// An item whose buffer the plugin will own.
fn give(item: &StoredItem) -> StoreItem {
    let owner = Box::new(item.envelope.clone());
    let envelope =
        Buf { data: owner.as_ptr(), len: owner.len(), owner: Box::into_raw(owner).cast(), release: Some(release) };
    StoreItem {
        id: item.id,
        recipient: item.recipient,
        expires_ms: item.expires_ms,
        cursor: 0,
        priority: item.priority,
        rsvd: 0,
        envelope,
    }
}

fn take_back(item: &StoreItem) {
    // SAFETY: the plugin refused the batch, so the buffers made by `give` are still ours.
    unsafe { release(item.envelope.owner) };
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `give` made it of a boxed `Bytes`; each is released once.
    drop(unsafe { Box::from_raw(owner.cast::<Bytes>()) });
}
