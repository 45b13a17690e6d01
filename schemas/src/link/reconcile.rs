//! Finding out in which broadcasts two neighbours differ, at a cost that grows with the difference.

use sha2::{Digest as _, Sha256};

use super::frame::kind;
use super::{FrameError, MAX_RANGES, MAX_RECONCILE_IDS};
use crate::MessageId;
use crate::wire::Reader;

/// Goes into each fingerprint before anything else.
const FINGERPRINT_DOMAIN: &[u8] = b"qpq-history-v1\0";

/// Length of a fingerprint, in bytes.
pub const FINGERPRINT_LEN: usize = 16;

/// Bytes of a place at most: time, length, and a whole id.
const MAX_PLACE_LEN: usize = 8 + 1 + 32;

/// A place in the order of all broadcasts: by the time that they were made, then by id. What stands at a place or behind
/// it is above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When, Unix time in milliseconds.
    pub created_ms: u64,
    /// Which of those that were made at the same time.
    pub id: [u8; 32],
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { created_ms: 0, id: [0; 32] };
    /// Behind everything.
    pub const END: Self = Self { created_ms: u64::MAX, id: [0; 32] };

    /// The place of a broadcast.
    pub fn of(created_ms: u64, id: &MessageId) -> Self {
        Self { created_ms, id: id.0 }
    }

    /// Before everything that was made at that time or later.
    pub fn at(created_ms: u64) -> Self {
        Self { created_ms, id: [0; 32] }
    }

    /// A place behind `before` and not behind `self`, with as few bytes as will do.
    #[must_use]
    pub fn shortened(self, before: Self) -> Self {
        let mut short = Self::at(self.created_ms);
        for (place, byte) in self.id.into_iter().enumerate() {
            if short > before {
                return short;
            }
            short.id.iter_mut().skip(place).take(1).for_each(|to| *to = byte);
        }
        self
    }

    fn put(&self, out: &mut Vec<u8>) {
        let used = self.id.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        out.extend_from_slice(&self.created_ms.to_be_bytes());
        out.push(used as u8);
        out.extend(self.id.iter().take(used));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let created_ms = reader.u64().ok_or(FrameError::Truncated)?;
        let len = reader.u8().ok_or(FrameError::Truncated)?;
        let used = reader.take(len.into()).ok_or(FrameError::Truncated)?;
        let mut id = [0; 32];
        let to = id.get_mut(..used.len()).ok_or(malformed("place"))?;
        to.copy_from_slice(used);
        if used.last() == Some(&0) {
            return Err(malformed("place"));
        }
        Ok(Self { created_ms, id })
    }
}

/// What is said about a stretch of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Nothing more: it is settled.
    Skip,
    /// The fingerprint of all that the sender has there.
    Fingerprint([u8; FINGERPRINT_LEN]),
    /// All that the sender has there.
    Ids(Vec<MessageId>),
}

/// A stretch of the order, from the end of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it ends.
    pub to: Place,
    /// What is said about it.
    pub part: Part,
}

/// One step of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconcile {
    /// Which comparison; whoever began it chose the number.
    pub session: u32,
    /// Whether it comes from the one who began it.
    pub opener: bool,
    /// Where the first stretch begins.
    pub from: Place,
    /// The stretches, in order. None: the comparison is at its end.
    pub ranges: Vec<Range>,
}

