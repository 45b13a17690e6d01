//! An RPC system over the two directions of a stream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use qpq_plugin_api::catch;

use super::meter::{Counted, Meter, Metered};
use crate::limits::{MAX_MESSAGE_WORDS, MAX_NESTING, SEND_WINDOW};

/// Buffers between the library and QUIC, in bytes.
const BUFFER: usize = 64 * 1024;

/// The RPC system of one connection, and its meter.
pub(crate) fn system<R, W>(
    reader: R,
    writer: W,
    side: Side,
    bootstrap: Option<capnp::capability::Client>,
) -> (RpcSystem<Side>, Rc<Meter>)
where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let meter = Rc::new(Meter::default());
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MAX_MESSAGE_WORDS)).nesting_limit(MAX_NESTING);
    let reader = Counted::new(BufReader::with_capacity(BUFFER, reader), meter.clone());
    let writer = BufWriter::with_capacity(BUFFER, writer);
    let mut network = twoparty::VatNetwork::new(reader, writer, side, options);
    network.set_window_size(SEND_WINDOW);
    let network = Metered { inner: network, meter: meter.clone() };
    (RpcSystem::new(Box::new(network), bootstrap), meter)
}

/// A future whose panic becomes its result: what a peer makes the library do ends its own connection and nothing else.
pub(super) struct Caught<F>(pub(super) F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch(|| Pin::new(&mut self.0).poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic.0)),
        }
    }
}
