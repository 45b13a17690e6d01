use std::cell::Cell;
use std::future::{pending, ready};
use std::pin::pin;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::*;

#[derive(Debug, Clone, PartialEq)]
enum End {
    Done,
    Quiesced,
    Lost,
    Asked,
}

impl LinkEnd for End {
    const PEER_DONE: Self = Self::Done;
    const QUIESCED: Self = Self::Quiesced;
}

/// A connection that is lost, or lasts.
struct Wire {
    lost: bool,
}

impl Bearer for Wire {
    type End = End;

    fn has_ended(&self) -> bool {
        self.lost
    }

    async fn ended(&self) -> End {
        if self.lost { End::Lost } else { pending().await }
    }
}

const LOST: Wire = Wire { lost: true };
const LASTS: Wire = Wire { lost: false };
const SHORT: Duration = Duration::from_millis(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn flow() -> Flow<End> {
    Flow::new(QueueLimits::default())
}

#[test]
fn what_arrived_before_the_connection_was_lost_is_still_taken_in() {
    runtime().block_on(async {
        let taken = Cell::new(false);
        let reader = pin!(async {
            sleep(SHORT).await;
            taken.set(true);
            End::Done
        });
        assert_eq!(flow().carry(&LOST, SHORT, pin!(ready(Err(End::Lost))), reader).await, End::Lost);
        assert!(taken.get());
    });
}

#[test]
fn a_host_may_find_room_for_a_while_after_the_end() {
    runtime().block_on(async {
        let flow = flow();
        let late = async {
            sleep(SHORT).await;
            flow.resume();
        };
        assert_eq!(tokio::join!(flow.room(&LOST), late).0, Ok(()));
        let begun = Instant::now();
        assert_eq!(flow.room(&LOST).await, Err(End::Lost));
        assert!(begun.elapsed() >= LINGER);
    });
}

#[test]
fn who_is_asked_to_end_flushes_first_and_is_cut_off_in_time() {
    runtime().block_on(async {
        let flow = flow();
        flow.ask_end(End::Asked, 10 * SHORT);
        flow.ask_end(End::Quiesced, Duration::ZERO);
        assert!(flow.outbox.is_sealed());
        let flushes = pin!(async {
            sleep(SHORT).await;
            Ok(())
        });
        assert_eq!(flow.carry(&LASTS, SHORT, flushes, pin!(pending())).await, End::Asked, "the first reason counts");
        assert!(!flow.is_cut_off());
        assert_eq!(flow.carry(&LASTS, SHORT, pin!(pending()), pin!(pending())).await, End::Asked);
        assert!(flow.is_cut_off());
    });
}

#[test]
fn a_successor_waits_for_what_comes_in_no_longer_than_it_may() {
    runtime().block_on(async {
        for (last_read, breaks_after, end) in
            [(SHORT, 50 * SHORT, End::Quiesced), (Duration::MAX, SHORT, End::Lost), (SHORT, Duration::ZERO, End::Lost)]
        {
            let flow = flow();
            flow.ask_end(End::Quiesced, 100 * SHORT);
            let reader = pin!(async {
                sleep(breaks_after).await;
                End::Lost
            });
            assert_eq!(flow.carry(&LASTS, last_read, pin!(ready(Ok(()))), reader).await, end);
            assert!(!flow.is_cut_off());
        }
    });
}

#[test]
fn a_peer_that_has_said_all_is_answered_and_closes() {
    runtime().block_on(async {
        let flow = flow();
        let writer = pin!(async {
            while !flow.outbox.is_sealed() {
                sleep(SHORT).await;
            }
            Ok(())
        });
        assert_eq!(flow.carry(&LASTS, SHORT, writer, pin!(ready(End::Done))).await, End::Done);
        assert!(flow.is_cut_off(), "it did not close in time");
    });
}
