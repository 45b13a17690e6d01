//! What is promised of emergencies: before everything else, and only with the signatures of enough admins.

use qpq_schemas::channel::ChannelKey;
use qpq_schemas::content::{Content, KIND_NOTICE};
use qpq_schemas::emergency::Notice as Signed;
use qpq_schemas::envelope::{Draft, Flags};
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::signature::SigningKey;

use super::super::emergency::EmergencyPolicy;
use super::*;

const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// From here everything comes.
const BEFORE: LinkId = 1;
/// There everything goes.
const BEHIND: LinkId = 2;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn channel() -> ChannelKey {
    ChannelKey::open("emergency").unwrap()
}

/// Two of the admins 1, 2 and 3.
fn two_of_three() -> EmergencyPolicy {
    EmergencyPolicy { admins: [1, 2, 3].map(|n| key(n).public()).into(), quorum: 2, channel: channel() }
}

fn notice(text: &str, signers: &[u8]) -> Signed {
    let mut notice = Signed::new(channel().topic_id(), NOW_MS + HOUR_MS, text).unwrap();
    signers.iter().for_each(|n| notice.sign(&key(*n)).unwrap());
    notice
}

/// An envelope marked as an emergency.
struct Marked {
    kind: Kind,
    destination: [u8; 32],
    content: Vec<u8>,
    ttl_secs: u32,
    priority: Priority,
    max_hops: u8,
    nonce: u64,
}

impl Marked {
    fn holding(notice: &Signed) -> Self {
        Self::with(KIND_NOTICE, notice.encode())
    }

    fn with(kind: u8, body: Vec<u8>) -> Self {
        Self {
            kind: Kind::Broadcast,
            destination: channel().topic_id().0,
            content: Content { automatic: false, kind, reply_to: None, body }.encode(),
            ttl_secs: 3_600,
            priority: Priority::Emergency,
            max_hops: u8::MAX,
            nonce: 1,
        }
    }

    /// Signed by a stranger: it is the admins' signatures inside that count.
    fn envelope(self) -> Envelope {
        let flags = Flags { sealed: true, receipt_wanted: false, priority: self.priority };
        let mut draft = Draft {
            kind: self.kind,
            flags,
            max_hops: self.max_hops,
            ttl_secs: self.ttl_secs,
            created_ms: NOW_MS,
            nonce: self.nonce.to_be_bytes(),
            destination: self.destination,
            payload: Vec::new(),
        };
        let sender = key(99);
        draft.payload = channel().seal(&draft.aad(sender.public()), &self.content);
        draft.sign(&sender).unwrap()
    }
}

/// A relay between two neighbours, with room for one envelope on the way out.
struct Relay {
    core: Core,
    sent: Vec<MessageId>,
    stored: Vec<Head>,
}

impl Relay {
    fn new(policy: Option<EmergencyPolicy>) -> Self {
        Self::over(Shelf::new(StoreLimits::default()), policy)
    }

    fn over(shelf: Shelf, emergency: Option<EmergencyPolicy>) -> Self {
        let config = CoreConfig { window: 1, emergency, ..CoreConfig::new(PeerId([1; 32])) };
        let mut core = Core::new(config, shelf, 1, Box::new(world::Toy::default()));
        for link in [BEFORE, BEHIND] {
            core.handle(Event::LinkUp { link, peer: PeerId([link as u8 + 1; 32]), domain: None }, NOW_MS);
            core.handle(
                Event::Frame { link, frame: Frame::Tree(qpq_schemas::link::Tree::Announce(Vec::new())) },
                NOW_MS,
            );
        }
        Self { core, sent: Vec::new(), stored: Vec::new() }
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.core.handle(event, NOW_MS) {
                match effect {
                    Effect::Verify { ticket, envelopes } => {
                        let verdicts = envelopes.iter().map(|_| Ok(())).collect();
                        events.push(Event::Verified { ticket, verdicts });
                    }
                    Effect::Persist { ticket, batch } => {
                        self.stored.extend(batch.append.iter().map(|record| record.head));
                        events.push(Event::Persisted { ticket, result: Ok(()) });
                    }
                    Effect::Offer { link: BEHIND, items } => self.sent.extend(items.iter().map(|item| item.id)),
                    _ => {}
                }
            }
        }
    }

    /// The neighbour before brings one.
    fn bring(&mut self, envelope: &Envelope) -> MessageId {
        self.event(Event::Frame { link: BEFORE, frame: Frame::Envelopes(vec![envelope.wire().clone()]) });
        envelope.id()
    }

    /// The neighbour behind takes what it is offered, one by one.
    fn let_go(&mut self) -> &[MessageId] {
        let mut answered = 0;
        while let Some(id) = self.sent.get(answered).copied() {
            answered += 1;
            let answer = Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 };
            self.event(Event::Frame { link: BEHIND, frame: Frame::Custody(vec![answer]) });
        }
        &self.sent
    }

    fn priority(&self, id: &MessageId) -> Priority {
        self.core.shelf().get(id).unwrap().priority
    }
}

