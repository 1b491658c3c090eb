//! The kernels that a CPU runtime provides, and their contracts. Each method's default is the scalar reference.
//!
//! Everything with weights becomes one of a few jobs: convolutions go through im2col into GEMM, in blocks of rows that
//! stay in cache; dense layers are GEMM, sparse rows, or codebook rows. A runtime overrides what it has vector code for.
//! Integer results must equal the reference's bit for bit; float results may differ by the order of summation.

use alloc::vec::Vec;

use crate::op::Lrn;
use crate::quant::Requant;

pub mod blocks;
pub mod codebook;
pub mod conv;
pub mod depthwise;
pub mod elementwise;
pub mod ell;
pub mod exp;
pub mod gemm;
pub mod im2col;
pub mod lanes;
pub mod layout;
pub mod lrn;
pub mod packed;
pub mod parallel;
pub mod pointwise;
pub mod pool;
pub mod product;
mod reference;
pub mod resize;
pub mod rows;
pub mod softmax;
pub mod sparse;
mod window;

pub use conv::{ConvF32, ConvProblem, ConvQ8, ConvWay, ConvWeights, PreparedF32, PreparedQ8};
pub use packed::{
    BlockBuilder, BlockPanel, BlockRows, BlocksF32, BlocksQ8, CodebookQ8, EllBuilder, EllQ8,
    EllSlice, EllTile, PackedF32, PackedQ8, SparseF32, SparseQ8, SparseRows, Tile,
};
pub use parallel::{OneThread, Parallel};
pub use pointwise::{Pointwise, PointwiseKind};
pub use reference::Reference;
pub use rows::{RowsForm, RowsProblem};
pub use window::WindowGeometry;

/// `out[i, j] = clamp(sum over p of lhs[i, p] * weights[j, p] + bias[j])` in f32.
///
/// Shapes: lhs `m` rows of `weights.k` elements, `lhs_stride` apart; result `m` rows of `weights.n`, `out_stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct GemmF32<'a> {
    /// Rows of the left-hand side and of the result.
    pub m: usize,
    /// Left-hand side; holds at least `(m - 1) * lhs_stride + k` elements, and no more may be read.
    pub lhs: &'a [f32],
    /// Elements from one row to the next.
    pub lhs_stride: usize,
    /// Packed weights and bias.
    pub weights: &'a PackedF32,
    /// Bounds of the result: the epilogue's activation.
    pub clamp: (f32, f32),
    /// Elements from one row of the result to the next.
    pub out_stride: usize,
}

/// `accumulator[i, j] = sum over p of (lhs[i, p] - zero_point) * weights[j, p] + bias[j]` in i32, then the output stage.
///
/// The zero point is folded into the packed bias, so kernels multiply `lhs` as it is.
#[derive(Clone, Copy, Debug)]
pub struct GemmQ8<'a> {
    /// Rows of the left-hand side and of the result.
    pub m: usize,
    /// Left-hand side; holds at least `(m - 1) * lhs_stride + k` elements, and no more may be read.
    pub lhs: &'a [u8],
    /// Elements from one row to the next.
    pub lhs_stride: usize,
    /// Packed weights and bias.
    pub weights: &'a PackedQ8,
    /// Elements from one row of the result to the next.
    pub out_stride: usize,
}

/// Where integer accumulators go.
#[derive(Debug)]
pub enum OutQ8<'a> {
    /// Requantized to u8.
    U8(&'a Requant, &'a mut [u8]),
    /// As they are.
    I32(&'a mut [i32]),
}

impl OutQ8<'_> {
    /// Number of results that fit.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(_, out) => out.len(),
            Self::I32(out) => out.len(),
        }
    }

    /// Whether no result fits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the accumulators of channels `channel ..` to results `at ..`.
    ///
    /// # Panics
    /// If they do not fit.
    #[inline]
    pub fn store(&mut self, at: usize, channel: usize, sums: &[i32]) {
        match self {
            Self::U8(requant, out) => {
                for (c, (slot, &sum)) in out[at..][..sums.len()].iter_mut().zip(sums).enumerate() {
                    *slot = requant.apply(sum, channel + c);
                }
            }
            Self::I32(out) => out[at..][..sums.len()].copy_from_slice(sums),
        }
    }
}

/// A batch of rows times compressed dense weights (sparse or codebook), float.
#[derive(Clone, Copy, Debug)]
pub struct RowsF32<'a, W> {
    /// Rows.
    pub m: usize,
    /// Left-hand side, `m * k`, contiguous.
    pub lhs: &'a [f32],
    /// The weights.
    pub weights: &'a W,
    /// Bounds of the result.
    pub clamp: (f32, f32),
}

