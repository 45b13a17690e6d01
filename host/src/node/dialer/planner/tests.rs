//! What is dialled when, under a virtual clock.

use rand::SeedableRng;

use super::*;

const ME: PeerId = PeerId([5; 32]);
const B: PeerId = PeerId([7; 32]);
const MIN: u64 = 500;
const MAX: u64 = 15_000;

/// A planner in a world that the test makes up.
struct Desk {
    planner: Planner,
    now: u64,
    links: Vec<Fact>,
    schemes: Vec<&'static str>,
    addresses: Vec<String>,
    blocked: Vec<PeerId>,
    next_link: LinkId,
}

impl Desk {
    fn new() -> Self {
        let limits = Limits { pauses: Pauses { min_ms: MIN, max_ms: MAX }, max_dials: 4, max_links: 8 };
        Self {
            planner: Planner::new(ME, limits, StdRng::seed_from_u64(3)),
            now: 1_000,
            links: Vec::new(),
            schemes: vec!["quic"],
            addresses: Vec::new(),
            blocked: Vec::new(),
            next_link: 1,
        }
    }

    fn step(&mut self) -> Vec<Dial> {
        let view = View {
            links: &self.links,
            serves: &|scheme| self.schemes.contains(&scheme),
            addresses: &|_| self.addresses.clone(),
            blocked: &|peer| self.blocked.contains(peer),
        };
        self.planner.step(self.now, &view)
    }

    /// The addresses that are dialled now.
    fn uris(&mut self) -> Vec<String> {
        self.step().into_iter().map(|dial| dial.uri).collect()
    }

    /// Lets time pass until something is dialled; the dials, and how long that took.
    fn wait(&mut self, at_most: u64) -> (Vec<Dial>, u64) {
        let began = self.now;
        loop {
            let dials = self.step();
            let next = self.planner.deadline_ms().unwrap_or(u64::MAX);
            if !dials.is_empty() || next.saturating_sub(began) > at_most {
                return (dials, self.now - began);
            }
            self.now = next.max(self.now + 1);
        }
    }

    fn fail(&mut self, dial: &Dial) {
        self.planner.done(dial.number, Err(End { reason: "refused".to_owned(), ..End::default() }), self.now);
    }

    /// The dial leads to a link with that peer.
    fn link(&mut self, dial: &Dial, peer: PeerId) -> LinkId {
        let link = self.links_up(peer, &dial.uri);
        self.planner.done(dial.number, Ok((link, peer)), self.now);
        link
    }

    fn links_up(&mut self, peer: PeerId, remote: &str) -> LinkId {
        self.next_link += 1;
        self.links.push(Fact { link: self.next_link, peer, remote: remote.to_owned(), outbound: true });
        self.next_link
    }

    fn unlink(&mut self, link: LinkId, code: Option<CloseCode>, lived_ms: u64) {
        let peer = self.links.iter().find(|fact| fact.link == link).map(|fact| fact.peer);
        self.links.retain(|fact| fact.link != link);
        self.planner.ended(link, &End { peer, code, reason: "ended".to_owned(), lived_ms }, self.now);
    }

    fn keep(&mut self, uri: &str) {
        assert_eq!(self.planner.keep(uri, self.now), Some(true));
    }

    fn state(&self, uri: &str) -> State {
        self.planner.servers()[uri].state
    }
}

fn one(dials: (Vec<Dial>, u64)) -> Dial {
    assert_eq!(dials.0.len(), 1, "{dials:?}");
    dials.0.into_iter().next().unwrap()
}

#[test]
fn a_server_is_dialled_at_once_and_again_with_growing_pauses() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    let mut waits = Vec::new();
    for _ in 0..9 {
        let (dials, wait) = desk.wait(60_000);
        waits.push(wait);
        desk.fail(&dials[0]);
    }
    assert_eq!(waits[0], 0);
    assert!(waits[1] <= MIN && waits[2] <= 2 * MIN, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= MAX) && waits[8] >= MAX / 2, "{waits:?}");
    assert_eq!(desk.planner.servers()["quic://b:1"].last_error.as_deref(), Some("refused"));
}