impl Reconcile {
    pub(super) const MAX_BODY: usize =
        5 + MAX_PLACE_LEN + MAX_RANGES * (MAX_PLACE_LEN + 1 + FINGERPRINT_LEN) + MAX_RECONCILE_IDS * 32;

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session.to_be_bytes());
        out.push(self.opener.into());
        self.from.put(out);
        for range in &self.ranges {
            range.to.put(out);
            match &range.part {
                Part::Skip => out.push(0),
                Part::Fingerprint(bytes) => {
                    out.push(1);
                    out.extend_from_slice(bytes);
                }
                Part::Ids(ids) => {
                    out.push(2);
                    out.extend_from_slice(&u16::try_from(ids.len()).unwrap_or(u16::MAX).to_be_bytes());
                    ids.iter().for_each(|id| out.extend_from_slice(&id.0));
                }
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        let ids: usize = self.ranges.iter().map(|range| range.ids().len()).sum();
        let before = std::iter::once(self.from).chain(self.ranges.iter().map(|range| range.to));
        let ordered = before.zip(&self.ranges).all(|(before, range)| before < range.to);
        match (self.ranges.len() > MAX_RANGES, ids > MAX_RECONCILE_IDS) {
            (true, _) => Err(FrameError::TooMany { kind: kind::RECONCILE, max: MAX_RANGES }),
            (_, true) => Err(FrameError::TooMany { kind: kind::RECONCILE, max: MAX_RECONCILE_IDS }),
            _ if !ordered => Err(malformed("order")),
            _ => Ok(()),
        }
    }

    pub(super) fn read(body: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(body);
        let session = reader.u32().ok_or(FrameError::Truncated)?;
        let opener = match reader.u8().ok_or(FrameError::Truncated)? {
            0 => false,
            1 => true,
            _ => return Err(malformed("opener")),
        };
        let mut read = Self { session, opener, from: Place::read(&mut reader)?, ranges: Vec::new() };
        while !reader.is_empty() {
            if read.ranges.len() == MAX_RANGES {
                return Err(FrameError::TooMany { kind: kind::RECONCILE, max: MAX_RANGES });
            }
            read.ranges.push(Range::read(&mut reader)?);
        }
        read.check().map(|()| read)
    }
}

impl Range {
    /// The ids that it lists, if it does.
    pub fn ids(&self) -> &[MessageId] {
        if let Part::Ids(ids) = &self.part { ids } else { &[] }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let to = Place::read(reader)?;
        let part = match reader.u8().ok_or(FrameError::Truncated)? {
            0 => Part::Skip,
            1 => Part::Fingerprint(reader.array().ok_or(FrameError::Truncated)?),
            2 => Part::Ids(read_ids(reader)?),
            _ => return Err(malformed("form")),
        };
        Ok(Self { to, part })
    }
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<MessageId>, FrameError> {
    let count = usize::from(reader.u16().ok_or(FrameError::Truncated)?);
    if count > MAX_RECONCILE_IDS {
        return Err(FrameError::TooMany { kind: kind::RECONCILE, max: MAX_RECONCILE_IDS });
    }
    let (ids, _) = reader.take(count * 32).ok_or(FrameError::Truncated)?.as_chunks::<32>();
    Ok(ids.iter().copied().map(MessageId).collect())
}

fn malformed(what: &'static str) -> FrameError {
    FrameError::Malformed { kind: kind::RECONCILE, what }
}

/// The sum over a set of broadcasts, from which its fingerprint is made: their ids, as numbers of 256 bits, added up
/// without the carry, and how many they are. Sums of parts add up to the sum of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Least significant first.
    limbs: [u64; 4],
    count: u64,
}

impl Sum {
    /// How many broadcasts it stands for.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// With one broadcast more.
    pub fn add(&mut self, id: &MessageId) {
        self.merge(&Self { limbs: limbs(id), count: 1 });
    }

    /// With one broadcast less, which was in it.
    pub fn remove(&mut self, id: &MessageId) {
        let mut borrow = false;
        for (limb, other) in self.limbs.iter_mut().zip(limbs(id)) {
            let (once, under) = limb.overflowing_sub(other);
            let (twice, again) = once.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (twice, under || again);
        }
        self.count = self.count.wrapping_sub(1);
    }

    /// With another set that has nothing in common with this one.
    pub fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (once, over) = limb.overflowing_add(other);
            let (twice, again) = once.overflowing_add(u64::from(carry));
            (*limb, carry) = (twice, over || again);
        }
        self.count = self.count.wrapping_add(other.count);
    }

    /// What is compared with the neighbour's.
    pub fn fingerprint(&self) -> [u8; FINGERPRINT_LEN] {
        let mut hash = Sha256::new();
        hash.update(FINGERPRINT_DOMAIN);
        hash.update(self.count.to_be_bytes());
        self.limbs.iter().rev().for_each(|limb| hash.update(limb.to_be_bytes()));
        let whole: [u8; 32] = hash.finalize().into();
        whole.first_chunk().copied().unwrap_or_default()
    }
}

impl<'a> FromIterator<&'a MessageId> for Sum {
    fn from_iter<T: IntoIterator<Item = &'a MessageId>>(ids: T) -> Self {
        let mut sum = Self::default();
        ids.into_iter().for_each(|id| sum.add(id));
        sum
    }
}

fn limbs(id: &MessageId) -> [u64; 4] {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().rev().zip(id.0.as_chunks::<8>().0) {
        *limb = u64::from_be_bytes(*bytes);
    }
    limbs
}
