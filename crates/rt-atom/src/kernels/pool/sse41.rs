//! Max pooling, SSE4.1: 4 floats or 16 levels a vector. Contract and reference: `embdl_core::kernels::pool`.

use core::arch::x86_64::*;

use embdl_core::kernels::{WindowGeometry, pool};

use super::{check, vectors};
use crate::detect::Sse41;
use crate::kernels::segment::{MAX_TAPS, Taps, segments};

/// Max pooling, float.
pub(crate) fn max_pool_f32(_: Sse41, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    if geometry.input[2] < 4 || geometry.kernel[0] * geometry.kernel[1] > MAX_TAPS {
        return pool::max_pool_f32(geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { maxpool_f32_f32_1x4__sse41(geometry, input, out) }
}

/// Max pooling of levels.
pub(crate) fn max_pool_u8(_: Sse41, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    if geometry.input[2] < 16 || geometry.kernel[0] * geometry.kernel[1] > MAX_TAPS {
        return pool::max_pool_u8(geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { maxpool_qu8_qu8_1x16__sse41(geometry, input, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn maxpool_f32_f32_1x4__sse41(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    check(geometry, input.len(), out.len());
    let channels = geometry.input[2];
    let mut taps = Taps::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        let last = taps.inputs().last().copied().unwrap_or(0);
        for ox in segment.ox.clone() {
            let first = segment.pixel(geometry, ox) * channels;
            assert!(first + last + channels <= input.len(), "a window outside of the input");
            let result = &mut out[geometry.output_index([segment.oy, ox])..][..channels];
            for channel in vectors(channels, 4) {
                let mut best = _mm_set1_ps(f32::NEG_INFINITY);
                for &tap in taps.inputs() {
                    let at = first + tap;
                    // SAFETY: taps ascend, and all channels of the last are in the input by the assertion;
                    // `vectors` gives a channel with a vector of them behind it.
                    let x = unsafe { _mm_loadu_ps(input.as_ptr().add(at + channel)) };
                    // Second stands what is kept where there is a NaN.
                    best = _mm_max_ps(x, best);
                }
                // SAFETY: `result` has `channels` elements, of which 4 follow `channel`.
                unsafe { _mm_storeu_ps(result.as_mut_ptr().add(channel), best) };
            }
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn maxpool_qu8_qu8_1x16__sse41(geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    check(geometry, input.len(), out.len());
    let channels = geometry.input[2];
    let mut taps = Taps::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        let last = taps.inputs().last().copied().unwrap_or(0);
        for ox in segment.ox.clone() {
            let first = segment.pixel(geometry, ox) * channels;
            assert!(first + last + channels <= input.len(), "a window outside of the input");
            let result = &mut out[geometry.output_index([segment.oy, ox])..][..channels];
            for channel in vectors(channels, 16) {
                let mut best = _mm_setzero_si128();
                for &tap in taps.inputs() {
                    let at = first + tap;
                    // SAFETY: taps ascend, and all channels of the last are in the input by the assertion;
                    // `vectors` gives a channel with a vector of them behind it.
                    let x = unsafe { _mm_loadu_si128(input.as_ptr().add(at + channel).cast()) };
                    best = _mm_max_epu8(x, best);
                }
                // SAFETY: `result` has `channels` elements, of which 16 follow `channel`.
                unsafe { _mm_storeu_si128(result.as_mut_ptr().add(channel).cast(), best) };
            }
        }
    }
}
