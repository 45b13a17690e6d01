//! A bound on the calls in flight of one connection.
//!
//! Cap'n Proto RPC itself takes in calls without end. Here each call holds a [`Slot`] until it is answered, and
//! [`SlottedReader`] stops reading the connection while all slots are taken, so that a client which floods waits
//! in its own socket buffer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::io::AsyncRead;

/// After so many reads the reader lets the calls already read be counted. A message takes two reads, so at most
/// half as many calls go over the bound.
const READS_PER_TURN: u32 = 16;

/// The slots of one connection.
pub(super) struct Slots {
    taken: Cell<usize>,
    limit: usize,
    waiting: RefCell<Option<Waker>>,
}

impl Slots {
    /// So many calls may be in flight.
    pub(super) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self { taken: Cell::new(0), limit, waiting: RefCell::new(None) })
    }

    /// Counts a call for as long as the slot lives.
    pub(super) fn take(self: &Rc<Self>) -> Slot {
        self.taken.set(self.taken.get() + 1);
        Slot(Rc::clone(self))
    }

    /// A slot, unless all are taken.
    pub(super) fn try_take(self: &Rc<Self>) -> Option<Slot> {
        (!self.full()).then(|| self.take())
    }

    /// How many slots there are.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    fn full(&self) -> bool {
        self.taken.get() >= self.limit
    }
}

/// One call in flight.
pub(super) struct Slot(Rc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        if let Some(waker) = self.0.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Reads from the connection while there are free slots.
pub(super) struct SlottedReader<R> {
    inner: R,
    slots: Rc<Slots>,
    reads: u32,
}

impl<R> SlottedReader<R> {
    /// Reads from `inner`, which should be buffered.
    pub(super) fn new(inner: R, slots: Rc<Slots>) -> Self {
        Self { inner, slots, reads: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for SlottedReader<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if self.slots.full() {
            *self.slots.waiting.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.reads += 1;
        if self.reads > READS_PER_TURN {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}
