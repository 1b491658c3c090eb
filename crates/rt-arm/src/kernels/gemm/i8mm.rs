//! Integer GEMM on Armv8.6-A, or earlier with `FEAT_I8MM`.
//!
//! **u8 x i8, 8 rows x 8 channels.** `usmmla` multiplies two rows of eight unsigned levels with two channels of eight signed
//! weights: 32 products an instruction, twice those of `sdot`, and levels are not flipped. Rows go through tiles, but for a
//! single one: that is read where it stands and stands in for both rows, so that half of the products are done twice, as many
//! instructions as `sdot` takes.
//!
//! The intrinsics are not stable, so the instruction is inline assembly.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::tiles::{lower_row, upper_row};
use super::super::output::{self, Sink};
use super::blocks::tiled_rows;
use super::{PANEL, check, for_each_group, group, load_tail, opaque};

mod tile;

/// Layout of integer weights.
pub(in super::super) const TILE_Q8: Tile = Tile { nr: PANEL, kr: 8 };

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,i8mm")]
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
        let tail = twice(load_tail(lhs));
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

/// The first eight levels as both rows of an operand, and the last eight.
#[target_feature(enable = "neon")]
#[inline]
fn twice(x: uint8x16_t) -> [uint8x16_t; 2] {
    let x = vreinterpretq_u64_u8(x);
    let [first, last] = [vdupq_laneq_u64::<0>(x), vdupq_laneq_u64::<1>(x)];
    [vreinterpretq_u8_u64(first), vreinterpretq_u8_u64(last)]
}

/// Four values as each of two rows has them that share vectors: two channels for both rows, then the other two.
#[target_feature(enable = "neon")]
#[inline]
fn for_pairs(x: int32x4_t) -> [int32x4_t; 2] {
    [upper_row(x, x), lower_row(x, x)]
}

/// What the sums of a panel start with, for two rows.
#[target_feature(enable = "neon")]
#[inline]
fn bias(job: &GemmQ8<'_>, column: usize) -> [int32x4_t; 2] {
    for_pairs(output::load_i32(&job.weights.bias[column..]))
}

/// One row, whose last `k % 16` levels are in `tail`, times `NP` panels: `[k / 8, 4, 8]` each.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn row_q8<const NP: usize>(
    job: &GemmQ8<'_>,
    lhs: &[u8],
    tail: [uint8x16_t; 2],
    [at, column]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    let k = lhs.len();
    let len = k.next_multiple_of(8) * PANEL;
    let panels = &job.weights.data[column / PANEL * len..][..NP * len];
    let mut panels: [_; NP] = core::array::from_fn(|j| opaque(panels[j * len..].as_ptr()));
    let mut sums = [[vdupq_n_s32(0); 2]; NP];
    for x in lhs.as_chunks::<16>().0 {
        // SAFETY: a chunk has sixteen bytes.
        let x = twice(unsafe { vld1q_u8(x.as_ptr()) });
        // Written out, as loops around inline assembly are not unrolled, and the sums would live in memory.
        // SAFETY: a panel has `len` bytes, of which each of these k / 16 steps takes 64.
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
    for x in tail.into_iter().take((k % 16).div_ceil(8)) {
        // SAFETY: the k / 16 steps left 32 bytes of a panel for each of these.
        unsafe {
            multiply_8(&mut sums[0], x, &mut panels[0]);
            if NP >= 2 {
                multiply_8(&mut sums[1], x, &mut panels[1]);
            }
            if NP >= 4 {
                multiply_8(&mut sums[2], x, &mut panels[2]);
                multiply_8(&mut sums[3], x, &mut panels[3]);
            }
        }
    }
    let mut all = [vdupq_n_s32(0); NP];
    for (j, (all, sums)) in all.iter_mut().zip(sums).enumerate() {
        let bias = output::load_i32(&job.weights.bias[column + j * PANEL..]);
        *all = vaddq_s32(upper_row(sums[0], sums[1]), bias);
    }
    let lanes = group(column, NP, job.weights.n).len();
    sink.store(at + column, lanes, &all, &sink.multipliers::<NP>(column));
}

/// Adds the products of 16 steps of k to the sums of one panel, and moves on in it.
///
/// # Safety
/// 64 bytes can be read at `panel`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn multiply_16(sums: &mut [int32x4_t; 2], x: [uint8x16_t; 2], panel: &mut *const i8) {
    // SAFETY: the caller vouches for 64 bytes.
    let w = unsafe { vld1q_s8_x4(*panel) };
    *panel = panel.wrapping_add(64);
    sums[0] = usmmla(sums[0], x[0], w.0);
    sums[1] = usmmla(sums[1], x[0], w.1);
    sums[0] = usmmla(sums[0], x[1], w.2);
    sums[1] = usmmla(sums[1], x[1], w.3);
}

/// Adds the products of eight steps of k to the sums of one panel, and moves on in it.
///
/// # Safety
/// 32 bytes can be read at `panel`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn multiply_8(sums: &mut [int32x4_t; 2], x: uint8x16_t, panel: &mut *const i8) {
    // SAFETY: the caller vouches for 32 bytes.
    let w = unsafe { vld1q_s8_x2(*panel) };
    *panel = panel.wrapping_add(32);
    sums[0] = usmmla(sums[0], x, w.0);
    sums[1] = usmmla(sums[1], x, w.1);
}

/// Adds the products of two rows of eight levels with two channels of eight weights: `[row 0 · channel 0, row 0 · channel 1,
/// row 1 · channel 0, row 1 · channel 1]`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn usmmla(mut sum: int32x4_t, x: uint8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: `usmmla` exists as the function has the feature, and only reads and writes the named registers.
    unsafe {
        asm!(
            "usmmla {sum:v}.4s, {x:v}.16b, {w:v}.16b",
            sum = inlateout(vreg) sum,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
