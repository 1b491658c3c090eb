//! f32 GEMM with fused multiply-add. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! 16 registers: 6 rows x 2 vectors are 12 accumulators, with 2 vectors of weights and a broadcast 15; 12 chains cover two
//! fused multiply-adds a cycle of 4 to 5 cycles latency, and 8 loads feed 12 of them. 32 registers: 14 rows, because
//! pictures of 7, 14, 28, 56 and 112 pixels have multiples of 7 of them. Rows that fill no whole number of tiles are shared
//! out evenly, since a tile of 12 rows and one of 13 take less time than one of 14, 8, 2 and 1. A single row keeps four sets
//! of 2 accumulators, one for each k modulo 4.

use embdl_core::kernels::{GemmF32, Tile};

use super::{PanelF32, Runs, even_tiles, panels_f32, row_blocks};
use crate::simd::Simd;

/// Packing of float weights.
pub(crate) const fn tile<S: Simd>() -> Tile {
    Tile { nr: 2 * S::LANES, kr: 1 }
}

/// The job at the level `S`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(simd: S, job: &GemmF32<'_>, out: &mut [f32]) {
    gemm_runs(simd, job, Runs::whole(job.weights.k), out);
}

/// The job with rows that are `runs`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
#[inline(always)]
pub(crate) fn gemm_runs<S: Simd>(simd: S, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
    for (first, rows) in row_blocks(job.m, job.weights.k, job.weights.n, S::MR_F32) {
        for (channel, panel) in panels_f32(job, runs, out.len(), tile::<S>()) {
            let mut i = first;
            for rows in even_tiles(rows, S::MR_F32) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let out = &mut out[i * job.out_stride + channel..];
                let strides = [job.lhs_stride, job.out_stride];
                if panel.count > S::LANES {
                    tile_of::<S, 2>(simd, &panel, rows, lhs, out, strides);
                } else {
                    tile_of::<S, 1>(simd, &panel, rows, lhs, out, strides);
                }
                i += rows;
            }
        }
    }
}

/// A tile of `rows` rows.
#[inline(always)]
fn tile_of<S: Simd, const NV: usize>(
    simd: S,
    panel: &PanelF32<'_>,
    rows: usize,
    lhs: &[f32],
    out: &mut [f32],
    strides: [usize; 2],
) {
    macro_rules! tiles {
        ($($m:literal)+) => {
            match rows {
                1 if panel.is_row => row::<S, NV>(simd, panel, lhs, out),
                $($m if S::MR_F32 >= $m => one_tile::<S, $m, NV>(simd, panel, lhs, out, strides),)+
                _ => unreachable!("tiles of 1 to {} rows", S::MR_F32),
            }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `M` rows times the first `NV` vectors of channels of a panel.
#[inline(always)]
fn one_tile<S: Simd, const M: usize, const NV: usize>(
    simd: S,
    panel: &PanelF32<'_>,
    lhs: &[f32],
    out: &mut [f32],
    [lhs_stride, out_stride]: [usize; 2],
) {
    let (runs, nr) = (panel.runs, 2 * S::LANES);
    assert!(lhs.len() >= (M - 1) * lhs_stride + runs.span());
    assert!(panel.weights.len() == nr * runs.count * runs.len);
    let mut sums = [[simd.splat(0.0); NV]; M];
    for run in 0..runs.count {
        let rows = lhs[run * runs.step..].as_ptr();
        let weights = panel.weights[run * runs.len * nr..].as_ptr();
        for p in 0..runs.len {
            let mut w = [simd.splat(0.0); NV];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: p < runs.len, the run has as many times nr weights, and NV vectors are at most nr.
                *w = unsafe { simd.load(weights.add(p * nr + v * S::LANES)) };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: p < runs.len, and row r < M has a run of as many elements from r * lhs_stride.
                let x = simd.splat(unsafe { *rows.add(r * lhs_stride + p) });
                for (sum, &w) in sums.iter_mut().zip(&w) {
                    *sum = simd.mul_add(x, w, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        store(simd, panel, sums, &mut out[r * out_stride..][..panel.count]);
    }
}

/// One row times the first `NV` vectors of channels of a panel: four sets of accumulators along k.
#[inline(always)]
fn row<S: Simd, const NV: usize>(simd: S, panel: &PanelF32<'_>, lhs: &[f32], out: &mut [f32]) {
    let (lhs, nr) = (&lhs[..panel.runs.len], 2 * S::LANES);
    assert!(panel.weights.len() == nr * lhs.len());
    let mut weights = panel.weights.as_ptr();
    let mut sets = [[simd.splat(0.0); NV]; 4];
    let (quads, rest) = lhs.as_chunks::<4>();
    for x in quads {
        for (set, &x) in sets.iter_mut().zip(x) {
            for (v, sum) in set.iter_mut().enumerate() {
                // SAFETY: every element of the row has nr weights; NV vectors are at most nr.
                let w = unsafe { simd.load(weights.add(v * S::LANES)) };
                *sum = simd.mul_add(simd.splat(x), w, *sum);
            }
            // SAFETY: the weights of the next element, or their end.
            weights = unsafe { weights.add(nr) };
        }
    }
    for (set, &x) in sets.iter_mut().zip(rest) {
        for (v, sum) in set.iter_mut().enumerate() {
            // SAFETY: as above.
            let w = unsafe { simd.load(weights.add(v * S::LANES)) };
            *sum = simd.mul_add(simd.splat(x), w, *sum);
        }
        // SAFETY: as above.
        weights = unsafe { weights.add(nr) };
    }
    let mut sums = [simd.splat(0.0); NV];
    for (v, sum) in sums.iter_mut().enumerate() {
        *sum = simd.add(simd.add(sets[0][v], sets[1][v]), simd.add(sets[2][v], sets[3][v]));
    }
    store(simd, panel, &sums, &mut out[..panel.count]);
}

/// Adds the bias, clamps and stores as many channels as `out` holds, at most `NV` vectors.
#[inline(always)]
fn store<S: Simd, const NV: usize>(
    simd: S,
    panel: &PanelF32<'_>,
    sums: &[S::F32; NV],
    out: &mut [f32],
) {
    let (low, high) = (simd.splat(panel.clamp.0), simd.splat(panel.clamp.1));
    assert!(panel.bias.len() == 2 * S::LANES && out.len() <= NV * S::LANES);
    for (v, &sum) in sums.iter().enumerate() {
        // SAFETY: two vectors of biases, NV is at most 2.
        let bias = unsafe { simd.load(panel.bias.as_ptr().add(v * S::LANES)) };
        // The accumulator stands second, because minps and maxps return that one where there is a NaN.
        let y = simd.min(high, simd.max(low, simd.add(sum, bias)));
        let count = out.len().saturating_sub(v * S::LANES);
        let target = out.as_mut_ptr().wrapping_add(v * S::LANES);
        if count >= S::LANES {
            // SAFETY: a vector of results from there.
            unsafe { simd.store(target, y) };
        } else if count > 0 {
            // SAFETY: `count` results from there.
            unsafe { simd.store_first(target, y, count) };
        }
    }
}
