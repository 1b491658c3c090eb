//! Dense layers with sparse rows, SSE4.1. Contract and reference: `embdl_core::kernels::sparse`.
//!
//! f32: 8 rows are 2 vectors; even and odd entries have accumulators of their own, 4 chains. q8: the bytes of two entries
//! are interleaved and widened, so that `pmaddwd` adds both products of a row in its i32 lane.

use core::arch::x86_64::*;

use embdl_core::kernels::{OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8};

use super::{
    CHANNELS, COLUMNS_F32, COLUMNS_Q8, MIN_ROWS, ROWS, TileQ8, check, entries_f32, entries_q8,
    pair, row_f32, row_q8, table, transpose,
};
use crate::detect::Sse41;
use crate::kernels::output::{self, Block};

/// Dense layer with sparse float weights.
pub(crate) fn sparse_f32(_: Sse41, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    check(job.m, job.weights.k, job.weights.n, job.lhs.len(), out.len());
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe {
        match job.weights.k {
            _ if job.m < MIN_ROWS => gemm_f32_bsrw_8x1__sse41::<0>(job, out),
            k if k <= COLUMNS_F32[0] => {
                gemm_f32_bsrw_8x1__sse41::<{ COLUMNS_F32[0] }>(job, out);
            }
            k if k <= COLUMNS_F32[1] => {
                gemm_f32_bsrw_8x1__sse41::<{ COLUMNS_F32[1] }>(job, out);
            }
            _ => gemm_f32_bsrw_8x1__sse41::<0>(job, out),
        }
    }
}

/// Dense layer with sparse integer weights.
pub(crate) fn sparse_q8(_: Sse41, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
    check(job.m, job.weights.k, job.weights.n, job.lhs.len(), out.len());
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe {
        match job.weights.k {
            _ if job.m < MIN_ROWS => gemm_qu8_bsrw_8x1__sse41::<0>(job, out),
            k if k <= COLUMNS_Q8[0] => {
                gemm_qu8_bsrw_8x1__sse41::<{ COLUMNS_Q8[0] }>(job, out);
            }
            k if k <= COLUMNS_Q8[1] => {
                gemm_qu8_bsrw_8x1__sse41::<{ COLUMNS_Q8[1] }>(job, out);
            }
            _ => gemm_qu8_bsrw_8x1__sse41::<0>(job, out),
        }
    }
}

/// `K` is the number of columns that a block has room for; layers with more go row by row.
#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn gemm_f32_bsrw_8x1__sse41<const K: usize>(job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
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
#[target_feature(enable = "sse4.1")]
fn block_f32(
    job: &RowsF32<'_, SparseF32>,
    table: &[f32; 256],
    block: &[[f32; ROWS]],
    out: &mut [f32],
) {
    let (low, high) = (_mm_set1_ps(job.clamp.0), _mm_set1_ps(job.clamp.1));
    let n = job.weights.n;
    for j in 0..n {
        let (columns, codes) = entries_f32(job.weights, j);
        let (column_pairs, column_rest) = columns.as_chunks::<2>();
        let (code_pairs, code_rest) = codes.as_chunks::<2>();
        let mut sums = [[_mm_setzero_ps(); 2]; 2];
        for (columns, codes) in column_pairs.iter().zip(code_pairs) {
            for ((sums, &column), &code) in sums.iter_mut().zip(columns).zip(codes) {
                add_entry(sums, &block[usize::from(column)], table[usize::from(code)]);
            }
        }
        if let ([column], [code]) = (column_rest, code_rest) {
            add_entry(&mut sums[0], &block[usize::from(*column)], table[usize::from(*code)]);
        }
        let bias = _mm_set1_ps(job.weights.bias[j]);
        let mut lanes = [0.0_f32; ROWS];
        for (v, lanes) in lanes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let sum = _mm_add_ps(_mm_add_ps(sums[0][v], sums[1][v]), bias);
            // The sum stands second, because minps and maxps return that one where there is a NaN.
            let y = _mm_min_ps(high, _mm_max_ps(low, sum));
            // SAFETY: four floats.
            unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), y) };
        }
        for (row, &lane) in out.chunks_exact_mut(n).zip(&lanes) {
            row[j] = lane;
        }
    }
}

/// Adds the products of eight activations and one weight.
#[inline]
#[target_feature(enable = "sse4.1")]
fn add_entry(sums: &mut [__m128; 2], x: &[f32; ROWS], w: f32) {
    for (sum, x) in sums.iter_mut().zip(x.as_chunks::<4>().0) {
        // SAFETY: four floats.
        let x = unsafe { _mm_loadu_ps(x.as_ptr()) };
        *sum = _mm_add_ps(*sum, _mm_mul_ps(x, _mm_set1_ps(w)));
    }
}

/// `K` is the number of columns that a block has room for; layers with more go row by row.
#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn gemm_qu8_bsrw_8x1__sse41<const K: usize>(job: &RowsQ8<'_, SparseQ8>, mut out: OutQ8<'_>) {
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
#[target_feature(enable = "sse4.1")]
fn block_q8(
    job: &RowsQ8<'_, SparseQ8>,
    block: &[[u8; ROWS]],
    j: usize,
    count: usize,
    tile: &mut TileQ8,
) {
    for c in 0..count {
        let (columns, values) = entries_q8(job.weights, j + c);
        let mut sums = [_mm_set1_epi32(job.weights.bias[j + c]); 2];
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
        for (&sum, lanes) in sums.iter().zip(lanes.as_chunks_mut::<4>().0) {
            // SAFETY: four i32.
            unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), sum) };
        }
        for (sums, &lane) in tile.iter_mut().zip(&lanes) {
            sums[c] = lane;
        }
    }
}

/// Adds the products of eight activations of two columns and two weights.
#[inline]
#[target_feature(enable = "sse4.1")]
fn add_pair(sums: &mut [__m128i; 2], x: [&[u8; ROWS]; 2], w: i32) {
    // SAFETY: eight bytes each.
    let both = unsafe {
        _mm_unpacklo_epi8(
            _mm_loadl_epi64(x[0].as_ptr().cast()),
            _mm_loadl_epi64(x[1].as_ptr().cast()),
        )
    };
    let w = _mm_set1_epi32(w);
    let low = _mm_madd_epi16(_mm_cvtepu8_epi16(both), w);
    let high = _mm_madd_epi16(_mm_unpackhi_epi8(both, _mm_setzero_si128()), w);
    *sums = [_mm_add_epi32(sums[0], low), _mm_add_epi32(sums[1], high)];
}

/// Sends `rows` rows of accumulators through the output stage.
#[target_feature(enable = "sse4.1")]
fn store_tile(out: &mut OutQ8<'_>, block: Block, rows: usize, tile: &TileQ8) {
    for (r, sums) in tile.iter().take(rows).enumerate() {
        let quads = sums.as_chunks::<4>().0;
        // SAFETY: four i32 each.
        let sums = unsafe {
            [_mm_loadu_si128(quads[0].as_ptr().cast()), _mm_loadu_si128(quads[1].as_ptr().cast())]
        };
        let at = block.at + r * block.stride;
        output::sse41::store(out, Block { at, ..block }, &[sums]);
    }
}
