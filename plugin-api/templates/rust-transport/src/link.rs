//! One link: a connection, a queue of what is to be sent, a reader and a writer.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use qpq_plugin_api::FrameQueue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::shared::Shared;
use crate::wire::{decode, encode, encoded_len};

/// What is written at once: at most that many frames and bytes.
const BATCH: (usize, usize) = (64, 256 * 1024);
/// What is read at once, in bytes.
const READ: usize = 64 * 1024;
/// For so long a link that ends may go on, where nobody asked for another time.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) struct Link {
    id: u64,
    /// Frames that the host sent. It is bounded, and notes in one step that it is full and that the host waits.
    pub(crate) outbox: FrameQueue,
    /// There is something in the outbox, or the link shall end. Keeps one permit, so no wakeup is lost.
    filled: Notify,
    /// The host takes frames again. Keeps one permit too: it may come before `deliver` returns.
    pub(crate) resumed: Notify,
    /// Why the link shall end, and how long that may take.
    end: Mutex<Option<(String, Duration)>>,
}

impl Link {
    pub(crate) fn new(id: u64) -> Self {
        let (outbox, filled, resumed) = (FrameQueue::default(), Notify::new(), Notify::new());
        Self { id, outbox, filled, resumed, end: Mutex::new(None) }
    }

    /// Wakes the writer.
    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Ends the link once what is queued is sent. The first reason counts.
    pub(crate) fn end(&self, reason: &str, patience: Duration) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.get_or_insert_with(|| (reason.to_owned(), patience));
        drop(end);
        self.wake();
    }

    /// The same, with the usual patience.
    pub(crate) fn close(&self, reason: &str) {
        self.end(reason, LINGER);
    }

    fn ending(&self) -> Option<(String, Duration)> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Carries frames until the link ends, then reports what was not sent and that it is down.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<Link>, stream: TcpStream) {
    let (read, mut write) = stream.into_split();
    let mut batch = Batch::default();
    let reason = carry(&shared, &link, read, &mut write, &mut batch).await;
    let mut unsent = batch.unsent();
    unsent.extend(link.outbox.close());
    if !unsent.is_empty() {
        shared.events.unsent(link.id, &unsent);
    }
    shared.closed(link.id, &reason);
}

/// Reads and writes until both directions are done. Whichever ends first, the other may go on for a while: so nothing is
/// lost that was on its way.
async fn carry(
    shared: &Shared,
    link: &Link,
    read: OwnedReadHalf,
    write: &mut OwnedWriteHalf,
    batch: &mut Batch,
) -> String {
    let mut reader = pin!(read_frames(shared, link, read));
    let mut writer = pin!(write_frames(shared, link, write, batch));
    tokio::select! {
        end = &mut reader => match end {
            Ok(()) => {
                link.close("the other end closed the link");
                let _ = timeout(LINGER, writer).await;
            }
            Err(why) => return why,
        },
        end = &mut writer => match end {
            Ok(()) => {
                let patience = link.ending().map_or(LINGER, |(_, patience)| patience);
                let _ = timeout(patience, reader).await;
            }
            Err(error) => return error.to_string(),
        },
    }
    link.ending().map_or_else(String::new, |(reason, _)| reason)
}

async fn read_frames(shared: &Shared, link: &Link, mut stream: OwnedReadHalf) -> Result<(), String> {
    let (mut read, mut frames) = (BytesMut::new(), VecDeque::new());
    loop {
        while let Some(frame) = decode(&mut read)? {
            frames.push_back(frame);
        }
        // While the host takes none, nothing more is read, and TCP holds the other end back.
        while !frames.is_empty() {
            shared.events.deliver(link.id, &mut frames);
            if !frames.is_empty() {
                link.resumed.notified().await;
            }
        }
        read.reserve(READ);
        if stream.read_buf(&mut read).await.map_err(|error| error.to_string())? == 0 {
            return Ok(());
        }
    }
}

async fn write_frames(shared: &Shared, link: &Link, stream: &mut OwnedWriteHalf, batch: &mut Batch) -> io::Result<()> {
    loop {
        // Asked before the queue is looked at, so that what was queued before the end is found.
        let ending = link.ending().is_some();
        let taken = link.outbox.take(&mut batch.frames, BATCH.0, BATCH.1);
        if taken.tell_other_side {
            shared.events.writable(link.id);
        }
        if taken.frames > 0 {
            batch.write(stream).await?;
        } else if ending {
            return stream.shutdown().await;
        } else {
            link.filled.notified().await;
        }
    }
}

/// Frames that are being written.
#[derive(Default)]
struct Batch {
    frames: VecDeque<Bytes>,
    wire: BytesMut,
}

impl Batch {
    async fn write(&mut self, stream: &mut OwnedWriteHalf) -> io::Result<()> {
        self.frames.iter().for_each(|frame| encode(frame, &mut self.wire));
        // Takes away what is written, so that `unsent` knows when this is cut short.
        stream.write_all_buf(&mut self.wire).await?;
        self.frames.clear();
        Ok(())
    }

    /// The frames of which the end wasn't written.
    fn unsent(mut self) -> Vec<Bytes> {
        let mut rest = self.wire.remaining();
        let mut unsent = VecDeque::new();
        while let Some(frame) = self.frames.pop_back().filter(|_| rest > 0) {
            rest = rest.saturating_sub(encoded_len(&frame));
            unsent.push_front(frame);
        }
        unsent.into()
    }
}
