use bytes::Bytes;

use super::{BLOCK_HEAD_LEN, MAX_ACK_LEN, MAX_SEEN, PacketError};
use crate::wire::{Reader, split_bytes};

/// An ACK stands in front of the blocks.
const HAS_ACK: u8 = 1;
/// One block without a number stands last: the sender's last word, to be taken at once.
const HAS_LAST_WORD: u8 = 2;

/// What is in a sealed packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Which packets the sender has.
    pub ack: Option<Ack>,
    /// A block that is taken at once, whatever is missing before it: CLOSE.
    pub last_word: Option<Bytes>,
    /// Numbered blocks.
    pub blocks: Vec<Block>,
}

/// A block of link frames under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its place in the order of this direction, from 0.
    pub number: u64,
    /// The block, never empty.
    pub bytes: Bytes,
}

/// Which packets came, and how far the sender may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The largest packet number that came.
    pub largest: u64,
    /// How long ago that was, in milliseconds.
    pub delay_ms: u16,
    /// The first block number that isn't taken yet.
    pub limit: u64,
    /// Bit *i* of byte *n* (the lowest bit is 0) says that packet `largest` − 1 − 8*n* − *i* came. Up to [`MAX_SEEN`] bytes.
    pub seen: Vec<u8>,
}

impl Ack {
    /// The numbers of all packets that it says have come, the largest first.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let bits = self.seen.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let below = (1..).zip(bits).filter(|(_, came)| *came).filter_map(|(back, _)| self.largest.checked_sub(back));
        std::iter::once(self.largest).chain(below)
    }

    /// Bytes that it takes in a packet.
    pub fn wire_len(&self) -> usize {
        MAX_ACK_LEN - MAX_SEEN + self.seen.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.largest.to_be_bytes());
        out.extend_from_slice(&self.delay_ms.to_be_bytes());
        out.extend_from_slice(&self.limit.to_be_bytes());
        out.push(u8::try_from(self.seen.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.seen);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PacketError> {
        let mut fields = || Some((reader.u64()?, reader.u16()?, reader.u64()?, usize::from(reader.u8()?)));
        let (largest, delay_ms, limit, len) = fields().ok_or(PacketError::Truncated)?;
        if len > MAX_SEEN {
            return Err(PacketError::Malformed("bit map"));
        }
        let seen = reader.take(len).ok_or(PacketError::Truncated)?.to_vec();
        let oldest = (1..).zip(seen.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)));
        if oldest.filter(|(_, came)| *came).any(|(back, _)| back > largest) {
            return Err(PacketError::Malformed("bit map"));
        }
        Ok(Self { largest, delay_ms, limit, seen })
    }
}

impl Block {
    /// Bytes that it takes in a packet.
    pub fn wire_len(&self) -> usize {
        BLOCK_HEAD_LEN + self.bytes.len()
    }
}

impl Body {
    /// The bytes to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0];
        let mut flags = 0;
        if let Some(ack) = &self.ack {
            flags |= HAS_ACK;
            ack.put(&mut out);
        }
        if let Some(word) = &self.last_word {
            flags |= HAS_LAST_WORD;
            put_bytes(word, &mut out);
        }
        for block in &self.blocks {
            out.extend_from_slice(&block.number.to_be_bytes());
            put_bytes(&block.bytes, &mut out);
        }
        if let Some(first) = out.first_mut() {
            *first = flags;
        }
        out
    }

    /// Reads what was sealed. The blocks share its memory.
    ///
    /// # Errors
    /// When it is malformed; the neighbour is at fault.
    pub fn decode(mut bytes: Bytes) -> Result<Self, PacketError> {
        let flags = bytes.first().copied().ok_or(PacketError::Truncated)?;
        if flags & !(HAS_ACK | HAS_LAST_WORD) != 0 {
            return Err(PacketError::Malformed("flags"));
        }
        let mut reader = Reader::new(bytes.get(1..).unwrap_or_default());
        let ack = (flags & HAS_ACK != 0).then(|| Ack::read(&mut reader)).transpose()?;
        let rest = reader.rest().len();
        let mut bytes = bytes.split_off(bytes.len() - rest);
        let last_word = (flags & HAS_LAST_WORD != 0).then(|| take_bytes(&mut bytes)).transpose()?;
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let number = split_bytes(&mut bytes, 8).ok_or(PacketError::Truncated)?;
            let number = Reader::new(&number).u64().ok_or(PacketError::Truncated)?;
            blocks.push(Block { number, bytes: take_bytes(&mut bytes)? });
        }
        Ok(Self { ack, last_word, blocks })
    }
}

fn put_bytes(bytes: &Bytes, out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_bytes(from: &mut Bytes) -> Result<Bytes, PacketError> {
    let len = split_bytes(from, 2).ok_or(PacketError::Truncated)?;
    let len = Reader::new(&len).u16().ok_or(PacketError::Truncated)?;
    match split_bytes(from, len.into()).ok_or(PacketError::Truncated)? {
        block if block.is_empty() => Err(PacketError::Malformed("block")),
        block => Ok(block),
    }
}
