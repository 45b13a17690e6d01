//! Links that others open.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{canonical, spawn};
use quinn::{Connection, Endpoint, Incoming};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::address::{parse, uri_of};
use crate::engine::{Engine, read_opening};
use crate::error::{End, Error, code};
use crate::link::{Streams, Way};

/// Listens at that URI; returns the one that was bound.
pub(crate) async fn listen(engine: Arc<Engine>, uri: &str) -> Result<String, Error> {
    engine.check_running()?;
    let address = parse(uri)?;
    let addr = *engine.resolve(&address).await?.first().ok_or(Error::Timeout)?;
    let endpoint = engine.endpoints.listen(addr).await?;
    let bound = endpoint.local_addr().map_err(|source| Error::Bind { addr, source })?;
    spawn(&Handle::current(), engine.host, accept(engine.clone(), endpoint));
    Ok(uri_of(bound))
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

/// Decides, before any cryptography, whether a connection may begin its handshake.
fn admit(engine: &Engine, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
    let remote = canonical(incoming.remote_address());
    let room = engine.check_running().is_ok() && engine.links.has_room(Way::In, remote.ip());
    let busy = engine.handshakes.available_permits() <= engine.config.max_handshakes / 2;
    if room && busy && !incoming.remote_address_validated() && incoming.may_retry() {
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
    let remote = canonical(incoming.remote_address());
    let deadline = Instant::now() + engine.config.handshake_timeout();
    let opened = async {
        let connecting = incoming.accept().map_err(|e| Error::Ended(End::of(&e)))?;
        let connected = timeout_at(deadline, connecting).await.map_err(|_| Error::Timeout)?;
        let connection = connected.map_err(|e| Error::Ended(End::of(&e)))?;
        link_up(&engine, connection, deadline).await
    };
    if let Err(error) = opened.await {
        engine.counters.handshakes_failed.one();
        report(&engine, remote, &error);
    }
    drop(permit);
}

async fn link_up(engine: &Arc<Engine>, connection: Connection, deadline: Instant) -> Result<(), Error> {
    let streams = timeout_at(deadline, accept_streams(&connection)).await.unwrap_or(Err(Error::Timeout));
    let streams = streams.inspect_err(|error| {
        let code = if matches!(error, Error::Timeout) { code::TIMEOUT } else { code::PROTOCOL };
        connection.close(code, b"no stream was opened as it should");
    })?;
    let link = engine.admit(Way::In, &connection)?;
    engine.start(link, streams, 0)
}

async fn accept_streams(connection: &Connection) -> Result<Streams, Error> {
    let (send, mut recv) = connection.accept_bi().await.map_err(|e| Error::Ended(End::of(&e)))?;
    read_opening(&mut recv).await?;
    Ok(Streams { send, recv })
}

fn report(engine: &Engine, remote: SocketAddr, error: &Error) {
    engine.host.debug(format!("a link from {} did not come up: {error}", uri_of(remote)));
}
