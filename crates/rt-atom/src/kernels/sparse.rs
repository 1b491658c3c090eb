//! Dense layers with sparse rows. Few rows of activations are taken one by one; from three on, two vectors of them are
//! transposed so that one weight meets all of them. Contract and reference: `embdl_core::kernels::sparse`.
//!
//! ```text
//! for each block of ROWS rows of activations
//!     block[column] = the ROWS activations of that column          (on the stack, up to 64 KiB)
//!     for each channel: for each entry: sums[ROWS] += block[entry's column] * entry's value
//! ```
//!
//! f32: even and odd entries have accumulators of their own, 4 chains of two vectors. q8: the bytes of two entries are
//! interleaved and widened, so that `pmaddwd` adds both products of a row in its i32 lane.

use embdl_core::kernels::{OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8};

use super::output::{Block, Stage, store};
use crate::simd::Simd;

/// Fewer rows than this do not repay the transposition.
const MIN_ROWS: usize = 3;
/// Rows of a block, and channels whose integer results go through the output stage together: two vectors, at most this.
const MAX_ROWS: usize = 32;
/// Bytes of the small and of the large block.
const BLOCK_BYTES: [usize; 2] = [16 * 1024, 64 * 1024];

/// Dense layer with sparse float weights.
///
/// # Panics
/// If a slice is shorter than the job says.
#[inline(always)]
pub(crate) fn gemm_f32<S: Simd>(simd: S, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    let SparseF32 { n, k, .. } = *job.weights;
    check(job.m, k, n, job.lhs.len(), out.len());
    match 2 * S::LANES * k * 4 {
        bytes if bytes <= BLOCK_BYTES[0] && job.m >= MIN_ROWS => {
            blocks_f32(simd, job, &mut [0.0; BLOCK_BYTES[0] / 4], out);
        }
        bytes if bytes <= BLOCK_BYTES[1] && job.m >= MIN_ROWS => {
            blocks_f32(simd, job, &mut [0.0; BLOCK_BYTES[1] / 4], out);
        }
        _ => {
            let table = table(job.weights);
            (0..job.m).for_each(|i| row_f32(job, &table, i, out));
        }
    }
}

#[inline(always)]
fn blocks_f32<S: Simd>(simd: S, job: &RowsF32<'_, SparseF32>, block: &mut [f32], out: &mut [f32]) {
    let SparseF32 { n, k, .. } = *job.weights;
    let table = table(job.weights);
    for i in (0..job.m).step_by(2 * S::LANES) {
        let rows = (job.m - i).min(2 * S::LANES);
        if rows < MIN_ROWS {
            (i..i + rows).for_each(|i| row_f32(job, &table, i, out));
        } else {
            transpose(&job.lhs[i * k..][..rows * k], k, block, 2 * S::LANES);
            block_f32(simd, job, &table, block, &mut out[i * n..][..rows * n]);
        }
    }
}

/// A block of rows times all channels.
#[inline(always)]
fn block_f32<S: Simd>(
    simd: S,
    job: &RowsF32<'_, SparseF32>,
    table: &[f32; 256],
    block: &[f32],
    out: &mut [f32],
) {
    let (low, high) = (simd.splat(job.clamp.0), simd.splat(job.clamp.1));
    let n = job.weights.n;
    for j in 0..n {
        let (columns, codes) = entries_f32(job.weights, j);
        let (column_pairs, column_rest) = columns.as_chunks::<2>();
        let (code_pairs, code_rest) = codes.as_chunks::<2>();
        let mut sums = [[simd.splat(0.0); 2]; 2];
        for (columns, codes) in column_pairs.iter().zip(code_pairs) {
            for ((sums, &column), &code) in sums.iter_mut().zip(columns).zip(codes) {
                add_entry(simd, sums, column_of(simd, block, column), table[usize::from(code)]);
            }
        }
        if let ([column], [code]) = (column_rest, code_rest) {
            let x = column_of(simd, block, *column);
            add_entry(simd, &mut sums[0], x, table[usize::from(*code)]);
        }
        let bias = simd.splat(job.weights.bias[j]);
        let mut lanes = [0.0_f32; MAX_ROWS];
        for (v, (&even, &odd)) in sums[0].iter().zip(&sums[1]).enumerate() {
            let sum = simd.add(simd.add(even, odd), bias);
            // The sum stands second, because minps and maxps return that one where there is a NaN.
            let y = simd.min(high, simd.max(low, sum));
            // SAFETY: MAX_ROWS are two vectors at least.
            unsafe { simd.store(lanes.as_mut_ptr().add(v * S::LANES), y) };
        }
        for (row, &lane) in out.chunks_exact_mut(n).zip(&lanes) {
            row[j] = lane;
        }
    }
}

