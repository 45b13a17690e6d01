//! What this node tells of itself, and how it seals for others by what they told.

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::Aad;
use qpq_schemas::record::{self, MAX_ADDRESS_LEN, MAX_NICKNAME_LEN, NodeRecord, RecordError};
use qpq_schemas::sealing::{self, RecipientKey, SealError};
use rand::CryptoRng;

use super::directory::{is_address, is_domain};
use super::keyring::{RECORD_LIFETIME_MS, SealingKeys};
use super::nickname;

/// What the configuration says of this node.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The name it gives itself.
    pub nickname: Option<String>,
    /// Its home domain.
    pub domain: Option<String>,
    /// Where it can be reached, as transport URIs, best first.
    pub addresses: Vec<String>,
}

impl SealingKeys {
    /// This node's record, signed: its newest sealing key and what the configuration says, as far as it fits a record.
    /// To be made anew when a key was rotated or an address changed, and at least once in [`RECORD_LIFETIME_MS`].
    ///
    /// # Errors
    /// When a field breaks a limit of the format all the same; none is known that does.
    pub fn own_record(&self, about: &About, now_ms: u64) -> Result<Bytes, RecordError> {
        let domain = about.domain.as_deref().filter(|domain| is_domain(domain));
        let fits = |address: &&String| is_address(address) && address.len() <= MAX_ADDRESS_LEN;
        let record = NodeRecord {
            peer: self.identity().peer_id(),
            seq_ms: now_ms,
            expires_ms: now_ms.saturating_add(RECORD_LIFETIME_MS),
            sealing: self.public(),
            nickname: about.nickname.as_deref().and_then(own_nickname).unwrap_or_default(),
            domain: domain.unwrap_or_default().to_ascii_lowercase(),
            addresses: about.addresses.iter().filter(fits).take(record::MAX_ADDRESSES).cloned().collect(),
        };
        match record.sign(self.identity().signing_key()) {
            // The longest addresses don't all fit into one record.
            Err(RecordError::TooLong(_)) => {
                NodeRecord { addresses: Vec::new(), ..record }.sign(self.identity().signing_key())
            }
            signed => signed,
        }
        .map(Bytes::from)
    }
}

fn own_nickname(raw: &str) -> Option<String> {
    nickname::sanitise(raw).map(|clean| nickname::cut(&clean, MAX_NICKNAME_LEN).trim_end().to_owned())
}

/// Seals a plaintext for a peer: to the key of its record while that counts, else to the one of its identity.
///
/// # Errors
/// When the key is unusable. There is no falling back from a record's key, so that nobody can force the weaker one.
pub fn seal_for(
    peer: PeerId,
    record: Option<&NodeRecord>,
    now_ms: u64,
    aad: &Aad,
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let record = record.filter(|record| record.peer == peer && record.check_times(now_ms).is_ok());
    let key = record.map_or(RecipientKey::Identity(peer), |record| RecipientKey::Record(record.sealing));
    sealing::seal(&key, aad, plaintext, rng)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qpq_schemas::sealing::{KeySource, Sealed};

    use super::*;
    use crate::identity::Identity;

    const NOW: u64 = 1_800_000_000_000;

    fn keys() -> SealingKeys {
        SealingKeys::in_memory(Arc::new(Identity::from_seed(&[1; 32])), NOW, &mut rand::rng())
    }

    fn source(peer: PeerId, record: Option<&NodeRecord>, now_ms: u64) -> KeySource {
        let sealed = seal_for(peer, record, now_ms, &[0; 88], b"text", &mut rand::rng()).unwrap();
        Sealed::parse(&sealed).unwrap().source
    }

    #[test]
    fn the_own_record_says_what_the_configuration_says() {
        let about = About {
            nickname: Some("Grete".into()),
            domain: Some("Home.Example".into()),
            addresses: vec!["quic://a:1".into()],
        };
        let keys = keys();
        let record = NodeRecord::verify(&keys.own_record(&about, NOW).unwrap()).unwrap();
        assert_eq!((record.nickname.as_str(), record.domain.as_str()), ("Grete", "home.example"));
        assert_eq!((record.peer, record.sealing), (keys.identity().peer_id(), keys.public()));
        assert_eq!(record.addresses, ["quic://a:1"]);
        assert!(record.check_times(NOW + RECORD_LIFETIME_MS - 1).is_ok());
    }

    #[test]
    fn whatever_the_configuration_says_there_is_a_record() {
        let long = format!("quic://{}:1", "x".repeat(119));
        let about = About {
            nickname: Some("ä\u{202e}".repeat(99)),
            domain: Some(format!("{}.example", ["y"; 120].join("."))),
            addresses: std::iter::repeat_n(long, 99).chain(["bad".into()]).collect(),
        };
        for about in [About::default(), about] {
            let wire = keys().own_record(&about, NOW).unwrap();
            assert!(NodeRecord::verify(&wire).unwrap().nickname.len() <= MAX_NICKNAME_LEN);
        }
    }

    #[test]
    fn a_record_is_sealed_to_while_it_counts() {
        let keys = keys();
        let peer = keys.identity().peer_id();
        let record = NodeRecord::verify(&keys.own_record(&About::default(), NOW).unwrap()).unwrap();
        assert_eq!(source(peer, Some(&record), NOW), KeySource::Record);
        assert_eq!(source(peer, Some(&record), NOW + RECORD_LIFETIME_MS), KeySource::Identity);
        assert_eq!(source(peer, None, NOW), KeySource::Identity);
        let other = Identity::from_seed(&[2; 32]).peer_id();
        assert_eq!(source(other, Some(&record), NOW), KeySource::Identity);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let result = seal_for(PeerId([0; 32]), None, NOW, &[0; 88], b"text", &mut rand::rng());
        assert_eq!(result, Err(SealError::BadKey));
    }
}
