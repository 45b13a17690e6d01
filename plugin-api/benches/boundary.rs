//! What a frame costs over the boundary, beside a hop over a channel between two runtimes. Prints a table; asserts nothing.
//!
//! Both sides do the same: one thread makes frames, another, with a tokio runtime of its own, takes them.
#![allow(unsafe_code, reason = "plays both sides of the C boundary")]
#![allow(missing_docs, reason = "a program of its own")]
#![allow(clippy::print_stdout, reason = "its output is the result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_plugin_api::abi::Frame;
use qpq_plugin_api::{FrameBatch, FrameQueue, QueueLimits, offer};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};

/// Frames of one run.
const FRAMES: usize = 1_000_000;

fn main() {
    println!("{:>8} {:>8} {:>14} {:>14} {:>7}", "bytes", "a call", "channel ns", "boundary ns", "ratio");
    for size in [64, 256, 1024, 4096, 65_536] {
        for batch in [1, 32] {
            let frames = if size > 10_000 { FRAMES / 20 } else { FRAMES };
            let best = |run: fn(usize, usize, usize) -> Duration| {
                (0..3).map(|_| run(size, batch, frames)).min().unwrap_or_default().as_nanos() as f64 / frames as f64
            };
            let (channel, boundary) = (best(over_channel), best(over_boundary));
            println!("{size:>8} {batch:>8} {channel:>14.1} {boundary:>14.1} {:>7.2}", boundary / channel);
        }
    }
}

/// Runs `make` on a runtime of its own while `take` runs on another, and measures until both have ended.
fn two_runtimes<M, T>(make: M, take: T) -> Duration
where
    M: Future<Output = ()> + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    let maker = std::thread::spawn(|| Builder::new_current_thread().build().expect("a runtime").block_on(make));
    Builder::new_current_thread().build().expect("a runtime").block_on(take);
    maker.join().expect("no panic");
    begun.elapsed()
}

fn over_channel(size: usize, batch: usize, frames: usize) -> Duration {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1024);
    let make = async move {
        let payload = Bytes::from(vec![7; size]);
        for _ in 0..frames {
            sender.send(payload.clone()).await.expect("open");
        }
    };
    let take = async move {
        let mut buffer = Vec::new();
        while receiver.recv_many(&mut buffer, batch).await > 0 {
            black_box(&buffer);
            buffer.clear();
        }
    };
    two_runtimes(make, take)
}

/// What stands behind a plugin's `void *`.
struct Plugin {
    queue: FrameQueue,
    arrived: Notify,
    writable: Notify,
}

unsafe extern "C" fn send(plugin: *const Plugin, frames: *const Frame, n: usize) -> usize {
    // SAFETY: `over_boundary` passes a plugin that lives for the call, and frames of `offer`.
    let (plugin, mut batch) = unsafe { (&*plugin, FrameBatch::from_raw(frames, n)) };
    plugin.queue.accept(&mut batch);
    plugin.arrived.notify_one();
    batch.taken()
}

fn over_boundary(size: usize, batch: usize, frames: usize) -> Duration {
    let plugin = Arc::new(Plugin {
        queue: FrameQueue::new(QueueLimits::default()),
        arrived: Notify::new(),
        writable: Notify::new(),
    });
    let host = Arc::clone(&plugin);
    let make = async move {
        let pending = vec![Bytes::from(vec![7; size]); batch];
        let entry = black_box(send as unsafe extern "C" fn(*const Plugin, *const Frame, usize) -> usize);
        let mut sent = 0;
        while sent < frames {
            let some = pending.get(..batch.min(frames - sent)).unwrap_or_default();
            // SAFETY: the plugin lives, and `offer` passes frames that live for the call.
            let taken = offer(1, some, |array, n| unsafe { entry(Arc::as_ptr(&host), array, n) });
            sent += taken;
            if taken < some.len() {
                host.writable.notified().await;
            }
        }
    };
    let take = async move {
        let (mut buffer, mut received) = (Vec::new(), 0);
        while received < frames {
            let taken = plugin.queue.take(&mut buffer, batch, usize::MAX);
            received += taken.frames;
            black_box(&buffer);
            buffer.clear();
            if taken.tell_other_side {
                plugin.writable.notify_one();
            }
            if taken.frames == 0 {
                plugin.arrived.notified().await;
            }
        }
    };
    two_runtimes(make, take)
}
