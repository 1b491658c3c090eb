//! Dense layers with sparse rows, AVX2 and FMA. Contract and reference: `embdl_core::kernels::sparse`.
//!
//! f32: 8 rows are a vector; four entries have accumulators of their own, 4 chains. q8: the bytes of two entries are
//! interleaved and widened, so that `vpmaddwd` adds both products of a row in its i32 lane.

use core::arch::x86_64::*;

use embdl_core::kernels::{OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8};

use super::{
    CHANNELS, COLUMNS_F32, COLUMNS_Q8, MIN_ROWS, ROWS, TileQ8, check, entries_f32, entries_q8,
    pair, row_f32, row_q8, table, transpose,
};
use crate::detect::Avx2;
use crate::kernels::output::{self, Block};

/// Dense layer with sparse float weights.
pub(crate) fn sparse_f32(_: Avx2, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    check(job.m, job.weights.k, job.weights.n, job.lhs.len(), out.len());
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe {
        match job.weights.k {
            _ if job.m < MIN_ROWS => gemm_f32_bsrw_8x1__avx2::<0>(job, out),
            k if k <= COLUMNS_F32[0] => {
                gemm_f32_bsrw_8x1__avx2::<{ COLUMNS_F32[0] }>(job, out);
            }
            k if k <= COLUMNS_F32[1] => {
                gemm_f32_bsrw_8x1__avx2::<{ COLUMNS_F32[1] }>(job, out);
            }
            _ => gemm_f32_bsrw_8x1__avx2::<0>(job, out),
        }
    }
}

/// Dense layer with sparse integer weights.
pub(crate) fn sparse_q8(_: Avx2, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
    check(job.m, job.weights.k, job.weights.n, job.lhs.len(), out.len());
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe {
        match job.weights.k {
            _ if job.m < MIN_ROWS => gemm_qu8_bsrw_8x1__avx2::<0>(job, out),
            k if k <= COLUMNS_Q8[0] => {
                gemm_qu8_bsrw_8x1__avx2::<{ COLUMNS_Q8[0] }>(job, out);
            }
            k if k <= COLUMNS_Q8[1] => {
                gemm_qu8_bsrw_8x1__avx2::<{ COLUMNS_Q8[1] }>(job, out);
            }
            _ => gemm_qu8_bsrw_8x1__avx2::<0>(job, out),
        }
    }
}

/// `K` is the number of columns that a block has room for; layers with more go row by row.
#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2,fma")]
fn gemm_f32_bsrw_8x1__avx2<const K: usize>(job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    let SparseF32 { n, k, .. } = *job.weights;
    let table = table(job.weights);
    let mut block = [[0.0_f32; ROWS]; K];
    for i in (0..job.m).step_by(ROWS) {
        let rows = ROWS.min(job.m - i);
        if k > K || rows < MIN_ROWS {
            (i..i + rows).for_each(|i| row_f32(job, &table, i, out));
        } else {
            transpose(&job.lhs[i * k..], k, rows, &mut block);
            block_f32(job, &table, &block[..k], &mut out[i * n..][..rows * n]);
        }
    }
}

/// A block of rows times all channels.
#[target_feature(enable = "avx2,fma")]
fn block_f32(
    job: &RowsF32<'_, SparseF32>,
    table: &[f32; 256],
    block: &[[f32; ROWS]],
    out: &mut [f32],
) {
    let (low, high) = (_mm256_set1_ps(job.clamp.0), _mm256_set1_ps(job.clamp.1));
    let n = job.weights.n;
    for j in 0..n {
        let (columns, codes) = entries_f32(job.weights, j);
        let (column_pairs, column_rest) = columns.as_chunks::<4>();
        let (code_pairs, code_rest) = codes.as_chunks::<4>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for (columns, codes) in column_pairs.iter().zip(code_pairs) {
            for ((sum, &column), &code) in sums.iter_mut().zip(columns).zip(codes) {
                add_entry(sum, &block[usize::from(column)], table[usize::from(code)]);
            }
        }
        for ((sum, &column), &code) in sums.iter_mut().zip(column_rest).zip(code_rest) {
            add_entry(sum, &block[usize::from(column)], table[usize::from(code)]);
        }
        let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
        let sum = _mm256_add_ps(sum, _mm256_set1_ps(job.weights.bias[j]));
        let mut lanes = [0.0_f32; ROWS];
        // The sum stands second, because minps and maxps return that one where there is a NaN.
        let y = _mm256_min_ps(high, _mm256_max_ps(low, sum));
        // SAFETY: eight floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), y) };
        for (row, &lane) in out.chunks_exact_mut(n).zip(&lanes) {
            row[j] = lane;
        }
    }
}

