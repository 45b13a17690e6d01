//! The API's types in Cap'n Proto form, one table for both directions.

mod fields;
mod records;

pub(super) use fields::{read_number, read_texts, read_trust, write_datas, write_ids, write_texts, write_trust};

use capnp::struct_list;
use capnp::traits::OwnedStruct;

/// A type of the API that has a struct in `node.capnp`.
pub(super) trait Wire: Sized {
    /// The generated struct.
    type Owned: OwnedStruct;
    /// Fills the struct.
    fn write(&self, to: <Self::Owned as OwnedStruct>::Builder<'_>);
    /// Reads the struct. Fails when a text is no UTF-8, or a key or id has no 32 bytes.
    fn read(from: <Self::Owned as OwnedStruct>::Reader<'_>) -> capnp::Result<Self>;
}

/// Entries of a list at most: twice as many as the longest one, a full table of routes, can have. Empty structs take no bytes,
/// so a few words could claim millions.
const MAX_LISTED: u32 = 1 << 17;
/// Figures with names of their own, in one list.
const MAX_COUNTERS: u32 = 1_024;

/// The length of a list, as Cap'n Proto counts it.
pub(super) fn list_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Fills a list of the same length.
pub(super) fn write_list<T: Wire>(items: &[T], mut list: struct_list::Builder<'_, T::Owned>) {
    for (place, item) in (0..list.len()).zip(items) {
        item.write(list.reborrow().get(place));
    }
}

/// Reads a whole list.
pub(super) fn read_list<T: Wire>(list: struct_list::Reader<'_, T::Owned>) -> capnp::Result<Vec<T>> {
    bound(list.len(), MAX_LISTED)?;
    list.iter().map(T::read).collect()
}

/// Refuses a list with more entries.
fn bound(entries: u32, most: u32) -> capnp::Result<()> {
    if entries <= most {
        return Ok(());
    }
    Err(capnp::Error::failed(format!("bad-argument: A list has {entries} entries, and may have {most}.")))
}

/// Reads an id of 32 bytes.
pub(super) fn read_id<T: From<[u8; 32]>>(bytes: capnp::data::Reader<'_>) -> capnp::Result<T> {
    let id: [u8; 32] = bytes
        .try_into()
        .map_err(|_| capnp::Error::failed(format!("bad-argument: Expected 32 bytes, got {}.", bytes.len())))?;
    Ok(id.into())
}
