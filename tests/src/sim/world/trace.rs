//! A fingerprint of a run.

/// Mixes numbers in the order in which they come. Tells runs apart that differ; no protection against anybody.
#[derive(Debug, Clone)]
pub struct Trace([u64; 2]);

impl Default for Trace {
    fn default() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

impl Trace {
    /// Takes in two numbers.
    pub fn mix(&mut self, one: u64, other: u64) {
        let [a, b] = &mut self.0;
        *a = scramble(*a ^ one);
        *b = scramble(b.wrapping_add(*a) ^ other);
    }

    /// 32 hex digits.
    pub fn finish(&self) -> String {
        let [a, b] = self.0;
        format!("{:016x}{:016x}", scramble(a ^ b.rotate_left(32)), scramble(b))
    }
}

/// The finish of SplitMix64 (Steele, Lea, Flood, 2014).
fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_one_number_or_in_the_order_has_another_fingerprint() {
        let of = |numbers: &[u64]| {
            let mut trace = Trace::default();
            numbers.iter().for_each(|number| trace.mix(*number, 0));
            trace.finish()
        };
        assert_eq!(of(&[1, 2, 3]), of(&[1, 2, 3]));
        assert_ne!(of(&[1, 2, 3]), of(&[1, 3, 2]));
        assert_ne!(of(&[1, 2, 3]), of(&[1, 2, 4]));
        assert_ne!(of(&[0]), of(&[0, 0]));
    }
}
