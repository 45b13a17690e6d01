use std::fs;
use std::os::unix::fs::PermissionsExt;

use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind};
use qpq_schemas::sealing::RecipientKey;

use super::*;

const NOW: u64 = 1_800_000_000_000;

fn own() -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[1; 32]))
}

fn keys() -> SealingKeys {
    SealingKeys::in_memory(own(), NOW, &mut rand::rng())
}

/// A message to [`own`], sealed to that key.
fn sealed_to(key: &RecipientKey) -> Envelope {
    let mut draft = Draft {
        kind: Kind::Direct,
        flags: Flags { sealed: true, ..Flags::default() },
        max_hops: 8,
        ttl_secs: 3600,
        created_ms: NOW,
        nonce: [3; 8],
        destination: own().peer_id().0,
        payload: Vec::new(),
    };
    let sender = Identity::from_seed(&[2; 32]);
    draft.payload = sealing::seal(key, &draft.aad(sender.peer_id()), b"hello", &mut rand::rng()).unwrap();
    draft.sign(sender.signing_key()).unwrap()
}

fn days(n: u64) -> u64 {
    n * ROTATE_MS
}

#[test]
fn the_file_is_private_and_keeps_the_keys_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(SEALING_FILE);
    let open = |now| SealingKeys::open(home.path(), own(), now, &mut rand::rng());
    let first = open(NOW).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let second = open(NOW + 1).unwrap();
    assert_eq!(first.public(), second.public());
    let third = open(NOW + days(1)).unwrap();
    assert_ne!(second.public(), third.public());
    assert_eq!((third.count(), open(NOW + days(1)).unwrap().count()), (2, 2));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(open(NOW), Err(IdentityError::Loose { .. })));
}

#[test]
fn the_keys_of_another_identity_are_refused() {
    let home = tempfile::tempdir().unwrap();
    SealingKeys::open(home.path(), own(), NOW, &mut rand::rng()).unwrap();
    let other = Arc::new(Identity::from_seed(&[7; 32]));
    let error = SealingKeys::open(home.path(), other, NOW, &mut rand::rng()).unwrap_err();
    assert!(matches!(error, IdentityError::OtherIdentity { .. }));
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(SEALING_FILE);
    SealingKeys::open(home.path(), own(), NOW, &mut rand::rng()).unwrap();
    let half = fs::read_to_string(&path).unwrap().split_at(100).0.to_owned();
    fs::write(&path, &half).unwrap();
    let error = SealingKeys::open(home.path(), own(), NOW, &mut rand::rng()).unwrap_err();
    assert!(matches!(error, IdentityError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), half);
}

#[test]
fn nothing_happens_before_a_day_is_over() {
    let mut keys = keys();
    let public = keys.public();
    assert!(!keys.rotate(NOW + days(1) - 1, &mut rand::rng()).unwrap());
    assert_eq!(keys.public(), public);
    assert!(keys.rotate(keys.next_rotation_ms(), &mut rand::rng()).unwrap());
    assert_ne!(keys.public(), public);
}

#[test]
fn mail_opens_while_it_can_still_arrive_and_never_again_afterwards() {
    let mut keys = keys();
    let envelope = sealed_to(&RecipientKey::Record(keys.public()));
    let mut day = 0;
    while days(day) <= KEEP_MS {
        keys.rotate(NOW + days(day), &mut rand::rng()).unwrap();
        assert_eq!(keys.open_payload(envelope.view()).unwrap(), b"hello", "day {day}");
        day += 1;
    }
    keys.rotate(NOW + days(day), &mut rand::rng()).unwrap();
    assert!(matches!(keys.open_payload(envelope.view()), Err(SealError::UnknownKey(_))));
    assert_eq!(keys.count() as u64, day);
}

#[test]
fn mail_sealed_to_the_identity_opens_always() {
    let mut keys = keys();
    let envelope = sealed_to(&RecipientKey::Identity(own().peer_id()));
    for day in 0..100 {
        keys.rotate(NOW + days(day), &mut rand::rng()).unwrap();
    }
    assert_eq!(keys.open_payload(envelope.view()).unwrap(), b"hello");
}

#[test]
fn a_clock_that_leaps_deletes_no_key() {
    let mut keys = keys();
    let envelope = sealed_to(&RecipientKey::Record(keys.public()));
    let year = days(365);
    for now in [NOW + 10 * year, NOW, 0, NOW, NOW + 10 * year, NOW + 1] {
        keys.rotate(now, &mut rand::rng()).unwrap();
        assert_eq!(keys.open_payload(envelope.view()).unwrap(), b"hello");
    }
    assert!(keys.next_rotation_ms() <= NOW + 1 + days(1));
}

#[test]
fn a_clock_gone_mad_does_not_fill_the_memory() {
    let mut keys = keys();
    for i in 0..1000 {
        keys.rotate(if i % 2 == 0 { 0 } else { u64::MAX }, &mut rand::rng()).unwrap();
    }
    assert!(keys.count() <= MAX_KEYS);
}

#[test]
fn a_key_that_can_not_be_written_is_not_given_out() {
    let home = tempfile::tempdir().unwrap();
    let mut keys = SealingKeys::open(home.path(), own(), NOW, &mut rand::rng()).unwrap();
    let public = keys.public();
    fs::remove_dir_all(home.path()).unwrap();
    assert!(keys.rotate(NOW + days(1), &mut rand::rng()).is_err());
    assert_eq!((keys.public(), keys.count()), (public, 1));
}

#[test]
fn nothing_prints_a_secret() {
    let keys = SealingKeys { newest: Held { created_ms: 0, pair: SealingKeyPair::from_secret(&[0x5e; 32]) }, ..keys() };
    let text = format!("{keys:?}");
    assert!(!text.contains("5e5e") && !text.contains("94, 94"), "{text}");
}
