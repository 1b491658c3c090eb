//! Layers with weights: which form they take, how much memory that needs, their output stage.

use alloc::vec::Vec;

use super::super::check::invalid;
use super::super::weights::{self, Form};
use super::super::work::{Conv, OwnConv, Stage, Work};
use super::pointwise::levels;
use super::{Lowering, Need};
use crate::kernels::conv::cheapest;
use crate::kernels::{ConvProblem, ConvWay, ConvWeights, WindowGeometry};
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
                let group = weights::form_bytes(Form::Dense, n / groups, k, quantized, tile)?;
                let row = k.checked_mul(size)?;
                let scratch = self.block_rows(conv, row).checked_mul(row)?;
                let scratch_bytes = scratch.checked_next_multiple_of(ALIGNMENT)?;
                let mut need = Need { weight_bytes: group.checked_mul(groups)?, scratch_bytes };
                // Weights that do not suit the way run as GEMM after all.
                if let Some(way) = self.own_way(&self.problem(conv, weight)) {
                    need.weight_bytes = need.weight_bytes.max(way.weight_bytes);
                    let scratch_bytes = way.scratch_bytes.checked_next_multiple_of(ALIGNMENT)?;
                    need.scratch_bytes = need.scratch_bytes.max(scratch_bytes);
                }
                Some(need)
            }
            _ => {
                let form = self.form(weight);
                let k = weight.shape.dim(1);
                let weight_bytes = weights::form_bytes(form, n, k, quantized, tile)?;
                Some(Need { weight_bytes, scratch_bytes: 0 })
            }
        }
    }

    pub(super) fn convolution(&self, conv: &Conv2d) -> Result<Work, RuntimeError> {
        let (weight, from, to) = (self.needed_weight()?, self.from(), self.to());
        let geometry = WindowGeometry::new(&conv.window, from.shape, to.shape);
        let n = weight.shape.dim(0);
        let (groups, k) = (conv.groups as usize, weight.shape.len() / n);
        let failed = |source| self.undecodable(source);
        if let Some((quant, stage)) = self.integer_stage(weight, n, conv.activation)? {
            let bias = self.bias_i32()?;
            let zero_point = quant.zero_point;
            if self.is_depthwise(conv) {
                let weights = taps_first(&weight.decode_i8().map_err(failed)?, n);
                let bias = if bias.is_empty() { alloc::vec![0; n] } else { bias };
                return Ok(Work::DepthwiseQ8 { geometry, weights, bias, zero_point, stage });
            }
            let problem = self.problem(conv, weight);
            if let Some(way) = self.own_way(&problem) {
                let decoded = weight.decode_i8().map_err(failed)?;
                let weights = ConvWeights { weights: &decoded, bias: &bias };
                if let Some(packed) = self.kernels.conv_q8(way.name, &problem, weights, zero_point)
                {
                    return Ok(Work::OwnConvQ8(own(&problem, &way, packed), stage));
                }
            }
            let packed = weights::pack_q8(weight, &bias, groups, zero_point, self.kernels)
                .map_err(failed)?;
            let width = n / groups;
            let stages = (0..groups).map(|g| stage.of_channels(g * width..(g + 1) * width));
            let block = self.block_rows(conv, k);
            let groups = packed.into_iter().zip(stages).collect();
            let conv = Conv { geometry, out_stride: self.out_stride(), groups, block };
            return Ok(Work::ConvQ8 { conv, zero_point });
        }
        let bias = self.bias_f32()?;
        let clamp = conv.activation.bounds();
        if self.is_depthwise(conv) {
            let weights = taps_first(&weight.dequantize().map_err(failed)?, n);
            let bias = if bias.is_empty() { alloc::vec![0.0; n] } else { bias };
            return Ok(Work::DepthwiseF32 { geometry, weights, bias, clamp });
        }
        let problem = self.problem(conv, weight);
        if let Some(way) = self.own_way(&problem) {
            let decoded = weight.dequantize().map_err(failed)?;
            let weights = ConvWeights { weights: &decoded, bias: &bias };
            if let Some(packed) = self.kernels.conv_f32(way.name, &problem, weights, clamp) {
                return Ok(Work::OwnConvF32(own(&problem, &way, packed)));
            }
        }
        let groups = weights::pack_f32(weight, &bias, groups, self.kernels).map_err(failed)?;
        let block = self.block_rows(conv, k * 4);
        Ok(Work::ConvF32(Conv { geometry, out_stride: self.out_stride(), groups, block }, clamp))
    }

    /// What the runtime is asked for a way of its own for.
    fn problem(&self, conv: &Conv2d, weight: &EncodedTensor<'_>) -> ConvProblem {
        ConvProblem {
            geometry: WindowGeometry::new(&conv.window, self.from().shape, self.to().shape),
            groups: conv.groups as usize,
            n: weight.shape.dim(0),
            out_stride: self.out_stride(),
            density: weights::density(weight),
            threads: self.parallel.threads(),
        }
    }

    /// The runtime's own way for a convolution, where it is expected to be faster than GEMM.
    fn own_way(&self, problem: &ConvProblem) -> Option<ConvWay> {
        let ways = if self.quantized() {
            self.kernels.conv_q8_ways(problem)
        } else {
            self.kernels.conv_f32_ways(problem)
        };
        cheapest(ways, problem)
    }

    /// Elements from one row of the result to the next: its channels, or those of the concatenation that it lies in.
    fn out_stride(&self) -> usize {
        let to = self.to();
        match self.plan.row_bytes[self.node.output] {
            Some(bytes) => bytes / to.dtype.size_bytes(),
            None => to.shape.dim(to.shape.rank() - 1),
        }
    }

    pub(super) fn dense(&self) -> Result<Work, RuntimeError> {
        let weight = self.needed_weight()?;
        let n = weight.shape.dim(0);
        let m = self.from().shape.dim(0);
        let activation = self.node.op.activation();
        let failed = |source| self.undecodable(source);
        let form = self.form(weight);
        if let Some((quant, stage)) = self.integer_stage(weight, n, activation)? {
            let bias = self.bias_i32()?;
            let zero_point = quant.zero_point;
            return match form {
                Form::Dense => {
                    let packed = weights::pack_q8(weight, &bias, 1, zero_point, self.kernels)
                        .map_err(failed)?;
                    Ok(Work::DenseQ8(m, only(packed), stage))
                }
                Form::Sparse { .. } => {
                    let rows = weights::sparse_q8(weight, &bias, zero_point).map_err(failed)?;
                    Ok(Work::SparseQ8(m, rows, stage))
                }
                Form::Codebook => {
                    let rows = weights::codebook_q8(weight, &bias, zero_point).map_err(failed)?;
                    Ok(Work::CodebookQ8(m, rows, stage))
                }
            };
        }
        let bias = self.bias_f32()?;
        let clamp = activation.bounds();
        if let Form::Sparse { .. } = form {
            let rows = weights::sparse_f32(weight, &bias).map_err(failed)?;
            return Ok(Work::SparseF32(m, rows, clamp));
        }
        let packed = weights::pack_f32(weight, &bias, 1, self.kernels).map_err(failed)?;
        Ok(Work::DenseF32(m, only(packed), clamp))
    }

    fn form(&self, weight: &EncodedTensor<'_>) -> Form {
        weights::choose_form(weight, self.quantized(), self.options.weights, self.kernels)
    }

    /// Scale of the input and output stage of a layer that computes in integers; `None` for one in floats.
    fn integer_stage(
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

    fn bias_f32(&self) -> Result<Vec<f32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_f32().map_err(|source| self.undecodable(source))
    }

    fn bias_i32(&self) -> Result<Vec<i32>, RuntimeError> {
        let Some(id) = self.node.bias else { return Ok(Vec::new()) };
        self.model.tensors[id].decode_i32().map_err(|source| self.undecodable(source))
    }

    /// Whether the depthwise kernels take the node: one filter a channel.
    fn is_depthwise(&self, conv: &Conv2d) -> bool {
        let channels = self.from().shape.dim(3);
        conv.is_depthwise(channels) && self.to().shape.dim(3) == channels
    }

    /// Output positions a block of im2col rows of `row_bytes`; zero where the input can be read as it is.
    fn block_rows(&self, conv: &Conv2d, row_bytes: usize) -> usize {
        let window = &conv.window;
        if window.kernel == [1, 1] && window.stride == [1, 1] && window.pads == [0; 4] {
            return 0;
        }
        let pixels = self.to().shape.dim(1) * self.to().shape.dim(2);
        let rows = BLOCK_BYTES / row_bytes.max(1) / BLOCK_ROWS * BLOCK_ROWS;
        rows.max(BLOCK_ROWS).min(pixels)
    }
}

/// A convolution that the runtime packed for `way`.
const fn own<C>(problem: &ConvProblem, way: &ConvWay, packed: C) -> OwnConv<C> {
    let ConvProblem { geometry, out_stride, .. } = *problem;
    OwnConv { geometry, out_stride, name: way.name, packed }
}

/// The weights of a layer without groups.
fn only<T>(mut groups: Vec<T>) -> T {
    groups.pop().expect("one group was packed")
}

/// `[c, taps]` to `[taps, c]`.
fn taps_first<T: Copy>(weights: &[T], channels: usize) -> Vec<T> {
    let taps = weights.len() / channels;
    (0..weights.len()).map(|at| weights[at % channels * taps + at / channels]).collect()
}
