//! Reading such a file, in whatever pieces it comes.

use bytes::{Buf, Bytes, BytesMut};

use super::{HEAD_LEN, HEADER_LEN, MAGIC, MAX_ENVELOPE, ParcelError, SUM_LEN, VERSION, sum};
use crate::PeerId;
use crate::wire::Reader;

/// What stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// It was made then (Unix time in milliseconds), by that node, as it says.
    Header {
        /// When.
        made_ms: u64,
        /// The node.
        by: PeerId,
    },
    /// An envelope whose checksum fits. Its signature is for the node to check.
    Envelope(Bytes),
    /// The envelope of that number, counted from 0, is damaged; it stands at that place.
    Damaged {
        /// Its number.
        number: u64,
        /// Bytes from the beginning of the file.
        offset: u64,
    },
    /// The envelopes from the first number to before the second are missing.
    Missing {
        /// The first one.
        from: u64,
        /// The first that is there again.
        to: u64,
    },
    /// That was all; so many there were.
    End {
        /// Envelopes, with those that were damaged or missing.
        count: u64,
    },
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Header,
    Pieces,
    End,
}

/// Takes the bytes of a file as they come. It holds what was pushed and not read yet, so push pieces of some 64 KiB and read
/// all items after each.
#[derive(Debug, Default)]
pub struct ParcelReader {
    buffer: BytesMut,
    offset: u64,
    expected: u64,
    place: Place,
}

/// What stands before an envelope.
struct Head {
    len: usize,
    number: u64,
}

impl ParcelReader {
    /// A reader at the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` when more bytes are needed for it, or nothing is left.
    ///
    /// # Errors
    /// [`ParcelError`], when it can't be read on from here. What came before is good.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end for good where more bytes are needed")]
    pub fn next(&mut self) -> Result<Option<Item>, ParcelError> {
        match self.place {
            Place::Header => self.header(),
            Place::Pieces => self.piece(),
            Place::End if self.buffer.is_empty() => Ok(None),
            Place::End => Err(ParcelError::Trailing { offset: self.offset }),
        }
    }

    /// The file has no more bytes.
    ///
    /// # Errors
    /// [`ParcelError::Truncated`] when its end mark was not read.
    pub fn finish(self) -> Result<(), ParcelError> {
        match self.place {
            Place::End => Ok(()),
            Place::Header if !MAGIC.starts_with(self.buffer.get(..self.buffer.len().min(8)).unwrap_or_default()) => {
                Err(ParcelError::NotAParcel)
            }
            Place::Header | Place::Pieces => {
                Err(ParcelError::Truncated { offset: self.offset + self.buffer.len() as u64 })
            }
        }
    }

    fn header(&mut self) -> Result<Option<Item>, ParcelError> {
        let magic = self.buffer.get(..self.buffer.len().min(MAGIC.len())).unwrap_or_default();
        if !MAGIC.starts_with(magic) {
            return Err(ParcelError::NotAParcel);
        }
        match self.buffer.get(MAGIC.len()) {
            Some(&VERSION) | None => {}
            Some(other) => return Err(ParcelError::Version(*other)),
        }
        if self.buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        let bytes = self.take(HEADER_LEN);
        self.place = Place::Pieces;
        read_header(&bytes).map(Some).ok_or(ParcelError::Header)
    }

    fn piece(&mut self) -> Result<Option<Item>, ParcelError> {
        let Some(head) = self.buffer.get(..HEAD_LEN) else { return Ok(None) };
        let lost = ParcelError::Lost { offset: self.offset };
        let head = read_head(head).ok_or(lost)?;
        // A number that was there before is another file's piece.
        if head.number < self.expected {
            return Err(lost);
        }
        if head.number > self.expected {
            let from = std::mem::replace(&mut self.expected, head.number);
            return Ok(Some(Item::Missing { from, to: head.number }));
        }
        if self.buffer.len() < HEAD_LEN + head.len + SUM_LEN {
            return Ok(None);
        }
        let offset = self.offset;
        let whole = self.take(HEAD_LEN + head.len + SUM_LEN);
        let (covered, found) = whole.split_at(HEAD_LEN + head.len);
        let good = sum::<SUM_LEN>(&[covered]) == *found;
        if head.len == 0 {
            // The end mark's own check was good; its sum says nothing more.
            self.place = Place::End;
            return Ok(Some(Item::End { count: head.number }));
        }
        self.expected = self.expected.saturating_add(1);
        Ok(Some(match good {
            true => Item::Envelope(whole.slice(HEAD_LEN..HEAD_LEN + head.len)),
            false => Item::Damaged { number: head.number, offset },
        }))
    }

    fn take(&mut self, len: usize) -> Bytes {
        let len = len.min(self.buffer.remaining());
        self.offset += len as u64;
        self.buffer.split_to(len).freeze()
    }
}

fn read_header(bytes: &[u8]) -> Option<Item> {
    let (covered, found) = bytes.split_at_checked(HEADER_LEN - SUM_LEN)?;
    if sum::<SUM_LEN>(&[covered]) != *found {
        return None;
    }
    let mut reader = Reader::new(covered);
    reader.take(16)?;
    Some(Item::Header { made_ms: reader.u64()?, by: PeerId(reader.array()?) })
}

fn read_head(bytes: &[u8]) -> Option<Head> {
    let (covered, check) = bytes.split_at_checked(12)?;
    if sum::<4>(&[&MAGIC, covered]) != *check {
        return None;
    }
    let mut reader = Reader::new(covered);
    let len = usize::try_from(reader.u32()?).ok().filter(|len| *len <= MAX_ENVELOPE)?;
    Some(Head { len, number: reader.u64()? })
}
