//! Integer GEMM on Armv8.2-A with `FEAT_DotProd`.
//!
//! **u8 x i8, 8 rows x 8 channels.** `sdot` by lane adds four products to each of four channels; levels are flipped to i8
//! (`x - 128`, one `eor`) as on NEON, since `usdot` would need `FEAT_I8MM`. Rows go through tiles, but for a single one: that
//! is read where it stands, 16 levels at a time, for four panels.
//!
//! The intrinsics are not stable, so the two instructions are inline assembly.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::{self, Sink};
use super::blocks::tiled_rows;
use super::neon::flip;
use super::{PANEL, check, for_each_group, group, load_tail, opaque};

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
    let tiled = tiled_rows(job);
    tile::gemm_q8(job, tiled, &mut sink);
    for row in tiled..job.m {
        let lhs = &job.lhs[row * job.lhs_stride..][..weights.k];
        let tail = flip(load_tail(lhs));
        for_each_group(weights.n, |column, panels| {
            let at = [row * job.out_stride, column];
            match panels {
                4.. => row_q8::<4>(job, lhs, tail, at, &mut sink),
                2.. => row_q8::<2>(job, lhs, tail, at, &mut sink),
                _ => row_q8::<1>(job, lhs, tail, at, &mut sink),
            }
        });
    }
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

/// One row, whose last `k % 16` levels are in `tail`, times `NP` panels: `[k / 4, 4, 4]` each.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn row_q8<const NP: usize>(
    job: &GemmQ8<'_>,
    lhs: &[u8],
    tail: int8x16_t,
    [at, column]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    let k = lhs.len();
    let steps = k.div_ceil(4);
    let panels = &job.weights.data[column * 4 * steps..][..NP * PANEL * 4 * steps];
    let mut panels: [_; NP] =
        core::array::from_fn(|j| opaque(panels[j * PANEL * 4 * steps..].as_ptr()));
    let mut sums = bias::<NP>(job, column);
    for x in lhs.as_chunks::<16>().0 {
        // SAFETY: a chunk has sixteen bytes.
        let x = flip(unsafe { vld1q_u8(x.as_ptr()) });
        // Written out, as loops around inline assembly are not unrolled, and the sums would live in memory.
        // SAFETY: a panel has 16 * steps bytes, of which each of these k / 16 steps takes 64.
        unsafe {
            multiply_16(&mut sums[0], x, &mut panels[0]);
            if NP >= 2 {
                multiply_16(&mut sums[1], x, &mut panels[1]);
            }
            if NP >= 4 {
                multiply_16(&mut sums[2], x, &mut panels[2]);
                multiply_16(&mut sums[3], x, &mut panels[3]);
            }
        }
    }
    let mut x = tail;
    for _ in k / 16 * 4..steps {
        // SAFETY: the k / 16 steps left 16 * (steps - k / 16 * 4) bytes of a panel, of which each of these takes 16.
        unsafe {
            multiply_4(&mut sums[0], x, &mut panels[0]);
            if NP >= 2 {
                multiply_4(&mut sums[1], x, &mut panels[1]);
            }
            if NP >= 4 {
                multiply_4(&mut sums[2], x, &mut panels[2]);
                multiply_4(&mut sums[3], x, &mut panels[3]);
            }
        }
        x = vextq_s8::<4>(x, x);
    }
    let lanes = group(column, NP, job.weights.n).len();
    sink.store(at + column, lanes, &sums, &sink.multipliers::<NP>(column));
}

/// Adds the products of 16 steps of k to the sums of one panel, and moves on in it.
///
/// # Safety
/// 64 bytes can be read at `panel`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn multiply_16(sum: &mut int32x4_t, x: int8x16_t, panel: &mut *const i8) {
    // SAFETY: the caller vouches for 64 bytes.
    let w = unsafe { vld1q_s8_x4(*panel) };
    *panel = panel.wrapping_add(64);
    *sum = sdot_lane::<0>(*sum, w.0, x);
    *sum = sdot_lane::<1>(*sum, w.1, x);
    *sum = sdot_lane::<2>(*sum, w.2, x);
    *sum = sdot_lane::<3>(*sum, w.3, x);
}

/// Adds the products of the first four steps of k in `x` to the sums of one panel, and moves on in it.
///
/// # Safety
/// 16 bytes can be read at `panel`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn multiply_4(sum: &mut int32x4_t, x: int8x16_t, panel: &mut *const i8) {
    // SAFETY: the caller vouches for 16 bytes.
    let w = unsafe { vld1q_s8(*panel) };
    *panel = panel.wrapping_add(16);
    *sum = sdot_lane::<0>(*sum, w, x);
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
