//! Output stage of integer kernels: where accumulators go, and the requantization that matches `embdl_core::quant`.
//!
//! The vector code takes shifts of 32 to 54, where the upper half of a product holds the result and the zero point still
//! fits above it. Other shifts mean a ratio of at least one half or below 2^-23, which layers do not have in practice; they
//! take the scalar rule.

use embdl_core::kernels::OutQ8;
use embdl_core::quant::Requant;

use crate::simd::Simd;

/// Most lanes of two vectors.
const MAX_LANES: usize = 32;

/// Where a block of accumulators goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Index of the first result.
    pub(crate) at: usize,
    /// Results from one row to the next.
    pub(crate) stride: usize,
    /// Channel of the first result.
    pub(crate) channel: usize,
    /// Results a row.
    pub(crate) count: usize,
}

/// The constants of a layer's output stage for two vectors of channels.
#[derive(Clone, Copy)]
pub(crate) struct Stage<S: Simd> {
    multipliers: [S::I32; 2],
    rounding: S::Rounding,
    bounds: [u8; 2],
}

impl<S: Simd> Stage<S> {
    /// The stage for the channels from `channel`, if `out` wants levels and the vector code takes the shift.
    #[inline(always)]
    pub(crate) fn prepare(simd: S, out: &OutQ8<'_>, channel: usize) -> Option<Self> {
        let OutQ8::U8(requant, _) = out else { return None };
        if !(32..=54).contains(&requant.shift) {
            return None;
        }
        let multipliers = multipliers(requant, channel);
        let rounding = simd.rounding(requant.shift, requant.zero_point);
        // SAFETY: MAX_LANES multipliers are two vectors at least.
        let load =
            [0, S::LANES].map(|at| unsafe { simd.load_bytes(multipliers.as_ptr().add(at).cast()) });
        Some(Self { multipliers: load, rounding, bounds: [requant.min, requant.max] })
    }
}

/// Stores the first `block.count` of `NV` vectors of accumulators of `M` rows, requantized where `out` wants levels.
/// `stage` is what [`Stage::prepare`] gave for the block's channels.
///
/// # Panics
/// If `out` does not hold the block.
#[inline(always)]
pub(crate) fn store<S: Simd, const M: usize, const NV: usize>(
    simd: S,
    stage: Option<&Stage<S>>,
    out: &mut OutQ8<'_>,
    block: Block,
    sums: &[[S::I32; NV]; M],
) {
    const { assert!(NV == 1 || NV == 2, "a stage has two vectors") };
    let count = block.count.min(NV * S::LANES);
    match out {
        OutQ8::I32(out) => {
            for (r, sums) in sums.iter().enumerate() {
                let out = &mut out[block.at + r * block.stride..][..count];
                if count == NV * S::LANES {
                    for (v, &sum) in sums.iter().enumerate() {
                        // SAFETY: `out` has NV vectors of i32.
                        unsafe { simd.store_bytes(out.as_mut_ptr().add(v * S::LANES).cast(), sum) };
                    }
                } else {
                    copy_lanes(&lanes(simd, sums)[..count], out);
                }
            }
        }
        OutQ8::U8(requant, out) => {
            let Some(stage) = stage else {
                for (r, sums) in sums.iter().enumerate() {
                    let out = &mut out[block.at + r * block.stride..][..count];
                    requantize_by_rule(requant, block.channel, &lanes(simd, sums)[..count], out);
                }
                return;
            };
            let mut r = 0;
            while r < M {
                if r + 2 <= M && count == 2 * S::LANES {
                    let out = &mut out[block.at + r * block.stride..][..block.stride + count];
                    let words = [stage.words(simd, &sums[r]), stage.words(simd, &sums[r + 1])];
                    let first = out.as_mut_ptr();
                    // SAFETY: two rows of 2 * LANES bytes, a stride apart.
                    unsafe {
                        let at = [first, first.add(block.stride)];
                        simd.store_two_levels(at, words, stage.bounds);
                    }
                    r += 2;
                    continue;
                }
                let out = &mut out[block.at + r * block.stride..][..count];
                stage.store_row(simd, &sums[r], out);
                r += 1;
            }
        }
    }
}

