//! GEMM tiles 6x16 (f32) and 4x16 (u8 x i8), AVX2 and FMA. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! f32: 6 rows x 2 vectors are 12 accumulators, with 2 vectors of weights and a broadcast 15 of the 16 registers; 12
//! chains cover two fused multiply-adds a cycle of 4 to 5 cycles latency, and 8 loads feed 12 of them. A single row
//! keeps four sets of 2 accumulators, one for each k modulo 4.
//!
//! u8 x i8: as in the SSE4.1 tile, with 8 channels a vector. 8 accumulators, 2 weights, broadcast, product, ones are 13
//! registers; the two multipliers are the limit, so more rows would not help.

use core::arch::x86_64::*;

use embdl_core::kernels::{GemmF32, GemmQ8, OutQ8, Tile};

use super::{
    PAIRS, PanelF32, PanelQ8, Products, QUADS, WIDENED, panels_f32, panels_q8, row_blocks,
    tail_bytes,
};
use crate::detect::Avx2;
use crate::kernels::output::{self, Block};

/// Packing of float weights.
pub(crate) const TILE_F32: Tile = Tile { nr: NR, kr: 1 };
/// Packing of integer weights.
pub(crate) const TILE_Q8: Tile = Tile { nr: NR, kr: 4 };

const MR_F32: usize = 6;
const MR_Q8: usize = 4;
const NR: usize = 16;

/// f32 GEMM.
pub(crate) fn gemm_f32(_: Avx2, job: &GemmF32<'_>, out: &mut [f32]) {
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { gemm_f32_f32_6x16__avx2(job, out) }
}

