//! A key in numbers, for two people who compare keys by voice.

use qpq_schemas::PeerId;
use sha2::{Digest, Sha256};

/// Groups of five digits. Six of them are 99.6 bits, so nobody makes a key with the same fingerprint as another's.
const GROUPS: usize = 6;

/// The fingerprint of a key: six groups of five digits, from a hash of the key.
pub fn fingerprint(peer: &PeerId) -> String {
    let digest = Sha256::new().chain_update(b"qpq-fingerprint-v1\0").chain_update(peer.0).finalize();
    let group = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte)) % 100_000;
    // Five bytes a group, so that no digit is noticeably more likely than another.
    let groups: Vec<_> = digest.chunks_exact(5).take(GROUPS).map(|bytes| format!("{:05}", group(bytes))).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_groups_of_five_digits_that_stay_the_same() {
        let text = fingerprint(&PeerId([7; 32]));
        assert_eq!(text.len(), 35);
        assert!(text.split(' ').all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())));
        assert_eq!(text, fingerprint(&PeerId([7; 32])));
        assert_ne!(text, fingerprint(&PeerId([8; 32])));
    }
}
