//! Which of several nodes' bots answers a command on a channel.
//!
//! Nothing is sent for it. Answers name the command that they answer, so whoever could have answered hears who did. Of the
//! bots that have answered on a channel before, the one whose key comes first by a hash of channel and key answers at once;
//! each of the others waits its turn, and answers when nobody before it did. One that was silent is passed over until it is
//! heard again. One that has not answered there yet is unknown to the others, so it waits for all that it knows, and a short
//! time more that depends on the message and its key, so that of several such one is first.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use qpq_schemas::{MessageId, PeerId};
use xxhash_rust::xxh3::xxh3_64;

/// How long each place in the order waits for those before it: a round trip across a mesh of many hops, and the answer's work.
const TURN: Duration = Duration::from_secs(2);
/// The longest that one waits whom nobody has heard on the channel yet, beside its turns.
const FIRST_MEETING: Duration = Duration::from_millis(600);
/// A bot that was not heard for so long counts for nothing.
const FORGET: Duration = Duration::from_secs(24 * 3_600);
/// Channels, and rivals on one, that are remembered; the one that was heard longest ago goes first.
const CHANNELS: usize = 64;
const RIVALS: usize = 32;
/// Places in the order that count, so that no made-up crowd holds an answer up for long.
const MAX_TURNS: u32 = 4;
/// Commands that were answered here lately: who answers them too is a rival.
const ANSWERED: usize = 64;

/// What one bot knows of those that could answer in its place.
#[derive(Debug, Default)]
pub(crate) struct Election {
    channels: BTreeMap<String, Channel>,
    answered: VecDeque<(MessageId, String)>,
}

#[derive(Debug, Default)]
struct Channel {
    rivals: BTreeMap<PeerId, Rival>,
    /// When this node answered here last, so that the others know it.
    answered: Option<Instant>,
    used: Option<Instant>,
}

impl Channel {
    /// Those that answer before this node, whose place is `mine`; with those that were silent lately.
    fn before(&mut self, channel: &str, mine: u64) -> impl Iterator<Item = &mut Rival> {
        let known = self.answered.is_some();
        self.rivals.iter_mut().filter(move |(key, _)| !known || place(channel, key) < mine).map(|(_, rival)| rival)
    }
}

#[derive(Debug)]
struct Rival {
    heard: Instant,
    /// It let a command pass that it should have answered.
    silent: bool,
}

/// The place of a key in a channel's order.
fn place(channel: &str, key: &PeerId) -> u64 {
    xxh3_64(&[channel.as_bytes(), &key.0].concat())
}

impl Election {
    /// How long this node waits before it answers; zero is at once.
    pub(crate) fn wait(&mut self, channel: &str, me: &PeerId, command: &MessageId, now: Instant) -> Duration {
        let luck = xxh3_64(&[&command.0[..], &me.0].concat()) % FIRST_MEETING.as_millis() as u64;
        let luck = Duration::from_millis(luck);
        let Some(known) = self.channels.get_mut(channel) else { return luck };
        let lately = |at: &Instant| now.saturating_duration_since(*at) < FORGET;
        known.rivals.retain(|_, rival| lately(&rival.heard));
        known.answered = known.answered.filter(lately);
        let before = known.before(channel, place(channel, me)).filter(|rival| !rival.silent).count();
        let turns = TURN * u32::try_from(before).unwrap_or(MAX_TURNS).min(MAX_TURNS);
        if known.answered.is_some() { turns } else { turns + luck }
    }

    /// This node answers now. Those who should have done it before were silent.
    pub(crate) fn answers(&mut self, channel: &str, me: &PeerId, command: MessageId, now: Instant) {
        let known = self.channel(channel, now);
        known.before(channel, place(channel, me)).for_each(|rival| rival.silent = true);
        known.answered = Some(now);
        if self.answered.len() >= ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back((command, channel.to_owned()));
    }

    /// Another node's bot answered a command on a channel; `waits` says that this one was about to.
    pub(crate) fn heard(&mut self, channel: &str, by: PeerId, command: &MessageId, waits: bool, now: Instant) {
        if !waits && !self.answered.iter().any(|(id, on)| id == command && on == channel) {
            return;
        }
        let known = self.channel(channel, now);
        if known.rivals.len() >= RIVALS && !known.rivals.contains_key(&by) {
            let oldest = known.rivals.iter().min_by_key(|(_, rival)| rival.heard).map(|(key, _)| *key);
            oldest.map(|key| known.rivals.remove(&key));
        }
        known.rivals.insert(by, Rival { heard: now, silent: false });
    }

