//! One node, and neighbours that say whatever they like.

mod hostile;
mod restless;
mod room;
mod sizes;
mod spray;
mod swapped;

use qpq_schemas::signature::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::record::NO_END;
use crate::table::Told;
use crate::wire::{About, Message, Reader, Writer};

const START_MS: u64 = 1_768_435_200_000;
/// The instance that all neighbours say they are.
const THEIRS: u64 = 4_711;

/// A node under test, its time, and what it sent last.
struct Bench {
    babel: Babel,
    now_ms: u64,
    out: Output,
}

impl Bench {
    fn new(config: &Value) -> Self {
        let own = signing(0);
        let key = own.public().0;
        let signer = Box::new(move |message: &[u8]| Some(crate::testing::sign(&own, message)));
        let babel = Babel::new(Settings::read(config).unwrap(), key, signer, 1, START_MS);
        Self { babel, now_ms: START_MS, out: Output::default() }
    }

    /// A neighbour over the link of the same number, which has shaken hands.
    fn neighbour(&mut self, n: u64) {
        self.link_up(n);
        let yours = self.babel.instance;
        self.says(
            n,
            &[
                Message::Hello { instance: THEIRS, yours, want: true, further: false, swapped: false, age_ms: 0 },
                Message::Begin,
                Message::End,
            ],
        );
    }

    fn link_up(&mut self, n: u64) {
        self.out = Output::default();
        self.babel.link_up(self.now_ms, n, signing(n).public().0, &mut self.out);
    }

    fn says(&mut self, n: u64, messages: &[Message]) {
        let mut writer = Writer::default();
        messages.iter().for_each(|message| writer.push(message));
        for frame in writer.frames() {
            self.babel.control(self.now_ms, n, &frame, &mut self.out);
        }
    }

    /// Lets time pass, a millisecond at a time where something is due.
    fn wait(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let next = self.babel.tick(self.now_ms, &mut self.out).max(self.now_ms + 1);
            if next > end {
                break;
            }
            self.now_ms = next;
        }
        self.now_ms = end;
    }

    /// All messages to a neighbour since the last time.
    fn heard_by(&mut self, n: u64) -> Vec<Message> {
        let (to, others) = std::mem::take(&mut self.out.control).into_iter().partition(|(link, _)| *link == n);
        self.out.control = others;
        let to: Vec<(u64, Vec<u8>)> = to;
        to.iter().flat_map(|(_, frame)| Reader::new(frame).unwrap()).map(Result::unwrap).collect()
    }

    fn way_to(&mut self, n: u64) -> Answer {
        let query = Query { destination: signing(n).public().0, broadcast: false, from: None };
        self.babel.route(self.now_ms, &query)
    }

    fn counter(&self, name: &str) -> u64 {
        self.babel.dump()["counters"][name].as_u64().unwrap()
    }
}

fn signing(n: u64) -> SigningKey {
    let mut seed = [5; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    SigningKey::from_seed(&seed)
}

fn record(n: u64, seqno: u64) -> Record {
    let message = crate::record::message(seqno, NO_END);
    Record { seqno, not_after: NO_END, signature: crate::testing::sign(&signing(n), &message) }
}

/// What an honest neighbour says the first time.
fn way(n: u64, seqno: u64, metric: u32, hops: u8) -> Message {
    let about = About { number: n as RowId, key: Some(signing(n).public().0), record: Some(record(n, seqno)) };
    Message::Way(about, Told { seqno, metric, hops })
}

/// What it says the next times.
fn again(n: u64, seqno: u64, metric: u32) -> Message {
    Message::Way(About { number: n as RowId, key: None, record: None }, Told { seqno, metric, hops: 2 })
}

#[test]
fn the_table_shows_what_the_readme_says() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    bench.says(1, &[way(9, 5, 100, 1)]);
    bench.says(2, &[way(9, 5, 300, 3)]);
    bench.wait(1_000);
    let dump = bench.babel.dump();
    let row = &dump["routes"][0];
    assert_eq!(row["state"], "selected");
    assert_eq!((&row["link"], &row["hops"], &row["seqno"]), (&json!(1), &json!(2), &json!(5)));
    assert_eq!(row["metric"], row["feasibility"]["metric"]);
    assert_eq!(row["alternatives"][0]["feasible"], false);
    assert_eq!(row["alternatives"].as_array().unwrap().len(), 1);
    assert_eq!(dump["links"].as_array().unwrap().len(), 2);
    assert!(dump["state_bytes"].as_u64().unwrap() > 0);
    bench.says(1, &[Message::Retraction(9)]);
    assert_eq!(bench.babel.dump()["routes"][0]["state"], "starved");
    bench.says(2, &[Message::Retraction(9)]);
    let dump = bench.babel.dump();
    assert_eq!(dump["routes"][0]["state"], "retracted");
    assert!(dump["routes"][0].get("next_hop").is_none());
}

