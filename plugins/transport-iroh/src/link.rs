//! One link: a connection with one bidirectional stream, a writer and a reader, in one task.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::EndpointId;
use iroh::endpoint::{Connection, ReadError, RecvStream, SendStream, WriteError};
use qpq_plugin_api::Next;
use qpq_plugin_api::stream::{Decoder, Oversize, encode};
use qpq_quic_common::{Bearer, Flow};
use tokio::time::Instant;

use crate::engine::Engine;
use crate::error::End;
use crate::limits::{BATCH_BYTES, LAST_READ, MAX_FRAME, OPENING, QUEUE, READ_CHUNKS, UPGRADE_FIRST, UPGRADE_LAST};
use crate::path::Path;

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
    /// What waits, and how it ends.
    pub(crate) flow: Flow<End>,
    /// The path that the host was told.
    told: Mutex<Path>,
    /// When a direct path is looked for next, while the link is relayed.
    upgrade: Mutex<Option<(Instant, Duration)>>,
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
            flow: Flow::new(QUEUE),
            upgrade: Mutex::default(),
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
}

impl Bearer for Link {
    type End = End;

    fn has_ended(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    async fn ended(&self) -> End {
        End::of(&self.connection.closed().await)
    }
}

/// Carries frames both ways until the link ends; then hands back what was not sent, and reports the end.
pub(crate) async fn run(engine: Arc<Engine>, link: Arc<Link>, streams: Streams) {
    let mut unsent = VecDeque::new();
    let end = {
        let writer = pin!(write(&engine, &link, streams.send, &mut unsent));
        let reader = pin!(read(&engine, &link, streams.recv));
        let end = link.flow.carry(&*link, LAST_READ, writer, reader).await;
        // Before the streams are dropped, which would finish them in the middle of a frame.
        let (code, text) = end.to_close();
        link.connection.close(code, text.as_bytes());
        end
    };
    unsent.extend(link.flow.outbox.close());
    if !unsent.is_empty() {
        engine.events.unsent(link.id, unsent.make_contiguous());
    }
    engine.links.table.remove(link.id);
    engine.counters.ended(&end);
    engine.events.link_down(link.id, &end.to_string());
}

/// Writes what the queue holds, in batches, until it is sealed and empty and the peer has acknowledged all.
/// `batch` keeps what is under way, in case the writing is cut off.
async fn write(engine: &Engine, link: &Link, mut send: SendStream, batch: &mut VecDeque<Bytes>) -> Result<(), End> {
    if !link.is_outbound() {
        // The dialler waits for it: it says that the host let the link in.
        send.write_all(&OPENING).await.map_err(|e| end_of_write(&e))?;
    }
    while let Next::Batch { writable } = link.flow.outbox.next(batch, usize::MAX, BATCH_BYTES).await {
        if writable {
            engine.events.writable(link.id);
        }
        let offered = batch.len();
        // The peer would end the link over such a frame. The host knows the limit, so this is a fault of the host.
        batch.retain(|frame| frame.len() <= MAX_FRAME);
        engine.counters.oversize_dropped.add(offered - batch.len());
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
        engine.counters.stalls.one();
        link.flow.room(link).await?;
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
