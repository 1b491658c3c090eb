//! Integer GEMM on Armv8.0-A NEON.
//!
//! **u8 x i8, 2 rows x 8 channels.** Levels are flipped to i8 (`x - 128`, one `eor`) and `128 * sum(weights)` comes back
//! with the bias. For 16 steps of k and one channel: `smull`, `smlal2`, and `sadalp`, which adds pairs of 16-bit sums to
//! four 32-bit ones: 16 products in three instructions. A 16-bit lane holds `32767 / (128 * max_abs)` products: two for
//! |w| <= 127, eight for |w| <= 31; with -128 only one, as (-128)² * 2 overflows. So weights of up to 6 bits save
//! `sadalp`s where there is one row; two rows would need more registers than there are (and four products for 7 bits
//! need as many instructions as two). 16 accumulators + 2 rows + 4 weights + products. The four 32-bit lanes of a channel are
//! added at the end by three `addp` for four channels.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::{self, Sink};
use super::{PANEL, check, group, load_tail};

mod tile;

/// Layout of integer weights.
pub(in super::super) const TILE_Q8: Tile = Tile { nr: PANEL, kr: 16 };

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm_q8(job: &GemmQ8<'_>, out: OutQ8<'_>) {
    let weights = job.weights;
    assert!(weights.tile == TILE_Q8, "weights are packed as {:?}", weights.tile);
    let mut sink = Sink::new(out);
    let lens = ((job.lhs.len(), job.lhs_stride), (sink.len(), job.out_stride));
    check(job.m, weights.k, weights.n, lens.0, lens.1);
    // One row or two are not worth a tile.
    let tiles =
        if tile::fits(weights.k) { job.m / 4 * 4 + if job.m % 4 == 3 { 3 } else { 0 } } else { 0 };
    match weights.max_abs {
        128.. => tile::gemm_q8::<1>(job, tiles, &mut sink),
        64.. => tile::gemm_q8::<2>(job, tiles, &mut sink),
        32.. => tile::gemm_q8::<4>(job, tiles, &mut sink),
        ..32 => tile::gemm_q8::<8>(job, tiles, &mut sink),
    }
    match (job.m - tiles, weights.max_abs) {
        (_, 128..) => panels_q8::<1, false>(job, tiles, &mut sink),
        // Two rows of several steps and their weights do not fit the registers with the sums.
        (2.., _) | (_, 32..) => panels_q8::<1, true>(job, tiles, &mut sink),
        (_, ..32) => panels_q8::<4, true>(job, tiles, &mut sink),
    }
}

/// All panels of the rows from `first` on. `STEPS` times 16 steps of k share 16-bit sums, of two products a step if `PAIRED`.
#[target_feature(enable = "neon")]
fn panels_q8<const STEPS: usize, const PAIRED: bool>(
    job: &GemmQ8<'_>,
    first: usize,
    sink: &mut Sink<'_>,
) {
    let n = job.weights.n;
    let mut column = 0;
    while column < n && first < job.m {
        let panels = (n - column).div_ceil(PANEL);
        column += PANEL
            * match (job.m - first, panels) {
                // With several steps the weights of a panel take eight registers or more, and leave fewer for sums.
                (1, 4..) if STEPS == 1 => {
                    columns_q8::<STEPS, PAIRED, 4>(job, [first, column], sink)
                }
                (_, 2..) => columns_q8::<STEPS, PAIRED, 2>(job, [first, column], sink),
                _ => columns_q8::<STEPS, PAIRED, 1>(job, [first, column], sink),
            };
    }
}

