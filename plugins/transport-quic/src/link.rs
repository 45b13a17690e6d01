//! One link: a connection with one bidirectional stream, a writer and a reader, in one task.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use qpq_plugin_api::stream::{Decoder, Oversize, encode};
use quinn::{Connection, ReadError, RecvStream, SendStream, WriteError};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::error::End;
use crate::limits::{BATCH_BYTES, LAST_READ, LINGER, MAX_FRAME, OPENING, READ_CHUNKS};
use crate::queue::{Next, Outbox};
use crate::tls::Key;

/// Who opened a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The other node.
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
    /// The proven key of the other node.
    pub(crate) peer: Key,
    /// The QUIC connection.
    pub(crate) connection: Connection,
    /// Frames that wait for sending.
    pub(crate) outbox: Outbox,
    /// The host has room again.
    resume: Notify,
    /// The remote address that the host was told.
    told: Mutex<SocketAddr>,
    /// Why this side wants the link to end, and how long flushing may take.
    asked: Mutex<Option<(End, Duration)>>,
    /// `asked` was set.
    leave: Notify,
    /// The time for flushing ran out.
    cut_off: AtomicBool,
}

/// The two directions of a link's stream.
#[derive(Debug)]
pub(crate) struct Streams {
    /// To the peer.
    pub(crate) send: SendStream,
    /// From the peer.
    pub(crate) recv: RecvStream,
}

impl Link {
    /// A link over that connection.
    pub(crate) fn new(id: u64, way: Way, peer: Key, connection: Connection) -> Self {
        let told = Mutex::new(canonical(connection.remote_address()));
        Self {
            id,
            way,
            peer,
            connection,
            outbox: Outbox::default(),
            resume: Notify::new(),
            told,
            asked: Mutex::default(),
            leave: Notify::new(),
            cut_off: AtomicBool::new(false),
        }
    }

    /// The remote address, as the host knows it.
    pub(crate) fn remote(&self) -> SocketAddr {
        *lock(&self.told)
    }

    /// The remote address, if it is another one than the host knows.
    pub(crate) fn moved(&self) -> Option<SocketAddr> {
        let now = canonical(self.connection.remote_address());
        let mut told = lock(&self.told);
        (*told != now).then(|| {
            *told = now;
            now
        })
    }

    /// The host has room again.
    pub(crate) fn resume(&self) {
        self.resume.notify_one();
    }

    /// Ends the link once its queue is flushed, at the latest after `patience`. The first reason counts.
    pub(crate) fn ask_end(&self, why: End, patience: Duration) {
        lock(&self.asked).get_or_insert((why, patience));
        self.outbox.seal();
        self.leave.notify_one();
    }

    async fn asked(&self) -> (End, Duration) {
        loop {
            if let Some(asked) = lock(&self.asked).clone() {
                return asked;
            }
            self.leave.notified().await;
        }
    }
}

/// Carries frames both ways until the link ends; then hands back what was not sent, and reports the end.
pub(crate) async fn run(engine: Arc<Engine>, link: Arc<Link>, streams: Streams) {
    let mut unsent = VecDeque::new();
    let Streams { send, mut recv } = streams;
    let end = {
        let writer = pin!(write(&engine, &link, send, &mut unsent));
        let reader = pin!(read(&engine, &link, &mut recv));
        let end = carry(&link, writer, reader).await;
        if end != End::Quiesced || link.cut_off.load(Ordering::Acquire) {
            // Before the streams are dropped, which would finish them in the middle of a frame.
            let (code, text) = end.to_close();
            link.connection.close(code, text.as_bytes());
        }
        end
    };
    if link.connection.close_reason().is_none() {
        engine.endpoints.park(link.connection.clone(), recv);
    }
    unsent.extend(link.outbox.close());
    if !unsent.is_empty() {
        engine.events.unsent(link.id, unsent.make_contiguous());
    }
    engine.links.remove(link.id);
    engine.counters.ended(&end);
    engine.events.link_down(link.id, &end.to_string());
}

