//! The form in which a notice goes from admin to admin, by any means that carries text.

use sha2::{Digest, Sha256};

use super::{Notice, NoticeError};
use crate::channel::base32;

/// What the text begins with.
const PREFIX: &str = "qpqnotice";
/// Goes in front of the bytes that the checksum covers.
const CHECKSUM_DOMAIN: &[u8] = b"qpq-notice-v1\0";
const CHECKSUM_LEN: usize = 4;
/// Longest text that is read as a notice, in bytes. The longest notice has 5,828.
pub const MAX_NOTICE_LINE: usize = 8_192;

impl Notice {
    /// The notice as one word of text. It is no secret.
    pub fn to_text(&self) -> String {
        let mut bytes = self.encode();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{PREFIX}{}", base32::encode(&bytes))
    }

    /// Reads the text of a notice. Blanks, line breaks and hyphens in it don't matter, nor does case.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn from_text(text: &str) -> Result<Self, NoticeError> {
        if text.len() > MAX_NOTICE_LINE {
            return Err(NoticeError::Length);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-').collect();
        let (prefix, rest) = text.split_at_checked(PREFIX.len()).ok_or(NoticeError::NoNotice)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(NoticeError::NoNotice);
        }
        let bytes = base32::decode(rest.chars()).map_err(|c| c.map_or(NoticeError::Length, NoticeError::Character))?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(NoticeError::Length)?;
        if checksum(bytes) == *sum { Self::decode(bytes) } else { Err(NoticeError::Checksum) }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash: [u8; 32] = Sha256::new().chain_update(CHECKSUM_DOMAIN).chain_update(bytes).finalize().into();
    std::array::from_fn(|i| hash[i])
}
