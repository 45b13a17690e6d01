//! The last envelopes that were not taken, for people who ask what became of one. Decides nothing.

use std::collections::{HashMap, VecDeque};

use qpq_schemas::{MessageId, PeerId};

/// Refusals remembered, about 150 bytes each. The oldest is forgotten first; a flood of bad ones pushes out others.
const MAX_REFUSALS: usize = 1_024;

/// Why an envelope was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The name of the reason, as its counter has it.
    pub code: &'static str,
    /// When, Unix time in milliseconds.
    pub at_ms: u64,
    /// The neighbour that brought it; `None` when it was handed in here.
    pub source: Option<PeerId>,
}

/// The memory of them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    notes: HashMap<MessageId, Refused>,
    order: VecDeque<MessageId>,
}

impl Refusals {
    pub(super) fn note(&mut self, id: MessageId, refused: Refused) {
        if self.notes.insert(id, refused).is_some() {
            return; // it keeps its place
        }
        self.order.push_back(id);
        if self.order.len() > MAX_REFUSALS
            && let Some(oldest) = self.order.pop_front()
        {
            self.notes.remove(&oldest);
        }
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<Refused> {
        self.notes.get(id).copied()
    }

    /// The ids, in no particular order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &MessageId> {
        self.notes.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut refusals = Refusals::default();
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            MessageId(id)
        };
        for n in 0..=MAX_REFUSALS {
            let refused = Refused { code: "signature", at_ms: n as u64, source: None };
            refusals.note(id(n), refused);
            refusals.note(id(n), refused);
        }
        assert_eq!((refusals.ids().count(), refusals.get(&id(0))), (MAX_REFUSALS, None));
        assert_eq!(refusals.get(&id(MAX_REFUSALS)).map(|refused| refused.at_ms), Some(MAX_REFUSALS as u64));
    }
}