#[test]
fn a_good_link_that_ends_is_dialled_again_soon_and_a_short_one_later() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    for _ in 0..5 {
        let dial = one(desk.wait(60_000));
        let link = desk.link(&dial, B);
        assert!(desk.step().is_empty());
        desk.now += 1_000;
        desk.unlink(link, None, 1_000);
    }
    let (dials, wait) = desk.wait(60_000);
    assert!(wait >= 4 * MIN, "a link that never lasts is not dialled ever faster: {wait}");
    let link = desk.link(&dials[0], B);
    desk.unlink(link, None, 20_000);
    assert!(desk.wait(60_000).1 <= MIN);
}

#[test]
fn a_peer_that_restarts_its_transport_is_dialled_at_once_and_without_pauses() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    let dial = one(desk.wait(0));
    let link = desk.link(&dial, B);
    desk.unlink(link, Some(CloseCode::RESTARTING), 1_000);
    for _ in 0..20 {
        let (dials, wait) = desk.wait(60_000);
        assert!(wait <= 2, "{wait}");
        desk.fail(&dials[0]);
    }
    desk.now += 2_000;
    let dial = one(desk.wait(0));
    desk.fail(&dial);
    assert!(desk.wait(60_000).1 >= MIN / 2, "but not for ever");
}

#[test]
fn a_server_whose_link_goes_over_to_another_port_is_dialled_again_only_when_that_one_ends() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    let dial = one(desk.wait(0));
    let old = desk.link(&dial, B);
    let new = desk.links_up(B, "quic://b:2");
    desk.planner.moved(old, new);
    desk.unlink(old, Some(CloseCode::DUPLICATE), 1_000);
    assert!(desk.wait(600_000).0.is_empty());
    assert_eq!(desk.state("quic://b:1"), State::Up);
    desk.unlink(new, Some(CloseCode::RESTARTING), 1_000);
    let (dials, wait) = desk.wait(60_000);
    assert_eq!((dials[0].uri.as_str(), wait), ("quic://b:1", 0), "at the address that was noted");
}

#[test]
fn who_does_not_want_us_is_left_alone_for_the_longest_pause() {
    for code in [CloseCode::BLOCKED, CloseCode::SELF, CloseCode::VERSION] {
        let mut desk = Desk::new();
        desk.keep("quic://b:1");
        let dial = one(desk.wait(0));
        let link = desk.link(&dial, B);
        desk.unlink(link, Some(code), 100);
        assert!(desk.wait(60_000).1 >= MAX / 2);
    }
}

#[test]
fn a_changed_network_ends_all_pauses() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    for _ in 0..8 {
        let dial = one(desk.wait(60_000));
        desk.fail(&dial);
    }
    desk.planner.network_changed(desk.now);
    let (dials, wait) = desk.wait(60_000);
    assert!(wait <= SPREAD_MS, "{wait}");
    desk.fail(&dials[0]);
    assert!(desk.wait(60_000).1 <= MIN, "and begins with the shortest");
}

#[test]
fn a_link_of_the_other_side_serves_the_only_address_of_a_peer() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    let dial = one(desk.wait(0));
    let link = desk.link(&dial, B);
    let theirs = desk.links_up(B, "quic://10.9.9.9:55555");
    desk.unlink(link, Some(CloseCode::DUPLICATE), 100);
    assert!(desk.wait(60_000).0.is_empty());
    assert_eq!(desk.state("quic://b:1"), State::Up);
    desk.unlink(theirs, None, 60_000);
    assert_eq!(one(desk.wait(60_000)).uri, "quic://b:1");
}

#[test]
fn two_addresses_of_a_peer_on_different_networks_have_a_link_each() {
    let mut desk = Desk::new();
    desk.keep("quic://10.0.0.2:1");
    desk.keep("quic://10.1.0.2:1");
    let dials = desk.step();
    let links: Vec<LinkId> = dials.iter().map(|dial| desk.link(dial, B)).collect();
    assert!(desk.step().is_empty());
    desk.unlink(links[0], None, 60_000);
    assert_eq!(one(desk.wait(60_000)).uri, "quic://10.0.0.2:1", "the other link does not serve for this network");
    // The peer dials back over the first network: that serves as well.
    desk.links_up(B, "quic://10.0.0.2:40000");
    let dial = Dial { number: 3, uri: String::new(), peer: None };
    desk.planner.done(
        dial.number,
        Err(End { peer: Some(B), code: Some(CloseCode::DUPLICATE), ..End::default() }),
        desk.now,
    );
    assert!(desk.wait(60_000).0.is_empty());
}

