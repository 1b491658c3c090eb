//! Dense layers with 4-bit codebook indices, SSE4.1. Contract and reference: `embdl_core::kernels::codebook`.
//!
//! 32 columns a step: 16 bytes of indices are split into the even and the odd columns, looked up, and interleaved to
//! the order of the activations. 4 accumulators, 2 activations, the codebook, a mask, ones, and 4 to 5 temporaries.

use core::arch::x86_64::*;

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::{CHANNELS, biases, check, index_bytes, last_step, products, whole_steps};
use crate::detect::Sse41;
use crate::kernels::gemm::sse41::{add_products, add_quads};
use crate::kernels::gemm::{PAIRS, Products, QUADS, WIDENED};
use crate::kernels::output::{self, Block};

/// Columns a step.
const STEP: usize = 32;

/// Dense layer with 4-bit codebook indices.
pub(crate) fn codebook_q8(_: Sse41, job: &RowsQ8<'_, CodebookQ8>, mut out: OutQ8<'_>) {
    check(job, out.len());
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe {
        match products(job.weights) {
            Products::Widened => gemm_qu8_cb4w_1x4c32__sse41::<WIDENED>(job, &mut out),
            Products::Pairs => gemm_qu8_cb4w_1x4c32__sse41::<PAIRS>(job, &mut out),
            Products::Quads => gemm_qu8_cb4w_1x4c32__sse41::<QUADS>(job, &mut out),
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn gemm_qu8_cb4w_1x4c32__sse41<const PRODUCTS: u8>(
    job: &RowsQ8<'_, CodebookQ8>,
    out: &mut OutQ8<'_>,
) {
    let CodebookQ8 { n, k, row_bytes, ref indices, ref codebook, .. } = *job.weights;
    // SAFETY: sixteen bytes.
    let codebook = unsafe { _mm_loadu_si128(codebook.as_ptr().cast()) };
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        let (steps, rest) = lhs.as_chunks::<STEP>();
        let last = last_step::<STEP>(lhs);
        for j in (0..n).step_by(CHANNELS) {
            let mut sums = [_mm_setzero_si128(); CHANNELS];
            // Beyond the last channel, the last one is computed again and not stored.
            let rows = [0, 1, 2, 3].map(|c| (j + c).min(n - 1) * row_bytes);
            let whole = rows.map(|row| whole_steps(&indices[row..], steps.len()));
            for (step, x) in steps.iter().enumerate() {
                let x = load_pair(x);
                for (sum, whole) in sums.iter_mut().zip(whole) {
                    add_step::<PRODUCTS>(sum, x, look_up(codebook, &whole[step]));
                }
            }
            if !rest.is_empty() {
                let x = load_pair(&last);
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let bytes = index_bytes(indices, row + steps.len() * STEP / 2);
                    add_step::<PRODUCTS>(sum, x, look_up(codebook, &bytes));
                }
            }
            let sum =
                _mm_hadd_epi32(_mm_hadd_epi32(sums[0], sums[1]), _mm_hadd_epi32(sums[2], sums[3]));
            // SAFETY: four i32.
            let bias = unsafe { _mm_loadu_si128(biases(job.weights, j).as_ptr().cast()) };
            let count = CHANNELS.min(n - j);
            let block = Block { at: i * n + j, stride: n, channel: j, count };
            output::sse41::store(out, block, &[[_mm_add_epi32(sum, bias)]]);
        }
    }
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn load_pair(x: &[u8; STEP]) -> [__m128i; 2] {
    // SAFETY: 32 bytes.
    unsafe { [_mm_loadu_si128(x.as_ptr().cast()), _mm_loadu_si128(x.as_ptr().add(16).cast())] }
}

/// The weights of 32 columns, in order.
#[inline]
#[target_feature(enable = "sse4.1")]
fn look_up(codebook: __m128i, indices: &[u8; STEP / 2]) -> [__m128i; 2] {
    // SAFETY: sixteen bytes.
    let indices = unsafe { _mm_loadu_si128(indices.as_ptr().cast()) };
    let nibbles = _mm_set1_epi8(15);
    let even = _mm_shuffle_epi8(codebook, _mm_and_si128(indices, nibbles));
    let odd = _mm_and_si128(_mm_srli_epi16::<4>(indices), nibbles);
    let odd = _mm_shuffle_epi8(codebook, odd);
    [_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd)]
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn add_step<const PRODUCTS: u8>(sum: &mut __m128i, x: [__m128i; 2], w: [__m128i; 2]) {
    *sum = if PRODUCTS == QUADS {
        add_quads(*sum, x, w)
    } else {
        let sum = add_products::<PRODUCTS>(*sum, x[0], w[0]);
        add_products::<PRODUCTS>(sum, x[1], w[1])
    };
}
