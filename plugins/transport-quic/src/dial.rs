//! Links that this node opens.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::engine::{Engine, read_opening};
use crate::error::{End, Error};
use crate::limits::{ADDRESS_STAGGER, MAX_ADDRESSES, OPENING};
use crate::link::{Streams, Way, end_of_write};
use crate::tls::Key;

/// Makes a link to the node at `uri`, which must have the key `peer` if one is given. `op` goes into the report.
pub(crate) async fn dial(engine: Arc<Engine>, uri: &str, peer: Option<Key>, op: u64) -> Result<(), Error> {
    engine.check_running()?;
    let deadline = Instant::now() + engine.config.handshake_timeout();
    let address = Address::parse(uri)?;
    if address.port == 0 {
        return Err(Error::Uri { uri: uri.to_owned(), why: "no node can be reached at port 0" });
    }
    let reached = timeout_at(deadline, reach(&engine, &address, peer)).await.unwrap_or(Err(Error::Timeout));
    let (connection, streams) = reached?;
    let link = engine.admit(Way::Out, &connection)?;
    engine.start(link, streams, op)
}

async fn reach(engine: &Arc<Engine>, address: &Address, peer: Option<Key>) -> Result<(Connection, Streams), Error> {
    let targets = engine.resolve(address).await?;
    match targets.first() {
        Some(only) if targets.len() == 1 => attempt(engine, *only, peer).await,
        _ => race(engine, targets, peer).await,
    }
}

/// Tries the addresses of a name, each a little later than the one before (RFC 8305). The first link wins.
async fn race(
    engine: &Arc<Engine>,
    targets: Vec<SocketAddr>,
    peer: Option<Key>,
) -> Result<(Connection, Streams), Error> {
    let mut attempts = JoinSet::new();
    let mut head_start = std::time::Duration::ZERO;
    for target in targets.into_iter().take(MAX_ADDRESSES) {
        let engine = engine.clone();
        attempts.spawn(async move {
            sleep(head_start).await;
            attempt(&engine, target, peer).await
        });
        head_start += ADDRESS_STAGGER;
    }
    let mut last = Error::Timeout;
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(error)) => last = error,
            Err(panic) => last = Error::Setup(panic.to_string()),
        }
    }
    Err(last)
}

async fn attempt(engine: &Engine, target: SocketAddr, peer: Option<Key>) -> Result<(Connection, Streams), Error> {
    let (config, verifier) = engine.endpoints.client_config(peer)?;
    // The name is the bare IP address: then TLS sends no server name, which means nothing here.
    let connecting = engine.endpoints.dialler(target)?.connect_with(config, target, &target.ip().to_string());
    let connecting = connecting.map_err(|e| Error::Setup(format!("{target} can't be dialled: {e}")))?;
    let opened = async {
        let connection = connecting.await.map_err(|e| Error::Ended(End::of(&e)))?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|e| Error::Ended(End::of(&e)))?;
        send.write_all(&OPENING).await.map_err(|e| Error::Ended(end_of_write(&e)))?;
        // TLS 1.3 lets the client in before the server has looked at its key: only the answer says that it was accepted.
        read_opening(&mut recv).await?;
        Ok((connection, Streams { send, recv }))
    };
    opened.await.map_err(|error| match error {
        Error::Ended(End::Silent) => Error::Timeout,
        other => verifier.mismatch().unwrap_or(other),
    })
}
