//! What comes over a link: envelopes, frames, records, and what is sealed inside.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;
use qpq_plugin_api::stream;
use qpq_schemas::channel::ChannelKey;
use qpq_schemas::content::Content;
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::{
    AAD_LEN, DEFAULT_MAX_PAYLOAD, Draft, Envelope, EnvelopeRef, Flags, Kind, LARGEST_PAYLOAD, Priority,
};
use qpq_schemas::link::{
    Announced, Answer, Close, CloseCode, Frame, Hello, Home, Part, Place, Range, Reconcile, Resolve,
    SubscriptionChange, Sync, Tree, Verdict, unpack,
};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::{self, RecipientKey, SealingKeyPair};
use qpq_schemas::signature::{SigningKey, Verifier};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::{Seeds, Target};
use crate::Random;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "envelope", feed: feed_envelope, seeds: envelopes },
    Target { name: "signature", feed: feed_signature, seeds: envelopes },
    Target { name: "frames", feed: feed_frames, seeds: blocks },
    Target { name: "stream", feed: feed_stream, seeds: streams },
    Target { name: "record", feed: feed_record, seeds: records },
    Target { name: "sealed", feed: feed_sealed, seeds: sealed },
    Target { name: "channel", feed: feed_channel, seeds: channel_payloads },
    Target { name: "invite", feed: feed_invite, seeds: invites },
    Target { name: "notice", feed: feed_notice, seeds: notices },
    Target { name: "content", feed: feed_content, seeds: contents },
];

/// Associated data of the sealed and encrypted seeds.
const AAD: [u8; AAD_LEN] = [7; AAD_LEN];

/// Frames that the transport takes.
const STREAM_FRAME: usize = 4_096;

/// The same key at each run.
pub(super) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

/// A well-formed envelope of each kind.
pub(super) fn envelopes() -> Seeds {
    let flags = Flags { sealed: false, receipt_wanted: true, priority: Priority::High };
    let draft = |kind, payload: &[u8]| Draft {
        kind,
        flags,
        max_hops: 8,
        ttl_secs: 3_600,
        created_ms: 1_800_000_000_000,
        nonce: [3; 8],
        destination: [4; 32],
        payload: payload.to_vec(),
    };
    let kinds = [(Kind::Direct, &b"hello"[..]), (Kind::Broadcast, b""), (Kind::Direct, &[9; 300])];
    kinds.iter().filter_map(|(kind, payload)| Some(draft(*kind, payload).sign(&key()).ok()?.wire().to_vec())).collect()
}

/// An envelope that parses is its own wire form, byte for byte, and only the last byte may be changed by a relay.
fn feed_envelope(bytes: &[u8]) {
    let _ = EnvelopeRef::wire_len(bytes);
    let Ok(view) = EnvelopeRef::parse(bytes, DEFAULT_MAX_PAYLOAD) else { return };
    assert_eq!(view.wire(), bytes);
    assert_eq!(EnvelopeRef::wire_len(bytes), Some(bytes.len()));
    assert!(view.payload().len() <= DEFAULT_MAX_PAYLOAD);
    let (_, _, _) = (view.check_times(0), view.check_times(u64::MAX), view.check_hops());
    assert!(view.expires_ms() >= view.created_ms());
    let Ok(owned) = Envelope::from_wire(Bytes::copy_from_slice(bytes), DEFAULT_MAX_PAYLOAD) else {
        panic!("the owned form refuses what the borrowed one takes");
    };
    let passed_on = owned.with_hop_count(view.hop_count().wrapping_add(1));
    assert_eq!(passed_on.id(), view.id());
    assert_eq!(passed_on.view().signed(), view.signed());
}

/// A check alone and in a batch with honest envelopes always agree.
fn feed_signature(bytes: &[u8]) {
    static HONEST: OnceLock<Seeds> = OnceLock::new();
    let Ok(view) = EnvelopeRef::parse(bytes, DEFAULT_MAX_PAYLOAD) else { return };
    let verifier = Verifier::new(8);
    let alone = verifier.check(view);
    let honest = HONEST.get_or_init(envelopes).iter().filter_map(|e| EnvelopeRef::parse(e, DEFAULT_MAX_PAYLOAD).ok());
    let group: Vec<_> = honest.chain([view]).collect();
    let mut together = verifier.check_batch(&group, &mut rand::rng());
    assert_eq!(together.pop(), Some(alone));
    assert!(together.iter().all(Result::is_ok), "an honest envelope pays for its neighbour");
}

