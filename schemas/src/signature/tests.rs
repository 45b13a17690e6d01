use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha512};

use super::key_cache::KeyCache;
use super::*;
use crate::PeerId;
use crate::envelope::{Draft, Envelope, Flags, Kind, Refusal};

/// A signature with components of small order put into key and `R` on purpose.
struct Crafted {
    key: PeerId,
    signature: [u8; 64],
}

/// Signs honestly for the prime-order part, then adds torsion points. ZIP 215 accepts all of these.
fn craft(secret: Scalar, nonce: Scalar, key_torsion: usize, r_torsion: usize, message: &[u8]) -> Crafted {
    let key = (secret * B + EIGHT_TORSION[key_torsion]).compress();
    let r = (nonce * B + EIGHT_TORSION[r_torsion]).compress();
    sign_with(secret, nonce, *key.as_bytes(), *r.as_bytes(), message)
}

fn sign_with(secret: Scalar, nonce: Scalar, key: [u8; 32], r: [u8; 32], message: &[u8]) -> Crafted {
    let hash = Sha512::new().chain_update(r).chain_update(key);
    let hash = hash.chain_update(Domain::ENVELOPE.as_bytes()).chain_update(message).finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    Crafted { key: PeerId(key), signature }
}

/// An envelope that bears that key, signed by `sign`.
fn envelope_by(key: [u8; 32], payload: &[u8], sign: impl Fn(&[u8]) -> [u8; 64]) -> Envelope {
    let mut wire = draft(payload).sign(&SigningKey::from_seed(&[9; 32])).unwrap().wire().to_vec();
    wire[24..56].copy_from_slice(&key);
    let signed = wire.len() - 65;
    let signature = sign(&wire[..signed]);
    wire[signed..signed + 64].copy_from_slice(&signature);
    Envelope::from_wire(wire.into(), 1000).unwrap()
}

fn draft(payload: &[u8]) -> Draft {
    Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: 3,
        ttl_secs: 60,
        created_ms: 1,
        nonce: [0; 8],
        destination: [1; 32],
        payload: payload.to_vec(),
    }
}

/// What ed25519-zebra says, a library of others with the same rule.
fn zebra_accepts(envelope: &Envelope) -> bool {
    let view = envelope.view();
    let message = [Domain::ENVELOPE.as_bytes(), view.signed()].concat();
    ed25519_zebra::VerificationKey::try_from(view.sender().0)
        .and_then(|key| key.verify(&(*view.signature()).into(), &message))
        .is_ok()
}

/// Single check, batch check and the other library must give one answer for each.
fn assert_all_agree(envelopes: &[Envelope], seed: u64) -> Vec<Result<(), Refusal>> {
    let views: Vec<_> = envelopes.iter().map(Envelope::view).collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let batch = Verifier::new(4).check_batch(&views, &mut rng);
    let verifier = Verifier::new(4);
    for (envelope, answer) in envelopes.iter().zip(&batch) {
        assert_eq!(verifier.check(envelope.view()), *answer, "single and batch differ");
        let small = *answer == Err(Refusal::SmallOrderKey);
        assert!(small || zebra_accepts(envelope) == answer.is_ok(), "another library differs");
    }
    batch
}

fn scalar(seed: u64) -> Scalar {
    Scalar::from(seed) * Scalar::from(0x9e37_79b9_7f4a_7c15_u64) + Scalar::ONE
}

/// The 14 encodings of the 8 points of small order: 8 canonical ones, and those with y ≥ p or a sign on x = 0.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let with = |low: u8, sign: u8| {
        let mut bytes = p;
        bytes[0] = low;
        bytes[31] |= sign;
        bytes
    };
    let mut negative_one = [0; 32];
    (negative_one[0], negative_one[31]) = (1, 0x80);
    all.extend([with(0xed, 0), with(0xed, 0x80), with(0xee, 0), with(0xee, 0x80), with(0xec, 0x80), negative_one]);
    all
}

