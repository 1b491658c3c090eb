//! What a node does when it runs: everything that could be computed beforehand is in here.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytemuck::cast_slice_mut;

use super::memory::Readable;
use super::session::Step;
use crate::kernels::elementwise::{
    add_f32, add_u8, clamp_f32, clamp_u8, copy_rows, dequantize_i32, dequantize_u8, map_rows_u8,
    map_u8, quantize,
};
use crate::kernels::im2col::im2col;
use crate::kernels::lrn::lrn_f32;
use crate::kernels::pool::{AverageRequant, average_pool_f32, average_pool_u8};
use crate::kernels::softmax::softmax_f32;
use crate::kernels::{
    CodebookQ8, DepthwiseF32, DepthwiseQ8, GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, PackedF32,
    PackedQ8, RowsF32, RowsQ8, SparseF32, SparseQ8, WindowGeometry,
};
use crate::op::Lrn;
use crate::quant::{AddRequant, Quant, Requant};

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
    DenseF32(usize, PackedF32, (f32, f32)),
    /// Dense layer with sparse rows.
    SparseF32(usize, SparseF32, (f32, f32)),
    /// Dense layer by integer GEMM.
    DenseQ8(usize, PackedQ8, Stage),
    /// Dense layer with sparse integer rows.
    SparseQ8(usize, SparseQ8, Stage),
    /// Dense layer with 4-bit indices.
    CodebookQ8(usize, CodebookQ8, Stage),
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
    /// Concatenation of anything: for each input the bytes that it contributes to a row of the result, and the table that
    /// its levels go through.
    Concat(Vec<(usize, Option<Box<[u8; 256]>>)>),
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

/// A convolution that is a matrix product for each group of channels.
#[derive(Debug)]
pub(super) struct Conv<W> {
    pub(super) geometry: WindowGeometry,
    /// Channels of the result.
    pub(super) out_channels: usize,
    /// Weights of each group.
    pub(super) groups: Vec<W>,
    /// Output positions a block of im2col; zero where windows are pixels and rows are read from the input as it is.
    pub(super) block: usize,
}

/// Where accumulators go.
#[derive(Debug)]
pub(super) enum Stage {
    /// Requantized to levels.
    Levels(Requant),
    /// Kept as they are, or clamped to zero from below.
    Accumulators {
        /// Whether negative ones become zero.
        relu: bool,
    },
}

