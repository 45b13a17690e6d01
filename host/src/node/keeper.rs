//! What is done every now and then: the directory is saved, sealing keys rotate, the node's record is spread.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::addresses;
use super::clock::now_ms;
use super::federation;
use super::shared::Shared;
use crate::core::{Core, Event};
use crate::identity::About;

/// How often this task looks.
const LOOK: Duration = Duration::from_secs(5);
/// How often the record is spread anew where the routing learns ways from what comes in, so that these stay fresh: a third of
/// what routing-flood keeps.
const RECORD_MS: u64 = 5 * 60_000;
/// How often where it doesn't. A record is good for a week, so this only reaches those who lost it.
const QUIET_RECORD_MS: u64 = 6 * 3_600_000;

/// Runs for the life of the node.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut spread_ms = 0;
    let mut listening = Vec::new();
    loop {
        let rotated = rotate(&shared).await;
        let addresses = own_addresses(&shared);
        if addresses != listening {
            shared.dialer.get().into_iter().for_each(|dialer| dialer.network_changed());
        }
        if rotated || addresses != listening || is_record_due(&shared, now_ms().saturating_sub(spread_ms)).await {
            spread_record(&shared).await;
            spread_ms = now_ms();
            listening = addresses;
        }
        save_directory(&shared).await;
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the record is to be spread again, so many milliseconds after the last time.
async fn is_record_due(shared: &Shared, silent_ms: u64) -> bool {
    silent_ms > QUIET_RECORD_MS || silent_ms > RECORD_MS && shared.ask(Core::router_learns).await.unwrap_or(false)
}

async fn rotate(shared: &Arc<Shared>) -> bool {
    if now_ms() < shared.sealing().next_rotation_ms() {
        return false;
    }
    let held = Arc::clone(shared);
    let rotated = tokio::task::spawn_blocking(move || held.sealing().rotate(now_ms(), &mut rand::rng())).await;
    match rotated {
        Ok(Ok(rotated)) => {
            info!("the sealing key was rotated");
            rotated
        }
        Ok(Err(error)) => {
            warn!(%error, "the sealing key could not be rotated");
            false
        }
        Err(_) => false,
    }
}

/// Makes the node's record and has it spread.
pub(super) async fn spread_record(shared: &Shared) {
    let about =
        About { nickname: shared.nickname.clone(), domain: shared.domain.clone(), addresses: own_addresses(shared) };
    let record = shared.sealing().own_record(&about, now_ms());
    match record {
        Ok(wire) => _ = shared.event(Event::OwnRecord(wire)).await, // fails only while the node stops
        Err(error) => warn!(%error, "this node's record could not be made"),
    }
}

/// Where others can reach this node.
fn own_addresses(shared: &Shared) -> Vec<String> {
    let mut listening = shared.listening().clone();
    listening.retain(|uri| federation::is_ordinary(uri)); // other domains are reached by their gateways, as the admins agreed
    addresses::reachable(&listening, &addresses::local(), false)
}

/// Saves the directory, if anything in it changed; whether all of it is on the disk now.
pub(super) async fn save_directory(shared: &Arc<Shared>) -> bool {
    let _turn = shared.saving.lock().await;
    let Some(save) = shared.directory().take_save() else { return true };
    let written = tokio::task::spawn_blocking(move || save.write()).await;
    let why = match written {
        Ok(Ok(())) => {
            shared.warn("directory", None);
            return true;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(why, "the directory could not be saved");
    shared.warn("directory", Some(why));
    shared.directory().mark_dirty();
    false
}
