//! The output stage of tiles of eight channels: two rows to a vector of levels.

use core::arch::aarch64::*;

use super::{Sink, Stage, scale_32, scale_64};

/// Channels of a tile.
const CHANNELS: usize = 8;

impl Sink<'_> {
    /// Writes the first `count` of `M` rows (all, if there are fewer) from `at` on, `stride` elements apart. `M` is even.
    ///
    /// # Panics
    /// If they do not fit.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn store_rows<const M: usize>(
        &mut self,
        [at, stride]: [usize; 2],
        count: usize,
        sums: &[[int32x4_t; 2]; M],
        multipliers: [int32x4_t; 2],
    ) {
        let Self::U8(stage, out) = self else {
            return self.store_each([at, stride], count, sums, multipliers);
        };
        if count < M {
            return self.store_each([at, stride], count, sums, multipliers);
        }
        assert!(at + (M - 1) * stride + CHANNELS <= out.len());
        let mut to = out.as_mut_ptr().wrapping_add(at);
        let [a, b] = multipliers;
        for &[[c, d], [e, f]] in sums.as_chunks::<2>().0 {
            let levels = stage.apply_16(&[c, d, e, f], [a, b, a, b]);
            let levels = vreinterpretq_u64_u8(levels);
            // SAFETY: asserted above; u64 are written without alignment.
            unsafe {
                vst1q_lane_u64::<0>(to.cast(), levels);
                vst1q_lane_u64::<1>(to.wrapping_add(stride).cast(), levels);
            }
            to = to.wrapping_add(2 * stride);
        }
    }

    /// As [`Self::store_rows`] for `2 * P` rows, of which two at a time share vectors: two channels of the one, the same two of
    /// the other. `multipliers` stand as the channels of two rows do. `P` is even.
    ///
    /// # Panics
    /// If they do not fit.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn store_pairs<const P: usize>(
        &mut self,
        [at, stride]: [usize; 2],
        count: usize,
        sums: &[[int32x4_t; 4]; P],
        multipliers: [int32x4_t; 4],
    ) {
        let [a, b, c, d] = multipliers;
        let is_u8 = matches!(self, Self::U8(..));
        if !is_u8 || count < 2 * P {
            let multipliers = [upper_row(a, b), upper_row(c, d)];
            for (pair, &[a, b, c, d]) in sums.iter().enumerate() {
                let rows = [[upper_row(a, b), upper_row(c, d)], [lower_row(a, b), lower_row(c, d)]];
                let at = [at + 2 * pair * stride, stride];
                self.store_each(at, count.saturating_sub(2 * pair), &rows, multipliers);
            }
            return;
        }
        let Self::U8(stage, out) = self else { return };
        assert!(at + (2 * P - 1) * stride + CHANNELS <= out.len());
        let mut to = out.as_mut_ptr().wrapping_add(at);
        for two in sums.as_chunks::<2>().0 {
            // Pairs of channels alternate between the rows.
            let a = vreinterpretq_u16_u8(stage.apply_16(&two[0], multipliers));
            let b = vreinterpretq_u16_u8(stage.apply_16(&two[1], multipliers));
            let upper = vreinterpretq_u64_u16(vuzp1q_u16(a, b));
            let lower = vreinterpretq_u64_u16(vuzp2q_u16(a, b));
            // SAFETY: asserted above; u64 are written without alignment.
            unsafe {
                vst1q_lane_u64::<0>(to.cast(), upper);
                vst1q_lane_u64::<0>(to.wrapping_add(stride).cast(), lower);
                vst1q_lane_u64::<1>(to.wrapping_add(2 * stride).cast(), upper);
                vst1q_lane_u64::<1>(to.wrapping_add(3 * stride).cast(), lower);
            }
            to = to.wrapping_add(4 * stride);
        }
    }

    #[target_feature(enable = "neon")]
    fn store_each(
        &mut self,
        [at, stride]: [usize; 2],
        count: usize,
        sums: &[[int32x4_t; 2]],
        multipliers: [int32x4_t; 2],
    ) {
        for (i, sums) in sums.iter().take(count).enumerate() {
            self.store(at + i * stride, CHANNELS, sums, &multipliers);
        }
    }
}

impl Stage<'_> {
    /// Sixteen levels from four vectors of accumulators.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in super::super) fn apply_16(
        &self,
        sums: &[int32x4_t; 4],
        multipliers: [int32x4_t; 4],
    ) -> uint8x16_t {
        let mut scaled = *sums;
        if self.short {
            for (sums, multipliers) in scaled.iter_mut().zip(multipliers) {
                *sums = scale_32(*sums, multipliers, self.shift);
            }
        } else {
            for (sums, multipliers) in scaled.iter_mut().zip(multipliers) {
                *sums = scale_64(*sums, multipliers, self.shift);
            }
        }
        let low = vqmovn_high_s32(vqmovn_s32(scaled[0]), scaled[1]);
        let high = vqmovn_high_s32(vqmovn_s32(scaled[2]), scaled[3]);
        let low = vqmovun_s16(vqaddq_s16(low, self.zero_point));
        let levels = vqmovun_high_s16(low, vqaddq_s16(high, self.zero_point));
        vminq_u8(vmaxq_u8(levels, self.min), self.max)
    }
}

/// The first of two rows that share vectors: their lower halves.
#[target_feature(enable = "neon")]
#[inline]
pub(in super::super) fn upper_row(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    vreinterpretq_s32_s64(vzip1q_s64(a, b))
}

/// The second of two rows that share vectors: their upper halves.
#[target_feature(enable = "neon")]
#[inline]
pub(in super::super) fn lower_row(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    vreinterpretq_s32_s64(vzip2q_s64(a, b))
}
