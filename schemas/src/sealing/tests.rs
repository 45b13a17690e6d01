use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

#[test]
fn the_recipient_opens_what_was_sealed_to_its_record() {
    let pair = SealingKeyPair::generate(&mut rng());
    let payload = seal(&RecipientKey::Record(pair.public()), &[1; 88], b"hello", &mut rng()).unwrap();
    assert_eq!(payload.len(), SEALED_OVERHEAD + 5);
    let older = SealingKeyPair::generate(&mut StdRng::seed_from_u64(2));
    assert_eq!(open([&older, &pair], &[1; 88], &payload).unwrap(), b"hello");
    assert_eq!(open([&older], &[1; 88], &payload), Err(SealError::UnknownKey(pair.id())));
    let kept = SealingKeyPair::from_secret(pair.secret());
    assert_eq!(open([&kept], &[1; 88], &payload).unwrap(), b"hello");
}

#[test]
fn before_a_record_is_known_the_identity_opens_it() {
    let identity = SigningKey::from_seed(&[3; 32]);
    let pair = SealingKeyPair::of_identity(&identity);
    let payload = seal(&RecipientKey::Identity(identity.public()), &[1; 88], b"hello", &mut rng()).unwrap();
    assert_eq!(payload[0], KeySource::Identity as u8);
    assert_eq!(open([&pair], &[1; 88], &payload).unwrap(), b"hello");
}

#[test]
fn nothing_opens_under_another_header_or_after_a_change() {
    let pair = SealingKeyPair::generate(&mut rng());
    let payload = seal(&RecipientKey::Record(pair.public()), &[1; 88], b"hello", &mut rng()).unwrap();
    assert_eq!(open([&pair], &[2; 88], &payload), Err(SealError::Corrupt));
    for at in 0..payload.len() {
        let mut bad = payload.clone();
        bad[at] ^= 1;
        assert!(open([&pair], &[1; 88], &bad).is_err());
        assert!(open([&pair], &[1; 88], &payload[..at]).is_err());
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    let zero = RecipientKey::Record(SealingPublic([0; 32]));
    assert_eq!(seal(&zero, &[1; 88], b"x", &mut rng()), Err(SealError::BadKey));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let neutral = RecipientKey::Identity(PeerId(neutral));
    assert_eq!(seal(&neutral, &[1; 88], b"x", &mut rng()), Err(SealError::BadKey));
}

#[test]
fn the_secret_is_not_shown() {
    let shown = format!("{:?}", SealingKeyPair::from_secret(&[0xab; 32]));
    assert!(!shown.contains("171, 171"), "{shown}");
}
