//! Who is known, who is linked, and who shall be.

use std::collections::BTreeMap;
use std::time::Duration;

use qpq_schemas::PeerId;

use super::super::channels::USER;
use super::super::dialer::Target;
use super::super::shared::stopping;
use super::Door;
use crate::api::{ApiError, Discovered, LinkInfo, PeerInfo, RouteInfo, RouteTable, ServerNote};
use crate::node::clock::now_ms;

/// How long `note_server` waits for the server's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// Longest address, in bytes.
const MAX_ADDRESS: usize = 256;
/// Where noted servers are kept over restarts, in the store's key-value space.
pub(in crate::node) const SERVER_PREFIX: &[u8] = b"server/";

impl Door {
    pub(super) fn all_peers(&self) -> Vec<PeerInfo> {
        let mut links = self.shared.board.by_peer();
        let targets = self.shared.dialer.get().map(|dialer| dialer.targets()).unwrap_or_default();
        let mut by_key: BTreeMap<PeerId, Vec<(&String, &Target)>> = BTreeMap::new();
        for (uri, target) in &targets {
            if let Some(peer) = target.peer {
                by_key.entry(peer).or_default().push((uri, target));
            }
        }
        let directory = self.shared.directory();
        let mut peers: Vec<PeerInfo> = directory
            .entries()
            .filter(|(id, _)| **id != self.shared.identity.peer_id())
            .map(|(id, peer)| {
                let dialled = by_key.remove(id).unwrap_or_default();
                let mut addresses = peer.addresses.clone();
                addresses
                    .extend(dialled.iter().map(|(uri, _)| (*uri).clone()).filter(|uri| !peer.addresses.contains(uri)));
                PeerInfo {
                    nickname: peer.nickname.clone(),
                    trust: peer.trust,
                    addresses,
                    last_seen_ms: peer.last_seen_ms,
                    ..info(Some(*id), links.remove(id).unwrap_or_default(), dialled.first().map(|(_, target)| *target))
                }
            })
            .collect();
        drop(directory);
        let strangers = targets.iter().filter(|(_, target)| target.peer.is_none());
        peers.extend(
            strangers
                .map(|(uri, target)| PeerInfo { addresses: vec![uri.clone()], ..info(None, Vec::new(), Some(target)) }),
        );
        add_discovered(&mut peers, self.shared.discovery.list());
        peers.sort_by_key(|peer| (peer.links.is_empty(), peer.peer_id.is_none(), std::cmp::Reverse(peer.last_seen_ms)));
        peers
    }

    pub(super) async fn note(self, address: String) -> Result<ServerNote, ApiError> {
        let uri = server_uri(&address)?;
        let dialer = self.shared.dialer.get().cloned().ok_or_else(stopping)?;
        if dialer.keep(&uri)? && self.subscriber == USER {
            self.shared.keep(vec![([SERVER_PREFIX, uri.as_bytes()].concat(), Some(Vec::new()))]).await?;
        }
        let deadline = tokio::time::Instant::now() + ANSWER_WAIT;
        loop {
            let target = dialer.target(&uri).unwrap_or_default();
            if target.state == "up" || tokio::time::Instant::now() >= deadline {
                let state =
                    target.last_error.filter(|_| target.state != "up").unwrap_or_else(|| target.state.to_owned());
                return Ok(ServerNote { address: uri, peer_id: target.peer, state });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn route_table(self) -> Result<RouteTable, ApiError> {
        let (plugin, rows) = self.shared.ask(|core| core.routes(now_ms())).await?;
        let value: serde_json::Value = serde_json::from_str(&rows).unwrap_or_default();
        let rows = value.get("routes").cloned().unwrap_or(value);
        let mut routes: Vec<RouteInfo> = serde_json::from_value(rows).map_err(|error| {
            ApiError::new(
                "plugin",
                format!("the routing plugin {plugin} shows its table in a form of its own: {error}"),
            )
        })?;
        let directory = self.shared.directory();
        for route in &mut routes {
            route.nickname = directory.name_of(&route.destination).map(str::to_owned);
        }
        Ok(RouteTable { plugin, routes })
    }
}

/// Puts what discovery services found beside the peers that are known, and behind them those that are not.
fn add_discovered(peers: &mut Vec<PeerInfo>, found: Vec<(Option<PeerId>, Discovered)>) {
    let mut places: BTreeMap<PeerId, usize> =
        peers.iter().enumerate().filter_map(|(place, peer)| Some((peer.peer_id?, place))).collect();
    for (peer, discovered) in found {
        let known = peer.and_then(|peer| places.get(&peer)).and_then(|place| peers.get_mut(*place));
        if let Some(known) = known {
            known.discovered.push(discovered);
            continue;
        }
        _ = peer.map(|peer| places.insert(peer, peers.len()));
        let addresses = discovered.addresses.clone();
        let last_seen_ms = Some(discovered.last_seen_ms);
        let state = "found".to_owned();
        let info = info(peer, Vec::new(), None);
        peers.push(PeerInfo { addresses, last_seen_ms, state, discovered: vec![discovered], ..info });
    }
}

/// What the links and the dialer say of a peer.
fn info(peer_id: Option<PeerId>, links: Vec<LinkInfo>, target: Option<&Target>) -> PeerInfo {
    let up = !links.is_empty();
    PeerInfo {
        peer_id,
        nickname: None,
        trust: crate::api::Trust::Known,
        addresses: Vec::new(),
        state: if up { "up" } else { target.map_or("idle", |target| target.state) }.to_owned(),
        links,
        last_seen_ms: None,
        discovered: Vec::new(),
        last_error: target.and_then(|target| target.last_error.clone()).filter(|_| !up),
    }
}

/// A server's address as a transport URI; HOST:PORT is for QUIC.
fn server_uri(address: &str) -> Result<String, ApiError> {
    let address = address.trim();
    let bad =
        |why: &str| ApiError::new("bad-address", format!("a server's address is HOST:PORT or TRANSPORT://…; {why}"));
    if address.is_empty() || address.len() > MAX_ADDRESS {
        return Err(bad("this one is empty or too long"));
    }
    if !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("this one has characters that no address has"));
    }
    if address.contains("://") {
        return Ok(address.to_owned());
    }
    let port =
        address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok())?);
    match port {
        Some(port) if port != 0 => Ok(format!("quic://{address}")),
        _ => Err(bad("this one has no port from 1 to 65535; write it as in 192.168.1.42:7000")),
    }
}
