//! Dense layers with sparse rows. Few rows of activations are taken one by one; from three on, eight are transposed so
//! that one weight meets all of them in a vector.
//!
//! ```text
//! for each block of 8 rows of activations
//!     block[column] = the 8 activations of that column          (on the stack, up to 64 KiB)
//!     for each channel: for each entry: sums[8] += block[entry's column] * entry's value
//! ```

use embdl_core::kernels::{RowsF32, RowsQ8, SparseF32, SparseQ8};

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Rows of a block.
const ROWS: usize = 8;
/// Fewer rows than this do not repay the transposition.
const MIN_ROWS: usize = 3;
/// Channels whose integer results go through the output stage together.
const CHANNELS: usize = 8;
/// Columns of the small and of the large block, f32: 16 KiB and 64 KiB.
const COLUMNS_F32: [usize; 2] = [512, 2048];
/// Columns of the small and of the large block, u8: 16 KiB and 64 KiB.
const COLUMNS_Q8: [usize; 2] = [2048, 8192];

/// Accumulators of a block: for each row, [`CHANNELS`] channels.
type TileQ8 = [[i32; CHANNELS]; ROWS];

/// Asserts that rows fit in `lhs` and `out`.
fn check(m: usize, k: usize, n: usize, lhs: usize, out: usize) {
    assert!(lhs >= m * k, "{lhs} inputs are not {m} rows of {k}");
    assert!(out >= m * n, "{out} results are not {m} rows of {n}");
}

/// Fills `block` with the columns of up to [`ROWS`] rows of `k`.
fn transpose<T: Copy>(lhs: &[T], k: usize, rows: usize, block: &mut [[T; ROWS]]) {
    for (r, row) in lhs.chunks_exact(k.max(1)).take(rows).enumerate() {
        for (slot, &x) in block.iter_mut().zip(row) {
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

/// One row of activations, integer: accumulators of up to [`CHANNELS`] channels from `j`.
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
