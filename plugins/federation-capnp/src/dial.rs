//! Connections that this node opens.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, join_all, select};
use qpq_quic_common::{HostPort, MAX_ADDRESSES, race};
use quinn::Connection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::address::{Target, domain_of};
use crate::dns::{self, Services};
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
    // That one refuses says more than that another is silent.
    let refused = |error: &Error| matches!(error, Error::Refused(_));
    let reached = race(targets, |addr| attempt(engine.clone(), addr, target.domain.clone()), refused).await;
    reached.unwrap_or(Err(Error::Timeout))
}

/// Where the domain is: as the caller says, else as DNS says.
async fn addresses(engine: &Engine, target: &Target) -> Result<Vec<SocketAddr>, Error> {
    // The other half is for the handshake, so that the error says which of the two took too long.
    let deadline = Instant::now() + engine.config.handshake_timeout() / 2;
    if let Some(address) = &target.address {
        return look_up(engine, address, deadline).await;
    }
    let domain = &target.domain;
    match dns::services(domain, deadline).await {
        Ok(Services::At(services)) => all_of(engine, domain, &services, deadline).await,
        Ok(Services::NotOffered) => Err(Error::NotOffered { domain: domain.clone() }),
        Ok(Services::Unsaid) => look_up(engine, &itself(domain), deadline).await,
        Err(why) => {
            // The system may know the domain by other means, such as a file.
            let known = look_up(engine, &itself(domain), deadline).await;
            known.map_err(|_| Error::NameServers { host: domain.clone(), why })
        }
    }
}

/// Where a domain is that says nothing else.
fn itself(domain: &str) -> HostPort {
    HostPort { host: domain.to_owned(), port: DEFAULT_PORT }
}

/// The addresses of a host. The name servers are asked here as well as by the system: that one takes five seconds for a server
/// that is silent, and a thread, but knows names by other means, such as a file. Whoever knows the host first is believed.
async fn look_up(engine: &Engine, address: &HostPort, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
    let host = &address.host;
    if !(host.contains('.') && domain_of(host).is_ok()) || address.socket_addr().is_some() {
        let late = || Error::NameServers { host: host.clone(), why: "no answer came in time".to_owned() };
        return timeout_at(deadline, engine.resolve(address)).await.unwrap_or_else(|_| Err(late()));
    }
    let ours = async {
        let found = dns::hosts(host, deadline).await;
        let found = found.map_err(|why| Error::NameServers { host: host.clone(), why })?;
        let found = found.into_iter().map(|ip| SocketAddr::new(ip, address.port)).collect::<Vec<_>>();
        let nobody = || Error::Resolve { host: host.clone(), why: "it has no address".to_owned() };
        if found.is_empty() { Err(nobody()) } else { Ok(found) }
    };
    let systems = async { timeout_at(deadline, engine.resolve(address)).await.unwrap_or(Err(Error::Timeout)) };
    match select(pin!(ours), pin!(systems)).await {
        Either::Left((Ok(found), _)) | Either::Right((Ok(found), _)) => Ok(found),
        Either::Left((Err(why), systems)) => systems.await.map_err(|_| why),
        Either::Right((Err(_), ours)) => ours.await,
    }
}

/// The addresses of a domain's services: the first of each, then the second of each, and so on, so that a service with many
/// addresses leaves room for the next.
async fn all_of(
    engine: &Engine,
    domain: &str,
    services: &[HostPort],
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Error> {
    let look_ups = services.iter().take(MAX_ADDRESSES).map(|service| look_up(engine, service, deadline));
    let mut hosts = Vec::new();
    let mut failed = Error::NotOffered { domain: domain.to_owned() };
    for found in join_all(look_ups).await {
        match found {
            Ok(addresses) => hosts.push(addresses),
            Err(error) => failed = error,
        }
    }
    let addresses = in_turns(&hosts);
    if addresses.is_empty() { Err(failed) } else { Ok(addresses) }
}

fn in_turns(hosts: &[Vec<SocketAddr>]) -> Vec<SocketAddr> {
    let most = hosts.iter().map(Vec::len).max().unwrap_or_default();
    let mut all = Vec::new();
    for address in (0..most).flat_map(|turn| hosts.iter().filter_map(move |host| host.get(turn))) {
        if !all.contains(address) {
            all.push(*address);
        }
    }
    all.truncate(MAX_ADDRESSES);
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Four addresses of the first host once left no room for the second.
    #[test]
    fn a_host_with_many_addresses_leaves_room_for_the_next() {
        let host =
            |n: u8, count: u16| (0..count).map(|port| SocketAddr::from(([10, 0, 0, n], port))).collect::<Vec<_>>();
        let tried: Vec<_> = in_turns(&[host(1, 9), host(2, 1), host(1, 9)]).iter().map(ToString::to_string).collect();
        assert_eq!(tried, ["10.0.0.1:0", "10.0.0.2:0", "10.0.0.1:1", "10.0.0.1:2"]);
        assert!(in_turns(&[]).is_empty());
    }
}