/// The activations of one column: two vectors' worth.
#[inline(always)]
fn column_of<S: Simd, T>(_: S, block: &[T], column: u16) -> &[T] {
    &block[usize::from(column) * 2 * S::LANES..][..2 * S::LANES]
}

/// Adds the products of a column of activations and one weight.
#[inline(always)]
fn add_entry<S: Simd>(simd: S, sums: &mut [S::F32; 2], x: &[f32], w: f32) {
    assert!(x.len() == 2 * S::LANES);
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: two vectors of floats.
        let x = unsafe { simd.load(x.as_ptr().add(v * S::LANES)) };
        *sum = simd.mul_add(x, simd.splat(w), *sum);
    }
}

/// Dense layer with sparse integer weights.
///
/// # Panics
/// If a slice is shorter than the job says.
#[inline(always)]
pub(crate) fn gemm_q8<S: Simd>(simd: S, job: &RowsQ8<'_, SparseQ8>, mut out: OutQ8<'_>) {
    let SparseQ8 { n, k, .. } = *job.weights;
    check(job.m, k, n, job.lhs.len(), out.len());
    match 2 * S::LANES * k {
        bytes if bytes <= BLOCK_BYTES[0] && job.m >= MIN_ROWS => {
            blocks_q8(simd, job, &mut [0; BLOCK_BYTES[0]], &mut out);
        }
        bytes if bytes <= BLOCK_BYTES[1] && job.m >= MIN_ROWS => {
            blocks_q8(simd, job, &mut [0; BLOCK_BYTES[1]], &mut out);
        }
        _ => blocks_q8(simd, job, &mut [], &mut out),
    }
}

/// With an empty `block`, row by row.
#[inline(always)]
fn blocks_q8<S: Simd>(simd: S, job: &RowsQ8<'_, SparseQ8>, block: &mut [u8], out: &mut OutQ8<'_>) {
    let SparseQ8 { n, k, .. } = *job.weights;
    let step = 2 * S::LANES;
    for i in (0..job.m).step_by(step) {
        let rows = (job.m - i).min(step);
        let is_blocked = !block.is_empty() && rows >= MIN_ROWS;
        if is_blocked {
            transpose(&job.lhs[i * k..][..rows * k], k, block, step);
        }
        for j in (0..n).step_by(step) {
            let count = step.min(n - j);
            let stage = Stage::prepare(simd, out, j);
            let mut tile = [[0_i32; MAX_ROWS]; MAX_ROWS];
            if is_blocked {
                block_q8(simd, job, block, j, count, &mut tile);
            } else {
                for (r, sums) in tile.iter_mut().take(rows).enumerate() {
                    row_q8(job, i + r, j, &mut sums[..count]);
                }
            }
            for (r, sums) in tile.iter().take(rows).enumerate() {
                let block = Block { at: (i + r) * n + j, stride: n, channel: j, count };
                // SAFETY: MAX_ROWS are two vectors at least.
                let sums = [0, S::LANES]
                    .map(|at| unsafe { simd.load_bytes(sums.as_ptr().add(at).cast()) });
                store(simd, stage.as_ref(), out, block, &[sums]);
            }
        }
    }
}

/// A block of rows times `count` channels from `j`.
#[inline(always)]
fn block_q8<S: Simd>(
    simd: S,
    job: &RowsQ8<'_, SparseQ8>,
    block: &[u8],
    j: usize,
    count: usize,
    tile: &mut [[i32; MAX_ROWS]; MAX_ROWS],
) {
    for c in 0..count {
        let (columns, values) = entries_q8(job.weights, j + c);
        let mut sums = [simd.splat_i32(job.weights.bias[j + c]); 2];
        let (column_pairs, column_rest) = columns.as_chunks::<2>();
        let (value_pairs, value_rest) = values.as_chunks::<2>();
        for (columns, values) in column_pairs.iter().zip(value_pairs) {
            let x = columns.map(|column| column_of(simd, block, column));
            add_pair(simd, &mut sums, x, pair(values[0], values[1]));
        }
        if let ([column], [value]) = (column_rest, value_rest) {
            let x = column_of(simd, block, *column);
            add_pair(simd, &mut sums, [x, x], pair(*value, 0));
        }
        let mut lanes = [0_i32; MAX_ROWS];
        for (v, sum) in sums.into_iter().enumerate() {
            // SAFETY: MAX_ROWS are two vectors at least.
            unsafe { simd.store_bytes(lanes.as_mut_ptr().add(v * S::LANES).cast(), sum) };
        }
        for (sums, &lane) in tile.iter_mut().zip(&lanes) {
            sums[c] = lane;
        }
    }
}

