//! Integer GEMM on Armv8.2-A with `FEAT_DotProd`.
//!
//! **u8 x i8, 8 rows x 8 channels.** `sdot` by lane adds four products to each of four channels. For 16 steps of k: 8
//! loads and 8 `eor` (levels are flipped to i8 as on NEON; `usdot` would need `FEAT_I8MM`), and for each of the two
//! panels one load of 4 x (4 channels x 4 steps) weights and 32 `sdot`. 16 accumulators + 8 rows + 4 weights = 28
//! registers; 1024 products in 82 instructions.
//!
//! The intrinsics are not stable, so the two instructions are inline assembly.

use core::arch::aarch64::*;
use core::arch::asm;
use core::array;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::{self, Sink};
use super::neon::{flip, rows_with};
use super::{PANEL, check, group, load_tail, opaque};

mod tile;

/// Layout of integer weights.
pub(in super::super) const TILE_Q8: Tile = Tile { nr: PANEL, kr: 4 };

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn gemm_q8(job: &GemmQ8<'_>, out: OutQ8<'_>) {
    let weights = job.weights;
    assert!(weights.tile == TILE_Q8, "weights are packed as {:?}", weights.tile);
    let mut sink = Sink::new(out);
    let lens = ((job.lhs.len(), job.lhs_stride), (sink.len(), job.out_stride));
    check(job.m, weights.k, weights.n, lens.0, lens.1);
    let [rows, channels] = tile::share(job);
    tile::gemm_q8(job, &mut sink);
    let mut column = 0;
    while column < weights.n {
        let panels = (weights.n - column).div_ceil(PANEL);
        // The last rows, and all rows of the last channels.
        let first = if column < channels { rows } else { 0 };
        column += PANEL
            * match (job.m - first, panels) {
                (1, 4..) if first == 0 => columns_q8::<4>(job, [first, column], &mut sink),
                (_, 2..) => columns_q8::<2>(job, [first, column], &mut sink),
                _ => columns_q8::<1>(job, [first, column], &mut sink),
            };
    }
}

/// The rows from `first` on, of `NP` panels. Gives the number of panels done.
#[target_feature(enable = "neon,dotprod")]
fn columns_q8<const NP: usize>(
    job: &GemmQ8<'_>,
    [first, column]: [usize; 2],
    sink: &mut Sink<'_>,
) -> usize {
    if first == job.m {
        return NP;
    }
    let weights = job.weights;
    let padded = weights.k.next_multiple_of(TILE_Q8.kr);
    let group = Group::<NP> {
        column,
        panels: &weights.data[column * padded..][..NP * PANEL * padded],
        bias: bias::<NP>(job, column),
        multipliers: sink.multipliers::<NP>(column),
        // Whole vectors may be read from all rows but the last ones: the weights beyond k are not multiplied, or zero.
        whole_rows: rows_with(job.lhs.len(), job.lhs_stride, weights.k.next_multiple_of(16), job.m),
    };
    let mut row = first;
    while row < job.m {
        row += match job.m - row {
            8.. if NP <= 2 => rows_q8::<8, NP>(job, &group, row, sink),
            4.. if NP <= 2 => rows_q8::<4, NP>(job, &group, row, sink),
            2.. if NP <= 2 => rows_q8::<2, NP>(job, &group, row, sink),
            _ => rows_q8::<1, NP>(job, &group, row, sink),
        };
    }
    NP
}

/// What all rows of a group of panels share.
struct Group<'a, const NP: usize> {
    column: usize,
    panels: &'a [i8],
    bias: [int32x4_t; NP],
    multipliers: [int32x4_t; NP],
    whole_rows: usize,
}

/// One tile with its epilogue. Gives the number of rows done.
#[target_feature(enable = "neon,dotprod")]
fn rows_q8<const MR: usize, const NP: usize>(
    job: &GemmQ8<'_>,
    panels: &Group<'_, NP>,
    row: usize,
    sink: &mut Sink<'_>,
) -> usize {
    let lhs = &job.lhs[row * job.lhs_stride..];
    let (stride, k) = (job.lhs_stride, job.weights.k);
    let sums = if row + MR <= panels.whole_rows {
        tile_q8::<MR, NP, false>(lhs, stride, k, panels.panels, panels.bias)
    } else {
        tile_q8::<MR, NP, true>(lhs, stride, k, panels.panels, panels.bias)
    };
    let lanes = group(panels.column, NP, job.weights.n).len();
    for (i, sums) in sums.iter().enumerate() {
        let at = (row + i) * job.out_stride + panels.column;
        sink.store(at, lanes, sums, &panels.multipliers);
    }
    MR
}

#[target_feature(enable = "neon")]
fn bias<const NP: usize>(job: &GemmQ8<'_>, column: usize) -> [int32x4_t; NP] {
    let mut bias = [vdupq_n_s32(0); NP];
    for (j, bias) in bias.iter_mut().enumerate() {
        let sums = output::load_i32(&job.weights.row_sums[column + j * PANEL..]);
        *bias = output::load_i32(&job.weights.bias[column + j * PANEL..]);
        *bias = vaddq_s32(*bias, vshlq_n_s32::<7>(sums));
    }
    bias
}