fn blocks() -> Seeds {
    let peer = key().public();
    let envelopes: Vec<Bytes> = envelopes().into_iter().map(Bytes::from).collect();
    let records: Vec<Bytes> = records().into_iter().map(Bytes::from).collect();
    let answer = |verdict| Answer { id: MessageId([5; 32]), verdict, retry_after_secs: 30 };
    let frames = [
        Frame::Hello(Hello::new(peer, [2; 32])),
        Frame::Auth([6; 64]),
        Frame::Envelopes(envelopes),
        Frame::Custody(vec![answer(Verdict::Stored), answer(Verdict::RecipientFull)]),
        Frame::Subscriptions(SubscriptionChange::Add, vec![TopicId([8; 32])]),
        Frame::Route(Bytes::from_static(b"route")),
        Frame::Sync(Sync::Have(vec![MessageId([1; 32])])),
        Frame::Sync(Sync::Want(vec![MessageId([2; 32]), MessageId([3; 32])])),
        Frame::Records(records),
        Frame::Resolve(Resolve::Ask(vec![PeerId([4; 32])])),
        Frame::Resolve(Resolve::Homes(vec![Home { peer: PeerId([4; 32]), record: Some(vec![5; 70].into()) }])),
        Frame::Moving(7_001),
        Frame::Tree(Tree::Announce(vec![Announced { id: MessageId([1; 32]), hops: 2 }])),
        Frame::Tree(Tree::Graft(vec![MessageId([2; 32])])),
        Frame::Tree(Tree::Prune),
        Frame::Reconcile(Reconcile {
            session: 1,
            opener: true,
            from: Place::START,
            ranges: vec![
                Range { to: Place::at(5), part: Part::Fingerprint([1; 16]) },
                Range { to: Place { created_ms: 5, id: [6; 32] }, part: Part::Ids(vec![MessageId([7; 32])]) },
                Range { to: Place::END, part: Part::Skip },
            ],
        }),
        Frame::Ping(1),
        Frame::Pong(u64::MAX),
        Frame::Close(Close { code: CloseCode::GOING_AWAY, reason: "bye".to_owned() }),
    ];
    let encode = |frames: &[Frame]| {
        let mut block = Vec::new();
        frames.iter().try_for_each(|frame| frame.encode(&mut block)).is_ok().then_some(block)
    };
    frames.chunks(1).chain(frames.chunks(5)).filter_map(encode).collect()
}

/// What was understood can be said again, and is understood as the same.
fn feed_frames(bytes: &[u8]) {
    let block = Bytes::copy_from_slice(bytes);
    for frame in unpack(block).map_while(Result::ok) {
        let mut again = Vec::new();
        if matches!(frame, Frame::Optional(..)) || frame.encode(&mut again).is_err() {
            continue;
        }
        let back = unpack(Bytes::from(again)).next();
        assert_eq!(back.and_then(Result::ok), Some(frame));
    }
}

/// Frames on a stream, behind a byte that says in which pieces they come.
fn streams() -> Seeds {
    let frames = [&b"a frame"[..], b"", &[7; 2_000], &[8; STREAM_FRAME]].map(Bytes::copy_from_slice);
    let mut chunks = Vec::new();
    stream::encode(frames, &mut chunks);
    [1, 200].map(|piece| [&[piece], &chunks.concat()[..]].concat()).to_vec()
}

/// However a stream is cut into pieces, the same frames come out of it; written again they are the stream.
fn feed_stream(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = cut_stream(bytes, bytes.len().max(1));
    assert_eq!(cut_stream(bytes, usize::from(*piece) + 1), whole);
    let (frames, good) = whole;
    assert!(frames.iter().all(|frame| frame.len() <= STREAM_FRAME));
    let mut chunks = Vec::new();
    stream::encode(frames, &mut chunks);
    let again = chunks.concat();
    assert!(bytes.starts_with(&again) && (!good || again.len() == bytes.len()));
}

/// The frames of a stream, and whether it ends behind one.
fn cut_stream(bytes: &[u8], piece: usize) -> (Vec<Bytes>, bool) {
    let (mut decoder, mut frames) = (stream::Decoder::new(STREAM_FRAME), VecDeque::new());
    let fed = bytes.chunks(piece).try_for_each(|chunk| decoder.feed(Bytes::copy_from_slice(chunk), &mut frames));
    (frames.into(), fed.is_ok() && decoder.is_between_frames())
}

