//! Operators that only move elements: concatenation, transposes, borders, resizing.

use embdl_core::exec::{ConcatPart, Padding};
use embdl_core::kernels::resize::{Neighbours, ResizePlan};
use embdl_core::op::ResizeMode;
use embdl_core::runtime::RuntimeError;
use embdl_core::tensor::DType;

use super::Lowering;
use crate::counts::moved;
use crate::draft::{Draft, count};
use crate::kernels::{
    CONCAT_LEVELS, CONCAT_WORDS, NEAREST_LEVELS, NEAREST_WORDS, PAD_LEVELS, PAD_WORDS, RESIZE_F32,
    RESIZE_Q8, TRANSPOSE_LEVELS, TRANSPOSE_WORDS,
};
use crate::params::{Concat, Pad, Resize, Transpose};

impl<'l> Lowering<'_, 'l> {
    /// A launch for each part that is not there yet.
    pub(super) fn concatenation(
        &self,
        parts: &[ConcatPart],
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let out = self.address_of(self.node.output)?;
        let stride: usize = parts.iter().map(|part| part.row).sum();
        let rows = self.to().len_bytes() / stride;
        let is_words = parts.iter().all(|part| part.row.is_multiple_of(4));
        let (kernel, unit) = if is_words { (CONCAT_WORDS, 4) } else { (CONCAT_LEVELS, 1) };
        let mut drafts = Vec::new();
        let mut at = 0;
        for (part, &input) in parts.iter().zip(&self.node.inputs) {
            let place = at;
            at += part.row;
            if part.is_there {
                continue;
            }
            let table = part.table.as_ref().map(|table| self.numbers(table.to_vec()));
            let (table, address) =
                table.map_or((None, 0), |(table, address)| (Some(table), address));
            let params = Concat {
                input: self.address_of(input)?,
                table: address,
                out: out.wrapping_add(place as u64),
                count: count(rows * part.row / unit)?,
                row: count(part.row / unit)?,
                stride: count(stride / unit)?,
                unused: 0,
            };
            let counts = moved(params.count, unit, 1);
            drafts.push(Draft::counting("concat", kernel, &params, table, counts)?);
        }
        Ok(drafts)
    }

    /// Axis `i` of the result is axis `order[i]` of the input, which has the extents `dims`.
    pub(super) fn transposed(
        &self,
        dims: [usize; 4],
        order: [usize; 4],
    ) -> Result<Draft<'l>, RuntimeError> {
        let strides = [dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1];
        let dim = |axis: usize| count(dims[order[axis]]);
        let stride = |axis: usize| count(strides[order[axis]]);
        let [input, out] = self.ends()?;
        let params = Transpose {
            input,
            out,
            count: count(self.to().shape.len())?,
            dim1: dim(1)?,
            dim2: dim(2)?,
            dim3: dim(3)?,
            stride0: stride(0)?,
            stride1: stride(1)?,
            stride2: stride(2)?,
            stride3: stride(3)?,
        };
        let kernel = if self.is_words() { TRANSPOSE_WORDS } else { TRANSPOSE_LEVELS };
        let counts = moved(params.count, self.to().dtype.size_bytes(), 1);
        Draft::counting("transpose", kernel, &params, None, counts)
    }

    pub(super) fn padded(&self, padding: &Padding) -> Result<Draft<'l>, RuntimeError> {
        let size = self.to().dtype.size_bytes();
        let [height, row] = padding.input;
        let [top, left, bottom, right] = padding.border;
        let [input, out] = self.ends()?;
        let params = Pad {
            input,
            out,
            count: count(self.to().shape.len())?,
            border: padding.level.into(),
            height: count(height)?,
            row: count(row / size)?,
            out_height: count(top + height + bottom)?,
            out_row: count((left + row + right) / size)?,
            top: count(top)?,
            left: count(left / size)?,
        };
        let kernel = if self.is_words() { PAD_WORDS } else { PAD_LEVELS };
        Draft::counting("pad", kernel, &params, None, moved(params.count, size, 1))
    }

    pub(super) fn resized(
        &self,
        plan: &ResizePlan,
        dtype: DType,
    ) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let words = |neighbours: &Neighbours| {
            let Neighbours { low, high, weight, weight_q12 } = *neighbours;
            [low, high, weight.to_bits(), weight_q12]
        };
        let neighbours = plan.rows.iter().chain(&plan.columns).flat_map(words);
        let (constants, axes) = self.numbers(neighbours.collect());
        let [ih, iw, c] = plan.input;
        let params = Resize {
            input,
            axes,
            out,
            count: count(self.to().shape.len())?,
            ih: count(ih)?,
            iw: count(iw)?,
            c: count(c)?,
            oh: count(plan.rows.len())?,
            ow: count(plan.columns.len())?,
        };
        let (name, kernel) = match (plan.mode, dtype) {
            (ResizeMode::Nearest, _) if self.is_words() => ("resize-nearest", NEAREST_WORDS),
            (ResizeMode::Nearest, _) => ("resize-nearest", NEAREST_LEVELS),
            (ResizeMode::Linear, DType::F32) => ("resize_f32_f32_1x1__sm62", RESIZE_F32),
            (ResizeMode::Linear, _) => ("resize_qu8_qu8_1x1__sm62", RESIZE_Q8),
        };
        // Of an interpolated element four neighbours count, each of which is read again from the cache.
        let counts = moved(params.count, dtype.size_bytes(), 4);
        Draft::counting(name, kernel, &params, Some(constants), counts)
    }

    /// Whether the elements of the result are words, not bytes.
    fn is_words(&self) -> bool {
        self.to().dtype.size_bytes() == 4
    }
}
