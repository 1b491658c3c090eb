//! Depthwise convolution of one sample. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! ```text
//! for each four results in a row (at the borders: each result), each eight channels:
//!     sums[4][8] = bias
//!     for each tap: w[8] = weights[tap]; for each result: sums[result] += x[result][8] * w
//! ```
//! Four results share the loads of the weights. Floats: 8 accumulators + 2 weights + 1 input, 18 instructions for 32
//! products. Levels: `x - zero_point` in 16 bits (`usubl`), `smlal` and `smlal2` into 8 accumulators, 18 for 32 too.
//! The last channels of a pixel are done again with those before them to fill a vector.

use core::arch::aarch64::*;
use core::ops::Range;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8, WindowGeometry, depthwise};

use super::output::{self, Sink};
use super::window::{Taps, for_each_group, full_columns};

mod rows_q8;
mod slide;

/// Results in a row that are computed together.
const TOGETHER: usize = 4;

/// Depthwise convolution, float.
///
/// # Panics
/// If a slice does not fit the geometry.
#[target_feature(enable = "neon")]
pub(super) fn depthwise_f32(job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let channels = job.geometry.input[2];
    if channels < 4 {
        return depthwise::depthwise_f32(job, out);
    }
    check(&job.geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let geometry = &job.geometry;
    if geometry.kernel == [3, 3] && geometry.dilation == [1, 1] {
        match geometry.stride {
            [_, 1] => return rows_3x3::<1>(job, out),
            [_, 2] => return rows_3x3::<2>(job, out),
            _ => {}
        }
    }
    for_each_group(&job.geometry, TOGETHER, |result, results, taps| {
        let mut base = 0;
        while base < channels {
            let wide = base + 8 <= channels;
            base = base.min(channels - 4);
            match (results == TOGETHER, wide) {
                (true, true) => block_f32::<TOGETHER, 2>(job, taps, result, base, out),
                (true, false) => block_f32::<TOGETHER, 1>(job, taps, result, base, out),
                (false, true) => block_f32::<1, 2>(job, taps, result, base, out),
                (false, false) => block_f32::<1, 1>(job, taps, result, base, out),
            }
            base += if wide { 8 } else { 4 };
        }
    });
}

/// Windows of 3x3 that are `S` columns apart, a row of results at a time, a vector of channels at a time: the weights stay in
/// registers, and four results share the columns that their windows have in common.
#[target_feature(enable = "neon")]
fn rows_3x3<const S: usize>(job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let geometry = &job.geometry;
    let full = full_columns(geometry);
    let row = geometry.output[1] * geometry.input[2];
    for (oy, out) in out[..geometry.output_len()].chunks_exact_mut(row).enumerate() {
        let taps = geometry.valid_taps(0, oy);
        match taps.len() {
            3 => row_3x3::<S, 3>(job, oy, taps.start, full.clone(), out),
            2 => row_3x3::<S, 2>(job, oy, taps.start, full.clone(), out),
            1 => row_3x3::<S, 1>(job, oy, taps.start, full.clone(), out),
            _ => row_3x3::<S, 0>(job, oy, 0, full.clone(), out),
        }
    }
}

/// Row `oy` of the results, of whose taps the `R` rows from `tap` on are in the input; `full` columns of results have all
/// three columns of taps there.
#[target_feature(enable = "neon")]
fn row_3x3<const S: usize, const R: usize>(
    job: &DepthwiseF32<'_>,
    oy: usize,
    tap: usize,
    full: Range<usize>,
    out: &mut [f32],
) {
    let geometry = &job.geometry;
    let [height, width, channels] = geometry.input;
    let y = if R > 0 { geometry.input_position(0, oy, tap) } else { 0 };
    assert!(y + R <= height && tap + R <= 3);
    assert!((full.is_empty() || geometry.input_position(1, full.end - 1, 2) < width));
    let (low, high) = (vdupq_n_f32(job.clamp.0), vdupq_n_f32(job.clamp.1));
    let clamp = |sum| vminq_f32(vmaxq_f32(sum, low), high);
    for ox in (0..full.start).chain(full.end..geometry.output[1]) {
        let columns = geometry.valid_taps(1, ox);
        let x = if columns.is_empty() { 0 } else { geometry.input_position(1, ox, columns.start) };
        assert!(x + columns.len() <= width);
        let input = job.input.as_ptr().wrapping_add((y * width + x) * channels);
        let out = &mut out[ox * channels..][..channels];
        for base in (0..channels).step_by(4) {
            let base = base.min(channels - 4);
            // SAFETY: there is a bias for each channel, and the vector from `base` is among them.
            let mut sum = unsafe { vld1q_f32(job.bias.as_ptr().add(base)) };
            for j in 0..columns.len() {
                for r in 0..R {
                    let at = (tap + r) * 3 + columns.start + j;
                    // SAFETY: nine times `channels` weights, and asserted above: R rows of the input, and these columns.
                    unsafe {
                        let w = vld1q_f32(job.weights.as_ptr().add(at * channels + base));
                        let x = vld1q_f32(input.add((r * width + j) * channels + base));
                        sum = vfmaq_f32(sum, x, w);
                    }
                }
            }
            // SAFETY: `channels` results.
            unsafe { vst1q_f32(out.as_mut_ptr().add(base), clamp(sum)) };
        }
    }
    if full.is_empty() {
        return;
    }
    for base in (0..channels).step_by(4) {
        let base = base.min(channels - 4);
        // SAFETY: there is a bias for each channel, and the vector from `base` is among them.
        let bias = unsafe { vld1q_f32(job.bias.as_ptr().add(base)) };
        let mut w = [[bias; 3]; R];
        for (r, w) in w.iter_mut().enumerate() {
            for (j, w) in w.iter_mut().enumerate() {
                let at = ((tap + r) * 3 + j) * channels + base;
                // SAFETY: there are nine times `channels` weights, and `tap + R` is at most three.
                *w = unsafe { vld1q_f32(job.weights.as_ptr().add(at)) };
            }
        }
        let x = geometry.input_position(1, full.start, 0);
        let line = width * channels;
        let mut input = job.input.as_ptr().wrapping_add(y * line + x * channels + base);
        let mut to = out.as_mut_ptr().wrapping_add(full.start * channels + base);
        let mut left = full.len();
        if let (1, [u, v, w]) = (S, &w[..]) {
            let rows = [input, input.wrapping_add(line), input.wrapping_add(2 * line)];
            let row = slide::Row {
                input: rows,
                weights: &[*u, *v, *w],
                bias,
                bounds: [low, high],
                out: to,
                channels,
                count: left,
            };
            // SAFETY: asserted above: three rows of the input, and the columns of all full windows, of which there are some.
            unsafe { slide::windows(&row) };
            continue;
        }
        while left >= TOGETHER {
            // SAFETY: asserted above: R rows of the input, and the columns of all full windows.
            let sums = unsafe { windows_3x3::<S, R, TOGETHER>(input, line, channels, &w, bias) };
            for (r, sum) in sums.into_iter().enumerate() {
                // SAFETY: a result of the row, of `channels` elements.
                unsafe { vst1q_f32(to.add(r * channels), clamp(sum)) };
            }
            input = input.wrapping_add(TOGETHER * S * channels);
            to = to.wrapping_add(TOGETHER * channels);
            left -= TOGETHER;
        }
        for _ in 0..left {
            // SAFETY: as above.
            unsafe {
                let [sum] = windows_3x3::<S, R, 1>(input, line, channels, &w, bias);
                vst1q_f32(to, clamp(sum));
            }
            input = input.wrapping_add(S * channels);
            to = to.wrapping_add(channels);
        }
    }
}

/// The sums of `N` neighbouring windows, of which the first starts at `input`.
///
/// # Safety
/// `R` rows, `line` apart, of `S * (N - 1) + 3` vectors, `channels` apart.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn windows_3x3<const S: usize, const R: usize, const N: usize>(
    input: *const f32,
    line: usize,
    channels: usize,
    w: &[[float32x4_t; 3]; R],
    bias: float32x4_t,
) -> [float32x4_t; N] {
    let mut sums = [bias; N];
    for (r, w) in w.iter().enumerate() {
        let row = super::gemm::opaque(input.wrapping_add(r * line));
        for column in 0..S * (N - 1) + 3 {
            // SAFETY: by the contract.
            let x = unsafe { vld1q_f32(row.add(column * channels)) };
            for (n, sum) in sums.iter_mut().enumerate() {
                if (S * n..S * n + 3).contains(&column) {
                    *sum = vfmaq_f32(*sum, x, w[column - S * n]);
                }
            }
        }
    }
    sums
}

