//! Codebook rows on Armv8.0-A NEON: `umull`, and `uadalp` into 32 bits.
//!
//! A 16-bit lane holds one product of two bytes, or two where the codebook spans at most 128 (2 * 255 * 128 < 2^16).

use core::arch::aarch64::*;

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::{Four, Input, ROWS, decode, run, split};

/// Dense layer with 4-bit codebook indices.
///
/// # Panics
/// If a slice is shorter than the job says.
#[target_feature(enable = "neon")]
pub(in super::super) fn codebook_q8(job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
    // SAFETY: both functions need NEON, which this function has.
    unsafe { run(job, out, |range| if range <= 128 { dot::<true> } else { dot::<false> }) }
}

#[target_feature(enable = "neon")]
fn dot<const PAIRED: bool>(
    four: &Four<'_>,
    input: &Input<'_>,
    table: uint8x16_t,
) -> [uint32x4_t; ROWS] {
    let mut sums = [vdupq_n_u32(0); ROWS];
    for (at, block) in input.blocks.iter().enumerate() {
        // SAFETY: `at` counts blocks of the input.
        unsafe { multiply::<PAIRED>(&mut sums, split(block), four, at, table) };
    }
    if let Some(rest) = &input.rest {
        // SAFETY: the rest is the input's last block.
        unsafe { multiply::<PAIRED>(&mut sums, split(rest), four, input.blocks.len(), table) };
    }
    sums
}

/// Adds the products of one block.
///
/// # Safety
/// `block` is a block of the input that `four` was made for.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn multiply<const PAIRED: bool>(
    sums: &mut [uint32x4_t; ROWS],
    x: uint8x16x2_t,
    four: &Four<'_>,
    block: usize,
    table: uint8x16_t,
) {
    for (row, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller vouches for the block.
        let indices = unsafe { four.load(row, block) };
        *sum = add::<PAIRED>(*sum, x, decode(indices, table));
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn add<const PAIRED: bool>(mut sum: uint32x4_t, x: uint8x16x2_t, w: uint8x16x2_t) -> uint32x4_t {
    for (x, w) in [(x.0, w.0), (x.1, w.1)] {
        let products = vmull_u8(vget_low_u8(x), vget_low_u8(w));
        if PAIRED {
            sum = vpadalq_u16(sum, vmlal_high_u8(products, x, w));
        } else {
            sum = vpadalq_u16(vpadalq_u16(sum, products), vmull_high_u8(x, w));
        }
    }
    sum
}
