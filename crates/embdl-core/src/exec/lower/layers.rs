//! Layers with weights: which form they take, how much memory that needs.

use super::super::forms::{self, Form};
use super::{Lowering, Need};
use crate::model::EncodedTensor;
use crate::op::{Conv2d, Op};
use crate::plan::ALIGNMENT;

/// Bytes that a block of im2col rows may take before it leaves the first cache.
const BLOCK_BYTES: usize = 32 * 1024;
/// Rows a block has at least, so that the weights are not read again for every few rows; whole tiles of 2, 3, 4, 6, 8.
const BLOCK_ROWS: usize = 24;

impl Lowering<'_, '_> {
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
