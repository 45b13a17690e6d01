//! Bounds on what one connection may have us hold.
//!
//! Cap'n Proto RPC itself takes in messages without end. Here each message that was read counts until it is dropped, which
//! for a call is when it is answered; while too many count, or too many bytes, nothing more is read, and QUIC's flow
//! control holds the peer back.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator};
use capnp_rpc::rpc_capnp::message;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Connection, FlowController, IncomingMessage, OutgoingMessage, VatNetwork};
use futures::future::TryFutureExt;
use futures::io::AsyncRead;

use crate::limits::{INBOUND_BYTES, INBOUND_MESSAGES, MESSAGES_PER_TURN, UNFINISHED_CALLS};

/// What one connection has us hold.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    messages: Cell<usize>,
    bytes: Cell<usize>,
    /// Calls whose answer the peer has not let go of, by their numbers.
    unfinished: RefCell<HashSet<u32>>,
    /// Bytes read since the last message.
    read: Cell<usize>,
    turn: Cell<u32>,
    waiting: RefCell<Option<Waker>>,
    fault: RefCell<Option<String>>,
}

impl Meter {
    /// What the peer did wrong, if that ended the connection.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    fn is_full(&self) -> bool {
        self.messages.get() >= INBOUND_MESSAGES || self.bytes.get() >= INBOUND_BYTES
    }

    /// Waits until another message may be read, and now and then for the other connections' turn.
    async fn room(&self) {
        self.turn.set(self.turn.get() + 1);
        let mut yields = self.turn.get() > MESSAGES_PER_TURN;
        if yields {
            self.turn.set(0);
        }
        poll_fn(|context| {
            if std::mem::take(&mut yields) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_full() {
                *self.waiting.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Counts a message for as long as the result lives.
    fn weigh(self: &Rc<Self>, message: Box<dyn IncomingMessage>) -> Weighed {
        let bytes = self.read.take();
        self.messages.set(self.messages.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Weighed { message, bytes, meter: self.clone() }
    }

    /// Counts the calls that the peer keeps open.
    fn count(&self, message: &dyn IncomingMessage) -> Result<(), Error> {
        let mut unfinished = self.unfinished.borrow_mut();
        match message.get_body()?.get_as::<message::Reader<'_>>()?.which() {
            Ok(message::Call(call)) => _ = unfinished.insert(call?.get_question_id()),
            Ok(message::Bootstrap(bootstrap)) => _ = unfinished.insert(bootstrap?.get_question_id()),
            Ok(message::Finish(finish)) => _ = unfinished.remove(&finish?.get_question_id()),
            _ => {}
        }
        if unfinished.len() > UNFINISHED_CALLS {
            return Err(Error::failed(format!("more than {UNFINISHED_CALLS} calls that were not finished")));
        }
        Ok(())
    }

    /// An answer without capabilities needs no word that the peer is done with it: it is let go of as it is sent.
    fn answered(&self, message: &dyn OutgoingMessage) -> Result<(), Error> {
        if let Ok(message::Return(answer)) = message.get_body_as_reader()?.get_as::<message::Reader<'_>>()?.which() {
            let answer = answer?;
            if answer.get_no_finish_needed() {
                self.unfinished.borrow_mut().remove(&answer.get_answer_id());
            }
        }
        Ok(())
    }

    fn blame(&self, error: &Error) {
        self.fault.borrow_mut().get_or_insert_with(|| error.to_string());
    }
}

/// A message that counts.
struct Weighed {
    message: Box<dyn IncomingMessage>,
    bytes: usize,
    meter: Rc<Meter>,
}

impl IncomingMessage for Weighed {
    fn get_body(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        self.message.get_body()
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.meter.messages.set(self.meter.messages.get() - 1);
        self.meter.bytes.set(self.meter.bytes.get() - self.bytes);
        if let Some(waker) = self.meter.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Counts the bytes that are read through it.
pub(super) struct Counted<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, meter: Rc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(n)) = &polled {
            self.meter.read.set(self.meter.read.get() + n);
        }
        polled
    }
}

/// The network of one connection, metered.
pub(super) struct Metered<N> {
    pub(super) inner: N,
    pub(super) meter: Rc<Meter>,
}

impl<N: VatNetwork<Side>> VatNetwork<Side> for Metered<N> {
    fn connect(&mut self, host_id: Side) -> Option<Box<dyn Connection<Side>>> {
        let inner = self.inner.connect(host_id)?;
        Some(Box::new(MeteredConnection { inner, meter: self.meter.clone() }))
    }

    fn accept(&mut self) -> Promise<Box<dyn Connection<Side>>, Error> {
        let meter = self.meter.clone();
        Promise::from_future(self.inner.accept().map_ok(|inner| {
            let metered: Box<dyn Connection<Side>> = Box::new(MeteredConnection { inner, meter });
            metered
        }))
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        self.inner.drive_until_shutdown()
    }
}

/// A message to the peer.
struct Outgoing {
    message: Box<dyn OutgoingMessage>,
    meter: Rc<Meter>,
}

impl OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<capnp::any_pointer::Builder<'_>> {
        self.message.get_body()
    }

    fn get_body_as_reader(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        self.message.get_body_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
        _ = self.meter.answered(self.message.as_ref()); // a message of our own can be read
        self.message.send()
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message.take()
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}

struct MeteredConnection {
    inner: Box<dyn Connection<Side>>,
    meter: Rc<Meter>,
}

impl Connection<Side> for MeteredConnection {
    fn get_peer_vat_id(&self) -> Side {
        self.inner.get_peer_vat_id()
    }

    fn new_outgoing_message(&mut self, first_segment_word_size: u32) -> Box<dyn OutgoingMessage> {
        let message = self.inner.new_outgoing_message(first_segment_word_size);
        Box::new(Outgoing { message, meter: self.meter.clone() })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, Error> {
        let next = self.inner.receive_incoming_message();
        let meter = self.meter.clone();
        Promise::from_future(async move {
            meter.room().await;
            let read = async {
                let Some(message) = next.await? else { return Ok(None) };
                meter.count(&*message)?;
                let message: Box<dyn IncomingMessage> = Box::new(meter.weigh(message));
                Ok(Some(message))
            };
            read.await.inspect_err(|error| meter.blame(error))
        })
    }

    fn new_stream(&mut self) -> (Box<dyn FlowController>, Promise<(), Error>) {
        self.inner.new_stream()
    }

    fn shutdown(&mut self, result: capnp::Result<()>) -> Promise<(), Error> {
        self.inner.shutdown(result)
    }
}