/// Adds the products of two columns of activations and two weights.
#[inline(always)]
fn add_pair<S: Simd>(simd: S, sums: &mut [S::I32; 2], x: [&[u8]; 2], w: i32) {
    assert!(x[0].len() == 2 * S::LANES && x[1].len() == 2 * S::LANES);
    // SAFETY: 2 * LANES bytes each.
    let x = unsafe { simd.interleave_u8([x[0].as_ptr(), x[1].as_ptr()]) };
    let w = simd.splat_i32(w);
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum = simd.madd(x, w, *sum);
    }
}

/// Asserts that rows fit in `lhs` and `out`.
pub(super) fn check(m: usize, k: usize, n: usize, lhs: usize, out: usize) {
    assert!(lhs >= m * k, "{lhs} inputs are not {m} rows of {k}");
    assert!(out >= m * n, "{out} results are not {m} rows of {n}");
}

/// Fills `block` with the columns of the rows of `k` in `lhs`, each column with room for `step` rows.
#[inline(always)]
fn transpose<T: Copy>(lhs: &[T], k: usize, block: &mut [T], step: usize) {
    for (r, row) in lhs.chunks_exact(k.max(1)).enumerate() {
        for (slot, &x) in block.chunks_exact_mut(step).zip(row) {
            slot[r] = x;
        }
    }
}

/// Columns and codes of the entries of channel `j`.
fn entries_f32(weights: &SparseF32, j: usize) -> (&[u16], &[u8]) {
    let range = weights.row_starts[j] as usize..weights.row_starts[j + 1] as usize;
    (&weights.columns[range.clone()], &weights.codes[range])
}

/// Columns and values of the entries of channel `j`.
fn entries_q8(weights: &SparseQ8, j: usize) -> (&[u16], &[i8]) {
    let range = weights.row_starts[j] as usize..weights.row_starts[j + 1] as usize;
    (&weights.columns[range.clone()], &weights.values[range])
}

/// The codebook in a table that any code indexes.
fn table(weights: &SparseF32) -> [f32; 256] {
    let mut table = [0.0; 256];
    table[..weights.codebook.len()].copy_from_slice(&weights.codebook);
    table
}

/// One row of activations, float: four chains of additions.
fn row_f32(job: &RowsF32<'_, SparseF32>, table: &[f32; 256], i: usize, out: &mut [f32]) {
    let SparseF32 { n, k, .. } = *job.weights;
    let lhs = &job.lhs[i * k..][..k];
    for (j, slot) in out[i * n..][..n].iter_mut().enumerate() {
        let (columns, codes) = entries_f32(job.weights, j);
        let (column_quads, column_rest) = columns.as_chunks::<4>();
        let (code_quads, code_rest) = codes.as_chunks::<4>();
        let mut sums = [0.0_f32; 4];
        for (columns, codes) in column_quads.iter().zip(code_quads) {
            for ((sum, &column), &code) in sums.iter_mut().zip(columns).zip(codes) {
                *sum += lhs[usize::from(column)] * table[usize::from(code)];
            }
        }
        for ((sum, &column), &code) in sums.iter_mut().zip(column_rest).zip(code_rest) {
            *sum += lhs[usize::from(column)] * table[usize::from(code)];
        }
        let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]) + job.weights.bias[j];
        *slot = embdl_core::kernels::clamp(sum, job.clamp);
    }
}

/// One row of activations, integer: accumulators of the channels from `j`.
fn row_q8(job: &RowsQ8<'_, SparseQ8>, i: usize, j: usize, sums: &mut [i32]) {
    let lhs = &job.lhs[i * job.weights.k..][..job.weights.k];
    for (c, slot) in sums.iter_mut().enumerate() {
        let (columns, values) = entries_q8(job.weights, j + c);
        let (column_quads, column_rest) = columns.as_chunks::<4>();
        let (value_quads, value_rest) = values.as_chunks::<4>();
        let product =
            |column: u16, value: i8| i32::from(lhs[usize::from(column)]) * i32::from(value);
        let mut sum = job.weights.bias[j + c];
        for (&[a, b, c, d], &[e, f, g, h]) in column_quads.iter().zip(value_quads) {
            let quad = product(a, e) + product(b, f) + product(c, g) + product(d, h);
            sum = sum.wrapping_add(quad);
        }
        for (&column, &value) in column_rest.iter().zip(value_rest) {
            sum = sum.wrapping_add(product(column, value));
        }
        *slot = sum;
    }
}

/// Two weights as the i16 pair that `pmaddwd` multiplies.
const fn pair(first: i8, second: i8) -> i32 {
    (first as i16 as u16 as u32 | (second as i16 as u16 as u32) << 16).cast_signed()
}
