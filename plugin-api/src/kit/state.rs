//! What an instance said to its host, and what the host answers.

use std::collections::{BTreeMap, HashMap};

use super::random::Random;
use crate::abi::Status;

/// At most that many broken rules are kept.
const MAX_VIOLATIONS: usize = 8;

/// What was noted so far.
#[derive(Default)]
pub(super) struct State {
    /// Operations that were begun, with their answers.
    pub(super) ops: HashMap<u64, Vec<(Status, String)>>,
    /// Links, by number.
    pub(super) links: BTreeMap<u64, LinkNote>,
    /// Calls of `fail`.
    pub(super) failures: Vec<(Status, String)>,
    /// How many frames the host takes.
    pub(super) appetite: Appetite,
    /// Links whose frames the host took in part only: `resume` is owed.
    pub(super) owed: Vec<u64>,
    /// Calls of `on_writable`, by link.
    pub(super) writable: HashMap<u64, u64>,
    /// Refuse every link.
    pub(super) refuse: bool,
    /// It was started: from now on `fail` means that a node would have to start another instance.
    pub(super) started: bool,
    /// `stop` has returned.
    pub(super) stopped: bool,
    /// Rules that were broken.
    pub(super) violations: Vec<String>,
    /// Control bytes of routing.
    pub(super) controls: Vec<(u64, Vec<u8>)>,
    /// Calls of `invalidate`.
    pub(super) invalidated: u64,
    /// What discovery found: kind, operation, record.
    pub(super) peers: Vec<(u32, u64, String)>,
    /// Randomness for routing.
    pub(super) random: Option<Random>,
}

impl State {
    /// Notes that a rule was broken.
    pub(super) fn broken(&mut self, what: String) {
        if self.violations.len() < MAX_VIOLATIONS && !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }
}

/// How many frames the host takes.
#[derive(Default)]
pub(super) enum Appetite {
    /// All.
    #[default]
    All,
    /// None.
    None,
    /// By chance: none, some or all.
    Short(Random),
}

impl Appetite {
    /// How many of `n` frames are taken now.
    pub(super) fn take(&mut self, n: usize) -> usize {
        match self {
            Self::All => n,
            Self::None => 0,
            Self::Short(random) => match random.below(4) {
                0 => 0,
                1 => n,
                _ => random.below(n + 1),
            },
        }
    }
}

/// A link, as its transport reported it.
#[derive(Default, Clone)]
pub(super) struct LinkNote {
    /// The dial that made it.
    pub(super) op: u64,
    /// See [`link_flags`](crate::abi::link_flags).
    pub(super) flags: u32,
    /// Largest frame.
    pub(super) max_frame: u32,
    /// The proven key.
    pub(super) peer: [u8; 32],
    /// The other end.
    pub(super) remote: String,
    /// The bytes that only both ends share.
    pub(super) binding: Vec<u8>,
    /// The host refused it.
    pub(super) refused: bool,
    /// Why it went down.
    pub(super) down: Option<String>,
    /// Frames that came in.
    pub(super) frames: Vec<Vec<u8>>,
    /// Frames that were handed back.
    pub(super) unsent: Vec<Vec<u8>>,
}
