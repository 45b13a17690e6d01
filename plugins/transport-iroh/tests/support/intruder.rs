//! A peer that speaks iroh as it should, and then does what the test wants.

use std::time::Duration;

use iroh::endpoint::{Connection, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, SecretKey, TransportAddr};

const SEED: [u8; 32] = [66; 32];

/// The intruder's own public key.
pub fn public() -> [u8; 32] {
    *SecretKey::from_bytes(&SEED).public().as_bytes()
}

/// Connects with that protocol to the node of that key at that URI. The endpoint must be kept.
pub async fn connect(key: [u8; 32], uri: &str, alpn: &[u8], seed: u8) -> (Endpoint, Option<Connection>) {
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&[seed; 32]))
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .unwrap()
        .bind()
        .await
        .unwrap();
    let peer = EndpointId::from_bytes(&key).unwrap();
    let addr = EndpointAddr::from_parts(peer, [TransportAddr::Ip(super::direct(uri))]);
    let connected = endpoint.connect(addr, alpn).await;
    (endpoint, connected.ok())
}

/// Connects as the intruder, with the right protocol.
pub async fn intrude(key: [u8; 32], uri: &str) -> (Endpoint, Connection) {
    let (endpoint, connected) = connect(key, uri, qpq_transport_iroh::ALPN, SEED[0]).await;
    (endpoint, connected.expect("the node lets it connect"))
}

/// Runs a test's asynchronous half.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.expect("it takes too long") })
}