impl Stage {
    /// Runs `kernel` with the place that results go to.
    fn run(&self, out: &mut [u8], kernel: impl FnOnce(OutQ8<'_>)) {
        match self {
            Self::Levels(requant) => kernel(OutQ8::U8(requant, out)),
            Self::Accumulators { relu } => {
                let out: &mut [i32] = cast_slice_mut(out);
                kernel(OutQ8::I32(&mut *out));
                if *relu {
                    relu_i32(out);
                }
            }
        }
    }

    /// The stage of some of the layer's channels.
    pub(super) fn of_channels(&self, channels: core::ops::Range<usize>) -> Self {
        match self {
            Self::Accumulators { relu } => Self::Accumulators { relu: *relu },
            Self::Levels(requant) => {
                let mut part = requant.clone();
                if part.multipliers.len() > 1 {
                    part.multipliers = part.multipliers[channels].to_vec();
                }
                Self::Levels(part)
            }
        }
    }

    /// Bytes of one result.
    const fn size_bytes(&self) -> usize {
        match self {
            Self::Levels(_) => 1,
            Self::Accumulators { .. } => 4,
        }
    }
}

impl Work {
    /// Name of the kernel that runs.
    pub(super) fn kernel_name(&self, kernels: &dyn Kernels) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::ConvF32(..) | Self::DenseF32(..) => kernels.kernel_name(KernelKind::GemmF32),
            Self::ConvQ8 { .. } | Self::DenseQ8(..) => kernels.kernel_name(KernelKind::GemmQ8),
            Self::DepthwiseF32 { .. } => kernels.kernel_name(KernelKind::DepthwiseF32),
            Self::DepthwiseQ8 { .. } => kernels.kernel_name(KernelKind::DepthwiseQ8),
            Self::SparseF32(..) => kernels.kernel_name(KernelKind::SparseF32),
            Self::SparseQ8(..) => kernels.kernel_name(KernelKind::SparseQ8),
            Self::CodebookQ8(..) => kernels.kernel_name(KernelKind::CodebookQ8),
            Self::MaxPoolF32(_) => kernels.kernel_name(KernelKind::MaxPoolF32),
            Self::MaxPoolU8(..) => kernels.kernel_name(KernelKind::MaxPoolU8),
            Self::AveragePoolF32(..) => "avgpool_f32_f32_1x1__scalar",
            Self::AveragePoolU8(..) => "avgpool_qu8_qu8_1x16__scalar",
            Self::ClampF32(_) => "clamp_f32_f32_1x1__scalar",
            Self::ClampU8(_) => "clamp_qu8_qu8_1x1__scalar",
            Self::ReluI32 => "relu_qs32_qs32_1x1__scalar",
            Self::MapU8(_) => "map_qu8_qu8_1x1__scalar",
            Self::AddF32(_) => "add_f32_f32_1x1__scalar",
            Self::AddU8(_) => "add_qu8_qu8_1x1__scalar",
            Self::Concat(_) => "concat",
            Self::Lrn(..) => "lrn_f32_f32_1x1__scalar",
            Self::Softmax(_) => "softmax_f32_f32_1x1__scalar",
            Self::Quantize(_) => "quantize_f32_qu8_1x1__scalar",
            Self::DequantizeU8(_) => "dequantize_qu8_f32_1x1__scalar",
            Self::DequantizeI32(_) => "dequantize_qs32_f32_1x1__scalar",
        }
    }

    /// Bytes of weights that a run reads.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::ConvF32(conv, _) => conv.groups.iter().map(PackedF32::size_bytes).sum(),
            Self::ConvQ8 { conv, .. } => conv.groups.iter().map(|(w, _)| w.size_bytes()).sum(),
            Self::DepthwiseF32 { weights, bias, .. } => (weights.len() + bias.len()) * 4,
            Self::DepthwiseQ8 { weights, bias, .. } => weights.len() + bias.len() * 4,
            Self::DenseF32(_, weights, _) => weights.size_bytes(),
            Self::SparseF32(_, weights, _) => weights.size_bytes(),
            Self::DenseQ8(_, weights, _) => weights.size_bytes(),
            Self::SparseQ8(_, weights, _) => weights.size_bytes(),
            Self::CodebookQ8(_, weights, _) => weights.size_bytes(),
            _ => 0,
        }
    }

    /// Computes the result of `step` into `out`.
    pub(super) fn run(
        &self,
        step: &Step,
        kernels: &dyn Kernels,
        memory: &Readable<'_>,
        out: &mut [u8],
        scratch: &mut [u8],
    ) {
        let input = || memory.bytes(&step.inputs[0]);
        let floats = || memory.f32(&step.inputs[0]);
        match self {
            Self::Alias => {}
            Self::ConvF32(conv, clamp) => {
                conv.run_f32(
                    kernels,
                    floats(),
                    cast_slice_mut(out),
                    cast_slice_mut(scratch),
                    *clamp,
                );
            }
            Self::ConvQ8 { conv, zero_point } => {
                conv.run_q8(kernels, input(), out, scratch, *zero_point);
            }
            Self::DepthwiseF32 { geometry, weights, bias, clamp } => {
                let (geometry, clamp) = (*geometry, *clamp);
                for (input, out) in samples(floats(), cast_slice_mut(out), &geometry) {
                    let job = DepthwiseF32 { geometry, input, weights, bias, clamp };
                    kernels.depthwise_f32(&job, out);
                }
            }
            Self::DepthwiseQ8 { geometry, weights, bias, zero_point, stage } => {
                let (geometry, zero_point) = (*geometry, *zero_point);
                let len = geometry.output_len() * stage.size_bytes();
                let inputs = input().chunks_exact(geometry.input_len());
                for (input, out) in inputs.zip(out.chunks_exact_mut(len)) {
                    let job = DepthwiseQ8 { geometry, input, zero_point, weights, bias };
                    stage.run(out, |out| kernels.depthwise_q8(&job, out));
                }
            }
            Self::DenseF32(m, weights, clamp) => {
                let job = GemmF32 {
                    m: *m,
                    lhs: floats(),
                    lhs_stride: weights.k,
                    weights,
                    clamp: *clamp,
                    out_stride: weights.n,
                };
                kernels.gemm_f32(&job, cast_slice_mut(out));
            }
            Self::SparseF32(m, weights, clamp) => {
                let job = RowsF32 { m: *m, lhs: floats(), weights, clamp: *clamp };
                kernels.sparse_f32(&job, cast_slice_mut(out));
            }
            Self::DenseQ8(m, weights, stage) => {
                let job = GemmQ8 {
                    m: *m,
                    lhs: input(),
                    lhs_stride: weights.k,
                    weights,
                    out_stride: weights.n,
                };
                stage.run(out, |out| kernels.gemm_q8(&job, out));
            }
            Self::SparseQ8(m, weights, stage) => {
                let job = RowsQ8 { m: *m, lhs: input(), weights };
                stage.run(out, |out| kernels.sparse_q8(&job, out));
            }
            Self::CodebookQ8(m, weights, stage) => {
                let job = RowsQ8 { m: *m, lhs: input(), weights };
                stage.run(out, |out| kernels.codebook_q8(&job, out));
            }
            Self::MaxPoolF32(geometry) => {
                for (input, out) in samples(floats(), cast_slice_mut(out), geometry) {
                    kernels.max_pool_f32(geometry, input, out);
                }
            }
            Self::MaxPoolU8(geometry, table) => {
                for (input, out) in samples(input(), out, geometry) {
                    kernels.max_pool_u8(geometry, input, out);
                }
                if let Some(table) = table {
                    map_u8(table, out);
                }
            }
            Self::AveragePoolF32(geometry, include_pads) => {
                for (input, out) in samples(floats(), cast_slice_mut(out), geometry) {
                    average_pool_f32(geometry, *include_pads, input, out);
                }
            }
            Self::AveragePoolU8(geometry, average) => {
                for (input, out) in samples(input(), out, geometry) {
                    average_pool_u8(geometry, average, input, out);
                }
            }
            _ => self.run_elementwise(step, memory, out),
        }
    }

    fn run_elementwise(&self, step: &Step, memory: &Readable<'_>, out: &mut [u8]) {
        let fill = |out: &mut [u8]| {
            if step.in_place.is_none() {
                out.copy_from_slice(memory.bytes(&step.inputs[0]));
            }
        };
        match self {
            Self::ClampF32(bounds) => {
                fill(out);
                clamp_f32(*bounds, cast_slice_mut(out));
            }
            Self::ClampU8(bounds) => {
                fill(out);
                clamp_u8(*bounds, out);
            }
            Self::ReluI32 => {
                fill(out);
                relu_i32(cast_slice_mut(out));
            }
            Self::MapU8(table) => {
                fill(out);
                map_u8(table, out);
            }
            Self::AddF32(bounds) => {
                fill(out);
                add_f32(cast_slice_mut(out), memory.f32(step.other_summand()), *bounds);
            }
            Self::AddU8(requant) => {
                fill(out);
                let requant = if step.in_place == Some(1) { requant.swapped() } else { *requant };
                add_u8(out, memory.bytes(step.other_summand()), &requant);
            }
            Self::Concat(parts) => {
                let stride = parts.iter().map(|part| part.0).sum();
                let mut at = 0;
                for (place, (row, table)) in step.inputs.iter().zip(parts) {
                    let input = memory.bytes(place);
                    match table {
                        None => copy_rows(input, *row, &mut out[at..], stride),
                        Some(table) => map_rows_u8(table, input, *row, &mut out[at..], stride),
                    }
                    at += row;
                }
            }
            Self::Lrn(lrn, channels) => {
                lrn_f32(lrn, *channels, memory.f32(&step.inputs[0]), cast_slice_mut(out));
            }
            Self::Softmax(features) => {
                softmax_f32(*features, memory.f32(&step.inputs[0]), cast_slice_mut(out));
            }
            Self::Quantize(quant) => quantize(*quant, memory.f32(&step.inputs[0]), out),
            Self::DequantizeU8(quant) => {
                dequantize_u8(*quant, memory.bytes(&step.inputs[0]), cast_slice_mut(out));
            }
            Self::DequantizeI32(scale) => {
                dequantize_i32(*scale, memory.i32(&step.inputs[0]), cast_slice_mut(out));
            }
            _ => unreachable!("kernels with geometry or weights run in `run`"),
        }
    }
}

