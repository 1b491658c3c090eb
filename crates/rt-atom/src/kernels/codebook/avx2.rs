//! Dense layers with 4-bit codebook indices, AVX2. Contract and reference: `embdl_core::kernels::codebook`.
//!
//! 64 columns a step, as in the SSE4.1 kernel. Looking up and interleaving work in each half of a register, so the
//! weights come as columns 0-15, 32-47 and 16-31, 48-63; the activations are permuted to that order, once for the four
//! channels.

use core::arch::x86_64::*;

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::{CHANNELS, biases, check, index_bytes, last_step, products, whole_steps};
use crate::detect::Avx2;
use crate::kernels::gemm::avx2::{add_products, add_quads};
use crate::kernels::gemm::{PAIRS, Products, QUADS, WIDENED};
use crate::kernels::output::{self, Block};

/// Columns a step.
const STEP: usize = 64;

/// Dense layer with 4-bit codebook indices.
pub(crate) fn codebook_q8(_: Avx2, job: &RowsQ8<'_, CodebookQ8>, mut out: OutQ8<'_>) {
    check(job, out.len());
    // SAFETY: the token proves that the CPU has AVX2.
    unsafe {
        match products(job.weights) {
            Products::Widened => gemm_qu8_cb4w_1x4c64__avx2::<WIDENED>(job, &mut out),
            Products::Pairs => gemm_qu8_cb4w_1x4c64__avx2::<PAIRS>(job, &mut out),
            Products::Quads => gemm_qu8_cb4w_1x4c64__avx2::<QUADS>(job, &mut out),
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn gemm_qu8_cb4w_1x4c64__avx2<const PRODUCTS: u8>(
    job: &RowsQ8<'_, CodebookQ8>,
    out: &mut OutQ8<'_>,
) {
    let CodebookQ8 { n, k, row_bytes, ref indices, ref codebook, .. } = *job.weights;
    // SAFETY: sixteen bytes.
    let codebook = unsafe { _mm_loadu_si128(codebook.as_ptr().cast()) };
    let codebook = _mm256_broadcastsi128_si256(codebook);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        let (steps, rest) = lhs.as_chunks::<STEP>();
        let last = last_step::<STEP>(lhs);
        for j in (0..n).step_by(CHANNELS) {
            let mut sums = [_mm256_setzero_si256(); CHANNELS];
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
            let sum = _mm256_hadd_epi32(
                _mm256_hadd_epi32(sums[0], sums[1]),
                _mm256_hadd_epi32(sums[2], sums[3]),
            );
            let sum =
                _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            // SAFETY: four i32.
            let bias = unsafe { _mm_loadu_si128(biases(job.weights, j).as_ptr().cast()) };
            let count = CHANNELS.min(n - j);
            let block = Block { at: i * n + j, stride: n, channel: j, count };
            output::sse41::store(out, block, &[[_mm_add_epi32(sum, bias)]]);
        }
    }
}

/// Columns 0-15 and 32-47, columns 16-31 and 48-63.
#[inline]
#[target_feature(enable = "avx2")]
fn load_pair(x: &[u8; STEP]) -> [__m256i; 2] {
    // SAFETY: 64 bytes.
    let (first, second) = unsafe {
        (_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(32).cast()))
    };
    [
        _mm256_permute2x128_si256::<0x20>(first, second),
        _mm256_permute2x128_si256::<0x31>(first, second),
    ]
}

/// The weights of 64 columns, in the order of `load_pair`.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(codebook: __m256i, indices: &[u8; STEP / 2]) -> [__m256i; 2] {
    // SAFETY: 32 bytes.
    let indices = unsafe { _mm256_loadu_si256(indices.as_ptr().cast()) };
    let nibbles = _mm256_set1_epi8(15);
    let even = _mm256_shuffle_epi8(codebook, _mm256_and_si256(indices, nibbles));
    let odd = _mm256_and_si256(_mm256_srli_epi16::<4>(indices), nibbles);
    let odd = _mm256_shuffle_epi8(codebook, odd);
    [_mm256_unpacklo_epi8(even, odd), _mm256_unpackhi_epi8(even, odd)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_step<const PRODUCTS: u8>(sum: &mut __m256i, x: [__m256i; 2], w: [__m256i; 2]) {
    *sum = if PRODUCTS == QUADS {
        add_quads(*sum, x, w)
    } else {
        let sum = add_products::<PRODUCTS>(*sum, x[0], w[0]);
        add_products::<PRODUCTS>(sum, x[1], w[1])
    };
}
