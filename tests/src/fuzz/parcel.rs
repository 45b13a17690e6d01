//! Files of envelopes that came on a stick.

use qpq_schemas::PeerId;
use qpq_schemas::parcel::{Item, MAX_ENVELOPE, ParcelReader, ParcelWriter};

use super::{Seeds, Target, wire};

pub(super) const TARGETS: &[Target] = &[Target { name: "parcel", feed: feed_parcel, seeds: parcels }];

fn parcels() -> Seeds {
    let header = ParcelWriter::header(1_800_000_000_000, &PeerId([7; 32]));
    let mut file = header.clone();
    let mut writer = ParcelWriter::default();
    wire::envelopes().iter().for_each(|envelope| writer.envelope(envelope, &mut file));
    writer.end(&mut file);
    let mut empty = header.clone();
    ParcelWriter::default().end(&mut empty);
    vec![file, empty, header]
}

/// Reads a whole file; the items, and whether it ended as it should.
fn read(bytes: &[u8], piece: usize) -> (Vec<Item>, bool) {
    let (mut reader, mut items) = (ParcelReader::new(), Vec::new());
    for part in bytes.chunks(piece) {
        reader.push(part);
        loop {
            match reader.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, false),
            }
        }
    }
    let whole = reader.finish().is_ok();
    (items, whole)
}

/// However a file is cut into pieces, the same comes out of it; and no more than went in.
fn feed_parcel(bytes: &[u8]) {
    let (items, whole) = read(bytes, 4_096);
    assert_eq!((&items, whole), (&read(bytes, 7).0, read(bytes, 7).1));
    let good = items.iter().filter_map(|item| if let Item::Envelope(wire) = item { Some(wire.len()) } else { None });
    let sizes: Vec<usize> = good.collect();
    assert!(sizes.iter().all(|size| (1..=MAX_ENVELOPE).contains(size)));
    assert!(sizes.iter().sum::<usize>() <= bytes.len());
    if whole {
        assert!(matches!(items.last(), Some(Item::End { .. })));
    }
}
