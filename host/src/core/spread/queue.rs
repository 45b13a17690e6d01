//! Broadcasts that wait for one link: the most urgent first, in a class what is new before what was missed, then by age.

use std::collections::BTreeMap;

use qpq_schemas::MessageId;
use qpq_schemas::envelope::Priority;

use crate::store::Head;

/// Broadcasts waiting for one link at most. What falls out is found again when both compare what they hold.
const MAX_CASTS: usize = 16_384;

/// Why a broadcast goes to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) enum Cast {
    /// It is new, or was missing on the way along the tree.
    New,
    /// It was missed, and is of a topic that the neighbour itself wants.
    Wanted,
    /// It was missed.
    Missed,
}

/// The urgent sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: u8,
    cast: Cast,
    seq: u64,
}

impl Rank {
    fn new(priority: Priority, cast: Cast, seq: u64) -> Self {
        Self { class: class(priority), cast, seq }
    }
}

fn class(priority: Priority) -> u8 {
    Priority::Emergency as u8 - priority as u8
}

/// All kinds.
const CASTS: [Cast; 3] = [Cast::New, Cast::Wanted, Cast::Missed];

/// The queue of a link.
#[derive(Debug, Default)]
pub(in crate::core) struct Casts {
    waiting: BTreeMap<Rank, MessageId>,
    /// Broadcasts fell out: compare what both hold once it is empty.
    pub(in crate::core) lost: bool,
}

impl Casts {
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a broadcast; the least urgent falls out when there are too many.
    pub(in crate::core) fn push(&mut self, head: &Head, cast: Cast) {
        let rank = Rank::new(head.priority, cast, head.seq);
        let sooner = CASTS.into_iter().filter(|other| *other < cast);
        if sooner.map(|other| Rank::new(head.priority, other, head.seq)).any(|other| self.waiting.contains_key(&other))
        {
            return; // it goes sooner as it is
        }
        self.forget(head);
        self.waiting.insert(rank, head.id);
        if self.waiting.len() > MAX_CASTS {
            self.waiting.pop_last();
            self.lost = true;
        }
    }

    /// The next one of that priority or a higher one.
    pub(in crate::core) fn pop(&mut self, least: Priority) -> Option<MessageId> {
        let next = self.waiting.first_entry()?;
        (next.key().class <= class(least)).then(|| next.remove())
    }

    /// The neighbour has this one.
    pub(in crate::core) fn forget(&mut self, head: &Head) {
        for cast in CASTS {
            self.waiting.remove(&Rank::new(head.priority, cast, head.seq));
        }
    }

    /// Takes out what is new, in order.
    pub(in crate::core) fn take_new(&mut self) -> Vec<MessageId> {
        let all = std::mem::take(&mut self.waiting);
        let (new, rest): (BTreeMap<_, _>, _) = all.into_iter().partition(|(rank, _)| rank.cast == Cast::New);
        self.waiting = rest;
        new.into_values().collect()
    }

    /// Takes over what waits for another link to the same neighbour.
    pub(in crate::core) fn take_over(&mut self, other: Self) {
        self.waiting.extend(other.waiting);
        self.lost |= other.lost;
        while self.waiting.len() > MAX_CASTS {
            self.waiting.pop_last();
            self.lost = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use qpq_schemas::PeerId;
    use qpq_schemas::envelope::Kind;

    use super::*;
    use crate::store::Places;

    fn head(seq: u64, priority: Priority) -> Head {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&seq.to_be_bytes());
        Head {
            seq,
            id: MessageId(id),
            kind: Kind::Broadcast,
            priority,
            hop_count: 0,
            max_hops: 9,
            places: Places::HISTORY,
            sender: PeerId([1; 32]),
            destination: [2; 32],
            wire_len: 200,
            created_ms: 1,
            received_ms: 1,
            expires_ms: 2,
            source: None,
        }
    }

    #[test]
    fn the_urgent_leave_first_then_what_is_new_then_by_age() {
        let mut casts = Casts::default();
        let all = [
            (1, Priority::Low, Cast::New),
            (2, Priority::Normal, Cast::Missed),
            (3, Priority::Normal, Cast::New),
            (4, Priority::Normal, Cast::Wanted),
            (5, Priority::Emergency, Cast::Missed),
            (6, Priority::High, Cast::New),
            (7, Priority::Normal, Cast::New),
        ];
        all.iter().for_each(|(seq, priority, cast)| casts.push(&head(*seq, *priority), *cast));
        let order: Vec<u8> = std::iter::from_fn(|| casts.pop(Priority::Normal)).map(|id| id.0[7]).collect();
        assert_eq!(order, [5, 6, 3, 7, 4, 2], "the low one waits until it is asked for");
        assert_eq!(casts.pop(Priority::Low).map(|id| id.0[7]), Some(1));
        assert!(casts.is_empty() && !casts.lost);
    }

    #[test]
    fn of_too_many_the_least_urgent_falls_out_and_that_is_known() {
        let mut casts = Casts::default();
        (0..MAX_CASTS as u64).for_each(|seq| casts.push(&head(seq, Priority::Normal), Cast::New));
        assert!(!casts.lost);
        casts.push(&head(99_999, Priority::Emergency), Cast::New);
        assert!(casts.lost);
        assert_eq!(casts.pop(Priority::Low), Some(head(99_999, Priority::Emergency).id));
        assert_eq!(casts.waiting.len(), MAX_CASTS - 1);
    }
}
