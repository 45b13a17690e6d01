//! The virtual clock: what is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Happenings in the order of their times; of two at one time the one that was put in first comes first, so that a run can
/// be repeated. The heap holds small keys alone, and the happenings stay where they are until they are due.
#[derive(Debug)]
pub struct Queue<T> {
    keys: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    count: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { keys: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<T> Queue<T> {
    /// Puts something in for that time, in microseconds.
    pub fn push(&mut self, at_us: u64, what: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(what);
        }
        self.count += 1;
        self.keys.push(Reverse((at_us, self.count, slot)));
    }

    /// Takes out what is due next, if that is not after `until_us`.
    pub fn pop(&mut self, until_us: u64) -> Option<(u64, T)> {
        let Reverse((at_us, _, slot)) = *self.keys.peek().filter(|Reverse((at_us, ..))| *at_us <= until_us)?;
        self.keys.pop();
        self.free.push(slot);
        let what = self.slots.get_mut(slot as usize)?.take()?;
        Some((at_us, what))
    }

    /// When the next one is due, in microseconds.
    pub fn due_us(&self) -> Option<u64> {
        self.keys.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    /// How many were put in so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_equals_in_the_order_of_their_coming() {
        let mut queue = Queue::default();
        [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')].into_iter().for_each(|(at, what)| queue.push(at, what));
        let due: String = std::iter::from_fn(|| queue.pop(5)).map(|(_, what)| what).collect();
        assert_eq!(due, "abcd");
        queue.push(7, 'x');
        assert_eq!(queue.pop(10), Some((7, 'x')));
        assert_eq!(queue.pop(10), Some((9, 'e')));
        assert_eq!(queue.pop(10), None);
    }
}
