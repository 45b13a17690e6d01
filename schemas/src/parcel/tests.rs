use super::*;
use crate::PeerId;

const BY: PeerId = PeerId([7; 32]);

fn envelopes() -> Vec<Vec<u8>> {
    [157usize, 400, 300].iter().enumerate().map(|(number, len)| vec![number as u8 + 1; *len]).collect()
}

fn file() -> Vec<u8> {
    let mut file = ParcelWriter::header(1_800_000_000_000, &BY);
    let mut writer = ParcelWriter::default();
    envelopes().iter().for_each(|wire| writer.envelope(wire, &mut file));
    writer.end(&mut file);
    file
}

/// Reads a file in pieces of that size; what stood in it, and why it could not be read on.
fn read(file: &[u8], piece: usize) -> (Vec<Item>, Result<(), ParcelError>) {
    let (mut reader, mut items) = (ParcelReader::new(), Vec::new());
    for bytes in file.chunks(piece.max(1)) {
        reader.push(bytes);
        loop {
            match reader.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    (items, reader.finish())
}

fn whole() -> Vec<Item> {
    let mut items = vec![Item::Header { made_ms: 1_800_000_000_000, by: BY }];
    items.extend(envelopes().into_iter().map(|wire| Item::Envelope(wire.into())));
    items.push(Item::End { count: 3 });
    items
}

fn good(items: &[Item]) -> Vec<&Item> {
    items.iter().filter(|item| matches!(item, Item::Envelope(_))).collect()
}

#[test]
fn what_was_written_comes_back_in_whatever_pieces_it_is_read() {
    for piece in [1, 7, 64, 100_000] {
        assert_eq!(read(&file(), piece), (whole(), Ok(())), "{piece}");
    }
}

#[test]
fn a_file_cut_off_anywhere_gives_all_that_is_whole_and_says_that_it_was_cut() {
    let file = file();
    let ends: Vec<usize> = [157, 400, 300]
        .iter()
        .scan(HEADER_LEN, |at, len| {
            *at += HEAD_LEN + len + SUM_LEN;
            Some(*at)
        })
        .collect();
    for len in 0..file.len() {
        let (items, end) = read(&file[..len], 4_096);
        let whole = ends.iter().filter(|end| **end <= len).count();
        assert_eq!(good(&items).len(), whole, "{len}");
        assert_eq!(end, Err(ParcelError::Truncated { offset: len as u64 }), "{len}");
    }
}

#[test]
fn no_flipped_bit_is_taken_for_good_and_what_lies_before_it_is_kept() {
    let file = file();
    let sound = whole();
    for bit in (0..file.len() * 8).step_by(3) {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (items, end) = read(&flipped, 4_096);
        for item in good(&items) {
            assert!(sound.contains(item), "bit {bit}");
        }
        let damage = items.iter().any(|item| matches!(item, Item::Damaged { .. } | Item::Missing { .. }));
        let last_sum = bit / 8 >= file.len() - SUM_LEN;
        assert!(damage || end.is_err() || last_sum, "bit {bit} went unseen");
    }
}

#[test]
fn one_damaged_envelope_is_named_and_the_others_are_taken() {
    let mut file = file();
    let second = HEADER_LEN + HEAD_LEN + 157 + SUM_LEN;
    file[second + HEAD_LEN + 9] ^= 1;
    let (items, end) = read(&file, 4_096);
    assert_eq!(end, Ok(()));
    assert_eq!(items[2], Item::Damaged { number: 1, offset: second as u64 });
    assert_eq!(good(&items).len(), 2);
}

#[test]
fn envelopes_that_were_cut_out_are_named() {
    let mut file = file();
    let second = HEADER_LEN + HEAD_LEN + 157 + SUM_LEN;
    file.drain(second..second + HEAD_LEN + 400 + SUM_LEN);
    let (items, end) = read(&file, 4_096);
    assert_eq!((items[2].clone(), end), (Item::Missing { from: 1, to: 2 }, Ok(())));
}

#[test]
fn other_files_and_versions_are_refused_with_the_reason() {
    assert_eq!(read(b"#!/bin/sh\n", 4).1, Err(ParcelError::NotAParcel));
    assert_eq!(read(b"", 1).1, Err(ParcelError::Truncated { offset: 0 }));
    let mut newer = file();
    newer[8] = 2;
    assert_eq!(read(&newer, 9).1, Err(ParcelError::Version(2)));
    let mut longer = file();
    let len = longer.len() as u64;
    longer.push(0);
    assert_eq!(read(&longer, 4_096).1, Err(ParcelError::Trailing { offset: len }));
    let twice = [file(), file()[HEADER_LEN..].to_vec()].concat();
    assert_eq!(read(&twice, 4_096).1, Err(ParcelError::Trailing { offset: len }));
}

#[test]
fn an_envelope_that_no_node_can_have_is_left_out() {
    let (mut writer, mut out) = (ParcelWriter::default(), Vec::new());
    writer.envelope(&vec![0; MAX_ENVELOPE + 1], &mut out);
    writer.envelope(&[], &mut out);
    assert!(out.is_empty() && writer.written() == 0);
}
