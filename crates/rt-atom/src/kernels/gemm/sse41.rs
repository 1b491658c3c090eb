//! GEMM tiles 4x4 (f32) and 4x8 (u8 x i8), SSE4.1. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! f32: SSE has no broadcasting load of one float, but `movddup` broadcasts two without a shuffle. So a panel holds two
//! consecutive k of a channel side by side, an accumulator the even and the odd sums of two channels, added at the end.
//! 4 rows x 4 channels are 8 accumulators; with 2 vectors of weights, a broadcast and a product 12 of 16 registers. For
//! 32 products: 6 loads, 4 copies (SSE overwrites an operand), 8 multiplications, 8 additions; broadcasting by shuffle
//! in a 4x8 tile costs 4 to 8 instructions more and competes for the vector units. A single row has only 2
//! accumulators a panel, too few for the latency of an addition, so it keeps four sets along k.
//!
//! u8 x i8: a panel holds 4 consecutive k of a channel in 32 bits; `pmaddubsw` then `pmaddwd` by ones (or, for large
//! weights, two `pmaddwd` over the even and the odd bytes) sum them into the channel's i32 lane. 8 accumulators, 2
//! weights, broadcast, product, ones: 13 registers. Integer additions take a cycle, so one row needs no further sets.

use core::arch::x86_64::*;

use embdl_core::kernels::{GemmF32, GemmQ8, OutQ8, Tile};

use super::{
    PAIRS, PanelF32, PanelQ8, Products, QUADS, WIDENED, panels_f32, panels_q8, row_blocks,
    tail_bytes,
};
use crate::detect::Sse41;
use crate::kernels::output::{self, Block};

/// Packing of float weights.
pub(crate) const TILE_F32: Tile = Tile { nr: 4, kr: 2 };
/// Packing of integer weights.
pub(crate) const TILE_Q8: Tile = Tile { nr: NR, kr: 4 };

const MR: usize = 4;
const NR: usize = 8;

/// f32 GEMM.
pub(crate) fn gemm_f32(_: Sse41, job: &GemmF32<'_>, out: &mut [f32]) {
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { gemm_f32_f32_4x4c2__sse41(job, out) }
}

