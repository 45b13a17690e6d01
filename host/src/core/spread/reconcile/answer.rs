//! The answer to one step of a comparison: it follows from the step and from what is held here.

use std::collections::BTreeSet;

use qpq_schemas::MessageId;
use qpq_schemas::link::{MAX_RANGES, MAX_RECONCILE_IDS, MAX_SYNC_IDS, Part, Place, Range, Reconcile};

use crate::core::shelf::Ledger;

/// A range that differs is split into so many.
const SPLIT: usize = 8;

/// Broadcasts of a differing range that are listed, not split.
const LISTED: usize = 8;

/// Broadcasts that one step tells the neighbour of at most, since it lacks them. The rest of the range is compared again.
const MAX_TOLD: usize = MAX_SYNC_IDS;

/// What follows from one step.
#[derive(Default)]
pub(super) struct Answer {
    /// Where the first range begins.
    pub(super) from: Option<Place>,
    pub(super) ranges: Vec<Range>,
    listed: usize,
    /// What the neighbour lacks.
    pub(super) told: Vec<MessageId>,
    /// What it has, as far as it said.
    pub(super) theirs: Vec<MessageId>,
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
    pub(super) fn split(&mut self, ledger: &Ledger, from: Place, to: Place, ranks: impl Iterator<Item = usize>) {
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
pub(super) fn answer(ledger: &Ledger, floor: Place, step: &Reconcile) -> Answer {
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
