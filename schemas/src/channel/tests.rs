use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::envelope::{Draft, Flags, Kind};
use crate::signature::SigningKey;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn aad(created_ms: u64) -> [u8; 88] {
    let draft = Draft {
        kind: Kind::Broadcast,
        flags: Flags { sealed: true, ..Flags::default() },
        max_hops: 5,
        ttl_secs: 60,
        created_ms,
        nonce: [5; 8],
        destination: [7; 32],
        payload: vec![],
    };
    draft.aad(SigningKey::from_seed(&[1; 32]).public())
}

#[test]
fn whoever_knows_the_name_opens_an_open_channel() {
    let (here, there) = (ChannelKey::open("#Announcements ").unwrap(), ChannelKey::open("announcements").unwrap());
    assert_eq!(here, there);
    assert_eq!(here.topic_id(), there.topic_id());
    assert!(!here.is_private());
    let payload = here.seal(&aad(1), b"hello");
    assert_eq!(payload.len(), CHANNEL_OVERHEAD + 5);
    assert_eq!(there.open_bytes(&aad(1), &payload).unwrap(), b"hello");
}

#[test]
fn a_private_channel_of_the_same_name_is_another_channel() {
    let open = ChannelKey::open("crew").unwrap();
    let private = ChannelKey::private("crew", &mut rng()).unwrap();
    assert!(private.is_private());
    assert_ne!(open.topic_id(), private.topic_id());
    let payload = private.seal(&aad(1), b"hello");
    assert_eq!(open.open_bytes(&aad(1), &payload), Err(ChannelError::Corrupt));
}

#[test]
fn a_payload_fits_its_own_header_only() {
    let channel = ChannelKey::open("crew").unwrap();
    let payload = channel.seal(&aad(1), b"hello");
    assert_eq!(channel.open_bytes(&aad(2), &payload), Err(ChannelError::Corrupt));
    for at in 0..payload.len() {
        let mut bad = payload.clone();
        bad[at] ^= 1;
        assert!(channel.open_bytes(&aad(1), &bad).is_err());
        assert!(channel.open_bytes(&aad(1), &payload[..at]).is_err());
    }
}

#[test]
fn equal_texts_at_different_times_share_no_key_stream() {
    let channel = ChannelKey::open("crew").unwrap();
    assert_ne!(channel.seal(&aad(1), b"hello")[5..10], channel.seal(&aad(2), b"hello")[5..10]);
}

#[test]
fn a_rotated_key_locks_the_old_one_out() {
    let old = ChannelKey::private("crew", &mut rng()).unwrap();
    let new = old.rotated(&mut StdRng::seed_from_u64(2));
    assert_eq!((new.epoch(), new.name()), (1, "crew"));
    assert_ne!(old.topic_id(), new.topic_id());
    let payload = new.seal(&aad(1), b"hello");
    assert_eq!(old.open_bytes(&aad(1), &payload), Err(ChannelError::Epoch { theirs: 1, ours: 0 }));
}

#[test]
fn names_have_one_form() {
    let name = |text: &str| normalise(text);
    assert_eq!(name("  #Free  Wifi ").as_deref(), Ok("free wifi"));
    assert_eq!(name("ÄÖ").as_deref(), Ok("ÄÖ"), "only ASCII changes case");
    assert_eq!(name(" # "), Err(NameError::Empty));
    assert_eq!(name("a\u{1b}[2J"), Err(NameError::Character('\u{1b}')));
    assert_eq!(name("a\u{202e}b"), Err(NameError::Character('\u{202e}')));
    assert_eq!(name("e\u{301}"), Err(NameError::Character('\u{301}')));
    assert_eq!(name(&"x".repeat(64)).map(|name| name.len()), Ok(64));
    assert_eq!(name(&"x".repeat(65)), Err(NameError::TooLong(65)));
    for normal in ["free wifi", "ÄÖ", "##a"].map(|text| name(text).unwrap()) {
        assert_eq!(name(&normal), Ok(normal), "a normal name stays as it is");
    }
}

#[test]
fn an_invite_survives_people() {
    let channel = ChannelKey::private("crew", &mut rng()).unwrap();
    let invite = channel.invite();
    assert_eq!(ChannelKey::from_invite(&invite).unwrap(), channel);
    let spoken = invite.to_ascii_uppercase().replace('0', "O").replace('1', "l");
    let spoken: String =
        spoken.chars().enumerate().flat_map(|(i, c)| if i % 5 == 0 { vec!['-', ' ', c] } else { vec![c] }).collect();
    assert_eq!(ChannelKey::from_invite(&spoken).unwrap(), channel);
}

#[test]
fn a_mistyped_invite_is_refused_wherever_the_slip_is() {
    let invite = ChannelKey::private("crew", &mut rng()).unwrap().invite();
    for at in 0..invite.len() {
        let mut typed: Vec<u8> = invite.bytes().collect();
        typed[at] = if typed[at] == b'7' { b'8' } else { b'7' };
        assert!(ChannelKey::from_invite(std::str::from_utf8(&typed).unwrap()).is_err(), "at {at}");
        assert!(ChannelKey::from_invite(&invite[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(ChannelKey::from_invite("https://example.org").unwrap_err(), InviteError::NoInvite);
    assert_eq!(ChannelKey::from_invite(&"q".repeat(600)).unwrap_err(), InviteError::Length);
    assert_eq!(ChannelKey::from_invite("qpqinviteü").unwrap_err(), InviteError::Character('ü'));
}

#[test]
fn the_longest_invite_fits_a_qr_code_on_a_screen() {
    let invite = ChannelKey::private(&"x".repeat(64), &mut rng()).unwrap().invite();
    assert!(invite.len() <= MAX_INVITE_TEXT, "{}", invite.len());
    let code = qr(&invite).unwrap();
    assert!(
        code.lines().count() <= 36 && code.lines().all(|line| line.chars().count() <= 72),
        "{}",
        code.lines().count()
    );
}

#[test]
fn the_key_is_not_shown() {
    let channel = ChannelKey::from_parts("crew", &[0xab; 32], 0).unwrap();
    let shown = format!("{channel:?}");
    assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
}
