//! What a node does when it runs: everything that could be computed beforehand is in here.

mod band;
mod conv;
mod dense;
mod pointwise;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytemuck::cast_slice_mut;

use super::memory::Readable;
use super::session::Step;
use crate::kernels::parallel::for_each_piece;
use crate::kernels::pool::AverageRequant;
use crate::kernels::product::Rows;
use crate::kernels::resize::ResizePlan;
use crate::kernels::{
    CodebookQ8, ConvF32, ConvQ8, DepthwiseF32, DepthwiseQ8, EllQ8, KernelKind, Kernels, PackedF32,
    PackedQ8, Parallel, PointwiseKind, SparseF32, SparseQ8, WindowGeometry,
};
use crate::op::{Lrn, ResizeMode, Unary};
use crate::quant::{AddRequant, MulRequant, PReluRequant, Quant};
use crate::tensor::DType;
use band::for_each_band;
use conv::rows_of_a_task;
pub(super) use conv::{Conv, OwnConv, Stage};
pub(super) use dense::Dense;
pub(super) use pointwise::{ConcatPart, Padding};

/// A node's computation.
#[derive(Debug)]
pub(super) enum Work {
    /// The result is the input.
    Alias,
    /// Convolution by im2col and GEMM.
    ConvF32(Conv<PackedF32>, (f32, f32)),
    /// The same in integers.
    ConvQ8 {
        /// Geometry and weights.
        conv: Conv<(PackedQ8, Stage)>,
        /// What pads hold.
        zero_point: u8,
    },
    /// Convolution in a way of the runtime.
    OwnConvF32(OwnConv<Box<dyn ConvF32>>),
    /// The same in integers.
    OwnConvQ8(OwnConv<Box<dyn ConvQ8>>, Stage),
    /// Depthwise convolution.
    DepthwiseF32 {
        /// Where the window goes.
        geometry: WindowGeometry,
        /// `[kh, kw, c]`.
        weights: Vec<f32>,
        /// `[c]`.
        bias: Vec<f32>,
        /// Bounds of the result.
        clamp: (f32, f32),
    },
    /// The same in integers.
    DepthwiseQ8 {
        /// Where the window goes.
        geometry: WindowGeometry,
        /// `[kh, kw, c]`.
        weights: Vec<i8>,
        /// `[c]`.
        bias: Vec<i32>,
        /// Level that stands for zero.
        zero_point: u8,
        /// Where accumulators go.
        stage: Stage,
    },
    /// Dense layer by GEMM.
    DenseF32(Dense<PackedF32>, (f32, f32)),
    /// Dense layer with sparse rows.
    SparseF32(Dense<SparseF32>, (f32, f32)),
    /// Dense layer by integer GEMM.
    DenseQ8(Dense<(PackedQ8, Stage)>),
    /// Dense layer with sparse integer rows.
    SparseQ8(Dense<(SparseQ8, Stage)>),
    /// Dense layer with sparse integer rows in slices.
    EllQ8(Dense<(EllQ8, Stage)>),
    /// Dense layer with 4-bit indices.
    CodebookQ8(Dense<(CodebookQ8, Stage)>),
    /// Max pooling.
    MaxPoolF32(WindowGeometry),
    /// Max pooling of levels, then a table where the result has another scale.
    MaxPoolU8(WindowGeometry, Option<Box<[u8; 256]>>),
    /// Average pooling, with whether pads count.
    AveragePoolF32(WindowGeometry, bool),
    /// Average pooling of levels.
    AveragePoolU8(WindowGeometry, AverageRequant),
    /// Clamp of floats.
    ClampF32((f32, f32)),
    /// Clamp of levels.
    ClampU8((u8, u8)),
    /// Maximum of accumulators and zero.
    ReluI32,
    /// Other levels for levels.
    MapU8(Box<[u8; 256]>),
    /// Sum of floats.
    AddF32((f32, f32)),
    /// Sum of levels; multipliers belong to the first and the second input.
    AddU8(AddRequant),
    /// A function of floats.
    UnaryF32(Unary),
    /// Product of floats.
    MulF32(Rows),
    /// Product of levels.
    MulU8(Rows, MulRequant),
    /// Slopes below zero, one a channel.
    PReluF32(Vec<f32>),
    /// The same for levels.
    PReluU8(PReluRequant),
    /// Another height and width.
    Resize(ResizePlan, DType),
    /// Zeros around height and width.
    Pad(Padding),
    /// Another order of axes: extents of the input, its axis for each of the result, bytes of an element.
    Transpose([usize; 4], [usize; 4], usize),
    /// Concatenation of anything.
    Concat(Vec<ConcatPart>),
    /// Local response normalization.
    Lrn(Lrn, usize),
    /// Softmax over so many features.
    Softmax(usize),
    /// Floats to levels.
    Quantize(Quant),
    /// Levels to floats.
    DequantizeU8(Quant),
    /// Accumulators to floats.
    DequantizeI32(f32),
}

