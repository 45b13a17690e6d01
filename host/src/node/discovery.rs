//! Discovery services at work: they make this node known, and say who else is there. Found nodes are offered to the dialer.
//!
//! A service reports on its own threads; that must not block, so nothing here waits. What is found is hearsay until a link has
//! proven it: a lie costs a failed handshake, and how many there are is bounded by the dialer.

mod announce;
mod found;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use qpq_plugin_api::PeerEvent;
use qpq_schemas::PeerId;
use serde_json::Value;
use tokio::task::AbortHandle;
use tracing::{debug, info};

use super::addresses::{self, Local};
use super::clock::now_ms;
use super::dialer::Dialer;
use super::federation;
use super::shared::Shared;
use crate::api::Discovered;
use crate::config::DiscoveryConfig;
use crate::core::federation::FederationPolicy;
use crate::plugin::{DiscoveryEvents, DiscoveryHandle};
use found::{Found, Sighted};

/// The name and the addresses of a node, as a service reports it.
#[cfg(feature = "fuzz-doors")]
pub(super) fn sighted(record: &Value) -> Option<(String, Vec<String>)> {
    Sighted::read(record).map(|sighted| (sighted.id, sighted.addresses))
}

/// New nodes that are logged in a minute; more are only counted.
const MAX_LOGGED: u32 = 20;

/// What the discovery services of a node have found.
#[derive(Default)]
pub(super) struct Discovery {
    settings: DiscoveryConfig,
    /// Where found nodes of other domains are wanted: which.
    domains: Option<FederationPolicy>,
    found: Mutex<Found>,
    dialer: OnceLock<Arc<Dialer>>,
    /// The addresses of this machine, as last seen.
    local: Mutex<Vec<Local>>,
    /// What announces and browses by each running service.
    tasks: Mutex<HashMap<String, AbortHandle>>,
    /// A minute, and how many lines were logged in it.
    logged: Mutex<(u64, u32)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Discovery {
    /// Nothing is found yet.
    pub(super) fn new(settings: DiscoveryConfig, domains: Option<FederationPolicy>) -> Self {
        Self { settings, domains, ..Self::default() }
    }

    /// Found nodes are offered to the dialer from now on, and those that are known already.
    pub(super) fn connect(&self, dialer: Arc<Dialer>) {
        if self.dialer.set(dialer).is_ok() {
            let peers = lock(&self.found).peers();
            peers.iter().for_each(|peer| self.offer(peer));
        }
    }

    /// What was found, by the claimed keys.
    pub(super) fn list(&self) -> Vec<(Option<PeerId>, Discovered)> {
        let mut found = lock(&self.found);
        found.forget(now_ms());
        found.list()
    }

    /// A service runs: makes this node known by it, and listens.
    pub(super) fn started(&self, name: &str, handle: DiscoveryHandle, shared: &Arc<Shared>) {
        let task = tokio::spawn(announce::attend(name.to_owned(), handle, Arc::clone(shared)));
        if let Some(before) = lock(&self.tasks).insert(name.to_owned(), task.abort_handle()) {
            before.abort();
        }
    }

    /// Listens to an instance of a service.
    pub(super) fn ear(self: &Arc<Self>, plugin: &str) -> Arc<dyn DiscoveryEvents> {
        Arc::new(Ear { plugin: plugin.to_owned(), discovery: Arc::clone(self) })
    }

    /// A service has failed.
    pub(super) fn ended(&self, name: &str) {
        if let Some(task) = lock(&self.tasks).remove(name) {
            task.abort();
        }
    }

    /// The addresses of this machine, looked up anew.
    fn look_up_local(&self) -> Vec<Local> {
        let local = addresses::local();
        lock(&self.local).clone_from(&local);
        local
    }

    fn reported(&self, plugin: &str, event: PeerEvent, record: &Value) {
        let Some(sighted) = Sighted::read(record) else {
            return debug!(plugin, "a found node has nothing to reach it by");
        };
        let peer = sighted.peer;
        if event == PeerEvent::Lost {
            self.lost(plugin, &sighted);
            return;
        }
        let (id, address) = (sighted.id.clone(), sighted.addresses.first().cloned());
        if lock(&self.found).note(plugin, sighted, now_ms()) && self.may_log() {
            info!(plugin, id, address, peer = peer.map(|peer| peer.short()), "found a node");
        }
        peer.iter().for_each(|peer| self.offer(peer));
    }

    fn lost(&self, plugin: &str, sighted: &Sighted) {
        let mut found = lock(&self.found);
        found.lost(plugin, sighted);
        let gone = sighted.peer.filter(|peer| found.of(peer).0.is_empty());
        drop(found);
        if let (Some(dialer), Some(peer)) = (self.dialer.get(), gone) {
            dialer.withdraw(&peer);
        }
    }

    /// Offers a found node to the dialer, if the configuration wants links to it. The dialer leaves out who is blocked.
    fn offer(&self, peer: &PeerId) {
        let Some(dialer) = self.dialer.get().filter(|_| self.settings.connect) else { return };
        let (mut uris, domains) = lock(&self.found).of(peer);
        let near = self.wants(&domains);
        uris.retain(|uri| self.may_dial(uri, near));
        if !uris.is_empty() {
            let uris = addresses::in_order(&uris, &lock(&self.local));
            dialer.suggest(*peer, &uris);
        }
    }

    /// Whether a found node may be dialled at an address: an ordinary one if it is of a domain that this node joins, and one
    /// of a federation if it leads to another domain that is wanted and allowed.
    fn may_dial(&self, uri: &str, near: bool) -> bool {
        let wanted = |domain| self.domains.as_ref().is_some_and(|policy| policy.refuses(&domain).is_none());
        if federation::is_ordinary(uri) { near } else { federation::domain_of(uri).is_some_and(wanted) }
    }

    /// Whether other domains that are found are linked to, and so this one is made known.
    pub(super) fn federates(&self) -> bool {
        self.domains.is_some()
    }

    /// Whether there is room for a line in the log of this minute.
    fn may_log(&self) -> bool {
        let minute = now_ms() / 60_000;
        let mut logged = lock(&self.logged);
        if logged.0 != minute {
            *logged = (minute, 0);
        }
        logged.1 = logged.1.saturating_add(1);
        logged.1 <= MAX_LOGGED
    }

    /// Whether the configuration allows ordinary links to a node that names these domains.
    fn wants(&self, domains: &[String]) -> bool {
        let inside = |domain: &String, wanted: &String| {
            domain.strip_suffix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let wanted = &self.settings.connect_domains;
        wanted.is_empty() || domains.iter().any(|domain| wanted.iter().any(|wanted| inside(domain, wanted)))
    }
}

/// Listens to one service.
struct Ear {
    plugin: String,
    discovery: Arc<Discovery>,
}

impl DiscoveryEvents for Ear {
    fn peer(&self, event: PeerEvent, record: Value) -> bool {
        self.discovery.reported(&self.plugin, event, &record);
        true
    }
}

#[cfg(test)]
mod tests;
