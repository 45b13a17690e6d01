//! What all tasks of an instance share.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qpq_plugin_api::{Host, Identity, TransportHost};
use qpq_quic_common::{HostPort, Lookups};
use quinn::Connection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::address::uri_of;
use crate::certs::{Certificates, Look};
use crate::config::Config;
use crate::counters::Counters;
use crate::der;
use crate::endpoint::Endpoints;
use crate::error::{End, Error};
use crate::handshakes::Handshakes;
use crate::limits::{MAX_LOOKUPS, RELOAD, STATS_LINKS};
use crate::link::Way;
use crate::links::Links;
use crate::peers::Peers;
use crate::refusal::Refusal;
use crate::refused::Refused;
use crate::rpc::RpcThread;
use crate::tls;
use crate::verify::Policy;

/// One instance of the transport.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The host.
    pub(crate) host: Host,
    /// The host's side of a transport.
    pub(crate) events: TransportHost,
    /// The node's identity, for a key of the plugin's own.
    pub(crate) identity: Identity,
    /// What the admin set.
    pub(crate) config: Config,
    /// Which domains may connect.
    pub(crate) policy: Policy,
    /// The cryptography of TLS.
    pub(crate) provider: Arc<CryptoProvider>,
    /// The sockets.
    pub(crate) endpoints: Endpoints,
    /// The links that are up.
    pub(crate) links: Arc<Links>,
    /// Inbound handshakes under way.
    pub(crate) handshakes: Arc<Handshakes>,
    /// The domains.
    pub(crate) peers: Peers,
    /// Figures.
    pub(crate) counters: Counters,
    refused: Refused,
    /// From `start` on.
    started: OnceLock<Started>,
    /// Looks names up.
    pub(crate) lookups: Lookups,
}

#[derive(Debug)]
struct Started {
    certificates: Certificates,
    rpc: RpcThread,
}

/// A peer, as its certificate tells.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The domains that it may speak for.
    pub(crate) names: Vec<String>,
    /// When its certificate is over, in Unix milliseconds.
    pub(crate) not_after_ms: Option<i64>,
}

impl Peer {
    /// The peer of a connection, whose names the verifier has seen.
    pub(crate) fn of(connection: &Connection, names: Vec<String>) -> Self {
        let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
        let fields = chain.and_then(|chain| der::fields(chain.first()?));
        Self { names, not_after_ms: fields.map(|fields| fields.not_after.saturating_mul(1_000)) }
    }
}

impl Engine {
    /// An instance without sockets, files or threads.
    pub(crate) fn new(host: Host, config: Config) -> Result<Self, qpq_plugin_api::Error> {
        Ok(Self {
            host,
            events: host.transport()?,
            identity: host.identity()?,
            policy: Policy::new(&config),
            provider: tls::provider(),
            endpoints: Endpoints::new(&config),
            links: Links::new(&config),
            handshakes: Handshakes::new(&config),
            peers: Peers::default(),
            counters: Counters::default(),
            refused: Refused::default(),
            started: OnceLock::new(),
            lookups: Lookups::at_most(MAX_LOOKUPS),
            config,
        })
    }

    /// Reads the certificates and starts the RPC thread.
    pub(crate) fn start(&self) -> Result<(), qpq_plugin_api::Error> {
        let failed = qpq_plugin_api::Error::failed;
        let certificates = Certificates::load(&self.config, self.provider.clone())
            .map_err(|e| failed(format!("the certificate of {} can't be used: {e}", self.config.domain)))?;
        self.warn_of_trouble(&certificates);
        let rpc = RpcThread::start(self.host).map_err(|e| failed(format!("no thread could be started: {e}")))?;
        let _ = self.started.set(Started { certificates, rpc });
        Ok(())
    }

    fn warn_of_trouble(&self, certificates: &Certificates) {
        if let Some(trouble) = certificates.current().trouble(self.now_ms()) {
            self.host.warn(format!("the certificate of {}: {trouble}", self.config.domain));
        }
    }

    /// The certificates.
    pub(crate) fn certificates(&self) -> Result<&Certificates, Error> {
        self.started.get().map(|started| &started.certificates).ok_or(Error::Stopping)
    }

    /// The RPC thread.
    pub(crate) fn rpc(&self) -> Result<&RpcThread, Error> {
        self.started.get().map(|started| &started.rpc).ok_or(Error::Stopping)
    }

    /// An error when nothing new is taken on.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        if self.links.table.is_closed() { Err(Error::Stopping) } else { Ok(()) }
    }

    /// Now, in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// The socket addresses of an address, in the order of the system.
    pub(crate) async fn resolve(&self, address: &HostPort) -> Result<Vec<SocketAddr>, Error> {
        let found = self.lookups.resolve(address).await;
        found.map_err(|error| Error::Resolve { host: address.host.clone(), why: error.to_string() })
    }

    /// Notes that a peer was refused, or has refused us, and logs it now and then.
    pub(crate) fn note_refusal(&self, remote: SocketAddr, domain: Option<&str>, refusal: &Refusal, by_peer: bool) {
        self.counters.refused.one();
        if !self.refused.note(remote, domain, refusal, by_peer, self.now_ms()) {
            return;
        }
        let remote = uri_of(domain.unwrap_or("unknown"), remote);
        self.host.warn(if by_peer {
            format!("{remote} refuses this node: {refusal} (there, \"the peer\" is this node)")
        } else {
            format!("{remote} was refused: {refusal}")
        });
    }

    /// Takes on nothing new, flushes and ends all links. Returns how many links were cut off because the time ran out.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        self.links.table.close();
        self.links.table.end_all(patience, |link| link.flow.ask_end(End::Quiesced, patience)).await
    }

    /// Looks at the certificate files now and then. Runs for as long as the instance.
    pub(crate) async fn watch_certificates(self: Arc<Self>) {
        let mut ticks = interval(RELOAD);
        loop {
            ticks.tick().await;
            let engine = self.clone();
            let look = move || engine.certificates().map_or(Look::Same, Certificates::look);
            match spawn_blocking(look).await {
                Ok(Look::Renewed) => {
                    self.host.info("the certificate files have changed; new handshakes use them");
                    if let Ok(certificates) = self.certificates() {
                        self.warn_of_trouble(certificates);
                    }
                }
                Ok(Look::Kept(error)) => {
                    self.host.warn(format!("the new certificate files can't be used, so the old ones stay: {error}"));
                }
                Ok(Look::Same) | Err(_) => {}
            }
        }
    }

    /// All figures as JSON.
    pub(crate) fn stats(&self) -> Value {
        let now_ms = self.now_ms();
        let (certificate, authority) = match self.certificates() {
            Ok(certificates) => certificates.to_json(now_ms),
            Err(_) => (Value::Null, Value::Null),
        };
        let listening = self.endpoints.ports.listening();
        let domain = &self.config.domain;
        json!({
            "schema": "qpq.federation-capnp.stats/1",
            "domain": domain,
            "listen": listening.into_iter().map(|addr| uri_of(domain, addr)).collect::<Vec<_>>(),
            "certificate": certificate,
            "authority": authority,
            "peers": self.peers.to_json(now_ms),
            "refused": self.refused.to_json(),
            "links": {"inbound": self.links.count(Way::In), "outbound": self.links.count(Way::Out)},
            "by_link": self.links.table.all().iter().take(STATS_LINKS).map(|link| link.to_json()).collect::<Vec<_>>(),
            "connections": self.links.connections(),
            "handshakes": self.handshakes.len(),
            "counters": self.counters.to_json(),
        })
    }
}
