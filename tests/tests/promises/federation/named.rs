//! A gateway that knows nothing but the name of another domain finds it in the DNS, whatever name servers do.

mod dnsmasq;
mod hostile;

use qpq_tests::dns::{Data, NXDOMAIN, NameServer, Reply, SERVFAIL, TYPE_A, TYPE_AAAA, TYPE_SRV};
use qpq_tests::domains::{self, Authority};
use qpq_tests::lab::{Family, House};
use qpq_tests::skip::skip;
use qpq_tests::{Outcome, TestNode, ensure};

use super::exchange;

/// Under this name a domain says where its gateways are.
const SERVICE: &str = "_quicproquo-federation._udp.b.mesh";
/// The machines of a house: who asks, two gateways of the domain that is asked for, and the name server.
const ASKS: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;
const NAMES: usize = 3;
const MACHINES: usize = 4;

/// Impatient, so that a test sees several tries.
const IMPATIENT: &str = "[links]\nredial_min_ms = 50\nredial_max_ms = 200\n\
                         [plugins.federation-capnp]\nhandshake_timeout_ms = 2000\n";

/// A network in which one gateway looks for another domain by its name.
struct Search {
    house: House,
    community: Authority,
}

impl Search {
    fn new(label: &str) -> Outcome<Self> {
        let house = House::new(label, MACHINES, Family::V4)?;
        house.resolv_conf(ASKS, &format!("nameserver {}\n", House::address(NAMES)))?;
        Ok(Self { house, community: Authority::new("Valley")? })
    }

    /// The name server, which knows nothing yet.
    fn name_server(&self) -> Outcome<NameServer> {
        NameServer::start(self.house.namespace(NAMES), &House::address(NAMES))
    }

    /// Who looks for b.mesh.
    fn asking(&self) -> Outcome<TestNode> {
        self.asking_for(&["b.mesh"], IMPATIENT)
    }

    /// Who looks for several domains.
    fn asking_for(&self, domains: &[&str], more: &str) -> Outcome<TestNode> {
        self.community.gateway_in(self.house.namespace(ASKS), "a.mesh", domains, more)?.start()
    }

    /// A gateway of b.mesh.
    fn gateway(&self, machine: usize) -> Outcome<TestNode> {
        self.community.gateway_in(self.house.namespace(machine), "b.mesh", &[], "")?.start()
    }
}

/// Runs `check` in such a network.
fn search(label: &str, check: impl FnOnce(&Search) -> Outcome) -> Outcome {
    match House::missing() {
        Some(why) => skip(why),
        None => check(&Search::new(label)?),
    }
}

fn service(priority: u16, weight: u16, target: &str) -> Data {
    Data::Srv { priority, weight, port: 7001, target: target.to_owned() }
}

/// Waits until a link leads to b.mesh at a machine.
fn wait_at(node: &TestNode, address: &str) -> Outcome {
    let wanted = format!("federation://b.mesh@{address}:7001");
    node.wait(&format!("a link to {wanted}"), || {
        let status = node.json(&["federation", "status"])?;
        let mut domains = status["domains"].as_array().into_iter().flatten();
        Ok(domains.any(|domain| domain["state"] == "up" && domain["remote"] == wanted).then_some(()))
    })
}

/// Waits until b.mesh is not reached, for a reason with that text in it.
fn wait_error(node: &TestNode, text: &str) -> Outcome {
    node.wait(&format!("the reason, {text:?}"), || {
        Ok(domains::last_error(node, "b.mesh")?.filter(|error| error.contains(text)))
    })?;
    ensure!(domains::linked(node)?.is_empty(), "it is linked all the same");
    Ok(())
}

#[test]
fn a_domain_is_found_by_its_name_and_again_when_its_record_changes() -> Outcome {
    search("srv", |search| {
        let names = search.name_server()?;
        names.host("one.b.mesh", &House::address(FIRST));
        names.host("two.b.mesh", &House::address(SECOND));
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(20, 9, "one.b.mesh"), service(10, 1, "two.b.mesh")]));
        let (first, mut second) = (search.gateway(FIRST)?, search.gateway(SECOND)?);
        let asking = search.asking()?;
        wait_at(&asking, &House::address(SECOND))?;
        exchange(&asking, &second, "b.mesh")?;
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(0, 0, "one.b.mesh")]));
        second.terminate()?;
        wait_at(&asking, &House::address(FIRST))?;
        exchange(&asking, &first, "b.mesh")
    })
}

