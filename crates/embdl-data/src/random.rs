//! Seeded draws: one ChaCha stream for each purpose, epoch and index, so that no order of work changes a draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is for: two purposes never share one, even under the same seed.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Purpose {
    Split = 1,
    Order = 2,
    Augment = 3,
    Synthesize = 4,
}

/// A stream of draws. The mapping from bits to values is ours, so a newer generator crate cannot change a split.
#[derive(Debug)]
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of (`purpose`, `seed`, `epoch`, `index`): these four are the whole key.
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([purpose as u64, seed, epoch, index]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..bound`; its bias is below `bound` / 2^64. `bound` must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "there is no number below 0");
        let wide = u128::from(self.0.next_u64()) * bound as u128;
        usize::try_from(wide >> 64).expect("the high half is below `bound`, a usize")
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// A number in `0.0..1.0`, a multiple of 2^-24.
    pub(crate) fn unit(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits are exact in an f32")]
        let bits = (self.0.next_u32() >> 8) as f32;
        bits / 16_777_216.0
    }

    /// A number in `low..high`.
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with this probability; 0 is never, 1 is always.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Fills `bytes` with random bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A fair permutation. Source: Fisher-Yates, as in Knuth, TAOCP 2, algorithm 3.4.2 P.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let keys = [
            (Purpose::Order, 1, 2, 3),
            (Purpose::Augment, 1, 2, 3),
            (Purpose::Order, 9, 2, 3),
            (Purpose::Order, 1, 9, 3),
            (Purpose::Order, 1, 2, 9),
        ];
        let first: Vec<u64> =
            keys.iter().map(|&(p, s, e, i)| Draws::new(p, s, e, i).0.next_u64()).collect();
        let mut distinct = first.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), first.len());
        assert_eq!(Draws::new(Purpose::Order, 1, 2, 3).0.next_u64(), first[0]);
    }

    #[test]
    fn draws_cover_their_range_and_stay_in_it() {
        let mut draws = Draws::new(Purpose::Synthesize, 0, 0, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..7000 {
            counts[draws.below(7)] += 1;
        }
        assert!(counts.iter().all(|&n| (850..1150).contains(&n)), "{counts:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&draws.unit())));
        assert!((0..1000).all(|_| (3..=5).contains(&draws.between(3, 5))));
        assert!((0..1000).all(|_| draws.chance(1.0) && !draws.chance(0.0)));
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_moves_things() {
        let mut items: Vec<u32> = (0..100).collect();
        Draws::new(Purpose::Order, 5, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
