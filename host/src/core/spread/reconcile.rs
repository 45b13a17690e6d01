//! Comparing the histories of two neighbours, at a cost that grows with the difference: ranges of the common order whose
//! fingerprints differ are split until the ids in them can be listed.
//!
//! Whoever answers keeps no state: the answer to a step follows from the step and from what is held here.

mod answer;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, MAX_SYNC_IDS, Place, Range, Reconcile, Sync};

use super::tree::{Speaks, UNKNOWN_MS};
use super::{Core, Effect, LinkId};
use answer::{Answer, answer};

/// How often two neighbours compare what they hold, in milliseconds.
const EVERY_MS: u64 = 300_000;

/// A comparison that finds nothing of use is put off by twice the time, so often at most.
const MAX_DOUBLED: u32 = 4;

/// The neighbour with the smaller key begins when a link comes up. If it doesn't within this time, the other one does, in
/// milliseconds.
const OTHER_BEGINS_MS: u64 = 15_000;

/// After how long without an answer a comparison is given up, in milliseconds. The other side may be busy with what it
/// asked for.
const GIVEN_UP_MS: u64 = 120_000;

/// Steps of a comparison without anything found before it is given up. Splitting a million takes seven.
const MAX_IDLE_STEPS: u8 = 64;

/// The first step of a comparison looks at so many ranges, cut at other places each time. So nobody can keep two sets that
/// differ looking the same for long, by making messages whose sums fit.
const FIRST_SPLIT: usize = 4;

/// While so many are asked for and have not come, the next step waits.
const MAX_WANTED: usize = 512;

/// Steps answered at once, and how many more a second. A step of an honest neighbour needs a round trip.
const STEPS: u32 = 64;
const STEPS_PER_SECOND: u64 = 16;

/// Steps that wait at most: one of a comparison begun here, one of theirs.
const MAX_HELD: usize = 2;

/// What two neighbours have to say to each other about their histories.
#[derive(Default)]
pub(in crate::core) struct Talk {
    /// The comparison that was begun here.
    mine: Option<Session>,
    /// Another one is wanted when it is over.
    again: bool,
    /// When to begin the next one.
    next_ms: Option<u64>,
    /// How many in a row found differences, but nothing that either side lacks.
    futile: u32,
    /// Something came of what was compared last.
    of_use: bool,
    /// Steps to be answered later.
    held: VecDeque<Reconcile>,
    /// Steps that may be answered now.
    steps: Steps,
}

impl Talk {
    /// Nothing of it lies in the future.
    pub(in crate::core) fn clock_set_back(&mut self, now_ms: u64) {
        if let Some(session) = &mut self.mine {
            session.heard_ms = session.heard_ms.min(now_ms);
        }
    }
}

/// A comparison that was begun here.
struct Session {
    number: u32,
    heard_ms: u64,
    /// Something differs.
    differs: bool,
    /// Steps since something was found.
    idle: u8,
}

/// How many steps a neighbour may have answered.
struct Steps {
    left: u32,
    since_ms: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { left: STEPS, since_ms: 0 }
    }
}

impl Steps {
    fn take(&mut self, now_ms: u64) -> bool {
        let more = now_ms.saturating_sub(self.since_ms).saturating_mul(STEPS_PER_SECOND) / 1_000;
        if more > 0 || now_ms < self.since_ms {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(STEPS)).min(STEPS);
            self.since_ms = now_ms;
        }
        self.left.checked_sub(1).inspect(|left| self.left = *left).is_some()
    }
}

/// A number that is another for each neighbour and each time, and the same in each run.
fn spice(me: &PeerId, peer: &PeerId, session: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (me.0, peer.0, session).hash(&mut hasher);
    hasher.finish()
}

impl Core {
    /// A link to a neighbour is up, or took the place of another: one of both begins to compare.
    pub(in crate::core) fn greet_with_history(&mut self, peer: PeerId, now_ms: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.talk.mine = None;
        neighbour.talk.next_ms = Some(now_ms + OTHER_BEGINS_MS);
        if neighbour.branch.speaks == Speaks::Old {
            let link = neighbour.preferred();
            self.announce_history(link, now_ms);
        } else if self.config.me < peer {
            self.compare(peer, now_ms);
        }
    }

    /// Begins a comparison; where one is under way, when that is over.
    pub(super) fn compare(&mut self, peer: PeerId, now_ms: u64) {
        let number = self.spread.session.wrapping_add(1);
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.talk.again = neighbour.talk.mine.is_some();
        if neighbour.talk.again {
            return;
        }
        self.spread.session = number;
        neighbour.talk.mine = Some(Session { number, heard_ms: now_ms, differs: false, idle: 0 });
        neighbour.talk.of_use = false;
        let (from, ledger) = (Place::at(self.shelf.history_floor_ms(now_ms)), self.shelf.ledger());
        let (count, spice) = (ledger.len(), spice(&self.config.me, &peer, number));
        let part = count / FIRST_SPLIT;
        let shift = usize::try_from(spice % (part as u64 + 1)).unwrap_or(0);
        let mut first = Answer::default();
        first.split(ledger, from, Place::END, (0..FIRST_SPLIT).map(|n| n * part + shift));
        self.count("comparisons");
        self.say_step(peer, number, true, from, first.ranges);
    }

    fn say_step(&mut self, peer: PeerId, session: u32, opener: bool, from: Place, ranges: Vec<Range>) {
        let Some(link) = self.preferred(&peer) else { return };
        let step = Reconcile { session, opener, from, ranges };
        self.effects.push(Effect::Send { link, frame: Frame::Reconcile(step) });
    }