pub(super) fn records() -> Seeds {
    let record = NodeRecord {
        peer: key().public(),
        seq_ms: 1_800_000_000_000,
        expires_ms: 1_800_000_000_000 + 86_400_000,
        sealing: SealingKeyPair::from_secret(&[4; 32]).public(),
        nickname: "anna".to_owned(),
        domain: "node1.mesh.local".to_owned(),
        addresses: vec!["quic://192.0.2.7:7000".to_owned()],
    };
    record.sign(&key()).into_iter().collect()
}

/// A record that is taken signs to the same bytes only with its key, and never breaks its limits.
fn feed_record(bytes: &[u8]) {
    let Ok(record) = NodeRecord::verify(bytes) else { return };
    let (_, _) = (record.check_times(0), record.check_times(u64::MAX));
    assert_eq!(record.peer, key().public(), "somebody forged a record");
    assert_eq!(record.sign(&key()).ok().as_deref(), Some(bytes));
}

fn sealed() -> Seeds {
    let pair = SealingKeyPair::from_secret(&[4; 32]);
    let peer = PeerId(key().public().0);
    let recipients = [RecipientKey::Record(pair.public()), RecipientKey::Identity(peer)];
    let seal = |recipient| sealing::seal(recipient, &AAD, b"a secret", &mut rand::rng()).ok();
    recipients.iter().filter_map(seal).collect()
}

/// Nothing opens but what was sealed.
fn feed_sealed(bytes: &[u8]) {
    let pairs = [SealingKeyPair::from_secret(&[4; 32]), SealingKeyPair::of_identity(&key())];
    if let Ok(plain) = sealing::open(&pairs, &AAD, bytes) {
        assert_eq!(plain, b"a secret");
    }
}

fn channel() -> Option<ChannelKey> {
    ChannelKey::open("announcements").ok()
}

fn channel_payloads() -> Seeds {
    channel().map(|channel| channel.seal(&AAD, b"a notice")).into_iter().collect()
}

/// Nothing opens but what was encrypted.
fn feed_channel(bytes: &[u8]) {
    let plain = channel().map(|channel| channel.open_bytes(&AAD, bytes));
    if let Some(Ok(plain)) = plain {
        assert_eq!(plain, b"a notice");
    }
}

fn notices() -> Seeds {
    let topic = ChannelKey::open("emergency").expect("a name").topic_id();
    let notice = |signers: u8| {
        let mut notice = Notice::new(topic, 1_800_000_000_000, "the dam breaks:\nleave the valley").expect("a text");
        (0..signers).for_each(|n| notice.sign(&SigningKey::from_seed(&[n; 32])).expect("room"));
        notice
    };
    [0, 1, 16].map(notice).iter().flat_map(|notice| [notice.encode(), notice.to_text().into_bytes()]).collect()
}

/// A notice that is read is written as it was, and is read again from its text. What nobody signed has no quorum.
fn feed_notice(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| Notice::from_text(text).ok());
    let read = Notice::decode(bytes).ok();
    if let Some(notice) = &read {
        assert_eq!(notice.encode(), bytes, "a notice has one form");
    }
    for notice in [read, text].into_iter().flatten() {
        assert_eq!(Notice::from_text(&notice.to_text()).as_ref(), Ok(&notice));
        let good = notice.signatures().filter(|(_, good)| *good).count();
        assert!(!notice.has_quorum(|_| true, good + 1), "{good} signatures are good");
    }
}

fn invites() -> Seeds {
    let channel = ChannelKey::from_parts("garden club", &[9; 32], 3);
    channel.map(|channel| channel.invite().as_bytes().to_vec()).into_iter().collect()
}

/// An invite that is taken makes an invite that is taken.
fn feed_invite(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = qpq_schemas::channel::normalise(text);
    let Ok(channel) = ChannelKey::from_invite(text) else { return };
    let again = ChannelKey::from_invite(&channel.invite());
    assert_eq!(again.map(|again| again.topic_id()).ok(), Some(channel.topic_id()));
}

fn contents() -> Seeds {
    let receipt = Receipt { id: MessageId([1; 32]), received_ms: 5 };
    vec![Content::text("hello").encode(), receipt.encode().to_vec(), Random::seeded(1).bytes(LARGEST_PAYLOAD.min(200))]
}

/// Both readings of a payload's plaintext.
fn feed_content(bytes: &[u8]) {
    let _ = Receipt::decode(bytes);
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(Content::decode(&content.encode()).ok(), Some(content));
    }
}