/// The rows from `first` on, of `NP` panels. Gives the number of panels done.
#[target_feature(enable = "neon")]
fn columns_q8<const STEPS: usize, const PAIRED: bool, const NP: usize>(
    job: &GemmQ8<'_>,
    [first, column]: [usize; 2],
    sink: &mut Sink<'_>,
) -> usize {
    let weights = job.weights;
    let padded = weights.k.next_multiple_of(16);
    let panels = &weights.data[column * padded..][..NP * PANEL * padded];
    let lanes = group(column, NP, weights.n).len();
    let mut bias = [vdupq_n_s32(0); NP];
    for (j, bias) in bias.iter_mut().enumerate() {
        let sums = output::load_i32(&weights.row_sums[column + j * PANEL..]);
        *bias = output::load_i32(&weights.bias[column + j * PANEL..]);
        *bias = vaddq_s32(*bias, vshlq_n_s32::<7>(sums));
    }
    let multipliers = sink.multipliers::<NP>(column);
    // Whole vectors may be read from all rows but the last ones: the weights beyond k are zero.
    let whole = rows_with(job.lhs.len(), job.lhs_stride, padded, job.m);
    let mut row = first;
    while NP <= 2 && row + 2 <= job.m {
        let lhs = &job.lhs[row * job.lhs_stride..];
        let sums = if row + 2 <= whole {
            tile_q8::<STEPS, PAIRED, 2, NP, false>(lhs, job.lhs_stride, weights.k, panels)
        } else {
            tile_q8::<STEPS, PAIRED, 2, NP, true>(lhs, job.lhs_stride, weights.k, panels)
        };
        for (i, sums) in sums.iter().enumerate() {
            let sums = add_lanes(sums, &bias);
            sink.store((row + i) * job.out_stride + column, lanes, &sums, &multipliers);
        }
        row += 2;
    }
    while row < job.m {
        let lhs = &job.lhs[row * job.lhs_stride..];
        let sums = if row < whole {
            tile_q8::<STEPS, PAIRED, 1, NP, false>(lhs, job.lhs_stride, weights.k, panels)
        } else {
            tile_q8::<STEPS, PAIRED, 1, NP, true>(lhs, job.lhs_stride, weights.k, panels)
        };
        let sums = add_lanes(&sums[0], &bias);
        sink.store(row * job.out_stride + column, lanes, &sums, &multipliers);
        row += 1;
    }
    NP
}

/// How many of the first rows can be read `width` elements far.
pub(super) fn rows_with(len: usize, stride: usize, width: usize, m: usize) -> usize {
    match len.checked_sub(width) {
        Some(rest) => rest.checked_div(stride).map_or(m, |rows| m.min(rows + 1)),
        None => 0,
    }
}

/// The four partial sums of each channel added, and the bias.
#[target_feature(enable = "neon")]
#[inline]
fn add_lanes<const NP: usize>(
    sums: &[[int32x4_t; PANEL]; NP],
    bias: &[int32x4_t; NP],
) -> [int32x4_t; NP] {
    let mut total = *bias;
    for (total, s) in total.iter_mut().zip(sums) {
        let all = add_pairs(add_pairs(s[0], s[1]), add_pairs(s[2], s[3]));
        *total = vaddq_s32(*total, all);
    }
    total
}

