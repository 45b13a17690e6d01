//! The host's side of one instance: where the plugin's callbacks end up. Safe code; the C functions are in `vtables`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use qpq_plugin_api::{Error, Status};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::discovery::DiscoveryEvents;
use super::identity::PluginIdentity;
use super::ops::Ops;
use super::routing::Scratch;
use super::store::StoreEvents;
use super::transport::TransportEvents;

/// The most links of one transport instance.
pub const MAX_LINKS: usize = 16_384;
/// Links of one instance have numbers below this.
pub(super) const LINKS_PER_INSTANCE: u64 = 1 << 48;

/// Whether two links were made by one instance of a transport.
pub(crate) fn is_of_one_instance(link: u64, other: u64) -> bool {
    link / LINKS_PER_INSTANCE == other / LINKS_PER_INSTANCE
}

/// Who hears of what an instance reports; which one counts depends on the plugin's kind.
#[derive(Clone)]
pub(super) enum Role {
    Transport(Arc<dyn TransportEvents>),
    Discovery(Arc<dyn DiscoveryEvents>),
    Routing(Arc<Scratch>),
    Store(Arc<dyn StoreEvents>),
}

/// The host's side of one instance.
pub(super) struct Port {
    name: String,
    id: String,
    pub(super) role: Role,
    pub(super) identity: Arc<dyn PluginIdentity>,
    trusted_with_key: bool,
    /// It asked for the node's key, and did not get it.
    key_kept: AtomicBool,
    pub(super) ops: Arc<Ops>,
    failure: Mutex<Option<Error>>,
    failed: Notify,
    links: RwLock<HashSet<u64>>,
    link_base: u64,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl Port {
    pub(super) fn new(name: &str, id: &str, role: Role, identity: Arc<dyn PluginIdentity>) -> Self {
        // 65,535 starts of plugins fit into one life of the process; after that numbers come round again.
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed) % 0xffff + 1;
        Self {
            name: name.to_owned(),
            id: id.to_owned(),
            role,
            identity,
            trusted_with_key: false,
            key_kept: AtomicBool::new(false),
            ops: Arc::default(),
            failure: Mutex::new(None),
            failed: Notify::new(),
            links: RwLock::default(),
            link_base: instance * LINKS_PER_INSTANCE,
        }
    }

    /// Whether the plugin may have the node's secret key.
    pub(super) fn trusted_with_key(mut self, trusted: bool) -> Self {
        self.trusted_with_key = trusted;
        self
    }

    /// The node's secret key, if this plugin may have it.
    pub(super) fn secret(&self) -> Option<Zeroizing<[u8; 32]>> {
        if self.trusted_with_key {
            tracing::info!(plugin = %self.name, "the plugin was given the node's key, as plugins.trusted_with_key allows");
        } else {
            self.key_kept.store(true, Ordering::Relaxed);
            tracing::debug!(plugin = %self.name, "the plugin asked for the node's key; plugins.trusted_with_key doesn't list it");
        }
        self.trusted_with_key.then(|| self.identity.secret())
    }

    /// Whether it asked for the node's key in vain.
    pub(super) fn key_kept(&self) -> bool {
        self.key_kept.load(Ordering::Relaxed)
    }

    /// The plugin's name in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The plugin's own id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Notes that the instance can't go on. The first reason counts.
    pub(super) fn fail(&self, status: Status, why: &str) {
        let mut failure = self.failure();
        if failure.is_none() {
            *failure = Some(Error::new(status, why));
            self.failed.notify_one();
        } else {
            tracing::debug!(plugin = %self.name, %status, why, "another failure of a plugin that has failed");
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it failed, if it did.
    pub(super) fn why(&self) -> Option<Error> {
        self.failure().clone()
    }

    /// Waits until it fails.
    pub(super) async fn failed(&self) -> Error {
        loop {
            if let Some(error) = self.why() {
                return error;
            }
            self.failed.notified().await;
        }
    }

    /// The host's number for a link of the plugin; `None` for a number that no link may have.
    pub(super) fn host_link(&self, link: u64) -> Option<u64> {
        (1..LINKS_PER_INSTANCE).contains(&link).then_some(self.link_base + link)
    }

    /// The plugin's number for a link of the host; `None` when it isn't one of this instance.
    pub(super) fn plugin_link(&self, link: u64) -> Option<u64> {
        link.checked_sub(self.link_base).filter(|n| (1..LINKS_PER_INSTANCE).contains(n))
    }

    /// Notes a link that comes up; the error says why it may not.
    pub(super) fn add_link(&self, link: u64) -> Result<(), &'static str> {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MAX_LINKS {
            return Err("too many links");
        }
        if links.insert(link) { Ok(()) } else { Err("it came up twice") }
    }

    /// Notes that a link is gone; `false` when it wasn't up.
    pub(super) fn remove_link(&self, link: u64) -> bool {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(&link)
    }

    /// Whether a link is up.
    pub(super) fn has_link(&self, link: u64) -> bool {
        self.links.read().unwrap_or_else(PoisonError::into_inner).contains(&link)
    }

    /// The instance has ended: nobody waits for it any more, and its links are down.
    pub(super) fn close(&self) {
        self.ops.close();
        let links = std::mem::take(&mut *self.links.write().unwrap_or_else(PoisonError::into_inner));
        if let Role::Transport(events) = &self.role {
            for link in links {
                events.link_down(link, "the transport plugin stopped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn only_a_trusted_plugin_gets_the_nodes_key() {
        let port = |trusted| {
            let identity = Arc::new(Identity::from_seed(&[7; 32]));
            Port::new("one", "one", Role::Routing(Arc::new(Scratch::new(None))), identity).trusted_with_key(trusted)
        };
        assert_eq!(port(false).secret(), None);
        assert_eq!(port(true).secret().as_deref(), Some(&[7; 32]));
    }
}