/// Depthwise convolution, integer; pads have the zero point and so add nothing.
///
/// # Panics
/// If a slice does not fit the geometry.
#[target_feature(enable = "neon")]
pub(super) fn depthwise_q8(job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
    let channels = job.geometry.input[2];
    if channels < 8 {
        return depthwise::depthwise_q8(job, out);
    }
    let mut sink = Sink::new(out);
    check(&job.geometry, job.input.len(), job.weights.len(), job.bias.len(), sink.len());
    if let ([3, 3], [1, 1], Sink::U8(stage, out)) =
        (job.geometry.kernel, job.geometry.dilation, &mut sink)
    {
        match job.geometry.stride {
            [_, 1] => return rows_q8::rows_3x3::<1>(job, stage, out),
            [_, 2] => return rows_q8::rows_3x3::<2>(job, stage, out),
            _ => {}
        }
    }
    for_each_group(&job.geometry, TOGETHER, |result, results, taps| {
        let mut base = 0;
        while base < channels {
            base = base.min(channels - 8);
            if results == TOGETHER {
                block_q8::<TOGETHER>(job, taps, result, base, &mut sink);
            } else {
                block_q8::<1>(job, taps, result, base, &mut sink);
            }
            base += 8;
        }
    });
}

/// `RESULTS` results of `V` vectors of channels from `base` on.
#[target_feature(enable = "neon")]
#[inline]
fn block_f32<const RESULTS: usize, const V: usize>(
    job: &DepthwiseF32<'_>,
    taps: &Taps,
    result: usize,
    base: usize,
    out: &mut [f32],
) {
    let channels = job.geometry.input[2];
    assert!(base + 4 * V <= channels, "a block beyond the channels");
    let mut bias = [vdupq_n_f32(0.0); V];
    for (v, bias) in bias.iter_mut().enumerate() {
        *bias = output::load_f32(&job.bias[base + 4 * v..]);
    }
    let mut sums = [bias; RESULTS];
    taps.for_each(|pixel, tap| {
        for v in 0..V {
            // SAFETY: there are `channels` weights a tap, and the block is in them.
            let w = unsafe { vld1q_f32(job.weights.as_ptr().add(tap * channels + base + 4 * v)) };
            for (r, sums) in sums.iter_mut().enumerate() {
                let at = (pixel + r * taps.stride) * channels + base + 4 * v;
                // SAFETY: taps of all RESULTS results lead to pixels of the input, and the block is in their channels.
                let x = unsafe { vld1q_f32(job.input.as_ptr().add(at)) };
                sums[v] = vfmaq_f32(sums[v], x, w);
            }
        }
    });
    let (low, high) = (vdupq_n_f32(job.clamp.0), vdupq_n_f32(job.clamp.1));
    for (r, sums) in sums.iter().enumerate() {
        let out = &mut out[(result + r) * channels + base..][..4 * V];
        for (out, &sum) in out.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            output::store_f32(out, vminq_f32(vmaxq_f32(sum, low), high));
        }
    }
}

