//! The origin record: a node's own word that it is there, with a sequence number that only it can raise.
//!
//! The node signs `"origin-v1\0"` ‖ sequence number (8 bytes) ‖ end (4 bytes), big-endian, in the signature domain of plugins
//! with this plugin's id in front.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use qpq_schemas::PeerId;
use qpq_schemas::signature::{Domain, verify};

/// A node's public key.
pub type Key = [u8; 32];

/// This plugin's id, part of what is signed.
pub const PLUGIN_ID: &str = "routing-babel";

/// The end of a record that has none: its node had no clock.
pub const NO_END: u32 = u32::MAX;

const CONTEXT: &[u8] = b"origin-v1\0";
const MESSAGE_LEN: usize = CONTEXT.len() + 12;

/// Good signatures that one process remembers, about 150 bytes each. Many instances in one process, as in a simulator,
/// check each record once.
const MAX_REMEMBERED: usize = 16_384;

/// A sequence number, signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The sequence number.
    pub seqno: u64,
    /// Unix time in seconds from which on it counts no more, or [`NO_END`].
    pub not_after: u32,
    /// The origin's Ed25519 signature.
    pub signature: [u8; 64],
}

/// The message that an origin signs, without the domain and the plugin's id.
pub fn message(seqno: u64, not_after: u32) -> [u8; MESSAGE_LEN] {
    let mut message = [0; MESSAGE_LEN];
    let (context, numbers) = message.split_at_mut(CONTEXT.len());
    let (first, second) = numbers.split_at_mut(8);
    context.copy_from_slice(CONTEXT);
    first.copy_from_slice(&seqno.to_be_bytes());
    second.copy_from_slice(&not_after.to_be_bytes());
    message
}

impl Record {
    /// Whether `origin` signed it. Same bytes, same verdict: what was found good before isn't calculated again.
    pub fn is_signed_by(&self, origin: &Key) -> bool {
        let what = (*origin, self.seqno, self.not_after);
        if remembered().get(&self.signature) == Some(&what) {
            return true;
        }
        let message = message(self.seqno, self.not_after);
        let id = [PLUGIN_ID.len() as u8];
        let parts: [&[u8]; 3] = [&id, PLUGIN_ID.as_bytes(), &message];
        let good = verify(PeerId(*origin), Domain::PLUGIN, &parts, &self.signature).is_ok();
        if good {
            let mut all = remembered();
            if all.len() >= MAX_REMEMBERED {
                all.clear();
            }
            all.insert(self.signature, what);
        }
        good
    }
}

type Remembered = HashMap<[u8; 64], (Key, u64, u32)>;

static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);

fn remembered() -> MutexGuard<'static, Remembered> {
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use qpq_schemas::signature::SigningKey;

    use super::*;

    fn signed(key: &SigningKey, seqno: u64, not_after: u32) -> Record {
        Record { seqno, not_after, signature: crate::testing::sign(key, &message(seqno, not_after)) }
    }

    #[test]
    fn only_the_origin_can_raise_its_sequence_number() {
        let (origin, liar) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let key = origin.public().0;
        let good = signed(&origin, 7, 9);
        assert!(good.is_signed_by(&key) && good.is_signed_by(&key));
        assert!(!signed(&liar, 7, 9).is_signed_by(&key));
        assert!(!good.is_signed_by(&liar.public().0));
        assert!(!Record { seqno: 8, ..good }.is_signed_by(&key));
        assert!(!Record { not_after: NO_END, ..good }.is_signed_by(&key));
        for bit in 0..512 {
            let mut bad = good;
            bad.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(!bad.is_signed_by(&key), "bit {bit}");
        }
    }
}
