//! Bytes that nobody wrote, and bytes that were damaged on the way.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use qpq_schemas::channel::{ChannelKey, normalise};
use qpq_schemas::content::Content;
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::{Envelope, EnvelopeRef, LARGEST_PAYLOAD};
use qpq_schemas::link::unpack;
use qpq_schemas::packet::{Body, Packet};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::{RecipientKey, Sealed, SealingKeyPair, open, seal};
use qpq_schemas::signature::Verifier;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::some;

const AAD: [u8; 88] = [3; 88];

/// A bit flipped, the end cut off, or something put behind it.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Cut),
        vec(any::<u8>(), 1..9).prop_map(Damage::Append),
    ]
}

impl Damage {
    fn done_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Append(more) => bytes.extend_from_slice(more),
        }
        bytes
    }
}

/// Every reader of outside bytes, one after another.
fn read_as_everything(bytes: &[u8]) {
    if let Ok(envelope) = EnvelopeRef::parse(bytes, LARGEST_PAYLOAD) {
        let _ = (envelope.check_times(1), envelope.check_hops(), Verifier::new(0).check(envelope));
    }
    let _ = (EnvelopeRef::wire_len(bytes), Content::decode(bytes), Receipt::decode(bytes), NodeRecord::verify(bytes));
    let _ = unpack(Bytes::copy_from_slice(bytes)).count();
    let _ = Notice::decode(bytes).map(|notice| notice.signatures().count());
    let _ = std::str::from_utf8(bytes).map(Notice::from_text);
    let _ = (Packet::parse(bytes).is_ok(), Body::decode(Bytes::copy_from_slice(bytes)).is_ok());
    let _ = ChannelKey::open("crew").unwrap().open_bytes(&AAD, bytes);
    let _ = open([&SealingKeyPair::from_secret(&[1; 32])], &AAD, bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = (normalise(&text), ChannelKey::from_invite(&text), ChannelKey::from_invite(&format!("qpqinvite{text}")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..400)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,80}") {
        read_as_everything(text.as_bytes());
        if let Ok(name) = normalise(&text) {
            prop_assert_eq!(normalise(&name), Ok(name.clone()));
            prop_assert!(name.len() <= 64);
        }
    }

    #[test]
    fn a_damaged_envelope_is_never_accepted(draft in some::draft(), damage in damage()) {
        let good = draft.sign(&some::key()).unwrap();
        let bad = damage.done_to(good.wire());
        read_as_everything(&bad);
        let only_hops = bad.len() == good.wire().len() && bad[..bad.len() - 1] == good.wire()[..bad.len() - 1];
        let accepted = Envelope::from_wire(bad.into(), LARGEST_PAYLOAD)
            .is_ok_and(|bad| Verifier::new(0).check(bad.view()).is_ok());
        prop_assert_eq!(accepted, only_hops);
    }

    #[test]
    fn a_damaged_record_is_never_accepted(record in some::record(), damage in damage()) {
        let bad = damage.done_to(&record.sign(&some::key()).unwrap());
        read_as_everything(&bad);
        prop_assert!(NodeRecord::verify(&bad).is_err());
    }

    #[test]
    fn a_damaged_channel_message_is_never_opened(channel in some::channel(), text: Vec<u8>, damage in damage()) {
        let bad = damage.done_to(&channel.seal(&AAD, &text));
        read_as_everything(&bad);
        prop_assert!(channel.open_bytes(&AAD, &bad).is_err());
    }

    #[test]
    fn a_damaged_sealed_payload_is_never_opened(seed: u64, text: Vec<u8>, damage in damage()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let pair = SealingKeyPair::generate(&mut rng);
        let bad = damage.done_to(&seal(&RecipientKey::Record(pair.public()), &AAD, &text, &mut rng).unwrap());
        read_as_everything(&bad);
        if let Ok(sealed) = Sealed::parse(&bad) {
            // X25519 ignores the top bit of a public key, but HPKE binds the bytes as sent.
            prop_assert!(sealed.open(&pair, &AAD).is_err());
        }
    }

    #[test]
    fn a_damaged_invite_is_never_accepted_as_another(channel in some::channel(), damage in damage()) {
        let bad = damage.done_to(channel.invite().as_bytes());
        if let Ok(text) = std::str::from_utf8(&bad)
            && let Ok(read) = ChannelKey::from_invite(text)
        {
            prop_assert_eq!(read, channel);
        }
    }

    #[test]
    fn a_damaged_block_gives_frames_or_an_error_but_no_more_than_its_bytes(
        frames in vec(some::frame(), 1..4), damage in damage(),
    ) {
        let mut block = Vec::new();
        for frame in &frames {
            frame.encode(&mut block).unwrap();
        }
        let bad = damage.done_to(&block);
        read_as_everything(&bad);
        let mut again = Vec::new();
        for frame in unpack(bad.clone().into()).flatten() {
            frame.encode(&mut again).unwrap();
        }
        prop_assert!(again.len() <= bad.len());
    }
}
