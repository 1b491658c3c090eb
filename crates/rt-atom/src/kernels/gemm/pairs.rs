//! f32 GEMM tile 6x4 of SSE. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! SSE has no broadcasting load of one float, but `movddup` broadcasts two without a shuffle. So a panel holds two
//! consecutive k of a channel side by side, an accumulator the even and the odd sums of two channels, added at the end.
//! 6 rows x 4 channels are 12 accumulators; with 2 vectors of weights, a broadcast and a product all 16 registers. For
//! 48 products: 8 loads, 6 copies (SSE overwrites an operand), 12 multiplications, 12 additions; broadcasting by shuffle
//! in a 4x8 tile costs 4 to 8 instructions more and competes for the vector units, and 4 rows have 12 % more instructions a
//! product. A single row has only 2 accumulators a panel, too few for the latency of an addition, so it keeps four sets
//! along k.

use core::arch::x86_64::*;

use embdl_core::kernels::{GemmF32, Tile};

use super::{PanelF32, Runs, even_tiles, panels_f32, row_blocks};
use crate::detect::Sse41;

/// Packing of float weights.
pub(crate) const TILE: Tile = Tile { nr: 4, kr: 2 };

const MR: usize = 6;

/// The job at the level SSE4.1.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "sse4.1")]
pub(crate) fn gemm(simd: Sse41, job: &GemmF32<'_>, out: &mut [f32]) {
    gemm_runs(simd, job, Runs::whole(job.weights.k), out);
}

/// The job with rows that are `runs`; every run has whole pairs of weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
#[target_feature(enable = "sse4.1")]
pub(crate) fn gemm_runs(_: Sse41, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
    for (first, rows) in row_blocks(job.m, job.weights.k, job.weights.n, MR) {
        for (channel, panel) in panels_f32(job, runs, out.len(), TILE) {
            let mut i = first;
            for rows in even_tiles(rows, MR) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let out = &mut out[i * job.out_stride + channel..];
                let strides = [job.lhs_stride, job.out_stride];
                match rows {
                    1 if panel.is_row => row_f32(&panel, lhs, out),
                    1 => tile_f32::<1>(&panel, lhs, out, strides),
                    2 => tile_f32::<2>(&panel, lhs, out, strides),
                    3 => tile_f32::<3>(&panel, lhs, out, strides),
                    4 => tile_f32::<4>(&panel, lhs, out, strides),
                    5 => tile_f32::<5>(&panel, lhs, out, strides),
                    _ => tile_f32::<MR>(&panel, lhs, out, strides),
                }
                i += rows;
            }
        }
    }
}

