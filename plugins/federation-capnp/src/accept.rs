//! Connections that others open.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{canonical, spawn};
use quinn::{Connection, ConnectionError, Endpoint, Incoming};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::address::{parse_listen, uri_of};
use crate::engine::{Engine, Peer};
use crate::error::{End, Error, code};
use crate::handshakes::Place;
use crate::rpc::inbound;
use crate::tls;
use crate::verify::Seen;

/// Listens at that URI; returns the one that was bound.
pub(crate) async fn listen(engine: Arc<Engine>, uri: &str) -> Result<String, Error> {
    engine.check_running()?;
    let address = parse_listen(uri)?;
    let addr = *engine.resolve(&address).await?.first().ok_or(Error::Timeout)?;
    let endpoint = engine.endpoints.listen(addr, tls::placeholder(&engine.provider)?).await?;
    let bound = endpoint.local_addr().map_err(|source| Error::Bind { addr, source })?;
    spawn(&Handle::current(), engine.host, accept(engine.clone(), endpoint));
    Ok(uri_of(&engine.config.domain, bound))
}

/// Takes connections in until the endpoint is closed.
async fn accept(engine: Arc<Engine>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if let Some((incoming, place)) = admit(&engine, incoming) {
            spawn(&Handle::current(), engine.host, open(engine.clone(), incoming, place));
        }
    }
}

/// Decides, before any cryptography, whether a connection may begin its handshake.
fn admit(engine: &Engine, incoming: Incoming) -> Option<(Incoming, Place)> {
    let remote = canonical(incoming.remote_address()).ip();
    if !engine.links.has_room() {
        engine.counters.handshakes_failed.one();
        incoming.refuse();
        return None;
    }
    if engine.handshakes.busy() && !incoming.remote_address_validated() && incoming.may_retry() {
        // Costs an attacker with forged addresses everything, and an honest peer one round trip.
        engine.counters.retries.one();
        let _ = incoming.retry();
        return None;
    }
    let (place, gave_up) = engine.handshakes.enter(remote);
    if gave_up {
        engine.counters.handshakes_given_up.one();
    }
    Some((incoming, place))
}

/// The TLS handshake, within the handshake timeout; then the peer is handed to the RPC thread.
async fn open(engine: Arc<Engine>, incoming: Incoming, mut place: Place) {
    let remote = incoming.remote_address();
    let (config, seen) = match tls_of(&engine) {
        Ok(tls) => tls,
        Err(error) => return engine.host.debug(format!("{remote} could not be answered: {error}")),
    };
    // An error here is one of the first packet, such as another ALPN.
    let connecting = match incoming.accept_with(Arc::new(config)) {
        Ok(connecting) => connecting,
        Err(error) => return failed(&engine, remote, &error, &seen),
    };
    let connected = tokio::select! {
        connected = timeout(engine.config.handshake_timeout(), connecting) => connected,
        () = place.given_up() => return engine.counters.handshakes_failed.one(),
    };
    drop(place);
    match connected {
        Ok(Ok(connection)) => serve(engine, connection, &seen).await,
        Ok(Err(error)) => failed(&engine, remote, &error, &seen),
        Err(_) => engine.counters.handshakes_failed.one(),
    }
}

/// TLS for one connection, with the newest certificate.
fn tls_of(engine: &Engine) -> Result<(quinn::ServerConfig, Arc<Seen>), Error> {
    let material = engine.certificates()?.current();
    let (config, seen) = tls::server(&engine.provider, material, engine.policy.clone())?;
    Ok((engine.endpoints.server_config(config), seen))
}

fn failed(engine: &Engine, remote: SocketAddr, error: &ConnectionError, seen: &Seen) {
    engine.counters.handshakes_failed.one();
    let names = seen.names();
    let domain = names.first().map(String::as_str);
    match (seen.refusal(), End::of(error)) {
        (Some(refusal), _) => engine.note_refusal(remote, domain, &refusal, false),
        (None, End::Refused(refusal)) => {
            let by_peer = matches!(error, ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_));
            engine.note_refusal(remote, domain, &refusal, by_peer);
        }
        (None, end) => engine.host.debug(format!("a link from {remote} did not come up: {end}")),
    }
}

async fn serve(engine: Arc<Engine>, connection: Connection, seen: &Seen) {
    let peer = Peer::of(&connection, seen.names());
    let first = peer.names.first().cloned().unwrap_or_default();
    let Some(room) = engine.links.room(Some(&first)) else {
        engine.host.debug(format!("{first} has no more room for connections"));
        return connection.close(code::BUSY, b"busy");
    };
    let Ok(rpc) = engine.rpc() else { return };
    let served = engine.clone();
    rpc.order(move |local| inbound(local, served, connection, peer, room)).await;
}
