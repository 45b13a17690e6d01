//! PINGs that somebody asked for, and their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// PINGs without an answer at a time; the oldest counts as lost.
const MAX_WAITING: usize = 32;

/// Who waits for the answers of one link.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Those whose PING is still to be sent; one PING serves them all.
    pub(super) asked: Vec<oneshot::Sender<Duration>>,
    waiting: VecDeque<(u64, Instant, Vec<oneshot::Sender<Duration>>)>,
}

impl Pings {
    /// A PING of that number is on its way.
    pub(super) fn sent(&mut self, number: u64) {
        self.waiting.push_back((number, Instant::now(), std::mem::take(&mut self.asked)));
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
        }
    }

    /// It was answered. Also the link's own PINGs are, for which nobody waits.
    pub(super) fn answered(&mut self, number: u64) {
        let Some(place) = self.waiting.iter().position(|(sent, ..)| *sent == number) else { return };
        let Some((_, at, waiting)) = self.waiting.remove(place) else { return };
        waiting.into_iter().for_each(|reply| _ = reply.send(at.elapsed())); // who asked may have gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_who_asked_and_waiting_is_bounded() {
        let mut pings = Pings::default();
        let (reply, mut answer) = oneshot::channel();
        pings.asked.push(reply);
        pings.sent(7);
        pings.answered(6);
        assert!(answer.try_recv().is_err());
        pings.answered(7);
        assert!(answer.try_recv().is_ok());
        (0..1_000).for_each(|number| pings.sent(number));
        assert_eq!(pings.waiting.len(), MAX_WAITING);
    }
}
