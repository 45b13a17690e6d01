//! The task of one link: between a transport's frames, the link's state machine, and the core.
//!
//! Each link waits for nobody but itself. A transport that takes no more frames stops this link's commands; a
//! core that is busy stops this link's reading, and the transport is told by a short acceptance.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::Frame as LinkFrame;
use tokio::sync::{Notify, mpsc};

use super::clock::now_ms;
use super::engine::Message;
use crate::core::{Event, LinkId, Offered};
use crate::link::{Link, LinkInput, LinkOutput};
use crate::plugin::{Frame, TransportHandle};
use crate::store::Store;

/// Transport frames that wait for one link's task.
const MAX_INBOUND_FRAMES: usize = 1_024;
/// Their bytes.
const MAX_INBOUND_BYTES: usize = 8 << 20;
/// Commands that wait for one link's task. A neighbour that lets this many pile up is cut off.
pub(super) const MAX_COMMANDS: usize = 4_096;
/// Commands handled before anything is transmitted.
const COMMAND_STEP: usize = 64;

/// What the engine wants of a link.
#[derive(Debug)]
pub(super) enum LinkCommand {
    /// Send a frame.
    Send(LinkFrame),
    /// Send envelopes.
    Offer(Vec<Offered>),
    /// Say goodbye and close.
    Close(String),
}

/// The frames of one transport link on their way to its task. Filled by the transport's own threads.
#[derive(Default)]
pub(super) struct Inbound {
    queue: Mutex<Queue>,
    arrived: Notify,
    /// The transport takes frames again.
    pub(super) writable: Notify,
    /// The transport was given a short acceptance and waits for `resume`.
    starved: AtomicBool,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    down: Option<String>,
}

impl Inbound {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame unless the queue is full.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), Bytes> {
        let mut queue = self.lock();
        if queue.frames.len() >= MAX_INBOUND_FRAMES || queue.bytes >= MAX_INBOUND_BYTES {
            self.starved.store(true, Ordering::Release);
            return Err(frame);
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        self.arrived.notify_one();
        Ok(())
    }

    /// The transport says that the link is gone.
    pub(super) fn down(&self, reason: &str) {
        self.lock().down.get_or_insert_with(|| reason.to_owned());
        self.arrived.notify_one();
    }

    /// All frames that have arrived, and why there will be no more.
    fn take(&self) -> (VecDeque<Bytes>, Option<String>) {
        let mut queue = self.lock();
        queue.bytes = 0;
        (std::mem::take(&mut queue.frames), queue.down.clone())
    }
}

/// A link's task and all that it needs.
pub(super) struct LinkTask {
    /// The host's number for the link.
    pub(super) id: LinkId,
    /// The transport's number for it.
    pub(super) transport_link: u64,
    /// The state machine.
    pub(super) link: Link,
    /// The transport that carries it.
    pub(super) transport: TransportHandle,
    /// Frames from the transport.
    pub(super) inbound: Arc<Inbound>,
    /// Where to read what is no longer in memory.
    pub(super) store: Store,
    /// The engine.
    pub(super) engine: mpsc::Sender<Message>,
    /// The table of links.
    pub(super) board: Arc<Switchboard>,
}

/// How a link's task goes on.
enum Next {
    On,
    Closed(String),
}

impl LinkTask {
    /// Runs until the link is gone.
    pub(super) async fn run(mut self) {
        let mut outputs = Vec::new();
        let mut unsent = VecDeque::new();
        let (sender, mut commands) = mpsc::channel(MAX_COMMANDS);
        let mut sender = Some(sender); // the engine gets it once the link is authenticated
        self.link.handle(LinkInput::Start, now_ms(), &mut outputs);
        let reason = loop {
            if let Next::Closed(reason) = self.digest(&mut outputs, &mut unsent, &mut sender).await {
                break reason;
            }
            self.transmit(&mut unsent);
            let deadline = self.link.deadline().map_or(u64::MAX, |at| at.saturating_sub(now_ms()));
            let mut batch = Vec::new();
            tokio::select! {
                () = self.inbound.arrived.notified() => {
                    if let Next::Closed(reason) = self.receive(&mut outputs) {
                        break reason;
                    }
                }
                () = self.inbound.writable.notified() => {}
                received = commands.recv_many(&mut batch, COMMAND_STEP), if unsent.is_empty() => {
                    if received == 0 {
                        let close = LinkInput::Close("this node cut the link off".to_owned());
                        self.link.handle(close, now_ms(), &mut outputs);
                    }
                    self.command(batch, &mut outputs).await;
                }
                () = tokio::time::sleep(Duration::from_millis(deadline.min(MAX_SLEEP_MS))) => {
                    self.link.handle(LinkInput::Tick, now_ms(), &mut outputs);
                }
            }
        };
        self.transmit(&mut unsent); // the last word, as far as the transport takes it
        self.transport.close(self.transport_link, &reason);
        self.board.gone(self.id, &reason);
        if sender.is_none() {
            _ = self.engine.send(Message::Event(Event::LinkDown { link: self.id })).await;
        }
    }
