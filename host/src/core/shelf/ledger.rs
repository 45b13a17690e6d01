//! All broadcasts that may be given to others, in the order in which two nodes compare them.
//!
//! Kept in chunks, each with its sum, so that the sum of any stretch costs two partial chunks and one addition for each
//! whole one, whatever times senders claim.

use qpq_schemas::MessageId;
use qpq_schemas::link::{Place, Sum};

/// Broadcasts in a chunk at most. Half of it stays in each half when it is split.
const CHUNK: usize = 128;

/// A chunk that has fewer left joins the one before it, where both fit.
const SMALL: usize = CHUNK / 4;

#[derive(Debug, Default)]
struct Chunk {
    /// Sorted; never empty.
    places: Vec<Place>,
    sum: Sum,
}

impl Chunk {
    fn of(places: Vec<Place>) -> Self {
        let sum = sum_of(&places);
        Self { places, sum }
    }

    fn first(&self) -> Place {
        self.places.first().copied().unwrap_or(Place::END)
    }

    /// How many of its places are before that one.
    fn before(&self, place: Place) -> usize {
        self.places.partition_point(|other| *other < place)
    }
}

/// The order. See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    chunks: Vec<Chunk>,
}

impl Ledger {
    /// How many broadcasts there are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.places.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The sum over all from one place to before another.
    pub fn sum(&self, from: Place, to: Place) -> Sum {
        let mut sum = Sum::default();
        for (chunk, start, end) in self.stretch(from, to) {
            if end - start == chunk.places.len() {
                sum.merge(&chunk.sum);
            } else {
                sum.merge(&sum_of(chunk.places.get(start..end).unwrap_or_default()));
            }
        }
        sum
    }

    /// The broadcasts from one place to before another, in order.
    pub fn between(&self, from: Place, to: Place) -> impl Iterator<Item = Place> + '_ {
        self.stretch(from, to)
            .flat_map(|(chunk, start, end)| chunk.places.get(start..end).unwrap_or_default().iter().copied())
    }

    /// The broadcast that has so many before it, counted from a place.
    pub fn nth(&self, from: Place, mut count: usize) -> Option<Place> {
        for (chunk, start, end) in self.stretch(from, Place::END) {
            match count.checked_sub(end - start) {
                Some(rest) => count = rest,
                None => return chunk.places.get(start + count).copied(),
            }
        }
        None
    }

    pub(super) fn insert(&mut self, place: Place) {
        let at = self.chunk_of(place);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return self.chunks.push(Chunk::of(vec![place]));
        };
        let within = chunk.before(place);
        if chunk.places.get(within) == Some(&place) {
            return;
        }
        chunk.places.insert(within, place);
        chunk.sum.add(&MessageId(place.id));
        if chunk.places.len() > CHUNK {
            let behind = chunk.places.split_off(CHUNK / 2);
            *chunk = Chunk::of(std::mem::take(&mut chunk.places));
            self.chunks.insert(at + 1, Chunk::of(behind));
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let at = self.chunk_of(place);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let within = chunk.before(place);
        if chunk.places.get(within) != Some(&place) {
            return;
        }
        chunk.places.remove(within);
        chunk.sum.remove(&MessageId(place.id));
        if chunk.places.is_empty() {
            self.chunks.remove(at);
        } else if chunk.places.len() < SMALL {
            self.join(at);
        }
    }

    /// Puts a small chunk to the one before it.
    fn join(&mut self, at: usize) {
        let Some(before) = at.checked_sub(1) else { return };
        let len = |at: usize| self.chunks.get(at).map_or(0, |chunk| chunk.places.len());
        if len(before) + len(at) > CHUNK {
            return;
        }
        let small = self.chunks.remove(at);
        if let Some(chunk) = self.chunks.get_mut(before) {
            chunk.places.extend(small.places);
            chunk.sum.merge(&small.sum);
        }
    }

    /// The number of the chunk that a place belongs to.
    fn chunk_of(&self, place: Place) -> usize {
        self.chunks.partition_point(|chunk| chunk.first() <= place).saturating_sub(1)
    }

    /// The chunks of a stretch, each with the part of it that lies in there.
    fn stretch(&self, from: Place, to: Place) -> impl Iterator<Item = (&Chunk, usize, usize)> {
        let chunks = self.chunks.get(self.chunk_of(from)..).unwrap_or_default();
        let parts = chunks.iter().take_while(move |chunk| chunk.first() < to);
        parts.map(move |chunk| {
            let start = chunk.before(from);
            (chunk, start, chunk.before(to).max(start))
        })
    }
}

fn sum_of(places: &[Place]) -> Sum {
    let mut sum = Sum::default();
    places.iter().for_each(|place| sum.add(&MessageId(place.id)));
    sum
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn it_agrees_with_a_sorted_set_whatever_comes_and_goes() {
        let seed = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut ledger, mut model) = (Ledger::default(), BTreeSet::new());
        let place = |rng: &mut StdRng| Place { created_ms: rng.random_range(1..9), id: [rng.random(); 32] };
        for step in 0..20_000 {
            let one = place(&mut rng);
            if rng.random_bool(if step / 2_000 % 2 == 0 { 0.8 } else { 0.2 }) {
                ledger.insert(one);
                model.insert(one);
            } else {
                ledger.remove(one);
                model.remove(&one);
            }
            if step % 100 == 0 {
                let (from, to) = (place(&mut rng), place(&mut rng));
                let (from, to) = (from.min(to), from.max(to));
                let there: Vec<Place> = model.range(from..to).copied().collect();
                assert_eq!(ledger.between(from, to).collect::<Vec<_>>(), there, "seed {seed}");
                assert_eq!(ledger.sum(from, to), sum_of(&there), "seed {seed}");
                assert_eq!(ledger.len(), model.len(), "seed {seed}");
                let count = rng.random_range(0..50);
                assert_eq!(ledger.nth(from, count), model.range(from..).nth(count).copied(), "seed {seed}");
            }
        }
        model.iter().for_each(|one| ledger.remove(*one));
        assert!(ledger.is_empty(), "seed {seed}");
    }
}
