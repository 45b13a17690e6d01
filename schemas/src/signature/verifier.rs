use std::sync::{Mutex, PoisonError};

use rand::CryptoRng;

use super::equation::{PublicKey, Term, all_hold};
use super::key_cache::KeyCache;
use super::{Domain, SignatureError};
use crate::PeerId;
use crate::envelope::{EnvelopeRef, Refusal};

/// Keys of senders that a node keeps decompressed: 1 MiB or so.
pub const DEFAULT_KEY_CACHE: usize = 4_096;

/// Below this number, checks one by one are as fast as a batch.
const SMALLEST_BATCH: usize = 3;

/// Checks signatures, and remembers the decompressed keys of recent senders. Can be shared between threads.
pub struct Verifier {
    keys: Mutex<KeyCache>,
}

impl Verifier {
    /// A verifier that remembers at most so many keys, at about 250 bytes each.
    pub fn new(capacity: usize) -> Self {
        Self { keys: Mutex::new(KeyCache::new(capacity)) }
    }

    /// Checks the signature of one envelope.
    ///
    /// # Errors
    /// [`Refusal::Signature`] or [`Refusal::SmallOrderKey`].
    pub fn check(&self, envelope: EnvelopeRef<'_>) -> Result<(), Refusal> {
        self.verify_raw(envelope.sender(), Domain::ENVELOPE, &[envelope.signed()], envelope.signature())
            .map_err(refusal)
    }

    /// Checks the signatures of envelopes that arrived together, at two to three times the speed. When one is bad the batch is
    /// split until the offenders are found; each answer is the one that [`Verifier::check`] gives.
    pub fn check_batch(&self, envelopes: &[EnvelopeRef<'_>], rng: &mut impl CryptoRng) -> Vec<Result<(), Refusal>> {
        if envelopes.len() < SMALLEST_BATCH {
            return envelopes.iter().map(|envelope| self.check(*envelope)).collect();
        }
        let mut results: Vec<Result<(), Refusal>> = Vec::with_capacity(envelopes.len());
        let mut terms = Vec::with_capacity(envelopes.len());
        for (index, envelope) in envelopes.iter().enumerate() {
            let term = self.term(*envelope);
            results.push(term.map(|_| ()).map_err(refusal));
            terms.extend(term.ok().map(|(term, cached)| Pending { index, term, cached }));
        }
        find_offenders(&terms, rng, &mut |index| {
            if let Some(result) = results.get_mut(index) {
                *result = Err(Refusal::Signature);
            }
        });
        self.remember_new(&terms, &results);
        results
    }

    /// Checks a signature over `domain` and the parts of a message.
    ///
    /// # Errors
    /// When the key is unusable or the signature doesn't fit.
    pub fn verify_raw(
        &self,
        peer: PeerId,
        domain: Domain,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), SignatureError> {
        let (key, cached) = self.key(peer)?;
        key.verify(domain, parts, signature)?;
        if !cached {
            self.keys().insert(peer, key);
        }
        Ok(())
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, KeyCache> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a peer, and whether it was in the cache. The cache isn't locked while a key is decompressed.
    fn key(&self, peer: PeerId) -> Result<(PublicKey, bool), SignatureError> {
        let found = self.keys().find(peer);
        match found {
            Some(key) => Ok((key, true)),
            None => PublicKey::decompress(peer).map(|key| (key, false)),
        }
    }

    fn term(&self, envelope: EnvelopeRef<'_>) -> Result<(Term, bool), SignatureError> {
        let (key, cached) = self.key(envelope.sender())?;
        Ok((Term::new(key, Domain::ENVELOPE, &[envelope.signed()], envelope.signature())?, cached))
    }

    #[cfg(test)]
    pub(super) fn cached_keys(&self) -> usize {
        self.keys().len()
    }

    fn remember_new(&self, terms: &[Pending], results: &[Result<(), Refusal>]) {
        let mut keys = self.keys();
        for pending in terms.iter().filter(|pending| !pending.cached) {
            if results.get(pending.index).is_some_and(Result::is_ok) {
                keys.insert(pending.term.peer(), pending.term.key());
            }
        }
    }
}

/// An envelope's place in the batch and its equation.
struct Pending {
    index: usize,
    term: Term,
    cached: bool,
}

/// Checks a batch, and tells which of it are bad.
fn find_offenders(pending: &[Pending], rng: &mut impl CryptoRng, bad: &mut impl FnMut(usize)) {
    if !all_good(pending, rng) {
        blame(pending, rng, bad);
    }
}

/// Finds the bad ones in a batch that has some. One alone is found by halving; when both halves hold bad ones, each signature is
/// checked by itself. So however a flood of bad signatures is laid out, it costs less than twice the checks one by one.
fn blame(pending: &[Pending], rng: &mut impl CryptoRng, bad: &mut impl FnMut(usize)) {
    let (left, right) = pending.split_at(pending.len() / 2);
    match (all_good(left, rng), all_good(right, rng)) {
        (true, false) if right.len() > 1 => blame(right, rng, bad),
        (false, true) if left.len() > 1 => blame(left, rng, bad),
        _ => pending.iter().filter(|pending| !pending.term.holds()).for_each(|pending| bad(pending.index)),
    }
}

fn all_good(pending: &[Pending], rng: &mut impl CryptoRng) -> bool {
    match pending {
        [] => true,
        [one] => one.term.holds(),
        _ => all_hold(pending.iter().map(|pending| &pending.term), rng),
    }
}

fn refusal(error: SignatureError) -> Refusal {
    match error {
        SignatureError::Invalid => Refusal::Signature,
        SignatureError::SmallOrderKey => Refusal::SmallOrderKey,
    }
}
