//! Seeded data for tests: the same numbers on every machine.

/// A small generator (xorshift64*). Source: Vigna 2016, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled".
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed` alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // Zero would stay zero; an odd factor spreads small seeds.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// The next 32 bits.
    pub const fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// An integer in `low ..= high`.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn integer(&mut self, low: i32, high: i32) -> i32 {
        assert!(low <= high, "an empty range {low}..={high}");
        let count = u64::from(high.abs_diff(low)) + 1;
        let offset = (u64::from(self.next_u32()) * count) >> 32;
        i32::try_from(i64::from(low) + offset.cast_signed()).expect("within low ..= high")
    }

    /// A number in `-1.0 .. 1.0`, a multiple of 2^-23.
    pub fn unit(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit in an f32")]
        let steps = (self.next_u32() >> 8) as f32;
        steps / 8_388_608.0 - 1.0
    }

    /// `len` numbers in `-1.0 .. 1.0`.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next_u32().to_le_bytes()[0]).collect()
    }

    /// `len` integers in `-limit ..= limit`.
    ///
    /// # Panics
    /// If `limit` is negative.
    pub fn weights(&mut self, len: usize, limit: i8) -> Vec<i8> {
        let range = i32::from(limit);
        let weight = |r: &mut Self| i8::try_from(r.integer(-range, range)).expect("within i8");
        (0..len).map(|_| weight(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept_and_filled() {
        let mut random = Random::new(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            let x = random.integer(-3, 3);
            seen[usize::try_from(x + 3).expect("at least -3")] = true;
            assert!((-1.0..1.0).contains(&random.unit()));
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(random.integer(i32::MIN, i32::MIN), i32::MIN);
    }
}
