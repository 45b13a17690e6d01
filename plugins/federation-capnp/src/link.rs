//! One link: what the host knows of it, and how it ends. Its frames travel as calls, see `rpc::sink`.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use qpq_plugin_api::LinkUp;
use qpq_schemas::federation_capnp::frames;
use qpq_schemas::link::MAX_BLOCK;
use quinn::Connection;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::address::uri_of;
use crate::error::End;
use crate::limits::{BINDING_LEN, EXPORTER_LABEL, LAST_READ, LINGER, MAX_FRAME};
use crate::queue::Outbox;
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
    /// Frames that wait for sending.
    pub(crate) outbox: Outbox,
    /// The host has room again.
    resume: Notify,
    /// Why this side wants the link to end, and how long flushing may take.
    asked: Mutex<Option<(End, Duration)>>,
    /// `asked` was set.
    leave: Notify,
    /// The time for flushing ran out.
    cut_off: AtomicBool,
    /// The host was told of its end, or is being told.
    gone: AtomicBool,
}

impl Link {
    /// For `stats`.
    pub(crate) fn to_json(&self) -> Value {
        let (queued_frames, queued_bytes) = self.outbox.depth();
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

    /// The host has room again.
    pub(crate) fn resume(&self) {
        self.resume.notify_one();
    }

    /// Waits until the host has room again.
    pub(crate) async fn resumed(&self) {
        self.resume.notified().await;
    }

    /// Whether its end was reported.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Ends the link once its queue is flushed, at the latest after `patience`. The first reason counts.
    pub(crate) fn ask_end(&self, why: End, patience: Duration) {
        lock(&self.asked).get_or_insert((why, patience));
        self.outbox.seal();
        self.leave.notify_one();
    }

    /// Waits until this side wants it to end.
    pub(crate) async fn asked(&self) -> (End, Duration) {
        loop {
            if let Some(asked) = lock(&self.asked).clone() {
                return asked;
            }
            self.leave.notified().await;
        }
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
        outbox: Outbox::default(),
        resume: Notify::new(),
        asked: Mutex::default(),
        leave: Notify::new(),
        cut_off: AtomicBool::new(false),
        gone: AtomicBool::new(false),
    };
    let link = engine.links.enter(make).ok_or(End::Quiesced)?;
    let mut binding = [0; BINDING_LEN];
    if connection.export_keying_material(&mut binding, EXPORTER_LABEL, b"").is_err() {
        engine.links.remove(link.id);
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
        engine.links.remove(link.id);
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
    unsent.extend(link.outbox.close());
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
    engine.links.remove(link.id);
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
        carry(&session, &link, writer).await
    };
    dismiss(&session, &link, unsent, &end);
    if link.cut_off.load(Ordering::Acquire) {
        session.close_at_once();
    }
    session.finish(end);
}

/// Runs both directions until one of them, or the host, ends the link.
async fn carry(session: &Session, link: &Link, mut writer: Pin<&mut impl Future<Output = Result<(), End>>>) -> End {
    let mut reader = pin!(session.reader());
    let mut writing = true;
    loop {
        tokio::select! {
            flushed = &mut writer, if writing => match flushed {
                Ok(()) => writing = false,
                Err(end) => return end,
            },
            end = &mut reader => return match end {
                End::PeerDone => answer_leave(session, link, writer, writing).await,
                end => end,
            },
            (end, patience) = link.asked() => return match timeout(patience, leave(&end, writer, writing, reader)).await {
                Ok(None) => end,
                Ok(Some(worse)) => worse,
                Err(_late) => {
                    link.cut_off.store(true, Ordering::Release);
                    end
                }
            },
        }
    }
}

/// This side ends the link: flushes, and when another instance takes over ([`End::Quiesced`]) hands over what has come in.
/// What the peer has still queued is not waited for. Returns the end if the connection broke.
async fn leave(
    why: &End,
    mut writer: Pin<&mut impl Future<Output = Result<(), End>>>,
    mut writing: bool,
    mut reader: Pin<&mut impl Future<Output = End>>,
) -> Option<End> {
    let mut reading = true;
    while writing {
        tokio::select! {
            flushed = &mut writer, if writing => match flushed {
                Ok(()) => writing = false,
                Err(end) => return Some(end),
            },
            end = &mut reader, if reading => match end {
                End::PeerDone => reading = false,
                end => return Some(end),
            },
        }
    }
    if !reading || *why != End::Quiesced {
        return None;
    }
    match timeout(LAST_READ, reader).await {
        Ok(End::PeerDone) | Err(_) => None,
        Ok(end) => Some(end),
    }
}

/// The peer has said all: flushes this side too. Who began to leave closes the connection, once it has read everything.
async fn answer_leave(
    session: &Session,
    link: &Link,
    writer: Pin<&mut impl Future<Output = Result<(), End>>>,
    writing: bool,
) -> End {
    let began_here = link.outbox.is_sealed();
    link.outbox.seal();
    let flush = async {
        if writing {
            tokio::select! {
                _ = writer => {}
                end = session.ended() => return end,
            }
        }
        if began_here { End::PeerDone } else { session.ended().await }
    };
    let end = timeout(LINGER, flush).await.unwrap_or_else(|_late| {
        link.cut_off.store(true, Ordering::Release);
        End::PeerDone
    });
    lock(&link.asked).clone().map_or(end, |(why, _)| why)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
