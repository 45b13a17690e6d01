//! Comparing the histories of two neighbours, at a cost that grows with the difference: ranges of the common order whose
//! fingerprints differ are split until the ids in them can be listed.
//!
//! Whoever answers keeps no state: the answer to a step follows from the step and from what is held here.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use qpq_schemas::link::{Frame, MAX_RANGES, MAX_RECONCILE_IDS, MAX_SYNC_IDS, Part, Place, Range, Reconcile, Sync};
use qpq_schemas::{MessageId, PeerId};

use super::tree::{Speaks, UNKNOWN_MS};
use super::{Core, Effect, LinkId};
use crate::core::shelf::Ledger;

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

/// A range that differs is split into so many.
const SPLIT: usize = 8;

/// The first step of a comparison looks at so many ranges, cut at other places each time. So nobody can keep two sets that
/// differ looking the same for long, by making messages whose sums fit.
const FIRST_SPLIT: usize = 4;

/// Broadcasts of a differing range that are listed, not split.
const LISTED: usize = 8;

/// Broadcasts that one step tells the neighbour of at most, since it lacks them. The rest of the range is compared again.
const MAX_TOLD: usize = MAX_SYNC_IDS;

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

/// What follows from one step.
#[derive(Default)]
struct Answer {
    /// Where the first range begins.
    from: Option<Place>,
    ranges: Vec<Range>,
    listed: usize,
    /// What the neighbour lacks.
    told: Vec<MessageId>,
    /// What it has, as far as it said.
    theirs: Vec<MessageId>,
}

impl Answer {
    fn has_room(&self) -> bool {
        self.ranges.len() + SPLIT < MAX_RANGES
            && self.listed + LISTED <= MAX_RECONCILE_IDS
            && self.told.len() < MAX_TOLD
    }

    /// What is said of a range. Ranges that need no word are left out before the first that does.
    fn say(&mut self, from: Place, to: Place, part: Part) {
        match (&part, self.ranges.last_mut()) {
            (Part::Skip, None) => {}
            (Part::Skip, Some(last)) if last.part == Part::Skip => last.to = to,
            _ => {
                self.from.get_or_insert(from);
                self.listed += if let Part::Ids(ids) = &part { ids.len() } else { 0 };
                self.ranges.push(Range { to, part });
            }
        }
    }

    fn finish(&mut self) {
        if self.ranges.last().is_some_and(|last| last.part == Part::Skip) {
            self.ranges.pop();
        }
    }

    /// Compares one range with what the neighbour says of it.
    fn compare(&mut self, ledger: &Ledger, from: Place, to: Place, part: &Part) {
        match part {
            Part::Skip => self.say(from, to, Part::Skip),
            Part::Fingerprint(theirs) => {
                let ours = ledger.sum(from, to);
                match usize::try_from(ours.count()).unwrap_or(usize::MAX) {
                    _ if ours.fingerprint() == *theirs => self.say(from, to, Part::Skip),
                    count if count <= LISTED => {
                        let ids = ledger.between(from, to).map(|place| MessageId(place.id)).collect();
                        self.say(from, to, Part::Ids(ids));
                    }
                    count => self.split(ledger, from, to, (1..SPLIT).map(|n| n * count / SPLIT)),
                }
            }
            Part::Ids(theirs) => self.settle(ledger, from, to, theirs),
        }
    }

    /// Says the fingerprints of parts of a range, each beginning at the broadcast that has so many before it.
    fn split(&mut self, ledger: &Ledger, from: Place, to: Place, ranks: impl Iterator<Item = usize>) {
        let mut start = from;
        for rank in ranks.filter(|rank| *rank > 0) {
            let (Some(before), Some(cut)) = (ledger.nth(from, rank - 1), ledger.nth(from, rank)) else { break };
            let cut = cut.shortened(before);
            if cut <= start || cut >= to {
                continue;
            }
            self.say(start, cut, Part::Fingerprint(ledger.sum(start, cut).fingerprint()));
            start = cut;
        }
        self.say(start, to, Part::Fingerprint(ledger.sum(start, to).fingerprint()));
    }

    /// The neighbour has listed all that it has in a range: so both know in what it differs.
    fn settle(&mut self, ledger: &Ledger, from: Place, to: Place, theirs: &[MessageId]) {
        self.theirs.extend_from_slice(theirs);
        let listed: BTreeSet<&MessageId> = theirs.iter().collect();
        let mut lacking = ledger.between(from, to).filter(|place| !listed.contains(&MessageId(place.id)));
        let room = MAX_TOLD.saturating_sub(self.told.len());
        self.told.extend(lacking.by_ref().take(room).map(|place| MessageId(place.id)));
        match lacking.next() {
            None => self.say(from, to, Part::Skip),
            Some(rest) => {
                self.say(from, rest, Part::Skip);
                self.say(rest, to, Part::Fingerprint(ledger.sum(rest, to).fingerprint()));
            }
        }
    }
}

/// The answer to one step. What is older than `floor` isn't kept here, and not compared.
fn answer(ledger: &Ledger, floor: Place, step: &Reconcile) -> Answer {
    let mut answer = Answer::default();
    let (mut from, end) = (step.from, step.ranges.last().map_or(step.from, |range| range.to));
    for range in &step.ranges {
        let start = from.max(floor);
        from = range.to;
        if start >= range.to {
            continue;
        }
        if !answer.has_room() {
            answer.say(start, end, Part::Fingerprint(ledger.sum(start, end).fingerprint()));
            break;
        }
        answer.compare(ledger, start, range.to, &range.part);
    }
    answer.finish();
    answer
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

    /// Begins a comparison, unless one is under way.
    pub(super) fn compare(&mut self, peer: PeerId, now_ms: u64) {
        let number = self.spread.session.wrapping_add(1);
        let Some(neighbour) = self.neighbours.get_mut(&peer).filter(|other| other.talk.mine.is_none()) else { return };
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
        talk.next_ms = Some(now_ms + pause_ms * 3 / 4 + spice % (pause_ms / 2));
    }

    /// Begins what is due, gives up what is not answered, and treats a new neighbour as an older node that has not shown
    /// to be a newer one. Once a second.
    pub(in crate::core) fn look_after_talks(&mut self, now_ms: u64) {
        for (peer, link) in self.preferred_links().collect::<Vec<_>>() {
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
                Speaks::Unknown(since_ms) if since_ms.min(now_ms) + UNKNOWN_MS <= now_ms => {
                    neighbour.branch.speaks = Speaks::Old;
                    talk.mine = None;
                    self.announce_history(link, now_ms);
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
