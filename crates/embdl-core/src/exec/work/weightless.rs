//! What has no matrix of weights: windows, element-wise operators, those that move elements.

use bytemuck::{cast_slice, cast_slice_mut};

use super::super::memory::Readable;
use super::super::resolve::{ConcatPart, Padding, Weightless};
use super::super::session::Step;
use super::Machine;
use super::band::for_each_band;
use super::conv::{relu_i32, rows_of_a_task};
use crate::kernels::elementwise::{copy_rows, dequantize_i32};
use crate::kernels::layout::{pad, transpose};
use crate::kernels::parallel::for_each_piece;
use crate::kernels::product::{prelu_f32, prelu_u8};
use crate::kernels::resize::{ResizePlan, resize_linear_f32, resize_linear_u8, resize_nearest};
use crate::kernels::{KernelKind, Kernels, Parallel, PointwiseKind};
use crate::op::ResizeMode;
use crate::tensor::DType;

impl Padding {
    fn run(&self, input: &[u8], out: &mut [u8]) {
        let [height, row] = self.input;
        let [top, left, bottom, right] = self.border;
        let padded = (top + height + bottom) * (left + row + right);
        for (input, out) in input.chunks_exact(height * row).zip(out.chunks_exact_mut(padded)) {
            pad(self.input, self.border, self.level, input, out);
        }
    }
}

fn resize(plan: &ResizePlan, dtype: DType, input: &[u8], out: &mut [u8]) {
    match (plan.mode, dtype) {
        (ResizeMode::Nearest, DType::U8 | DType::I8) => resize_nearest(plan, input, out),
        (ResizeMode::Nearest, DType::F32 | DType::I32) => {
            resize_nearest::<u32>(plan, cast_slice(input), cast_slice_mut(out));
        }
        (ResizeMode::Linear, DType::F32) => {
            resize_linear_f32(plan, cast_slice(input), cast_slice_mut(out));
        }
        (ResizeMode::Linear, _) => resize_linear_u8(plan, input, out),
    }
}

/// Writes the rows of a concatenation from row `first` on, of `stride` bytes each, as many as `out` has.
fn concat<'a>(
    kernels: &dyn Kernels,
    parts: &[ConcatPart],
    stride: usize,
    first: usize,
    out: &mut [u8],
    input: impl Fn(usize) -> &'a [u8],
) {
    let count = out.len() / stride;
    let mut at = 0;
    for (index, ConcatPart { row, table, is_there }) in parts.iter().enumerate() {
        if !*is_there {
            let input = &input(index)[first * row..][..count * row];
            match table {
                None => copy_rows(input, *row, &mut out[at..], stride),
                Some(table) => kernels.map_rows_u8(table, input, *row, &mut out[at..], stride),
            }
        }
        at += row;
    }
}

/// Calls `each(first byte, results)` for parts of `out`, each of whole rows of `row` elements, or bytes.
fn for_each_part(
    parallel: &dyn Parallel,
    out: &mut [u8],
    row: usize,
    each: impl Fn(usize, &mut [u8]) + Sync,
) {
    /// Parts start at the same place in a cache line as the whole, and at a whole element of any type.
    const LINE: usize = 64;
    if parallel.threads() == 1 || out.is_empty() {
        return each(0, out);
    }
    let len = out.len().div_ceil(2 * parallel.shares()).next_multiple_of(LINE * row);
    for_each_piece(parallel, out, len, &mut [(); 0], |index, out, _| each(index * len, out));
}

