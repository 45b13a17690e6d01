//! Small damage to well-formed inputs: what a hostile peer, a bad disk or a broken program would do.

use crate::Random;

/// Inputs stop growing here, in bytes: above the largest envelope, below what makes a run slow.
const MAX_LEN: usize = 80 * 1024;

/// The most damages done to one input.
const MAX_DAMAGES: usize = 6;

/// Numbers at which lengths and counters break.
const EDGES: &[u64] =
    &[0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// Damages `input` in a few places. `other` is a second input to take pieces from.
pub(super) fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(MAX_DAMAGES) {
        damage(random, input, other);
    }
    input.truncate(MAX_LEN);
}

fn damage(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 => flip(random, input, at),
        1 => overwrite(input, at, &[random.next_u64() as u8]),
        2 => write_number(random, input, at),
        3 => input.truncate(at),
        4 => cut(random, input, at),
        5 => {
            let count = 1 + random.below(16);
            insert(input, at, &random.bytes(count));
        }
        6 => {
            let piece = piece(random, &input.clone()).to_vec();
            insert(input, at, &piece);
        }
        7 => insert(input, at, piece(random, other)),
        _ => {
            input.truncate(at);
            input.extend_from_slice(piece(random, other));
        }
    }
}

fn flip(random: &mut Random, input: &mut [u8], at: usize) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Writes a number of 1, 2, 4 or 8 bytes, in either byte order, that is likely to be a wrong length.
fn write_number(random: &mut Random, input: &mut [u8], at: usize) {
    let edge = EDGES.get(random.below(EDGES.len())).copied().unwrap_or_default();
    let width = 1 << random.below(4);
    let bytes = if random.below(2) == 0 {
        edge.to_be_bytes()[8 - width..].to_vec()
    } else {
        edge.to_le_bytes()[..width].to_vec()
    };
    overwrite(input, at, &bytes);
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (old, new) in input.iter_mut().skip(at).zip(bytes) {
        *old = *new;
    }
}

fn cut(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let end = at + random.below(input.len() - at + 1);
    input.drain(at..end);
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if input.len() + bytes.len() <= MAX_LEN {
        input.splice(at..at, bytes.iter().copied());
    }
}

fn piece<'a>(random: &mut Random, bytes: &'a [u8]) -> &'a [u8] {
    let start = random.below(bytes.len() + 1);
    let end = start + random.below(bytes.len() - start + 1);
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_bounded_and_can_be_replayed() {
        let damaged = |seed| {
            let mut random = Random::seeded(seed);
            let mut input = b"a well-formed input".to_vec();
            (0..200).for_each(|_| mutate(&mut random, &mut input, b"another one"));
            input
        };
        for seed in 0..200 {
            assert!(damaged(seed).len() <= MAX_LEN);
            assert_eq!(damaged(seed), damaged(seed));
        }
        mutate(&mut Random::seeded(1), &mut Vec::new(), &[]);
    }
}
