//! What the data directory holds: identity, directory, channels, store.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use qpq_schemas::PeerId;
use tracing::{error, info, warn};

use super::channels::Channels;
use super::clock::now_ms;
use super::index::{StoredIndex, build};
use super::listener::RECORD_PREFIX;
use super::mailboxes::{MAILBOX_PREFIX, Mailboxes};
use super::shared::Guarded;
use super::{StartError, door, plugins};
use crate::api::Trust;
use crate::config::Config;
use crate::core::federation::{GATEWAY_PREFIX, gateway_of};
use crate::core::shelf::Shelf;
use crate::core::{Core, CoreConfig, Event};
use crate::identity::{self, Directory, SealingKeys};
use crate::store::{Batch, Found, IndexPlace, MAX_SCAN, Store, StoreError};

/// What the disk held.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) core: Core,
    pub(super) identity: Arc<identity::Identity>,
    pub(super) guarded: Guarded,
    pub(super) last_inbox: u64,
}

/// Reads everything that the data directory holds. Blocks on the disk.
pub(super) fn open(config: &Config) -> Result<Opened, StartError> {
    let now_ms = now_ms();
    let (identity, directory) = identity::open(&config.home, &mut rand::rng())?;
    let sealing = SealingKeys::open(&config.home, Arc::clone(&identity), now_ms, &mut rand::rng())?;
    let channels = Channels::open(&config.home)?;
    let topics = channels.topics();
    let index = StoredIndex::default();
    let on_disk = config.store.index == IndexPlace::Disk;
    let mut shelf = match on_disk {
        true => Shelf::with_files(config.store_limits(), Box::new(index.clone())),
        false => Shelf::new(config.store_limits()),
    };
    let (mut last_inbox, mut sources) = (0, HashSet::new());
    let mut restoring = shelf.restoring();
    let (store, recovery) =
        // Ids past their time too: the clock may be wrong at boot, and the core forgets them once it is believed.
        Store::open_each(&config.home.join("store"), config.store_engine(), 0, &mut |found| match found {
            Found::Head(head) => {
                last_inbox = last_inbox.max(head.seq);
                sources.extend(head.source);
                restoring.message(&head);
            }
            Found::Seen(entry) => restoring.seen(&entry),
        })?;
    drop(restoring);
    for repair in &recovery.repairs {
        warn!("store: {repair}");
    }
    if let Some(lost) = &recovery.lost {
        error!("store: {lost}");
    }
    index.attach(store.clone());
    if on_disk && !recovery.indexed {
        build(&store, &mut shelf)?;
    }
    let stats = shelf.stats();
    info!(
        waiting = stats.waiting,
        broadcasts = stats.broadcasts,
        inbox = stats.inbox,
        seen = stats.seen,
        "store opened"
    );
    let core_config = CoreConfig {
        max_payload: config.messages.max_payload,
        limits: config.store_limits(),
        link: config.link_limit(),
        federation: config.federation_policy(),
        emergency: config.emergency_policy(),
        ..CoreConfig::new(identity.peer_id())
    };
    let mut core = Core::new(core_config, shelf, recovery.next_seq, Box::new(plugins::NoRouter));
    for topic in topics {
        core.handle(Event::Subscribe(topic), now_ms);
    }
    tell_trust(&mut core, &directory, now_ms);
    if let Some(read) = store.kv_get(door::READ_KEY)?.and_then(|bytes| bytes.try_into().ok()) {
        core.handle(Event::InboxRead { seq: u64::from_be_bytes(read) }, now_ms);
    }
    tell_homes(&mut core, &directory);
    restore_gateways(&mut core, &store, &sources)?;
    restore_records(&mut core, &store, now_ms)?;
    let mailboxes = restore_mailboxes(config, &mut core, &store, now_ms)?;
    Ok(Opened { store, core, identity, guarded: Guarded { directory, channels, sealing, mailboxes }, last_inbox })
}

fn tell_trust(core: &mut Core, directory: &Directory, now_ms: u64) {
    for (peer, entry) in directory.entries() {
        match entry.trust {
            Trust::Blocked => _ = core.handle(Event::Block(*peer), now_ms),
            Trust::Trusted => _ = core.handle(Event::Trust { peer: *peer, trusted: true }, now_ms),
            Trust::Known => {}
        }
    }
}

/// Where peers live, as far as the directory knows.
fn tell_homes(core: &mut Core, directory: &Directory) {
    for (peer, entry) in directory.entries() {
        if let Some(domain) = &entry.domain {
            core.restore_home(*peer, domain);
        }
    }
}

/// The gateways of other domains that were linked to before, and brought something that is still held. The others are removed
/// from the store; they are noted again when they come.
fn restore_gateways(core: &mut Core, store: &Store, sources: &HashSet<PeerId>) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.kv_scan(GATEWAY_PREFIX, after.as_deref(), MAX_SCAN)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut stale = Batch::default();
        for (key, domain) in page {
            let needed = gateway_of(&key).is_some_and(|peer| sources.contains(&peer));
            if !needed || !core.restore_gateway(&key, &domain) {
                stale.kv.push((key, None));
            }
        }
        if !stale.is_empty() {
            _ = store.submit(stale, |_| {}); // what is left goes at the next start
        }
    }
}

/// The records that this node knew before. Those that no longer count are removed from the store.
fn restore_records(core: &mut Core, store: &Store, now_ms: u64) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.kv_scan(RECORD_PREFIX, after.as_deref(), MAX_SCAN)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut stale = Batch::default();
        for (key, wire) in page {
            if !core.restore_record(Bytes::from(wire), now_ms) {
                stale.kv.push((key, None));
            }
        }
        if !stale.is_empty() {
            _ = store.submit(stale, |_| {}); // what is left goes at the next start
        }
    }
}

/// The mailboxes that this node kept before. Those of keys that are no longer let in are removed; what waits for them is
/// routed on. Where no clients are served at the moment, all stay as they are, without effect.
fn restore_mailboxes(config: &Config, core: &mut Core, store: &Store, now_ms: u64) -> Result<Mailboxes, StoreError> {
    let mailboxes = Mailboxes::new(config.clients.max_mailboxes);
    if config.clients.listen.is_empty() {
        return Ok(mailboxes);
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.kv_scan(MAILBOX_PREFIX, after.as_deref(), MAX_SCAN)?;
        let Some((last, _)) = page.last() else { return Ok(mailboxes) };
        after = Some(last.clone());
        let (owners, stale) = mailboxes.restore(page, &config.clients);
        for peer in owners {
            core.handle(Event::Mailbox { peer, kept: true }, now_ms);
        }
        if !stale.is_empty() {
            let kv = stale.into_iter().map(|key| (key, None)).collect();
            _ = store.submit(Batch { kv, ..Batch::default() }, |_| {}); // what is left goes at the next start
        }
    }
}