/// Integer GEMM.
pub(crate) fn gemm_q8(_: Avx2, job: &GemmQ8<'_>, out: OutQ8<'_>) {
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { gemm_qu8_qc8w_4x16c4__avx2(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2,fma")]
fn gemm_f32_f32_6x16__avx2(job: &GemmF32<'_>, out: &mut [f32]) {
    for (first, rows) in row_blocks(job.m, 4 * job.weights.k, MR_F32) {
        for (channel, panel) in panels_f32(job, out.len(), TILE_F32) {
            for i in (first..first + rows).step_by(MR_F32) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let out = &mut out[i * job.out_stride + channel..];
                let strides = [job.lhs_stride, job.out_stride];
                if panel.count > 8 {
                    rows_f32::<2>(&panel, job.m - i, lhs, out, strides);
                } else {
                    rows_f32::<1>(&panel, job.m - i, lhs, out, strides);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn rows_f32<const NV: usize>(
    panel: &PanelF32<'_>,
    rows: usize,
    lhs: &[f32],
    out: &mut [f32],
    strides: [usize; 2],
) {
    match rows {
        1 => row_f32::<NV>(panel, lhs, out),
        2 => tile_f32::<2, NV>(panel, lhs, out, strides),
        3 => tile_f32::<3, NV>(panel, lhs, out, strides),
        4 => tile_f32::<4, NV>(panel, lhs, out, strides),
        5 => tile_f32::<5, NV>(panel, lhs, out, strides),
        _ => tile_f32::<6, NV>(panel, lhs, out, strides),
    }
}

/// `M` rows times the first `8 * NV` channels of a panel.
#[target_feature(enable = "avx2,fma")]
fn tile_f32<const M: usize, const NV: usize>(
    panel: &PanelF32<'_>,
    lhs: &[f32],
    out: &mut [f32],
    [lhs_stride, out_stride]: [usize; 2],
) {
    let k = panel.k;
    assert!(lhs.len() >= (M - 1) * lhs_stride + k && panel.weights.len() == NR * k);
    let mut sums = [[_mm256_setzero_ps(); NV]; M];
    let (weights, rows) = (panel.weights.as_ptr(), lhs.as_ptr());
    for p in 0..k {
        let mut w = [_mm256_setzero_ps(); NV];
        for (v, w) in w.iter_mut().enumerate() {
            // SAFETY: p < k, the panel has k times NR weights, and 8 * NV <= NR.
            *w = unsafe { _mm256_loadu_ps(weights.add(p * NR + 8 * v)) };
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: p < k, and row r < M has k elements from r * lhs_stride.
            let x = unsafe { _mm256_set1_ps(*rows.add(r * lhs_stride + p)) };
            for (sum, &w) in sums.iter_mut().zip(&w) {
                *sum = _mm256_fmadd_ps(x, w, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        store_f32(panel, sums, &mut out[r * out_stride..][..panel.count]);
    }
}

/// One row times the first `8 * NV` channels of a panel: four sets of accumulators along k.
#[target_feature(enable = "avx2,fma")]
fn row_f32<const NV: usize>(panel: &PanelF32<'_>, lhs: &[f32], out: &mut [f32]) {
    let (lhs, k) = (&lhs[..panel.k], panel.k);
    assert!(panel.weights.len() == NR * k);
    let weights = panel.weights.as_ptr();
    let mut sets = [[_mm256_setzero_ps(); NV]; 4];
    let (quads, rest) = lhs.as_chunks::<4>();
    for (p, x) in quads.iter().enumerate() {
        for (q, set) in sets.iter_mut().enumerate() {
            for (v, sum) in set.iter_mut().enumerate() {
                // SAFETY: element 4 * p + q < k of the panel's k times NR weights, and 8 * NV <= NR.
                let w = unsafe { _mm256_loadu_ps(weights.add((4 * p + q) * NR + 8 * v)) };
                *sum = _mm256_fmadd_ps(_mm256_set1_ps(x[q]), w, *sum);
            }
        }
    }
    for (q, (&x, set)) in rest.iter().zip(&mut sets).enumerate() {
        for (v, sum) in set.iter_mut().enumerate() {
            // SAFETY: element 4 * quads + q < k of the panel, as above.
            let w = unsafe { _mm256_loadu_ps(weights.add((4 * quads.len() + q) * NR + 8 * v)) };
            *sum = _mm256_fmadd_ps(_mm256_set1_ps(x), w, *sum);
        }
    }
    let mut sums = [_mm256_setzero_ps(); NV];
    for (v, sum) in sums.iter_mut().enumerate() {
        *sum = _mm256_add_ps(
            _mm256_add_ps(sets[0][v], sets[1][v]),
            _mm256_add_ps(sets[2][v], sets[3][v]),
        );
    }
    store_f32(panel, &sums, &mut out[..panel.count]);
}

/// Adds the bias, clamps and stores as many channels as `out` holds, at most `8 * NV`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_f32<const NV: usize>(panel: &PanelF32<'_>, sums: &[__m256; NV], out: &mut [f32]) {
    let (low, high) = (_mm256_set1_ps(panel.clamp.0), _mm256_set1_ps(panel.clamp.1));
    let mut lanes = [0.0_f32; NR];
    let whole = out.len() == 8 * NV;
    assert!(panel.bias.len() == NR && out.len() <= 8 * NV);
    let target = if whole { out.as_mut_ptr() } else { lanes.as_mut_ptr() };
    for (v, &sum) in sums.iter().enumerate() {
        // SAFETY: NR biases, 8 * NV <= NR.
        let bias = unsafe { _mm256_loadu_ps(panel.bias.as_ptr().add(8 * v)) };
        // The accumulator stands second, because minps and maxps return that one where there is a NaN.
        let y = _mm256_min_ps(high, _mm256_max_ps(low, _mm256_add_ps(sum, bias)));
        // SAFETY: the target holds 8 * NV elements: `out` if whole, else NR lanes.
        unsafe { _mm256_storeu_ps(target.add(8 * v), y) };
    }
    if !whole {
        for (slot, &lane) in out.iter_mut().zip(&lanes) {
            *slot = lane;
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn gemm_qu8_qc8w_4x16c4__avx2(job: &GemmQ8<'_>, mut out: OutQ8<'_>) {
    match Products::for_weights(job.weights.max_abs) {
        Products::Widened => blocks_q8::<WIDENED>(job, &mut out),
        Products::Pairs => blocks_q8::<PAIRS>(job, &mut out),
        Products::Quads => blocks_q8::<QUADS>(job, &mut out),
    }
}

#[target_feature(enable = "avx2")]
fn blocks_q8<const PRODUCTS: u8>(job: &GemmQ8<'_>, out: &mut OutQ8<'_>) {
    for (first, rows) in row_blocks(job.m, job.weights.k, MR_Q8) {
        for panel in panels_q8(job, out.len(), TILE_Q8) {
            for i in (first..first + rows).step_by(MR_Q8) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let block = Block {
                    at: i * job.out_stride + panel.channel,
                    stride: job.out_stride,
                    channel: panel.channel,
                    count: panel.count,
                };
                let stride = job.lhs_stride;
                match (job.m - i, panel.count > 8) {
                    (1, true) => tile_q8::<1, 2, PRODUCTS>(&panel, lhs, stride, block, out),
                    (1, false) => tile_q8::<1, 1, PRODUCTS>(&panel, lhs, stride, block, out),
                    (2, true) => tile_q8::<2, 2, PRODUCTS>(&panel, lhs, stride, block, out),
                    (2, false) => tile_q8::<2, 1, PRODUCTS>(&panel, lhs, stride, block, out),
                    (3, true) => tile_q8::<3, 2, PRODUCTS>(&panel, lhs, stride, block, out),
                    (3, false) => tile_q8::<3, 1, PRODUCTS>(&panel, lhs, stride, block, out),
                    (_, true) => tile_q8::<4, 2, PRODUCTS>(&panel, lhs, stride, block, out),
                    (_, false) => tile_q8::<4, 1, PRODUCTS>(&panel, lhs, stride, block, out),
                }
            }
        }
    }
}

/// `M` rows times the first `8 * NV` channels of a panel.
#[target_feature(enable = "avx2")]
fn tile_q8<const M: usize, const NV: usize, const PRODUCTS: u8>(
    panel: &PanelQ8<'_>,
    lhs: &[u8],
    lhs_stride: usize,
    block: Block,
    out: &mut OutQ8<'_>,
) {
    let k = panel.k;
    assert!(lhs.len() >= (M - 1) * lhs_stride + k && panel.bias.len() == NR);
    assert!(panel.weights.len() == k.next_multiple_of(4) * NR);
    let mut sums = [[_mm256_setzero_si256(); NV]; M];
    for (v, bias) in panel.bias.as_chunks::<8>().0.iter().take(NV).enumerate() {
        // SAFETY: an array of eight i32.
        let bias = unsafe { _mm256_loadu_si256(bias.as_ptr().cast()) };
        for sums in &mut sums {
            sums[v] = bias;
        }
    }
    let (weights, rows) = (panel.weights.as_ptr(), lhs.as_ptr());
    let load = |group: usize| {
        let mut w = [_mm256_setzero_si256(); NV];
        for (v, w) in w.iter_mut().enumerate() {
            // SAFETY: only called for group < k.div_ceil(4), groups of 4 * NR bytes; 32 * NV <= 4 * NR.
            *w = unsafe { _mm256_loadu_si256(weights.add(group * 4 * NR + 32 * v).cast()) };
        }
        w
    };
    let broadcast = |group: usize, r: usize| {
        // SAFETY: only called for 4 * group + 4 <= k and r < M; row r has k bytes from r * lhs_stride.
        _mm256_set1_epi32(unsafe {
            rows.add(r * lhs_stride + 4 * group).cast::<i32>().read_unaligned()
        })
    };
    let mut group = 0;
    while PRODUCTS == QUADS && group + 2 <= k / 4 {
        let w = [load(group), load(group + 1)];
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = [broadcast(group, r), broadcast(group + 1, r)];
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = add_quads(*sum, x, [w[0][v], w[1][v]]);
            }
        }
        group += 2;
    }
    while group < k / 4 {
        let w = load(group);
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = broadcast(group, r);
            for (sum, &w) in sums.iter_mut().zip(&w) {
                *sum = add_products::<PRODUCTS>(*sum, x, w);
            }
        }
        group += 1;
    }
    if !k.is_multiple_of(4) {
        let w = load(group);
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = _mm256_set1_epi32(tail_bytes(lhs, r * lhs_stride + 4 * group, k % 4));
            for (sum, &w) in sums.iter_mut().zip(&w) {
                *sum = add_products::<PRODUCTS>(*sum, x, w);
            }
        }
    }
    output::avx2::store(out, block, &sums);
}

/// Adds, in each i32 lane, the four products of the lane's bytes in `x` (unsigned) and `w` (signed).
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn add_products<const PRODUCTS: u8>(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
    if PRODUCTS == WIDENED {
        let w_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w));
        let w_odd = _mm256_srai_epi16::<8>(w);
        let x_even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
        let x_odd = _mm256_srli_epi16::<8>(x);
        let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x_even, w_even));
        _mm256_add_epi32(sum, _mm256_madd_epi16(x_odd, w_odd))
    } else {
        let pairs = _mm256_maddubs_epi16(x, w);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// Adds the products of two vectors, summed in 16 bits first: weights of at most 32.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn add_quads(sum: __m256i, x: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
    let quads =
        _mm256_add_epi16(_mm256_maddubs_epi16(x[0], w[0]), _mm256_maddubs_epi16(x[1], w[1]));
    _mm256_add_epi32(sum, _mm256_madd_epi16(quads, _mm256_set1_epi16(1)))
}