/// `M` rows times the four channels of a panel.
#[target_feature(enable = "sse4.1")]
fn tile_f32<const M: usize>(
    panel: &PanelF32<'_>,
    lhs: &[f32],
    out: &mut [f32],
    [lhs_stride, out_stride]: [usize; 2],
) {
    let Runs { count, len, step } = panel.runs;
    assert!(lhs.len() >= (M - 1) * lhs_stride + panel.runs.span());
    let mut sums = [[_mm_setzero_ps(); 2]; M];
    let (pairs, _) = panel.weights.as_chunks::<8>();
    assert!(pairs.len() == count * len.div_ceil(2));
    for (run, pairs) in pairs.chunks_exact(len.div_ceil(2).max(1)).enumerate() {
        let lhs = &lhs[run * step..];
        let rows = lhs.as_ptr();
        for (pair, w) in pairs[..len / 2].iter().enumerate() {
            let w = load_pair(w);
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: pair < len / 2, and row r < M has a run of len elements from r * lhs_stride.
                let x = unsafe { broadcast_pair(rows.add(r * lhs_stride + 2 * pair)) };
                for (sum, &w) in sums.iter_mut().zip(&w) {
                    *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
                }
            }
        }
        if let Some(w) = pairs.get(len / 2) {
            let w = load_pair(w);
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = lhs[r * lhs_stride + len - 1];
                let x = _mm_setr_ps(x, 0.0, x, 0.0);
                for (sum, &w) in sums.iter_mut().zip(&w) {
                    *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        store_f32(panel, *sums, &mut out[r * out_stride..][..panel.count]);
    }
}

/// One row times the four channels of a panel: four sets of accumulators along k.
#[target_feature(enable = "sse4.1")]
fn row_f32(panel: &PanelF32<'_>, lhs: &[f32], out: &mut [f32]) {
    let k = panel.runs.len;
    let lhs = &lhs[..k];
    let (pairs, _) = panel.weights.as_chunks::<8>();
    assert!(pairs.len() == k.div_ceil(2));
    let mut sets = [[_mm_setzero_ps(); 2]; 4];
    let (blocks, rest) = lhs.as_chunks::<8>();
    let (pair_blocks, rest_pairs) = pairs.as_chunks::<4>();
    for (x, w) in blocks.iter().zip(pair_blocks) {
        for (q, (set, w)) in sets.iter_mut().zip(w).enumerate() {
            // SAFETY: 2 * q + 2 <= 8.
            let x = unsafe { broadcast_pair(x.as_ptr().add(2 * q)) };
            for (sum, w) in set.iter_mut().zip(load_pair(w)) {
                *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
            }
        }
    }
    // A block of 7 elements has four pairs of weights, the last of them padded.
    let rest_pairs = if k % 8 == 7 { &pairs[pairs.len() - 4..] } else { rest_pairs };
    for ((x, w), set) in rest.chunks(2).zip(rest_pairs).zip(&mut sets) {
        let (even, odd) = (x[0], x.get(1).copied().unwrap_or(0.0));
        let x = _mm_setr_ps(even, odd, even, odd);
        for (sum, w) in set.iter_mut().zip(load_pair(w)) {
            *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
        }
    }
    let mut sums = [_mm_setzero_ps(); 2];
    for (v, sum) in sums.iter_mut().enumerate() {
        *sum = _mm_add_ps(_mm_add_ps(sets[0][v], sets[1][v]), _mm_add_ps(sets[2][v], sets[3][v]));
    }
    store_f32(panel, sums, &mut out[..panel.count]);
}

/// The weights of four channels for two consecutive k.
#[inline]
#[target_feature(enable = "sse4.1")]
fn load_pair(w: &[f32; 8]) -> [__m128; 2] {
    // SAFETY: eight floats.
    unsafe { [_mm_loadu_ps(w.as_ptr()), _mm_loadu_ps(w.as_ptr().add(4))] }
}

/// The two elements at `x` in both halves of a vector: `movddup`, a load and nothing else.
///
/// # Safety
/// Two floats must be readable at `x`.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn broadcast_pair(x: *const f32) -> __m128 {
    // SAFETY: eight bytes are readable by the contract; an unaligned f64 is read as such.
    _mm_castpd_ps(_mm_set1_pd(unsafe { x.cast::<f64>().read_unaligned() }))
}

/// Sums even and odd k, adds the bias, clamps and stores as many channels as `out` holds, at most four.
#[inline]
#[target_feature(enable = "sse4.1")]
fn store_f32(panel: &PanelF32<'_>, sums: [__m128; 2], out: &mut [f32]) {
    let (low, high) = (_mm_set1_ps(panel.clamp.0), _mm_set1_ps(panel.clamp.1));
    let bias: &[f32; 4] = panel.bias.try_into().expect("a bias for each channel of the panel");
    // SAFETY: four floats.
    let bias = unsafe { _mm_loadu_ps(bias.as_ptr()) };
    let sum = _mm_add_ps(_mm_hadd_ps(sums[0], sums[1]), bias);
    // The sum stands second, because minps and maxps return that one where there is a NaN.
    let y = _mm_min_ps(high, _mm_max_ps(low, sum));
    if let Ok(out) = <&mut [f32; 4]>::try_from(&mut *out) {
        // SAFETY: four floats.
        unsafe { _mm_storeu_ps(out.as_mut_ptr(), y) };
    } else {
        let mut lanes = [0.0_f32; 4];
        // SAFETY: four floats.
        unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), y) };
        for (slot, &lane) in out.iter_mut().zip(&lanes) {
            *slot = lane;
        }
    }
}
