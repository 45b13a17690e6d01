//! What all tasks of an instance share, and the steps that both directions have in common.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qpq_plugin_api::{Host, LinkUp, TransportHost};
use qpq_quic_common::{HostPort, Lookups, canonical, spawn};
use quinn::{Connection, RecvStream};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::interval;

use crate::address::uri_of;
use crate::config::Config;
use crate::counters::Counters;
use crate::endpoint::Endpoints;
use crate::error::{End, Error, code};
use crate::limits::{BINDING_LEN, EXPORTER_LABEL, MAX_FRAME, MAX_LOOKUPS, OPENING, STATS_LINKS, SWEEP};
use crate::link::{Link, Streams, Way, run};
use crate::links::Links;
use crate::tls::{Key, Tls, key_of};

/// One instance of the transport.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The host.
    pub(crate) host: Host,
    /// The host's side of a transport.
    pub(crate) events: TransportHost,
    /// What the admin set.
    pub(crate) config: Config,
    /// The sockets.
    pub(crate) endpoints: Endpoints,
    /// The links that are up.
    pub(crate) links: Links,
    /// Figures.
    pub(crate) counters: Counters,
    /// A permit for each inbound handshake.
    pub(crate) handshakes: Arc<Semaphore>,
    /// Looks names up.
    pub(crate) lookups: Lookups,
}

impl Engine {
    /// An instance without sockets.
    pub(crate) fn new(host: Host, config: Config) -> Result<Self, qpq_plugin_api::Error> {
        let tls = Tls::new(host.identity()?)?;
        Ok(Self {
            host,
            events: host.transport()?,
            endpoints: Endpoints::new(tls, &config),
            links: Links::new(&config),
            counters: Counters::default(),
            handshakes: Arc::new(Semaphore::new(config.max_handshakes)),
            lookups: Lookups::at_most(MAX_LOOKUPS),
            config,
        })
    }

    /// An error when nothing new is taken on.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        if self.links.table.is_closed() { Err(Error::Stopping) } else { Ok(()) }
    }

    /// The socket addresses of an address, in the order of the system.
    pub(crate) async fn resolve(&self, address: &HostPort) -> Result<Vec<SocketAddr>, Error> {
        let found = self.lookups.resolve(address).await;
        found.map_err(|source| Error::Resolve { host: address.host.clone(), source })
    }

    /// Enters a connection whose peer is proven and whose stream is open, if there is room.
    pub(crate) fn admit(&self, way: Way, connection: &Connection) -> Result<Arc<Link>, Error> {
        let peer = peer_key(connection).ok_or_else(|| Error::Setup("the peer showed no Ed25519 key".into()))?;
        let remote = canonical(connection.remote_address()).ip();
        let make = |id| Link::new(id, way, peer, connection.clone());
        self.links.admit(way, remote, make).ok_or_else(|| {
            connection.close(code::BUSY, b"busy");
            self.check_running().err().unwrap_or(Error::TooManyLinks(self.config.max_links))
        })
    }

    /// Reports an admitted link to the host and lets it carry frames. `op` is the dial that made it, or 0.
    pub(crate) fn start(self: &Arc<Self>, link: Arc<Link>, streams: Streams, op: u64) -> Result<(), Error> {
        let mut channel_binding = [0; BINDING_LEN];
        let exported = link.connection.export_keying_material(&mut channel_binding, EXPORTER_LABEL, b"");
        let up = LinkUp {
            link: link.id,
            op,
            outbound: link.way == Way::Out,
            relayed: false,
            reliable: true,
            peer: Some(link.peer),
            remote: &uri_of(link.remote()),
            max_frame: MAX_FRAME as u32,
            channel_binding: &channel_binding,
            rtt: Some(link.connection.rtt()),
        };
        let wanted = match exported {
            Ok(()) => self.events.link_up(&up).map_err(|e| Error::Ended(End::Closed(e.message))),
            Err(_) => Err(Error::Setup("TLS gave no channel binding".into())),
        };
        if let Err(error) = wanted {
            self.links.table.remove(link.id);
            link.connection.close(code::CLOSED, b"not wanted");
            return Err(error);
        }
        self.counters.links_up.one();
        spawn(&Handle::current(), self.host, run(self.clone(), link, streams));
        Ok(())
    }

    /// Takes on nothing new, flushes and ends all links. Returns how many links were cut off because the time ran out.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        self.links.table.close();
        self.links.table.end_all(patience, |link| link.flow.ask_end(End::Quiesced, patience)).await
    }

    /// Tells the host when a peer goes on under another address. Runs for as long as the instance.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            for link in self.links.table.all() {
                if let Some(remote) = link.moved() {
                    let rtt = Some(link.connection.rtt());
                    self.events.path_changed(link.id, &uri_of(remote), false, MAX_FRAME as u32, rtt);
                }
            }
        }
    }

    /// All figures as JSON.
    pub(crate) fn stats(&self) -> Value {
        let links = self.links.table.all();
        let listed: Vec<Value> = links.iter().take(STATS_LINKS).map(|link| link_stats(link)).collect();
        json!({
            "schema": "qpq.transport-quic.stats/1",
            "links": links.len(),
            "handshakes": self.config.max_handshakes - self.handshakes.available_permits(),
            "counters": self.counters.to_json(),
            "by_link": listed,
        })
    }
}

fn link_stats(link: &Link) -> Value {
    let (queued_frames, queued_bytes) = link.flow.outbox.depth();
    let path = link.connection.stats().path;
    json!({
        "link": link.id,
        "remote": uri_of(link.remote()),
        "outbound": link.way == Way::Out,
        "rtt_us": u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX),
        "sent_packets": path.sent_packets,
        "lost_packets": path.lost_packets,
        "mtu": path.current_mtu,
        "queued_frames": queued_frames,
        "queued_bytes": queued_bytes,
    })
}

/// The proven key of the other end.
fn peer_key(connection: &Connection) -> Option<Key> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(shown.first()?)
}

/// Waits for the opening of the other end.
pub(crate) async fn read_opening(recv: &mut RecvStream) -> Result<(), Error> {
    let mut opening = OPENING;
    match recv.read_exact(&mut opening).await {
        Ok(()) if opening == OPENING => Ok(()),
        Ok(()) => Err(Error::Ended(End::Protocol("the peer did not open the stream as it should"))),
        Err(quinn::ReadExactError::FinishedEarly(_)) => {
            Err(Error::Ended(End::Protocol("the peer ended the stream at once")))
        }
        Err(quinn::ReadExactError::ReadError(error)) => Err(Error::Ended(crate::link::end_of_read(&error))),
    }
}
