//! Depthwise convolution of levels by windows of 3x3, a row of results at a time, eight channels at a time.
//!
//! ```text
//! for each row of results, each eight channels: w[9] = weights, in 16 bits
//!     for each four results in the row:
//!         sums[4][8] = bias
//!         for each row and column of taps: x = level - zero point, in 16 bits; sums of each result that sees it += x * w
//! ```
//!
//! 9 weights + 8 accumulators + 1 input + bias, multipliers and zero point: four results of stride 1 share 18 loads and
//! 18 `usubl` for 72 `smlal`.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

use embdl_core::kernels::DepthwiseQ8;

use super::super::output::Stage;
use super::super::window::full_columns;
use super::TOGETHER;

/// What does not change from row to row of results.
struct Layer<'a> {
    job: &'a DepthwiseQ8<'a>,
    stage: &'a Stage<'a>,
    /// Columns of results whose windows have all three columns of taps in the input.
    full: Range<usize>,
}

/// Windows of 3x3 that are `S` columns apart, at least eight channels; the caller has checked the slices.
#[target_feature(enable = "neon")]
pub(super) fn rows_3x3<const S: usize>(job: &DepthwiseQ8<'_>, stage: &Stage<'_>, out: &mut [u8]) {
    let geometry = &job.geometry;
    let layer = Layer { job, stage, full: full_columns(geometry) };
    let row = geometry.output[1] * geometry.input[2];
    for (oy, out) in out[..geometry.output_len()].chunks_exact_mut(row).enumerate() {
        let taps = geometry.valid_taps(0, oy);
        match taps.len() {
            3 => row_3x3::<S, 3>(&layer, oy, taps.start, out),
            2 => row_3x3::<S, 2>(&layer, oy, taps.start, out),
            1 => row_3x3::<S, 1>(&layer, oy, taps.start, out),
            _ => row_3x3::<S, 0>(&layer, oy, 0, out),
        }
    }
}

/// Row `oy` of the results, of whose taps the `R` rows from `tap` on are in the input.
#[target_feature(enable = "neon")]
fn row_3x3<const S: usize, const R: usize>(
    layer: &Layer<'_>,
    oy: usize,
    tap: usize,
    out: &mut [u8],
) {
    let Layer { job, stage, full } = layer;
    let geometry = &job.geometry;
    let [height, width, channels] = geometry.input;
    let y = if R > 0 { geometry.input_position(0, oy, tap) } else { 0 };
    assert!(y + R <= height && tap + R <= 3 && channels >= 8);
    assert!(full.is_empty() || geometry.input_position(1, full.end - 1, 2) < width);
    assert!(out.len() == geometry.output[1] * channels);
    let zero_point = vdup_n_u8(job.zero_point);
    let first = if full.is_empty() { 0 } else { geometry.input_position(1, full.start, 0) };
    let line = width * channels;
    for base in (0..channels).step_by(8) {
        let base = base.min(channels - 8);
        // SAFETY: there is a bias for each channel, and the eight from `base` on are among them.
        let bias = unsafe {
            let bias = job.bias.as_ptr().add(base);
            [vld1q_s32(bias), vld1q_s32(bias.add(4))]
        };
        let multipliers = (stage.multipliers(base), stage.multipliers(base + 4));
        let twice = [multipliers.0, multipliers.1, multipliers.0, multipliers.1];
        let mut w = [[vdupq_n_s16(0); 3]; R];
        for (r, w) in w.iter_mut().enumerate() {
            for (j, w) in w.iter_mut().enumerate() {
                let at = ((tap + r) * 3 + j) * channels + base;
                // SAFETY: there are nine times `channels` weights, and `tap + R` is at most three.
                *w = vmovl_s8(unsafe { vld1_s8(job.weights.as_ptr().add(at)) });
            }
        }
        let row = job.input.as_ptr().wrapping_add(y * line + base);
        for ox in (0..full.start).chain(full.end.max(full.start)..geometry.output[1]) {
            let columns = geometry.valid_taps(1, ox);
            let mut sums = bias;
            if !columns.is_empty() {
                let x = geometry.input_position(1, ox, columns.start);
                assert!(x + columns.len() <= width);
                for (r, w) in w.iter().enumerate() {
                    for (j, &w) in w[columns.clone()].iter().enumerate() {
                        // SAFETY: asserted above: R rows of the input, and these columns.
                        let x = unsafe { vld1_u8(row.add(r * line + (x + j) * channels)) };
                        multiply(&mut sums, vsubl_u8(x, zero_point), w);
                    }
                }
            }
            let levels = stage.apply((sums[0], sums[1]), multipliers);
            // SAFETY: `channels` elements a result.
            unsafe { vst1_u8(out.as_mut_ptr().add(ox * channels + base), levels) };
        }
        let mut input = row.wrapping_add(first * channels);
        let mut to = out.as_mut_ptr().wrapping_add(full.start * channels + base);
        let mut left = full.len();
        while left >= TOGETHER {
            // SAFETY: asserted above: R rows of the input, and the columns of all full windows.
            let sums = unsafe {
                windows_3x3::<S, R, TOGETHER>(input, [line, channels], &w, bias, zero_point)
            };
            let [[a, b], [c, d], [e, f], [g, h]] = sums;
            // SAFETY: results of the row, `channels` elements each.
            unsafe {
                store_two(to, channels, stage.apply_16(&[a, b, c, d], twice));
                store_two(to.add(2 * channels), channels, stage.apply_16(&[e, f, g, h], twice));
            }
            input = input.wrapping_add(TOGETHER * S * channels);
            to = to.wrapping_add(TOGETHER * channels);
            left -= TOGETHER;
        }
        for _ in 0..left {
            // SAFETY: as above.
            let [[a, b]] =
                unsafe { windows_3x3::<S, R, 1>(input, [line, channels], &w, bias, zero_point) };
            let levels = stage.apply((a, b), multipliers);
            // SAFETY: a result of the row.
            unsafe { vst1_u8(to, levels) };
            input = input.wrapping_add(S * channels);
            to = to.wrapping_add(channels);
        }
    }
}