/// `bias + (lhs - 128) · panels`. Shapes: `lhs` MR rows of `k`, `stride` apart; `panels` NP times `[k / 4, 4, 4]`. With
/// `TAIL` nothing beyond `k` is read.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn tile_q8<const MR: usize, const NP: usize, const TAIL: bool>(
    lhs: &[u8],
    stride: usize,
    k: usize,
    panels: &[i8],
    bias: [int32x4_t; NP],
) -> [[int32x4_t; NP]; MR] {
    let steps = k.div_ceil(4);
    let width = if TAIL { k } else { k.next_multiple_of(16) };
    assert!(lhs.len() >= (MR - 1) * stride + width, "fewer than {MR} rows of {width}");
    assert!(panels.len() == NP * PANEL * 4 * steps, "not {NP} panels of {k}");
    let mut rows: [_; MR] = array::from_fn(|i| opaque(lhs[i * stride..].as_ptr()));
    let mut panels: [_; NP] = array::from_fn(|j| opaque(panels[j * 16 * steps..].as_ptr()));
    let mut sums = bias.map(|bias| [bias; MR]);
    let mut x = [vdupq_n_s8(0); MR];
    for _ in 0..k / 16 {
        for (x, row) in x.iter_mut().zip(&mut rows) {
            // SAFETY: a row has k bytes, of which each of these k / 16 steps takes sixteen.
            *x = flip(unsafe { vld1q_u8(*row) });
            *row = row.wrapping_add(16);
        }
        // Written out, as loops around inline assembly are not unrolled, and the sums would live in memory.
        // SAFETY: a panel has 16 * steps bytes, of which each of these k / 16 steps takes 64.
        unsafe {
            multiply_16(&mut sums[0], &x, &mut panels[0]);
            if NP >= 2 {
                multiply_16(&mut sums[1], &x, &mut panels[1]);
            }
            if NP >= 4 {
                multiply_16(&mut sums[2], &x, &mut panels[2]);
                multiply_16(&mut sums[3], &x, &mut panels[3]);
            }
        }
    }
    if !k.is_multiple_of(16) {
        for (i, (x, row)) in x.iter_mut().zip(&rows).enumerate() {
            *x = flip(if TAIL {
                load_tail(&lhs[i * stride..][..k])
            } else {
                // SAFETY: the k / 16 steps left at least sixteen of the row's `width` bytes.
                unsafe { vld1q_u8(*row) }
            });
        }
        for _ in k / 16 * 4..steps {
            // SAFETY: the k / 16 steps left 16 * (steps - k / 16 * 4) bytes of a panel, of which each of these takes 16.
            unsafe {
                multiply_4(&mut sums[0], &x, &mut panels[0]);
                if NP >= 2 {
                    multiply_4(&mut sums[1], &x, &mut panels[1]);
                }
                if NP >= 4 {
                    multiply_4(&mut sums[2], &x, &mut panels[2]);
                    multiply_4(&mut sums[3], &x, &mut panels[3]);
                }
            }
            for x in &mut x {
                *x = vextq_s8::<4>(*x, *x);
            }
        }
    }
    array::from_fn(|i| array::from_fn(|j| sums[j][i]))
}

/// Adds the products of 16 steps of k to the sums of one panel, and moves on in it.
///
/// # Safety
/// 64 bytes can be read at `panel`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn multiply_16<const MR: usize>(
    sums: &mut [int32x4_t; MR],
    x: &[int8x16_t; MR],
    panel: &mut *const i8,
) {
    // SAFETY: the caller vouches for 64 bytes.
    let w = unsafe { vld1q_s8_x4(*panel) };
    *panel = panel.wrapping_add(64);
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum = sdot_lane::<0>(*sum, w.0, x);
    }
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum = sdot_lane::<1>(*sum, w.1, x);
    }
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum = sdot_lane::<2>(*sum, w.2, x);
    }
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum = sdot_lane::<3>(*sum, w.3, x);
    }
}

/// Adds the products of the first four steps of k in `x` to the sums of one panel, and moves on in it.
///
/// # Safety
/// 16 bytes can be read at `panel`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn multiply_4<const MR: usize>(
    sums: &mut [int32x4_t; MR],
    x: &[int8x16_t; MR],
    panel: &mut *const i8,
) {
    // SAFETY: the caller vouches for 16 bytes.
    let w = unsafe { vld1q_s8(*panel) };
    *panel = panel.wrapping_add(16);
    for (sum, &x) in sums.iter_mut().zip(x) {
        *sum = sdot_lane::<0>(*sum, w, x);
    }
}

/// Adds to each of four channels the products of its four weights with the four levels of lane `LANE`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot_lane<const LANE: usize>(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: `sdot` exists as the function has the feature, and only reads and writes the named registers.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sum = inlateout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Adds the products of groups of four unsigned bytes.
#[target_feature(enable = "neon,dotprod")]
#[inline]
pub(in super::super) fn udot(mut sum: uint32x4_t, a: uint8x16_t, b: uint8x16_t) -> uint32x4_t {
    // SAFETY: `udot` exists as the function has the feature, and only reads and writes the named registers.
    unsafe {
        asm!(
            "udot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inlateout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
