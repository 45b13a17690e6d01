//! The life of a process, with a node in memory.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::*;
use crate::api::*;
use crate::control::RemoteNode;
use crate::control::testing::Double;

fn up(text: &[&str]) -> UpArgs {
    use clap::Parser;
    let words = ["qpq", "up"].iter().chain(text);
    match super::super::args::Cli::parse_from(words).command {
        Some(super::super::args::Command::Up(up)) => up,
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_become_configuration() {
    let home = tempfile::tempdir().unwrap();
    let up =
        up(&["--listen", "127.0.0.1:1", "--peer", "a:2", "--peer", "b:3", "--log", "json", "--set", "links.max=64"]);
    let config = load(home.path(), &up).unwrap().config;
    assert_eq!(config.node.listen, ["quic://127.0.0.1:1"]);
    assert_eq!(config.node.peers, ["quic://a:2", "quic://b:3"]);
    assert_eq!(config.links.max, 64);
    assert_eq!(config.log.format, crate::config::LogFormat::Json);
}

#[test]
fn a_wrong_flag_is_a_bad_configuration() {
    let home = tempfile::tempdir().unwrap();
    let failure = load(home.path(), &up(&["--set", "links.maxx=1"])).unwrap_err();
    assert_eq!(failure.exit_code(), 78);
    assert_eq!(failure.to_string(), "flag --set: there is no key `links.maxx`; did you mean `links.max`?");
}

/// A node in memory that stops when it is told to, unless it hangs.
fn node(hangs: bool) -> Running {
    let double = Arc::new(Double::default());
    let watched = Arc::clone(&double);
    let stopped = async move {
        while hangs || !watched.calls.lock().unwrap().iter().any(|call| call == "shutdown") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Running { api: double, network: None, stopped: stopped.boxed() }
}

fn run_double(home: &Path, hangs: bool, ready: impl FnOnce()) -> Result<(), Failure> {
    let prepared = Prepared::new(home, &UpArgs::default(), None)?;
    prepared.run(|_| async move { Ok(node(hangs)) }, Signals::NoInterrupt, ready)
}

#[test]
fn a_node_is_served_until_a_client_stops_it() {
    let home = tempfile::tempdir().unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let path = home.path().to_owned();
    let process = std::thread::spawn(move || run_double(&path, false, move || ready.send(()).unwrap()));
    is_ready.recv_timeout(Duration::from_secs(10)).unwrap();

    let second = run_double(home.path(), false, || {}).unwrap_err();
    assert!(second.to_string().contains("already"), "{second}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let remote = RemoteNode::connect(home.path()).unwrap();
    runtime.block_on(remote.shutdown()).unwrap();
    process.join().unwrap().unwrap();
    assert!(!lock::is_held(home.path()));
    assert!(RemoteNode::connect(home.path()).is_err(), "the socket is gone");
}

/// A signal now, and no more.
fn once() -> impl AsyncFnMut() {
    let mut first = true;
    async move || {
        if !std::mem::take(&mut first) {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn a_node_that_does_not_drain_is_ended_in_time() {
    let failure = drain::until_stopped(node(true), once(), Duration::from_secs(1)).await.unwrap_err();
    assert!(failure.to_string().contains("within 1 s"), "{failure}");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let failure = drain::until_stopped(node(true), async || {}, DEADLINE).await.unwrap_err();
    assert!(failure.to_string().contains("at once"), "{failure}");
}

#[tokio::test]
async fn a_signal_drains_the_node() {
    drain::until_stopped(node(false), once(), DEADLINE).await.unwrap();
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let prepared = Prepared::new(home.path(), &UpArgs::default(), None).unwrap();
    let refuse = |_| async { Err(Failure::new("no-luck", "No luck.")) };
    assert!(prepared.run(refuse, Signals::NoInterrupt, || panic!("it is not ready")).is_err());
    assert!(!lock::is_held(home.path()));
    assert!(!home.path().join(control::SOCKET_NAME).exists());
}