/// Adds the products of eight activations and one weight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_entry(sum: &mut __m256, x: &[f32; ROWS], w: f32) {
    // SAFETY: eight floats.
    let x = unsafe { _mm256_loadu_ps(x.as_ptr()) };
    *sum = _mm256_fmadd_ps(x, _mm256_set1_ps(w), *sum);
}

/// `K` is the number of columns that a block has room for; layers with more go row by row.
#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn gemm_qu8_bsrw_8x1__avx2<const K: usize>(job: &RowsQ8<'_, SparseQ8>, mut out: OutQ8<'_>) {
    let SparseQ8 { n, k, .. } = *job.weights;
    let mut block = [[0_u8; ROWS]; K];
    for i in (0..job.m).step_by(ROWS) {
        let rows = ROWS.min(job.m - i);
        let is_blocked = k <= K && rows >= MIN_ROWS;
        if is_blocked {
            transpose(&job.lhs[i * k..], k, rows, &mut block);
        }
        for j in (0..n).step_by(CHANNELS) {
            let count = CHANNELS.min(n - j);
            let mut tile = [[0; CHANNELS]; ROWS];
            if is_blocked {
                block_q8(job, &block[..k], j, count, &mut tile);
            } else {
                for (r, sums) in tile.iter_mut().take(rows).enumerate() {
                    row_q8(job, i + r, j, &mut sums[..count]);
                }
            }
            let block = Block { at: i * n + j, stride: n, channel: j, count };
            store_tile(&mut out, block, rows, &tile);
        }
    }
}

/// A block of rows times `count` channels from `j`.
#[target_feature(enable = "avx2")]
fn block_q8(
    job: &RowsQ8<'_, SparseQ8>,
    block: &[[u8; ROWS]],
    j: usize,
    count: usize,
    tile: &mut TileQ8,
) {
    for c in 0..count {
        let (columns, values) = entries_q8(job.weights, j + c);
        let mut sums = _mm256_set1_epi32(job.weights.bias[j + c]);
        let (column_pairs, column_rest) = columns.as_chunks::<2>();
        let (value_pairs, value_rest) = values.as_chunks::<2>();
        for (columns, values) in column_pairs.iter().zip(value_pairs) {
            let x = columns.map(|column| &block[usize::from(column)]);
            add_pair(&mut sums, x, pair(values[0], values[1]));
        }
        if let ([column], [value]) = (column_rest, value_rest) {
            let x = &block[usize::from(*column)];
            add_pair(&mut sums, [x, x], pair(*value, 0));
        }
        let mut lanes = [0_i32; ROWS];
        // SAFETY: eight i32.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
        for (sums, &lane) in tile.iter_mut().zip(&lanes) {
            sums[c] = lane;
        }
    }
}

/// Adds the products of eight activations of two columns and two weights.
#[inline]
#[target_feature(enable = "avx2")]
fn add_pair(sums: &mut __m256i, x: [&[u8; ROWS]; 2], w: i32) {
    // SAFETY: eight bytes each.
    let both = unsafe {
        _mm_unpacklo_epi8(
            _mm_loadl_epi64(x[0].as_ptr().cast()),
            _mm_loadl_epi64(x[1].as_ptr().cast()),
        )
    };
    let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(both), _mm256_set1_epi32(w));
    *sums = _mm256_add_epi32(*sums, products);
}

/// Sends `rows` rows of accumulators through the output stage.
#[target_feature(enable = "avx2")]
fn store_tile(out: &mut OutQ8<'_>, block: Block, rows: usize, tile: &TileQ8) {
    for (r, sums) in tile.iter().take(rows).enumerate() {
        // SAFETY: eight i32.
        let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) };
        let at = block.at + r * block.stride;
        output::avx2::store(out, Block { at, ..block }, &[[sums]]);
    }
}
