//! The bots' own data, in the store's key-value space: `bot/NAME\0KEY`.

use std::sync::Arc;

use futures::FutureExt;

use super::shared::Shared;
use crate::api::{ApiError, Reply};
use crate::script::{BotStore, StoreOp, StoredEntry};
use crate::store::MAX_SCAN;

pub(super) struct KvBotStore(pub(super) Arc<Shared>);

fn prefix(bot: &str) -> Vec<u8> {
    [b"bot/", bot.as_bytes(), b"\0"].concat()
}

/// A value with its end in front of it: 8 bytes big-endian, 0 for none.
fn pack(value: &[u8], expires_ms: Option<u64>) -> Vec<u8> {
    [&expires_ms.unwrap_or(0).to_be_bytes(), value].concat()
}

fn unpack(packed: &[u8]) -> Option<(Vec<u8>, Option<u64>)> {
    let (end, value) = packed.split_first_chunk::<8>()?;
    let end = u64::from_be_bytes(*end);
    Some((value.to_vec(), (end != 0).then_some(end)))
}

impl BotStore for KvBotStore {
    fn load(&self, bot: &str) -> Reply<Vec<StoredEntry>> {
        let (shared, prefix) = (Arc::clone(&self.0), prefix(bot));
        let load = move || {
            let mut entries = Vec::new();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = shared.store.kv_scan(&prefix, after.as_deref(), MAX_SCAN);
                let page = page.map_err(|error| ApiError::new(error.code(), error.to_string()))?;
                let Some((last, _)) = page.last() else { return Ok(entries) };
                after = Some(last.clone());
                entries.extend(page.iter().filter_map(|(key, packed)| {
                    let (value, end) = unpack(packed)?;
                    Some((key.get(prefix.len()..)?.to_vec(), value, end))
                }));
            }
        };
        async move { tokio::task::spawn_blocking(load).await.map_err(|error| ApiError::new("internal", error.to_string()))? }
            .boxed()
    }

    fn commit(&self, bot: &str, ops: Vec<StoreOp>) -> Reply<()> {
        let (shared, prefix) = (Arc::clone(&self.0), prefix(bot));
        let change = |op| match op {
            StoreOp::Put { key, value, expires_ms } => ([&prefix[..], &key].concat(), Some(pack(&value, expires_ms))),
            StoreOp::Delete { key } => ([&prefix[..], &key].concat(), None),
        };
        let kv = ops.into_iter().map(change).collect();
        shared.keep(kv)
    }
}