#[test]
fn a_changed_way_is_named_in_the_call_that_changed_it() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let nine = signing(9).public().0;
    bench.says(1, &[way(9, 5, 100, 1)]);
    assert!(bench.out.changed.contains(&nine));
    bench.out = Output::default();
    bench.says(1, &[again(9, 5, 110)]);
    assert!(bench.out.changed.is_empty(), "the same way");
    bench.says(1, &[Message::Retraction(9)]);
    assert_eq!(bench.out.changed, [nine]);
    bench.out = Output::default();
    bench.babel.link_down(bench.now_ms, 1, &mut bench.out);
    assert_eq!(bench.out.changed, [signing(1).public().0]);
}

#[test]
fn a_record_goes_once_over_a_link_and_not_back_to_who_told_it() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    bench.heard_by(2);
    bench.heard_by(1);
    let ways_to_2 = |bench: &mut Bench| -> Vec<(bool, bool)> {
        let ways = bench.heard_by(2).into_iter().filter_map(|message| match message {
            Message::Way(about, _) => Some((about.key.is_some(), about.record.is_some())),
            _ => None,
        });
        ways.collect()
    };
    bench.says(1, &[way(9, 5, 100, 1)]);
    bench.wait(50);
    assert_eq!(ways_to_2(&mut bench), [(true, true)]);
    bench.says(1, &[again(9, 5, 10)]);
    bench.wait(200);
    assert_eq!(ways_to_2(&mut bench), [(false, false)]);
    bench.says(1, &[way(9, 6, 10, 1)]);
    bench.wait(10_000);
    assert_eq!(ways_to_2(&mut bench), [(false, true)]);
    assert!(!bench.heard_by(1).iter().any(|message| matches!(message, Message::Way(..))), "it is the next hop");
}

#[test]
fn only_the_sequence_number_changed_so_it_waits_unless_it_was_asked_for() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    bench.says(1, &[way(9, 5, 100, 1)]);
    bench.wait(1_000);
    bench.heard_by(2);
    bench.says(1, &[way(9, 6, 100, 1)]);
    bench.wait(1_900);
    assert_eq!(bench.heard_by(2), []);
    let row = bench.babel.table.find(&signing(9).public().0).unwrap();
    let about = About { number: 3, key: Some(signing(9).public().0), record: None };
    bench.says(2, &[Message::Request { about, seqno: 6, ttl: 9 }]);
    bench.wait(20);
    let told = bench.heard_by(2);
    assert!(matches!(told[..], [Message::Way(about, Told { seqno: 6, .. })] if about.number == row), "{told:?}");
}

#[test]
fn a_request_goes_towards_the_origin_once() {
    let mut bench = Bench::new(&json!({}));
    (1..=3).for_each(|n| bench.neighbour(n));
    bench.says(1, &[way(9, 5, 100, 1)]);
    bench.wait(1_000);
    bench.heard_by(1);
    let request = |ttl| {
        let about = About { number: 3, key: Some(signing(9).public().0), record: None };
        Message::Request { about, seqno: 6, ttl }
    };
    bench.says(2, &[request(1)]);
    assert_eq!(bench.heard_by(1), [], "its way ends here");
    bench.says(2, &[request(9), request(9)]);
    bench.says(3, &[request(9)]);
    let passed_on = bench.heard_by(1);
    assert!(matches!(passed_on[..], [Message::Request { seqno: 6, ttl: 8, .. }]), "{passed_on:?}");
    bench.wait(60);
    bench.says(3, &[request(9)]);
    assert_eq!(bench.heard_by(1).len(), 1, "again, in case the first was lost");
}