/// Integer GEMM.
pub(crate) fn gemm_q8(_: Sse41, job: &GemmQ8<'_>, out: OutQ8<'_>) {
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { gemm_qu8_qc8w_4x8c4__sse41(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn gemm_f32_f32_4x4c2__sse41(job: &GemmF32<'_>, out: &mut [f32]) {
    for (first, rows) in row_blocks(job.m, 4 * job.weights.k, MR) {
        for (channel, panel) in panels_f32(job, out.len(), TILE_F32) {
            for i in (first..first + rows).step_by(MR) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let out = &mut out[i * job.out_stride + channel..];
                let strides = [job.lhs_stride, job.out_stride];
                match job.m - i {
                    1 => row_f32(&panel, lhs, out),
                    2 => tile_f32::<2>(&panel, lhs, out, strides),
                    3 => tile_f32::<3>(&panel, lhs, out, strides),
                    _ => tile_f32::<4>(&panel, lhs, out, strides),
                }
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
    let k = panel.k;
    assert!(lhs.len() >= (M - 1) * lhs_stride + k);
    let mut sums = [[_mm_setzero_ps(); 2]; M];
    let rows = lhs.as_ptr();
    let (pairs, _) = panel.weights.as_chunks::<8>();
    assert!(pairs.len() == k.div_ceil(2));
    for (pair, w) in pairs[..k / 2].iter().enumerate() {
        let w = load_pair(w);
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: pair < k / 2, and row r < M has k elements from r * lhs_stride.
            let x = unsafe { broadcast_pair(rows.add(r * lhs_stride + 2 * pair)) };
            for (sum, &w) in sums.iter_mut().zip(&w) {
                *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
            }
        }
    }
    if let Some(w) = pairs.get(k / 2) {
        let w = load_pair(w);
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = lhs[r * lhs_stride + k - 1];
            let x = _mm_setr_ps(x, 0.0, x, 0.0);
            for (sum, &w) in sums.iter_mut().zip(&w) {
                *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
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
    let (lhs, k) = (&lhs[..panel.k], panel.k);
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

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn gemm_qu8_qc8w_4x8c4__sse41(job: &GemmQ8<'_>, mut out: OutQ8<'_>) {
    match Products::for_weights(job.weights.max_abs) {
        Products::Widened => blocks_q8::<WIDENED>(job, &mut out),
        Products::Pairs => blocks_q8::<PAIRS>(job, &mut out),
        Products::Quads => blocks_q8::<QUADS>(job, &mut out),
    }
}

#[target_feature(enable = "sse4.1")]
fn blocks_q8<const PRODUCTS: u8>(job: &GemmQ8<'_>, out: &mut OutQ8<'_>) {
    for (first, rows) in row_blocks(job.m, job.weights.k, MR) {
        for panel in panels_q8(job, out.len(), TILE_Q8) {
            for i in (first..first + rows).step_by(MR) {
                let lhs = &job.lhs[i * job.lhs_stride..];
                let block = Block {
                    at: i * job.out_stride + panel.channel,
                    stride: job.out_stride,
                    channel: panel.channel,
                    count: panel.count,
                };
                let stride = job.lhs_stride;
                match (job.m - i, panel.count > 4) {
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

/// `M` rows times the first `4 * NV` channels of a panel.
#[target_feature(enable = "sse4.1")]
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
    let mut sums = [[_mm_setzero_si128(); NV]; M];
    for (v, bias) in panel.bias.as_chunks::<4>().0.iter().take(NV).enumerate() {
        // SAFETY: an array of four i32.
        let bias = unsafe { _mm_loadu_si128(bias.as_ptr().cast()) };
        for sums in &mut sums {
            sums[v] = bias;
        }
    }
    let (weights, rows) = (panel.weights.as_ptr(), lhs.as_ptr());
    let load = |group: usize| {
        let mut w = [_mm_setzero_si128(); NV];
        for (v, w) in w.iter_mut().enumerate() {
            // SAFETY: only called for group < k.div_ceil(4), groups of 4 * NR bytes; 16 * NV <= 4 * NR.
            *w = unsafe { _mm_loadu_si128(weights.add(group * 4 * NR + 16 * v).cast()) };
        }
        w
    };
    for chunk in 0..k / 16 {
        let w = [load(4 * chunk), load(4 * chunk + 1), load(4 * chunk + 2), load(4 * chunk + 3)];
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: 16 * chunk + 16 <= k, and row r < M has k bytes from r * lhs_stride.
            let x = unsafe { _mm_loadu_si128(rows.add(r * lhs_stride + 16 * chunk).cast()) };
            if PRODUCTS == WIDENED {
                let (even, odd) = (broadcasts(even_bytes(x)), broadcasts(_mm_srli_epi16::<8>(x)));
                for (v, sum) in sums.iter_mut().enumerate() {
                    for ((even, odd), w) in even.into_iter().zip(odd).zip(w) {
                        *sum = add_widened(*sum, [even, odd], w[v]);
                    }
                }
                continue;
            }
            let x = broadcasts(x);
            for (v, sum) in sums.iter_mut().enumerate() {
                if PRODUCTS == QUADS {
                    *sum = add_quads(*sum, [x[0], x[1]], [w[0][v], w[1][v]]);
                    *sum = add_quads(*sum, [x[2], x[3]], [w[2][v], w[3][v]]);
                } else {
                    for (x, w) in x.into_iter().zip(w) {
                        *sum = add_products::<PRODUCTS>(*sum, x, w[v]);
                    }
                }
            }
        }
    }
    for group in k / 16 * 4..k / 4 {
        let w = load(group);
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: 4 * group + 4 <= k, and row r < M has k bytes from r * lhs_stride.
            let x = unsafe { rows.add(r * lhs_stride + 4 * group).cast::<i32>().read_unaligned() };
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = add_products::<PRODUCTS>(*sum, _mm_set1_epi32(x), w);
            }
        }
    }
    if !k.is_multiple_of(4) {
        let w = load(k / 4);
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = _mm_set1_epi32(tail_bytes(lhs, r * lhs_stride + k / 4 * 4, k % 4));
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = add_products::<PRODUCTS>(*sum, x, w);
            }
        }
    }
    output::sse41::store(out, block, &sums);
}

/// Each i32 lane in all lanes.
#[inline]
#[target_feature(enable = "sse4.1")]
fn broadcasts(x: __m128i) -> [__m128i; 4] {
    [
        _mm_shuffle_epi32::<0x00>(x),
        _mm_shuffle_epi32::<0x55>(x),
        _mm_shuffle_epi32::<0xaa>(x),
        _mm_shuffle_epi32::<0xff>(x),
    ]
}

/// The even bytes in 16 bits.
#[inline]
#[target_feature(enable = "sse4.1")]
fn even_bytes(x: __m128i) -> __m128i {
    _mm_and_si128(x, _mm_set1_epi16(0xff))
}

/// Adds, in each i32 lane, the four products of the lane's bytes in `x` (unsigned) and `w` (signed).
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn add_products<const PRODUCTS: u8>(sum: __m128i, x: __m128i, w: __m128i) -> __m128i {
    if PRODUCTS == WIDENED {
        add_widened(sum, [even_bytes(x), _mm_srli_epi16::<8>(x)], w)
    } else {
        _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(x, w), _mm_set1_epi16(1)))
    }
}

/// The same for the even and the odd bytes in 16 bits, and any weights.
#[inline]
#[target_feature(enable = "sse4.1")]
fn add_widened(sum: __m128i, [even, odd]: [__m128i; 2], w: __m128i) -> __m128i {
    let (w_even, w_odd) = (_mm_srai_epi16::<8>(_mm_slli_epi16::<8>(w)), _mm_srai_epi16::<8>(w));
    let sum = _mm_add_epi32(sum, _mm_madd_epi16(even, w_even));
    _mm_add_epi32(sum, _mm_madd_epi16(odd, w_odd))
}

/// Adds the products of two vectors, summed in 16 bits first: weights of at most 32.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn add_quads(sum: __m128i, x: [__m128i; 2], w: [__m128i; 2]) -> __m128i {
    let quads = _mm_add_epi16(_mm_maddubs_epi16(x[0], w[0]), _mm_maddubs_epi16(x[1], w[1]));
    _mm_add_epi32(sum, _mm_madd_epi16(quads, _mm_set1_epi16(1)))
}