impl Step {
    /// The input of an addition that is not where the result goes.
    fn other_summand(&self) -> &crate::plan::Place {
        &self.inputs[if self.in_place == Some(1) { 0 } else { 1 }]
    }
}

impl Conv<PackedF32> {
    fn run_f32(
        &self,
        kernels: &dyn Kernels,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut [f32],
        clamp: (f32, f32),
    ) {
        self.for_each_block(input, out, 1, |input, rows, out| {
            for (group, weights) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride): (&[f32], usize) = match &rows {
                    None => (&input[group * weights.k..], self.geometry.input[2]),
                    Some(pixels) => {
                        let channels = self.channels(group);
                        im2col(&self.geometry, input, 0.0, channels, pixels.clone(), scratch);
                        (scratch, weights.k)
                    }
                };
                let job = GemmF32 {
                    m: out.len() / self.out_channels,
                    lhs,
                    lhs_stride,
                    weights,
                    clamp,
                    out_stride: self.out_channels,
                };
                kernels.gemm_f32(&job, &mut out[group * weights.n..]);
            }
        });
    }
}

impl Conv<(PackedQ8, Stage)> {
    fn run_q8(
        &self,
        kernels: &dyn Kernels,
        input: &[u8],
        out: &mut [u8],
        scratch: &mut [u8],
        zero_point: u8,
    ) {
        let size = self.groups[0].1.size_bytes();
        self.for_each_block(input, out, size, |input, rows, out| {
            for (group, (weights, stage)) in self.groups.iter().enumerate() {
                let (lhs, lhs_stride): (&[u8], usize) = match &rows {
                    None => (&input[group * weights.k..], self.geometry.input[2]),
                    Some(pixels) => {
                        let channels = self.channels(group);
                        im2col(
                            &self.geometry,
                            input,
                            zero_point,
                            channels,
                            pixels.clone(),
                            scratch,
                        );
                        (scratch, weights.k)
                    }
                };
                let job = GemmQ8 {
                    m: out.len() / (self.out_channels * size),
                    lhs,
                    lhs_stride,
                    weights,
                    out_stride: self.out_channels,
                };
                let out = &mut out[group * weights.n * size..];
                match stage {
                    Stage::Levels(requant) => kernels.gemm_q8(&job, OutQ8::U8(requant, out)),
                    Stage::Accumulators { .. } => {
                        kernels.gemm_q8(&job, OutQ8::I32(cast_slice_mut(out)));
                    }
                }
            }
        });
        if matches!(self.groups[0].1, Stage::Accumulators { relu: true }) {
            relu_i32(cast_slice_mut(out));
        }
    }
}

