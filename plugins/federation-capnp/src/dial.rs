//! Connections that this node opens.

use std::net::SocketAddr;
use std::sync::Arc;

use qpq_quic_common::{HostPort, MAX_ADDRESSES, race};
use quinn::Connection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::address::Target;
use crate::dns;
use crate::engine::{Engine, Peer};
use crate::error::{End, Error};
use crate::limits::DEFAULT_PORT;
use crate::rpc::{Dialled, outbound};
use crate::tls;

/// Makes a link to the domain at `uri`. `op` goes into the report.
pub(crate) async fn dial(engine: Arc<Engine>, uri: &str, op: u64) -> Result<(), Error> {
    engine.check_running()?;
    let target = Target::parse(uri)?;
    engine.peers.dialling(&target.domain, engine.now_ms());
    let dialled = try_dial(&engine, &target, op).await;
    let error = dialled.as_ref().err().map(ToString::to_string);
    if let Err(error) = &dialled {
        engine.counters.dials_failed.one();
        engine.host.debug(format!("no link to {}: {error}", target.domain));
    }
    engine.peers.dialled(&target.domain, error, engine.now_ms());
    dialled
}

async fn try_dial(engine: &Arc<Engine>, target: &Target, op: u64) -> Result<(), Error> {
    engine.policy.check(&target.domain).map_err(Error::Refused)?;
    let room = engine.links.room(None).ok_or(Error::TooManyLinks)?;
    let deadline = Instant::now() + engine.config.handshake_timeout();
    let reached = timeout_at(deadline, reach(engine, target)).await.unwrap_or(Err(Error::Timeout));
    let (connection, names) = reached?;
    let peer = Peer::of(&connection, names);
    let dialled = Dialled { connection, peer, domain: target.domain.clone(), op, deadline, room };
    let (answer, answered) = oneshot::channel();
    let asking = engine.clone();
    let ordered = engine.rpc()?.order(move |local| async move {
        let _ = answer.send(outbound(local, asking, dialled).await);
    });
    if !ordered.await {
        return Err(Error::Stopping);
    }
    answered.await.unwrap_or(Err(Error::Stopping))
}

async fn reach(engine: &Arc<Engine>, target: &Target) -> Result<(Connection, Vec<String>), Error> {
    let targets = addresses(engine, target).await?;
    let reached = race(targets, |addr| attempt(engine.clone(), addr, target.domain.clone())).await;
    reached.unwrap_or(Err(Error::Timeout))
}

/// Where the domain is: as the caller says, else as DNS says.
async fn addresses(engine: &Engine, target: &Target) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = &target.address {
        return engine.resolve(address).await;
    }
    let mut found = Vec::new();
    for address in dns::services(&target.domain).await {
        found.extend(engine.resolve(&address).await.unwrap_or_default());
        if found.len() >= MAX_ADDRESSES {
            break;
        }
    }
    if found.is_empty() {
        found = engine.resolve(&HostPort { host: target.domain.clone(), port: DEFAULT_PORT }).await?;
    }
    Ok(found)
}

async fn attempt(engine: Arc<Engine>, target: SocketAddr, domain: String) -> Result<(Connection, Vec<String>), Error> {
    let material = engine.certificates()?.current();
    let (tls, seen) = tls::client(&engine.provider, material, &domain)?;
    let config = engine.endpoints.client_config(tls);
    let connecting = engine.endpoints.ports.dialler(target)?.connect_with(config, target, &domain);
    let connecting = connecting.map_err(|e| Error::Setup(format!("{target} can't be dialled: {e}")))?;
    match connecting.await {
        Ok(connection) => Ok((connection, seen.names())),
        Err(error) => {
            if let Some(refusal) = seen.refusal() {
                let names = seen.names();
                engine.note_refusal(target, names.first().map(String::as_str), &refusal, false);
                return Err(Error::Refused(refusal));
            }
            let end = End::of(&error);
            if let End::Refused(refusal) = &end {
                engine.note_refusal(target, Some(&domain), refusal, true);
            }
            Err(end.into())
        }
    }
}
