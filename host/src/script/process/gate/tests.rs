//! What a child that was taken over by its bot tries, rule by rule.

use std::time::Instant;

use qpq_schemas::TopicId;

use super::super::super::double::message;
use super::super::super::shared::LiveKind;
use super::*;
use crate::api::{BroadcastRequest, LinkInfo, PeerInfo, SendRequest, Trust};

const EVE: PeerId = PeerId([0xee; 32]);
const BOB: PeerId = PeerId([0xbb; 32]);

/// A gate for a bot with these permissions, and its buckets.
struct Case {
    gate: Gate,
    traffic: Traffic,
}

fn case(needs: &[&str]) -> Case {
    let limits = ScriptLimits { messages_per_minute: 3, ..ScriptLimits::default() };
    let permissions = Permissions::new(needs.iter().map(|need| (*need).to_owned()).collect());
    let traffic = Traffic::new(&limits, Instant::now());
    Case { gate: Gate::new("bot", permissions, limits), traffic }
}

impl Case {
    fn call(&mut self, call: Call) -> Result<Call, Refusal> {
        self.gate.admit(call, &mut self.traffic, Instant::now())
    }

    #[track_caller]
    fn breaks(&mut self, call: Call) {
        let shown = format!("{call:?}");
        assert!(matches!(self.call(call), Err(Refusal::Broken(_))), "{shown}");
    }

    #[track_caller]
    fn refused(&mut self, call: Call) -> String {
        match self.call(call) {
            Err(Refusal::Answer(error)) => error.code,
            other => panic!("{other:?}"),
        }
    }

    fn hand(&mut self, items: Vec<InboxItem>) -> InboxPage {
        let next_after = items.last().map_or(0, |item| item.seq);
        self.gate.hand_over(InboxPage { items, next_after }, &InboxQuery::default())
    }
}

fn send(to: impl Into<String>) -> Call {
    Call::Send(SendRequest { to: to.into(), payload: b"x".to_vec(), ..SendRequest::default() })
}

fn broadcast(topic: &str) -> Call {
    Call::Broadcast(BroadcastRequest { topic: topic.to_owned(), payload: b"x".to_vec(), ..Default::default() })
}

fn item(seq: u64, from: PeerId, topic: Option<&str>, text: &str) -> InboxItem {
    InboxItem { seq, payload: text.into(), ..message(from, topic) }
}

fn put(key: &[u8], value: usize) -> Call {
    Call::Commit(vec![StoreOp::Put { key: key.to_vec(), value: vec![0; value], expires_ms: None }])
}

#[test]
fn what_it_has_no_permission_for_it_cannot_do() {
    let mut nothing = case(&[]);
    let calls = [Call::Peers, Call::Routes, Call::Channels, send(EVE.to_string()), broadcast("news"), put(b"k", 1)];
    for (need, call) in relay_calls() {
        nothing.breaks(call.clone());
        assert!(case(&[need]).call(call.clone()).is_ok(), "{need}");
        case(&["relay:none", "source:other"]).breaks(call);
    }
    for call in calls.into_iter().chain([Call::Subscribe("news".to_owned())]) {
        nothing.breaks(call);
    }
    let mut all = case(&["peers", "routes", "channels", "send", "broadcast:news", "store", "listen:news"]);
    for call in [Call::Peers, Call::Routes, Call::Channels, send("bob"), broadcast("news"), put(b"k", 1)] {
        assert!(all.call(call).is_ok());
    }
    assert!(all.call(Call::Subscribe("news".to_owned())).is_ok());
    all.breaks(broadcast("board"));
    all.breaks(Call::Subscribe("board".to_owned()));
}