/// A batch of rows times compressed dense weights (sparse or codebook), integer.
#[derive(Clone, Copy, Debug)]
pub struct RowsQ8<'a, W> {
    /// Rows.
    pub m: usize,
    /// Left-hand side, `m * k`, contiguous.
    pub lhs: &'a [u8],
    /// The weights.
    pub weights: &'a W,
}

/// Depthwise convolution of one sample: weights `[kh, kw, c]`, channel multiplier 1.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseF32<'a> {
    /// Where the window goes.
    pub geometry: WindowGeometry,
    /// Input, `h * w * c`.
    pub input: &'a [f32],
    /// Weights, `kh * kw * c`, channels innermost.
    pub weights: &'a [f32],
    /// Bias, `c`.
    pub bias: &'a [f32],
    /// Bounds of the result.
    pub clamp: (f32, f32),
}

/// Depthwise convolution of one sample in integers: weights `[kh, kw, c]`, channel multiplier 1.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseQ8<'a> {
    /// Where the window goes.
    pub geometry: WindowGeometry,
    /// Input, `h * w * c`.
    pub input: &'a [u8],
    /// Level that stands for zero, which pads have.
    pub zero_point: u8,
    /// Weights, `kh * kw * c`, channels innermost.
    pub weights: &'a [i8],
    /// Bias, `c`; the zero point is *not* folded in.
    pub bias: &'a [i32],
}

/// Vector code of a CPU. Each default is the scalar reference in this module's files.
pub trait Kernels: Pointwise + Send + Sync {
    /// Instruction set level, such as "avx2"; shown in profiles and reports.
    fn isa(&self) -> &'static str;

    /// How [`PackedF32`] is laid out for `gemm_f32`.
    fn tile_f32(&self) -> Tile {
        gemm::TILE_F32
    }

    /// Makes of packed weights what `gemm_f32` wants, once after all were put: nothing, or halves.
    fn finish_f32(&self, _packed: &mut PackedF32) {}

    /// How [`PackedQ8`] is laid out for `gemm_q8`.
    fn tile_q8(&self) -> Tile {
        gemm::TILE_Q8
    }

    /// Name of the kernel that a job runs on, for profiles, by the grammar in docs: `gemm_f32_f32_4x8__neon`.
    fn kernel_name(&self, kind: KernelKind) -> &'static str {
        kind.scalar_name()
    }

    /// Tells the system about a large piece of memory that was allocated and not yet touched, such as that large pages
    /// would suit it.
    fn advise(&self, memory: &mut [u8]) {
        let _ = memory;
    }

    /// Whether a dense layer of `density` (share of non-zero weights) is expected to run faster as sparse rows.
    fn prefers_sparse(&self, density: f32, quantized: bool) -> bool {
        density < if quantized { 0.25 } else { 0.1 }
    }

    /// Time that a dense layer is expected to take with its weights in `form`, in a unit that only comparisons between forms
    /// of one problem need; `None` where this level has no kernel for it.
    fn rows_cost(&self, problem: &RowsProblem, form: RowsForm) -> Option<f32> {
        match form {
            RowsForm::Panels => Some(1.0),
            RowsForm::Sparse => {
                let is_faster = self.prefers_sparse(problem.density, problem.quantized);
                Some(if is_faster { 0.5 } else { 2.0 })
            }
            RowsForm::Codebook if problem.quantized => Some(4.0),
            RowsForm::Ell | RowsForm::Blocks | RowsForm::Codebook => None,
        }
    }

    /// How [`EllQ8`] is laid out for `ell_q8`, where a share of `density` of the weights is not zero.
    fn tile_ell(&self, density: f32) -> EllTile {
        let _ = density;
        ell::TILE
    }

    /// Rows and columns of a block of [`BlocksF32`] for `blocks_f32`, or of [`BlocksQ8`] for `blocks_q8`.
    fn tile_blocks(&self, quantized: bool) -> Tile {
        let _ = quantized;
        blocks::TILE
    }

    /// Ways beside im2col and GEMM in which this level computes a float convolution.
    fn conv_f32_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
        let _ = problem;
        Vec::new()
    }

    /// Packs a float convolution for one of the ways that were offered for `problem`, by its name; `None` where the
    /// weights do not suit it, and the convolution runs as GEMM. `clamp` bounds the result.
    fn conv_f32(
        &self,
        way: &str,
        problem: &ConvProblem,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> PreparedF32 {
        let _ = (way, problem, weights, clamp);
        None
    }

    /// Ways beside im2col and GEMM in which this level computes an integer convolution.
    fn conv_q8_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
        let _ = problem;
        Vec::new()
    }

    /// As [`Self::conv_f32`], for levels with `zero_point`, which is not folded into the bias.
    fn conv_q8(
        &self,
        way: &str,
        problem: &ConvProblem,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> PreparedQ8 {
        let _ = (way, problem, weights, zero_point);
        None
    }

    /// f32 GEMM. Weights are packed by `tile_f32`.
    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::gemm_f32(job, out);
    }

    /// Integer GEMM. Weights are packed by `tile_q8`.
    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::gemm_q8(job, out);
    }

    /// Dense layer with sparse float weights.
    fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
        sparse::sparse_f32(job, out);
    }

    /// Dense layer with sparse integer weights.
    fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
        sparse::sparse_q8(job, out);
    }

    /// Dense layer with sparse integer weights in slices.
    fn ell_q8(&self, job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
        ell::ell_q8(job, out);
    }

    /// Block-sparse float weights.
    fn blocks_f32(&self, job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
        blocks::blocks_f32(job, out);
    }

    /// Block-sparse integer weights.
    fn blocks_q8(&self, job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
        blocks::blocks_q8(job, out);
    }

    /// Dense layer with 4-bit codebook indices.
    fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
        codebook::codebook_q8(job, out);
    }

    /// Depthwise convolution, float. Result `oh * ow * c`.
    fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
        depthwise::depthwise_f32(job, out);
    }

    /// Depthwise convolution, integer. Result `oh * ow * c`.
    fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
        depthwise::depthwise_q8(job, out);
    }

    /// Max pooling of one sample, float. Result `oh * ow * c`. NaN never wins over a number.
    fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
        pool::max_pool_f32(geometry, input, out);
    }

    /// Local response normalization of rows of `channels` elements.
    fn lrn_f32(&self, lrn: &Lrn, channels: usize, input: &[f32], out: &mut [f32]) {
        lrn::lrn_f32(lrn, channels, input, out);
    }

    /// Max pooling of one sample, u8.
    fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
        pool::max_pool_u8(geometry, input, out);
    }
}