impl<S: Simd> Stage<S> {
    /// The levels of a row, not yet clamped.
    #[inline(always)]
    fn words<const NV: usize>(&self, simd: S, sums: &[S::I32; NV]) -> [S::I32; 2] {
        let mut words = [simd.splat_i32(0); 2];
        for (v, word) in words.iter_mut().take(NV).enumerate() {
            *word = simd.requantize(sums[v], self.multipliers[v], self.rounding);
        }
        words
    }

    /// Stores the first levels of a row, as many as `out` holds.
    #[inline(always)]
    fn store_row<const NV: usize>(&self, simd: S, sums: &[S::I32; NV], out: &mut [u8]) {
        let words = self.words(simd, sums);
        if out.len() == 2 * S::LANES {
            // SAFETY: `out` has 2 * LANES bytes.
            unsafe { simd.store_levels(out.as_mut_ptr(), words, self.bounds) };
        } else {
            let mut levels = [0_u8; MAX_LANES];
            // SAFETY: MAX_LANES are 2 * LANES at least.
            unsafe { simd.store_levels(levels.as_mut_ptr(), words, self.bounds) };
            copy_lanes(&levels[..out.len()], out);
        }
    }

    /// Stores the levels of two rows of two vectors.
    #[inline(always)]
    pub(crate) fn store_two(&self, simd: S, sums: [[S::I32; 2]; 2], out: [&mut [u8]; 2]) {
        let words = [self.words(simd, &sums[0]), self.words(simd, &sums[1])];
        let [first, second] = out;
        assert!(first.len() == 2 * S::LANES && second.len() == 2 * S::LANES);
        // SAFETY: 2 * LANES bytes each.
        unsafe {
            let at = [first.as_mut_ptr(), second.as_mut_ptr()];
            simd.store_two_levels(at, words, self.bounds);
        }
    }
}

#[inline(always)]
fn lanes<S: Simd, const NV: usize>(simd: S, sums: &[S::I32; NV]) -> [i32; MAX_LANES] {
    let mut lanes = [0; MAX_LANES];
    for (v, &sum) in sums.iter().enumerate() {
        // SAFETY: NV is at most 2, and MAX_LANES are two vectors at least.
        unsafe { simd.store_bytes(lanes.as_mut_ptr().add(v * S::LANES).cast(), sum) };
    }
    lanes
}

/// Multipliers of the channels from `channel`; zeros beyond the last.
#[inline]
fn multipliers(requant: &Requant, channel: usize) -> [i32; MAX_LANES] {
    if let [multiplier] = requant.multipliers[..] {
        return [multiplier; MAX_LANES];
    }
    let rest = &requant.multipliers[channel..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut multipliers = [0; MAX_LANES];
        for (slot, &multiplier) in multipliers.iter_mut().zip(rest) {
            *slot = multiplier;
        }
        multipliers
    })
}

/// The scalar rule, for shifts that the vector code does not take.
#[cold]
fn requantize_by_rule(requant: &Requant, channel: usize, sums: &[i32], out: &mut [u8]) {
    for (c, (slot, &sum)) in out.iter_mut().zip(sums).enumerate() {
        *slot = requant.apply(sum, channel + c);
    }
}

/// Copies up to 32 elements, in pieces of a fixed size: a call to memcpy costs more than the copy.
#[inline(always)]
fn copy_lanes<T: Copy>(lanes: &[T], out: &mut [T]) {
    assert!(lanes.len() == out.len(), "{} lanes, {} results", lanes.len(), out.len());
    let mut at = 0;
    macro_rules! piece {
        ($($n:literal)+) => {$(
            if let (Some(lanes), Some(out)) =
                (lanes[at..].first_chunk::<$n>(), out[at..].first_chunk_mut::<$n>())
            {
                *out = *lanes;
                at += $n;
            }
        )+};
    }
    piece!(16 16 8 4 2 1);
    debug_assert!(at == out.len(), "32 lanes at most");
}
