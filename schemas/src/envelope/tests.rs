use bytes::Bytes;

use super::*;
use crate::PeerId;
use crate::signature::{SigningKey, Verifier};

fn draft() -> Draft {
    Draft {
        kind: Kind::Broadcast,
        flags: Flags { sealed: true, receipt_wanted: false, priority: Priority::High },
        max_hops: 5,
        ttl_secs: 60,
        created_ms: 1_000_000,
        nonce: *b"12345678",
        destination: [7; 32],
        payload: b"hello".to_vec(),
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

#[test]
fn what_is_signed_is_read_back() {
    let envelope = draft().sign(&key()).unwrap();
    let view = envelope.view();
    assert_eq!(envelope.wire().len(), OVERHEAD + 5);
    assert_eq!((view.kind(), view.flags()), (Kind::Broadcast, draft().flags));
    assert_eq!((view.max_hops(), view.ttl_secs(), view.created_ms()), (5, 60, 1_000_000));
    assert_eq!((view.nonce(), view.sender(), view.payload()), (*b"12345678", key().public(), &b"hello"[..]));
    assert_eq!((view.topic(), view.recipient()), (Some([7; 32].into()), None));
    assert_eq!((view.hop_count(), view.expires_ms()), (0, 1_060_000));
    assert_eq!(view.aad(), draft().aad(key().public()));
    assert_eq!(view.id(), envelope.id());
    assert_eq!(Verifier::new(1).check(view), Ok(()));
}

#[test]
fn a_relay_changes_the_hop_count_and_nothing_else() {
    let envelope = draft().sign(&key()).unwrap();
    let relayed = envelope.with_hop_count(4);
    assert_eq!((relayed.id(), relayed.view().hop_count()), (envelope.id(), 4));
    assert_eq!(relayed.wire()[..161], envelope.wire()[..161]);
    assert_eq!(Verifier::new(1).check(relayed.view()), Ok(()));
    assert_eq!(relayed.view().check_hops(), Ok(()));
    let tired = envelope.with_hop_count(5);
    assert_eq!(tired.view().check_hops(), Err(Refusal::Hops { hop_count: 5, max_hops: 5 }));
}

#[test]
fn each_malformed_envelope_is_refused_for_its_own_reason() {
    let good = draft().sign(&key()).unwrap().wire().to_vec();
    let changed = |at: usize, byte: u8| {
        let mut wire = good.clone();
        wire[at] = byte;
        EnvelopeRef::parse(&wire, 5).map(|_| ()).unwrap_err()
    };
    assert_eq!(changed(0, 2), Refusal::Version(2));
    assert_eq!(changed(1, 3), Refusal::Kind(3));
    assert_eq!(changed(2, 0x10), Refusal::ReservedBits(0x10));
    assert_eq!(changed(91, 6), Refusal::PayloadTooLarge { len: 6, max: 5 });
    assert_eq!(changed(91, 4), Refusal::Length { have: 162, need: 161 });
    assert_eq!(changed(88, 0xff), Refusal::PayloadTooLarge { len: 0xff00_0005, max: 5 });
    for len in 0..good.len() {
        let refusal = EnvelopeRef::parse(&good[..len], 5).map(|_| ()).unwrap_err();
        let need = if len < HEADER_LEN { OVERHEAD } else { good.len() };
        assert_eq!(refusal, Refusal::Length { have: len, need });
    }
}

#[test]
fn times_are_checked_at_their_very_limits() {
    let mut draft = draft();
    let at = |draft: &Draft, now_ms| draft.sign(&key()).unwrap().view().check_times(now_ms);
    assert_eq!(at(&draft, 1_000_000 - MAX_CLOCK_SKEW_MS), Ok(()));
    assert_eq!(at(&draft, 999_999 - MAX_CLOCK_SKEW_MS), Err(Refusal::FromTheFuture { ahead_ms: 300_001 }));
    assert_eq!(at(&draft, 1_059_999), Ok(()));
    assert_eq!(at(&draft, 1_060_000), Err(Refusal::Expired { expires_ms: 1_060_000 }));
    draft.ttl_secs = MAX_TTL_SECS + 1;
    assert_eq!(at(&draft, 1_000_000), Err(Refusal::TtlTooLong { ttl_secs: MAX_TTL_SECS + 1 }));
    (draft.created_ms, draft.ttl_secs) = (u64::MAX, MAX_TTL_SECS);
    assert!(at(&draft, 0).is_err());
    assert!(at(&draft, u64::MAX).is_err(), "the end of time doesn't overflow");
}

#[test]
fn nothing_is_signed_that_no_node_would_take() {
    let draft = Draft { payload: vec![0; LARGEST_PAYLOAD + 1], ..draft() };
    assert_eq!(draft.sign(&key()).unwrap_err().code(), "payload-too-large");
}

#[test]
fn the_length_is_known_from_the_header_alone() {
    let wire = draft().sign(&key()).unwrap().wire().clone();
    assert_eq!(EnvelopeRef::wire_len(&wire[..HEADER_LEN]), Some(wire.len()));
    assert_eq!(EnvelopeRef::wire_len(&wire[..HEADER_LEN - 1]), None);
}

#[test]
fn every_refusal_has_a_code_in_the_list() {
    let (have, need) = (1, 2);
    let all = [
        Refusal::Version(0),
        Refusal::Kind(9),
        Refusal::ReservedBits(0x80),
        Refusal::Length { have, need },
        Refusal::PayloadTooLarge { len: 2, max: 1 },
        Refusal::Signature,
        Refusal::SmallOrderKey,
        Refusal::FromTheFuture { ahead_ms: 1 },
        Refusal::Expired { expires_ms: 1 },
        Refusal::TtlTooLong { ttl_secs: 1 },
        Refusal::Hops { hop_count: 1, max_hops: 1 },
        Refusal::BlockedSender,
    ];
    assert_eq!(all.map(|refusal| refusal.code()), Refusal::CODES);
    assert!(all.iter().all(|refusal| refusal.to_string().len() > 20));
}

#[test]
fn an_envelope_is_shown_without_its_payload() {
    let envelope = draft().sign(&key()).unwrap();
    let shown = format!("{envelope:?}");
    assert!(shown.contains(&envelope.id().short()) && !shown.contains("hello") && !shown.contains("104"));
    let _: &Bytes = envelope.wire();
    let _: PeerId = envelope.view().sender();
}
