//! Operators that only move elements: concatenation, transposes, borders, resizing.

use embdl_core::exec::{ConcatPart, Padding};
use embdl_core::kernels::resize::{Neighbours, ResizePlan};
use embdl_core::op::ResizeMode;
use embdl_core::runtime::RuntimeError;
use embdl_core::tensor::DType;

use super::Lowering;
use super::pointwise::table_words;
use crate::draft::{Constants, Draft};
use crate::kernels::{
    CONCAT_LEVELS, CONCAT_WORDS, NEAREST_LEVELS, NEAREST_WORDS, PAD_LEVELS, PAD_WORDS, Params,
    RESIZE_F32, RESIZE_Q8, Shader, TRANSPOSE_LEVELS, TRANSPOSE_WORDS,
};

impl<'l> Lowering<'_, 'l> {
    /// A dispatch for each part that is not there yet.
    pub(super) fn concatenation(
        &self,
        parts: &[ConcatPart],
    ) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let out = self.word_of(self.node.output)?;
        let stride: usize = parts.iter().map(|part| part.row).sum();
        let len = self.to().len_bytes();
        let is_words = parts.iter().all(|part| part.row.is_multiple_of(4));
        let mut drafts = Vec::new();
        let mut at = 0;
        for (part, &input) in parts.iter().zip(&self.node.inputs) {
            let place = at;
            at += part.row;
            if part.is_there {
                continue;
            }
            let input = self.word_of(input)?;
            let function = usize::from(part.table.is_some());
            let constants =
                part.table.as_ref().map_or(Constants::None, |t| Constants::Ready(table_words(t)));
            drafts.push(if is_words {
                let (row, stride) = (part.row / 4, stride / 4);
                let count = len / 4 / stride * row;
                let params =
                    Params::new().counts([input, out + place / 4, count, row, stride, function]);
                Draft::linear("concat", CONCAT_WORDS, count, params, constants)
            } else {
                let params =
                    Params::new().counts([input, out, len, part.row, stride, function, place]);
                Draft::linear("concat", CONCAT_LEVELS, len.div_ceil(4), params, constants)
            });
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
        let [out1, out2, out3] = [1, 2, 3].map(|axis| dims[order[axis]]);
        let params = self
            .moved_params(0)?
            .counts([out1, out2, out3])
            .counts(order.map(|axis| strides[axis]));
        Ok(self.moved("transpose", [TRANSPOSE_WORDS, TRANSPOSE_LEVELS], params, Constants::None))
    }

    pub(super) fn padded(&self, padding: &Padding) -> Result<Draft<'l>, RuntimeError> {
        let size = self.to().dtype.size_bytes();
        let [height, row] = padding.input;
        let [top, left, bottom, right] = padding.border;
        let params = self
            .moved_params(padding.level)?
            .counts([height, row / size, top + height + bottom, (left + row + right) / size])
            .counts([top, left / size]);
        Ok(self.moved("pad", [PAD_WORDS, PAD_LEVELS], params, Constants::None))
    }

    pub(super) fn resized(
        &self,
        plan: &ResizePlan,
        dtype: DType,
    ) -> Result<Draft<'l>, RuntimeError> {
        let [ih, iw, c] = plan.input;
        let params = self.moved_params(0)?.counts([ih, iw, c, plan.rows.len(), plan.columns.len()]);
        let words = |neighbours: &Neighbours| {
            let Neighbours { low, high, weight, weight_q12 } = *neighbours;
            [low, high, weight.to_bits(), weight_q12]
        };
        let axes = plan.rows.iter().chain(&plan.columns);
        let constants = Constants::Ready(axes.flat_map(words).collect());
        let count = self.to().shape.len();
        Ok(match (plan.mode, dtype) {
            (ResizeMode::Nearest, _) => {
                let shaders = [NEAREST_WORDS, NEAREST_LEVELS];
                self.moved("resize-nearest", shaders, params, constants)
            }
            (ResizeMode::Linear, DType::F32) => {
                Draft::linear("resize_f32_f32_1x1__wgsl", RESIZE_F32, count, params, constants)
            }
            (ResizeMode::Linear, _) => {
                let (name, jobs) = ("resize_qu8_qu8_1x4__wgsl", count.div_ceil(4));
                Draft::linear(name, RESIZE_Q8, jobs, params, constants)
            }
        })
    }

    /// Places, elements of the result, and what is at its border.
    fn moved_params(&self, border: u8) -> Result<Params, RuntimeError> {
        let [input, out] = self.ends()?;
        Ok(Params::new().counts([input, out, self.to().shape.len(), usize::from(border)]))
    }

    /// A kernel that moves words, or levels, whichever the elements are.
    fn moved(
        &self,
        name: &'static str,
        [words, levels]: [Shader; 2],
        params: Params,
        constants: Constants<'l>,
    ) -> Draft<'l> {
        let to = self.to();
        if to.dtype.size_bytes() == 4 {
            return Draft::linear(name, words, to.shape.len(), params, constants);
        }
        Draft::linear(name, levels, to.shape.len().div_ceil(4), params, constants)
    }
}
