//! Makes this node known by one discovery service, again whenever its addresses change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::node::addresses;
use crate::node::federation;
use crate::node::shared::Shared;
use crate::plugin::{DiscoveryHandle, Ongoing};

/// What nodes look for.
const SERVICE: &str = "_quicproquo._udp.local.";
/// How often the addresses are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often as long as there are none, as at the start of a node, when its transports begin to listen.
const SOON: Duration = Duration::from_millis(50);
/// How many times the addresses are looked for so often.
const SOON_TIMES: u32 = 100;
/// After a service has refused something, it is asked again so much later.
const RETRY: Duration = Duration::from_secs(5);

/// Runs until it is aborted.
pub(super) async fn attend(name: String, handle: DiscoveryHandle, shared: Arc<Shared>) {
    while let Err(error) = handle.browse(SERVICE).await {
        warn!(plugin = name, %error, "does not look for nodes");
        shared.warn(&name, Some(format!("it does not look for nodes: {error}")));
        tokio::time::sleep(RETRY).await;
    }
    shared.warn(&name, None);
    let mut announced: Option<(Value, Ongoing)> = None;
    let mut looks = 0;
    loop {
        let record = own_record(&shared);
        if announced.as_ref().map(|(before, _)| before) != record.as_ref() {
            announced = announce(&name, &handle, record, announced.take()).await;
        }
        looks += 1;
        tokio::time::sleep(if announced.is_none() && looks < SOON_TIMES { SOON } else { LOOK }).await;
    }
}

/// Announces a record in place of the one before; returns what is announced now.
async fn announce(
    name: &str,
    handle: &DiscoveryHandle,
    record: Option<Value>,
    before: Option<(Value, Ongoing)>,
) -> Option<(Value, Ongoing)> {
    let Some(record) = record else {
        before.inspect(|(_, old)| handle.cancel(*old));
        return None;
    };
    match handle.advertise(&record).await {
        Ok(new) => {
            debug!(plugin = name, %record, "announced");
            before.inspect(|(_, old)| handle.cancel(*old)); // a service keeps what replaced it
            Some((record, new))
        }
        Err(error) => {
            debug!(plugin = name, %error, "not announced");
            before
        }
    }
}

/// This node, for others; `None` while nobody could reach it.
fn own_record(shared: &Shared) -> Option<Value> {
    let mut listening = shared.listening().clone();
    listening.retain(|uri| shared.discovery.federates() || federation::is_ordinary(uri));
    if listening.is_empty() {
        return None;
    }
    let addresses = addresses::reachable(&listening, &shared.discovery.look_up_local(), true);
    let quic = addresses.iter().find(|uri| uri.starts_with("quic://"));
    let server = quic.or(addresses.first()).and_then(|uri| addresses::host_and_port(uri));
    let record = json!({
        "peer": shared.identity.peer_id().to_string(),
        "addresses": addresses,
        "server": server,
        "domain": shared.domain,
    });
    (!addresses.is_empty()).then_some(record)
}
