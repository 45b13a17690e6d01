//! QUIC endpoints: their settings.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{Ports, Settings};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};

use crate::config::Config;
use crate::error::Error;

/// Makes endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    inbound: Arc<TransportConfig>,
    outbound: Arc<TransportConfig>,
    /// The sockets.
    pub(crate) ports: Ports,
}

impl Endpoints {
    /// No sockets yet.
    pub(crate) fn new(config: &Config) -> Self {
        let settings = Settings {
            idle_timeout_ms: config.idle_timeout_ms,
            keep_alive_ms: config.keep_alive_ms,
            receive_window: config.receive_window,
            send_window: config.send_window,
        };
        Self {
            inbound: settings.transport(1),
            outbound: settings.transport(0),
            ports: Ports::new(config.max_handshakes),
        }
    }

    /// An endpoint that listens at `addr`.
    pub(crate) async fn listen(&self, addr: SocketAddr, tls: QuicServerConfig) -> Result<Endpoint, Error> {
        Ok(self.ports.listen(addr, self.server_config(tls)).await?)
    }

    /// Settings for one inbound connection.
    pub(crate) fn server_config(&self, tls: QuicServerConfig) -> ServerConfig {
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(self.inbound.clone());
        config
    }

    /// Settings for one outbound connection.
    pub(crate) fn client_config(&self, tls: QuicClientConfig) -> ClientConfig {
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.outbound.clone());
        config
    }
}
