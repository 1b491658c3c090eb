//! Output stage, SSE4.1: four channels a vector.

use core::arch::x86_64::*;

use embdl_core::kernels::OutQ8;
use embdl_core::quant::Requant;

use super::{Block, copy_lanes, multipliers, requantize_by_rule};

/// Stores the first `block.count` of `4 * NV` accumulators of `M` rows, requantized where `out` wants levels.
///
/// # Panics
/// If `out` does not hold the block.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn store<const M: usize, const NV: usize>(
    out: &mut OutQ8<'_>,
    block: Block,
    sums: &[[__m128i; NV]; M],
) {
    let stage = Stage::prepare(out, block.channel);
    store_prepared(stage.as_ref(), out, block, sums);
}

/// Like `store`, with what [`Stage::prepare`] gave for the block's channels.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn store_prepared<const M: usize, const NV: usize>(
    stage: Option<&Stage>,
    out: &mut OutQ8<'_>,
    block: Block,
    sums: &[[__m128i; NV]; M],
) {
    const { assert!(NV == 1 || NV == 2, "a vector of levels has up to 8 channels") };
    let count = block.count.min(4 * NV);
    match out {
        OutQ8::I32(out) => {
            for (r, sums) in sums.iter().enumerate() {
                copy_lanes(&lanes(sums)[..count], &mut out[block.at + r * block.stride..][..count]);
            }
        }
        OutQ8::U8(requant, out) => {
            let Some(stage) = stage else {
                for (r, sums) in sums.iter().enumerate() {
                    let out = &mut out[block.at + r * block.stride..][..count];
                    requantize_by_rule(requant, block.channel, &lanes(sums)[..count], out);
                }
                return;
            };
            for (r, sums) in sums.iter().enumerate() {
                let out = &mut out[block.at + r * block.stride..][..count];
                let levels = stage.levels(sums);
                if let Ok(out) = <&mut [u8; 8]>::try_from(&mut *out) {
                    // SAFETY: eight bytes.
                    unsafe { _mm_storel_epi64(out.as_mut_ptr().cast(), levels) };
                } else {
                    let mut bytes = [0_u8; 8];
                    // SAFETY: eight bytes.
                    unsafe { _mm_storel_epi64(bytes.as_mut_ptr().cast(), levels) };
                    copy_lanes(&bytes[..count], out);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn lanes<const NV: usize>(sums: &[__m128i; NV]) -> [i32; 8] {
    let mut lanes = [0; 8];
    for (&sum, lanes) in sums.iter().zip(lanes.as_chunks_mut::<4>().0) {
        // SAFETY: four i32.
        unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), sum) };
    }
    lanes
}

/// The constants of a layer's output stage for eight channels.
pub(crate) struct Stage {
    /// Multipliers of four channels each.
    multipliers: [__m128i; 2],
    /// Half of the divisor, and 2^62.
    rounding: __m128i,
    /// The shift, and the shift less 32.
    shifts: [__m128i; 2],
    /// The zero point less the shifted 2^62.
    offset: __m128i,
    /// Smallest and largest level.
    bounds: [__m128i; 2],
}

impl Stage {
    /// The stage for the channels from `channel`, if `out` wants levels and the vector code takes the shift.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    pub(crate) fn prepare(out: &OutQ8<'_>, channel: usize) -> Option<Self> {
        match out {
            OutQ8::U8(requant, _) if requant.shift >= 32 => Some(Self::new(requant, channel)),
            _ => None,
        }
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn new(requant: &Requant, channel: usize) -> Self {
        let multipliers = multipliers::<8>(requant, channel);
        let shift = requant.shift;
        // SAFETY: four i32 each.
        let load = |at: usize| unsafe {
            _mm_loadu_si128(multipliers.as_chunks::<4>().0[at].as_ptr().cast())
        };
        Self {
            multipliers: [load(0), load(1)],
            rounding: _mm_set1_epi64x((1_i64 << (shift - 1)) + (1_i64 << 62)),
            shifts: [
                _mm_cvtsi32_si128(shift.cast_signed()),
                _mm_cvtsi32_si128((shift - 32).cast_signed()),
            ],
            offset: _mm_set1_epi32(i32::from(requant.zero_point) - (1_i32 << (62 - shift))),
            bounds: [
                _mm_set1_epi8(requant.min.cast_signed()),
                _mm_set1_epi8(requant.max.cast_signed()),
            ],
        }
    }

    /// Levels of `4 * NV` channels, in the lowest bytes.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn levels<const NV: usize>(&self, sums: &[__m128i; NV]) -> __m128i {
        let mut words = [_mm_setzero_si128(); 2];
        for ((word, &sum), &multiplier) in words.iter_mut().zip(sums).zip(&self.multipliers) {
            let even = _mm_mul_epi32(sum, multiplier);
            let odd = _mm_mul_epi32(_mm_srli_epi64::<32>(sum), _mm_srli_epi64::<32>(multiplier));
            let even = _mm_srl_epi64(_mm_add_epi64(even, self.rounding), self.shifts[0]);
            // Shifted by 32 less, the odd results stand in the odd lanes; the blend drops what is below them.
            let odd = _mm_srl_epi64(_mm_add_epi64(odd, self.rounding), self.shifts[1]);
            *word = _mm_add_epi32(_mm_blend_epi16::<0xcc>(even, odd), self.offset);
        }
        // Both packs saturate, and the bounds lie inside what they saturate to.
        let words = _mm_packs_epi32(words[0], words[1]);
        let levels = _mm_packus_epi16(words, words);
        _mm_min_epu8(_mm_max_epu8(levels, self.bounds[0]), self.bounds[1])
    }
}