impl Weightless {
    /// Name of the kernel that runs.
    pub(super) fn kernel_name(&self, kernels: &dyn Kernels) -> &'static str {
        match self {
            Self::Alias => "alias",
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
    ) {
        let Machine { kernels, parallel } = machine;
        let input = || memory.bytes(&step.inputs[0]);
        let floats = || memory.f32(&step.inputs[0]);
        match self {
            Self::Alias => {}
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

    /// What works element by element is shared out.
    fn run_pointwise(
        &self,
        step: &Step,
        machine: Machine<'_>,
        memory: &Readable<'_>,
        out: &mut [u8],
    ) {
        let Machine { kernels, parallel } = machine;
        let first = || memory.bytes(&step.inputs[0]);
        let fill = |at: usize, out: &mut [u8]| {
            if step.in_place.is_none() {
                out.copy_from_slice(&first()[at..][..out.len()]);
            }
        };
        match self {
            Self::ClampF32(bounds) => for_each_part(parallel, out, 1, |at, out| {
                fill(at, out);
                kernels.clamp_f32(*bounds, cast_slice_mut(out));
            }),
            Self::ClampU8(bounds) => for_each_part(parallel, out, 1, |at, out| {
                fill(at, out);
                kernels.clamp_u8(*bounds, out);
            }),
            Self::ReluI32 => for_each_part(parallel, out, 1, |at, out| {
                fill(at, out);
                relu_i32(cast_slice_mut(out));
            }),
            Self::MapU8(table) => for_each_part(parallel, out, 1, |at, out| {
                fill(at, out);
                kernels.map_u8(table, out);
            }),
            Self::AddF32(bounds) => {
                let other = memory.bytes(step.other_summand());
                for_each_part(parallel, out, 1, |at, out| {
                    fill(at, out);
                    let other = cast_slice(&other[at..][..out.len()]);
                    kernels.add_f32(cast_slice_mut(out), other, *bounds);
                });
            }
            Self::AddU8(requant) => {
                let other = memory.bytes(step.other_summand());
                let requant = if step.in_place == Some(1) { requant.swapped() } else { *requant };
                for_each_part(parallel, out, 1, |at, out| {
                    fill(at, out);
                    kernels.add_u8(out, &other[at..][..out.len()], &requant);
                });
            }
            Self::UnaryF32(unary) => for_each_part(parallel, out, 1, |at, out| {
                fill(at, out);
                kernels.unary_f32(*unary, cast_slice_mut(out));
            }),
            Self::PReluF32(slopes) => for_each_part(parallel, out, slopes.len(), |at, out| {
                fill(at, out);
                prelu_f32(slopes, cast_slice_mut(out));
            }),
            Self::PReluU8(requant) => {
                for_each_part(parallel, out, requant.negative.len(), |at, out| {
                    fill(at, out);
                    prelu_u8(requant, out);
                });
            }
            Self::MulF32(rows) => {
                fill(0, out);
                kernels.mul_f32(*rows, cast_slice_mut(out), memory.f32(&step.inputs[1]));
            }
            Self::MulU8(rows, requant) => {
                fill(0, out);
                kernels.mul_u8(*rows, out, memory.bytes(&step.inputs[1]), requant);
            }
            Self::Resize(plan, dtype) => resize(plan, *dtype, memory.bytes(&step.inputs[0]), out),
            Self::Pad(padding) => padding.run(memory.bytes(&step.inputs[0]), out),
            Self::Transpose(dims, order, 4) => {
                let out: &mut [u32] = cast_slice_mut(out);
                transpose(*dims, *order, cast_slice(memory.bytes(&step.inputs[0])), out);
            }
            Self::Transpose(dims, order, _) => {
                transpose(*dims, *order, memory.bytes(&step.inputs[0]), out);
            }
            Self::Concat(parts) => {
                let stride: usize = parts.iter().map(|part| part.row).sum();
                for_each_part(parallel, out, stride, |at, out| {
                    concat(kernels, parts, stride, at / stride, out, |part| {
                        memory.bytes(&step.inputs[part])
                    });
                });
            }
            Self::Softmax(features) => {
                kernels.softmax_f32(*features, memory.f32(&step.inputs[0]), cast_slice_mut(out));
            }
            Self::Quantize(quant) => for_each_part(parallel, out, 1, |at, out| {
                kernels.quantize(*quant, cast_slice(&first()[4 * at..][..4 * out.len()]), out);
            }),
            Self::DequantizeU8(quant) => for_each_part(parallel, out, 1, |at, out| {
                kernels.dequantize_u8(
                    *quant,
                    &first()[at / 4..][..out.len() / 4],
                    cast_slice_mut(out),
                );
            }),
            Self::DequantizeI32(scale) => for_each_part(parallel, out, 1, |at, out| {
                let input = cast_slice(&first()[at..][..out.len()]);
                dequantize_i32(*scale, input, cast_slice_mut(out));
            }),
            _ => unreachable!("kernels with geometry run in `run`"),
        }
    }
}

impl Step {
    /// The input of an addition that is not where the result goes.
    fn other_summand(&self) -> &crate::plan::Place {
        &self.inputs[if self.in_place == Some(1) { 0 } else { 1 }]
    }
}