/// Writes the levels of two neighbouring results.
///
/// # Safety
/// Eight bytes at each.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn store_two(to: *mut u8, channels: usize, levels: uint8x16_t) {
    let levels = vreinterpretq_u64_u8(levels);
    // SAFETY: by the contract; u64 are written without alignment.
    unsafe {
        vst1q_lane_u64::<0>(to.cast(), levels);
        vst1q_lane_u64::<1>(to.add(channels).cast(), levels);
    }
}

/// The sums of `N` neighbouring windows, of which the first starts at `input`.
///
/// # Safety
/// `R` rows, `line` apart, of `S * (N - 1) + 3` times eight channels, `channels` apart.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn windows_3x3<const S: usize, const R: usize, const N: usize>(
    input: *const u8,
    [line, channels]: [usize; 2],
    w: &[[int16x8_t; 3]; R],
    bias: [int32x4_t; 2],
    zero_point: uint8x8_t,
) -> [[int32x4_t; 2]; N] {
    const { assert!(R <= 3 && S * (N - 1) + 3 <= 9) };
    let mut sums = [bias; N];
    // Written out, since loops as long as these are not unrolled at every level of optimization, and sums that are chosen by
    // the turn of a loop are in memory.
    macro_rules! columns {
        ($w:ident, $row:ident, $($column:literal)+) => {$(
            if $column < S * (N - 1) + 3 {
                // SAFETY: by the contract.
                let x = vsubl_u8(unsafe { vld1_u8($row.add($column * channels)) }, zero_point);
                for (n, sums) in sums.iter_mut().enumerate() {
                    if (S * n..S * n + 3).contains(&$column) {
                        multiply(sums, x, $w[$column - S * n]);
                    }
                }
            }
        )+};
    }
    macro_rules! rows {
        ($($r:literal)+) => {$(
            if let Some(w) = w.get($r) {
                let row = super::super::gemm::opaque(input.wrapping_add($r * line));
                columns!(w, row, 0 1 2 3 4 5 6 7 8);
            }
        )+};
    }
    rows!(0 1 2);
    sums
}

/// Adds products of eight differences, which are those modulo 2^16 of numbers in -255 ..= 255. In assembly, because
/// compilers take upper halves out of weights and inputs first, and have no registers for them.
#[target_feature(enable = "neon")]
#[inline]
fn multiply(sums: &mut [int32x4_t; 2], x: uint16x8_t, w: int16x8_t) {
    let [low, high] = sums;
    // SAFETY: only reads and writes the named registers.
    unsafe {
        asm!(
            "smlal {low:v}.4s, {x:v}.4h, {w:v}.4h",
            "smlal2 {high:v}.4s, {x:v}.8h, {w:v}.8h",
            low = inout(vreg) *low,
            high = inout(vreg) *high,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}
