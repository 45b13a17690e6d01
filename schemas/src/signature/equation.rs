//! The equation of ZIP 215, `[8][s]B = [8]R + [8][k]A`, for one signature and for many.
//!
//! Source: <https://zips.z.cash/zip-0215>. `A` and `R` may be encoded in a non-canonical way, `s` may not.

use std::collections::HashMap;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use rand::CryptoRng;
use sha2::{Digest, Sha512};

use super::{Domain, SignatureError};
use crate::PeerId;

/// A public key, decompressed. Finding the point of a key costs a seventh of a signature check.
#[derive(Clone, Copy)]
pub(super) struct PublicKey {
    id: PeerId,
    minus_point: EdwardsPoint,
}

impl PublicKey {
    pub(super) fn decompress(id: PeerId) -> Result<Self, SignatureError> {
        let point = CompressedEdwardsY(id.0).decompress().ok_or(SignatureError::Invalid)?;
        if point.is_small_order() {
            return Err(SignatureError::SmallOrderKey);
        }
        Ok(Self { id, minus_point: -point })
    }

    pub(super) fn verify(&self, domain: Domain, parts: &[&[u8]], signature: &[u8; 64]) -> Result<(), SignatureError> {
        let (r, s) = split(signature)?;
        let k = challenge(&r, self.id, domain, parts);
        let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &self.minus_point, &s);
        // An honest signature holds exactly this point's encoding, and encoding is cheaper than decoding.
        if expected.compress() == r {
            return Ok(());
        }
        let r = r.decompress().ok_or(SignatureError::Invalid)?;
        if (r - expected).mul_by_cofactor().is_identity() { Ok(()) } else { Err(SignatureError::Invalid) }
    }
}

/// One signature with all that its equation needs.
#[derive(Clone, Copy)]
pub(super) struct Term {
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
    key: PublicKey,
}

impl Term {
    pub(super) fn new(
        key: PublicKey,
        domain: Domain,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<Self, SignatureError> {
        let (r_bytes, s) = split(signature)?;
        let r = r_bytes.decompress().ok_or(SignatureError::Invalid)?;
        Ok(Self { r, s, k: challenge(&r_bytes, key.id, domain, parts), key })
    }

    pub(super) fn peer(&self) -> PeerId {
        self.key.id
    }

    pub(super) fn key(&self) -> PublicKey {
        self.key
    }

    /// The equation for this one signature.
    pub(super) fn holds(&self) -> bool {
        let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.k, &self.key.minus_point, &self.s);
        (self.r - expected).mul_by_cofactor().is_identity()
    }
}

/// Whether the equations of all terms hold, but for a chance of 2⁻¹²⁸ that errors cancel out: each is
/// multiplied by a random factor that no sender can know. The terms of one key are added up first.
pub(super) fn all_hold<'a>(terms: impl ExactSizeIterator<Item = &'a Term>, rng: &mut impl CryptoRng) -> bool {
    let len = 2 * terms.len() + 1;
    let (mut scalars, mut points) = (Vec::with_capacity(len), Vec::with_capacity(len));
    let mut base = Scalar::ZERO;
    // Where the scalar of each key stands.
    let mut places = HashMap::with_capacity(terms.len());
    for term in terms {
        let mut factor = [0; 16];
        rng.fill_bytes(&mut factor);
        let factor = Scalar::from(u128::from_le_bytes(factor));
        base += factor * term.s;
        scalars.push(factor);
        points.push(-term.r);
        let share = factor * term.k;
        let place = *places.entry(term.key.id).or_insert(scalars.len());
        match scalars.get_mut(place) {
            Some(sum) => *sum += share,
            None => {
                scalars.push(share);
                points.push(term.key.minus_point);
            }
        }
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
}

fn split(signature: &[u8; 64]) -> Result<(CompressedEdwardsY, Scalar), SignatureError> {
    let (r, s) = signature.split_first_chunk::<32>().ok_or(SignatureError::Invalid)?;
    let s: [u8; 32] = s.try_into().map_err(|_| SignatureError::Invalid)?;
    let s = Option::from(Scalar::from_canonical_bytes(s)).ok_or(SignatureError::Invalid)?;
    Ok((CompressedEdwardsY(*r), s))
}

fn challenge(r: &CompressedEdwardsY, key: PeerId, domain: Domain, parts: &[&[u8]]) -> Scalar {
    let mut hash = Sha512::new();
    hash.update(r.as_bytes());
    hash.update(key.0);
    hash.update(domain.as_bytes());
    for part in parts {
        hash.update(part);
    }
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}
