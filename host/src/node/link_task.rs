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