/// `RESULTS` results of eight channels from `base` on.
#[target_feature(enable = "neon")]
#[inline]
fn block_q8<const RESULTS: usize>(
    job: &DepthwiseQ8<'_>,
    taps: &Taps,
    result: usize,
    base: usize,
    sink: &mut Sink<'_>,
) {
    let channels = job.geometry.input[2];
    assert!(base + 8 <= channels, "a block beyond the channels");
    let zero_point = vdup_n_u8(job.zero_point);
    let bias = [output::load_i32(&job.bias[base..]), output::load_i32(&job.bias[base + 4..])];
    let mut sums = [bias; RESULTS];
    taps.for_each(|pixel, tap| {
        // SAFETY: there are `channels` weights a tap, and the block is in them.
        let w = unsafe { vld1_s8(job.weights.as_ptr().add(tap * channels + base)) };
        let w = vmovl_s8(w);
        for (r, sums) in sums.iter_mut().enumerate() {
            let at = (pixel + r * taps.stride) * channels + base;
            // SAFETY: taps of all RESULTS results lead to pixels of the input, and the block is in their channels.
            let x = unsafe { vld1_u8(job.input.as_ptr().add(at)) };
            // The difference modulo 2^16 is the signed difference: it is in -255 ..= 255.
            let x = vreinterpretq_s16_u16(vsubl_u8(x, zero_point));
            sums[0] = vmlal_s16(sums[0], vget_low_s16(x), vget_low_s16(w));
            sums[1] = vmlal_high_s16(sums[1], x, w);
        }
    });
    let multipliers = sink.multipliers::<2>(base);
    for (r, sums) in sums.iter().enumerate() {
        sink.store((result + r) * channels + base, 8, sums, &multipliers);
    }
}

fn check(geometry: &WindowGeometry, input: usize, weights: usize, bias: usize, out: usize) {
    let channels = geometry.input[2];
    let taps = geometry.kernel[0] * geometry.kernel[1];
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(weights == taps * channels, "{weights} weights do not fit {geometry:?}");
    assert!(bias == channels, "{bias} biases for {channels} channels");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}
