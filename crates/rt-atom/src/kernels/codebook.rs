//! Dense layers whose weights are 4-bit indices: `pshufb` looks 16 of them up in the codebook, which is one register, so
//! half the bytes of int8 weights are read and none are unpacked to memory.
//!
//! ```text
//! for each row of activations, for each four channels
//!     for each STEP columns: sums[4] += x[columns] * codebook[indices]
//!     out[four channels] = output stage(horizontal sums + bias)
//! ```

use embdl_core::kernels::{CodebookQ8, RowsQ8};

use super::gemm::Products;

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Channels that share the loads of activations.
const CHANNELS: usize = 4;

/// Asserts that rows fit in the left-hand side and in `out`, and that the weights are whole.
fn check(job: &RowsQ8<'_, CodebookQ8>, out: usize) {
    let CodebookQ8 { n, k, row_bytes, ref indices, ref bias, .. } = *job.weights;
    let (m, lhs) = (job.m, job.lhs.len());
    assert!(lhs >= m * k, "{lhs} inputs are not {m} rows of {k}");
    assert!(out >= m * n, "{out} results are not {m} rows of {n}");
    assert!(row_bytes >= k.div_ceil(2) && indices.len() >= n * row_bytes && bias.len() >= n);
}

/// How products with the codebook's values are summed.
fn products(weights: &CodebookQ8) -> Products {
    Products::for_weights(weights.codebook.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0))
}

/// Biases of [`CHANNELS`] channels from `j`, zeros beyond the last.
fn biases(weights: &CodebookQ8, j: usize) -> [i32; CHANNELS] {
    let rest = &weights.bias[j..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut biases = [0; CHANNELS];
        for (slot, &bias) in biases.iter_mut().zip(rest) {
            *slot = bias;
        }
        biases
    })
}

/// The columns of the last, incomplete step, zeros behind them: what indices beyond `k` stand for then counts nothing.
fn last_step<const STEP: usize>(lhs: &[u8]) -> [u8; STEP] {
    let mut last = [0; STEP];
    let rest = lhs.len() % STEP;
    last[..rest].copy_from_slice(&lhs[lhs.len() - rest..]);
    last
}

/// The indices of the first `steps` steps of a row.
#[inline]
fn whole_steps<const BYTES: usize>(row: &[u8], steps: usize) -> &[[u8; BYTES]] {
    &row.as_chunks::<BYTES>().0[..steps]
}

/// `BYTES` bytes of indices from `at`; zeros beyond the end of the weights.
#[inline]
fn index_bytes<const BYTES: usize>(indices: &[u8], at: usize) -> [u8; BYTES] {
    let rest = &indices[at..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut bytes = [0; BYTES];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes
    })
}
