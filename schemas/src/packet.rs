//! Packets: how the blocks of a link cross a transport that may lose, double or reorder its frames.
//!
//! Each transport frame is one packet. Openings carry HELLO in the clear; all else is sealed with keys that only the two
//! HELLOs' makers have. The byte tables stand in `schemas/spec/packet.md`; when to send what is the host's business.

mod body;
mod error;
mod keys;
mod opening;

pub use body::{Ack, Block, Body};
pub use error::PacketError;
pub use keys::{Ephemeral, PacketKey, PacketKeys};
pub use opening::Opening;

use crate::wire::Reader;

/// First byte of an opening.
const OPENING: u8 = 1;
/// First byte of a sealed packet.
const SEALED: u8 = 2;
/// Bytes in front of the sealed part: kind and packet number.
const HEAD_LEN: usize = 1 + 8;
/// Bytes of the seal's tag.
const TAG_LEN: usize = 16;
/// Bytes that a packet with one block has beside the block: head, tag, flags, block number, block length.
pub const PACKET_OVERHEAD: usize = HEAD_LEN + TAG_LEN + 1 + BLOCK_HEAD_LEN;
/// Bytes in front of each block in a packet: its number and its length.
pub const BLOCK_HEAD_LEN: usize = 8 + 2;
/// Largest packet, in bytes, whatever the transport would carry: a lost one costs no more than this.
pub const MAX_PACKET: usize = 16 * 1024;
/// Most bytes of the bit map in an ACK: it speaks of 256 packets.
pub const MAX_SEEN: usize = 32;
/// Most bytes that an ACK takes in a packet.
pub const MAX_ACK_LEN: usize = 8 + 2 + 8 + 1 + MAX_SEEN;

/// What a transport frame is, by its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// HELLO, in the clear.
    Opening(Opening),
    /// The packet number, which nobody has vouched for until [`PacketKey::open`] did.
    Sealed(u64, SealedPacket<'a>),
}

/// A packet that is still sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedPacket<'a>(&'a [u8]);

impl<'a> Packet<'a> {
    /// Takes a transport frame apart as far as that goes without keys.
    ///
    /// # Errors
    /// When it is no packet. Anybody may have sent it: drop it, and don't close the link.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        if bytes.len() > MAX_PACKET {
            return Err(PacketError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        match reader.u8().ok_or(PacketError::Truncated)? {
            OPENING => Opening::read(reader).map(Self::Opening),
            SEALED => {
                let number = reader.u64().ok_or(PacketError::Truncated)?;
                if bytes.len() < HEAD_LEN + TAG_LEN {
                    return Err(PacketError::Truncated);
                }
                Ok(Self::Sealed(number, SealedPacket(bytes)))
            }
            other => Err(PacketError::UnknownKind(other)),
        }
    }
}

#[cfg(test)]
mod tests;
