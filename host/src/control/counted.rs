//! A bound on the calls that a client leaves unfinished.
//!
//! An answer stays in memory until the client says that it is done with it (`Finish`). One that never says so would fill
//! the memory of the node, however few of its calls are in flight.

use std::cell::Cell;
use std::rc::Rc;

use capnp::capability::Promise;
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
        Box::new(CountedConnection { inner, unfinished: Rc::default(), limit: self.limit })
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
            Ok(Box::new(CountedConnection { inner, unfinished: Rc::default(), limit }) as Box<dyn Connection<Side>>)
        })
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        self.network.drive_until_shutdown()
    }
}

struct CountedConnection {
    inner: Box<dyn Connection<Side>>,
    unfinished: Rc<Cell<usize>>,
    limit: usize,
}

/// Counts a message; fails when it is one call too many.
fn count(message: &dyn IncomingMessage, unfinished: &Cell<usize>, limit: usize) -> Result<()> {
    let message: message::Reader<'_> = message.get_body()?.get_as()?;
    match message.which() {
        Ok(Which::Call(_) | Which::Bootstrap(_)) => unfinished.set(unfinished.get() + 1),
        Ok(Which::Finish(_)) => unfinished.set(unfinished.get().saturating_sub(1)),
        _ => {}
    }
    if unfinished.get() > limit {
        let text =
            format!("too-many-unfinished: {limit} answers wait for your Finish; finish them before the next call");
        return Err(Error::failed(text));
    }
    Ok(())
}

impl Connection<Side> for CountedConnection {
    fn get_peer_vat_id(&self) -> Side {
        self.inner.get_peer_vat_id()
    }

    fn new_outgoing_message(&mut self, first_segment_word_size: u32) -> Box<dyn OutgoingMessage> {
        self.inner.new_outgoing_message(first_segment_word_size)
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, Error> {
        let (received, unfinished, limit) =
            (self.inner.receive_incoming_message(), Rc::clone(&self.unfinished), self.limit);
        Promise::from_future(async move {
            let message = received.await?;
            if let Some(message) = &message {
                count(message.as_ref(), &unfinished, limit)?;
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

    struct Fake(capnp::message::Builder<capnp::message::HeapAllocator>);

    impl IncomingMessage for Fake {
        fn get_body(&self) -> Result<capnp::any_pointer::Reader<'_>> {
            self.0.get_root_as_reader()
        }
    }

    fn fake(fill: impl FnOnce(message::Builder<'_>)) -> Fake {
        let mut builder = capnp::message::Builder::new_default();
        fill(builder.init_root());
        Fake(builder)
    }

    #[test]
    fn a_client_that_finishes_its_calls_goes_on_for_ever_and_one_that_does_not_is_cut_off() {
        let call = fake(|message| _ = message.init_call());
        let finish = fake(|message| _ = message.init_finish());
        let unfinished = Cell::new(0);
        for _ in 0..100 {
            count(&call, &unfinished, 4).unwrap();
            count(&finish, &unfinished, 4).unwrap();
        }
        for _ in 0..4 {
            count(&call, &unfinished, 4).unwrap();
        }
        let error = count(&call, &unfinished, 4).unwrap_err();
        assert!(error.extra.starts_with("too-many-unfinished: "), "{error}");
    }

    #[test]
    fn a_finish_too_many_gives_no_credit() {
        let finish = fake(|message| _ = message.init_finish());
        let call = fake(|message| _ = message.init_call());
        let unfinished = Cell::new(0);
        (0..100).for_each(|_| count(&finish, &unfinished, 1).unwrap());
        count(&call, &unfinished, 1).unwrap();
        assert!(count(&call, &unfinished, 1).is_err());
    }
}