/// Sums of neighbouring lanes. By assembly, because compilers take two shuffles and an addition for the intrinsic.
#[target_feature(enable = "neon")]
#[inline]
fn add_pairs(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let sums;
    // SAFETY: only reads and writes the named registers.
    unsafe {
        asm!(
            "addp {sums:v}.4s, {a:v}.4s, {b:v}.4s",
            sums = lateout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Partial sums of `(lhs - 128) · panels`, four lanes a channel. Shapes: `lhs` MR rows of `k`, `stride` apart; `panels`
/// NP times `[k / 16, 4, 16]`. With `TAIL` nothing beyond `k` is read.
#[target_feature(enable = "neon")]
#[inline]
fn tile_q8<
    const STEPS: usize,
    const PAIRED: bool,
    const MR: usize,
    const NP: usize,
    const TAIL: bool,
>(
    lhs: &[u8],
    stride: usize,
    k: usize,
    panels: &[i8],
) -> [[[int32x4_t; PANEL]; NP]; MR] {
    let steps = k.div_ceil(16);
    let whole = if TAIL { k / 16 } else { steps };
    let width = if TAIL { k } else { 16 * steps };
    assert!(lhs.len() >= (MR - 1) * stride + width, "fewer than {MR} rows of {width}");
    assert!(panels.len() == NP * PANEL * 16 * steps, "not {NP} panels of {k}");
    let at = |step: usize| panels.as_ptr().wrapping_add(64 * step);
    let mut sums = [[[vdupq_n_s32(0); PANEL]; NP]; MR];
    let mut step = 0;
    while step + STEPS <= whole {
        let mut x = [[vdupq_n_s8(0); MR]; STEPS];
        for (u, x) in x.iter_mut().enumerate() {
            for (i, x) in x.iter_mut().enumerate() {
                // SAFETY: i < MR and 16 * (step + u + 1) <= 16 * whole <= width, so the bytes are in row i.
                *x = flip(unsafe { vld1q_u8(lhs.as_ptr().add(i * stride + 16 * (step + u))) });
            }
        }
        // SAFETY: step + STEPS <= steps, and each of the NP panels has steps blocks of 64 bytes.
        unsafe { multiply_q8::<STEPS, PAIRED, MR, NP>(&mut sums, &x, at(step), 64 * steps) };
        step += STEPS;
    }
    while STEPS > 1 && step < whole {
        let mut x = [[vdupq_n_s8(0); MR]; 1];
        for (i, x) in x[0].iter_mut().enumerate() {
            // SAFETY: i < MR and 16 * (step + 1) <= 16 * whole <= width, so the bytes are in row i.
            *x = flip(unsafe { vld1q_u8(lhs.as_ptr().add(i * stride + 16 * step)) });
        }
        // SAFETY: step < steps, and each of the NP panels has steps blocks of 64 bytes.
        unsafe { multiply_q8::<1, PAIRED, MR, NP>(&mut sums, &x, at(step), 64 * steps) };
        step += 1;
    }
    if TAIL && step < steps {
        let mut x = [[vdupq_n_s8(0); MR]; 1];
        for (i, x) in x[0].iter_mut().enumerate() {
            *x = flip(load_tail(&lhs[i * stride..][..k]));
        }
        // SAFETY: step < steps, and each of the NP panels has steps blocks of 64 bytes.
        unsafe { multiply_q8::<1, PAIRED, MR, NP>(&mut sums, &x, at(step), 64 * steps) };
    }
    sums
}

/// Adds the products of 16 * STEPS steps of k to a tile's partial sums. `panels` points at the first of these steps in
/// the first panel; panels are `panel_len` bytes apart.
///
/// # Safety
/// In each of `NP` panels, 64 * STEPS bytes can be read.
#[expect(
    clippy::needless_range_loop,
    reason = "indices are places in a tile of registers, used on several arrays at once"
)]
#[target_feature(enable = "neon")]
#[inline]
unsafe fn multiply_q8<const STEPS: usize, const PAIRED: bool, const MR: usize, const NP: usize>(
    sums: &mut [[[int32x4_t; PANEL]; NP]; MR],
    x: &[[int8x16_t; MR]; STEPS],
    panels: *const i8,
    panel_len: usize,
) {
    for j in 0..NP {
        let mut w = [[vdupq_n_s8(0); PANEL]; STEPS];
        for (u, w) in w.iter_mut().enumerate() {
            // SAFETY: j < NP and u < STEPS, so the 64 bytes are among those that the caller vouches for.
            let block = unsafe { vld1q_s8_x4(panels.add(j * panel_len + 64 * u)) };
            *w = [block.0, block.1, block.2, block.3];
        }
        for c in 0..PANEL {
            for i in 0..MR {
                let sum = &mut sums[i][j][c];
                let mut products = vmull_s8(vget_low_s8(x[0][i]), vget_low_s8(w[0][c]));
                if !PAIRED {
                    *sum = vpadalq_s16(*sum, products);
                    *sum = vpadalq_s16(*sum, vmull_high_s8(x[0][i], w[0][c]));
                    continue;
                }
                products = vmlal_high_s8(products, x[0][i], w[0][c]);
                for u in 1..STEPS {
                    products = vmlal_s8(products, vget_low_s8(x[u][i]), vget_low_s8(w[u][c]));
                    products = vmlal_high_s8(products, x[u][i], w[u][c]);
                }
                *sum = vpadalq_s16(*sum, products);
            }
        }
    }
}

/// `x - 128` for every level.
#[target_feature(enable = "neon")]
#[inline]
pub(in super::super) fn flip(x: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80)))
}
