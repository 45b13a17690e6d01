//! One link: what the host knows of it, and how it ends. Its frames travel as calls, see `rpc::sink`.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use qpq_plugin_api::LinkUp;
use qpq_quic_common::{Flow, LINGER};
use qpq_schemas::federation_capnp::frames;
use qpq_schemas::link::MAX_BLOCK;
use quinn::Connection;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::address::uri_of;
use crate::error::End;
use crate::limits::{BINDING_LEN, EXPORTER_LABEL, LAST_READ, MAX_FRAME, OUTBOX};
use crate::rpc::{Session, carry_out};

/// Who opened a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The other domain.
    In,
    /// This node.
    Out,
}

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its number: from 1 on, never used again.
    pub(crate) id: u64,
    /// Who opened it.
    pub(crate) way: Way,
    /// The domain at the other end.
    pub(crate) domain: String,
    /// Whether the other end is a server of the older kind.
    pub(crate) legacy: bool,
    /// The QUIC connection.
    pub(crate) connection: Connection,
    /// What waits, and how it ends.
    pub(crate) flow: Flow<End>,
    /// The host was told of its end, or is being told.
    gone: AtomicBool,
}

impl Link {
    /// For `stats`.
    pub(crate) fn to_json(&self) -> Value {
        let (queued_frames, queued_bytes) = self.flow.outbox.depth();
        let path = self.connection.stats().path;
        json!({
            "link": self.id,
            "remote": uri_of(&self.domain, self.connection.remote_address()),
            "outbound": self.way == Way::Out,
            "legacy": self.legacy,
            "rtt_us": u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX),
            "sent_packets": path.sent_packets,
            "lost_packets": path.lost_packets,
            "queued_frames": queued_frames,
            "queued_bytes": queued_bytes,
        })
    }

    /// Whether its end was reported.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Enters a link and reports it to the host. `op` is the dial that made it, or 0. The error is to be told to the peer.
pub(crate) fn admit(session: &Rc<Session>, domain: &str, legacy: bool, op: u64) -> Result<Arc<Link>, End> {
    let (engine, connection) = (&session.engine, &session.connection);
    let make = |id| Link {
        id,
        way: session.way,
        domain: domain.to_owned(),
        legacy,
        connection: connection.clone(),
        flow: Flow::new(OUTBOX),
        gone: AtomicBool::new(false),
    };
    let link = engine.links.table.enter(|_| true, make).ok_or(End::Quiesced)?;
    let mut binding = [0; BINDING_LEN];
    if connection.export_keying_material(&mut binding, EXPORTER_LABEL, b"").is_err() {
        engine.links.table.remove(link.id);
        return Err(End::Lost("TLS gave no channel binding".into()));
    }
    let remote = uri_of(domain, connection.remote_address());
    let up = LinkUp {
        link: link.id,
        op,
        outbound: session.way == Way::Out,
        relayed: false,
        reliable: true,
        peer: None,
        remote: &remote,
        // The end of a bridge is in this plugin, so nothing has to be cut into pieces.
        max_frame: if legacy { MAX_BLOCK as u32 } else { MAX_FRAME as u32 },
        channel_binding: &binding,
        rtt: Some(connection.rtt()),
    };
    // Before the host, which may send at once.
    engine.peers.up(domain, &remote, legacy, session.peer.not_after_ms, engine.now_ms());
    if let Err(unwanted) = engine.events.link_up(&up) {
        engine.links.table.remove(link.id);
        engine.peers.down(domain, None, engine.now_ms());
        return Err(End::Closed(unwanted.message));
    }
    engine.counters.links_up.one();
    Ok(link)
}

/// Reports the end of a link, after handing back what was not sent.
pub(crate) fn dismiss(session: &Session, link: &Link, mut unsent: VecDeque<Bytes>, end: &End) {
    let engine = &session.engine;
    link.gone.store(true, Ordering::Release);
    unsent.extend(link.flow.outbox.close());
    if !unsent.is_empty() {
        engine.events.unsent(link.id, unsent.make_contiguous());
    }
    engine.counters.links_ended.one();
    let error = match end {
        End::Silent => {
            engine.counters.peers_silent.one();
            Some(end.to_string())
        }
        End::Refused(_) => {
            engine.counters.peers_at_fault.one();
            Some(end.to_string())
        }
        End::Lost(_) | End::PeerClosed(..) | End::Busy => Some(end.to_string()),
        _ => None,
    };
    engine.peers.down(&link.domain, error, engine.now_ms());
    engine.events.link_down(link.id, &end.to_string());
    // Last: who waits for the table to be empty may end the process.
    engine.links.table.remove(link.id);
}

/// Carries frames to the peer until the link ends; then hands back what was not sent, and reports the end.
pub(crate) async fn run(session: Rc<Session>, link: Arc<Link>, forth: frames::Client) {
    let mut unsent = VecDeque::new();
    let end = {
        let writer = pin!(async {
            match carry_out(&session.engine, &link, &forth, &mut unsent).await {
                Ok(()) => Ok(()),
                Err(error) => Err(match timeout(LINGER, session.ended()).await {
                    Ok(end) => end,
                    Err(_) => End::Lost(crate::address::printable(&error.to_string())),
                }),
            }
        });
        let reader = pin!(session.reader());
        link.flow.carry(&*session, LAST_READ, writer, reader).await
    };
    dismiss(&session, &link, unsent, &end);
    if link.flow.is_cut_off() {
        session.close_at_once();
    }
    session.finish(end);
}
