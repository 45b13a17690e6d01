//! What a version of a bot gives to the one that follows it.
//!
//! A version that is asked to freeze starts nothing more and says once what it hands over. From then on it does only what it
//! has begun, so that is true until it is either told to go on or retired. A message of which nothing has begun is the next
//! version's; one that has begun is its own, to the end. The next version acknowledges nothing before that end, so what is
//! acknowledged is done, whoever did it. One that falls before its end hands over nothing: the next begins at the place
//! that was acknowledged last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::plain::Plain;

/// How long after a reload a timer still takes its moment from one of the version before, in seconds: as long as a slow load
/// takes.
const CARRIED_SECS: f64 = 120.0;

/// All that is handed over.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// `mesh.state`.
    pub state: Option<Plain>,
    /// `None` when it has not looked into the inbox yet.
    pub place: Option<Place>,
}

/// Takes what is handed over; dropped uncalled by a version that falls.
pub(crate) type Taker = Box<dyn FnOnce(Handover) + Send>;

/// Where in the inbox the next version goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Messages up to here were taken by versions before ...
    pub pulled: u64,
    /// ... and done, or will be, but for these.
    pub left: BTreeSet<u64>,
}

impl Place {
    /// What comes after this is to be read.
    pub(crate) fn begin(&self) -> u64 {
        self.left.first().map_or(self.pulled, |first| first.saturating_sub(1).min(self.pulled))
    }

    /// Whether a message is the business of a version before.
    pub(crate) fn is_taken(&self, seq: u64) -> bool {
        seq <= self.pulled && !self.left.contains(&seq)
    }

    /// The place of a version that began here, has read up to `after`, and has yet to begin with `left`.
    pub(crate) fn onward(&self, after: u64, left: impl IntoIterator<Item = u64>) -> Self {
        let unread = self.left.iter().copied().filter(|seq| *seq > after);
        Self { pulled: self.pulled.max(after), left: left.into_iter().chain(unread).collect() }
    }
}

/// When named timers are due, for the version that sets them again.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    due: BTreeMap<String, f64>,
    since: f64,
}

impl Carried {
    pub(crate) fn new(due: impl IntoIterator<Item = (String, f64)>, now: f64) -> Self {
        Self { due: due.into_iter().collect(), since: now }
    }

    /// When the timer was due that is known by that name over reloads. What nobody has asked for is forgotten after a while: a
    /// timer of that name that is set later is another one.
    pub(crate) fn take(&mut self, name: &str, now: f64) -> Option<f64> {
        if now - self.since > CARRIED_SECS {
            self.due.clear();
        }
        self.due.remove(name)
    }

    /// All of them, for another process.
    pub(crate) fn all(&self) -> Vec<(String, f64)> {
        self.due.iter().map(|(name, due)| (name.clone(), *due)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_takes_what_is_left_and_nothing_twice() {
        let place = Place { pulled: 9, left: [4, 8].into() };
        assert_eq!(place.begin(), 3);
        let taken: Vec<u64> = (1..12).filter(|seq| place.is_taken(*seq)).collect();
        assert_eq!(taken, [1, 2, 3, 5, 6, 7, 9]);
        assert_eq!(Place { pulled: 9, left: BTreeSet::new() }.begin(), 9);
    }

    #[test]
    fn what_a_version_was_left_it_leaves_to_the_next_one() {
        let first = Place { pulled: 9, left: [4, 8].into() };
        assert_eq!(first.onward(5, [4]), first);
        assert_eq!(first.onward(5, []), Place { pulled: 9, left: [8].into() });
        assert_eq!(first.onward(12, [11]), Place { pulled: 12, left: [11].into() });
    }

    #[test]
    fn a_timer_set_long_after_a_reload_does_not_take_the_time_of_an_old_one() {
        let mut carried = Carried::new([("a".to_owned(), 5.0), ("b".to_owned(), 6.0)], 1.0);
        assert_eq!(carried.take("a", 2.0), Some(5.0));
        assert_eq!(carried.take("a", 2.0), None);
        assert_eq!(carried.take("b", 2.0 * 86_400.0), None);
        assert!(carried.all().is_empty());
    }
}
