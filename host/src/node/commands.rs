//! The engine's commands to one link's task: a queue that is bounded by number and by bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use qpq_schemas::link::{Frame, Home, Range, Resolve, Sync, Tree};
use tokio::sync::{mpsc, oneshot};

use crate::core::Offered;

/// Commands that wait for one link's task. A neighbour that lets this many pile up is cut off.
const MAX_COMMANDS: usize = 8_192;
/// The memory that they take, in bytes: twice what a full history and all records take when a link comes up.
const MAX_COMMAND_BYTES: usize = 4 << 20;
/// What a command takes besides the lists in it.
const COMMAND_BYTES: usize = 64;
/// What an id, a topic or an answer takes.
const ENTRY_BYTES: usize = 40;

/// What the engine wants of a link.
#[derive(Debug)]
pub(super) enum LinkCommand {
    /// Send a frame.
    Send(Frame),
    /// Send envelopes. The core bounds the bytes of those under way.
    Offer(Vec<Offered>),
    /// Send a PING, and say how long its answer took.
    Ping(oneshot::Sender<Duration>),
}

impl LinkCommand {
    /// Roughly the memory that it takes while it waits. Envelopes and records share theirs with the core.
    fn weight(&self) -> usize {
        COMMAND_BYTES
            + match self {
                Self::Send(Frame::Sync(Sync::Have(ids) | Sync::Want(ids))) => ids.len() * ENTRY_BYTES,
                Self::Send(Frame::Custody(answers)) => answers.len() * ENTRY_BYTES,
                Self::Send(Frame::Subscriptions(_, topics)) => topics.len() * ENTRY_BYTES,
                Self::Send(Frame::Records(records)) => records.len() * ENTRY_BYTES,
                Self::Send(Frame::Route(bytes)) => bytes.len(),
                Self::Send(Frame::Tree(Tree::Announce(list))) => list.len() * ENTRY_BYTES,
                Self::Send(Frame::Tree(Tree::Graft(ids))) => ids.len() * ENTRY_BYTES,
                Self::Send(Frame::Reconcile(step)) => step.ranges.iter().map(range_bytes).sum(),
                Self::Send(Frame::Resolve(Resolve::Ask(peers))) => peers.len() * ENTRY_BYTES,
                Self::Send(Frame::Resolve(Resolve::Homes(homes))) => homes.len() * size_of::<Home>(),
                Self::Send(_) | Self::Ping(_) => 0,
                Self::Offer(items) => items.len() * size_of::<Offered>(),
            }
    }
}

fn range_bytes(range: &Range) -> usize {
    size_of::<Range>() + range.ids().len() * ENTRY_BYTES
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct CommandSender {
    queue: mpsc::Sender<LinkCommand>,
    bytes: Arc<AtomicUsize>,
}

/// The link task's end.
#[derive(Debug)]
pub(super) struct Commands {
    queue: mpsc::Receiver<LinkCommand>,
    bytes: Arc<AtomicUsize>,
}

/// A queue for one link.
pub(super) fn commands() -> (CommandSender, Commands) {
    let (sender, receiver) = mpsc::channel(MAX_COMMANDS);
    let bytes = Arc::new(AtomicUsize::new(0));
    (CommandSender { queue: sender, bytes: Arc::clone(&bytes) }, Commands { queue: receiver, bytes })
}

impl CommandSender {
    /// Queues a command; false when the queue is full. A task that has ended takes everything.
    pub(super) fn send(&self, command: LinkCommand) -> bool {
        let weight = command.weight();
        if self.bytes.load(Ordering::Relaxed) + weight > MAX_COMMAND_BYTES {
            return self.queue.is_closed();
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        !matches!(self.queue.try_send(command), Err(mpsc::error::TrySendError::Full(_)))
    }
}

impl Commands {
    /// Waits for commands and takes up to `most` of them; none once the sender is gone.
    pub(super) async fn take(&mut self, most: usize) -> Vec<LinkCommand> {
        let mut batch = Vec::new();
        self.queue.recv_many(&mut batch, most).await;
        self.bytes.fetch_sub(batch.iter().map(LinkCommand::weight).sum(), Ordering::Relaxed);
        batch
    }
}

#[cfg(test)]
mod tests {
    use qpq_schemas::MessageId;

    use super::*;

    #[tokio::test]
    async fn commands_are_bounded_by_the_bytes_in_them() {
        let (sender, mut queue) = commands();
        let want = || LinkCommand::Send(Frame::Sync(Sync::Want(vec![MessageId([0; 32]); 1_024])));
        let taken = (0..MAX_COMMANDS).take_while(|_| sender.send(want())).count();
        assert!(taken * 1_024 * 32 < MAX_COMMAND_BYTES, "{taken} frames were taken");
        assert_eq!(queue.take(64).await.len(), 64);
        assert!(sender.send(want()), "there is room again");
        drop(queue);
        assert!((0..MAX_COMMANDS).all(|_| sender.send(want())), "nobody is cut off who is gone already");
    }
}
