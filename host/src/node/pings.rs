//! PINGs that somebody asked for, and their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// PINGs without an answer at a time; the oldest counts as lost.
const MAX_WAITING: usize = 32;

/// Between two asked PINGs of one link: a neighbour closes links that ask much more often.
const APART: Duration = Duration::from_millis(250);

/// Who waits for the answers of one link.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Those whose PING is still to be sent; one PING serves them all.
    pub(super) asked: Vec<oneshot::Sender<Duration>>,
    waiting: VecDeque<(u64, Instant, Vec<oneshot::Sender<Duration>>)>,
    /// When the last one that was asked for was sent.
    last: Option<Instant>,
}

impl Pings {
    /// How long those who asked must wait for their PING; `None` when nobody asked.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let wait = self.last.map_or(Duration::ZERO, |last| APART.saturating_sub(last.elapsed()));
        (!self.asked.is_empty()).then_some(wait)
    }

    /// A PING of that number is on its way.
    pub(super) fn sent(&mut self, number: u64) {
        if !self.asked.is_empty() {
            self.last = Some(Instant::now());
        }
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
        assert_eq!(pings.due_in(), None);
        pings.asked.push(oneshot::channel().0);
        assert!(pings.due_in().is_some_and(|wait| wait > Duration::ZERO), "not twice in a moment");
        (0..1_000).for_each(|number| pings.sent(number));
        assert_eq!(pings.waiting.len(), MAX_WAITING);
    }
}
