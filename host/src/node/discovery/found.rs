//! Who was found, as the discovery services say. Nothing of it is proven: anybody on a network can announce anything.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;
use serde_json::Value;

use crate::api::Discovered;

/// Nodes that are remembered. The one that was silent for longest goes when another comes.
pub(in crate::node) const MAX_FOUND: usize = 1_024;
/// Addresses kept of each.
const MAX_ADDRESSES: usize = 12;
/// Longest address, in bytes.
const MAX_ADDRESS: usize = 256;
/// Longest other text, in bytes: a domain name, a colon and a port.
const MAX_TEXT: usize = 260;
/// A node that its service has not confirmed for so long is forgotten, in milliseconds: three confirmations of
/// discovery-mdns. So nodes don't outlive a service that has failed, or was swapped for another.
const FORGET_MS: u64 = 3 * 60_000;

/// What a service says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighted {
    /// The service's own name for it.
    pub(super) id: String,
    /// The key that it claims.
    pub(super) peer: Option<PeerId>,
    /// Transport URIs, at least one.
    pub(super) addresses: Vec<String>,
    server: Option<String>,
    domain: Option<String>,
    interface: Option<String>,
}

impl Sighted {
    /// Reads a service's record. `None` when it has nothing to reach the node by.
    pub(super) fn read(record: &Value) -> Option<Self> {
        let text = |key: &str| record.get(key).and_then(Value::as_str).filter(|text| is_text(text));
        let peer = text("peer").and_then(|key| key.parse::<PeerId>().ok());
        let server = text("server").filter(|server| is_address(server)).map(str::to_owned);
        let listed = record.get("addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let uris = listed.iter().filter_map(Value::as_str).filter(|uri| is_uri(uri));
        let mut addresses: Vec<String> = uris.take(MAX_ADDRESSES).map(str::to_owned).collect();
        if let (true, Some(server)) = (addresses.is_empty(), &server) {
            addresses.push(format!("quic://{server}"));
        }
        let id =
            text("id").map(str::to_owned).or_else(|| peer.map(|peer| peer.to_string())).or_else(|| server.clone())?;
        let (domain, interface) = (text("domain").map(str::to_owned), text("interface").map(str::to_owned));
        (!addresses.is_empty()).then_some(Self { id, peer, addresses, server, domain, interface })
    }
}

/// A text that may stand in a log or in a list.
fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn is_address(text: &str) -> bool {
    text.len() <= MAX_ADDRESS && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_uri(text: &str) -> bool {
    is_address(text) && text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
}

#[derive(Debug, Clone)]
struct Entry {
    sighted: Sighted,
    first_ms: u64,
    last_ms: u64,
}

/// The nodes that were found, by service and the service's name for them.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<(String, String), Entry>);

impl Found {
    /// Notes a node that is there; whether it was unknown.
    pub(super) fn note(&mut self, plugin: &str, sighted: Sighted, now_ms: u64) -> bool {
        let key = (plugin.to_owned(), sighted.id.clone());
        if let Some(entry) = self.0.get_mut(&key) {
            entry.sighted = sighted;
            entry.last_ms = now_ms;
            return false;
        }
        self.forget(now_ms);
        if self.0.len() >= MAX_FOUND {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.last_ms).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
        self.0.insert(key, Entry { sighted, first_ms: now_ms, last_ms: now_ms });
        true
    }

    /// A node is gone.
    pub(super) fn lost(&mut self, plugin: &str, sighted: &Sighted) {
        self.0.remove(&(plugin.to_owned(), sighted.id.clone()));
    }

    /// Forgets those that nobody confirms any more.
    pub(super) fn forget(&mut self, now_ms: u64) {
        self.0.retain(|_, entry| now_ms.saturating_sub(entry.last_ms) < FORGET_MS);
    }

    /// The keys that were found.
    pub(super) fn peers(&self) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = self.0.values().filter_map(|entry| entry.sighted.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// The addresses under which a key was found, and the domains that were named with it.
    pub(super) fn of(&self, peer: &PeerId) -> (Vec<String>, Vec<String>) {
        let (mut addresses, mut domains) = (Vec::new(), Vec::new());
        for entry in self.0.values().filter(|entry| entry.sighted.peer == Some(*peer)) {
            addresses.extend(entry.sighted.addresses.iter().cloned());
            domains.extend(entry.sighted.domain.clone());
        }
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|uri| seen.insert(uri.clone()));
        addresses.truncate(2 * MAX_ADDRESSES);
        (addresses, domains)
    }

    /// All, for people. Two instances of one node, as during a swap, are one.
    pub(super) fn list(&self) -> Vec<(Option<PeerId>, Discovered)> {
        let mut list: Vec<(Option<PeerId>, Discovered)> = Vec::new();
        let mut places: BTreeMap<(PeerId, &str, Option<&str>), usize> = BTreeMap::new();
        for ((plugin, _), entry) in &self.0 {
            let shown = entry.shown(plugin);
            let key = entry.sighted.peer.map(|peer| (peer, plugin.as_str(), entry.sighted.interface.as_deref()));
            let twin = key.and_then(|key| places.get(&key)).and_then(|place| list.get_mut(*place));
            match twin {
                Some((_, twin)) => merge(twin, shown),
                None => {
                    _ = key.map(|key| places.insert(key, list.len()));
                    list.push((entry.sighted.peer, shown));
                }
            }
        }
        list
    }
}

impl Entry {
    fn shown(&self, plugin: &str) -> Discovered {
        Discovered {
            plugin: plugin.to_owned(),
            interface: self.sighted.interface.clone(),
            domain: self.sighted.domain.clone(),
            server: self.sighted.server.clone(),
            addresses: self.sighted.addresses.clone(),
            first_seen_ms: self.first_ms,
            last_seen_ms: self.last_ms,
        }
    }
}

/// The newer of two sightings, with the age of the older.
fn merge(into: &mut Discovered, other: Discovered) {
    let first_seen_ms = into.first_seen_ms.min(other.first_seen_ms);
    if other.last_seen_ms > into.last_seen_ms {
        *into = other;
    }
    into.first_seen_ms = first_seen_ms;
}

#[cfg(test)]
mod tests;
