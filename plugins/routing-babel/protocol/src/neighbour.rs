//! A neighbour: the links to it, and how far the two of us agree.

use crate::bucket::Bucket;
use crate::cost::{NEUTRAL_COST, link_cost};
use crate::limits::{DIGEST_MS, MAX_REPAIR_MS, WORK_BURST, WORK_PER_MS};
use crate::record::Key;
use crate::table::{NO_ROW, RowId};

/// A link to a neighbour.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The host's number.
    pub id: u64,
    /// When it came up.
    pub up_ms: u64,
    /// What it costs.
    pub cost: u32,
    /// Round-trip time in microseconds, 0 when not measured.
    pub rtt_us: u64,
    /// Loss in parts of a million.
    pub loss_ppm: u32,
    /// When a HELLO went out whose answer would tell the round-trip time.
    pub hello_ms: Option<u64>,
}

impl Link {
    /// A link that came up just now.
    pub fn new(id: u64, now_ms: u64) -> Self {
        Self { id, up_ms: now_ms, cost: NEUTRAL_COST, rtt_us: 0, loss_ppm: 0, hello_ms: None }
    }

    /// Takes a measurement.
    pub fn measured(&mut self, rtt_us: u64, loss_ppm: u32) {
        (self.rtt_us, self.loss_ppm) = (rtt_us, loss_ppm);
        let cost = link_cost(rtt_us, loss_ppm);
        if crate::cost::differs(self.cost, cost) {
            self.cost = cost;
        }
    }
}

/// A neighbour with whom tables are exchanged.
#[derive(Debug)]
pub struct Neighbour {
    /// Its public key.
    pub key: Key,
    /// The links to it. Control frames go over the first one alone, so that they stay in order. Empty when it is gone: the
    /// place is kept for its return until another needs it.
    pub links: Vec<Link>,
    /// Its own row, if it is a destination.
    pub row: RowId,
    /// The random number of its present life; 0 when it hasn't said.
    pub instance: u64,
    /// The present instance took over on a link that was up: its node went on living.
    pub swapped: bool,
    /// Whether it says the same of our instance, over a link that may tell.
    pub says_swapped: Option<bool>,
    /// It knows our instance, and so nothing from the one before: what it says counts.
    pub acked: bool,
    /// The link over which its last table came: its word counts over this one alone, so that it stays in order.
    pub heard_on: u64,
    /// It was told the whole table.
    pub table_sent: bool,
    /// It waits for the whole table.
    pub wants_table: bool,
    /// How much of whole tables it may still have, in rows.
    pub tables: Bucket,
    /// A further link came up, which may lead to its next life: until then nothing goes there.
    pub suspect_until: Option<u64>,
    /// What it may still make us do, in units of [`WORK_PER_MS`] rows.
    pub work: Bucket,
    /// How often it may have a place looked for in a full table.
    pub room: Bucket,
    /// No destination in its share was farther than that when a place was looked for last, and until when that counts.
    pub farthest: (u32, u64),
    /// Our rows by its numbers.
    pub numbers: Vec<RowId>,
    /// Destinations to which it says that it has a way.
    pub finite: usize,
    /// The sum over all that it told us.
    pub heard_sum: u64,
    /// The sum over all that the others were told and it was not: ways that lead through it.
    pub poison_sum: u64,
    /// Between BEGIN and END: rows told so far, a bit each.
    pub marks: Option<Vec<u64>>,
    /// When it gets the next digest.
    pub digest_ms: u64,
    /// The earliest next repair, and the pause before it.
    pub repair: (u64, u64),
}

impl Neighbour {
    /// A neighbour without links.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            links: Vec::new(),
            row: NO_ROW,
            instance: 0,
            swapped: false,
            says_swapped: None,
            acked: false,
            heard_on: 0,
            table_sent: false,
            wants_table: false,
            work: Bucket::default(),
            tables: Bucket::default(),
            suspect_until: None,
            room: Bucket::default(),
            farthest: (0, 0),
            numbers: Vec::new(),
            finite: 0,
            heard_sum: 0,
            poison_sum: 0,
            marks: None,
            digest_ms: 0,
            repair: (0, DIGEST_MS),
        }
    }

    /// The same neighbour after its last link went down. What it has cost is not forgotten by that.
    pub fn parted(&self) -> Self {
        Self { work: self.work, tables: self.tables, room: self.room, ..Self::new(self.key) }
    }

    /// Notes who is at the other end of a link.
    pub fn meet(&mut self, link: u64, instance: u64) {
        if self.instance != instance {
            self.swapped = self.instance != 0 && self.heard_on == link;
        }
        self.instance = instance;
    }

    /// Number of bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.links.capacity() * size_of::<Link>()
            + self.numbers.capacity() * size_of::<RowId>()
            + self.marks.as_ref().map_or(0, |marks| marks.capacity() * size_of::<u64>())
    }

    /// Whether a link to it is up.
    pub fn is_up(&self) -> bool {
        !self.links.is_empty()
    }

    /// The cheapest link; of equal ones the oldest.
    pub fn best_link(&self) -> Option<&Link> {
        self.links.iter().min_by_key(|link| link.cost)
    }

    /// Control frames go over this link from now on.
    pub fn prefer(&mut self, link: u64) {
        if let Some(place) = self.links.iter().position(|one| one.id == link) {
            self.links.swap(0, place);
        }
    }

    /// Which row its number stands for.
    pub fn row_of(&self, number: RowId) -> Option<RowId> {
        self.numbers.get(usize::from(number)).copied().filter(|row| *row != NO_ROW)
    }

    /// Notes which row its number stands for; returns the one before.
    pub fn set_row(&mut self, number: RowId, row: RowId) -> Option<RowId> {
        let place = usize::from(number);
        if self.numbers.len() <= place {
            let more = place + 1 - self.numbers.len();
            if self.numbers.capacity() <= place {
                self.numbers.reserve_exact(more.max(self.numbers.len() / 32 + 8));
            }
            self.numbers.resize(place + 1, NO_ROW);
        }
        let place = self.numbers.get_mut(place)?;
        Some(std::mem::replace(place, row)).filter(|old| *old != NO_ROW && *old != row)
    }

    /// Notes that a row was told since BEGIN.
    pub fn mark(&mut self, row: RowId) {
        let Some(marks) = &mut self.marks else { return };
        let word = usize::from(row / 64);
        if marks.len() <= word {
            marks.resize(word + 1, 0);
        }
        if let Some(word) = marks.get_mut(word) {
            *word |= 1 << (row % 64);
        }
    }

    /// Whether it may make us look at so many rows.
    pub fn may_cost(&mut self, now_ms: u64, rows: u64) -> bool {
        self.work.take_many(now_ms, rows.div_ceil(WORK_PER_MS), WORK_BURST / WORK_PER_MS, 1)
    }

    /// Whether a repair is due now; if so the next one is put off.
    pub fn may_repair(&mut self, now_ms: u64) -> bool {
        let (earliest, pause) = self.repair;
        if now_ms < earliest {
            return false;
        }
        self.repair = (now_ms + pause, (pause * 2).min(MAX_REPAIR_MS));
        true
    }

    /// The tables agree: the next repair may come soon again.
    pub fn agrees(&mut self, now_ms: u64) {
        self.repair = (now_ms, DIGEST_MS);
    }
}

/// Whether a row is in a set of bits.
pub fn is_marked(marks: &[u64], row: RowId) -> bool {
    marks.get(usize::from(row / 64)).is_some_and(|word| word >> (row % 64) & 1 == 1)
}
