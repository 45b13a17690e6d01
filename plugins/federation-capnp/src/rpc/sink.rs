//! Frames of a link as calls: `carry` in both directions.

use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::Error;
use qpq_plugin_api::Next;
use qpq_schemas::federation_capnp::frames;

use super::session::Session;
use crate::engine::Engine;
use crate::error::End;
use crate::limits::{BATCH_BYTES, BATCH_FRAMES, MAX_FRAME};
use crate::link::Link;
use crate::refusal::{Reason, Refusal};

/// Takes the frames of the peer. The library gives it one `carry` after another.
pub(super) struct Sink(pub(super) Rc<Session>);

impl frames::Server for Sink {
    async fn carry(self: Rc<Self>, params: frames::CarryParams) -> Result<(), Error> {
        let mut frames = read(params.get()?.get_frames()?).inspect_err(|error| {
            // The library would go on; such a peer is at fault.
            self.0.finish(End::Refused(Refusal::found(Reason::Garbage, &error.extra)));
        })?;
        let Some(link) = self.0.link().await else { return pending().await };
        deliver(&self.0, &link, &mut frames).await;
        Ok(())
    }

    async fn finish(self: Rc<Self>, _: frames::FinishParams, _: frames::FinishResults) -> Result<(), Error> {
        self.0.peer_finished();
        Ok(())
    }
}

/// Reads and checks the frames of one call.
pub(crate) fn read(list: capnp::data_list::Reader<'_>) -> Result<VecDeque<Bytes>, Error> {
    let len = usize::try_from(list.len()).unwrap_or(usize::MAX);
    if len > BATCH_FRAMES {
        return Err(Error::failed(format!("{len} frames in one call; the limit is {BATCH_FRAMES}")));
    }
    let mut frames = VecDeque::with_capacity(len);
    for frame in list.iter() {
        let frame = frame?;
        if frame.len() > MAX_FRAME {
            return Err(Error::failed(format!("a frame of {} bytes; the limit is {MAX_FRAME}", frame.len())));
        }
        frames.push_back(Bytes::copy_from_slice(frame));
    }
    Ok(frames)
}

/// Hands frames to the host. While the host has no room this waits, and nothing more is taken from the peer. It never
/// returns once the link has ended: the peer learns of that by the end of the connection.
async fn deliver(session: &Session, link: &Arc<Link>, frames: &mut VecDeque<Bytes>) {
    let engine = &session.engine;
    engine.counters.frames_in.add(frames.len());
    engine.counters.bytes_in.add(frames.iter().map(Bytes::len).sum());
    while !frames.is_empty() {
        if link.is_gone() {
            return pending().await;
        }
        engine.events.deliver(link.id, frames);
        if frames.is_empty() {
            break;
        }
        engine.counters.stalls.one();
        tokio::select! {
            () = link.flow.resumed() => {}
            _ = session.ended() => return pending().await,
        }
    }
}

/// Sends what the link's queue holds, in batches, until it is sealed and empty and the peer has taken all. `batch` keeps
/// what is under way, in case the sending is cut off.
pub(crate) async fn carry_out(
    engine: &Engine,
    link: &Link,
    forth: &frames::Client,
    batch: &mut VecDeque<Bytes>,
) -> Result<(), Error> {
    while let Next::Batch { writable } = link.flow.outbox.next(batch, BATCH_FRAMES, BATCH_BYTES).await {
        if writable {
            engine.events.writable(link.id);
        }
        let offered = batch.len();
        // The peer would end the link over such a frame. The host knows the limit, so this is a fault of the host.
        batch.retain(|frame| frame.len() <= MAX_FRAME);
        engine.counters.oversize_dropped.add(offered - batch.len());
        let mut request = forth.carry_request();
        let mut list = request.get().init_frames(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        for (place, frame) in (0..).zip(batch.iter()) {
            list.set(place, frame);
        }
        // Returns when the window has room for more.
        request.send().await?;
        engine.counters.frames_out.add(batch.len());
        engine.counters.bytes_out.add(batch.iter().map(Bytes::len).sum());
        batch.clear();
    }
    let mut request = forth.finish_request();
    request.get().set_reason("done");
    request.send().promise.await.map(|_| ())
}
