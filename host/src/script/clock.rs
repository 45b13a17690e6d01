//! A bot's time: the machine's clocks, or one that stands still until somebody moves it.
//!
//! All that a bot can tell by time (its clock, timers, sleeps, quotas, pauses) goes by this. What protects the host from a
//! bot (CPU budgets, heartbeats) goes by the machine's clocks whatever this one says.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::lock;

/// Where a bot's time comes from.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    /// The machine's clocks.
    #[default]
    Real,
    /// A clock that is moved by hand, shared by all that wait for it.
    Virtual(Arc<VirtualTime>),
}

impl Clock {
    /// The present moment, for spans of time.
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Real => Instant::now(),
            Self::Virtual(time) => time.base + time.passed(),
        }
    }

    /// The present moment as Unix time; 0 on a machine whose clock stands before 1970.
    pub(crate) fn unix(&self) -> Duration {
        match self {
            Self::Real => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Virtual(time) => time.start + time.passed(),
        }
    }

    /// The same in milliseconds.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.unix().as_millis() as u64
    }

    /// Waits for a moment. With the machine's clock this needs a tokio runtime around it.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        match self {
            Self::Real => tokio::time::sleep_until(at.into()).await,
            Self::Virtual(time) => {
                let at = time.whole(at.saturating_duration_since(time.base));
                Sleep { time: Arc::clone(time), at, number: None }.await;
            }
        }
    }
}

/// A clock that goes on only when it is told to.
#[derive(Debug)]
pub(crate) struct VirtualTime {
    /// What stands for its beginning among the machine's moments.
    base: Instant,
    /// Its beginning, Unix time.
    start: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    passed: Duration,
    /// Who waits, by the time; of two at one time whoever came first.
    waiting: BTreeMap<(Duration, u64), Waker>,
    count: u64,
}

impl VirtualTime {
    /// A clock that stands at that Unix time.
    pub(crate) fn new(start: Duration) -> Self {
        Self { base: Instant::now(), start, state: Mutex::default() }
    }

    /// It goes on in whole microseconds: a bot's timers are in binary fractions of a second, and one of six hours must be due
    /// after six hours, not a few nanoseconds later. What lies ahead stays ahead, so that whoever waits gets on.
    fn whole(&self, at: Duration) -> Duration {
        let passed = self.passed();
        let nearest = Duration::from_micros((at + Duration::from_nanos(500)).as_micros() as u64);
        if at > passed { nearest.max(passed + Duration::from_micros(1)) } else { at }
    }

    /// How far it has gone on since its beginning.
    pub(crate) fn passed(&self) -> Duration {
        lock(&self.state).passed
    }

    /// When the first of those who wait is due, counted from its beginning.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        lock(&self.state).waiting.keys().next().map(|(at, _)| *at)
    }

    /// Goes on to that time, never back, and wakes those who waited for it in the order of their times.
    pub(crate) fn advance(&self, to: Duration) {
        let due = {
            let mut state = lock(&self.state);
            let passed = state.passed.max(to);
            state.passed = passed;
            let later = state.waiting.split_off(&(passed, u64::MAX));
            std::mem::replace(&mut state.waiting, later)
        };
        due.into_values().for_each(Waker::wake);
    }
}

/// Waits for a virtual time. Dropping it takes it off the list.
struct Sleep {
    time: Arc<VirtualTime>,
    at: Duration,
    /// Its place among those who wait for the same time.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = lock(&this.time.state);
        if state.passed >= this.at {
            return Poll::Ready(());
        }
        let number = *this.number.get_or_insert_with(|| {
            state.count += 1;
            state.count
        });
        state.waiting.insert((this.at, number), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.time.state).waiting.remove(&(self.at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join;

    use super::*;

    #[test]
    fn a_virtual_clock_moves_only_by_hand_and_wakes_whoever_is_due() {
        let time = Arc::new(VirtualTime::new(Duration::from_secs(100)));
        let clock = Clock::Virtual(Arc::clone(&time));
        let start = clock.now();
        let day = Duration::from_secs(86_400);
        let mut both = Box::pin(join(clock.sleep_until(start + day), clock.sleep_until(start + 2 * day)));
        assert!(both.as_mut().now_or_never().is_none());
        assert_eq!(time.next_due(), Some(day));
        time.advance(day);
        assert!(both.as_mut().now_or_never().is_none());
        assert_eq!((time.next_due(), clock.now() - start, clock.unix_ms()), (Some(2 * day), day, 86_500_000));
        time.advance(2 * day);
        assert!(both.as_mut().now_or_never().is_some());
        time.advance(day);
        assert_eq!(clock.now() - start, 2 * day, "it never goes back");
    }

    #[test]
    fn a_moment_a_hair_off_is_the_whole_microsecond() {
        let time = Arc::new(VirtualTime::new(Duration::ZERO));
        let clock = Clock::Virtual(Arc::clone(&time));
        for nanos in [3_600_000_000_100, 3_599_999_999_900] {
            let mut sleep = Box::pin(clock.sleep_until(clock.now() + Duration::from_nanos(nanos)));
            assert!(sleep.as_mut().now_or_never().is_none());
            assert_eq!(time.next_due(), Some(Duration::from_secs(3_600)));
        }
        let mut sleep = Box::pin(clock.sleep_until(clock.now() + Duration::from_nanos(1)));
        assert!(sleep.as_mut().now_or_never().is_none(), "it lies ahead");
    }

    #[test]
    fn whoever_gives_up_waiting_is_forgotten() {
        let time = Arc::new(VirtualTime::new(Duration::ZERO));
        let clock = Clock::Virtual(Arc::clone(&time));
        let mut sleep = Box::pin(clock.sleep_until(clock.now() + Duration::from_secs(1)));
        assert!(sleep.as_mut().now_or_never().is_none());
        drop(sleep);
        assert_eq!(time.next_due(), None);
    }
}
