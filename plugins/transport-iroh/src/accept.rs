//! Links that others open.

use std::sync::Arc;

use iroh::endpoint::{ConnectingError, Connection, Incoming, IncomingAddr};
use iroh::{Endpoint, TransportAddr};
use qpq_quic_common::{canonical, spawn};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::address::{parse_listen, uri_of};
use crate::engine::{Engine, read_opening};
use crate::error::{End, Error, code};
use crate::limits::REBIND_PATIENCE;
use crate::link::{Origin, Streams};

/// Listens at that URI; returns the one at which others can dial this node.
pub(crate) async fn listen(engine: Arc<Engine>, uri: &str) -> Result<String, Error> {
    engine.check_running()?;
    let addr = parse_listen(uri)?;
    let vacate = async {
        engine.end_links(&End::Rebound, REBIND_PATIENCE).await;
    };
    let bound = engine.net.listen(addr, vacate, |endpoint| serve(&engine, endpoint)).await?;
    // Without the relays, so that it fits into a node record: who dials tries its own relays anyway.
    Ok(uri_of(&engine.me()?, [&TransportAddr::Ip(bound)]))
}

/// Takes in what comes to a new endpoint.
pub(crate) fn serve(engine: &Arc<Engine>, endpoint: Endpoint) {
    spawn(&Handle::current(), engine.host, accept(engine.clone(), endpoint));
}

/// Takes connections in until the endpoint is closed.
async fn accept(engine: Arc<Engine>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if let Some((incoming, permit)) = admit(&engine, incoming) {
            let task = open(engine.clone(), incoming, permit);
            spawn(&Handle::current(), engine.host, task);
        }
    }
}

fn origin_of(incoming: &Incoming) -> Origin {
    match incoming.remote_addr() {
        IncomingAddr::Ip(addr) => Origin::Address(canonical(addr).ip()),
        _ => Origin::Relay,
    }
}

/// Decides, before any cryptography, whether a connection may begin its handshake.
fn admit(engine: &Engine, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
    let room = engine.check_running().is_ok() && engine.links.has_room(origin_of(&incoming), None);
    let busy = engine.handshakes.available_permits() <= engine.config.max_handshakes / 2;
    if room && busy && !incoming.remote_addr_validated() {
        // Costs an attacker with forged addresses everything, and an honest peer one round trip.
        let _ = incoming.retry();
        return None;
    }
    match engine.handshakes.clone().try_acquire_owned() {
        Ok(permit) if room => Some((incoming, permit)),
        _ => {
            engine.counters.handshakes_refused.one();
            incoming.refuse();
            None
        }
    }
}

/// Handshake and opening of the stream, within the handshake timeout.
async fn open(engine: Arc<Engine>, incoming: Incoming, permit: OwnedSemaphorePermit) {
    let origin = origin_of(&incoming);
    let deadline = Instant::now() + engine.config.handshake_timeout();
    let opened = async {
        let accepting = incoming.accept().map_err(|e| Error::Ended(End::of(&e)))?;
        let connected = timeout_at(deadline, accepting).await.map_err(|_| Error::Timeout)?;
        let connection = connected.map_err(|e| Error::Ended(end_of_connecting(&e)))?;
        link_up(&engine, origin, connection, deadline).await
    };
    match opened.await {
        Ok(()) | Err(Error::Ended(End::Probe)) => {}
        Err(error) => {
            engine.counters.handshakes_failed.one();
            engine.host.debug(format!("a link from {origin:?} did not come up: {error}"));
        }
    }
    drop(permit);
}

fn end_of_connecting(error: &ConnectingError) -> End {
    match error {
        ConnectingError::ConnectionError { source, .. } => End::of(source),
        other => End::Lost(crate::address::printable(&other.to_string())),
    }
}

async fn link_up(engine: &Arc<Engine>, origin: Origin, connection: Connection, deadline: Instant) -> Result<(), Error> {
    let streams = timeout_at(deadline, accept_streams(&connection)).await.unwrap_or(Err(Error::Timeout));
    let streams = streams.inspect_err(|error| {
        let code = if matches!(error, Error::Timeout) { code::TIMEOUT } else { code::PROTOCOL };
        connection.close(code, b"no stream was opened as it should");
    })?;
    let link = engine.admit(origin, &connection)?;
    engine.start(link, streams, 0)
}

async fn accept_streams(connection: &Connection) -> Result<Streams, Error> {
    let (send, mut recv) = connection.accept_bi().await.map_err(|e| Error::Ended(End::of(&e)))?;
    read_opening(&mut recv).await?;
    Ok(Streams { send, recv })
}
