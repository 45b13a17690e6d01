//! Links that this node opens.

use std::collections::BTreeSet;
use std::sync::Arc;

use iroh::endpoint::Connection;
use iroh::{EndpointAddr, TransportAddr};
use tokio::time::timeout;

use crate::accept::serve;
use crate::address::Target;
use crate::engine::{Engine, read_opening};
use crate::error::{End, Error, code};
use crate::limits::{OPENING, UPGRADE_TIMEOUT};
use crate::link::{Link, Origin, Streams, end_of_write};

/// Makes a link to the node at `uri`. `op` goes into the report.
pub(crate) async fn dial(engine: Arc<Engine>, uri: &str, peer: Option<[u8; 32]>, op: u64) -> Result<(), Error> {
    engine.check_running()?;
    let target = Target::parse(uri)?;
    if peer.is_some_and(|peer| peer != *target.peer.as_bytes()) {
        return Err(Error::OtherPeer);
    }
    if target.peer == engine.me()? {
        return Err(Error::Myself);
    }
    let addr = where_is(&engine, &target)?;
    let reached = timeout(engine.config.dial_timeout(), reach(&engine, addr)).await.unwrap_or(Err(Error::Timeout));
    let (connection, streams) = reached?;
    let link = engine.admit(Origin::Here, &connection)?;
    engine.start(link, streams, op)
}

/// All places where the peer may be: those that the URI names, those where it was before, and the configured relays.
fn where_is(engine: &Engine, target: &Target) -> Result<EndpointAddr, Error> {
    let configured = engine.net.relays();
    let known = engine.book.of(&target.peer);
    let mut addrs: BTreeSet<TransportAddr> =
        target.direct.iter().chain(&known).copied().map(TransportAddr::Ip).collect();
    let named = target.relays.iter().filter(|url| configured.contains(url));
    if target.relays.is_empty() {
        addrs.extend(configured.iter().cloned().map(TransportAddr::Relay));
    } else {
        // The URI may come from anybody: it can't make this node talk to a server that the admin didn't choose.
        addrs.extend(named.cloned().map(TransportAddr::Relay));
    }
    match (addrs.is_empty(), target.relays.first()) {
        (false, _) => Ok(EndpointAddr::from_parts(target.peer, addrs)),
        (true, Some(foreign)) => Err(Error::ForeignRelay(foreign.to_string())),
        (true, None) => Err(Error::NoAddress(*target.peer.as_bytes())),
    }
}

async fn reach(engine: &Arc<Engine>, addr: EndpointAddr) -> Result<(Connection, Streams), Error> {
    let endpoint = engine.net.endpoint(|endpoint| serve(engine, endpoint)).await?;
    let connection = engine.net.connect(&endpoint, addr).await?;
    let (mut send, mut recv) = connection.open_bi().await.map_err(|e| Error::Ended(End::of(&e)))?;
    send.write_all(&OPENING).await.map_err(|e| Error::Ended(end_of_write(&e)))?;
    // TLS 1.3 lets the client in before the server has looked at its key: only the answer says that it was accepted.
    read_opening(&mut recv).await?;
    Ok((connection, Streams { send, recv }))
}

/// Looks whether a relayed link's peer can be reached directly, by another connection to the addresses that are known: when
/// that comes up, iroh moves the link over at once.
pub(crate) async fn upgrade(engine: Arc<Engine>, link: Arc<Link>) {
    let addrs: Vec<TransportAddr> = engine.book.of(&link.peer).into_iter().map(TransportAddr::Ip).collect();
    let Some(endpoint) = engine.net.current().filter(|_| !addrs.is_empty()) else { return };
    engine.counters.upgrades_tried.one();
    let addr = EndpointAddr::from_parts(link.peer, addrs);
    if let Ok(Ok(probe)) = timeout(UPGRADE_TIMEOUT, engine.net.connect(&endpoint, addr)).await {
        probe.close(code::PROBE, b"probe");
    }
}
