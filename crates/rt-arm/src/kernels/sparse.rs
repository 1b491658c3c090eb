//! Dense layers with sparse rows. Contract and reference: `embdl_core::kernels::sparse`.
//!
//! Armv8 has no gather, and building vectors lane by lane costs more than scalar code: an entry is a column, a value, an
//! element of the input and a multiply-add, 4 instructions in integers and 5 in floats (the codebook). With a batch,
//! four rows of the input share column and value. Columns and codes are checked by vector code once a call, so that
//! the loops need no check.

use core::arch::aarch64::*;
use core::ops::Range;

use embdl_core::kernels::{OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8};

use super::output::Sink;

/// Dense layer with sparse float weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights refer to what is not there.
#[target_feature(enable = "neon")]
pub(super) fn sparse_f32(job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    let weights = job.weights;
    let (n, k) = (weights.n, weights.k);
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(out.len() >= job.m * n, "{} results are not {} rows of {n}", out.len(), job.m);
    check_columns(&weights.columns, k);
    let codes = weights.codebook.len();
    let largest = max_u8(&weights.codes).map_or(0, |code| usize::from(code) + 1);
    assert!(largest <= codes, "code {} of {codes}", largest.wrapping_sub(1));
    let (low, high) = job.clamp;
    blocks(job.m, |row, rows| {
        let lhs = &job.lhs[row * k..][..rows * k];
        for j in 0..n {
            let entries = entries(&weights.row_starts, j);
            let (columns, codes) = (&weights.columns[entries.clone()], &weights.codes[entries]);
            let value = |code: u8| {
                // SAFETY: all codes were checked against the codebook above.
                unsafe { *weights.codebook.get_unchecked(usize::from(code)) }
            };
            let sums = if rows == 4 {
                dot_f32::<4>(lhs, k, columns, codes, value)
            } else {
                let [sum] = dot_f32::<1>(lhs, k, columns, codes, value);
                [sum, 0.0, 0.0, 0.0]
            };
            for (i, sum) in sums[..rows].iter().enumerate() {
                out[(row + i) * n + j] = (sum + weights.bias[j]).clamp(low, high);
            }
        }
    });
}

/// Dense layer with sparse integer weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights refer to what is not there.
#[target_feature(enable = "neon")]
pub(super) fn sparse_q8(job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
    let weights = job.weights;
    let (n, k) = (weights.n, weights.k);
    let mut sink = Sink::new(out);
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(sink.len() >= job.m * n, "{} results are not {} rows of {n}", sink.len(), job.m);
    check_columns(&weights.columns, k);
    let mut channel = 0;
    while channel < n {
        let lanes = (n - channel).min(4);
        let multipliers = sink.multipliers::<1>(channel);
        let mut row = 0;
        while row < job.m {
            let rows = if job.m - row >= 4 { 4 } else { 1 };
            let lhs = &job.lhs[row * k..][..rows * k];
            let mut sums = [[0_i32; 4]; 4];
            for lane in 0..lanes {
                let j = channel + lane;
                let entries = entries(&weights.row_starts, j);
                let (columns, values) =
                    (&weights.columns[entries.clone()], &weights.values[entries]);
                let dots = if rows == 4 {
                    dot_q8::<4>(lhs, k, columns, values)
                } else {
                    let [sum] = dot_q8::<1>(lhs, k, columns, values);
                    [sum, 0, 0, 0]
                };
                for (sums, dot) in sums.iter_mut().zip(dots) {
                    sums[lane] = dot.wrapping_add(weights.bias[j]);
                }
            }
            for (i, sums) in sums[..rows].iter().enumerate() {
                let sums = super::output::load_i32(sums);
                sink.store((row + i) * n + channel, lanes, &[sums], &multipliers);
            }
            row += rows;
        }
        channel += lanes;
    }
}

/// Calls `visit(first row, rows)` for blocks of four rows, then for the rest one by one.
fn blocks(m: usize, mut visit: impl FnMut(usize, usize)) {
    let mut row = 0;
    while row < m {
        let rows = if m - row >= 4 { 4 } else { 1 };
        visit(row, rows);
        row += rows;
    }
}

