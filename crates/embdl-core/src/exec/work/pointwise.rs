//! What runs on all CPUs alike: element-wise operators and those that move elements.

use alloc::boxed::Box;

use bytemuck::{cast_slice, cast_slice_mut};

use super::super::memory::Readable;
use super::super::session::Step;
use super::Work;
use super::conv::relu_i32;
use crate::kernels::elementwise::{
    add_f32, add_u8, clamp_f32, clamp_u8, copy_rows, dequantize_i32, dequantize_u8, map_rows_u8,
    map_u8, quantize, unary_f32,
};
use crate::kernels::layout::{pad, transpose};
use crate::kernels::product::{mul_f32, mul_u8, prelu_f32, prelu_u8};
use crate::kernels::resize::{ResizePlan, resize_linear_f32, resize_linear_u8, resize_nearest};
use crate::kernels::softmax::softmax_f32;
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

impl Work {
    /// Computes the result of `step` into `out`.
    pub(super) fn run_pointwise(&self, step: &Step, memory: &Readable<'_>, out: &mut [u8]) {
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
            Self::UnaryF32(unary) => {
                fill(out);
                unary_f32(*unary, cast_slice_mut(out));
            }
            Self::PReluF32(slopes) => {
                fill(out);
                prelu_f32(slopes, cast_slice_mut(out));
            }
            Self::PReluU8(requant) => {
                fill(out);
                prelu_u8(requant, out);
            }
            Self::MulF32(rows) => {
                fill(out);
                mul_f32(*rows, cast_slice_mut(out), memory.f32(&step.inputs[1]));
            }
            Self::MulU8(rows, requant) => {
                fill(out);
                mul_u8(*rows, out, memory.bytes(&step.inputs[1]), requant);
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
                let stride = parts.iter().map(|part| part.row).sum();
                let mut at = 0;
                for (place, ConcatPart { row, table, is_there }) in step.inputs.iter().zip(parts) {
                    match table {
                        _ if *is_there => {}
                        None => copy_rows(memory.bytes(place), *row, &mut out[at..], stride),
                        Some(table) => {
                            map_rows_u8(table, memory.bytes(place), *row, &mut out[at..], stride);
                        }
                    }
                    at += row;
                }
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
