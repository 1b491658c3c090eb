//! Max pooling, SSE4.1: 4 floats or 16 levels a vector. Contract and reference: `embdl_core::kernels::pool`.

use core::arch::x86_64::*;

use embdl_core::kernels::{WindowGeometry, pool};

use super::{check, vectors};
use crate::detect::Sse41;
use crate::kernels::segment::segments;

/// Max pooling, float.
pub(crate) fn max_pool_f32(_: Sse41, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    if geometry.input[2] < 4 {
        return pool::max_pool_f32(geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { maxpool_f32_f32_1x4__sse41(geometry, input, out) }
}

/// Max pooling of levels.
pub(crate) fn max_pool_u8(_: Sse41, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    if geometry.input[2] < 16 {
        return pool::max_pool_u8(geometry, input, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { maxpool_qu8_qu8_1x16__sse41(geometry, input, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn maxpool_f32_f32_1x4__sse41(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    check(geometry, input.len(), out.len());
    let [_, width, channels] = geometry.input;
    let [row_step, column_step] = [geometry.dilation[0] * width, geometry.dilation[1]];
    for segment in segments(geometry) {
        for ox in segment.ox.clone() {
            let pixel = segment.pixel(geometry, ox);
            let result = &mut out[geometry.output_index([segment.oy, ox])..][..channels];
            for channel in vectors(channels, 4) {
                let mut best = _mm_set1_ps(f32::NEG_INFINITY);
                for row in 0..segment.ky.len() {
                    for column in 0..segment.kx.len() {
                        let at = (pixel + row * row_step + column * column_step) * channels;
                        // SAFETY: `segments` asserts that the pixel is one of the input, whose length `check`
                        // asserts; `vectors` gives channels with 4 behind them.
                        let x = unsafe { _mm_loadu_ps(input.as_ptr().add(at + channel)) };
                        // Second stands what is kept where there is a NaN.
                        best = _mm_max_ps(x, best);
                    }
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
    let [_, width, channels] = geometry.input;
    let [row_step, column_step] = [geometry.dilation[0] * width, geometry.dilation[1]];
    for segment in segments(geometry) {
        for ox in segment.ox.clone() {
            let pixel = segment.pixel(geometry, ox);
            let result = &mut out[geometry.output_index([segment.oy, ox])..][..channels];
            for channel in vectors(channels, 16) {
                let mut best = _mm_setzero_si128();
                for row in 0..segment.ky.len() {
                    for column in 0..segment.kx.len() {
                        let at = (pixel + row * row_step + column * column_step) * channels;
                        // SAFETY: `segments` asserts that the pixel is one of the input, whose length `check`
                        // asserts; `vectors` gives channels with 16 behind them.
                        let x = unsafe { _mm_loadu_si128(input.as_ptr().add(at + channel).cast()) };
                        best = _mm_max_epu8(x, best);
                    }
                }
                // SAFETY: `result` has `channels` elements, of which 16 follow `channel`.
                unsafe { _mm_storeu_si128(result.as_mut_ptr().add(channel).cast(), best) };
            }
        }
    }
}