/// How a relay with these admins takes an envelope.
fn taken_as(policy: Option<EmergencyPolicy>, envelope: &Envelope) -> Priority {
    let mut relay = Relay::new(policy);
    let id = relay.bring(envelope);
    relay.priority(&id)
}

fn high(nonce: u64) -> Envelope {
    Marked { priority: Priority::High, nonce, ..Marked::with(0, b"honest".to_vec()) }.envelope()
}

#[test]
fn two_of_three_admins_make_an_emergency_and_nothing_less_does() {
    let good = Marked::holding(&notice("the dam breaks", &[1, 3])).envelope();
    assert_eq!(taken_as(Some(two_of_three()), &good), Priority::Emergency);
    let changed = {
        let mut bytes = notice("the dam breaks", &[1, 3]).encode();
        let at = bytes.windows(3).position(|part| part == b"dam").unwrap();
        bytes[at..at + 3].copy_from_slice(b"sky");
        Marked::with(KIND_NOTICE, bytes)
    };
    let doubled = {
        let once = notice("the dam breaks", &[1]).encode();
        let signature = &once[once.len() - 96..];
        let mut twice = [&once[..], signature].concat();
        twice[once.len() - 97] = 2;
        Marked::with(KIND_NOTICE, twice)
    };
    let elsewhere = ChannelKey::open("market").unwrap().topic_id();
    let mut for_elsewhere = Signed::new(elsewhere, NOW_MS + HOUR_MS, "the dam breaks").unwrap();
    [1, 3].iter().for_each(|n| for_elsewhere.sign(&key(*n)).unwrap());
    let over = {
        let mut notice = Signed::new(channel().topic_id(), NOW_MS - 1, "the dam breaks").unwrap();
        [1, 3].iter().for_each(|n| notice.sign(&key(*n)).unwrap());
        Marked::holding(&notice)
    };
    let both = notice("the dam breaks", &[1, 3]);
    let less = [
        ("one admin", Marked::holding(&notice("the dam breaks", &[1]))),
        ("one admin twice", doubled),
        ("strangers", Marked::holding(&notice("the dam breaks", &[7, 8, 9]))),
        ("one admin and a stranger", Marked::holding(&notice("the dam breaks", &[2, 9]))),
        ("a changed text", changed),
        ("a notice for another channel", Marked::holding(&for_elsewhere)),
        ("a notice that is over", over),
        ("an envelope that outlives its notice", Marked { ttl_secs: 3_601, ..Marked::holding(&both) }),
        ("an envelope that dies before its notice is over", Marked { ttl_secs: 3_597, ..Marked::holding(&both) }),
        ("an envelope that may not go everywhere", Marked { max_hops: 254, ..Marked::holding(&both) }),
        ("a notice in a text", Marked::with(0, both.to_text().into_bytes())),
        ("another channel", Marked { destination: elsewhere.0, ..Marked::holding(&both) }),
        ("a direct message", Marked { kind: Kind::Direct, destination: [9; 32], ..Marked::holding(&both) }),
        ("no notice at all", Marked::with(0, b"help!".to_vec())),
    ];
    for (what, marked) in less {
        assert_eq!(taken_as(Some(two_of_three()), &marked.envelope()), Priority::High, "{what}");
    }
    assert_eq!(taken_as(None, &good), Priority::High, "a node that names no admins knows no emergencies");
    let normal = Marked { priority: Priority::Normal, ..Marked::holding(&both) }.envelope();
    assert_eq!(taken_as(Some(two_of_three()), &normal), Priority::Normal, "nothing is raised that doesn't ask for it");
}

#[test]
fn a_flood_of_false_emergencies_gets_no_place_before_what_is_high_and_a_true_one_overtakes_all() {
    let mut relay = Relay::new(Some(two_of_three()));
    let first = relay.bring(&high(0)); // on its way; everything else waits for it
    let honest: Vec<MessageId> = (1..5).map(|nonce| relay.bring(&high(nonce))).collect();
    let flood: Vec<MessageId> = (10..40)
        .map(|nonce| {
            let text = format!("false {nonce}");
            relay.bring(&Marked { nonce, ..Marked::holding(&notice(&text, &[1])) }.envelope())
        })
        .collect();
    let late = relay.bring(&high(50));
    let truth = relay.bring(&Marked { nonce: 60, ..Marked::holding(&notice("the dam breaks", &[1, 2])) }.envelope());
    let order: Vec<MessageId> = [first, truth].into_iter().chain(honest).chain(flood).chain([late]).collect();
    assert_eq!(relay.let_go(), order);
}

