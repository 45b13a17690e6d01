//! What a delivery receipt (envelope kind 2) says. The envelope goes to the original sender and is signed by the recipient.

use crate::MessageId;
use crate::content::ContentError;
use crate::wire::Reader;

/// The version of the receipt format.
pub const RECEIPT_VERSION: u8 = 1;
/// Length of a receipt in bytes.
pub const RECEIPT_LEN: usize = 41;

/// "That message arrived here, then."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message that arrived.
    pub id: MessageId,
    /// When it became durable at the recipient, Unix time in milliseconds by its clock.
    pub received_ms: u64,
}

impl Receipt {
    /// The bytes.
    pub fn encode(&self) -> [u8; RECEIPT_LEN] {
        let mut out = [RECEIPT_VERSION; RECEIPT_LEN];
        out[1..33].copy_from_slice(&self.id.0);
        out[33..].copy_from_slice(&self.received_ms.to_be_bytes());
        out
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// When it is of another length or version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let bytes: &[u8; RECEIPT_LEN] = bytes.try_into().map_err(|_| ContentError::Short)?;
        let mut reader = Reader::new(bytes);
        match reader.u8().ok_or(ContentError::Short)? {
            RECEIPT_VERSION => {}
            version => return Err(ContentError::Version(version)),
        }
        let id = MessageId(reader.array().ok_or(ContentError::Short)?);
        Ok(Self { id, received_ms: reader.u64().ok_or(ContentError::Short)? })
    }
}

#[cfg(test)]
mod tests;
