//! Integer GEMM on Armv8.0-A NEON.
//!
//! **u8 x i8, 4 rows x 4 channels.** Levels are flipped to i8 (`x - 128`, one `eor`) and `128 * sum(weights)` comes back
//! with the bias. For 16 steps of k and one channel: `smull`, `smlal2`, and `sadalp`, which adds pairs of 16-bit sums to
//! four 32-bit ones: 16 products in three instructions. A 16-bit lane holds `32767 / (128 * max_abs)` products: two for
//! |w| <= 127, four for |w| <= 63, eight for |w| <= 31; with -128 only one, as (-128)² * 2 overflows. So weights of fewer bits
//! save `sadalp`s. The four 32-bit lanes of a channel are added at the end by three `addp` for four channels. Rows that are no
//! worth a tile are read where they stand.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::Sink;
use super::{PANEL, check};

mod row;
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
        128.. => products::<1>(job, tiles, &mut sink),
        64.. => products::<2>(job, tiles, &mut sink),
        32.. => products::<4>(job, tiles, &mut sink),
        ..32 => products::<8>(job, tiles, &mut sink),
    }
}

/// A job of which the first `tiles` rows go through tiles, with weights of which so many products fit 16 bits.
#[target_feature(enable = "neon")]
fn products<const PRODUCTS: usize>(job: &GemmQ8<'_>, tiles: usize, sink: &mut Sink<'_>) {
    tile::gemm_q8::<PRODUCTS>(job, tiles, sink);
    for row in tiles..job.m {
        row::gemm_q8::<PRODUCTS>(job, row, sink);
    }
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

/// `x - 128` for every level.
#[target_feature(enable = "neon")]
#[inline]
pub(in super::super) fn flip(x: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80)))
}
