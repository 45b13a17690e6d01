//! Hex, a fixed stream of bytes in the place of randomness, and the parts that several vectors share.

use std::convert::Infallible;
use std::fmt::Write as _;

use qpq_schemas::envelope::{Draft, Flags, Kind, Priority};
use qpq_schemas::signature::SigningKey;
use rand::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Ada sends in all vectors; her seed is 32 times 0x01.
pub(crate) fn ada() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// Bob receives; his seed is 32 times 0x02.
pub(crate) fn bob() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// When all vectors were created.
pub(crate) const NOW: u64 = 1_790_000_000_000;

pub(crate) fn draft(kind: Kind, payload: &[u8]) -> Draft {
    Draft {
        kind,
        flags: Flags { sealed: false, receipt_wanted: false, priority: Priority::Normal },
        max_hops: 16,
        ttl_secs: 86_400,
        created_ms: NOW,
        nonce: *b"nonce-01",
        destination: bob().public().0,
        payload: payload.to_vec(),
    }
}

/// SHA-256 of a counter: the same bytes in every run and with every version of every library.
pub(crate) struct FixedBytes(u64);

impl FixedBytes {
    pub(crate) fn new(start: u64) -> Self {
        Self(start << 32)
    }
}

impl TryRng for FixedBytes {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::digest(self.0.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.0 += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for FixedBytes {}
