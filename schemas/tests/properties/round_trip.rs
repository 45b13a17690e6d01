use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use qpq_schemas::MessageId;
use qpq_schemas::channel::ChannelKey;
use qpq_schemas::content::Content;
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::{Draft, Envelope, LARGEST_PAYLOAD};
use qpq_schemas::link::{Frame, fragments, unpack};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::{RecipientKey, SealingKeyPair, open, seal};
use qpq_schemas::signature::Verifier;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::some;

fn read_as_draft(envelope: &Envelope) -> Draft {
    let view = envelope.view();
    Draft {
        kind: view.kind(),
        flags: view.flags(),
        max_hops: view.max_hops(),
        ttl_secs: view.ttl_secs(),
        created_ms: view.created_ms(),
        nonce: view.nonce(),
        destination: view.destination(),
        payload: view.payload().to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_envelope(draft in some::draft(), hops: u8) {
        let envelope = draft.sign(&some::key()).unwrap().with_hop_count(hops);
        let again = Envelope::from_wire(envelope.wire().clone(), LARGEST_PAYLOAD).unwrap();
        prop_assert_eq!(read_as_draft(&again), draft);
        prop_assert_eq!((again.id(), again.view().hop_count()), (envelope.id(), hops));
        prop_assert_eq!(Verifier::new(0).check(again.view()), Ok(()));
    }

    #[test]
    fn content(content in some::content()) {
        prop_assert_eq!(Content::decode(&content.encode()), Ok(content));
    }

    #[test]
    fn a_receipt(id: [u8; 32], received_ms: u64) {
        let receipt = Receipt { id: MessageId(id), received_ms };
        prop_assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    }

    #[test]
    fn a_notice(notice in some::notice()) {
        prop_assert_eq!(Notice::from_text(&notice.to_text()), Ok(notice.clone()));
        prop_assert!(notice.signatures().all(|(_, good)| good));
    }

    #[test]
    fn a_record(record in some::record()) {
        prop_assert_eq!(NodeRecord::verify(&record.sign(&some::key()).unwrap()), Ok(record));
    }

    #[test]
    fn a_channel_message_and_its_invite(channel in some::channel(), draft in some::draft(), text: Vec<u8>) {
        let member = ChannelKey::from_invite(&channel.invite()).unwrap();
        prop_assert_eq!(&member, &channel);
        let aad = draft.aad(some::key().public());
        prop_assert_eq!(member.open_bytes(&aad, &channel.seal(&aad, &text)), Ok(text));
    }

    #[test]
    fn a_sealed_payload(seed: u64, draft in some::draft(), text: Vec<u8>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let pair = SealingKeyPair::generate(&mut rng);
        let aad = draft.aad(some::key().public());
        let payload = seal(&RecipientKey::Record(pair.public()), &aad, &text, &mut rng).unwrap();
        prop_assert_eq!(open([&pair], &aad, &payload), Ok(text));
    }

    #[test]
    fn a_block_of_frames(frames in vec(some::frame(), 0..6)) {
        let mut block = Vec::new();
        for frame in &frames {
            frame.encode(&mut block).unwrap();
        }
        let read: Result<Vec<_>, _> = unpack(block.into()).collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn a_block_in_fragments(block in vec(any::<u8>(), 1..5_000), max_frame in 14usize..2_000) {
        let block = Bytes::from(block);
        let Ok(frames) = fragments(1, &block, max_frame) else {
            prop_assert!(block.len() > 4_096 * (max_frame - 13));
            return Ok(());
        };
        let pieces: Vec<_> = frames.iter().map(|frame| match frame {
            Frame::Fragment(fragment) => fragment.bytes.clone(),
            _ => Bytes::new(),
        }).collect();
        prop_assert_eq!(pieces.concat(), block);
    }
}
