use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::PeerId;
use crate::link::{Hello, Role};

fn pair() -> (PacketKeys, PacketKeys) {
    let mut rng = StdRng::seed_from_u64(1);
    let (a, b) = (Ephemeral::generate(&mut rng), Ephemeral::generate(&mut rng));
    let (hello_a, hello_b) = (Hello::new(PeerId([1; 32]), a.public()), Hello::new(PeerId([2; 32]), b.public()));
    let keys = |pair: &Ephemeral, role| pair.keys(role, &hello_a, &hello_b).unwrap();
    (keys(&a, Role::Initiator), keys(&b, Role::Responder))
}

fn body() -> Body {
    Body {
        ack: Some(Ack { largest: 1_000, delay_ms: 4, limit: 77, seen: vec![0b1010_0001, 0xff] }),
        last_word: Some(Bytes::from_static(b"bye")),
        blocks: vec![
            Block { number: 5, bytes: Bytes::from_static(b"five") },
            Block { number: u64::MAX, bytes: Bytes::from_static(b"x") },
        ],
    }
}

fn opened(key: &PacketKey, packet: &[u8]) -> Result<(u64, Bytes), PacketError> {
    match Packet::parse(packet)? {
        Packet::Sealed(number, sealed) => Ok((number, key.open(number, sealed)?)),
        Packet::Opening(_) => panic!("an opening"),
    }
}

#[test]
fn what_one_side_seals_the_other_opens_and_nobody_else() {
    let (a, b) = pair();
    let packet = a.ours.seal(7, &body().encode());
    let (number, bytes) = opened(&b.theirs, &packet).unwrap();
    assert_eq!((number, Body::decode(bytes).unwrap()), (7, body()));
    assert_eq!(opened(&a.theirs, &packet), Err(PacketError::NotSealed), "reflected to its maker");
    for at in 1..packet.len() {
        let mut altered = packet.to_vec();
        altered[at] ^= 1;
        assert_eq!(opened(&b.theirs, &altered), Err(PacketError::NotSealed), "byte {at}");
    }
}

#[test]
fn keys_depend_on_all_of_both_hellos() {
    let mut rng = StdRng::seed_from_u64(1);
    let (a, b) = (Ephemeral::generate(&mut rng), Ephemeral::generate(&mut rng));
    let (hello_a, hello_b) = (Hello::new(PeerId([1; 32]), a.public()), Hello::new(PeerId([2; 32]), b.public()));
    let downgraded = Hello { features: 1, ..hello_a.clone() };
    let ours = a.keys(Role::Initiator, &hello_a, &hello_b).unwrap();
    let theirs = b.keys(Role::Responder, &downgraded, &hello_b).unwrap();
    assert_eq!(opened(&theirs.theirs, &ours.ours.seal(0, b"\0")), Err(PacketError::NotSealed));
}

#[test]
fn a_key_of_small_order_is_refused() {
    let pair = Ephemeral::generate(&mut StdRng::seed_from_u64(1));
    let (ours, theirs) = (Hello::new(PeerId([1; 32]), pair.public()), Hello::new(PeerId([2; 32]), [0; 32]));
    assert_eq!(pair.keys(Role::Initiator, &ours, &theirs).map(drop), Err(PacketError::BadKey));
}

#[test]
fn an_ack_names_its_packets() {
    let ack = Ack { largest: 1_000, delay_ms: 0, limit: 0, seen: vec![0b1010_0001, 1] };
    assert_eq!(ack.numbers().collect::<Vec<_>>(), [1_000, 999, 994, 992, 991]);
}

#[test]
fn an_ack_of_packets_below_zero_is_malformed() {
    let body = |largest, seen| Body { ack: Some(Ack { largest, delay_ms: 0, limit: 1, seen }), ..Body::default() };
    assert!(Body::decode(body(1, vec![1]).encode().into()).is_ok());
    assert_eq!(Body::decode(body(1, vec![2]).encode().into()), Err(PacketError::Malformed("bit map")));
    assert_eq!(Body::decode(body(9_999, vec![0; 33]).encode().into()), Err(PacketError::Malformed("bit map")));
}

#[test]
fn a_cut_body_is_refused_everywhere() {
    let whole = body().encode();
    for len in 0..whole.len() {
        // Where one block ends and the next has not begun, what is left is a body.
        let ends_well = [whole.len() - 25, whole.len() - 11].contains(&len);
        assert_eq!(Body::decode(Bytes::copy_from_slice(&whole[..len])).is_ok(), ends_well, "{len}");
    }
}

#[test]
fn an_opening_comes_back_as_it_was() {
    let opening = Opening { session: 1, echo: 2, hello: Bytes::from_static(b"hello") };
    let bytes = opening.encode();
    assert_eq!(Packet::parse(&bytes), Ok(Packet::Opening(opening.clone())));
    assert_eq!(Packet::parse(&Opening { session: 0, ..opening }.encode()), Err(PacketError::Malformed("session")));
    assert_eq!(Packet::parse(&bytes[..20]), Err(PacketError::Malformed("hello")));
    assert_eq!(Packet::parse(&[3; 40]), Err(PacketError::UnknownKind(3)));
    assert_eq!(Packet::parse(&[2; 24]), Err(PacketError::Truncated));
    assert_eq!(Packet::parse(&vec![2; MAX_PACKET + 1]), Err(PacketError::TooLarge));
}