#[test]
fn an_address_without_a_transport_says_so_and_is_dialled_when_there_is_one() {
    let mut desk = Desk::new();
    desk.keep("tin-can://b:1");
    assert!(desk.step().is_empty());
    assert_eq!(desk.state("tin-can://b:1"), State::NoTransport);
    let seen = |desk: &Desk, serves| desk.planner.servers()["tin-can://b:1"].clone().seen_now("tin-can://b:1", serves);
    let error = seen(&desk, false).last_error.unwrap();
    assert!(error.contains("tin-can://") && error.contains("plugins.load"), "{error}");
    let started = seen(&desk, true);
    assert_eq!((started.state, started.last_error), (State::Waiting, None), "also before anybody has looked");
    desk.schemes.push("tin-can");
    assert_eq!(desk.uris(), ["tin-can://b:1"]);
}

#[test]
fn no_more_dials_are_under_way_than_may_be_and_everyone_gets_a_turn() {
    let mut desk = Desk::new();
    (0..10).for_each(|n| desk.keep(&format!("quic://b{n}:1")));
    let first = desk.step();
    assert_eq!(first.len(), 4);
    assert!(desk.step().is_empty());
    desk.fail(&first[0]);
    let second = desk.uris();
    assert_eq!(second.len(), 1);
    assert!(first.iter().all(|dial| dial.uri != second[0]), "one that was not dialled yet comes first");
}

#[test]
fn a_forgotten_server_is_dialled_no_more() {
    let mut desk = Desk::new();
    desk.keep("quic://b:1");
    let dial = one(desk.wait(0));
    assert!(desk.planner.forget("quic://b:1").is_some());
    desk.fail(&dial);
    assert!(desk.wait(60_000).0.is_empty());
    assert!(desk.planner.forget("quic://b:1").is_none());
}

#[test]
fn servers_are_bounded() {
    let mut desk = Desk::new();
    (0..servers::MAX_SERVERS).for_each(|n| desk.keep(&format!("quic://b{n}:1")));
    assert_eq!(desk.planner.keep("quic://one-more:1", 0), None);
    assert_eq!(desk.planner.keep("quic://b0:1", 0), Some(false));
}

#[test]
fn a_found_peer_is_dialled_at_one_address_shortly_after_the_other() {
    let mut desk = Desk::new();
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned(), "quic://10.1.0.2:1".to_owned()], desk.now);
    let first = one(desk.wait(0));
    assert_eq!(first.peer, Some(B));
    let (second, wait) = desk.wait(60_000);
    assert_eq!((second.len(), wait), (1, 250));
    desk.link(&second[0], B);
    assert!(desk.wait(60_000).0.is_empty(), "linked");
    let link = desk.links[0].link;
    desk.unlink(link, None, 60_000);
    assert!(desk.wait(60_000).0.is_empty(), "the other dial is still under way");
    desk.fail(&first);
    assert_eq!(one(desk.wait(60_000)).peer, Some(B), "found still, so linked again");
}

#[test]
fn a_dial_that_fails_starts_the_next_one_at_once() {
    let mut desk = Desk::new();
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned(), "quic://10.1.0.2:1".to_owned()], desk.now);
    let first = one(desk.wait(0));
    desk.fail(&first);
    let (dials, wait) = desk.wait(60_000);
    assert_eq!((dials.len(), wait), (1, 0));
    desk.fail(&dials[0]);
    let (again, wait) = desk.wait(60_000);
    assert!((MIN / 2..=MIN).contains(&wait), "a round later: {wait}");
    assert_eq!(again.len(), 1);
}

#[test]
fn of_a_found_peer_one_link_by_each_transport_is_wanted() {
    let mut desk = Desk::new();
    desk.schemes.push("iroh");
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned(), format!("iroh://{B}?direct=10.0.0.2:2")], desk.now);
    let mut dialled = Vec::new();
    for _ in 0..2 {
        let dial = one(desk.wait(60_000));
        dialled.push(scheme_of(&dial.uri));
        desk.link(&dial, B);
    }
    dialled.sort();
    assert_eq!(dialled, ["iroh", "quic"]);
    assert!(desk.wait(100_000).0.is_empty());
}

