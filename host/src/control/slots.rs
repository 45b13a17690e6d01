//! A bound on the calls in flight of one connection.
//!
//! Cap'n Proto RPC itself takes in calls without end. Here each call holds a [`Slot`] until it is answered, and
//! [`SlottedReader`] stops reading the connection while all slots are taken, so that a client which floods waits
//! in its own socket buffer. It stops as well while answers wait because the client doesn't read them
//! ([`SlottedWriter`]): they lie in memory.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};

/// After so many reads the reader lets the calls already read be counted. A message takes two reads, so at most
/// half as many calls go over the bound.
const READS_PER_TURN: u32 = 16;

/// The slots of one connection.
pub(super) struct Slots {
    taken: Cell<usize>,
    limit: usize,
    /// The client takes no answers at the moment.
    stalled: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Slots {
    /// So many calls may be in flight.
    pub(super) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self { taken: Cell::new(0), limit, stalled: Cell::new(false), waiting: RefCell::new(None) })
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

    fn set_stalled(&self, stalled: bool) {
        if self.stalled.replace(stalled) && !stalled {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// One call in flight.
pub(super) struct Slot(Rc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        self.0.wake();
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
        if self.slots.full() || self.slots.stalled.get() {
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

/// Writes to the connection, and notes whether it takes anything.
pub(super) struct SlottedWriter<W> {
    inner: W,
    slots: Rc<Slots>,
}

impl<W> SlottedWriter<W> {
    /// Writes to `inner`.
    pub(super) fn new(inner: W, slots: Rc<Slots>) -> Self {
        Self { inner, slots }
    }

    fn noted<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.slots.set_stalled(poll.is_pending());
        poll
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for SlottedWriter<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.noted(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        self.noted(poll)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use futures::task::noop_waker;

    use super::*;

    /// Takes bytes only while its gate is open.
    struct Gated(Rc<Cell<bool>>);

    impl AsyncWrite for Gated {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
            if self.0.get() { Poll::Ready(Ok(buf.len())) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            if self.0.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_client_that_does_not_read_its_answers_is_not_read() {
        let (slots, gate) = (Slots::new(8), Rc::new(Cell::new(true)));
        let mut writer = SlottedWriter::new(Gated(Rc::clone(&gate)), Rc::clone(&slots));
        let mut reader = SlottedReader::new(Cursor::new([1; 64]), slots);
        let waker = noop_waker();
        let mut write = |gate_open: bool| {
            gate.set(gate_open);
            Pin::new(&mut writer).poll_write(&mut Context::from_waker(&waker), b"answer").is_ready()
        };
        let mut read = || Pin::new(&mut reader).poll_read(&mut Context::from_waker(&waker), &mut [0; 4]).is_ready();
        assert!(write(true) && read());
        assert!(!write(false) && !read());
        assert!(write(true) && read());
    }
}
