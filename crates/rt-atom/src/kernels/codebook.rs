//! Dense layers whose weights are 4-bit indices: `pshufb` looks 16 of them up in the codebook, which is one register, so
//! half the bytes of int8 weights are read and none are unpacked to memory. Contract and reference:
//! `embdl_core::kernels::codebook`.
//!
//! ```text
//! for each row of activations, for each four channels
//!     for each STEP columns: sums[4] += x[columns] * codebook[indices]          STEP = two vectors of bytes
//!     out[four channels] = output stage(horizontal sums + bias)
//! ```
//!
//! Looking up and interleaving work in each 128 bits, so the weights come in another order than the columns have; the
//! activations are permuted to that order, once for the four channels.

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::gemm::{PAIRS, Products, QUADS, WIDENED};
use super::output::{Block, Stage, store};
use crate::detect::Sse41;
use crate::simd::Simd;

/// Channels that share the loads of activations.
const CHANNELS: usize = 4;
/// Bytes of two vectors of any level.
const MAX_STEP: usize = 128;

/// Dense layer with 4-bit codebook indices.
///
/// # Panics
/// If a slice is shorter than the job says.
#[inline(always)]
pub(crate) fn gemm<S: Simd + Into<Sse41>>(
    simd: S,
    job: &RowsQ8<'_, CodebookQ8>,
    mut out: OutQ8<'_>,
) {
    check(job, out.len());
    let largest = job.weights.codebook.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
    if S::HAS_DOT {
        return rows::<S, PAIRS>(simd, job, &mut out);
    }
    match Products::for_weights(largest) {
        Products::Widened => rows::<S, WIDENED>(simd, job, &mut out),
        Products::Pairs => rows::<S, PAIRS>(simd, job, &mut out),
        Products::Quads | Products::Octs => rows::<S, QUADS>(simd, job, &mut out),
    }
}

#[inline(always)]
fn rows<S: Simd + Into<Sse41>, const PRODUCTS: u8>(
    simd: S,
    job: &RowsQ8<'_, CodebookQ8>,
    out: &mut OutQ8<'_>,
) {
    let CodebookQ8 { n, k, row_bytes, ref indices, ref codebook, .. } = *job.weights;
    let step = 8 * S::LANES;
    let (steps, rest) = (k / step, k % step);
    let table = simd.table(codebook);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        // Zeros behind the last columns: what indices beyond `k` stand for then counts nothing.
        let mut last = [0; MAX_STEP];
        last[..rest].copy_from_slice(&lhs[k - rest..]);
        for j in (0..n).step_by(CHANNELS) {
            let mut sums = [simd.splat_i32(0); CHANNELS];
            // Beyond the last channel, the last one is computed again and not stored.
            let rows = [0, 1, 2, 3].map(|c| &indices[(j + c).min(n - 1) * row_bytes..]);
            assert!(rows.iter().all(|row| row.len() >= steps * step / 2));
            for at in (0..steps * step).step_by(step) {
                // SAFETY: at + step <= k.
                let x = unsafe { simd.load_for_table(lhs.as_ptr().add(at)) };
                for (sum, row) in sums.iter_mut().zip(rows) {
                    // SAFETY: the row has the indices of all whole steps.
                    let indices = unsafe { simd.load_bytes(row.as_ptr().add(at / 2)) };
                    *sum = simd.dot_both::<PRODUCTS>(*sum, x, simd.look_up(table, indices));
                }
            }
            if rest > 0 {
                // SAFETY: MAX_STEP is a step at least.
                let x = unsafe { simd.load_for_table(last.as_ptr()) };
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let mut bytes = [0; MAX_STEP / 2];
                    let row = &row[steps * step / 2..];
                    let len = row.len().min(step / 2);
                    bytes[..len].copy_from_slice(&row[..len]);
                    // SAFETY: half of MAX_STEP is half a step at least.
                    let indices = unsafe { simd.load_bytes(bytes.as_ptr()) };
                    *sum = simd.dot_both::<PRODUCTS>(*sum, x, simd.look_up(table, indices));
                }
            }
            let mut sums = simd.sums(sums);
            for (sum, &bias) in sums.iter_mut().zip(&job.weights.bias[j..]) {
                *sum = sum.wrapping_add(bias);
            }
            let block = Block { at: i * n + j, stride: n, channel: j, count: CHANNELS.min(n - j) };
            let narrow: Sse41 = simd.into();
            let stage = Stage::prepare(narrow, out, j);
            // SAFETY: four i32.
            let sums = unsafe { narrow.load_bytes(sums.as_ptr().cast()) };
            store(narrow, stage.as_ref(), out, block, &[[sums]]);
        }
    }
}

/// Asserts that rows fit in the left-hand side and in `out`, and that the weights are whole.
fn check(job: &RowsQ8<'_, CodebookQ8>, out: usize) {
    let CodebookQ8 { n, k, row_bytes, ref indices, ref bias, .. } = *job.weights;
    let (m, lhs) = (job.m, job.lhs.len());
    assert!(lhs >= m * k, "{lhs} inputs are not {m} rows of {k}");
    assert!(out >= m * n, "{out} results are not {m} rows of {n}");
    assert!(row_bytes >= k.div_ceil(2) && indices.len() >= n * row_bytes && bias.len() >= n);
}
