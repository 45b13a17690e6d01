//! Signature checks with a memory that all nodes share: the same bytes always get the same verdict, so each is checked once.

use std::cell::RefCell;
use std::collections::HashMap;

use qpq_schemas::MessageId;
use qpq_schemas::envelope::{Envelope, Refusal};
use qpq_schemas::record::{NodeRecord, RecordError};
use qpq_schemas::signature::{DEFAULT_KEY_CACHE, Verifier};

/// Verdicts remembered at most; then the memory starts anew.
const MAX_REMEMBERED: usize = 100_000;

/// Checks envelopes.
pub struct Checks {
    verifier: Verifier,
    verdicts: HashMap<(MessageId, [u8; 64]), Result<(), Refusal>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { verifier: Verifier::new(DEFAULT_KEY_CACHE), verdicts: HashMap::new() }
    }
}

impl Checks {
    /// The verdict on an envelope's signature.
    pub fn check(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        if self.verdicts.len() >= MAX_REMEMBERED {
            self.verdicts.clear();
        }
        let key = (envelope.id(), *envelope.view().signature());
        let verdict = self.verdicts.entry(key).or_insert_with(|| self.verifier.check(envelope.view()));
        *verdict
    }
}

/// As [`NodeRecord::verify`], with a memory for good records.
///
/// # Errors
/// The same.
pub fn check_record(bytes: &[u8]) -> Result<NodeRecord, RecordError> {
    thread_local! {
        static GOOD: RefCell<HashMap<Box<[u8]>, NodeRecord>> = RefCell::default();
    }
    GOOD.with_borrow_mut(|good| {
        if let Some(record) = good.get(bytes) {
            return Ok(record.clone());
        }
        if good.len() >= MAX_REMEMBERED {
            good.clear();
        }
        let record = NodeRecord::verify(bytes)?;
        good.insert(bytes.into(), record.clone());
        Ok(record)
    })
}

#[cfg(test)]
mod tests {
    use qpq_schemas::envelope::{Draft, Flags, Kind, Priority};
    use qpq_schemas::signature::SigningKey;

    use super::*;

    #[test]
    fn a_forged_copy_of_a_good_envelope_is_refused_before_and_after_it() {
        let flags = Flags { sealed: false, receipt_wanted: false, priority: Priority::Normal };
        let draft = Draft {
            kind: Kind::Direct,
            flags,
            max_hops: 9,
            ttl_secs: 60,
            created_ms: 1,
            nonce: [0; 8],
            destination: [1; 32],
            payload: b"hello".to_vec(),
        };
        let good = draft.sign(&SigningKey::from_seed(&[3; 32])).unwrap();
        let mut bytes = good.wire().to_vec();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        let forged = Envelope::from_wire(bytes.into(), 100).unwrap();
        let mut checks = Checks::default();
        assert!(checks.check(&forged).is_err());
        assert!(checks.check(&good).is_ok());
        assert!(checks.check(&forged).is_err());
        assert!(checks.check(&good.with_hop_count(3)).is_ok());
    }
}
