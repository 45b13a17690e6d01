//! Where the process gets its node from.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::api::NodeApi;
use crate::cli::failure::Failure;
use crate::config::Config;

/// A node that runs.
pub(super) struct Running {
    /// The door into it.
    pub(super) api: Arc<dyn NodeApi>,
    /// Ready when it has drained and stopped.
    pub(super) stopped: BoxFuture<'static, ()>,
}

/// Starts a node with that configuration.
pub(super) async fn start(_config: Config) -> Result<Running, Failure> {
    Err(Failure::new("unavailable", "This program was built without the node."))
}
