use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use qpq_schemas::PeerId;
use qpq_schemas::signature::{Domain, SignatureError, verify};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::tools::{ada, hex};

const MESSAGE: &[u8] = b"ZIP 215";

fn case(name: &str, key: [u8; 32], signature: &[u8; 64]) -> Value {
    let outcome = match verify(PeerId(key), Domain::RECORD, &[MESSAGE], signature) {
        Ok(()) => "good",
        Err(SignatureError::Invalid) => "invalid",
        Err(SignatureError::SmallOrderKey) => "small-order-key",
    };
    json!({ "name": name, "key": hex(key), "signature": hex(signature), "outcome": outcome })
}

/// Signs with the prime-order part of `key` and the given encoding of `R`.
fn sign(secret: Scalar, nonce: Scalar, key: [u8; 32], r: [u8; 32]) -> [u8; 64] {
    let hash = Sha512::new().chain_update(r).chain_update(key);
    let hash = hash.chain_update(Domain::RECORD.as_bytes()).chain_update(MESSAGE).finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
    [r, s.to_bytes()].concat().try_into().unwrap()
}

pub(crate) fn vectors() -> Value {
    let mut cases = honest();
    cases.extend(torsion());
    cases.extend(small_order());
    json!({
        "format": "qpq-signature/1",
        "domain": hex(Domain::RECORD.as_bytes()),
        "message": hex(MESSAGE),
        "cases": cases,
    })
}

fn honest() -> Vec<Value> {
    let (key, good) = (ada().public().0, ada().sign(Domain::RECORD, &[MESSAGE]));
    let mut other_s = good;
    other_s[40] ^= 1;
    let mut other_r = good;
    other_r[0] ^= 1;
    let other_domain = ada().sign(Domain::LINK, &[MESSAGE]);
    // s + L: good modulo L, but not the canonical number.
    let mut malleated = good;
    let order_minus_one = (-Scalar::ONE).to_bytes();
    let mut carry = 1;
    for (byte, l) in malleated[32..].iter_mut().zip(order_minus_one) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        (*byte, carry) = ((sum & 255) as u8, sum >> 8);
    }
    vec![
        case("an honest signature", key, &good),
        case("a changed s", key, &other_s),
        case("a changed R", key, &other_r),
        case("a signature for another domain", key, &other_domain),
        case("s plus the group order", key, &malleated),
        case("all zeros", key, &[0; 64]),
        case("a key that is no point", [2; 32], &good),
    ]
}

/// Keys and `R` with a component of small order: libraries that check the plain equation differ here.
fn torsion() -> Vec<Value> {
    let (secret, nonce) = (Scalar::from(0x1234_5678_9abc_u64), Scalar::from(0xdef0_u64));
    let point = |scalar: Scalar, torsion: usize| (scalar * B + EIGHT_TORSION[torsion]).compress().to_bytes();
    [(1, 0), (0, 1), (1, 7), (4, 4), (2, 6)]
        .map(|(in_key, in_r)| {
            let (key, r) = (point(secret, in_key), point(nonce, in_r));
            case(&format!("torsion {in_key} in the key, {in_r} in R"), key, &sign(secret, nonce, key, r))
        })
        .to_vec()
}

/// Every encoding of a point of small order, canonical or not, as `R` and as key.
fn small_order() -> Vec<Value> {
    let mut encodings: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    for (low, high) in [(0xed, 0x7f), (0xed, 0xff), (0xee, 0x7f), (0xee, 0xff), (0xec, 0xff)] {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, high);
        encodings.push(bytes);
    }
    let mut signed_neutral = [0; 32];
    (signed_neutral[0], signed_neutral[31]) = (1, 0x80);
    encodings.push(signed_neutral);
    let secret = Scalar::from(77_u64);
    let key = (secret * B).compress().to_bytes();
    let mut any_message = [0; 64];
    any_message[0] = 1;
    let as_r = |r: &[u8; 32]| case("R of small order", key, &sign(secret, Scalar::ZERO, key, *r));
    let as_key = |key: &[u8; 32]| case("a key of small order", *key, &any_message);
    encodings.iter().map(as_r).chain(encodings.iter().map(as_key)).collect()
}
