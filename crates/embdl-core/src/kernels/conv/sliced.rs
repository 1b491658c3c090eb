//! Convolutions with sparse integer weights: im2col, a block of output positions at a time, and rows of weights in slices.
//!
//! Four positions share the columns and values of a step, so that a step costs little more than a shuffle and a product for
//! each of them. Offered where the file says how sparse the weights are and the level expects to gain by it.

use alloc::boxed::Box;
use core::fmt;

use super::{ConvProblem, ConvQ8, ConvWay, ConvWeights, PreparedQ8};
use crate::kernels::im2col::im2col;
use crate::kernels::parallel::{Parallel, for_each_piece};
use crate::kernels::{
    EllBuilder, EllQ8, KernelKind, Kernels, OutQ8, RowsForm, RowsProblem, RowsQ8,
};

/// Bytes of im2col rows that stay in a first-level cache, and rows that there are at least.
const BLOCK: (usize, usize) = (24 * 1024, 8);
/// The weights are taken for ones of 6 bits: for them, products of dense weights are fastest.
const MAX_ABS: u8 = 32;
/// What the forecast has to win by: neither the density nor the rows are known exactly.
const MARGIN: f32 = 1.2;

/// The way through slices, where a level expects it to be faster than dense weights.
#[must_use]
pub fn way_sliced_q8(kernels: &dyn Kernels, problem: &ConvProblem) -> Option<ConvWay> {
    let ConvProblem { geometry, groups, n, out_stride, density, threads, .. } = *problem;
    let k = problem.k();
    // Slices have rows of results side by side, and columns that 16 bits count.
    if groups != 1 || out_stride != n || k > 1 << 16 || density >= 1.0 {
        return None;
    }
    let [oh, ow] = geometry.output;
    let rows = RowsProblem { m: oh * ow, n, k, density, quantized: true, max_abs: MAX_ABS };
    let cost = |form| kernels.rows_cost(&rows, form);
    let share = cost(RowsForm::Ell)? / cost(RowsForm::Panels)?;
    Some(ConvWay {
        name: kernels.kernel_name(KernelKind::EllQ8),
        cost: problem.gemm_cost() + problem.macs() * (MARGIN * share - 1.0),
        weight_bytes: weight_bytes(kernels, problem),
        scratch_bytes: if problem.is_pointwise() { 0 } else { threads * block_rows(problem) * k },
    })
}

/// The convolution in that way, if its weights fit the slices; `way` is its name.
#[must_use]
pub fn prepare_sliced_q8<K: Kernels + Copy + fmt::Debug + 'static>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, i8, i32>,
    zero_point: u8,
) -> PreparedQ8 {
    if way != kernels.kernel_name(KernelKind::EllQ8) {
        return None;
    }
    let entries = || weights.weights.iter().enumerate().filter(|(_, value)| **value != 0);
    let tile = kernels.tile_ell(problem.density);
    let size = [problem.n, problem.k(), entries().count()];
    let limit = weight_bytes(&kernels, problem);
    let mut rows = EllBuilder::new(size, weights.bias, zero_point, tile, limit);
    entries().for_each(|(position, &value)| rows.push(position, value));
    let weights = rows.finish()?;
    Some(Box::new(Sliced { kernels, problem: *problem, weights, zero_point }))
}

/// Bytes that the slices may take.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn weight_bytes(kernels: &dyn Kernels, problem: &ConvProblem) -> usize {
    let (n, k) = (problem.n, problem.k());
    let entries = (problem.density * (n * k) as f32) as usize;
    let expected = EllQ8::expected_bytes(n, k, entries, kernels.tile_ell(problem.density));
    expected + expected / 2 + (4 << 10)
}

/// Output positions of a block.
fn block_rows(problem: &ConvProblem) -> usize {
    let (bytes, least) = BLOCK;
    let [oh, ow] = problem.geometry.output;
    (bytes / problem.k().max(1) / least * least).max(least).min((oh * ow).max(1))
}

#[derive(Debug)]
struct Sliced<K> {
    kernels: K,
    problem: ConvProblem,
    weights: EllQ8,
    zero_point: u8,
}

impl<K: Kernels + fmt::Debug> ConvQ8 for Sliced<K> {
    fn weight_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let [oh, ow] = self.problem.geometry.output;
        let (results, piece) =
            (oh * ow * self.problem.n, block_rows(&self.problem) * self.problem.n);
        match out {
            OutQ8::U8(requant, out) => {
                for_each_piece(
                    parallel,
                    &mut out[..results],
                    piece,
                    scratch,
                    |at, out, scratch| {
                        self.block(at, input, OutQ8::U8(requant, out), scratch);
                    },
                );
            }
            OutQ8::I32(out) => {
                for_each_piece(
                    parallel,
                    &mut out[..results],
                    piece,
                    scratch,
                    |at, out, scratch| {
                        self.block(at, input, OutQ8::I32(out), scratch);
                    },
                );
            }
        }
    }
}

impl<K: Kernels> Sliced<K> {
    /// The results of a block of positions, all of `out`.
    fn block(&self, index: usize, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let (geometry, k) = (&self.problem.geometry, self.problem.k());
        let first = index * block_rows(&self.problem);
        let m = out.len() / self.problem.n;
        let lhs = if self.problem.is_pointwise() {
            &input[first * k..][..m * k]
        } else {
            let channels = 0..geometry.input[2];
            im2col(geometry, input, self.zero_point, channels, first..first + m, scratch);
            &scratch[..m * k]
        };
        self.kernels.ell_q8(&RowsQ8 { m, lhs, weights: &self.weights }, out);
    }
}
