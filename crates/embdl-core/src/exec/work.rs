//! What a node does when it runs: everything that could be computed beforehand is in here.

mod band;
mod conv;
mod dense;
mod weightless;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytemuck::cast_slice_mut;

use super::memory::Readable;
use super::resolve::{Stage, Weightless};
use super::session::Step;
use crate::kernels::{
    BlocksF32, BlocksQ8, CodebookQ8, ConvF32, ConvQ8, DepthwiseF32, DepthwiseQ8, EllQ8, KernelKind,
    Kernels, PackedF32, PackedQ8, Parallel, SparseF32, SparseQ8, WindowGeometry,
};
use band::for_each_band;
pub(super) use conv::{Conv, OwnConv};
pub(super) use dense::Dense;

/// A node's computation.
#[derive(Debug)]
pub(super) enum Work {
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
    /// Dense layer with block-sparse rows.
    BlocksF32(Dense<BlocksF32>, (f32, f32)),
    /// The same in integers.
    BlocksQ8(Dense<(BlocksQ8, Stage)>),
    /// Dense layer with 4-bit indices.
    CodebookQ8(Dense<(CodebookQ8, Stage)>),
    /// What has no matrix of weights.
    Weightless(Weightless),
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
            Self::ConvF32(..) | Self::DenseF32(..) => kernels.kernel_name(KernelKind::GemmF32),
            Self::ConvQ8 { .. } | Self::DenseQ8(..) => kernels.kernel_name(KernelKind::GemmQ8),
            Self::OwnConvF32(conv) => conv.name,
            Self::OwnConvQ8(conv, _) => conv.name,
            Self::DepthwiseF32 { .. } => kernels.kernel_name(KernelKind::DepthwiseF32),
            Self::DepthwiseQ8 { .. } => kernels.kernel_name(KernelKind::DepthwiseQ8),
            Self::SparseF32(..) => kernels.kernel_name(KernelKind::SparseF32),
            Self::SparseQ8(..) => kernels.kernel_name(KernelKind::SparseQ8),
            Self::EllQ8(..) => kernels.kernel_name(KernelKind::EllQ8),
            Self::BlocksF32(..) => kernels.kernel_name(KernelKind::BlocksF32),
            Self::BlocksQ8(..) => kernels.kernel_name(KernelKind::BlocksQ8),
            Self::CodebookQ8(..) => kernels.kernel_name(KernelKind::CodebookQ8),
            Self::Weightless(work) => work.kernel_name(kernels),
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
            Self::BlocksF32(dense, _) => dense.parts.iter().map(BlocksF32::size_bytes).sum(),
            Self::BlocksQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::CodebookQ8(dense) => dense.parts.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::Weightless(work) => work.weight_bytes(),
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
                let (input, out) = (floats(), cast_slice_mut(out));
                dense.run_rows_f32(machine, input, out, *clamp, |job, out| {
                    kernels.sparse_f32(job, out);
                });
            }
            Self::BlocksF32(dense, clamp) => {
                let (input, out) = (floats(), cast_slice_mut(out));
                dense.run_rows_f32(machine, input, out, *clamp, |job, out| {
                    kernels.blocks_f32(job, out);
                });
            }
            Self::DenseQ8(dense) => dense.run_q8(machine, input(), out),
            Self::SparseQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.sparse_q8(job, out));
            }
            Self::EllQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.ell_q8(job, out));
            }
            Self::BlocksQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.blocks_q8(job, out));
            }
            Self::CodebookQ8(dense) => {
                dense.run_rows(machine, input(), out, |job, out| kernels.codebook_q8(job, out));
            }
            Self::Weightless(work) => work.run(step, machine, memory, out),
        }
    }
}
