//! Element-wise operators and those that move elements.

use alloc::boxed::Box;

use bytemuck::{cast_slice, cast_slice_mut};

use super::super::memory::Readable;
use super::super::session::Step;
use super::conv::relu_i32;
use super::{Machine, Work};
use crate::kernels::elementwise::{copy_rows, dequantize_i32};
use crate::kernels::layout::{pad, transpose};
use crate::kernels::parallel::for_each_piece;
use crate::kernels::product::{prelu_f32, prelu_u8};
use crate::kernels::resize::{ResizePlan, resize_linear_f32, resize_linear_u8, resize_nearest};
use crate::kernels::{Kernels, Parallel};
use crate::op::ResizeMode;
use crate::tensor::DType;

/// An input of a concatenation.
#[derive(Debug)]
pub(in crate::exec) struct ConcatPart {
    /// Bytes that it contributes to a row of the result.
    pub(in crate::exec) row: usize,
    /// What its levels go through.
    pub(in crate::exec) table: Option<Box<[u8; 256]>>,
    /// Whether its node wrote it into the result already.
    pub(in crate::exec) is_there: bool,
}

/// A border around each sample, in bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) struct Padding {
    /// Rows of a sample, and bytes of a row.
    pub(in crate::exec) input: [usize; 2],
    /// Rows on top, bytes on the left, rows at the bottom, bytes on the right.
    pub(in crate::exec) border: [usize; 4],
    /// What each byte of the border is.
    pub(in crate::exec) level: u8,
}

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

impl Work {
    /// Computes the result of `step` into `out`. What works element by element is shared out.
    pub(super) fn run_pointwise(
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