/// Runs both directions until one of them, or the host, ends the link.
async fn carry(
    link: &Link,
    mut writer: Pin<&mut impl Future<Output = Result<(), End>>>,
    mut reader: Pin<&mut impl Future<Output = End>>,
) -> End {
    let mut writing = true;
    loop {
        tokio::select! {
            flushed = &mut writer, if writing => match flushed {
                Ok(()) => writing = false,
                Err(end) => {
                    if link.connection.close_reason().is_some() {
                        // The peer may have flushed before it went: what has arrived counts as delivered there.
                        let _ = timeout(LINGER, reader).await;
                    }
                    return end;
                }
            },
            end = &mut reader => return match end {
                End::PeerDone => answer_leave(link, writer.as_mut(), writing).await,
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
/// What the peer has still queued is not waited for: under load that takes long, and the peer keeps it until it is
/// acknowledged. Returns the end if the connection broke.
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
async fn answer_leave(link: &Link, writer: Pin<&mut impl Future<Output = Result<(), End>>>, writing: bool) -> End {
    let began_here = link.outbox.is_sealed();
    link.outbox.seal();
    let flush = async {
        if writing {
            let _ = writer.await;
        }
        if began_here { End::PeerDone } else { End::of(&link.connection.closed().await) }
    };
    let end = timeout(LINGER, flush).await.unwrap_or_else(|_late| {
        link.cut_off.store(true, Ordering::Release);
        End::PeerDone
    });
    lock(&link.asked).clone().map_or(end, |(why, _)| why)
}

/// Writes what the queue holds, in batches, until it is sealed and empty and the peer has acknowledged all.
/// `batch` keeps what is under way, in case the writing is cut off.
async fn write(engine: &Engine, link: &Link, mut send: SendStream, batch: &mut VecDeque<Bytes>) -> Result<(), End> {
    if link.way == Way::In {
        // The dialler waits for it: it says that the host let the link in.
        send.write_all(&OPENING).await.map_err(|e| end_of_write(&e))?;
    }
    while let Next::Batch { writable } = link.outbox.next(batch, BATCH_BYTES).await {
        if writable {
            engine.events.writable(link.id);
        }
        let offered = batch.len();
        // The peer would end the link over such a frame. The host knows the limit, so this is a fault of the host.
        batch.retain(|frame| frame.len() <= MAX_FRAME);
        engine.counters.dropped_oversize(offered - batch.len());
        let mut chunks = Vec::new();
        encode(batch.iter().cloned(), &mut chunks);
        send.write_all_chunks(&mut chunks).await.map_err(|e| end_of_write(&e))?;
        engine.counters.sent(batch);
        batch.clear();
        batch.shrink_to(READ_CHUNKS);
    }
    let _ = send.finish();
    let _ = send.stopped().await;
    Ok(())
}

/// Reads frames and hands them to the host, until the peer finishes ([`End::PeerDone`]) or the connection breaks.
async fn read(engine: &Engine, link: &Link, recv: &mut RecvStream) -> End {
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut frames = VecDeque::new();
    let mut chunks: [Bytes; READ_CHUNKS] = std::array::from_fn(|_| Bytes::new());
    loop {
        let n = match recv.read_chunks(&mut chunks).await {
            Ok(Some(n)) => n,
            Ok(None) if decoder.is_between_frames() => return End::PeerDone,
            Ok(None) => return End::Protocol("the peer ended its stream inside a frame"),
            Err(error) => return end_of_read(&error),
        };
        let fed = decoder.feed_all(chunks.get_mut(..n).unwrap_or_default(), &mut frames);
        if let Err(end) = deliver(engine, link, &mut frames).await {
            return end;
        }
        if let Err(Oversize(len)) = fed {
            return End::Oversize(len);
        }
    }
}

/// Hands frames to the host. While the host has no room nothing more is read, so that flow control holds the peer back.
/// When the connection ends meanwhile the host gets a while more: the peer counts these frames as delivered.
async fn deliver(engine: &Engine, link: &Link, frames: &mut VecDeque<Bytes>) -> Result<(), End> {
    engine.counters.received(frames);
    while !frames.is_empty() {
        engine.events.deliver(link.id, frames);
        if frames.is_empty() {
            break;
        }
        engine.counters.stalled();
        tokio::select! {
            () = link.resume.notified() => {}
            error = link.connection.closed() => {
                timeout(LINGER, link.resume.notified()).await.map_err(|_late| End::of(&error))?;
            }
        }
    }
    frames.shrink_to(READ_CHUNKS);
    Ok(())
}

/// What a write error means for the link.
pub(crate) fn end_of_write(error: &WriteError) -> End {
    match error {
        WriteError::ConnectionLost(error) => End::of(error),
        WriteError::Stopped(_) => End::Protocol("the peer stopped reading its stream"),
        other => End::Lost(other.to_string()),
    }
}

/// What a read error means for the link.
pub(crate) fn end_of_read(error: &ReadError) -> End {
    match error {
        ReadError::ConnectionLost(error) => End::of(error),
        ReadError::Reset(_) => End::Protocol("the peer reset its stream"),
        other => End::Lost(other.to_string()),
    }
}

/// The address with IPv4 inside IPv6 unwrapped.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => addr,
        ip => SocketAddr::new(ip, addr.port()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
