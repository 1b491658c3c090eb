//! Max pooling, AVX2: 8 floats or 32 levels a vector. Contract and reference: `embdl_core::kernels::pool`.

use core::arch::x86_64::*;

use embdl_core::kernels::WindowGeometry;

use super::{check, vectors};
use crate::detect::Avx2;
use crate::kernels::segment::{MAX_TAPS, Taps, segments};

/// Max pooling, float.
pub(crate) fn max_pool_f32(token: Avx2, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    if geometry.input[2] < 8 || geometry.kernel[0] * geometry.kernel[1] > MAX_TAPS {
        return super::sse41::max_pool_f32(token.into(), geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has AVX2.
    unsafe { maxpool_f32_f32_1x8__avx2(geometry, input, out) }
}

/// Max pooling of levels.
pub(crate) fn max_pool_u8(token: Avx2, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    if geometry.input[2] < 32 || geometry.kernel[0] * geometry.kernel[1] > MAX_TAPS {
        return super::sse41::max_pool_u8(token.into(), geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has AVX2.
    unsafe { maxpool_qu8_qu8_1x32__avx2(geometry, input, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn maxpool_f32_f32_1x8__avx2(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
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
            for channel in vectors(channels, 8) {
                let mut best = _mm256_set1_ps(f32::NEG_INFINITY);
                for &tap in taps.inputs() {
                    let at = first + tap;
                    // SAFETY: taps ascend, and all channels of the last are in the input by the assertion;
                    // `vectors` gives a channel with a vector of them behind it.
                    let x = unsafe { _mm256_loadu_ps(input.as_ptr().add(at + channel)) };
                    // Second stands what is kept where there is a NaN.
                    best = _mm256_max_ps(x, best);
                }
                // SAFETY: `result` has `channels` elements, of which 8 follow `channel`.
                unsafe { _mm256_storeu_ps(result.as_mut_ptr().add(channel), best) };
            }
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn maxpool_qu8_qu8_1x32__avx2(geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
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
            for channel in vectors(channels, 32) {
                let mut best = _mm256_setzero_si256();
                for &tap in taps.inputs() {
                    let at = first + tap;
                    // SAFETY: taps ascend, and all channels of the last are in the input by the assertion;
                    // `vectors` gives a channel with a vector of them behind it.
                    let x = unsafe { _mm256_loadu_si256(input.as_ptr().add(at + channel).cast()) };
                    best = _mm256_max_epu8(x, best);
                }
                // SAFETY: `result` has `channels` elements, of which 32 follow `channel`.
                unsafe { _mm256_storeu_si256(result.as_mut_ptr().add(channel).cast(), best) };
            }
        }
    }
}
