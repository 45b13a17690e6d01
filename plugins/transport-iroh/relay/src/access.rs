//! Who may use the relay, and how many at once.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use iroh_base::EndpointId;
use iroh_relay::server::{Access, AccessControl, ClientRequest, ConnectionId};

use crate::config::Config;

/// Connections of one node at the same time. A node has one; more are there for a moment when it changes networks.
const MAX_PER_NODE: usize = 4;

/// The door keeper.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The nodes that may come in; `None` lets in everybody.
    allow: Option<HashSet<EndpointId>>,
    max_clients: usize,
    /// The connections of each node.
    inside: HashMap<EndpointId, usize>,
    count: usize,
}

impl Admission {
    /// Lets in those whom the configuration names.
    pub(crate) fn new(config: &Config) -> Self {
        let admission = Self::default();
        admission.update(config);
        admission
    }

    /// Goes by another configuration from now on. Returns who is inside and no longer allowed.
    pub(crate) fn update(&self, config: &Config) -> Vec<EndpointId> {
        let mut state = self.lock();
        state.allow = config.allow.as_ref().map(|allow| allow.iter().copied().collect());
        state.max_clients = config.limits.max_clients;
        state.inside.keys().copied().filter(|node| !state.allowed(node)).collect()
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    fn enter(&self, node: EndpointId) -> Result<(), &'static str> {
        let mut state = self.lock();
        if !state.allowed(&node) {
            return Err("this relay has a list of nodes, and this node isn't on it: ask the relay's admin");
        }
        if state.count >= state.max_clients {
            return Err("this relay is full (limits.max_clients)");
        }
        let connections = state.inside.entry(node).or_default();
        if *connections >= MAX_PER_NODE {
            return Err("this node has too many connections to this relay");
        }
        *connections += 1;
        state.count += 1;
        Ok(())
    }

    /// Called once for each connection that was let in.
    fn leave(&self, node: EndpointId) {
        let mut state = self.lock();
        let Some(connections) = state.inside.get_mut(&node) else { return };
        *connections -= 1;
        if *connections == 0 {
            state.inside.remove(&node);
        }
        state.count = state.count.saturating_sub(1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn allowed(&self, node: &EndpointId) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(node))
    }
}

impl AccessControl for Admission {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let node = request.endpoint_id();
        match self.enter(node) {
            Ok(()) => {
                tracing::debug!(%node, "a node came");
                Access::Allow
            }
            Err(reason) => {
                tracing::debug!(%node, reason, "a node was sent away");
                Access::Deny { reason: Some(reason.to_owned()) }
            }
        }
    }

    fn on_disconnect(&self, node: EndpointId, _connection: ConnectionId) {
        tracing::debug!(%node, "a node left");
        self.leave(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::in_folder;
    use std::path::Path;

    fn node(seed: u8) -> EndpointId {
        iroh_base::SecretKey::from_bytes(&[seed; 32]).public()
    }

    fn config(allow: Option<Vec<EndpointId>>, max_clients: usize) -> Config {
        let mut config = in_folder(Path::new("."), &["192.0.2.1"]);
        config.allow = allow;
        config.limits.max_clients = max_clients;
        config
    }

    #[test]
    fn without_a_list_everybody_may_come_until_the_relay_is_full() {
        let admission = Admission::new(&config(None, 2));
        admission.enter(node(1)).unwrap();
        admission.enter(node(2)).unwrap();
        assert!(admission.enter(node(3)).unwrap_err().contains("full"));
        admission.leave(node(1));
        admission.enter(node(3)).unwrap();
        assert_eq!(admission.count(), 2);
    }

    #[test]
    fn one_node_takes_no_more_than_its_share() {
        let admission = Admission::new(&config(None, 100));
        (0..MAX_PER_NODE).for_each(|_| admission.enter(node(1)).unwrap());
        assert!(admission.enter(node(1)).is_err());
        admission.enter(node(2)).unwrap();
    }

    #[test]
    fn who_is_taken_off_the_list_is_named_and_comes_no_more() {
        let admission = Admission::new(&config(Some(vec![node(1), node(2)]), 100));
        assert!(admission.enter(node(3)).unwrap_err().contains("list"));
        admission.enter(node(1)).unwrap();
        admission.enter(node(2)).unwrap();
        assert_eq!(admission.update(&config(Some(vec![node(2)]), 100)), [node(1)]);
        assert!(admission.enter(node(1)).is_err());
    }
}
