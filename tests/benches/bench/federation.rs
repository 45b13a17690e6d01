//! Relaying between domains, beside the same relaying over transport-quic, and beside a domain that takes nothing.

mod strangers;

use qpq_tests::domains::{Authority, Domain};
use qpq_tests::flow::ROOM;
use qpq_tests::{Line, Outcome, TestNode};
use rustix::process::Signal;

use crate::rate::median;
use crate::relay::full_speed;
use crate::report::{Goal, Report};

/// Turns; the median counts.
const TURNS: u64 = 3;

/// No quota, so that the relaying itself is measured.
const MORE: &str = "transit = true\nmessages_per_minute = 1000000000\nbytes_per_minute = 1099511627776\n";

/// Messages for the domain that takes nothing: more than a link has under way.
const STUCK: usize = 4_500;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let room = room();
    let line = Line::shaped(|plan| plan.config(room.clone()))?;
    line.wait_ways()?;
    let community = Authority::new("Valley")?;
    let [a, b, c, d] = ["a.mesh", "b.mesh", "c.mesh", "d.mesh"].map(Domain::new);
    let (a, b, c, d) = (a?, b?, c?, d?);
    let more = format!("{MORE}{room}");
    let gate_b = community.gateway(&b, &[], &more)?.start()?;
    let gate_a = community.gateway(&a, &[&b], &more)?.start()?;
    let gate_c = community.gateway(&c, &[&b], &more)?.start()?;
    let slow = community.gateway(&d, &[&b], &more)?.start()?;
    gate_b.wait_links(3)?;
    let (mut plain, mut between, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        plain.push(full_speed(&line.a, &line.c, 10 * turn)?);
        between.push(full_speed(&gate_a, &gate_c, 10 * turn + 2)?);
    }
    stop_with_mail(&gate_b, &slow)?;
    for turn in 0..TURNS {
        beside.push(full_speed(&gate_a, &gate_c, 10 * turn + 4)?);
    }
    slow.signal(Signal::CONT)?;
    let (plain, between, beside) = (median(plain), median(between), median(beside));
    report.add("A → B → C over transport-quic, durable at each", plain, "/s");
    let entry = report.add("the same between three domains over federation-capnp", between, "/s");
    entry.ratio_to(plain, "of transport-quic".to_owned()).goal(Goal::RatioAtLeast(0.7));
    let entry = report.add("the same beside a fourth domain that has stopped, with mail for it", beside, "/s");
    entry.ratio_to(between, "of the rate without".to_owned());
    strangers::measure(report)
}

/// Room for all that is sent, in the nodes as a whole too.
fn room() -> String {
    ROOM.replace("[store]\n", "[store]\ntotal_messages = 2000000\ntotal_bytes = 2147483648\n")
}

/// Stops a gateway, and leaves mail for it at another.
fn stop_with_mail(at: &TestNode, gateway: &TestNode) -> Outcome {
    let to = format!("{}@d.mesh", gateway.peer_id()?);
    gateway.signal(Signal::STOP)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = qpq_host::control::RemoteNode::connect(&at.home())?;
    runtime.block_on(async {
        for number in 0..STUCK {
            let payload = format!("for later {number}").into_bytes();
            let request = qpq_host::api::SendRequest { to: to.clone(), payload, ..Default::default() };
            qpq_host::api::NodeApi::send(&client, request).await?;
        }
        Ok(())
    })
}
