//! Made-up values of every format.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use qpq_schemas::channel::ChannelKey;
use qpq_schemas::content::Content;
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::{Draft, Flags, Kind, Priority};
use qpq_schemas::link::{
    Announced, Answer, Close, CloseCode, Fragment, Frame, Hello, Home, MAX_RESOLVED, Part, Place, Range, Reconcile,
    Resolve, SubscriptionChange, Sync, Tree, Verdict,
};
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::SealingPublic;
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{MessageId, PeerId, TopicId};

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn flags() -> impl Strategy<Value = Flags> {
    (any::<bool>(), any::<bool>(), 0u8..4).prop_map(|(sealed, receipt_wanted, priority)| Flags {
        sealed,
        receipt_wanted,
        priority: Priority::from_byte(priority).unwrap(),
    })
}

pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    let fields = (0u8..3, flags(), any::<u8>(), any::<u32>(), any::<u64>());
    (fields, any::<[u8; 8]>(), any::<[u8; 32]>(), vec(any::<u8>(), 0..300)).prop_map(
        |((kind, flags, max_hops, ttl_secs, created_ms), nonce, destination, payload)| Draft {
            kind: Kind::from_byte(kind).unwrap(),
            flags,
            max_hops,
            ttl_secs,
            created_ms,
            nonce,
            destination,
            payload,
        },
    )
}

pub(crate) fn content() -> impl Strategy<Value = Content> {
    (any::<bool>(), any::<u8>(), any::<Option<[u8; 32]>>(), vec(any::<u8>(), 0..100)).prop_map(
        |(automatic, kind, reply_to, body)| Content { automatic, kind, reply_to: reply_to.map(MessageId), body },
    )
}

pub(crate) fn channel() -> impl Strategy<Value = ChannelKey> {
    ("[a-z0-9äß]{1,20}( [a-z]{1,10})?", any::<[u8; 32]>(), any::<u32>())
        .prop_map(|(name, secret, epoch)| ChannelKey::from_parts(&name, &secret, epoch).unwrap())
}

pub(crate) fn notice() -> impl Strategy<Value = Notice> {
    let fields = (any::<[u8; 32]>(), any::<u64>(), "[a-zß\n ]{1,80}", vec(any::<u8>(), 0..5));
    fields.prop_map(|(topic, until_ms, text, signers)| {
        let mut notice = Notice::new(TopicId(topic), until_ms, text).unwrap();
        signers.iter().for_each(|n| notice.sign(&SigningKey::from_seed(&[*n; 32])).unwrap());
        notice
    })
}

pub(crate) fn record() -> impl Strategy<Value = NodeRecord> {
    let texts = ("[A-Za-z ü]{0,16}", "[a-z0-9.-]{0,60}", vec("[!-~]{1,80}", 0..=8));
    (any::<u32>(), 0u64..2_592_000_000, any::<[u8; 32]>(), texts).prop_map(|(seq, life, sealing, texts)| NodeRecord {
        peer: key().public(),
        seq_ms: u64::from(seq),
        expires_ms: u64::from(seq) + life,
        sealing: SealingPublic(sealing),
        nickname: texts.0,
        domain: texts.1,
        addresses: texts.2,
    })
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn ids() -> impl Strategy<Value = Vec<MessageId>> {
    vec(any::<[u8; 32]>().prop_map(MessageId), 0..20)
}

fn hello() -> impl Strategy<Value = Hello> {
    (1u8.., any::<[u8; 32]>(), any::<u32>(), any::<[u8; 32]>(), bytes(0..100)).prop_map(
        |(version, peer, features, random, later)| Hello { version, peer: PeerId(peer), features, random, later },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    (any::<[u8; 32]>(), 0u8..9, any::<u16>()).prop_map(|(id, verdict, retry_after_secs)| Answer {
        id: MessageId(id),
        verdict: Verdict::from_byte(verdict).unwrap(),
        retry_after_secs,
    })
}

fn subscriptions() -> impl Strategy<Value = Frame> {
    use SubscriptionChange::{Add, Remove, Set};
    let topics = vec(any::<[u8; 32]>().prop_map(TopicId), 0..20);
    (prop::sample::select(vec![Set, Add, Remove]), topics)
        .prop_map(|(change, topics)| Frame::Subscriptions(change, topics))
}

fn fragment() -> impl Strategy<Value = Frame> {
    (any::<u32>(), 1u16..=4096, any::<prop::sample::Index>(), bytes(1..100)).prop_map(|(message, count, at, bytes)| {
        let index = u16::try_from(at.index(usize::from(count))).unwrap();
        Frame::Fragment(Fragment { message, index, count, bytes })
    })
}

fn place() -> impl Strategy<Value = Place> {
    (0u64..1_000, any::<[u8; 32]>()).prop_map(|(created_ms, id)| Place { created_ms, id })
}

fn comparison() -> impl Strategy<Value = Frame> {
    let part = prop_oneof![Just(Part::Skip), any::<[u8; 16]>().prop_map(Part::Fingerprint), ids().prop_map(Part::Ids),];
    let ranges = (prop::collection::btree_set(place(), 0..10), vec(part, 10));
    (any::<u32>(), any::<bool>(), ranges).prop_map(|(session, opener, (places, parts))| {
        let mut places = places.into_iter();
        let from = places.next().unwrap_or(Place::START);
        let ranges = places.zip(parts).map(|(to, part)| Range { to, part }).collect();
        Frame::Reconcile(Reconcile { session, opener, from, ranges })
    })
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        hello().prop_map(Frame::Hello),
        vec(any::<u8>(), 64).prop_map(|bytes| Frame::Auth(bytes.try_into().unwrap())),
        vec(bytes(157..400), 0..5).prop_map(Frame::Envelopes),
        vec(answer(), 0..20).prop_map(Frame::Custody),
        subscriptions(),
        bytes(0..300).prop_map(Frame::Route),
        ids().prop_map(|ids| Frame::Sync(Sync::Have(ids))),
        ids().prop_map(|ids| Frame::Sync(Sync::Want(ids))),
        vec(bytes(65..1025), 0..4).prop_map(Frame::Records),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        (any::<u16>(), "[ -~ü]{0,100}")
            .prop_map(|(code, reason)| Frame::Close(Close { code: CloseCode(code), reason })),
        fragment(),
        (132u8.., bytes(0..100)).prop_map(|(kind, body)| Frame::Optional(kind, body)),
        (1u16..).prop_map(Frame::Moving),
        vec((any::<[u8; 32]>(), any::<u8>()), 0..20).prop_map(|list| {
            let announced = |(id, hops)| Announced { id: MessageId(id), hops };
            Frame::Tree(Tree::Announce(list.into_iter().map(announced).collect()))
        }),
        ids().prop_map(|ids| Frame::Tree(Tree::Graft(ids))),
        Just(Frame::Tree(Tree::Prune)),
        comparison(),
        vec(any::<[u8; 32]>(), 0..=MAX_RESOLVED)
            .prop_map(|peers| Frame::Resolve(Resolve::Ask(peers.into_iter().map(PeerId).collect()))),
        vec((any::<[u8; 32]>(), of(bytes(1..200))), 0..=MAX_RESOLVED).prop_map(|homes| {
            let home = |(peer, record)| Home { peer: PeerId(peer), record };
            Frame::Resolve(Resolve::Homes(homes.into_iter().map(home).collect()))
        }),
    ]
}
