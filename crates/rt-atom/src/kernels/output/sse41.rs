//! Output stage, SSE4.1: four channels a vector.

use core::arch::x86_64::*;

use embdl_core::kernels::OutQ8;
use embdl_core::quant::Requant;

use super::{Block, copy_lanes, multipliers, requantize_by_rule};

/// Stores the first `block.count` of `4 * NV` accumulators, requantized where `out` wants levels.
///
/// # Panics
/// If `out` does not hold the block.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn store<const NV: usize>(out: &mut OutQ8<'_>, block: Block, sums: &[__m128i; NV]) {
    const { assert!(NV == 1 || NV == 2, "a vector of levels has up to 8 channels") };
    let count = block.count.min(4 * NV);
    match out {
        OutQ8::I32(out) => copy_lanes(&lanes(sums)[..count], &mut out[block.at..][..count]),
        OutQ8::U8(requant, out) => {
            let out = &mut out[block.at..][..count];
            if requant.shift < 32 {
                return requantize_by_rule(requant, block.channel, &lanes(sums)[..count], out);
            }
            let levels = levels(requant, block.channel, sums);
            let mut bytes = [0_u8; 8];
            // SAFETY: eight bytes.
            unsafe { _mm_storel_epi64(bytes.as_mut_ptr().cast(), levels) };
            copy_lanes(&bytes[..count], out);
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

/// Levels of `4 * NV` channels from `channel`, in the lowest bytes.
#[inline]
#[target_feature(enable = "sse4.1")]
fn levels<const NV: usize>(requant: &Requant, channel: usize, sums: &[__m128i; NV]) -> __m128i {
    let multipliers = multipliers::<8>(requant, channel);
    let shift = requant.shift;
    let rounding = _mm_set1_epi64x((1_i64 << (shift - 1)) + (1_i64 << 62));
    let (count, odd_count) =
        (_mm_cvtsi32_si128(shift.cast_signed()), _mm_cvtsi32_si128((shift - 32).cast_signed()));
    let offset = _mm_set1_epi32(i32::from(requant.zero_point) - (1_i32 << (62 - shift)));
    let mut words = [_mm_setzero_si128(); 2];
    for ((word, &sum), multiplier) in words.iter_mut().zip(sums).zip(multipliers.as_chunks::<4>().0)
    {
        // SAFETY: four i32.
        let multiplier = unsafe { _mm_loadu_si128(multiplier.as_ptr().cast()) };
        let even = _mm_mul_epi32(sum, multiplier);
        let odd = _mm_mul_epi32(_mm_srli_epi64::<32>(sum), _mm_srli_epi64::<32>(multiplier));
        let even = _mm_srl_epi64(_mm_add_epi64(even, rounding), count);
        // Shifted by 32 less, the odd results stand in the odd lanes; the blend drops what is below them.
        let odd = _mm_srl_epi64(_mm_add_epi64(odd, rounding), odd_count);
        *word = _mm_add_epi32(_mm_blend_epi16::<0xcc>(even, odd), offset);
    }
    // Both packs saturate, and the bounds lie inside what they saturate to.
    let words = _mm_packs_epi32(words[0], words[1]);
    let levels = _mm_packus_epi16(words, words);
    let (min, max) = (requant.min.cast_signed(), requant.max.cast_signed());
    _mm_min_epu8(_mm_max_epu8(levels, _mm_set1_epi8(min)), _mm_set1_epi8(max))
}
