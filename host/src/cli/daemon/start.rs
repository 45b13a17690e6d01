//! Where the process gets its node from.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::api::NodeApi;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::control::quic::Network;
use crate::node;

/// A node that runs.
pub(super) struct Running {
    /// The door into it.
    pub(super) api: Arc<dyn NodeApi>,
    /// What it takes to serve clients over the network.
    pub(super) network: Option<Network>,
    /// Ready when it has drained and stopped.
    pub(super) stopped: BoxFuture<'static, ()>,
}

/// Starts a node with that configuration.
pub(super) async fn start(config: Config) -> Result<Running, Failure> {
    let running = node::start(config).await.map_err(|error| Failure::new("not-started", error.to_string()))?;
    let network = Network {
        node: Arc::clone(&running.api),
        mailboxes: running.mailboxes,
        identity: running.identity,
        blocked: running.blocked,
    };
    Ok(Running { api: running.api, network: Some(network), stopped: running.stopped })
}
