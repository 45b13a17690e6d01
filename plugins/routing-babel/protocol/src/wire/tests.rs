use proptest::prelude::*;

use super::*;

fn record() -> impl Strategy<Value = Record> {
    (any::<u64>(), any::<u32>(), any::<u8>()).prop_map(|(seqno, not_after, byte)| Record {
        seqno,
        not_after,
        signature: [byte; 64],
    })
}

fn about() -> impl Strategy<Value = About> {
    (0..=MAX_ROW, prop::option::of(any::<[u8; 32]>()), prop::option::of(record()))
        .prop_map(|(number, key, record)| About { number, key, record })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<[u64; 3]>(), any::<[bool; 3]>()).prop_map(|([instance, yours, age_ms], [want, further, swapped])| {
            Message::Hello { instance, yours, want, further, swapped, age_ms }
        }),
        Just(Message::Begin),
        Just(Message::End),
        any::<u64>().prop_map(Message::Digest),
        (0..=MAX_ROW).prop_map(Message::Retraction),
        (about(), any::<u64>(), any::<u32>(), any::<u8>())
            .prop_map(|(about, seqno, metric, hops)| Message::Way(about, Told { seqno, metric, hops })),
        (about(), any::<u64>(), any::<u8>()).prop_map(|(about, seqno, ttl)| Message::Request { about, seqno, ttl }),
    ]
}

fn read(frame: &[u8]) -> Result<Vec<Message>, FrameError> {
    Reader::new(frame)?.collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(messages in prop::collection::vec(message(), 0..400)) {
        let mut writer = Writer::default();
        messages.iter().for_each(|message| writer.push(message));
        let frames = writer.frames();
        prop_assert!(frames.iter().all(|frame| frame.len() <= MAX_FRAME));
        let again: Vec<Message> = frames.iter().flat_map(|frame| read(frame).unwrap()).collect();
        prop_assert_eq!(again, messages);
    }

    #[test]
    fn a_frame_cut_anywhere_gives_the_messages_before_and_an_error_at_most(message in message()) {
        let mut writer = Writer::default();
        writer.push(&message);
        let frame = writer.frames().concat();
        for len in 0..frame.len() {
            match read(&frame[..len]) {
                Ok(none) => prop_assert!(none.is_empty() && len == 2),
                Err(FrameError::Foreign) => prop_assert!(len < 2),
                Err(FrameError::Malformed) => prop_assert!(len > 2),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let frame = [&[MAGIC, VERSION][..], &bytes].concat();
        prop_assert!(Reader::new(&frame).unwrap().count() <= bytes.len());
    }
}

#[test]
fn the_longest_message_fits_its_bound() {
    let record = Record { seqno: u64::MAX / 2, not_after: u32::MAX, signature: [1; 64] };
    let about = About { number: MAX_ROW, key: Some([1; 32]), record: Some(record) };
    let mut bytes = Vec::new();
    write(&mut bytes, &Message::Way(about, Told { seqno: u64::MAX, metric: u32::MAX, hops: 255 }));
    assert!(bytes.len() <= MAX_MESSAGE, "{} bytes", bytes.len());
}

#[test]
fn numbers_out_of_range_are_refused() {
    let refused = |body: &[u8]| read(&[&[MAGIC, VERSION][..], body].concat()) == Err(FrameError::Malformed);
    assert!(refused(&[RETRACTION, 0xe9, 0xfb, 0x03]), "a number above 65,000");
    assert!(refused(&[RETRACTION, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), "more than 64 bits");
    assert!(refused(&[RETRACTION, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), "11 bytes");
    assert!(refused(&[WAY, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]), "a metric of more than 32 bits");
    assert!(refused(&[99]), "a message that isn't known");
}

#[test]
fn frames_of_others_are_told_apart() {
    for foreign in [&[][..], &[MAGIC], &[MAGIC, VERSION + 1], b"something else"] {
        assert_eq!(Reader::new(foreign).err(), Some(FrameError::Foreign));
    }
}
