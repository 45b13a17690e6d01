//! The queue that wakes its writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use crate::sdk::frames::{FrameBatch, offer};
use crate::{Next, Outbox, QueueLimits};

fn send(outbox: &Outbox, n: usize) -> usize {
    let frames = vec![Bytes::from_static(b"frame"); n];
    offer(1, &frames, |array, n| {
        // SAFETY: `offer` passes frames that live for the call.
        let mut batch = unsafe { FrameBatch::from_raw(array, n) };
        outbox.accept(&mut batch);
        batch.taken()
    })
}

/// Counts how often a writer is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn small() -> Outbox {
    Outbox::new(QueueLimits { frames: 4, bytes: 1_000 })
}

/// What a writer finds that looks once, and is woken by `waker` afterwards.
fn look(outbox: &Outbox, max_frames: usize, waker: &Waker) -> Poll<(Next, usize)> {
    let mut taken = Vec::new();
    let next = {
        let waiting = std::pin::pin!(outbox.next(&mut taken, max_frames, usize::MAX));
        waiting.poll(&mut Context::from_waker(waker))
    };
    next.map(|next| (next, taken.len()))
}

#[test]
fn a_writer_that_waits_is_woken_by_frames_and_by_the_seal() {
    let (outbox, bell) = (small(), Arc::new(Bell::default()));
    let waker = Waker::from(bell.clone());
    assert_eq!(look(&outbox, 9, &waker), Poll::Pending);
    assert_eq!(send(&outbox, 2), 2);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(look(&outbox, 9, &waker), Poll::Ready((Next::Batch { writable: false }, 2)));
    assert_eq!(look(&outbox, 9, &waker), Poll::Pending);
    outbox.seal();
    assert_eq!(bell.0.load(Ordering::Relaxed), 2);
    assert_eq!(look(&outbox, 9, &waker), Poll::Ready((Next::Finished, 0)));
}

#[test]
fn a_full_queue_says_when_there_is_room_again() {
    let outbox = small();
    assert_eq!(send(&outbox, 6), 4);
    assert_eq!(outbox.depth(), (4, 20));
    assert_eq!(look(&outbox, 1, Waker::noop()), Poll::Ready((Next::Batch { writable: false }, 1)));
    assert_eq!(look(&outbox, 9, Waker::noop()), Poll::Ready((Next::Batch { writable: true }, 3)));
}

#[test]
fn a_sealed_queue_takes_nothing_and_is_still_emptied() {
    let outbox = small();
    assert_eq!(send(&outbox, 2), 2);
    outbox.seal();
    assert!(outbox.is_sealed());
    assert_eq!(send(&outbox, 1), 0);
    assert_eq!(look(&outbox, 9, Waker::noop()), Poll::Ready((Next::Batch { writable: false }, 2)));
    assert_eq!(look(&outbox, 9, Waker::noop()), Poll::Ready((Next::Finished, 0)));
}

#[test]
fn a_closed_queue_hands_back_what_waited_and_drops_what_comes() {
    let outbox = small();
    assert_eq!(send(&outbox, 3), 3);
    outbox.seal();
    assert_eq!(outbox.close().len(), 3);
    assert_eq!(send(&outbox, 9), 9);
    assert_eq!(outbox.depth(), (0, 0));
}

/// A host that sends from another thread, to a writer that sleeps whenever the queue is empty.
#[test]
fn no_wakeup_is_lost() {
    let rounds = if cfg!(miri) { 100 } else { 50_000 };
    let outbox = small();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let received = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while sent < rounds {
                sent += send(&outbox, (rounds - sent).min(3));
                std::thread::yield_now();
            }
            outbox.seal();
        });
        runtime.block_on(async {
            let mut frames = Vec::new();
            while let Next::Batch { .. } = outbox.next(&mut frames, 2, usize::MAX).await {}
            frames.len()
        })
    });
    assert_eq!(received, rounds);
}
