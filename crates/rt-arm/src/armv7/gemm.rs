//! GEMM in blocks of four rows. Contract and reference: `embdl_core::kernels::gemm`, whose packing it takes: panels of eight
//! channels, one element of k after the other.
//!
//! ```text
//! for each panel of 8 channels, for each 4 rows: sums[4][8] = bias
//!     for p in 0..k: sums[i][c] += lhs[i][p] * panel[p][c]
//! ```
//! Integers: eight weights are widened once (`vmovl.s8`) and multiplied with four levels (`vmlal.s16`); 16 registers hold
//! the 32 sums in eight, the weights, and a level. Floats: 32 single registers hold 16 sums and what they are made of, so a
//! panel is computed in two halves.

use embdl_core::kernels::{GemmF32, GemmQ8, OutQ8, PackedF32, PackedQ8, clamp};

/// Channels of a panel.
const NR: usize = 8;
/// Rows of a block.
const MR: usize = 4;
/// Float channels that are summed together.
const HALF: usize = 4;

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says.
pub(crate) fn gemm_q8(job: &GemmQ8<'_>, mut out: OutQ8<'_>) {
    let PackedQ8 { n, k, ref data, ref bias, .. } = *job.weights;
    check(job.m, [n, k], (job.lhs.len(), job.lhs_stride), (out.len(), job.out_stride));
    for panel in 0..n.div_ceil(NR) {
        let weights = data[panel * NR * k..][..NR * k].as_chunks::<NR>().0;
        let column = panel * NR;
        let width = NR.min(n - column);
        let mut start = [0; NR];
        start[..width].copy_from_slice(&bias[column..][..width]);
        let mut row = 0;
        while row < job.m {
            let rows = MR.min(job.m - row);
            let lhs = |at: usize| &job.lhs[(row + at) * job.lhs_stride..][..k];
            let mut sums = [start; MR];
            if rows == MR {
                block_q8([lhs(0), lhs(1), lhs(2), lhs(3)], weights, &mut sums);
            } else {
                for (at, sums) in sums[..rows].iter_mut().enumerate() {
                    block_q8([lhs(at)], weights, core::array::from_mut(sums));
                }
            }
            for (at, sums) in sums[..rows].iter().enumerate() {
                out.store((row + at) * job.out_stride + column, column, &sums[..width]);
            }
            row += rows;
        }
    }
}

/// Adds the products of some rows and a panel.
#[inline]
fn block_q8<const ROWS: usize>(
    lhs: [&[u8]; ROWS],
    weights: &[[i8; NR]],
    sums: &mut [[i32; NR]; ROWS],
) {
    let mut held = *sums;
    for (p, weights) in weights.iter().enumerate() {
        let wide = weights.map(i16::from);
        for (sums, lhs) in held.iter_mut().zip(lhs) {
            let x = i16::from(lhs[p]);
            for (sum, w) in sums.iter_mut().zip(wide) {
                *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
            }
        }
    }
    *sums = held;
}

/// Float GEMM.
///
/// # Panics
/// If a slice is shorter than the job says.
pub(crate) fn gemm_f32(job: &GemmF32<'_>, out: &mut [f32]) {
    let PackedF32 { n, k, ref data, ref bias, .. } = *job.weights;
    check(job.m, [n, k], (job.lhs.len(), job.lhs_stride), (out.len(), job.out_stride));
    for column in (0..n).step_by(HALF) {
        let (panel, half) = (column / NR, column % NR);
        let weights = data[panel * NR * k..][..NR * k].as_chunks::<NR>().0;
        let width = HALF.min(n - column);
        let mut start = [0.0; HALF];
        start[..width].copy_from_slice(&bias[column..][..width]);
        let mut row = 0;
        while row < job.m {
            let rows = MR.min(job.m - row);
            let lhs = |at: usize| &job.lhs[(row + at) * job.lhs_stride..][..k];
            let mut sums = [start; MR];
            if rows == MR {
                block_f32([lhs(0), lhs(1), lhs(2), lhs(3)], weights, half, &mut sums);
            } else {
                for (at, sums) in sums[..rows].iter_mut().enumerate() {
                    block_f32([lhs(at)], weights, half, core::array::from_mut(sums));
                }
            }
            for (at, sums) in sums[..rows].iter().enumerate() {
                let row = &mut out[(row + at) * job.out_stride + column..][..width];
                for (slot, &sum) in row.iter_mut().zip(sums) {
                    *slot = clamp(sum, job.clamp);
                }
            }
            row += rows;
        }
    }
}

/// Adds the products of some rows and half a panel.
#[inline]
fn block_f32<const ROWS: usize>(
    lhs: [&[f32]; ROWS],
    weights: &[[f32; NR]],
    half: usize,
    sums: &mut [[f32; HALF]; ROWS],
) {
    let mut held = *sums;
    for (p, weights) in weights.iter().enumerate() {
        let weights = &weights[half..half + HALF];
        for (sums, lhs) in held.iter_mut().zip(lhs) {
            let x = lhs[p];
            for (sum, w) in sums.iter_mut().zip(weights) {
                *sum += x * w;
            }
        }
    }
    *sums = held;
}

/// The lengths that kernels rely on.
fn check(m: usize, [n, k]: [usize; 2], lhs: (usize, usize), out: (usize, usize)) {
    if m == 0 {
        return;
    }
    assert!(m == 1 || out.1 >= n, "rows of {n} results overlap at stride {}", out.1);
    assert!(lhs.0 >= (m - 1) * lhs.1 + k, "{} elements are not {m} rows of {k}", lhs.0);
    assert!(out.0 >= (m - 1) * out.1 + n, "{} results are not {m} rows of {n}", out.0);
}
