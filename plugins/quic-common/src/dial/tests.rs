use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use super::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn addrs(n: u16) -> Vec<SocketAddr> {
    (1..=n).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

#[derive(Debug, PartialEq)]
enum Failed {
    At(u16),
    Panicked,
}

impl From<JoinError> for Failed {
    fn from(_: JoinError) -> Self {
        Self::Panicked
    }
}

#[test]
fn a_deaf_address_does_not_hold_up_the_next() {
    let begun = Instant::now();
    let attempt = |addr: SocketAddr| async move {
        if addr.port() == 1 {
            std::future::pending::<()>().await;
        }
        Ok::<_, Failed>(addr.port())
    };
    assert_eq!(runtime().block_on(race(addrs(3), attempt, |_| false)), Some(Ok(2)));
    assert!(begun.elapsed() >= ADDRESS_STAGGER);
}

#[test]
fn of_many_addresses_the_first_few_are_tried_and_the_last_error_counts() {
    let attempt = |addr: SocketAddr| async move { Err::<(), _>(Failed::At(addr.port())) };
    assert_eq!(runtime().block_on(race(addrs(9), attempt, |_| false)), Some(Err(Failed::At(MAX_ADDRESSES as u16))));
    assert_eq!(runtime().block_on(race(addrs(1), attempt, |_| false)), Some(Err(Failed::At(1))));
    assert_eq!(runtime().block_on(race(addrs(0), attempt, |_| false)), None);
}

#[test]
fn an_error_that_says_more_counts_before_those_that_follow() {
    let attempt = |addr: SocketAddr| async move { Err::<(), _>(Failed::At(addr.port())) };
    let says_more = |error: &Failed| *error == Failed::At(2);
    assert_eq!(runtime().block_on(race(addrs(4), attempt, says_more)), Some(Err(Failed::At(2))));
}

#[test]
fn an_attempt_that_panics_is_a_failed_one() {
    let attempt = |addr: SocketAddr| async move {
        assert_eq!(addr.port(), 1, "no more");
        Err::<(), _>(Failed::At(1))
    };
    assert_eq!(runtime().block_on(race(addrs(2), attempt, |_| false)), Some(Err(Failed::Panicked)));
}

#[test]
fn an_address_needs_no_look_up() {
    let lookups = Lookups::at_most(1);
    let address = HostPort::parse("127.0.0.1:1").unwrap();
    assert_eq!(runtime().block_on(lookups.resolve(&address)).unwrap(), addrs(1));
    assert_eq!(lookups.under_way(), 0);
}
