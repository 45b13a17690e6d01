//! A relay on the loopback interface, without TLS, so that links over it stay relayed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use tokio::runtime::Runtime;

/// A relay that runs until it is stopped or dropped.
pub struct Relay {
    runtime: Runtime,
    server: Option<Server>,
    addr: SocketAddr,
}

impl Relay {
    /// A relay on a free port.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    fn at(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(spawn(addr));
        let addr = server.http_addr().unwrap();
        Self { runtime, server: Some(server), addr }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A configuration of the plugin with this relay.
    pub fn config(&self) -> String {
        format!(r#"{{"relays": ["{}"]}}"#, self.url())
    }

    /// Ends it, as a crash would for those who are connected.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown()).unwrap();
        }
    }

    /// Starts it again at the same address.
    pub fn restart(&mut self) {
        self.stop();
        self.server = Some(self.runtime.block_on(spawn(self.addr)));
    }
}

/// The port may be given up a moment later than the server says.
async fn spawn(addr: SocketAddr) -> Server {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut config = ServerConfig::default();
        config.relay = Some(RelayConfig::new(addr));
        match Server::spawn(config).await {
            Ok(server) => return server,
            Err(error) if Instant::now() > deadline => panic!("the relay does not start: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