    /// A step of a comparison came in.
    pub(in crate::core) fn reconcile(&mut self, link: LinkId, step: Reconcile, now_ms: u64) {
        let Some(peer) = self.speaker(link) else { return self.count("comparison-between-domains") };
        let waits = self.spread.lacking.wanted_of(&peer) > MAX_WANTED;
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        if !waits && neighbour.talk.held.is_empty() && neighbour.talk.steps.take(now_ms) {
            self.take_step(peer, &step, now_ms);
        } else if neighbour.talk.held.len() < MAX_HELD {
            neighbour.talk.held.push_back(step);
        } else {
            self.count("comparison-dropped");
        }
    }

    /// Answers what had to wait, now that a neighbour has given what it was asked for, or some time has passed.
    pub(super) fn go_on_comparing(&mut self, peer: PeerId, now_ms: u64) {
        if self.spread.lacking.wanted_of(&peer) > MAX_WANTED / 2 {
            return;
        }
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        if !neighbour.talk.held.is_empty() && neighbour.talk.steps.take(now_ms) {
            let step = neighbour.talk.held.pop_front();
            step.into_iter().for_each(|step| self.take_step(peer, &step, now_ms));
        }
    }

    fn take_step(&mut self, peer: PeerId, step: &Reconcile, now_ms: u64) {
        let floor = Place::at(self.shelf.history_floor_ms(now_ms));
        let answer = answer(self.shelf.ledger(), floor, step);
        let found = self.missed(peer, &answer.theirs, now_ms) || !answer.told.is_empty();
        let end = answer.ranges.is_empty();
        if !self.note_step(&peer, step, end, found, now_ms) {
            return;
        }
        if let Some(link) = self.preferred(&peer) {
            for ids in answer.told.chunks(MAX_SYNC_IDS) {
                self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Have(ids.to_vec())) });
            }
        }
        if !end || step.opener {
            self.say_step(peer, step.session, !step.opener, answer.from.unwrap_or(step.from), answer.ranges);
        }
        if !step.opener && end {
            self.compared(&peer, now_ms);
        }
    }

    /// Notes how a comparison goes; false when the step belongs to none, or to one that is given up.
    fn note_step(&mut self, peer: &PeerId, step: &Reconcile, end: bool, found: bool, now_ms: u64) -> bool {
        let Some(neighbour) = self.neighbours.get_mut(peer) else { return false };
        let talk = &mut neighbour.talk;
        if step.opener {
            // It compares often enough by itself; ours would find the same.
            talk.next_ms = talk.next_ms.max(Some(now_ms + EVERY_MS * 3 / 2));
            return true;
        }
        let Some(session) = talk.mine.as_mut().filter(|session| session.number == step.session) else { return false };
        session.heard_ms = now_ms;
        session.differs |= !step.ranges.is_empty();
        session.idle = if found { 0 } else { session.idle.saturating_add(1) };
        if session.idle > MAX_IDLE_STEPS && !end {
            self.count("comparison-idle");
            self.compared(peer, now_ms);
            return false;
        }
        true
    }

    /// What was compared is of use: a neighbour asks for something.
    pub(super) fn talk_was_of_use(&mut self, peer: &PeerId) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            (neighbour.talk.of_use, neighbour.talk.futile) = (true, 0);
        }
    }

    /// A comparison that was begun here is at its end.
    fn compared(&mut self, peer: &PeerId, now_ms: u64) {
        let spice = spice(&self.config.me, peer, self.spread.session);
        let lacking = self.spread.lacking.wanted_of(peer) > 0;
        let Some(neighbour) = self.neighbours.get_mut(peer) else { return };
        let talk = &mut neighbour.talk;
        let Some(session) = talk.mine.take() else { return };
        let futile = session.differs && !talk.of_use && !lacking;
        talk.futile = if futile { (talk.futile + 1).min(MAX_DOUBLED) } else { 0 };
        let pause_ms = EVERY_MS << talk.futile;
        let pause_ms = if std::mem::take(&mut talk.again) { 0 } else { pause_ms * 3 / 4 + spice % (pause_ms / 2) };
        talk.next_ms = Some(now_ms + pause_ms);
    }

    /// A neighbour seems to be an older node: it is told of the history in the way that it understands.
    pub(super) fn is_older(&mut self, peer: PeerId, now_ms: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        (neighbour.branch.speaks, neighbour.talk.mine) = (Speaks::Old, None);
        let link = neighbour.preferred();
        self.announce_history(link, now_ms);
    }

    /// Begins what is due, gives up what is not answered, and treats a new neighbour as an older node that has not shown
    /// to be a newer one. Once a second.
    pub(in crate::core) fn look_after_talks(&mut self, now_ms: u64) {
        for (peer, _) in self.preferred_links().collect::<Vec<_>>() {
            if self.domain_of(&peer).is_some() {
                continue;
            }
            self.go_on_comparing(peer, now_ms);
            let Some(neighbour) = self.neighbours.get_mut(&peer) else { continue };
            let talk = &mut neighbour.talk;
            if talk.mine.as_ref().is_some_and(|session| session.heard_ms + GIVEN_UP_MS <= now_ms) {
                talk.mine = None;
            }
            talk.next_ms = talk.next_ms.map(|at| at.min(now_ms + (EVERY_MS << MAX_DOUBLED) * 2));
            match neighbour.branch.speaks {
                Speaks::Unknown(since_ms) if since_ms + UNKNOWN_MS <= now_ms => {
                    self.is_older(peer, now_ms);
                }
                Speaks::New if talk.next_ms.is_some_and(|at| at <= now_ms) => {
                    talk.next_ms = Some(now_ms + EVERY_MS);
                    self.compare(peer, now_ms);
                }
                _ => {}
            }
        }
    }
}
