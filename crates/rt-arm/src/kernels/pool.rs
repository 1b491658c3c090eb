//! Max pooling of one sample. Contract and reference: `embdl_core::kernels::pool`.
//!
//! Channels stand side by side, so a vector takes the maximum of 16 levels or 4 floats over all taps. Four vectors run
//! at a time; the last channels of a pixel are done again with those before them to fill a vector.

use core::arch::aarch64::*;

use embdl_core::kernels::{WindowGeometry, pool};

use super::window::{Taps, for_each_group};

mod rows;

/// Max pooling, float. NaN never wins over a number.
///
/// # Panics
/// If a slice does not fit the geometry.
#[target_feature(enable = "neon")]
pub(super) fn max_pool_f32(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    let channels = geometry.input[2];
    if channels < 4 {
        return pool::max_pool_f32(geometry, input, out);
    }
    check(geometry, input.len(), out.len());
    if rows::max_pool::<float32x4_t>(geometry, input, out) {
        return;
    }
    for_each_group(geometry, 1, |result, _, taps| {
        let out = &mut out[result * channels..][..channels];
        let mut base = 0;
        while base + 16 <= channels {
            maximum_f32::<4>(taps, input, channels, base, &mut out[base..base + 16]);
            base += 16;
        }
        while base < channels {
            base = base.min(channels - 4);
            maximum_f32::<1>(taps, input, channels, base, &mut out[base..base + 4]);
            base += 4;
        }
    });
}

/// Max pooling of levels.
///
/// # Panics
/// If a slice does not fit the geometry.
#[target_feature(enable = "neon")]
pub(super) fn max_pool_u8(geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    let channels = geometry.input[2];
    if channels < 16 {
        return pool::max_pool_u8(geometry, input, out);
    }
    check(geometry, input.len(), out.len());
    if rows::max_pool::<uint8x16_t>(geometry, input, out) {
        return;
    }
    for_each_group(geometry, 1, |result, _, taps| {
        let out = &mut out[result * channels..][..channels];
        let mut base = 0;
        while base + 64 <= channels {
            maximum_u8::<4>(taps, input, channels, base, &mut out[base..base + 64]);
            base += 64;
        }
        while base < channels {
            base = base.min(channels - 16);
            maximum_u8::<1>(taps, input, channels, base, &mut out[base..base + 16]);
            base += 16;
        }
    });
}

/// The maxima of `V` vectors of channels from `base` on.
#[target_feature(enable = "neon")]
#[inline]
fn maximum_f32<const V: usize>(
    taps: &Taps,
    input: &[f32],
    channels: usize,
    base: usize,
    out: &mut [f32],
) {
    assert!(out.len() == 4 * V && base + 4 * V <= channels, "a block beyond the channels");
    let mut best = [vdupq_n_f32(f32::NEG_INFINITY); V];
    taps.for_each(|pixel, _| {
        for (v, best) in best.iter_mut().enumerate() {
            // SAFETY: taps lead to pixels of the input, which has `channels` elements a pixel; the block is in them.
            let x = unsafe { vld1q_f32(input.as_ptr().add(pixel * channels + base + 4 * v)) };
            *best = vmaxnmq_f32(*best, x);
        }
    });
    for (out, best) in out.as_chunks_mut::<4>().0.iter_mut().zip(best) {
        // SAFETY: a chunk has four elements.
        unsafe { vst1q_f32(out.as_mut_ptr(), best) };
    }
}

/// The maxima of `V` vectors of channels from `base` on.
#[target_feature(enable = "neon")]
#[inline]
fn maximum_u8<const V: usize>(
    taps: &Taps,
    input: &[u8],
    channels: usize,
    base: usize,
    out: &mut [u8],
) {
    assert!(out.len() == 16 * V && base + 16 * V <= channels, "a block beyond the channels");
    let mut best = [vdupq_n_u8(0); V];
    taps.for_each(|pixel, _| {
        for (v, best) in best.iter_mut().enumerate() {
            // SAFETY: taps lead to pixels of the input, which has `channels` elements a pixel; the block is in them.
            let x = unsafe { vld1q_u8(input.as_ptr().add(pixel * channels + base + 16 * v)) };
            *best = vmaxq_u8(*best, x);
        }
    });
    for (out, best) in out.as_chunks_mut::<16>().0.iter_mut().zip(best) {
        // SAFETY: a chunk has sixteen bytes.
        unsafe { vst1q_u8(out.as_mut_ptr(), best) };
    }
}

fn check(geometry: &WindowGeometry, input: usize, out: usize) {
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}
