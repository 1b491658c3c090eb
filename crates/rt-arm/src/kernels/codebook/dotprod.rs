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
        let x = split(block);
        for (row, sum) in sums.iter_mut().enumerate() {
            let w = decode(four.load(row, at), table);
            *sum = udot(udot(*sum, x.0, w.0), x.1, w.1);
        }
    }
    if let Some(rest) = &input.rest {
        let x = split(rest);
        for (row, sum) in sums.iter_mut().enumerate() {
            let w = decode(four.load(row, input.blocks.len()), table);
            *sum = udot(udot(*sum, x.0, w.0), x.1, w.1);
        }
    }
    sums
}
