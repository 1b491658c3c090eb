//! Convolutions with sparse weights: im2col, a block of output positions at a time, and rows of weights in slices or blocks.
//!
//! Several positions share what is read of a step's weights, so that a step costs little more than its products. Offered where
//! the file says how sparse the weights are and the level expects to gain by it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{ConvF32, ConvProblem, ConvQ8, ConvWay, ConvWeights, PreparedF32, PreparedQ8};
use crate::kernels::im2col::im2col;
use crate::kernels::parallel::{Parallel, for_each_piece, for_each_piece_q8};
use crate::kernels::{
    BlockBuilder, BlocksF32, BlocksQ8, EllBuilder, EllQ8, KernelKind, Kernels, OutQ8, RowsF32,
    RowsForm, RowsProblem, RowsQ8,
};

/// Bytes of im2col rows that stay in a first-level cache, and rows that there are at least.
const BLOCK: (usize, usize) = (24 * 1024, 8);
/// The weights are taken for ones of 6 bits: for them, products of dense weights are fastest.
const MAX_ABS: u8 = 32;
/// What the forecast has to win by: neither the density nor the rows are known exactly.
const MARGIN: f32 = 1.2;

/// The ways of integer weights through slices and through blocks, where a level expects them to be faster than dense weights.
#[must_use]
pub fn sparse_ways_q8(kernels: &dyn Kernels, problem: &ConvProblem) -> Vec<ConvWay> {
    let ways = [(RowsForm::Ell, KernelKind::EllQ8), (RowsForm::Blocks, KernelKind::BlocksQ8)];
    ways.into_iter().filter_map(|(form, kind)| way(kernels, problem, form, kind)).collect()
}

/// The way of float weights through blocks.
#[must_use]
pub fn sparse_ways_f32(kernels: &dyn Kernels, problem: &ConvProblem) -> Vec<ConvWay> {
    way(kernels, problem, RowsForm::Blocks, KernelKind::BlocksF32).into_iter().collect()
}

fn way(
    kernels: &dyn Kernels,
    problem: &ConvProblem,
    form: RowsForm,
    kind: KernelKind,
) -> Option<ConvWay> {
    let ConvProblem { geometry, groups, n, out_stride, density, blocks, threads, .. } = *problem;
    let (k, quantized) = (problem.k(), kind != KernelKind::BlocksF32);
    // Such rows have their results side by side, and columns that 16 bits count.
    if groups != 1 || out_stride != n || k > 1 << 16 || density >= 1.0 {
        return None;
    }
    if form == RowsForm::Blocks && k < kernels.tile_blocks(quantized).kr {
        return None;
    }
    let [oh, ow] = geometry.output;
    let m = oh * ow;
    let rows = RowsProblem { m, n, k, density, blocks, quantized, max_abs: MAX_ABS };
    let cost = |form| kernels.rows_cost(&rows, form);
    let share = cost(form)? / cost(RowsForm::Panels)?;
    let element = if quantized { 1 } else { 4 };
    let scratch = threads * block_rows(problem, element) * k * element;
    Some(ConvWay {
        name: kernels.kernel_name(kind),
        cost: problem.gemm_cost() + problem.macs() * (MARGIN * share - 1.0),
        weight_bytes: weight_bytes(kernels, problem, kind),
        scratch_bytes: if problem.is_pointwise() { 0 } else { scratch },
    })
}

/// The integer convolution in one of these ways, if its weights fit; `way` is its name.
#[must_use]
pub fn prepare_sparse_q8<K: Kernels + Copy + fmt::Debug + 'static>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, i8, i32>,
    zero_point: u8,
) -> PreparedQ8 {
    let entries = || weights.weights.iter().enumerate().filter(|(_, value)| **value != 0);
    let (n, k, bias) = (problem.n, problem.k(), weights.bias);
    if way == kernels.kernel_name(KernelKind::EllQ8) {
        let limit = weight_bytes(&kernels, problem, KernelKind::EllQ8);
        let tile = kernels.tile_ell(problem.density);
        let mut rows = EllBuilder::new([n, k, entries().count()], bias, zero_point, tile, limit);
        entries().for_each(|(position, &value)| rows.push(position, value));
        let weights = rows.finish()?;
        let multiply = K::ell_q8;
        return Some(Box::new(Sparse {
            kernels,
            problem: *problem,
            weights,
            zero_point,
            multiply,
        }));
    }
    if way == kernels.kernel_name(KernelKind::BlocksQ8) {
        let limit = weight_bytes(&kernels, problem, KernelKind::BlocksQ8);
        let tile = kernels.tile_blocks(true);
        let mut rows = BlockBuilder::new([n, k], problem.blocks, bias, tile, limit);
        entries().for_each(|(position, &value)| rows.push(position, value));
        let weights = rows.finish(zero_point)?;
        let multiply = K::blocks_q8;
        return Some(Box::new(Sparse {
            kernels,
            problem: *problem,
            weights,
            zero_point,
            multiply,
        }));
    }
    None
}

