//! Who is known, who is linked, and who shall be.

use std::collections::BTreeMap;
use std::time::Duration;

use qpq_schemas::PeerId;

use super::super::channels::USER;
use super::super::dialer::{Server, State};
use super::super::shared::stopping;
use super::Door;
use crate::api::{ApiError, Discovered, LinkInfo, PeerInfo, ServerNote, Trust};

/// How long `note_server` waits for the server's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// Longest address, in bytes.
const MAX_ADDRESS: usize = 256;
/// Where noted servers are kept over restarts, in the store's key-value space.
pub(in crate::node) const SERVER_PREFIX: &[u8] = b"server/";

impl Door {
    pub(super) async fn all_peers(self) -> Result<Vec<PeerInfo>, ApiError> {
        let mut links = self.shared.links_by_peer().await?;
        let servers = self.shared.dialer.get().map(|dialer| dialer.servers()).unwrap_or_default();
        let mut by_key: BTreeMap<PeerId, Vec<(&String, &Server)>> = BTreeMap::new();
        for (uri, server) in &servers {
            if let Some(peer) = server.peer {
                by_key.entry(peer).or_default().push((uri, server));
            }
        }
        let directory = self.shared.directory();
        let me = self.shared.identity.peer_id();
        let known = directory.entries().filter(|(id, _)| **id != me);
        let mut peers: Vec<PeerInfo> = known
            .map(|(id, peer)| {
                let noted = by_key.remove(id).unwrap_or_default();
                let mut addresses = peer.addresses.clone();
                addresses
                    .extend(noted.iter().map(|(uri, _)| (*uri).clone()).filter(|uri| !peer.addresses.contains(uri)));
                PeerInfo {
                    nickname: peer.nickname.clone(),
                    trust: peer.trust,
                    addresses,
                    last_seen_ms: peer.last_seen_ms,
                    ..info(Some(*id), links.remove(id).unwrap_or_default(), &noted)
                }
            })
            .collect();
        drop(directory);
        let strangers = servers.iter().filter(|(_, server)| server.peer.is_none());
        peers.extend(strangers.map(|(uri, server)| PeerInfo {
            addresses: vec![uri.clone()],
            ..info(None, Vec::new(), &[(uri, server)])
        }));
        add_discovered(self.shared.identity.peer_id(), &mut peers, self.shared.discovery.list());
        peers.sort_by_key(|peer| (peer.links.is_empty(), peer.peer_id.is_none(), std::cmp::Reverse(peer.last_seen_ms)));
        Ok(peers)
    }

    pub(super) async fn note(self, address: String) -> Result<ServerNote, ApiError> {
        let uri = server_uri(&address)?;
        let dialer = self.shared.dialer.get().cloned().ok_or_else(stopping)?;
        if dialer.keep(&uri)? && self.subscriber == USER {
            self.shared.keep(vec![(server_key(&uri), Some(Vec::new()))]).await?;
        }
        let deadline = tokio::time::Instant::now() + ANSWER_WAIT;
        loop {
            tokio::time::sleep(LOOK).await;
            let server = dialer.server(&uri).unwrap_or_default();
            let settled = matches!(server.state, State::Up | State::NoTransport | State::Blocked);
            if settled || tokio::time::Instant::now() >= deadline {
                let why = server.last_error.filter(|_| server.state != State::Up);
                let state = why.unwrap_or_else(|| server.state.word().to_owned());
                return Ok(ServerNote { address: uri, peer_id: server.peer, state });
            }
        }
    }

    pub(super) async fn forget(self, address: String) -> Result<Option<String>, ApiError> {
        let uri = server_uri(&address)?;
        let dialer = self.shared.dialer.get().cloned().ok_or_else(stopping)?;
        if !dialer.forget(&uri) {
            let why = format!("{uri} is not noted; `mesh peers` shows the addresses that are");
            return Err(ApiError::new("unknown-server", why));
        }
        self.shared.keep(vec![(server_key(&uri), None)]).await?;
        let remark = format!(
            "It comes back when the node starts again, as it stands in `peers` ({}); take it out there, too.",
            self.shared.configured_at
        );
        Ok(self.shared.configured.contains(&uri).then_some(remark))
    }
}

/// Puts what discovery services found beside the peers that are known, and behind them those that are not.
fn add_discovered(me: PeerId, peers: &mut Vec<PeerInfo>, found: Vec<(Option<PeerId>, Discovered)>) {
    let mut places: BTreeMap<PeerId, usize> =
        peers.iter().enumerate().filter_map(|(place, peer)| Some((peer.peer_id?, place))).collect();
    for (peer, discovered) in found.into_iter().filter(|(peer, _)| *peer != Some(me)) {
        let known = peer.and_then(|peer| places.get(&peer)).and_then(|place| peers.get_mut(*place));
        if let Some(known) = known {
            known.discovered.push(discovered);
            continue;
        }
        _ = peer.map(|peer| places.insert(peer, peers.len()));
        let addresses = discovered.addresses.clone();
        let last_seen_ms = Some(discovered.last_seen_ms);
        let state = "found".to_owned();
        let info = info(peer, Vec::new(), &[]);
        peers.push(PeerInfo { addresses, last_seen_ms, state, discovered: vec![discovered], ..info });
    }
}

/// What the links and the dialer say of a peer.
fn info(peer_id: Option<PeerId>, links: Vec<LinkInfo>, noted: &[(&String, &Server)]) -> PeerInfo {
    let up = !links.is_empty();
    let state = noted.iter().map(|(_, server)| server.state).min().map_or("idle", State::word);
    let errors = noted.iter().filter_map(|(_, server)| server.last_error.clone());
    PeerInfo {
        peer_id,
        nickname: None,
        trust: Trust::Known,
        addresses: Vec::new(),
        state: if up { "up" } else { state }.to_owned(),
        links,
        last_seen_ms: None,
        discovered: Vec::new(),
        last_error: errors.into_iter().next().filter(|_| !up),
    }
}

fn server_key(uri: &str) -> Vec<u8> {
    [SERVER_PREFIX, uri.as_bytes()].concat()
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
