//! QUIC endpoints: their settings.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{Ports, Settings};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};

use crate::config::Config;
use crate::error::Error;
use crate::tls::{Key, PeerVerifier, Tls};

/// Makes endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    tls: Tls,
    settings: Settings,
    /// The sockets.
    pub(crate) ports: Ports,
}

impl Endpoints {
    /// No sockets yet.
    pub(crate) fn new(tls: Tls, config: &Config) -> Self {
        let settings = Settings {
            idle_timeout_ms: config.idle_timeout_ms,
            keep_alive_ms: config.keep_alive_ms,
            receive_window: config.receive_window,
            send_window: config.send_window,
        };
        Self { tls, settings, ports: Ports::new(config.max_handshakes) }
    }

    /// An endpoint that listens at `addr`.
    pub(crate) async fn listen(&self, addr: SocketAddr) -> Result<Endpoint, Error> {
        let tls = QuicServerConfig::try_from(self.tls.server()?).map_err(|e| Error::Setup(e.to_string()))?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(self.settings.transport(1));
        Ok(self.ports.listen(addr, config).await?)
    }

    /// Settings for dialling a peer, and the verifier that sees its key.
    pub(crate) fn client_config(&self, expected: Option<Key>) -> Result<(ClientConfig, Arc<PeerVerifier>), Error> {
        let (tls, verifier) = self.tls.client(expected)?;
        let tls = QuicClientConfig::try_from(tls).map_err(|e| Error::Setup(e.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.settings.transport(0));
        Ok((config, verifier))
    }
}
