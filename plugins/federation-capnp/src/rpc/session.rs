//! One connection with its RPC system: who the peer is, how it ends.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use qpq_quic_common::Bearer;
use quinn::{Connection, ConnectionError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::arguments::Standing;
use super::meter::Meter;
use super::system::Caught;
use crate::engine::{Engine, Peer};
use crate::error::{End, Error};
use crate::limits::{LAST_WORD, WHY};
use crate::link::{Link, Way};
use crate::links::Room;
use crate::refusal::{Reason, Refusal};

/// A connection whose peer has shown a good certificate.
pub(crate) struct Session {
    /// What all tasks share.
    pub(crate) engine: Arc<Engine>,
    /// The QUIC connection.
    pub(crate) connection: Connection,
    /// Who opened it.
    pub(crate) way: Way,
    /// The peer, as its certificate tells.
    pub(crate) peer: Peer,
    _room: Room,
    opened: Cell<bool>,
    /// Not kept for a successor.
    at_once: Cell<bool>,
    end: watch::Sender<Option<End>>,
    /// The peer will send no more frames.
    finished: watch::Sender<bool>,
    link: watch::Sender<Option<Arc<Link>>>,
}

impl Session {
    /// A session over that connection.
    pub(crate) fn new(engine: Arc<Engine>, connection: Connection, way: Way, peer: Peer, room: Room) -> Rc<Self> {
        Rc::new(Self {
            engine,
            connection,
            way,
            peer,
            _room: room,
            opened: Cell::new(false),
            at_once: Cell::new(false),
            end: watch::Sender::new(None),
            finished: watch::Sender::new(false),
            link: watch::Sender::new(None),
        })
    }

    /// For whom the peer may speak.
    pub(super) fn standing(&self) -> Standing<'_> {
        Standing { names: &self.peer.names, policy: &self.engine.policy }
    }

    /// `true` the first time: a link is opened once.
    pub(super) fn open_once(&self) -> bool {
        !self.opened.replace(true)
    }

    /// The connection is closed as soon as it ends, also when a successor takes over.
    pub(crate) fn close_at_once(&self) {
        self.at_once.set(true);
    }

    /// Ends the connection. The first reason counts.
    pub(crate) fn finish(&self, end: End) {
        self.end.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(end);
            first
        });
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        let found = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        found.unwrap_or_else(|| End::Lost("the session is gone".into()))
    }

    /// The peer has sent its last frame.
    pub(super) fn peer_finished(&self) {
        self.finished.send_replace(true);
    }

    /// Waits until the peer has said all ([`End::PeerDone`]) or the connection ends.
    pub(crate) async fn reader(&self) -> End {
        let mut finished = self.finished.subscribe();
        tokio::select! {
            biased;
            end = self.ended() => end,
            _ = finished.wait_for(|finished| *finished) => End::PeerDone,
        }
    }

    /// The link is up.
    pub(super) fn set_link(&self, link: Arc<Link>) {
        self.link.send_replace(Some(link));
    }

    /// Waits for the link.
    pub(super) async fn link(&self) -> Option<Arc<Link>> {
        self.link.subscribe().wait_for(Option::is_some).await.ok().and_then(|link| link.clone())
    }

    /// Why a call on this connection has failed: what the peer said, or what ended the connection.
    pub(crate) async fn why(&self, error: &capnp::Error) -> Error {
        if error.kind != capnp::ErrorKind::Disconnected
            && let Some(refusal) = Refusal::in_text(&error.extra)
        {
            return Error::Refused(refusal);
        }
        match timeout(WHY, self.ended()).await {
            Ok(end) => end.into(),
            Err(_) => Error::Ended(End::Lost(crate::address::printable(&error.to_string()))),
        }
    }
}

impl Bearer for Session {
    type End = End;

    fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn ended(&self) -> impl Future<Output = End> {
        Session::ended(self)
    }
}

/// Runs the RPC system until the connection ends, then closes it and says why.
pub(super) async fn drive(session: Rc<Session>, rpc: RpcSystem<Side>, meter: Rc<Meter>) {
    let mut rpc = pin!(Caught(rpc));
    let (end, by_peer) = tokio::select! {
        biased;
        end = session.ended() => (end, false),
        error = session.connection.closed() => (End::of(&error), is_of_peer(&error)),
        result = rpc.as_mut() => why_rpc_ended(&session, &meter, result).await,
    };
    session.finish(end.clone());
    if let End::Refused(refusal) = &end {
        let domain = session.peer.names.first().map(String::as_str);
        session.engine.note_refusal(session.connection.remote_address(), domain, refusal, by_peer);
    }
    if end == End::Quiesced && !session.at_once.get() {
        session.engine.endpoints.ports.park(session.connection.clone(), None);
        // The streams must stay until all connections are closed at once.
        std::future::pending::<()>().await;
    }
    let (code, text) = end.to_close();
    session.connection.close(code, text.as_bytes());
    told(&session.connection).await;
}

fn is_of_peer(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_))
}

async fn why_rpc_ended(
    session: &Session,
    meter: &Meter,
    result: Result<Result<(), capnp::Error>, String>,
) -> (End, bool) {
    let connection = &session.connection;
    if let Some(error) = connection.close_reason() {
        return (End::of(&error), is_of_peer(&error));
    }
    if let Err(panic) = &result {
        session.engine.host.error(format!("the RPC library panicked over a message of a peer: {panic}"));
        return (End::Refused(Refusal::new(Reason::Garbage)), false);
    }
    // A stream that breaks off looks like a fault of the peer too, until the reason arrives.
    match timeout(WHY / 5, connection.closed()).await {
        Ok(error) => (End::of(&error), is_of_peer(&error)),
        Err(_) => {
            let fault = meter.fault().or_else(|| result.ok()?.err().map(|error| error.to_string()));
            let fault = fault.unwrap_or_else(|| "it ended the stream".into());
            (End::Refused(Refusal::found(Reason::Garbage, &fault)), false)
        }
    }
}

/// Waits until the packet that closes a connection has left: the runtime that sends it runs on other threads.
async fn told(connection: &Connection) {
    let mut left = LAST_WORD.as_millis();
    while left > 0 && connection.stats().frame_tx.connection_close == 0 {
        sleep(Duration::from_millis(1)).await;
        left -= 1;
    }
}
