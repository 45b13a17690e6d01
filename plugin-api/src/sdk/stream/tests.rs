use proptest::prelude::*;

use super::*;

const MAX_FRAME: usize = 256 * 1024;

fn encoded(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut chunks = Vec::new();
    encode(frames.iter().cloned().map(Bytes::from), &mut chunks);
    chunks.concat()
}

#[test]
fn a_length_above_the_limit_is_refused_before_anything_is_kept() {
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut frames = VecDeque::new();
    let len = MAX_FRAME as u32 + 1;
    assert_eq!(decoder.feed(Bytes::copy_from_slice(&len.to_be_bytes()), &mut frames), Err(Oversize(len)));
    assert!(decoder.body.is_none());
}

#[test]
fn the_largest_frame_passes() {
    let mut frames = VecDeque::new();
    let wire = encoded(&[vec![1; MAX_FRAME]]);
    Decoder::new(MAX_FRAME).feed(wire.into(), &mut frames).unwrap();
    assert_eq!(frames.pop_front().unwrap().len(), MAX_FRAME);
}

#[test]
fn an_announced_frame_takes_no_memory_until_it_arrives() {
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut frames = VecDeque::new();
    decoder.feed(Bytes::copy_from_slice(&(MAX_FRAME as u32).to_be_bytes()), &mut frames).unwrap();
    assert_eq!(decoder.body.as_ref().unwrap().so_far.capacity(), 0);
    decoder.feed(Bytes::from_static(&[1]), &mut frames).unwrap();
    assert_eq!(decoder.body.unwrap().so_far.capacity(), 1);
}

#[test]
fn room_is_made_at_once_for_what_was_read_together() {
    let mut wire = Bytes::from(encoded(&[vec![1; 30_000]]));
    let mut chunks: Vec<Bytes> = std::iter::repeat_with(|| wire.split_to(wire.len().min(1_400))).take(22).collect();
    let (mut decoder, mut frames) = (Decoder::new(MAX_FRAME), VecDeque::new());
    let (first, last) = chunks.split_at_mut(21);
    decoder.feed_all(first, &mut frames).unwrap();
    assert_eq!(decoder.body.as_ref().unwrap().so_far.capacity(), 21 * 1_400 - HEADER_LEN);
    decoder.feed_all(last, &mut frames).unwrap();
    assert_eq!(frames.pop_front().unwrap(), vec![1; 30_000]);
    assert!(chunks.iter().all(Bytes::is_empty));
}

proptest! {
    /// However the stream is cut, the same frames come out.
    #[test]
    fn frames_survive_any_cut(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..20),
        cuts in prop::collection::vec(1usize..2_000, 1..40),
        together in 1usize..40,
    ) {
        let mut wire = Bytes::from(encoded(&frames));
        let (mut decoder, mut out) = (Decoder::new(MAX_FRAME), VecDeque::new());
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if wire.is_empty() {
                break;
            }
            chunks.push(wire.split_to(wire.len().min(*cut)));
        }
        for read in chunks.chunks_mut(together) {
            decoder.feed_all(read, &mut out).unwrap();
        }
        prop_assert_eq!(out.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>(), frames);
    }

    /// However little of a frame arrives at once, its room is at most twice what has arrived, and never more than it is long.
    #[test]
    fn room_follows_what_arrives(
        len in 1_025..MAX_FRAME,
        reads in prop::collection::vec(prop::collection::vec(1usize..2_000, 1..40), 1..20),
    ) {
        let mut wire = Bytes::from(encoded(&[vec![1; len]]));
        let (mut decoder, mut frames, mut arrived) = (Decoder::new(MAX_FRAME), VecDeque::new(), 0);
        for cuts in reads {
            let mut chunks: Vec<Bytes> = cuts.iter().map(|cut| wire.split_to(wire.len().min(*cut))).collect();
            arrived += chunks.iter().map(Bytes::len).sum::<usize>();
            decoder.feed_all(&mut chunks, &mut frames).unwrap();
            let room = decoder.body.as_ref().map_or(0, |body| body.so_far.capacity());
            prop_assert!(room <= (2 * arrived).min(len), "{room} bytes of room for {arrived} of {len}");
        }
        prop_assert_eq!(frames.len(), usize::from(wire.is_empty()));
    }

    /// Whatever a peer sends: no panic, and no frame above the limit.
    #[test]
    fn rubbish_does_no_harm(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..40)) {
        let (mut decoder, mut out) = (Decoder::new(MAX_FRAME), VecDeque::new());
        for chunk in chunks {
            if decoder.feed(chunk.into(), &mut out).is_err() {
                break;
            }
        }
        prop_assert!(out.iter().all(|frame| frame.len() <= MAX_FRAME));
    }
}
