use bytes::Bytes;

use super::{OPENING, PacketError};
use crate::link::{FRAME_HEADER_LEN, MAX_HELLO_BODY};
use crate::wire::Reader;

/// The largest block in an opening: one HELLO frame.
const MAX_HELLO: usize = FRAME_HEADER_LEN + MAX_HELLO_BODY;

/// The first packet from each side: HELLO, and the numbers that show that its sender hears us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// A random number that the sender chose for this link, not 0.
    pub session: u64,
    /// The `session` of an opening that the sender has heard; 0 asks for an answer.
    pub echo: u64,
    /// A block that holds one HELLO frame.
    pub hello: Bytes,
}

impl Opening {
    /// The packet.
    pub fn encode(&self) -> Bytes {
        [&[OPENING][..], &self.session.to_be_bytes(), &self.echo.to_be_bytes(), &self.hello].concat().into()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, PacketError> {
        let mut fields = || Some((reader.u64()?, reader.u64()?));
        let (session, echo) = fields().ok_or(PacketError::Truncated)?;
        let hello = reader.rest();
        match hello.len() {
            _ if session == 0 => Err(PacketError::Malformed("session")),
            FRAME_HEADER_LEN..=MAX_HELLO => Ok(Self { session, echo, hello: Bytes::copy_from_slice(hello) }),
            _ => Err(PacketError::Malformed("hello")),
        }
    }
}