/// The first has more addresses than are tried, and the second no address at all.
#[test]
fn when_the_first_gateway_is_dead_the_next_one_is_used() -> Outcome {
    search("srvdead", |search| {
        let names = search.name_server()?;
        let dead = (0..6).map(|n| Data::A([10, 88, 0, 200 + n].into())).collect();
        names.set("dead.b.mesh", TYPE_A, Reply::Records(dead));
        names.host("one.b.mesh", &House::address(FIRST));
        let services = vec![service(0, 0, "dead.b.mesh"), service(1, 0, "gone.b.mesh"), service(2, 0, "one.b.mesh")];
        names.set(SERVICE, TYPE_SRV, Reply::Records(services));
        let first = search.gateway(FIRST)?;
        let asking = search.asking()?;
        wait_at(&asking, &House::address(FIRST))?;
        exchange(&asking, &first, "b.mesh")
    })
}

/// The domain's own address leads to a gateway, which may be tried only where there is no record.
#[test]
fn a_domain_that_offers_no_federation_is_not_dialled() -> Outcome {
    search("srvdot", |search| {
        let names = search.name_server()?;
        names.host("b.mesh", &House::address(FIRST));
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(0, 0, "")]));
        let _first = search.gateway(FIRST)?;
        let asking = search.asking()?;
        wait_error(&asking, "not-offered: b.mesh")?;
        ensure!(names.asked("b.mesh", TYPE_A) == 0, "its own address was looked up");
        names.set(SERVICE, TYPE_SRV, Reply::Records(Vec::new()));
        wait_at(&asking, &House::address(FIRST))
    })
}

#[test]
fn a_name_server_in_trouble_is_named_and_asked_again() -> Outcome {
    search("srvtrouble", |search| {
        let names = search.name_server()?;
        names.host("one.b.mesh", &House::address(FIRST));
        let _first = search.gateway(FIRST)?;
        let asking = search.asking()?;
        wait_error(&asking, "\"b.mesh\" could not be found")?;
        for (reply, told) in [
            (Reply::Code(SERVFAIL), "10.88.0.4 has trouble: SERVFAIL"),
            (Reply::Silence, "10.88.0.4 does not answer"),
            (Reply::Code(NXDOMAIN), "could not be found"),
        ] {
            names.set(SERVICE, TYPE_SRV, reply);
            wait_error(&asking, told)?;
        }
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(0, 0, "one.b.mesh")]));
        wait_at(&asking, &House::address(FIRST))
    })
}

/// The system waits five seconds for it each time, which once was all the time that there is.
#[test]
fn when_the_first_name_server_is_dead_the_next_one_is_asked() -> Outcome {
    search("srvnext", |search| {
        let conf = [SECOND, NAMES].map(|place| format!("nameserver {}\n", House::address(place))).concat();
        search.house.resolv_conf(ASKS, &conf)?;
        let dead = NameServer::start(search.house.namespace(SECOND), &House::address(SECOND))?;
        for (name, kind) in [(SERVICE, TYPE_SRV), ("one.b.mesh", TYPE_A), ("one.b.mesh", TYPE_AAAA)] {
            dead.set(name, kind, Reply::Silence);
        }
        let names = search.name_server()?;
        names.host("one.b.mesh", &House::address(FIRST));
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(0, 0, "one.b.mesh")]));
        let _first = search.gateway(FIRST)?;
        wait_at(&search.asking_for(&["b.mesh"], "")?, &House::address(FIRST))
    })
}

/// Each look-up by the system holds a thread for ten seconds then.
#[test]
fn domains_whose_hosts_nobody_answers_for_hold_up_no_other() -> Outcome {
    search("srvhole", |search| {
        let names = search.name_server()?;
        let holes = ["x.mesh", "y.mesh", "z.mesh"];
        for hole in holes {
            let hosts: Vec<_> = (0..4).map(|n| format!("h{n}.{hole}")).collect();
            hosts.iter().for_each(|host| names.set(host, TYPE_A, Reply::Silence));
            let services = hosts.iter().map(|host| service(0, 0, host)).collect();
            names.set(&format!("_quicproquo-federation._udp.{hole}"), TYPE_SRV, Reply::Records(services));
        }
        names.host("one.b.mesh", &House::address(FIRST));
        let _first = search.gateway(FIRST)?;
        let asking = search.asking_for(&[&holes[..], &["b.mesh"]].concat(), IMPATIENT)?;
        for hole in holes {
            asking.wait("the holes are tried", || domains::last_error(&asking, hole))?;
        }
        names.set(SERVICE, TYPE_SRV, Reply::Records(vec![service(0, 0, "one.b.mesh")]));
        wait_at(&asking, &House::address(FIRST))
    })
}
