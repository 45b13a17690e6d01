//! One link: a connection with one bidirectional stream, a writer and a reader, in one task.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::EndpointId;
use iroh::endpoint::{Connection, ReadError, RecvStream, SendStream, WriteError};
use qpq_plugin_api::stream::{Decoder, Oversize, encode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::engine::Engine;
use crate::error::End;
use crate::limits::{BATCH_BYTES, LINGER, MAX_FRAME, OPENING, READ_CHUNKS, UPGRADE_FIRST, UPGRADE_LAST};
use crate::path::Path;
use crate::queue::{Next, Outbox};

/// Where a link was opened from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This node.
    Here,
    /// Another node, directly from that address.
    Address(IpAddr),
    /// Another node, through a relay.
    Relay,
}

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its number: from 1 on, never used again.
    pub(crate) id: u64,
    /// Where it was opened from.
    pub(crate) origin: Origin,
    /// The proven key of the other node.
    pub(crate) peer: EndpointId,
    /// The QUIC connection.
    pub(crate) connection: Connection,
    /// Frames that wait for sending.
    pub(crate) outbox: Outbox,
    /// The host has room again.
    resume: Notify,
    /// The path that the host was told.
    told: Mutex<Path>,
    /// When a direct path is looked for next, while the link is relayed.
    upgrade: Mutex<Option<(Instant, Duration)>>,
    /// Why this side wants the link to end, and how long flushing may take.
    asked: Mutex<Option<(End, Duration)>>,
    /// `asked` was set.
    leave: Notify,
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
    pub(crate) fn new(id: u64, origin: Origin, connection: Connection) -> Self {
        Self {
            id,
            origin,
            peer: connection.remote_id(),
            told: Mutex::new(Path::of(&connection)),
            connection,
            outbox: Outbox::default(),
            resume: Notify::new(),
            upgrade: Mutex::default(),
            asked: Mutex::default(),
            leave: Notify::new(),
        }
    }

    /// Whether this node opened it.
    pub(crate) fn is_outbound(&self) -> bool {
        self.origin == Origin::Here
    }

    /// The path, as the host knows it.
    pub(crate) fn path(&self) -> Path {
        lock(&self.told).clone()
    }

    /// The path, if it is another one than the host knows. Between two paths there is none, which is nothing new.
    pub(crate) fn moved(&self) -> Option<Path> {
        let now = Path::of(&self.connection);
        let mut told = lock(&self.told);
        let other = now.addr.is_some() && now.addr != told.addr;
        *told = if now.addr.is_some() { now } else { return None };
        other.then(|| told.clone())
    }

    /// Whether it is time to look for a direct path: while relayed, at growing intervals.
    pub(crate) fn wants_upgrade(&self, now: Instant) -> bool {
        let relayed = self.path().is_relayed();
        let mut upgrade = lock(&self.upgrade);
        let (at, pause) = match *upgrade {
            _ if !relayed => {
                *upgrade = None;
                return false;
            }
            Some(due) => due,
            None => *upgrade.insert((now + UPGRADE_FIRST, UPGRADE_FIRST)),
        };
        let due = now >= at;
        if due {
            let pause = (pause * 2).min(UPGRADE_LAST);
            *upgrade = Some((now + pause, pause));
        }
        due
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
    let end = {
        let writer = pin!(write(&engine, &link, streams.send, &mut unsent));
        let reader = pin!(read(&engine, &link, streams.recv));
        let end = carry(&link, writer, reader).await;
        // Before the streams are dropped, which would finish them in the middle of a frame.
        let (code, text) = end.to_close();
        link.connection.close(code, text.as_bytes());
        end
    };
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
                Err(end) => return end,
            },
            end = &mut reader => return match end {
                End::PeerDone => answer_leave(link, writer.as_mut(), writing).await,
                end => end,
            },
            (end, patience) = link.asked() => return match timeout(patience, leave(&end, writer, writing, reader)).await {
                Ok(None) => end,
                Ok(Some(worse)) => worse,
                Err(_late) => end,
            },
        }
    }
}

/// This side ends the link: flushes, and when another instance takes over ([`End::Quiesced`]) lets the peer finish too.
/// What comes in meanwhile is still handed over. Returns the end if the connection broke.
async fn leave(
    why: &End,
    mut writer: Pin<&mut impl Future<Output = Result<(), End>>>,
    mut writing: bool,
    mut reader: Pin<&mut impl Future<Output = End>>,
) -> Option<End> {
    let mut reading = true;
    while writing || (reading && *why == End::Quiesced) {
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
    None
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
    let end = timeout(LINGER, flush).await.unwrap_or(End::PeerDone);
    lock(&link.asked).clone().map_or(end, |(why, _)| why)
}

/// Writes what the queue holds, in batches, until it is sealed and empty and the peer has acknowledged all.
/// `batch` keeps what is under way, in case the writing is cut off.
async fn write(engine: &Engine, link: &Link, mut send: SendStream, batch: &mut VecDeque<Bytes>) -> Result<(), End> {
    if !link.is_outbound() {
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
async fn read(engine: &Engine, link: &Link, mut recv: RecvStream) -> End {
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut frames = VecDeque::new();
    let mut chunks: [Bytes; READ_CHUNKS] = std::array::from_fn(|_| Bytes::new());
    loop {
        let n = match recv.read_many_chunks(&mut chunks).await {
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
            error = link.connection.closed() => return Err(End::of(&error)),
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