/// As [`prepare_sparse_q8`], for floats; `clamp` bounds the result.
#[must_use]
pub fn prepare_sparse_f32<K: Kernels + Copy + fmt::Debug + 'static>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, f32, f32>,
    clamp: (f32, f32),
) -> PreparedF32 {
    if way != kernels.kernel_name(KernelKind::BlocksF32) {
        return None;
    }
    let limit = weight_bytes(&kernels, problem, KernelKind::BlocksF32);
    let (size, tile) = ([problem.n, problem.k()], kernels.tile_blocks(false));
    let mut rows = BlockBuilder::new(size, problem.blocks, weights.bias, tile, limit);
    let entries = weights.weights.iter().enumerate().filter(|(_, value)| **value != 0.0);
    entries.for_each(|(position, &value)| rows.push(position, value));
    Some(Box::new(SparseFloats { kernels, problem: *problem, weights: rows.finish()?, clamp }))
}

/// Bytes that the weights may take.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn weight_bytes(kernels: &dyn Kernels, problem: &ConvProblem, kind: KernelKind) -> usize {
    let (n, k, blocks) = (problem.n, problem.k(), problem.blocks);
    let expected = match kind {
        KernelKind::BlocksF32 => {
            BlocksF32::expected_bytes(n, k, blocks, kernels.tile_blocks(false))
        }
        KernelKind::BlocksQ8 => BlocksQ8::expected_bytes(n, k, blocks, kernels.tile_blocks(true)),
        _ => {
            let entries = (problem.density * (n * k) as f32) as usize;
            EllQ8::expected_bytes(n, k, entries, kernels.tile_ell(problem.density))
        }
    };
    expected + expected / 2 + (4 << 10)
}

/// Output positions of a block whose elements take `element` bytes.
fn block_rows(problem: &ConvProblem, element: usize) -> usize {
    let (bytes, least) = BLOCK;
    let [oh, ow] = problem.geometry.output;
    (bytes / (element * problem.k()).max(1) / least * least).max(least).min((oh * ow).max(1))
}

/// The activations of a block of `m` positions from `first` on: those of the input where windows are pixels, else what im2col
/// makes of them.
fn windows<'a, T: Copy>(
    problem: &ConvProblem,
    input: &'a [T],
    pad: T,
    [first, m]: [usize; 2],
    scratch: &'a mut [T],
) -> &'a [T] {
    let (geometry, k) = (&problem.geometry, problem.k());
    if problem.is_pointwise() {
        return &input[first * k..][..m * k];
    }
    im2col(geometry, input, pad, 0..geometry.input[2], first..first + m, scratch);
    &scratch[..m * k]
}

/// An integer convolution whose rows are `W`.
struct Sparse<K, W> {
    kernels: K,
    problem: ConvProblem,
    weights: W,
    zero_point: u8,
    /// The kernel of such rows.
    multiply: fn(&K, &RowsQ8<'_, W>, OutQ8<'_>),
}

impl<K: fmt::Debug, W: fmt::Debug> fmt::Debug for Sparse<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernels, problem, weights, .. } = self;
        f.debug_tuple("Sparse").field(kernels).field(problem).field(weights).finish()
    }
}

/// Rows whose bytes are known.
trait Held {
    fn size_bytes(&self) -> usize;
}

impl Held for EllQ8 {
    fn size_bytes(&self) -> usize {
        Self::size_bytes(self)
    }
}

impl Held for BlocksQ8 {
    fn size_bytes(&self) -> usize {
        Self::size_bytes(self)
    }
}

impl<K, W> ConvQ8 for Sparse<K, W>
where
    K: Kernels + fmt::Debug,
    W: Held + fmt::Debug + Send + Sync,
{
    fn weight_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let [oh, ow] = self.problem.geometry.output;
        let (n, rows) = (self.problem.n, block_rows(&self.problem, 1));
        for_each_piece_q8(parallel, out, [oh * ow * n, rows * n], scratch, &|at, out, scratch| {
            self.block(at * rows, input, out, scratch);
        });
    }
}

impl<K: Kernels, W> Sparse<K, W> {
    /// The results of the positions from `first` on, all of `out`.
    fn block(&self, first: usize, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let m = out.len() / self.problem.n;
        let lhs = windows(&self.problem, input, self.zero_point, [first, m], scratch);
        (self.multiply)(&self.kernels, &RowsQ8 { m, lhs, weights: &self.weights }, out);
    }
}

/// A float convolution with block-sparse rows.
#[derive(Debug)]
struct SparseFloats<K> {
    kernels: K,
    problem: ConvProblem,
    weights: BlocksF32,
    clamp: (f32, f32),
}

impl<K: Kernels + fmt::Debug> ConvF32 for SparseFloats<K> {
    fn weight_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        let Self { kernels, problem, weights, clamp } = self;
        let [oh, ow] = problem.geometry.output;
        let (n, rows) = (problem.n, block_rows(problem, 4));
        let out = &mut out[..oh * ow * n];
        for_each_piece(parallel, out, rows * n, scratch, |at, out, scratch| {
            let m = out.len() / n;
            let lhs = windows(problem, input, 0.0, [at * rows, m], scratch);
            kernels.blocks_f32(&RowsF32 { m, lhs, weights, clamp: *clamp }, out);
        });
    }
}