#[test]
fn a_notice_that_is_sent_again_and_again_loses_its_precedence() {
    let mut relay = Relay::new(Some(two_of_three()));
    let signed = notice("the dam breaks", &[1, 2]);
    let taken: Vec<Priority> = (0..6)
        .map(|nonce| {
            let id = relay.bring(&Marked { nonce, ..Marked::holding(&signed) }.envelope());
            relay.priority(&id)
        })
        .collect();
    assert_eq!(taken[..3], [Priority::Emergency; 3]);
    assert_eq!(taken[3..], [Priority::High; 3]);
    let again = Marked { nonce: 9, ..Marked::holding(&notice("the dam breaks", &[2, 3])) }.envelope();
    let id = relay.bring(&again);
    assert_eq!(relay.priority(&id), Priority::High, "it is the same notice, whoever has signed it");
}

#[test]
fn copies_that_die_soon_or_end_near_take_no_precedence_from_the_true_one() {
    let mut relay = Relay::new(Some(two_of_three()));
    let signed = notice("the dam breaks", &[1, 2]);
    let copies = (0..9).map(|nonce| match nonce % 3 {
        0 => Marked { nonce, ttl_secs: 1, ..Marked::holding(&signed) }.envelope(),
        1 => Marked { nonce, max_hops: 1, ..Marked::holding(&signed) }.envelope(),
        _ => Marked { nonce, ..Marked::holding(&signed) }.envelope().with_hop_count(250),
    });
    for copy in copies {
        let id = relay.bring(&copy);
        assert_eq!(relay.priority(&id), Priority::High);
    }
    let far = Marked { nonce: 50, ..Marked::holding(&signed) }.envelope().with_hop_count(100);
    let truth = relay.bring(&far);
    assert_eq!(relay.priority(&truth), Priority::Emergency, "also far from where it was published");
}

#[test]
fn who_brings_false_emergencies_without_end_has_no_more_looked_at_and_others_do() {
    let mut relay = Relay::new(Some(two_of_three()));
    for nonce in 0..6_001 {
        let text = format!("false {nonce}");
        let mut body = notice(&text, &[]).encode();
        *body.last_mut().unwrap() = 2; // two made-up signatures: as cheap to make as any
        let mut admins = [key(1).public(), key(2).public()];
        admins.sort_unstable();
        admins.iter().for_each(|admin| body.extend([admin.0.as_slice(), &[7; 64]].concat()));
        relay.bring(&Marked { nonce, ..Marked::with(KIND_NOTICE, body) }.envelope());
    }
    assert_eq!(relay.core.counters()["emergency-without-quorum"], 6_000);
    assert_eq!(relay.core.counters()["emergency-unchecked"], 1);
    let truth = Marked { nonce: 1 << 20, ..Marked::holding(&notice("the dam breaks", &[1, 2])) }.envelope();
    relay.event(Event::Frame { link: BEHIND, frame: Frame::Envelopes(vec![truth.wire().clone()]) });
    assert_eq!(relay.priority(&truth.id()), Priority::Emergency);
}

#[test]
fn an_emergency_is_still_one_after_a_restart_and_a_false_one_still_none() {
    let mut relay = Relay::new(Some(two_of_three()));
    let truth = relay.bring(&Marked::holding(&notice("the dam breaks", &[1, 2])).envelope());
    let lie = relay.bring(&Marked { nonce: 2, ..Marked::holding(&notice("the sky falls", &[1])) }.envelope());
    let mut shelf = Shelf::new(StoreLimits::default());
    relay.stored.iter().for_each(|head| shelf.restore(head));
    let again = Relay::over(shelf, None);
    assert_eq!((again.priority(&truth), again.priority(&lie)), (Priority::Emergency, Priority::High));
}

#[test]
fn when_a_topic_is_full_an_emergency_stays_and_false_ones_go() {
    let limits = StoreLimits { topic_messages: 3, ..StoreLimits::default() };
    let mut relay = Relay::over(Shelf::new(limits), Some(two_of_three()));
    let truth = relay.bring(&Marked::holding(&notice("the dam breaks", &[1, 2])).envelope());
    for nonce in 10..20 {
        let text = format!("false {nonce}");
        relay.bring(&Marked { nonce, ..Marked::holding(&notice(&text, &[])) }.envelope());
    }
    assert_eq!(relay.priority(&truth), Priority::Emergency);
}
