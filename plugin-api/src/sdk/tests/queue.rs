//! The bounded queue: its limits, its order, and that no wakeup is lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use crate::sdk::frames::{FrameBatch, offer};
use crate::{FrameQueue, QueueLimits};

fn frame(n: usize) -> Bytes {
    Bytes::from(vec![1; n])
}

fn accept(queue: &FrameQueue, frames: &[Bytes]) -> usize {
    offer(1, frames, |array, n| {
        // SAFETY: `offer` passes frames that live for the call.
        let mut batch = unsafe { FrameBatch::from_raw(array, n) };
        queue.accept(&mut batch);
        batch.taken()
    })
}

#[test]
fn both_limits_hold() {
    let queue = FrameQueue::new(QueueLimits { frames: 3, bytes: 100 });
    assert_eq!(accept(&queue, &[frame(1), frame(1), frame(1), frame(1)]), 3);
    let queue = FrameQueue::new(QueueLimits { frames: 30, bytes: 100 });
    assert_eq!(accept(&queue, &[frame(60), frame(40), frame(1)]), 2);
    assert_eq!((queue.len(), queue.bytes()), (2, 100));
}

#[test]
fn a_frame_above_the_limit_passes_an_empty_queue() {
    let queue = FrameQueue::new(QueueLimits { frames: 3, bytes: 100 });
    assert_eq!(accept(&queue, &[frame(500), frame(1)]), 1);
    let mut out = VecDeque::new();
    assert!(queue.take(&mut out, 9, 1).tell_other_side);
    assert_eq!(out.len(), 1);
    assert!(queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn the_other_side_is_told_once_and_only_when_it_waits() {
    let queue = FrameQueue::new(QueueLimits { frames: 4, bytes: 100 });
    let mut out = VecDeque::new();
    assert_eq!(accept(&queue, &vec![frame(1); 4]), 4);
    assert!(!queue.take(&mut out, 4, 99).tell_other_side, "all was accepted");
    assert_eq!(accept(&queue, &vec![frame(1); 5]), 4);
    assert!(!queue.take(&mut out, 1, 99).tell_other_side, "still over half full");
    assert!(queue.take(&mut out, 1, 99).tell_other_side);
    assert!(!queue.take(&mut out, 9, 99).tell_other_side, "told already");
}

#[test]
fn a_closed_queue_takes_and_drops() {
    let queue = FrameQueue::new(QueueLimits::default());
    queue.push(frame(1)).expect("room");
    assert_eq!(queue.close().len(), 1);
    assert_eq!(accept(&queue, &[frame(1), frame(2)]), 2);
    assert!(queue.is_empty() && queue.push(frame(1)).is_ok() && queue.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 128 }, failure_persistence: None, ..Default::default() })]

    /// Whatever the order of offers and takes: what was accepted comes out, in order, and whoever was refused is told
    /// before the queue is empty.
    #[test]
    fn nothing_is_lost(steps in proptest::collection::vec((0usize..6, 0usize..60), 1..200)) {
        let limits = QueueLimits { frames: 8, bytes: 120 };
        let queue = FrameQueue::new(limits);
        let (mut accepted, mut out) = (Vec::new(), VecDeque::new());
        let mut owed = false;
        for (n, size) in steps {
            if n % 2 == 0 {
                let taken = queue.take(&mut out, n, size);
                prop_assert!(!taken.tell_other_side || owed);
                owed &= !taken.tell_other_side;
            } else {
                let frames = vec![frame(size); n];
                let took = accept(&queue, &frames);
                accepted.extend_from_slice(&frames[..took]);
                owed |= took < n;
            }
            prop_assert!(queue.len() <= limits.frames && (queue.bytes() <= limits.bytes || queue.len() == 1));
        }
        let taken = queue.take(&mut out, usize::MAX, usize::MAX);
        prop_assert_eq!(taken.tell_other_side, owed);
        prop_assert_eq!(Vec::from(out), accepted);
    }
}

/// A producer that stops when refused and goes on only when told, against a consumer that sleeps when empty.
#[test]
fn no_wakeup_is_lost_between_two_threads() {
    let rounds: usize = if cfg!(miri) { 200 } else { 200_000 };
    let queue = FrameQueue::new(QueueLimits { frames: 4, bytes: 1000 });
    let told = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            for _ in 0..rounds {
                while queue.push(frame(1)).is_err() {
                    while !told.swap(false, Ordering::AcqRel) {
                        std::thread::yield_now();
                    }
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut out = VecDeque::new();
        let mut received = 0;
        while received < rounds {
            let taken = queue.take(&mut out, 3, 1000);
            received += taken.frames;
            out.clear();
            if taken.tell_other_side {
                told.store(true, Ordering::Release);
            }
            if taken.frames == 0 {
                std::thread::yield_now();
            }
        }
        producer.join().expect("no panic");
    });
    assert!(done.load(Ordering::Acquire));
}
