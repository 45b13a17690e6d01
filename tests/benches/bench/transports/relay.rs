//! An iroh relay in this process.

use iroh::RelayUrl;
use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use qpq_tests::{Failure, Outcome};
use tokio::runtime::Runtime;

/// A relay on the loopback interface, without TLS.
pub(super) struct Relay {
    url: RelayUrl,
    _server: Server,
    _runtime: Runtime,
}

impl Relay {
    pub(super) fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut config = ServerConfig::default();
        config.relay = Some(RelayConfig::new(([127, 0, 0, 1], 0)));
        let server = runtime.block_on(Server::spawn(config))?;
        let addr = server.http_addr().ok_or_else(|| Failure::new("the relay has no address"))?;
        Ok(Self { url: format!("http://{addr}").parse()?, _server: server, _runtime: runtime })
    }

    pub(super) fn url(&self) -> &RelayUrl {
        &self.url
    }
}