impl<W> Conv<W> {
    /// Calls `each(input, output positions of a sample or `None` for all of all samples, their results)`. Results are
    /// `size` elements of `T` each.
    fn for_each_block<T>(
        &self,
        input: &[T],
        out: &mut [T],
        size: usize,
        mut each: impl FnMut(&[T], Option<core::ops::Range<usize>>, &mut [T]),
    ) {
        if self.block == 0 {
            // Pixels of all samples stand one after the other.
            each(input, None, out);
            return;
        }
        let row = self.out_channels * size;
        let pixels = self.geometry.output[0] * self.geometry.output[1];
        let inputs = input.chunks_exact(self.geometry.input_len());
        for (input, out) in inputs.zip(out.chunks_exact_mut(pixels * row)) {
            for (index, out) in out.chunks_mut(self.block * row).enumerate() {
                let first = index * self.block;
                each(input, Some(first..first + out.len() / row), out);
            }
        }
    }

    /// Input channels of a group.
    fn channels(&self, group: usize) -> core::ops::Range<usize> {
        let depth = self.geometry.input[2] / self.groups.len();
        group * depth..(group + 1) * depth
    }
}

fn samples<'a, T>(
    input: &'a [T],
    out: &'a mut [T],
    geometry: &WindowGeometry,
) -> impl Iterator<Item = (&'a [T], &'a mut [T])> + use<'a, T> {
    input.chunks_exact(geometry.input_len()).zip(out.chunks_exact_mut(geometry.output_len()))
}

fn relu_i32(data: &mut [i32]) {
    for x in data {
        *x = (*x).max(0);
    }
}