/// The calls of bots that look after a node, and what each wants.
fn relay_calls() -> [(&'static str, Call); 7] {
    let peer = || EVE.to_string();
    [
        ("relay:plugins", Call::Plugins),
        ("relay:plugins", Call::PluginSwap("x".to_owned(), None)),
        ("relay:store", Call::StoreStats),
        ("relay:trust", Call::SetTrust(peer(), Trust::Trusted)),
        ("relay", Call::LimitLink(peer(), None)),
        ("machine", Call::Machine),
        ("source:weather", Call::Source("weather".to_owned())),
    ]
}

#[test]
fn a_child_writes_no_more_to_the_disk_than_its_bot_may() {
    let mut case = case(&["store"]);
    let writes = (0..1_000).take_while(|_| case.call(put(b"k", 16 << 10)).is_ok()).count();
    assert!((200..300).contains(&writes), "4 MiB of 16 KiB: {writes}");
    assert_eq!(case.refused(put(b"k", 1)), "rate-limited");
}

#[test]
fn an_answer_goes_only_where_a_message_came_from() {
    let mut case = case(&["reply", "direct", "listen"]);
    case.breaks(send(EVE.to_string()));
    case.breaks(broadcast("board"));
    case.hand(vec![item(1, EVE, None, "hello"), item(2, BOB, Some("board"), "hello")]);
    assert!(
        case.call(send(EVE.to_string())).is_ok()
            && case.call(send(BOB.to_string())).is_ok()
            && case.call(broadcast("board")).is_ok()
    );
    case.breaks(send(PeerId([1; 32]).to_string()));
    case.breaks(send("bob"));
    case.breaks(broadcast("news"));
}

#[test]
fn what_was_not_handed_over_opens_no_way_to_answer() {
    let mut case = case(&["reply", "listen:board"]);
    case.hand(vec![item(1, EVE, None, "private"), item(2, BOB, Some("news"), "hello")]);
    case.breaks(send(EVE.to_string()));
    case.breaks(send(BOB.to_string()));
    case.breaks(broadcast("news"));
}

#[test]
fn every_message_is_marked_as_a_programs() {
    let mut case = case(&["send", "broadcast"]);
    assert!(matches!(case.call(send("bob")), Ok(Call::Send(request)) if request.automatic));
    assert!(matches!(case.call(broadcast("news")), Ok(Call::Broadcast(request)) if request.automatic));
}

#[test]
fn quotas_are_charged_at_the_host() {
    let mut case = case(&["send", "reply", "broadcast", "listen"]);
    for _ in 0..3 {
        assert!(case.call(send("bob")).is_ok());
    }
    assert_eq!(case.refused(send("bob")), "rate-limited");
    assert!(case.call(broadcast("news")).is_ok());
    assert_eq!(case.refused(broadcast("news")), "rate-limited");
    // To say that it is an answer brings nothing more.
    case.hand(vec![item(1, EVE, Some("news"), "hello")]);
    assert_eq!(case.refused(broadcast("news")), "rate-limited");
}

#[test]
fn what_people_asked_for_may_be_published_beyond_the_quota_of_broadcasts_once_each() {
    let mut case = case(&["direct", "broadcast"]);
    assert!(case.call(broadcast("board")).is_ok());
    assert_eq!(case.refused(broadcast("board")), "rate-limited");
    case.hand(vec![item(1, EVE, None, "!post hello"), InboxItem { automatic: true, ..item(2, BOB, None, "x") }]);
    assert!(case.call(broadcast("board")).is_ok());
    assert_eq!(case.refused(broadcast("board")), "rate-limited");
}

#[test]
fn messages_that_no_machine_sends_end_it() {
    let mut case = case(&["send"]);
    let request = SendRequest { to: "bob".into(), payload: vec![0; MAX_MESSAGE_BYTES + 1], ..SendRequest::default() };
    case.breaks(Call::Send(request));
    let request = SendRequest { to: "bob".into(), priority: Some(4), ..SendRequest::default() };
    case.breaks(Call::Send(request));
    assert_eq!(case.refused(send("x".repeat(NAME_BYTES + 1))), "bad-name");
}

#[test]
fn the_inbox_is_read_under_the_bots_own_name_and_in_small_pages() {
    let mut case = case(&[]);
    let reader = Some("user".to_owned());
    let asked = InboxQuery { reader, limit: 1_000_000, newest: true, wait_ms: 60_000, ..InboxQuery::default() };
    let Ok(Call::Inbox(query)) = case.call(Call::Inbox(asked)) else { panic!("refused") };
    assert_eq!((query.reader.as_deref(), query.limit, query.newest, query.wait_ms), (Some("bot:bot"), PAGE, false, 0));
}

#[test]
fn only_what_was_handed_over_can_be_acknowledged() {
    let mut case = case(&["direct"]);
    case.breaks(Call::InboxAck(1));
    case.hand(vec![item(1, EVE, None, "x"), item(2, EVE, None, "x")]);
    assert!(case.call(Call::InboxAck(2)).is_ok());
    case.breaks(Call::InboxAck(3));
    case.gate.handed_before(9);
    assert!(case.call(Call::InboxAck(9)).is_ok());
}

#[test]
fn a_look_back_at_a_channel_moves_no_place_and_shows_no_other_channel() {
    let mut case = case(&["listen:board"]);
    let of = |topic: &str| InboxQuery { topic: Some(topic.to_owned()), ..InboxQuery::default() };
    case.breaks(Call::Inbox(of("news")));
    let Ok(Call::Inbox(query)) = case.call(Call::Inbox(of("board"))) else { panic!("refused") };
    let page = InboxPage { items: vec![item(9, EVE, Some("board"), "post")], next_after: 9 };
    let page = case.gate.hand_over(page, &query);
    assert_eq!((page.items[0].payload.as_slice(), case.gate.handed()), (&b"post"[..], 0));
    case.breaks(Call::InboxAck(9));
}

#[test]
fn messages_that_are_not_for_the_bot_are_bare_places() {
    let mut case = case(&["listen:board"]);
    let own = InboxItem { own: true, automatic: true, ..item(3, EVE, Some("board"), "by a bot of this node") };
    let items = vec![item(1, EVE, None, "secret"), item(2, EVE, Some("news"), "secret"), own];
    let page = case.hand(items.into_iter().chain([item(4, BOB, Some("board"), "for it")]).collect());
    let seen: Vec<_> = page.items.iter().map(|item| (item.seq, item.payload.as_slice(), item.from)).collect();
    let nobody = PeerId([0; 32]);
    assert_eq!(seen, [(1, &b""[..], nobody), (2, b"", nobody), (3, b"", nobody), (4, b"for it", BOB)]);
    assert!(page.items[..3].iter().all(|item| item.problem.is_some() && item.topic.is_none()));
    assert_eq!(page.next_after, 4);
}

#[test]
fn what_its_own_nodes_programs_wrote_on_a_board_is_seen() {
    let mut case = case(&["listen:board"]);
    let own = |seq, topic| InboxItem { own: true, automatic: true, ..item(seq, EVE, topic, "!post by a program") };
    let page = case.hand(vec![own(1, Some("board")), own(2, Some("news")), own(3, None)]);
    let seen: Vec<bool> = page.items.iter().map(|item| item.problem.is_none()).collect();
    assert_eq!(seen, [true, false, false]);
}

#[test]
fn commands_are_seen_in_private_without_the_permission_to_read_everything() {
    let mut case = case(&["reply", "listen:board"]);
    case.gate.loaded(vec![offer("list")], vec!["board".into()]).unwrap();
    let page = case.hand(vec![item(1, EVE, None, "!list all"), item(2, EVE, None, "!other"), item(3, EVE, None, "x")]);
    assert!(page.items[0].problem.is_none() && page.items[1].problem.is_some() && page.items[2].problem.is_some());
}

#[test]
fn without_that_permission_it_sees_answers_to_its_questions_and_no_more() {
    let mut case = case(&["reply", "listen:board"]);
    let seen = |case: &mut Case, item| case.hand(vec![item]).items[0].problem.is_none();
    assert!(!seen(&mut case, item(1, EVE, None, "before")));
    case.gate.wrote(&EVE.to_string(), MessageId([1; 32]));
    assert!(!seen(&mut case, item(2, BOB, None, "somebody else")));
    assert!(seen(&mut case, item(3, EVE, None, "the answer")));
    assert!(!seen(&mut case, item(4, EVE, None, "one more")));
    case.gate.wrote(&EVE.to_string(), MessageId([2; 32]));
    let naming = |seq, id| InboxItem { reply_to: Some(MessageId([id; 32])), ..item(seq, EVE, None, "x") };
    assert!(!seen(&mut case, naming(5, 9)));
    assert!(seen(&mut case, naming(6, 2)));
}

#[test]
fn a_page_of_huge_messages_is_cut_and_goes_on_behind_the_cut() {
    let mut case = case(&["direct"]);
    let large = |seq| InboxItem { payload: vec![0; PAGE_BYTES / 2 + 1], ..message(EVE, None) }.at(seq);
    let page = case.hand(vec![large(1), large(2), large(3)]);
    assert_eq!((page.items.len(), page.next_after, case.gate.handed()), (1, 1, 1));
    let page = case.hand(vec![InboxItem { payload: vec![0; 2 * PAGE_BYTES], ..message(EVE, None) }.at(2), large(3)]);
    assert_eq!((page.items.len(), page.next_after), (1, 2));
}

trait At {
    fn at(self, seq: u64) -> Self;
}

impl At for InboxItem {
    fn at(self, seq: u64) -> Self {
        Self { seq, ..self }
    }
}

#[test]
fn the_store_takes_keys_of_the_bot_within_their_lengths() {
    let mut case = case(&["store"]);
    assert!(case.call(put(&[b'k'; STORE_KEY_BYTES], ScriptLimits::default().store_value_bytes)).is_ok());
    case.breaks(put(&[b'k'; STORE_KEY_BYTES + 1], 1));
    case.breaks(put(b"k", ScriptLimits::default().store_value_bytes + 1));
    case.breaks(put(b"", 1));
    case.breaks(put(&[HOST_PREFIX, b'x'], 1));
    case.breaks(Call::Commit(vec![StoreOp::Delete { key: vec![HOST_PREFIX, b'x'] }]));
}

fn offer(name: &str) -> Offer {
    Offer { name: name.to_owned(), help: String::new(), channels: Vec::new() }
}

#[test]
fn what_it_says_of_itself_is_checked_as_it_loads() {
    let mut case = case(&["reply", "listen:board"]);
    let broken = |result| matches!(result, Err(Refusal::Broken(_)));
    let elsewhere = Offer { channels: vec!["news".into()], ..offer("x") };
    assert!(broken(case.gate.loaded(vec![elsewhere], vec![])));
    assert!(broken(case.gate.loaded(vec![offer("x\n")], vec![])));
    assert!(broken(case.gate.loaded(vec![offer(&"x".repeat(33))], vec![])));
    assert!(broken(case.gate.loaded(vec![offer("x"); REGISTRATIONS + 1], vec![])));
    assert!(broken(case.gate.loaded(vec![], vec!["news".into()])));
    assert!(case.gate.loaded(vec![offer("list")], vec!["board".into()]).is_ok());
}

#[test]
fn live_events_reach_those_who_may_hear_them() {
    let event = |kind| LiveEvent { kind, peer: Some(EVE), name: None, id: None, detail: None };
    let (none, peers) = (case(&["direct"]), case(&["peers"]));
    assert!(!none.gate.hears(&event(LiveKind::PeerUp)) && peers.gate.hears(&event(LiveKind::PeerUp)));
    assert!(!peers.gate.hears(&event(LiveKind::RouteChange)));
}

#[test]
fn whom_the_node_writes_to_only_those_hear_who_may_see_peers() {
    let (none, peers) = (case(&["direct", "send"]), case(&["peers"]));
    for kind in [LiveKind::Delivered, LiveKind::Failed, LiveKind::Evicted] {
        let event = LiveEvent { kind, peer: Some(EVE), name: None, id: None, detail: None };
        assert!(!none.gate.hears(&event) && peers.gate.hears(&event));
    }
}

#[test]
fn addresses_and_invites_stay_at_the_host() {
    let channel = ChannelInfo {
        name: "board".into(),
        topic_id: TopicId([1; 32]),
        private: true,
        epoch: 0,
        subscribers: vec!["user".into()],
        invite: Some("secret".into()),
    };
    let link = LinkInfo {
        link: 1,
        transport: "quic".into(),
        remote: "192.0.2.1:7000".into(),
        outbound: true,
        rtt_us: Some(5),
        since_ms: 0,
        in_flight: 0,
        sent: 0,
        received: 0,
        relayed: false,
        loss_ppm: None,
        preferred: true,
    };
    let peer = PeerInfo {
        peer_id: Some(EVE),
        nickname: Some("eve".into()),
        trust: Trust::Known,
        addresses: vec!["quic://192.0.2.1:7000".into()],
        state: "up".into(),
        links: vec![link],
        last_seen_ms: None,
        last_error: Some("192.0.2.1 refused".into()),
        discovered: Vec::new(),
    };
    let stripped = [
        strip(Answer::Peers(vec![peer])),
        strip(Answer::Channel(Box::new(channel.clone()))),
        strip(Answer::Channels(vec![channel])),
    ];
    let shown = format!("{stripped:?}");
    assert!(!shown.contains("192.0.2.1") && !shown.contains("secret") && !shown.contains("user"), "{shown}");
    assert!(shown.contains("eve") && shown.contains("board") && shown.contains("Some(5)"));
}
