//! What a bot says only when there is room for it: it waits while a link is busy or the bot's quota is used up, and what
//! waits for one place is merged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::api::{Outgoing, Target};

/// How often is looked whether there is room.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// What has waited for so long is sent as it is, with low priority: the node then lets everything else go first.
const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that wait; beyond that the oldest is dropped.
const WAITING: usize = 16;
/// Length to which texts for one place are joined, in bytes.
const JOINED_BYTES: usize = 2_048;

/// What waits, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Chatter(VecDeque<Waiting>);

#[derive(Debug)]
struct Waiting {
    out: Outgoing,
    /// What has the same name replaces it.
    merge: Option<String>,
    since: Instant,
}

impl Waiting {
    fn fits(&self, to: &Target, merge: Option<&str>, len: usize) -> bool {
        let joins = merge.is_some() || self.out.payload.len() + len < JOINED_BYTES;
        self.out.target == *to && self.merge.as_deref() == merge && joins
    }
}

impl Chatter {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a message to those that wait: in the place of one with the same name, or behind an unnamed one to the same place.
    pub(crate) fn add(&mut self, out: Outgoing, merge: Option<String>, now: Instant) {
        let alike = self.0.iter_mut().find(|waiting| waiting.fits(&out.target, merge.as_deref(), out.payload.len()));
        match (alike, &merge) {
            (Some(waiting), Some(_)) => waiting.out = out,
            (Some(waiting), None) => {
                waiting.out.payload.push(b'\n');
                waiting.out.payload.extend_from_slice(&out.payload);
            }
            (None, _) => {
                if self.0.len() >= WAITING {
                    self.0.pop_front();
                }
                self.0.push_back(Waiting { out, merge, since: now });
            }
        }
    }

    /// The next message to send, where there is room or it has waited long enough, and `fits` says that the quota allows it.
    pub(crate) fn take(&mut self, busy: bool, now: Instant, fits: impl FnOnce(&Outgoing) -> bool) -> Option<Outgoing> {
        let first = self.0.front()?;
        let late = now.saturating_duration_since(first.since) >= PATIENCE;
        if (busy && !late) || !fits(&first.out) {
            return None;
        }
        let out = self.0.pop_front()?.out;
        Some(if late { Outgoing { priority: Some(0), ..out } } else { out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(channel: &str, text: &str) -> Outgoing {
        Outgoing::to(Target::Channel(channel.to_owned()), text)
    }

    fn texts(chatter: &mut Chatter, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| chatter.take(false, now, |_| true))
            .map(|o| String::from_utf8(o.payload).unwrap())
            .collect()
    }

    #[test]
    fn what_waits_for_one_place_becomes_one_message() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        chatter.add(to("a", "1"), None, now);
        chatter.add(to("b", "2"), None, now);
        chatter.add(to("a", "3"), None, now);
        chatter.add(to("a", "12 degrees"), Some("weather".into()), now);
        chatter.add(to("a", "13 degrees"), Some("weather".into()), now);
        chatter.add(to("a", &"x".repeat(JOINED_BYTES)), None, now);
        assert_eq!(texts(&mut chatter, now), ["1\n3", "2", "13 degrees", &"x".repeat(JOINED_BYTES)]);
        for n in 0..100 {
            chatter.add(to(&n.to_string(), "x"), None, now);
        }
        assert_eq!(texts(&mut chatter, now).len(), WAITING);
    }

    #[test]
    fn a_busy_link_delays_it_and_does_not_keep_it_for_ever() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        chatter.add(to("a", "1"), None, now);
        assert!(chatter.take(true, now + LOOK, |_| true).is_none());
        assert!(chatter.take(true, now + PATIENCE, |_| false).is_none(), "the quota is used up");
        let out = chatter.take(true, now + PATIENCE, |_| true).unwrap();
        assert_eq!(out.priority, Some(0));
        assert!(chatter.is_empty());
    }
}
