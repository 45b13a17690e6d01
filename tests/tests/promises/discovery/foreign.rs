//! Other implementations of multicast DNS: Avahi and python-zeroconf see us, and we see them.

use qpq_tests::lab::{Family, House};
use qpq_tests::{Outcome, TestNode, ensure, skip};
use serde_json::Value;

use super::{in_house, is_found, peers, plan};

/// Runs a D-Bus and an Avahi daemon of its own in the namespace, then what is in `$1`. `/run` is private there.
const AVAHI: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/dbus /run/avahi-daemon || exit 1
dbus-daemon --system --nofork --nopidfile >/run/dbus.log 2>&1 & dbus=$!
for n in $(seq 100); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
avahi-daemon --no-chroot --no-drop-root --no-rlimits >/run/avahi.log 2>&1 & avahi=$!
for n in $(seq 200); do avahi-daemon --check && break; sleep 0.05; done
sleep 0.5
eval "$1"
kill $avahi $dbus; wait
cat /run/avahi.log >&2
"#;

/// The interpreter that Debian's python3-zeroconf belongs to, or any that has the module.
fn zeroconf_python() -> Option<&'static str> {
    ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let tried = std::process::Command::new(python).args(["-c", "import zeroconf"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

fn has_avahi() -> bool {
    skip::has_program("avahi-daemon", "--version")
        && skip::has_program("avahi-browse", "--version")
        && skip::has_program("dbus-daemon", "--version")
}

fn in_avahi(house: &House, place: usize, script: &str) -> Outcome<(String, String)> {
    let output = house.command(place, "sh").args(["-c", AVAHI, "sh", script]).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// Waits until a node lists the stranger, which has no key, and says how to connect to it.
fn wait_stranger(node: &TestNode, server: &str) -> Outcome<Value> {
    let stranger = node.wait("the stranger is listed", || {
        let is_it =
            |peer: &Value| is_found(peer) && peer["peer_id"].is_null() && peer["discovered"][0]["server"] == server;
        Ok(peers(node)?.into_iter().find(is_it))
    })?;
    let table = node.cli(&["mesh", "peers"])?;
    ensure!(table.contains(&format!("mesh server {server}")), "there is no hint:\n{table}");
    Ok(stranger)
}

#[test]
fn avahi_sees_us_and_we_see_avahi() -> Outcome {
    if !has_avahi() {
        return skip::skip("avahi-daemon, avahi-utils or dbus is missing (make test-tools)");
    }
    in_house("avahi", 2, Family::V4, |house| {
        let node = plan(house, 0).config("domain = \"node1.mesh.local\"\n").start()?;
        let key = node.peer_id()?;
        let (seen, log) = in_avahi(house, 1, "timeout 20 avahi-browse -rpt _quicproquo._udp")?;
        let server = format!("\"server={}:7000\"", House::address(0));
        for wanted in ["\"ver=1\"", &server, "\"domain=node1.mesh.local\"", &format!("\"peer={key}\"")] {
            ensure!(seen.contains(wanted), "avahi-browse has no {wanted}:\n{seen}\n{log}");
        }
        std::thread::scope(|scope| {
            let publish = "timeout 15 avahi-publish -s 'Bob'\\''s node' _quicproquo._udp 7001 ver=1 \
                           server=10.88.0.2:7001 domain=bob.mesh.local";
            let publisher = scope.spawn(move || in_avahi(house, 1, publish).map_err(|failure| failure.to_string()));
            let stranger = wait_stranger(&node, "10.88.0.2:7001");
            let log = publisher.join();
            let stranger = stranger.map_err(|failure| node.failure(&format!("{failure}; Avahi said {log:?}")))?;
            ensure!(stranger["discovered"][0]["domain"] == "bob.mesh.local", "got {stranger}");
            Ok(())
        })
    })
}

/// Looks for nodes for ten seconds or until one is there, prints it, and announces one itself for fifteen.
const ZEROCONF: &str = r#"
import socket, sys, time
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf
TYPE = "_quicproquo._udp.local."
zc = Zeroconf(ip_version=IPVersion.V4Only, interfaces=[sys.argv[1]])
seen = []
class Listener:
    def add_service(self, zc, kind, name): seen.append(name)
    def update_service(self, zc, kind, name): pass
    def remove_service(self, zc, kind, name): pass
browser = ServiceBrowser(zc, TYPE, Listener())
for _ in range(100):
    if seen: break
    time.sleep(0.1)
for name in seen:
    info = zc.get_service_info(TYPE, name, timeout=5000)
    for key, value in sorted((info.properties if info else {}).items()):
        print(key.decode() + "=" + (value or b"").decode())
sys.stdout.flush()
mine = ServiceInfo(TYPE, "python." + TYPE, addresses=[socket.inet_aton(sys.argv[1])], port=7002,
                   properties={"ver": "1", "server": sys.argv[1] + ":7002"}, server="python-node.local.")
zc.register_service(mine)
time.sleep(15)
zc.close()
"#;

#[test]
fn python_zeroconf_sees_us_and_we_see_it() -> Outcome {
    let Some(python) = zeroconf_python() else {
        return skip::skip("python3-zeroconf is missing (make test-tools)");
    };
    in_house("python", 2, Family::V4, |house| {
        let node = plan(house, 0).start()?;
        let key = node.peer_id()?;
        let output = std::thread::scope(|scope| {
            let run = scope.spawn(|| house.command(1, python).args(["-c", ZEROCONF, &House::address(1)]).output());
            let stranger = wait_stranger(&node, "10.88.0.2:7002");
            let output = run.join();
            stranger.map_err(|failure| node.failure(&format!("{failure}; Python said {output:?}")))?;
            match output {
                Ok(Ok(output)) => Ok(output),
                other => Err(node.failure(&format!("Python did not run: {other:?}"))),
            }
        })?;
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        for wanted in ["ver=1".to_owned(), format!("server={}:7000", House::address(0)), format!("peer={key}")] {
            ensure!(
                seen.contains(&wanted),
                "zeroconf has no {wanted}:\n{seen}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    })
}
