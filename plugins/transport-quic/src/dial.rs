//! Links that this node opens.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{HostPort, race};
use quinn::Connection;
use tokio::time::{Instant, timeout_at};

use crate::address::parse;
use crate::engine::{Engine, read_opening};
use crate::error::{End, Error};
use crate::limits::OPENING;
use crate::link::{Streams, Way, end_of_write};
use crate::tls::Key;

/// Makes a link to the node at `uri`, which must have the key `peer` if one is given. `op` goes into the report.
pub(crate) async fn dial(engine: Arc<Engine>, uri: &str, peer: Option<Key>, op: u64) -> Result<(), Error> {
    engine.check_running()?;
    let deadline = Instant::now() + engine.config.handshake_timeout();
    let address = parse(uri)?;
    if address.port == 0 {
        return Err(Error::Uri { uri: uri.to_owned(), why: "no node can be reached at port 0" });
    }
    let reached = timeout_at(deadline, reach(&engine, &address, peer)).await.unwrap_or(Err(Error::Timeout));
    let (connection, streams) = reached?;
    let link = engine.admit(Way::Out, &connection)?;
    engine.start(link, streams, op)
}

async fn reach(engine: &Arc<Engine>, address: &HostPort, peer: Option<Key>) -> Result<(Connection, Streams), Error> {
    let targets = engine.resolve(address).await?;
    race(targets, |target| attempt(engine.clone(), target, peer), |_| false).await.unwrap_or(Err(Error::Timeout))
}

async fn attempt(engine: Arc<Engine>, target: SocketAddr, peer: Option<Key>) -> Result<(Connection, Streams), Error> {
    let (config, verifier) = engine.endpoints.client_config(peer)?;
    // The name is the bare IP address: then TLS sends no server name, which means nothing here.
    let connecting = engine.endpoints.ports.dialler(target)?.connect_with(config, target, &target.ip().to_string());
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