/// What a session computes on.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) kernels: &'a dyn Kernels,
    pub(super) parallel: &'a dyn Parallel,
}

/// Whether so many multiply-accumulates, or bytes moved, take longer than waking the other threads: some microseconds.
pub(super) const fn is_worth_sharing(operations: u64) -> bool {
    operations >= 1 << 17
}

impl Work {
    /// Name of the kernel that runs.
    pub(super) fn kernel_name(&self, kernels: &dyn Kernels) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::ConvF32(..) | Self::DenseF32(..) => kernels.kernel_name(KernelKind::GemmF32),
            Self::ConvQ8 { .. } | Self::DenseQ8(..) => kernels.kernel_name(KernelKind::GemmQ8),
            Self::OwnConvF32(conv) => conv.name,
            Self::OwnConvQ8(conv, _) => conv.name,
            Self::DepthwiseF32 { .. } => kernels.kernel_name(KernelKind::DepthwiseF32),
            Self::DepthwiseQ8 { .. } => kernels.kernel_name(KernelKind::DepthwiseQ8),
            Self::SparseF32(..) => kernels.kernel_name(KernelKind::SparseF32),
            Self::SparseQ8(..) => kernels.kernel_name(KernelKind::SparseQ8),
            Self::EllQ8(..) => kernels.kernel_name(KernelKind::EllQ8),
            Self::CodebookQ8(..) => kernels.kernel_name(KernelKind::CodebookQ8),
            Self::MaxPoolF32(_) => kernels.kernel_name(KernelKind::MaxPoolF32),
            Self::MaxPoolU8(..) => kernels.kernel_name(KernelKind::MaxPoolU8),
            Self::AveragePoolF32(..) => kernels.pointwise_name(PointwiseKind::AveragePoolF32),
            Self::AveragePoolU8(..) => kernels.pointwise_name(PointwiseKind::AveragePoolU8),
            Self::ClampF32(_) => kernels.pointwise_name(PointwiseKind::ClampF32),
            Self::ClampU8(_) => kernels.pointwise_name(PointwiseKind::ClampU8),
            Self::ReluI32 => "relu_qs32_qs32_1x1__scalar",
            Self::MapU8(_) => kernels.pointwise_name(PointwiseKind::MapU8),
            Self::AddF32(_) => kernels.pointwise_name(PointwiseKind::AddF32),
            Self::AddU8(_) => kernels.pointwise_name(PointwiseKind::AddU8),
            Self::UnaryF32(_) => kernels.pointwise_name(PointwiseKind::UnaryF32),
            Self::MulF32(_) => kernels.pointwise_name(PointwiseKind::MulF32),
            Self::MulU8(..) => kernels.pointwise_name(PointwiseKind::MulU8),
            Self::PReluF32(_) => "prelu_f32_f32_1x1__scalar",
            Self::PReluU8(_) => "prelu_qu8_qu8_1x1__scalar",
            Self::Resize(ResizePlan { mode: ResizeMode::Nearest, .. }, _) => "resize-nearest",
            Self::Resize(_, DType::F32) => "resize_f32_f32_1x1__scalar",
            Self::Resize(..) => "resize_qu8_qu8_1x1__scalar",
            Self::Pad(_) => "pad",
            Self::Transpose(..) => "transpose",
            Self::Concat(_) => "concat",
            Self::Lrn(..) => kernels.kernel_name(KernelKind::LrnF32),
            Self::Softmax(_) => kernels.pointwise_name(PointwiseKind::SoftmaxF32),
            Self::Quantize(_) => kernels.pointwise_name(PointwiseKind::Quantize),
            Self::DequantizeU8(_) => kernels.pointwise_name(PointwiseKind::DequantizeU8),
            Self::DequantizeI32(_) => "dequantize_qs32_f32_1x1__scalar",
        }
    }

    /// Bytes of weights that a run reads.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::ConvF32(conv, _) => conv.groups.iter().map(PackedF32::size_bytes).sum(),
            Self::ConvQ8 { conv, .. } => conv.groups.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::OwnConvF32(conv) => conv.packed.weight_bytes(),
            Self::OwnConvQ8(conv, _) => conv.packed.weight_bytes(),
            Self::DepthwiseF32 { weights, bias, .. } => (weights.len() + bias.len()) * 4,
            Self::DepthwiseQ8 { weights, bias, .. } => weights.len() + bias.len() * 4,
            Self::DenseF32(dense, _) => dense.parts.iter().map(PackedF32::size_bytes).sum(),
            Self::SparseF32(dense, _) => dense.parts.iter().map(SparseF32::size_bytes).sum(),
            Self::DenseQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::SparseQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::EllQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::CodebookQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::PReluF32(slopes) => slopes.len() * 4,
            Self::PReluU8(requant) => requant.negative.len() * 4,
            Self::Resize(plan, _) => plan.size_bytes(),
            _ => 0,
        }
    }

    /// Computes the result of `step` into `out`.
    pub(super) fn run(
        &self,
        step: &Step,
        machine: Machine<'_>,
        memory: &Readable<'_>,
        out: &mut [u8],
        scratch: &mut [u8],
    ) {
        let Machine { kernels, parallel } = machine;
        let input = || memory.bytes(&step.inputs[0]);
        let floats = || memory.f32(&step.inputs[0]);
        match self {
            Self::Alias => {}
            Self::ConvF32(conv, clamp) => {
                let (out, scratch) = (cast_slice_mut(out), cast_slice_mut(scratch));
                conv.run_f32(machine, floats(), out, scratch, *clamp);
            }
            Self::ConvQ8 { conv, zero_point } => {
                conv.run_q8(machine, input(), out, scratch, *zero_point);
            }
            Self::OwnConvF32(conv) => {
                let scratch = cast_slice_mut(scratch);
                for (input, out) in conv.samples(floats(), cast_slice_mut(out), 1) {
                    conv.packed.run(parallel, input, out, scratch);
                }
            }
            Self::OwnConvQ8(conv, stage) => {
                for (input, out) in conv.samples(input(), out, stage.size_bytes()) {
                    stage.run(out, |out| conv.packed.run(parallel, input, out, scratch));
                }
            }
            Self::DepthwiseF32 { geometry, weights, bias, clamp } => {
                let out = cast_slice_mut(out);
                for_each_band(parallel, geometry, floats(), out, 1, |geometry, input, out| {
                    let job = DepthwiseF32 { geometry, input, weights, bias, clamp: *clamp };
                    kernels.depthwise_f32(&job, out);
                });
            }
            Self::DepthwiseQ8 { geometry, weights, bias, zero_point, stage } => {
                let size = stage.size_bytes();
                for_each_band(parallel, geometry, input(), out, size, |geometry, input, out| {
                    let zero_point = *zero_point;
                    let job = DepthwiseQ8 { geometry, input, zero_point, weights, bias };
                    stage.run(out, |out| kernels.depthwise_q8(&job, out));
                });
            }
            Self::DenseF32(dense, clamp) => {
                dense.run_f32(machine, floats(), cast_slice_mut(out), *clamp);
            }
            Self::SparseF32(dense, clamp) => {
                dense.run_sparse_f32(machine, floats(), cast_slice_mut(out), *clamp);
            }
            Self::DenseQ8(dense) => dense.run_q8(machine, input(), out),
            Self::SparseQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.sparse_q8(job, out));
            }
            Self::EllQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.ell_q8(job, out));
            }
            Self::CodebookQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.codebook_q8(job, out));
            }
            Self::MaxPoolF32(geometry) => {
                let out = cast_slice_mut(out);
                for_each_band(parallel, geometry, floats(), out, 1, |geometry, input, out| {
                    kernels.max_pool_f32(&geometry, input, out);
                });
            }
            Self::MaxPoolU8(geometry, table) => {
                for_each_band(parallel, geometry, input(), out, 1, |geometry, input, out| {
                    kernels.max_pool_u8(&geometry, input, out);
                    if let Some(table) = table {
                        kernels.map_u8(table, out);
                    }
                });
            }
            Self::AveragePoolF32(geometry, include_pads) => {
                let out = cast_slice_mut(out);
                for_each_band(parallel, geometry, floats(), out, 1, |geometry, input, out| {
                    kernels.average_pool_f32(&geometry, *include_pads, input, out);
                });
            }
            Self::AveragePoolU8(geometry, average) => {
                for_each_band(parallel, geometry, input(), out, 1, |geometry, input, out| {
                    kernels.average_pool_u8(&geometry, average, input, out);
                });
            }
            Self::Lrn(lrn, channels) => {
                let (input, out) = (floats(), cast_slice_mut(out));
                let rows = rows_of_a_task(input.len() / channels, parallel.shares()) * channels;
                for_each_piece(parallel, out, rows, &mut [(); 0], |index, out: &mut [f32], _| {
                    let input = &input[index * rows..][..out.len()];
                    kernels.lrn_f32(lrn, *channels, input, out);
                });
            }
            _ => self.run_pointwise(step, machine, memory, out),
        }
    }
}
