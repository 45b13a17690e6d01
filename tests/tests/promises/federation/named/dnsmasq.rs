//! The same with a name server that others have written, dnsmasq: it can't share our misunderstandings.

use std::process::{Child, Stdio};

use qpq_tests::lab::House;
use qpq_tests::skip::{has_program, skip};
use qpq_tests::{Outcome, ensure};

use super::{FIRST, NAMES, SECOND, SERVICE, Search, exchange, search, wait_at, wait_error};

/// A process that is killed when it goes out of scope.
struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Dnsmasq {
    /// Starts it with nothing but these settings. Where it has not begun to answer, it is asked again.
    fn start(search: &Search, settings: &[String]) -> Outcome<Self> {
        let address = House::address(NAMES);
        let mut command = search.house.command(NAMES, "dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]);
        command.args(["--user=root", "--log-facility=-", "--local-ttl=1", "--bind-interfaces"]);
        command.arg(format!("--listen-address={address}")).args(settings).stdin(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

/// Knows all of `.mesh`.
fn local(settings: &[String]) -> Vec<String> {
    [&["--local=/mesh/".to_owned()], settings].concat()
}

fn service(target: &str, priority: usize, weight: usize) -> String {
    format!("--srv-host={SERVICE},{target},7001,{priority},{weight}")
}

fn host(name: &str, address: &str) -> String {
    format!("--host-record={name},{address}")
}

fn with_dnsmasq(label: &str, check: impl FnOnce(&Search) -> Outcome) -> Outcome {
    if !has_program("dnsmasq", "--version") {
        return skip("dnsmasq is missing (make test-tools)");
    }
    search(label, check)
}

/// More gateways than fit into a packet of 512 bytes, so they are fetched over TCP. The best ones are dead.
#[test]
fn dnsmasq_leads_to_the_best_living_gateway_of_many_and_to_the_new_address() -> Outcome {
    with_dnsmasq("srvmasq", |search| {
        let spare = |n: usize| {
            let name = format!("spare-gateway-{n}.b.mesh");
            [service(&name, 30 + n, n), host(&name, &House::address(SECOND))]
        };
        let mut records: Vec<_> = (0..20).flat_map(spare).collect();
        records.extend([service("dead.b.mesh", 10, 60), service("gone.b.mesh", 10, 0), service("live.b.mesh", 20, 5)]);
        records.extend([service("late.b.mesh", 25, 0), host("late.b.mesh", "10.88.0.201")]);
        records.extend([host("dead.b.mesh", "10.88.0.200"), host("live.b.mesh", &House::address(FIRST))]);
        records.extend((20..40).flat_map(spare));
        let names = Dnsmasq::start(search, &local(&records))?;
        let (mut first, second) = (search.gateway(FIRST)?, search.gateway(SECOND)?);
        let asking = search.asking()?;
        wait_at(&asking, &House::address(FIRST))?;
        exchange(&asking, &first, "b.mesh")?;
        drop(names);
        let moved = [service("live.b.mesh", 20, 5), host("live.b.mesh", &House::address(SECOND))];
        let _names = Dnsmasq::start(search, &local(&moved))?;
        first.terminate()?;
        wait_at(&asking, &House::address(SECOND))?;
        exchange(&asking, &second, "b.mesh")
    })
}

#[test]
fn what_dnsmasq_refuses_or_does_not_know_is_told_as_it_is() -> Outcome {
    with_dnsmasq("srvmasqno", |search| {
        let asking = search.asking()?;
        wait_error(&asking, "name server 10.88.0.4")?;
        let _first = search.gateway(FIRST)?;
        let itself = host("b.mesh", &House::address(FIRST));
        for (settings, told) in [
            (Vec::new(), "has trouble: REFUSED"),
            (local(&[]), "could not be found"),
            (local(&[format!("--srv-host={SERVICE}"), itself.clone()]), "not-offered"),
        ] {
            let mut names = Dnsmasq::start(search, &settings)?;
            wait_error(&asking, told)?;
            ensure!(matches!(names.0.try_wait(), Ok(None)), "dnsmasq has ended by itself");
            // So that no look-up asks this one first and then the next one.
            drop(names);
            wait_error(&asking, "can't be reached")?;
        }
        let _names = Dnsmasq::start(search, &local(&[itself]))?;
        wait_at(&asking, &House::address(FIRST))
    })
}
