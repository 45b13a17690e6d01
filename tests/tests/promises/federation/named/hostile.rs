//! A name server that lies, or speaks nonsense.

use std::collections::BTreeSet;

use qpq_tests::dns::{Data, Packet, Record, Reply, SERVFAIL, TYPE_A, TYPE_SRV, answer};
use qpq_tests::lab::House;
use qpq_tests::{Outcome, ensure};

use super::{FIRST, SERVICE, search, service, wait_at};

/// Addresses of one domain that are looked up in one try, as the plugin's `MAX_ADDRESSES` says.
const MAX_TARGETS: usize = 4;

/// Records that lead to the gateway, so that whoever believes them has a link.
fn good(question: &[u8]) -> Vec<u8> {
    let data = service(0, 0, "one.b.mesh");
    answer(question, 0, &[Record { name: SERVICE.to_owned(), ttl: u32::MAX, data }])
}

fn changed(question: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut packet = good(question);
    packet.get_mut(at).map(|old| *old ^= byte).unwrap_or_default();
    packet
}

fn wrong_id(question: &[u8]) -> Vec<u8> {
    changed(question, 1, 1)
}

fn wrong_question(question: &[u8]) -> Vec<u8> {
    changed(question, 30, 1)
}

fn no_answer(question: &[u8]) -> Vec<u8> {
    question.to_vec()
}

/// The name of the target jumps to itself.
fn endless_name(question: &[u8]) -> Vec<u8> {
    let mut packet = answer(question, 0, &[]);
    packet.get_mut(7).map(|count| *count = 1).unwrap_or_default();
    let at = u16::try_from(packet.len() + 18).unwrap_or_default() | 0xc000;
    packet.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 0, 0x1b, 0x59]);
    packet.extend_from_slice(&at.to_be_bytes());
    packet
}

/// It ends in the middle of its record.
fn half(question: &[u8]) -> Vec<u8> {
    let mut packet = good(question);
    packet.truncate(packet.len() - 9);
    packet
}

/// More than a packet of the DNS may have, and more records than there are.
fn oversized(question: &[u8]) -> Vec<u8> {
    let mut packet = good(question);
    packet.get_mut(6..8).map(|count| count.fill(0xff)).unwrap_or_default();
    packet.resize(60_000, 0xff);
    packet
}

/// Cut off over UDP, and nonsense over TCP.
fn cut_off(question: &[u8]) -> Vec<u8> {
    changed(question, 2, 2)
}

fn random_bytes(question: &[u8]) -> Vec<u8> {
    question.iter().cycle().take(500).map(|byte| byte.wrapping_mul(167).wrapping_add(13)).collect()
}

/// Many more gateways than anybody has, each with a priority of its own, so that the first ones are always the same.
fn thousands() -> Vec<Data> {
    (0..1_500).map(|n| service(n, u16::MAX, &format!("h{n}.b.mesh"))).collect()
}

#[test]
fn a_hostile_name_server_costs_a_failed_look_up() -> Outcome {
    search("srvlies", |search| {
        let names = search.name_server()?;
        names.host("one.b.mesh", &House::address(FIRST));
        names.set("b.mesh", TYPE_A, Reply::Code(SERVFAIL));
        let all: [Packet; 8] =
            [wrong_id, wrong_question, no_answer, endless_name, half, oversized, cut_off, random_bytes];
        names.set(SERVICE, TYPE_SRV, Reply::Packets(all.to_vec()));
        let _first = search.gateway(FIRST)?;
        let asking = search.asking()?;
        let tried = |lie: &str| {
            let before = names.asked(SERVICE, TYPE_SRV);
            // The first of these may be of the try before.
            asking.wait(&format!("two tries more: {lie}"), || {
                Ok((names.asked(SERVICE, TYPE_SRV) >= before + 3).then_some(()))
            })?;
            ensure!(asking.json(&["status"])?["links"] == 0, "{lie}: it was believed");
            Ok(())
        };
        tried("all at once")?;
        for (number, lie) in all.into_iter().enumerate() {
            names.set(SERVICE, TYPE_SRV, Reply::Packets(vec![lie]));
            tried(&format!("number {number}"))?;
        }
        names.set(SERVICE, TYPE_SRV, Reply::Records(thousands()));
        tried("thousands of records")?;
        let looked_up: BTreeSet<_> = (0..1_500).filter(|n| names.asked(&format!("h{n}.b.mesh"), TYPE_A) > 0).collect();
        ensure!((1..=MAX_TARGETS).contains(&looked_up.len()), "{looked_up:?} were looked up");
        // The lies in front of an honest answer are not heard.
        names.set(SERVICE, TYPE_SRV, Reply::Packets(vec![wrong_id, wrong_question, random_bytes, half, good]));
        wait_at(&asking, &House::address(FIRST))
    })
}
