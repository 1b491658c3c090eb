//! Codebook rows on Armv8.2-A with `FEAT_DotProd`: `udot`.

use core::arch::aarch64::*;

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::super::gemm::dotprod::udot;
use super::{Four, Input, ROWS, decode, run, split};

/// Dense layer with 4-bit codebook indices.
///
/// # Panics
/// If a slice is shorter than the job says.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn codebook_q8(job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
    // SAFETY: the function needs NEON and dotprod, which this function has.
    unsafe { run(job, out, |_| dot) }
}

#[target_feature(enable = "neon,dotprod")]
fn dot(four: &Four<'_>, input: &Input<'_>, table: uint8x16_t) -> [uint32x4_t; ROWS] {
    let mut sums = [vdupq_n_u32(0); ROWS];
    for (at, block) in input.blocks.iter().enumerate() {
        // SAFETY: `at` counts blocks of the input.
        unsafe { multiply(&mut sums, split(block), four, at, table) };
    }
    if let Some(rest) = &input.rest {
        // SAFETY: the rest is the input's last block.
        unsafe { multiply(&mut sums, split(rest), four, input.blocks.len(), table) };
    }
    sums
}

/// Adds the products of one block. Written out, as loops around inline assembly are not unrolled, and the sums would
/// live in memory.
///
/// # Safety
/// `block` is a block of the input that `four` was made for.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn multiply(
    sums: &mut [uint32x4_t; ROWS],
    x: uint8x16x2_t,
    four: &Four<'_>,
    block: usize,
    table: uint8x16_t,
) {
    // SAFETY: the caller vouches for the block.
    let indices = unsafe {
        [four.load(0, block), four.load(1, block), four.load(2, block), four.load(3, block)]
    };
    sums[0] = add(sums[0], x, decode(indices[0], table));
    sums[1] = add(sums[1], x, decode(indices[1], table));
    sums[2] = add(sums[2], x, decode(indices[2], table));
    sums[3] = add(sums[3], x, decode(indices[3], table));
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
fn add(sum: uint32x4_t, x: uint8x16x2_t, w: uint8x16x2_t) -> uint32x4_t {
    udot(udot(sum, x.0, w.0), x.1, w.1)
}
