//! Layers with weights: which form they take, how much memory that needs, their output stage.

use alloc::vec::Vec;

use super::super::check::invalid;
use super::super::forms::{self, Form};
use super::super::weights;
use super::super::work::Stage;
use super::pointwise::levels;
use super::{Lowering, Need};
use crate::model::EncodedTensor;
use crate::op::{Activation, Conv2d, Op};
use crate::plan::ALIGNMENT;
use crate::quant::{Quant, Requant};
use crate::runtime::RuntimeError;
use crate::tensor::DType;

/// Bytes that a block of im2col rows may take before it leaves the first cache.
const BLOCK_BYTES: usize = 32 * 1024;
/// Rows a block has at least, so that the weights are not read again for every few rows; whole tiles of 2, 3, 4, 6, 8.
const BLOCK_ROWS: usize = 24;

impl<'m> Lowering<'m, '_> {
    /// What the packed `weight` and the rows of its convolution take; `None` if it cannot be counted.
    pub(super) fn layer_need(&self, weight: &EncodedTensor<'_>) -> Option<Need> {
        let quantized = self.quantized();
        let tile = if quantized { self.kernels.tile_q8() } else { self.kernels.tile_f32() };
        let size = if quantized { 1 } else { 4 };
        let n = weight.shape.dim(0);
        match &self.node.op {
            Op::Conv2d(conv) if self.is_depthwise(conv) => {
                let weight_bytes = weight.shape.len().checked_mul(size)?;
                let weight_bytes = weight_bytes.checked_add(n.checked_mul(4)?)?;
                Some(Need { weight_bytes, scratch_bytes: 0 })
            }
            Op::Conv2d(conv) => {
                let groups = conv.groups as usize;
                let k = weight.shape.len() / n;
                let group = forms::form_bytes(Form::Dense, n / groups, k, quantized, tile)?;
                let row = k.checked_mul(size)?;
                let scratch = self.block_rows(conv, row).checked_mul(row)?;
                let scratch = scratch.checked_next_multiple_of(ALIGNMENT)?;
                let scratch_bytes = scratch.checked_mul(self.parallel.threads())?;
                let mut need = Need { weight_bytes: group.checked_mul(groups)?, scratch_bytes };
                // Weights that do not suit a way run as GEMM after all.
                for way in self.likely_ways(&self.problem(conv, weight)) {
                    need.weight_bytes = need.weight_bytes.max(way.weight_bytes);
                    let scratch_bytes = way.scratch_bytes.checked_next_multiple_of(ALIGNMENT)?;
                    need.scratch_bytes = need.scratch_bytes.max(scratch_bytes);
                }
                Some(need)
            }
            _ => self.dense_need(weight),
        }
    }

    /// Elements from one row of the result to the next: its channels, or those of the concatenation that it lies in.
    pub(super) fn out_stride(&self) -> usize {
        let to = self.to();
        match self.plan.row_bytes[self.node.output] {
            Some(bytes) => bytes / to.dtype.size_bytes(),
            None => to.shape.dim(to.shape.rank() - 1),
        }
    }

    /// Scale of the input and output stage of a layer that computes in integers; `None` for one in floats.
    pub(super) fn integer_stage(
        &self,
        weight: &EncodedTensor<'_>,
        n: usize,
        activation: Activation,
    ) -> Result<Option<(Quant, Stage)>, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        let (from_quant, to_quant) = match (from.dtype, from.quant, to.dtype, to.quant) {
            (DType::F32, _, DType::F32, _) => return Ok(None),
            (DType::U8, Some(from), DType::U8 | DType::I32, Some(to)) => (from, to),
            _ => return Err(self.unsupported("it turns f32 into f32, and u8 into u8 or i32")),
        };
        let scales = weights::channel_scales(weight, n)
            .ok_or_else(|| invalid(&self.node.name, "its weight lacks scales"))?;
        if to.dtype == DType::I32 {
            if scales.windows(2).any(|pair| pair[0].to_bits() != pair[1].to_bits()) {
                return Err(self
                    .unsupported("accumulators of channels with different scales do not compare"));
            }
            let relu = match activation {
                Activation::None => false,
                Activation::Relu => true,
                Activation::Relu6 => {
                    return Err(self.unsupported("accumulators have no relu6"));
                }
            };
            return Ok(Some((from_quant, Stage::Accumulators { relu })));
        }
        let step = |scale: &f32| {
            f64::from(from_quant.scale) * f64::from(*scale) / f64::from(to_quant.scale)
        };
        let ratios: Vec<f64> = scales.iter().map(step).collect();
        let requant = Requant::new(&ratios, to_quant, levels(to_quant, activation))
            .ok_or_else(|| self.unsupported("a ratio of its scales is out of range"))?;
        Ok(Some((from_quant, Stage::Levels(requant))))
    }

    pub(super) fn bias_f32(&self) -> Result<Vec<f32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_f32().map_err(|source| self.undecodable(source))
    }

    pub(super) fn bias_i32(&self) -> Result<Vec<i32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_i32().map_err(|source| self.undecodable(source))
    }

    /// Output positions a block of im2col rows of `row_bytes`; zero where the input can be read as it is.
    pub(super) fn block_rows(&self, conv: &Conv2d, row_bytes: usize) -> usize {
        let window = &conv.window;
        if window.kernel == [1, 1] && window.stride == [1, 1] && window.pads == [0; 4] {
            return 0;
        }
        let pixels = self.to().shape.dim(1) * self.to().shape.dim(2);
        let rows = BLOCK_BYTES / row_bytes.max(1) / BLOCK_ROWS * BLOCK_ROWS;
        rows.max(BLOCK_ROWS).min(pixels)
    }
}
