//! A bound on the calls that a client leaves unfinished.
//!
//! An answer stays in memory until the client says that it is done with it (`Finish`). One that never says so would fill
//! the memory of the node, however few of its calls are in flight. An answer without capabilities says itself that no such word is
//! needed (`noFinishNeeded`), and is let go of as it is sent.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator};
use capnp::{Error, Result};
use capnp_rpc::rpc_capnp::message::{self, Which};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Connection, FlowController, IncomingMessage, OutgoingMessage, VatNetwork};

/// A network whose connection is cut off when too many calls are unfinished.
pub(super) struct Counted<N> {
    network: N,
    limit: usize,
}

impl<N> Counted<N> {
    /// At most `limit` calls may be unfinished.
    pub(super) fn new(network: N, limit: usize) -> Self {
        Self { network, limit }
    }

    fn wrap(&self, inner: Box<dyn Connection<Side>>) -> Box<dyn Connection<Side>> {
        Box::new(CountedConnection { inner, open: Rc::new(Open::new(self.limit)) })
    }
}

impl<N: VatNetwork<Side>> VatNetwork<Side> for Counted<N> {
    fn connect(&mut self, host: Side) -> Option<Box<dyn Connection<Side>>> {
        let inner = self.network.connect(host)?;
        Some(self.wrap(inner))
    }

    fn accept(&mut self) -> Promise<Box<dyn Connection<Side>>, Error> {
        let (accepted, limit) = (self.network.accept(), self.limit);
        Promise::from_future(async move {
            let inner = accepted.await?;
            Ok(Box::new(CountedConnection { inner, open: Rc::new(Open::new(limit)) }) as Box<dyn Connection<Side>>)
        })
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        self.network.drive_until_shutdown()
    }
}

/// The calls of one client that are not finished, by their numbers.
struct Open {
    calls: RefCell<HashSet<u32>>,
    limit: usize,
}

impl Open {
    fn new(limit: usize) -> Self {
        Self { calls: RefCell::default(), limit }
    }

    /// Looks at what the client says; fails when it is one call too many.
    fn came(&self, message: &dyn IncomingMessage) -> Result<()> {
        let message: message::Reader<'_> = message.get_body()?.get_as()?;
        let mut calls = self.calls.borrow_mut();
        match message.which() {
            Ok(Which::Call(call)) => _ = calls.insert(call?.get_question_id()),
            Ok(Which::Bootstrap(bootstrap)) => _ = calls.insert(bootstrap?.get_question_id()),
            Ok(Which::Finish(finish)) => _ = calls.remove(&finish?.get_question_id()),
            _ => {}
        }
        if calls.len() > self.limit {
            let text = format!(
                "too-many-unfinished: {} answers wait for your Finish; finish them before the next call",
                self.limit
            );
            return Err(Error::failed(text));
        }
        Ok(())
    }

    /// Looks at what goes to the client.
    fn goes(&self, message: &dyn OutgoingMessage) -> Result<()> {
        let message: message::Reader<'_> = message.get_body_as_reader()?.get_as()?;
        if let Ok(Which::Return(answer)) = message.which() {
            let answer = answer?;
            if answer.get_no_finish_needed() {
                self.calls.borrow_mut().remove(&answer.get_answer_id());
            }
        }
        Ok(())
    }
}

struct CountedConnection {
    inner: Box<dyn Connection<Side>>,
    open: Rc<Open>,
}

/// A message to the client.
struct Counting {
    inner: Box<dyn OutgoingMessage>,
    open: Rc<Open>,
}

impl OutgoingMessage for Counting {
    fn get_body(&mut self) -> Result<capnp::any_pointer::Builder<'_>> {
        self.inner.get_body()
    }

    fn get_body_as_reader(&self) -> Result<capnp::any_pointer::Reader<'_>> {
        self.inner.get_body_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
        _ = self.open.goes(self.inner.as_ref()); // a message of our own can be read
        self.inner.send()
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.inner.take()
    }

    fn size_in_words(&self) -> usize {
        self.inner.size_in_words()
    }
}

impl Connection<Side> for CountedConnection {
    fn get_peer_vat_id(&self) -> Side {
        self.inner.get_peer_vat_id()
    }

    fn new_outgoing_message(&mut self, first_segment_word_size: u32) -> Box<dyn OutgoingMessage> {
        let inner = self.inner.new_outgoing_message(first_segment_word_size);
        Box::new(Counting { inner, open: Rc::clone(&self.open) })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, Error> {
        let (received, open) = (self.inner.receive_incoming_message(), Rc::clone(&self.open));
        Promise::from_future(async move {
            let message = received.await?;
            if let Some(message) = &message {
                open.came(message.as_ref())?;
            }
            Ok(message)
        })
    }

    fn new_stream(&mut self) -> (Box<dyn FlowController>, Promise<(), Error>) {
        self.inner.new_stream()
    }

    fn shutdown(&mut self, result: Result<()>) -> Promise<(), Error> {
        self.inner.shutdown(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(Builder<HeapAllocator>);

    impl IncomingMessage for Fake {
        fn get_body(&self) -> Result<capnp::any_pointer::Reader<'_>> {
            self.0.get_root_as_reader()
        }
    }

    fn fake(fill: impl FnOnce(message::Builder<'_>)) -> Fake {
        let mut builder = Builder::new_default();
        fill(builder.init_root());
        Fake(builder)
    }

    struct Sent(Builder<HeapAllocator>);

    impl OutgoingMessage for Sent {
        fn get_body(&mut self) -> Result<capnp::any_pointer::Builder<'_>> {
            self.0.get_root()
        }
        fn get_body_as_reader(&self) -> Result<capnp::any_pointer::Reader<'_>> {
            self.0.get_root_as_reader()
        }
        fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
            (Promise::ok(()), Rc::new(self.0))
        }
        fn take(self: Box<Self>) -> Builder<HeapAllocator> {
            self.0
        }
        fn size_in_words(&self) -> usize {
            0
        }
    }

    fn call(id: u32) -> Fake {
        fake(|message| message.init_call().set_question_id(id))
    }

    fn finish(id: u32) -> Fake {
        fake(|message| message.init_finish().set_question_id(id))
    }

    fn answer(id: u32, no_finish_needed: bool) -> Sent {
        let mut builder = Builder::new_default();
        let mut answer = builder.init_root::<message::Builder<'_>>().init_return();
        answer.set_answer_id(id);
        answer.set_no_finish_needed(no_finish_needed);
        Sent(builder)
    }

    #[test]
    fn a_client_that_finishes_its_calls_goes_on_for_ever_and_one_that_does_not_is_cut_off() {
        let open = Open::new(4);
        for id in 0..100 {
            open.came(&call(id)).unwrap();
            open.goes(&answer(id, false)).unwrap();
            open.came(&finish(id)).unwrap();
        }
        (0..4).for_each(|id| open.came(&call(id)).unwrap());
        let error = open.came(&call(4)).unwrap_err();
        assert!(error.extra.starts_with("too-many-unfinished: "), "{error}");
    }

    #[test]
    fn an_answer_that_needs_no_finish_is_done_when_it_is_sent() {
        let open = Open::new(4);
        for id in 0..100 {
            open.came(&call(id)).unwrap();
            open.goes(&answer(id, true)).unwrap();
        }
    }

    #[test]
    fn a_finish_too_many_gives_no_credit() {
        let open = Open::new(1);
        (0..100).for_each(|id| open.came(&finish(id)).unwrap());
        open.came(&call(1)).unwrap();
        assert!(open.came(&call(2)).is_err());
    }
}
