//! What a bot says only when there is room for it: it waits while a link is busy or the bot's quota is used up, and what
//! waits for one place is merged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::api::Outgoing;

/// How often is looked whether there is room.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// What has waited for so long is sent as it is, with low priority: the node then lets everything else go first.
const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that wait; beyond that the oldest is dropped, answers last.
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
    /// Whether a message takes the place of this one, or is joined to it: only where both would go out alike.
    fn fits(&self, out: &Outgoing, merge: Option<&str>, longest: usize) -> bool {
        let joins = || self.out.payload.len() + out.payload.len() < longest.min(JOINED_BYTES) && self.out.goes_as(out);
        self.out.target == out.target && self.merge.as_deref() == merge && (merge.is_some() || joins())
    }
}

impl Chatter {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one more would push the oldest out.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= WAITING
    }

    /// Puts a message to those that wait: in the place of one with the same name, or behind an unnamed one that goes to the
    /// same place in the same way, up to the `longest` that the quota ever has room for, in bytes.
    pub(crate) fn add(&mut self, out: Outgoing, merge: Option<String>, longest: usize, now: Instant) {
        let alike = self.0.iter_mut().find(|waiting| waiting.fits(&out, merge.as_deref(), longest));
        match (alike, &merge) {
            (Some(waiting), Some(_)) => waiting.out = out,
            (Some(waiting), None) => {
                waiting.out.payload.push(b'\n');
                waiting.out.payload.extend_from_slice(&out.payload);
            }
            (None, _) => {
                if self.is_full() && !self.make_room(out.reply) {
                    return;
                }
                self.0.push_back(Waiting { out, merge, since: now });
            }
        }
    }

    /// Drops the oldest that answers nobody, else the oldest answer, for another answer alone. Whether there is room now.
    fn make_room(&mut self, for_answer: bool) -> bool {
        let oldest = self.0.iter().position(|waiting| !waiting.out.reply).or(for_answer.then_some(0));
        oldest.is_some_and(|place| self.0.remove(place).is_some())
    }

    /// The first message for which there is room, or that has waited long enough, and of which `fits` says that the quota
    /// allows it. One that has to wait holds up no other.
    pub(crate) fn take(&mut self, busy: bool, now: Instant, fits: impl Fn(&Outgoing) -> bool) -> Option<Outgoing> {
        let is_late = |waiting: &Waiting| now.saturating_duration_since(waiting.since) >= PATIENCE;
        let goes = |waiting: &Waiting| (!busy || is_late(waiting)) && fits(&waiting.out);
        let place = self.0.iter().position(goes)?;
        let waiting = self.0.remove(place)?;
        let (late, out) = (is_late(&waiting), waiting.out);
        Some(if late { Outgoing { priority: Some(0), ..out } } else { out })
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::Target;
    use super::*;

    /// No quota.
    const ANY: usize = usize::MAX;

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
        chatter.add(to("a", "1"), None, ANY, now);
        chatter.add(to("b", "2"), None, ANY, now);
        chatter.add(to("a", "3"), None, ANY, now);
        chatter.add(to("a", "12 degrees"), Some("weather".into()), ANY, now);
        chatter.add(to("a", "13 degrees"), Some("weather".into()), ANY, now);
        chatter.add(to("a", &"x".repeat(JOINED_BYTES)), None, ANY, now);
        assert_eq!(texts(&mut chatter, now), ["1\n3", "2", "13 degrees", &"x".repeat(JOINED_BYTES)]);
        for n in 0..100 {
            chatter.add(to(&n.to_string(), "x"), None, ANY, now);
        }
        assert_eq!(texts(&mut chatter, now).len(), WAITING);
    }

    #[test]
    fn chatter_pushes_out_no_answer() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        chatter.add(to("asked", "the answer"), None, ANY, now);
        let unasked = |n: usize| Outgoing { reply: false, ..to(&n.to_string(), "x") };
        (0..100).for_each(|n| chatter.add(unasked(n), None, ANY, now));
        let kept = texts(&mut chatter, now);
        assert!(kept.len() == WAITING && kept[0] == "the answer", "{kept:?}");
        (0..WAITING).for_each(|n| chatter.add(to(&n.to_string(), "answer"), None, ANY, now));
        chatter.add(unasked(0), None, ANY, now);
        assert!(texts(&mut chatter, now).iter().all(|text| text == "answer"));
    }

    #[test]
    fn a_busy_link_delays_it_and_does_not_keep_it_for_ever() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        chatter.add(to("a", "1"), None, ANY, now);
        assert!(chatter.take(true, now + LOOK, |_| true).is_none());
        assert!(chatter.take(true, now + PATIENCE, |_| false).is_none(), "the quota is used up");
        let out = chatter.take(true, now + PATIENCE, |_| true).unwrap();
        assert_eq!(out.priority, Some(0));
        assert!(chatter.is_empty());
    }

    #[test]
    fn what_the_quota_has_no_room_for_holds_up_nothing_else() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        chatter.add(to("never", "1"), None, ANY, now);
        chatter.add(to("b", "2"), None, ANY, now);
        let fits = |out: &Outgoing| out.target != Target::Channel("never".into());
        assert_eq!(chatter.take(false, now, fits).unwrap().payload, b"2");
        assert!(chatter.take(false, now + PATIENCE, fits).is_none());
        // Nor does one hold up another while a link is busy.
        chatter.add(to("c", "3"), None, ANY, now + PATIENCE);
        assert_eq!(chatter.take(true, now + PATIENCE, |_| true).unwrap().payload, b"1");
        assert!(chatter.take(true, now + PATIENCE, |_| true).is_none());
    }

    #[test]
    fn what_is_joined_goes_out_as_its_author_wanted() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        let sealed = Outgoing { reply: false, ..Outgoing::to(Target::Peer("anna".into()), "secret") };
        let others = [
            Outgoing { plain: true, ..sealed.clone() },
            Outgoing { receipt: true, ..sealed.clone() },
            Outgoing { ttl_secs: Some(60), ..sealed.clone() },
            Outgoing { priority: Some(2), ..sealed.clone() },
            Outgoing { max_hops: Some(1), ..sealed.clone() },
        ];
        for out in others.iter().chain([&sealed, &sealed]) {
            chatter.add(out.clone(), None, ANY, now);
        }
        assert_eq!(texts(&mut chatter, now), ["secret", "secret", "secret", "secret", "secret", "secret\nsecret"]);
        chatter.add(sealed.clone(), None, 10, now);
        chatter.add(sealed, None, 10, now);
        assert_eq!(texts(&mut chatter, now), ["secret", "secret"], "together they never fit into a quota of 10 bytes");
    }
}