fn entries(row_starts: &[u32], j: usize) -> Range<usize> {
    row_starts[j] as usize..row_starts[j + 1] as usize
}

/// One weight row times `ROWS` rows of `lhs`, `k` apart. `columns` are below `k`: [`check_columns`].
#[inline]
fn dot_f32<const ROWS: usize>(
    lhs: &[f32],
    k: usize,
    columns: &[u16],
    codes: &[u8],
    value: impl Fn(u8) -> f32,
) -> [f32; ROWS] {
    assert!(lhs.len() == ROWS * k, "{} inputs are not {ROWS} rows of {k}", lhs.len());
    // Two sums a row, because one chain of multiply-adds would wait for itself.
    let mut sums = [[0.0_f32; ROWS]; 2];
    let add = |sums: &mut [f32; ROWS], column: u16, code: u8| {
        let w = value(code);
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: columns were checked to be below k, and `lhs` has ROWS * k elements.
            let x = unsafe { *lhs.get_unchecked(i * k + usize::from(column)) };
            *sum = x.mul_add(w, *sum);
        }
    };
    let (columns, last_columns) = columns.as_chunks::<4>();
    let (codes, last_codes) = codes.as_chunks::<4>();
    for (columns, codes) in columns.iter().zip(codes) {
        for u in 0..4 {
            add(&mut sums[u % 2], columns[u], codes[u]);
        }
    }
    for (&column, &code) in last_columns.iter().zip(last_codes) {
        add(&mut sums[0], column, code);
    }
    core::array::from_fn(|i| sums[0][i] + sums[1][i])
}

/// One weight row times `ROWS` rows of `lhs`, `k` apart. `columns` are below `k`: [`check_columns`].
#[inline]
fn dot_q8<const ROWS: usize>(lhs: &[u8], k: usize, columns: &[u16], values: &[i8]) -> [i32; ROWS] {
    assert!(lhs.len() == ROWS * k, "{} inputs are not {ROWS} rows of {k}", lhs.len());
    let mut sums = [[0_i32; ROWS]; 2];
    let add = |sums: &mut [i32; ROWS], column: u16, value: i8| {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: columns were checked to be below k, and `lhs` has ROWS * k elements.
            let x = unsafe { *lhs.get_unchecked(i * k + usize::from(column)) };
            *sum = sum.wrapping_add(i32::from(x) * i32::from(value));
        }
    };
    let (columns, last_columns) = columns.as_chunks::<4>();
    let (values, last_values) = values.as_chunks::<4>();
    for (columns, values) in columns.iter().zip(values) {
        for u in 0..4 {
            add(&mut sums[u % 2], columns[u], values[u]);
        }
    }
    for (&column, &value) in last_columns.iter().zip(last_values) {
        add(&mut sums[0], column, value);
    }
    core::array::from_fn(|i| sums[0][i].wrapping_add(sums[1][i]))
}

/// Asserts that every column is below `k`.
#[target_feature(enable = "neon")]
fn check_columns(columns: &[u16], k: usize) {
    let (chunks, rest) = columns.as_chunks::<8>();
    let mut largest = vdupq_n_u16(0);
    for chunk in chunks {
        // SAFETY: a chunk has eight elements.
        largest = vmaxq_u16(largest, unsafe { vld1q_u16(chunk.as_ptr()) });
    }
    let largest = rest.iter().copied().fold(vmaxvq_u16(largest), u16::max);
    assert!(columns.is_empty() || usize::from(largest) < k, "column {largest} of {k}");
}

/// The largest byte.
#[target_feature(enable = "neon")]
fn max_u8(bytes: &[u8]) -> Option<u8> {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let mut largest = vdupq_n_u8(0);
    for chunk in chunks {
        // SAFETY: a chunk has sixteen bytes.
        largest = vmaxq_u8(largest, unsafe { vld1q_u8(chunk.as_ptr()) });
    }
    let largest = rest.iter().copied().fold(vmaxvq_u8(largest), u8::max);
    (!bytes.is_empty()).then_some(largest)
}
