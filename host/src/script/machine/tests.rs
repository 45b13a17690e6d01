use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;

/// Speaks as babeld does: greets, and answers `dump`.
fn babeld(path: &Path, answer: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"BABEL 1.0\nversion babeld-1.13\nhost node\nmy-id 02:00:00:ff:fe:00:00:01\nok\n").unwrap();
        let mut command = [0; 5];
        stream.read_exact(&mut command).unwrap();
        assert_eq!(&command, b"dump\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
}

const DUMP: &str = "add interface wlan0 up true ipv6 fe80::1\n\
    add neighbour 5ad0 address fe80::2 if wlan0 reach ff00 ureach 0000 rxcost 96 txcost 96 cost 96\n\
    add neighbour broken\n\
    add route 5ae0 prefix 0.0.0.0/0 from 0.0.0.0/0 installed yes id 02:aa metric 96 refmetric 0 via fe80::2 if wlan0\n\
    add route 5ae1 prefix 10.1.0.0/16 from 0.0.0.0/0 installed yes id 02:bb metric 200 refmetric 9 via fe80::2 if wlan0\n\
    ok\n";

#[tokio::test]
async fn babeld_is_read_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("babel.sock");
    babeld(&path, DUMP);
    let machine = Arc::new(Machine::new(Some(path.to_str().unwrap().to_owned()), None));
    let report = machine.look().await.unwrap();
    assert!(report.sources.contains(&"babel".to_owned()), "{report:?}");
    let first = &report.neighbours[0];
    assert_eq!((first.address.as_str(), first.interface.as_str()), ("fe80::2", "wlan0"));
    assert_eq!((first.cost, first.quality), (Some(96), Some(0.5)));
    assert_eq!(report.routes, 2);
    let gateway = &report.gateways[0];
    assert_eq!((gateway.address.as_str(), gateway.via.as_str()), ("02:aa", "fe80::2"));
    assert_eq!(machine.look().await.unwrap(), report, "asked again at once, it is not asked again");
}

#[test]
fn of_all_who_ask_at_once_one_looks_and_the_others_keep_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("babel.sock");
    let hangs = UnixListener::bind(&path).unwrap();
    let machine = Arc::new(Machine::new(Some(path.to_str().unwrap().to_owned()), None));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let ask = |_| {
            let machine = Arc::clone(&machine);
            tokio::spawn(async move { machine.look().await.unwrap() })
        };
        let asked: Vec<_> = (0..20).map(ask).collect();
        tokio::task::yield_now().await;
        // What else blocks has a thread meanwhile.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert!(asked.iter().all(|one| !one.is_finished()));
        drop(hangs);
        for one in asked {
            assert!(one.await.unwrap().problems[0].starts_with("babeld"));
        }
    });
}

#[tokio::test]
async fn batctl_is_asked_for_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("batctl");
    let program = r#"#!/bin/sh
case "$1" in
neighbors_json) echo '[{"hard_ifindex":3,"hard_ifname":"eth0","last_seen_msecs":120,"neigh_address":"02:01","throughput":54000}]' ;;
gateways_json) echo '[{"orig_address":"02:09","router":"02:01","best":true}]' ;;
*) exit 1 ;;
esac
"#;
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let report = Arc::new(Machine::new(Some("/nowhere".to_owned()), Some(path))).look().await.unwrap();
    assert_eq!(report.sources, ["batman"]);
    assert!(report.problems[0].starts_with("babeld at /nowhere"), "{report:?}");
    assert_eq!((report.neighbours[0].kbit, report.neighbours[0].seen_ms), (Some(54_000), Some(120)));
    assert_eq!((report.gateways[0].address.as_str(), report.gateways[0].via.as_str()), ("02:09", "02:01"));
}

#[tokio::test]
async fn nonsense_is_a_problem_told_and_nothing_worse() {
    let mut report = MachineReport::default();
    babel::read("add\nadd neighbour\nadd route 1 prefix\n\0\u{1b}[31m add neighbour x if\n", &mut report);
    assert!(batman::read("[{}]", "[]", &mut report).is_err());
    assert!(batman::read("no json", "[]", &mut report).is_err());
    let none = Arc::new(Machine::new(None, Some("/nowhere/batctl".into()))).look().await.unwrap();
    assert_eq!((none.sources.len(), none.problems.len()), (0, 1), "{none:?}");
}