fn scheme_of(uri: &str) -> String {
    super::super::address::scheme(uri).to_owned()
}

#[test]
fn a_found_peer_that_is_no_longer_announced_is_left_alone_in_the_end() {
    let mut desk = Desk::new();
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned()], desk.now);
    let dial = one(desk.wait(0));
    desk.fail(&dial);
    desk.planner.withdraw(&B);
    assert!(desk.wait(600_000).0.is_empty());
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned()], desk.now);
    let began = desk.now;
    while let (dials, _) = desk.wait(600_000)
        && let [dial] = dials.as_slice()
    {
        let dial = dial.clone();
        desk.fail(&dial);
        assert!(desk.now < began + 200_000, "its announcement has run out");
    }
}

#[test]
fn announcements_without_end_do_not_make_it_dial_without_end() {
    let mut desk = Desk::new();
    let mut dialled = 0;
    for port in 1..=1_000_u64 {
        desk.now += 10;
        desk.planner.suggest(B, &[format!("quic://10.0.0.2:{port}")], desk.now);
        for dial in desk.step() {
            dialled += 1;
            desk.fail(&dial);
        }
    }
    assert!(dialled < 100, "{dialled} dials in 10 s");
}

#[test]
fn mail_for_a_peer_dials_what_the_directory_knows_and_its_key() {
    let mut desk = Desk::new();
    desk.schemes.push("iroh");
    desk.addresses = (1..=4).map(|n| format!("quic://10.0.0.{n}:1")).collect();
    assert!(desk.planner.want(B, desk.now));
    assert!(!desk.planner.want(B, desk.now), "known already");
    let mut dialled = Vec::new();
    while dialled.len() < 5 {
        let dial = one(desk.wait(60_000));
        assert_eq!(dial.peer, Some(B));
        dialled.push(dial.uri.clone());
        desk.fail(&dial);
    }
    assert_eq!(dialled[2], format!("iroh://{B}"), "not behind all that may be outdated");
    assert!(desk.wait(3_000).0.len() == 1, "and again, while the mail waits");
    desk.links_up(B, "quic://10.9.9.9:5");
    assert!(desk.wait(60_000).0.is_empty(), "any link will do for mail");
}

#[test]
fn mail_that_no_longer_waits_is_dialled_for_no_more() {
    let mut desk = Desk::new();
    desk.addresses = vec!["quic://10.0.0.2:1".to_owned()];
    desk.planner.want(B, desk.now);
    let began = desk.now;
    while let (dials, _) = desk.wait(600_000)
        && let [dial] = dials.as_slice()
    {
        let dial = dial.clone();
        desk.fail(&dial);
        assert!(desk.now < began + 40_000);
    }
}

#[test]
fn blocked_peers_and_oneself_are_never_dialled() {
    let mut desk = Desk::new();
    desk.addresses = vec!["quic://10.0.0.2:1".to_owned()];
    desk.blocked.push(B);
    desk.planner.want(B, desk.now);
    desk.planner.want(ME, desk.now);
    desk.planner.suggest(ME, &["quic://10.0.0.2:1".to_owned()], desk.now);
    assert!(desk.wait(600_000).0.is_empty());
    desk.keep("quic://b:1");
    let dial = one(desk.wait(0));
    let link = desk.link(&dial, B);
    desk.unlink(link, None, 60_000);
    assert!(desk.wait(60_000).0.is_empty());
    assert_eq!(desk.state("quic://b:1"), State::Blocked);
}

#[test]
fn found_nodes_are_left_alone_while_many_links_are_up() {
    let mut desk = Desk::new();
    for n in 0..8 {
        desk.links_up(PeerId([n + 100; 32]), &format!("quic://10.2.0.{n}:1"));
    }
    desk.planner.suggest(B, &["quic://10.0.0.2:1".to_owned()], desk.now);
    assert!(desk.wait(60_000).0.is_empty());
    desk.addresses = vec!["quic://10.0.0.2:1".to_owned()];
    desk.planner.want(B, desk.now);
    assert_eq!(desk.wait(60_000).0.len(), 1, "mail is another matter");
}