#[test]
fn a_good_signature_is_accepted_and_any_flipped_bit_is_not() {
    let good = draft(b"hello").sign(&SigningKey::from_seed(&[7; 32])).unwrap();
    let verifier = Verifier::new(16);
    assert_eq!(verifier.check(good.view()), Ok(()));
    for bit in (8 * 8)..(good.wire().len() - 1) * 8 {
        let mut wire = good.wire().to_vec();
        wire[bit / 8] ^= 1 << (bit % 8);
        if let Ok(bad) = Envelope::from_wire(wire.into(), 1000) {
            assert!(verifier.check(bad.view()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn the_same_message_signed_for_another_domain_is_refused() {
    let key = SigningKey::from_seed(&[7; 32]);
    let signature = key.sign(Domain::LINK, &[b"a", b"b"]);
    assert_eq!(verify(key.public(), Domain::LINK, &[b"ab"], &signature), Ok(()));
    assert_eq!(verify(key.public(), Domain::RECORD, &[b"ab"], &signature), Err(SignatureError::Invalid));
}

#[test]
fn every_key_of_small_order_is_refused_in_each_of_its_encodings() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    let mut neutral = [0; 64];
    neutral[0] = 1;
    let envelopes: Vec<_> = encodings
        .iter()
        // With s = 0 and R = the neutral point, the equation holds for any message under such a key.
        .map(|key| envelope_by(*key, b"x", |_| neutral))
        .collect();
    assert!(envelopes.iter().all(zebra_accepts), "the rule of ZIP 215 alone accepts them");
    let answers = assert_all_agree(&envelopes, 1);
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::SmallOrderKey)));
}

#[test]
fn a_signature_with_any_encoding_of_a_small_order_r_is_accepted() {
    let secret = scalar(5);
    let key = (secret * B).compress().to_bytes();
    let envelopes: Vec<_> = small_order_encodings()
        .into_iter()
        .map(|r| envelope_by(key, b"x", |message| sign_with(secret, Scalar::ZERO, key, r, message).signature))
        .collect();
    assert!(assert_all_agree(&envelopes, 2).iter().all(Result::is_ok));
}

#[test]
fn an_s_over_the_group_order_is_refused() {
    // s + L, the classic malleated signature.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let good = draft(b"x").sign(&SigningKey::from_seed(&[7; 32])).unwrap();
    let mut wire = good.wire().to_vec();
    let at = wire.len() - 33;
    let mut carry = 0;
    for (byte, l) in wire[at..at + 32].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    let bad = Envelope::from_wire(wire.into(), 1000).unwrap();
    assert_eq!(bad.id(), good.id(), "the signature is no part of the id");
    let answers = assert_all_agree(&[good.clone(), bad, good.clone(), good], 3);
    assert_eq!(answers, [Ok(()), Err(Refusal::Signature), Ok(()), Ok(())]);
}

#[test]
fn a_key_that_is_no_point_is_refused() {
    let not_a_point = (0..=255).map(|n| [n; 32]).find(|key| ed25519_zebra::VerificationKey::try_from(*key).is_err());
    let envelope = envelope_by(not_a_point.unwrap(), b"x", |_| [0; 64]);
    let answers = assert_all_agree(&[envelope.clone(), envelope.clone(), envelope], 4);
    assert_eq!(answers, [Err(Refusal::Signature); 3]);
}

#[test]
fn errors_that_would_cancel_out_in_a_sum_are_found() {
    // Two signatures whose s are off by +1 and −1: an unweighted sum of both equations would hold.
    let shifted = |seed: u64, shift: Scalar| {
        let key = (scalar(seed) * B).compress().to_bytes();
        let nonce = scalar(seed + 100);
        let r = (nonce * B).compress().to_bytes();
        envelope_by(key, b"x", |message| {
            let mut signature = sign_with(scalar(seed), nonce, key, r, message).signature;
            let s = Scalar::from_canonical_bytes(signature[32..].try_into().unwrap()).unwrap() + shift;
            signature[32..].copy_from_slice(s.as_bytes());
            signature
        })
    };
    let envelopes = [shifted(1, Scalar::ONE), shifted(2, -Scalar::ONE), shifted(3, Scalar::ZERO)];
    assert_eq!(assert_all_agree(&envelopes, 5), [Err(Refusal::Signature), Err(Refusal::Signature), Ok(())]);
}

#[test]
fn wherever_the_offenders_stand_just_they_are_found() {
    let good = draft(b"x").sign(&SigningKey::from_seed(&[7; 32])).unwrap();
    let bad = envelope_by(good.view().sender().0, b"y", |_| *good.view().signature());
    for len in [3, 4, 5, 8, 13] {
        for offenders in 0..1_u32 << len.min(5) {
            let is_bad = |at: usize| offenders >> at & 1 == 1;
            let batch: Vec<_> = (0..len).map(|at| if is_bad(at) { bad.view() } else { good.view() }).collect();
            let answers = Verifier::new(8).check_batch(&batch, &mut StdRng::seed_from_u64(1));
            let wrong = answers.iter().enumerate().find(|(at, answer)| answer.is_ok() == is_bad(*at));
            assert_eq!(wrong, None, "{len} with {offenders:b}");
        }
    }
}

#[test]
fn the_key_cache_is_bounded_and_keeps_who_is_heard_often() {
    let mut cache = KeyCache::new(8);
    let key = |n: u8| SigningKey::from_seed(&[n; 32]).public();
    let point = |n| equation::PublicKey::decompress(key(n)).unwrap();
    for n in 0..100 {
        cache.insert(key(n), point(n));
        assert!(cache.len() <= 8);
        assert!(cache.find(key(0)).is_some(), "0 is asked for each time");
    }
    assert!(cache.find(key(50)).is_none());
    let mut none = KeyCache::new(0);
    none.insert(key(1), point(1));
    assert_eq!(none.len(), 0);
}

#[test]
fn senders_of_bad_signatures_take_no_place_in_the_cache() {
    let verifier = Verifier::new(8);
    let stranger = SigningKey::from_seed(&[3; 32]).public();
    assert!(verifier.verify_raw(stranger, Domain::LINK, &[b"x"], &[0; 64]).is_err());
    let bad = envelope_by(stranger.0, b"x", |_| [0; 64]);
    let answers = verifier.check_batch(&[bad.view(); 4], &mut StdRng::seed_from_u64(0));
    assert_eq!(answers, [Err(Refusal::Signature); 4]);
    assert_eq!(verifier.cached_keys(), 0);
}

#[test]
fn the_secret_key_is_not_shown() {
    let key = SigningKey::from_seed(&[0xab; 32]);
    let shown = format!("{key:?}");
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn single_and_batch_never_disagree(
        cases in prop::collection::vec((0u64..5, any::<u64>(), 0usize..8, 0usize..8, 0u8..4), 1..24),
        seed: u64,
    ) {
        let envelopes: Vec<_> = cases.iter().map(|(who, nonce, key_torsion, r_torsion, damage)| {
            let (secret, nonce) = (scalar(*who + 1), scalar(*nonce));
            let key = (secret * B + EIGHT_TORSION[*key_torsion]).compress().to_bytes();
            envelope_by(key, &nonce.as_bytes()[..8], |message| {
                let crafted = craft(secret, nonce, *key_torsion, *r_torsion, message);
                assert_eq!(crafted.key.0, key);
                let mut signature = crafted.signature;
                match damage {
                    1 => signature[3] ^= 4,
                    2 => signature[40] ^= 1,
                    _ => {}
                }
                signature
            })
        }).collect();
        let answers = assert_all_agree(&envelopes, seed);
        for ((.., damage), answer) in cases.iter().zip(&answers) {
            prop_assert_eq!(answer.is_ok(), !matches!(damage, 1 | 2));
        }
    }
}