    fn channel(&mut self, name: &str, now: Instant) -> &mut Channel {
        if self.channels.len() >= CHANNELS && !self.channels.contains_key(name) {
            let oldest = self.channels.iter().min_by_key(|(_, channel)| channel.used).map(|(name, _)| name.clone());
            oldest.map(|name| self.channels.remove(&name));
        }
        let channel = self.channels.entry(name.to_owned()).or_default();
        channel.used = Some(now);
        channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    /// Plays one command among nodes that hear each other at once; who answered.
    fn play(nodes: &mut [(PeerId, Election, bool)], n: u8, now: Instant) -> Vec<PeerId> {
        let command = MessageId([n; 32]);
        let mut waits: Vec<(Duration, usize)> = Vec::new();
        for (i, (me, election, alive)) in nodes.iter_mut().enumerate() {
            if *alive {
                waits.push((election.wait("board", me, &command, now), i));
            }
        }
        waits.sort();
        // Whoever is due within a tenth of a second of the first has not heard it yet.
        let first = waits[0].0;
        let (answering, waiting): (Vec<_>, Vec<_>) =
            waits.into_iter().partition(|(wait, _)| *wait < first + Duration::from_millis(100));
        let answered: Vec<PeerId> = answering.iter().map(|(_, i)| nodes[*i].0).collect();
        for (_, i) in &answering {
            let (me, election, _) = &mut nodes[*i];
            election.answers("board", me, command, now);
        }
        for (place, waits) in answering.iter().map(|(_, i)| (*i, false)).chain(waiting.iter().map(|(_, i)| (*i, true)))
        {
            for by in answered.iter().filter(|by| **by != nodes[place].0).copied().collect::<Vec<_>>() {
                nodes[place].1.heard("board", by, &command, waits, now);
            }
        }
        answered
    }

    #[test]
    fn one_answers_at_once_and_another_takes_over_when_it_is_silent() {
        let now = Instant::now();
        let mut nodes: Vec<_> = (1..=5).map(|n| (key(n), Election::default(), true)).collect();
        // At first they don't know each other; soon one is left that answers.
        for n in 0..20 {
            play(&mut nodes, n, now);
        }
        let leader = play(&mut nodes, 100, now);
        assert_eq!(leader.len(), 1);
        assert_eq!(play(&mut nodes, 101, now), leader);
        let at = nodes.iter().position(|(key, ..)| *key == leader[0]).unwrap();
        assert_eq!(nodes[at].1.wait("board", &leader[0], &MessageId([9; 32]), now), Duration::ZERO);
        // It goes silent.
        nodes[at].2 = false;
        let next = play(&mut nodes, 102, now);
        assert!(next.len() == 1 && next != leader, "{next:?}");
        let place = nodes.iter().position(|(key, ..)| *key == next[0]).unwrap();
        let wait = nodes[place].1.wait("board", &next[0], &MessageId([9; 32]), now);
        assert_eq!(wait, Duration::ZERO, "it waits no more for one that is gone");
        // It comes back, answers once beside the other, and they know their order again.
        nodes[at].2 = true;
        for n in 103..110 {
            play(&mut nodes, n, now);
        }
        assert_eq!(play(&mut nodes, 110, now), leader);
    }

    #[test]
    fn whoever_answers_first_goes_on_alone_and_newcomers_wait_for_it() {
        let (now, mut played) = (Instant::now(), 0);
        for seed in 0..40 {
            let mut nodes: Vec<_> = (1..=2).map(|n| (key(seed * 3 + n), Election::default(), true)).collect();
            let first = play(&mut nodes, seed, now);
            if first.len() > 1 {
                continue; // they answered at the same moment, which only their next command mends
            }
            assert_eq!(play(&mut nodes, seed + 100, now), first, "{seed}");
            let mut late = (key(seed * 3 + 3), Election::default(), true);
            let command = MessageId([seed + 150; 32]);
            if late.1.wait("board", &late.0, &command, now) < Duration::from_millis(100) {
                continue;
            }
            nodes.push(late);
            assert_eq!(play(&mut nodes, seed + 150, now), first, "{seed}: who comes later waits");
            assert_eq!(play(&mut nodes, seed + 200, now), first, "{seed}");
            let gone = nodes.iter().position(|(key, ..)| *key == first[0]).unwrap();
            nodes[gone].2 = false;
            let heirs = play(&mut nodes, seed + 210, now);
            assert!(!heirs.is_empty() && !heirs.contains(&first[0]), "{seed}");
            played += 1;
            // After a quiet day the others have forgotten it, and it waits like everybody.
            let (later, command) = (now + FORGET, MessageId([seed + 211; 32]));
            assert!(nodes[gone].1.wait("board", &first[0], &command, later) > Duration::ZERO);
        }
        assert!(played > 10, "{played}");
    }

    #[test]
    fn a_made_up_crowd_holds_an_answer_up_for_a_few_turns_at_most() {
        let now = Instant::now();
        let mut election = Election::default();
        for n in 0..=255 {
            election.heard("board", key(n), &MessageId([1; 32]), true, now);
        }
        let wait = election.wait("board", &PeerId([0xaa; 32]), &MessageId([2; 32]), now);
        assert!(wait <= TURN * MAX_TURNS + FIRST_MEETING, "{wait:?}");
        assert!(election.channels["board"].rivals.len() <= RIVALS);
        let later = now + FORGET * 2;
        assert!(election.wait("board", &PeerId([0xaa; 32]), &MessageId([2; 32]), later) < FIRST_MEETING);
    }
}