/// `x` within `bounds`; NaN stays NaN. The epilogue of all float kernels.
#[must_use]
#[inline]
pub fn clamp(x: f32, bounds: (f32, f32)) -> f32 {
    // One after the other: each is one instruction of vectors that keeps NaN.
    let x = if x < bounds.0 { bounds.0 } else { x };
    if x > bounds.1 { bounds.1 } else { x }
}

/// The families of kernels that differ between runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelKind {
    /// `gemm_f32`.
    GemmF32,
    /// `gemm_q8`.
    GemmQ8,
    /// `sparse_f32`.
    SparseF32,
    /// `sparse_q8`.
    SparseQ8,
    /// `ell_q8`.
    EllQ8,
    /// `blocks_f32`.
    BlocksF32,
    /// `blocks_q8`.
    BlocksQ8,
    /// `codebook_q8`.
    CodebookQ8,
    /// `depthwise_f32`.
    DepthwiseF32,
    /// `depthwise_q8`.
    DepthwiseQ8,
    /// `max_pool_f32`.
    MaxPoolF32,
    /// `max_pool_u8`.
    MaxPoolU8,
    /// `lrn_f32`.
    LrnF32,
}

impl KernelKind {
    /// Name of the reference's kernel.
    #[must_use]
    pub const fn scalar_name(self) -> &'static str {
        match self {
            Self::GemmF32 => "gemm_f32_f32_1x8__scalar",
            Self::GemmQ8 => "gemm_qu8_qc8w_1x8__scalar",
            Self::SparseF32 => "gemm_f32_bsrw_1x1__scalar",
            Self::SparseQ8 => "gemm_qu8_bsrw_1x1__scalar",
            Self::EllQ8 => "gemm_qu8_ellw_1x4c16__scalar",
            Self::BlocksF32 => "gemm_f32_blkw_1x4c4__scalar",
            Self::BlocksQ8 => "gemm_qu8_blkw_1x4c4__scalar",
            Self::CodebookQ8 => "gemm_qu8_cb4w_1x1__scalar",
            Self::DepthwiseF32 => "depthwise_f32_f32_1x16__scalar",
            Self::DepthwiseQ8 => "depthwise_qu8_qc8w_1x16__scalar",
            Self::LrnF32 => "lrn_f32_f32_1x1__scalar",
            Self::MaxPoolF32 => "maxpool_f32_f32_1x1__scalar",
            Self::MaxPoolU8 => "maxpool_qu8_qu8_1x1__scalar",
        }
    }
}
