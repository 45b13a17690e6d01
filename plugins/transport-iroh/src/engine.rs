//! What all tasks of an instance share, and the steps that both directions have in common.

use std::sync::Arc;
use std::time::Duration;

use iroh::EndpointId;
use iroh::endpoint::{Connection, ReadExactError, RecvStream};
use qpq_plugin_api::{Host, Identity, LinkUp, TransportHost};
use qpq_quic_common::spawn;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::book::Book;
use crate::config::Config;
use crate::counters::Counters;
use crate::error::{End, Error, code};
use crate::limits::{BINDING_LEN, EXPORTER_LABEL, MAX_FRAME, OPENING, STATS_LINKS};
use crate::link::{Link, Origin, Streams, end_of_read, run};
use crate::links::Links;
use crate::net::Net;
use crate::path::Path;
use crate::relays;

/// One instance of the transport.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The host.
    pub(crate) host: Host,
    /// The host's side of a transport.
    pub(crate) events: TransportHost,
    /// The node's identity.
    pub(crate) identity: Identity,
    /// What the admin set.
    pub(crate) config: Config,
    /// The iroh endpoint.
    pub(crate) net: Net,
    /// Where peers are.
    pub(crate) book: Book,
    /// The links that are up.
    pub(crate) links: Links,
    /// Figures.
    pub(crate) counters: Counters,
    /// A permit for each inbound handshake.
    pub(crate) handshakes: Arc<Semaphore>,
}

impl Engine {
    /// An instance without sockets.
    pub(crate) fn new(host: Host, config: Config) -> Result<Self, qpq_plugin_api::Error> {
        Ok(Self {
            host,
            events: host.transport()?,
            identity: host.identity()?,
            net: Net::new(config.clone())?,
            book: Book::default(),
            links: Links::new(&config),
            counters: Counters::default(),
            handshakes: Arc::new(Semaphore::new(config.max_handshakes)),
            config,
        })
    }

    /// This node's own key.
    pub(crate) fn me(&self) -> Result<EndpointId, Error> {
        let key = self.identity.public_key().map_err(|e| Error::Setup(e.to_string()))?;
        EndpointId::from_bytes(&key).map_err(|e| Error::Setup(e.to_string()))
    }

    /// An error when nothing new is taken on.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        if self.links.table.is_closed() { Err(Error::Stopping) } else { Ok(()) }
    }

    /// Enters a connection whose stream is open, if there is room.
    pub(crate) fn admit(&self, origin: Origin, connection: &Connection) -> Result<Arc<Link>, Error> {
        let make = |id| Link::new(id, origin, connection.clone());
        self.links.admit(origin, connection.remote_id(), make).ok_or_else(|| {
            connection.close(code::BUSY, b"busy");
            self.check_running().err().unwrap_or(Error::TooManyLinks(self.config.max_links))
        })
    }

    /// Reports an admitted link to the host and lets it carry frames. `op` is the dial that made it, or 0.
    pub(crate) fn start(self: &Arc<Self>, link: Arc<Link>, streams: Streams, op: u64) -> Result<(), Error> {
        let mut channel_binding = [0; BINDING_LEN];
        let exported = link.connection.export_keying_material(&mut channel_binding, EXPORTER_LABEL, b"");
        let path = link.path();
        let up = LinkUp {
            link: link.id,
            op,
            outbound: link.is_outbound(),
            relayed: path.is_relayed(),
            reliable: true,
            peer: Some(*link.peer.as_bytes()),
            remote: &path.uri(&link.connection),
            max_frame: MAX_FRAME as u32,
            channel_binding: &channel_binding,
            rtt: path.rtt,
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
        self.book.note_path(link.peer, &path);
        spawn(&Handle::current(), self.host, run(self.clone(), link, streams));
        Ok(())
    }

    /// Flushes and ends all links, within about `patience`. Returns how many were cut off.
    pub(crate) async fn end_links(&self, why: &End, patience: Duration) -> usize {
        self.links.table.end_all(patience, |link| link.flow.ask_end(why.clone(), patience)).await
    }

    /// Takes on nothing new, flushes and ends all links, then closes the sockets. Returns how many links were cut off
    /// because the time ran out.
    pub(crate) async fn quiesce(&self, patience: Duration) -> usize {
        self.links.table.close();
        let left = self.end_links(&End::Quiesced, patience).await;
        let _ = timeout(patience, self.net.close()).await;
        left
    }

    /// All figures as JSON.
    pub(crate) fn stats(&self) -> Value {
        let links = self.links.table.all();
        let listed: Vec<Value> = links.iter().take(STATS_LINKS).map(|link| link_stats(link)).collect();
        let relays = relays::look(self.net.relays(), self.net.current().as_ref());
        json!({
            "schema": "qpq.transport-iroh.stats/1",
            "listening": self.net.listening(),
            "relays": relays::to_json(&relays),
            "links": links.len(),
            "relayed": links.iter().filter(|link| link.path().is_relayed()).count(),
            "handshakes": self.config.max_handshakes - self.handshakes.available_permits(),
            "counters": self.counters.to_json(),
            "by_link": listed,
        })
    }
}

fn link_stats(link: &Link) -> Value {
    let (queued_frames, queued_bytes) = link.flow.outbox.depth();
    let path = Path::of(&link.connection);
    json!({
        "link": link.id,
        "remote": path.uri(&link.connection),
        "relayed": path.is_relayed(),
        "outbound": link.is_outbound(),
        "paths": link.connection.paths().len(),
        "rtt_us": path.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        "queued_frames": queued_frames,
        "queued_bytes": queued_bytes,
    })
}

/// Waits for the opening of the other end.
pub(crate) async fn read_opening(recv: &mut RecvStream) -> Result<(), Error> {
    let mut opening = [u8::MAX; OPENING.len()];
    match recv.read_exact(&mut opening).await {
        Ok(()) if opening == OPENING => Ok(()),
        Ok(()) => Err(Error::Ended(End::Protocol("the peer did not open the stream as it should"))),
        Err(ReadExactError::FinishedEarly(_)) => Err(Error::Ended(End::Protocol("the peer ended the stream at once"))),
        Err(ReadExactError::ReadError(error)) => Err(Error::Ended(end_of_read(&error))),
    }
}
