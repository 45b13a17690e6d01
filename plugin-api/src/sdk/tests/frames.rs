//! Frames over the boundary: who owns what, and how often it is released.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use crate::abi::{Buf, Frame, frame_flags};
use crate::sdk::frames::{COPY_LIMIT, FrameBatch, offer};

unsafe extern "C" fn count(owner: *mut c_void) {
    // SAFETY: the tests pass a counter that outlives the frames.
    unsafe { &*owner.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
}

fn owned(link: u64, data: &'static [u8], releases: &AtomicUsize) -> Frame {
    let owner = std::ptr::from_ref(releases).cast_mut().cast();
    let buf = Buf { data: data.as_ptr(), len: data.len(), owner, release: Some(count) };
    Frame { link, flags: 0, rsvd: 0, buf, meta: [0; 2] }
}

#[test]
fn what_is_popped_is_released_once_and_the_rest_never() {
    let releases = AtomicUsize::new(0);
    let frames = [owned(1, b"one", &releases), owned(1, b"two", &releases), owned(1, b"three", &releases)];
    // SAFETY: array and bytes live.
    let mut batch = unsafe { FrameBatch::from_raw(frames.as_ptr(), frames.len()) };
    let first = batch.pop().expect("a frame");
    let copy = first.clone();
    assert_eq!((batch.taken(), batch.remaining(), batch.next_len()), (1, 2, Some(3)));
    drop(batch);
    drop(first);
    assert_eq!(releases.load(Ordering::SeqCst), 0);
    assert_eq!(copy, "one");
    drop(copy);
    assert_eq!(releases.load(Ordering::SeqCst), 1);
}

#[test]
fn a_batch_of_several_links_shows_the_first_only() {
    let releases = AtomicUsize::new(0);
    let frames = [owned(1, b"a", &releases), owned(2, b"b", &releases), owned(1, b"c", &releases)];
    // SAFETY: array and bytes live.
    let mut batch = unsafe { FrameBatch::from_raw(frames.as_ptr(), frames.len()) };
    assert_eq!(batch.link(), Some(1));
    assert!(batch.pop().is_some() && batch.pop().is_none());
}

#[test]
fn null_and_impossible_counts_are_an_empty_batch() {
    // SAFETY: NULL and the count are what is tested; nothing is read.
    unsafe {
        assert_eq!(FrameBatch::from_raw(std::ptr::null(), 7).remaining(), 0);
        assert_eq!(FrameBatch::from_raw(std::ptr::dangling(), usize::MAX).remaining(), 0);
    }
}

#[test]
fn a_frame_without_memory_is_empty() {
    for flags in [0, frame_flags::BORROWED] {
        let buf = Buf { data: std::ptr::null(), len: 9, owner: std::ptr::null_mut(), release: None };
        let frames = [Frame { link: 1, flags, rsvd: 0, buf, meta: [0; 2] }];
        // SAFETY: the array lives.
        let mut batch = unsafe { FrameBatch::from_raw(frames.as_ptr(), 1) };
        assert_eq!(batch.pop().as_deref(), Some(&b""[..]));
    }
}

#[test]
fn large_frames_are_handed_over_and_small_ones_copied() {
    let frames = [Bytes::from(vec![1; COPY_LIMIT]), Bytes::from(vec![2; COPY_LIMIT + 1])];
    let mut got = Vec::new();
    let taken = offer(4, &frames, |array, n| {
        // SAFETY: `offer` passes frames that live for the call.
        let mut batch = unsafe { FrameBatch::from_raw(array, n) };
        got.extend(std::iter::from_fn(|| batch.pop()));
        batch.taken()
    });
    assert_eq!(taken, 2);
    assert_eq!(got, frames);
    assert_ne!(got[0].as_ptr(), frames[0].as_ptr());
    assert_eq!(got[1].as_ptr(), frames[1].as_ptr());
    drop(frames);
    assert!(got[1].iter().all(|b| *b == 2));
}

#[test]
fn a_panic_of_the_taker_releases_what_it_did_not_take() {
    let frames = [Bytes::from(vec![2; 5000])];
    let caught = crate::catch(|| offer(4, &frames, |_, _| panic!("taker")));
    assert!(caught.is_err());
    assert!(frames.into_iter().all(|frame| frame.is_unique()), "the extra reference was given back");
}

#[test]
fn a_taker_that_claims_too_much_is_not_believed() {
    let frames = vec![Bytes::from(vec![2; 10]); 3];
    assert_eq!(offer(4, &frames, |_, n| n + 100), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 256 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_frame_crosses_once_and_in_order(
        sizes in proptest::collection::vec(0usize..3000, 0..100),
        rooms in proptest::collection::vec(0usize..50, 1..40),
    ) {
        let frames: Vec<Bytes> = sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size])).collect();
        let mut got = Vec::new();
        let mut sent = 0;
        for room in rooms.into_iter().chain([usize::MAX]) {
            let mut room = room;
            sent += offer(1, &frames[sent..], |array, n| {
                // SAFETY: `offer` passes frames that live for the call.
                let mut batch = unsafe { FrameBatch::from_raw(array, n) };
                while room > 0 && let Some(frame) = batch.pop() {
                    room -= 1;
                    got.push(frame);
                }
                batch.taken()
            });
        }
        prop_assert_eq!(&got, &frames);
    }
}
