//! From a model to a session: checks, plans, counts memory, then turns each node into its work.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::check::{check, invalid};
use super::memory::Arena;
use super::session::{CpuSession, Step, unmeasured};
use super::weights::{self, Form};
use super::work::{Conv, Stage, Work};
use crate::encoding::EncodingError;
use crate::kernels::pool::AverageRequant;
use crate::kernels::{Kernels, WindowGeometry};
use crate::model::{EncodedTensor, Model, Node};
use crate::op::{Activation, Concat, Conv2d, Op, Pool, PoolKind};
use crate::plan::{ALIGNMENT, Plan};
use crate::quant::{AddRequant, Quant, Requant, rescale_table};
use crate::runtime::{LoadOptions, Profile, RuntimeError, TensorSpec};
use crate::tensor::{DType, ValueType};

/// Bytes that a block of im2col rows may take before it leaves the first cache.
const BLOCK_BYTES: usize = 32 * 1024;
/// Rows a block has at least, so that the weights are not read again for every few rows; whole tiles of 2, 3, 4, 6, 8.
const BLOCK_ROWS: usize = 24;

pub(super) fn load(
    model: &Model<'_>,
    options: &LoadOptions,
    kernels: Arc<dyn Kernels>,
) -> Result<CpuSession, RuntimeError> {
    let too_large = |needed| RuntimeError::TooLarge { needed, allowed: options.max_memory_bytes };
    let types = check(model, options.batch)?;
    let plan = Plan::new(model, &types).ok_or_else(|| too_large(usize::MAX))?;
    let nodes: Vec<Lowering<'_, '_>> = model
        .nodes
        .iter()
        .map(|node| Lowering { model, node, types: &types, kernels: &*kernels, options })
        .collect();

    let mut needed = plan.arena_bytes;
    let mut scratch_bytes = 0;
    for node in &nodes {
        let need = node.need().ok_or_else(|| too_large(usize::MAX))?;
        needed = needed.checked_add(need.weight_bytes).ok_or_else(|| too_large(usize::MAX))?;
        scratch_bytes = scratch_bytes.max(need.scratch_bytes);
    }
    needed = needed.checked_add(scratch_bytes).ok_or_else(|| too_large(usize::MAX))?;
    if needed > options.max_memory_bytes {
        return Err(too_large(needed));
    }

    let place = |value: usize, at: &str| {
        plan.places[value].clone().ok_or_else(|| invalid(at, "a value is read but never written"))
    };
    let mut steps = Vec::with_capacity(nodes.len());
    let mut profile = Profile { nodes: Vec::with_capacity(nodes.len()) };
    for (lowering, &in_place) in nodes.iter().zip(&plan.in_place) {
        let node = lowering.node;
        let work = lowering.work()?;
        profile.nodes.push(unmeasured(
            node.name.clone(),
            node.op.name(),
            work.kernel_name(&*kernels),
            node.op.macs(lowering.to().shape, lowering.weight().map(|weight| weight.shape)),
            lowering.bytes_moved(&work),
        ));
        let inputs = node.inputs.iter().map(|&input| place(input, &node.name));
        let output = place(node.output, &node.name)?;
        steps.push(Step { work, inputs: inputs.collect::<Result<_, _>>()?, output, in_place });
    }
    let spec =
        |&value: &usize| TensorSpec { name: model.values[value].name.clone(), kind: types[value] };
    let output_places = model.outputs.iter().map(|&output| place(output, &model.name));
    Ok(CpuSession {
        arena: Arena::new(plan.arena_bytes),
        scratch: Arena::new(scratch_bytes),
        inputs: model.inputs.iter().map(spec).collect(),
        outputs: model.outputs.iter().map(spec).collect(),
        output_places: output_places.collect::<Result<_, _>>()?,
        clock: options.clock,
        profile: options.clock.map(|_| profile),
        weight_bytes: steps.iter().map(|step| step.work.weight_bytes()).sum(),
        steps,
        kernels,
    })
}

/// Memory that a node needs beside its values.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    weight_bytes: usize,
    scratch_bytes: usize,
}

/// A node on its way to becoming work.
#[derive(Clone, Copy)]
struct Lowering<'m, 'l> {
    model: &'l Model<'m>,
    node: &'l Node,
    types: &'l [ValueType],
    kernels: &'l dyn Kernels,
    options: &'l LoadOptions,
}

impl<'m> Lowering<'m, '_> {
    fn from(&self) -> ValueType {
        self.types[self.node.inputs[0]]
    }

    fn to(&self) -> ValueType {
        self.types[self.node.output]
    }

    fn quantized(&self) -> bool {
        self.from().dtype == DType::U8
    }

    fn weight(&self) -> Option<&EncodedTensor<'m>> {
        self.node.weight.map(|id| &self.model.tensors[id])
    }

    fn need(&self) -> Option<Need> {
        let Some(weight) = self.weight() else { return Some(Need::default()) };
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
                Some(Need { weight_bytes: group.checked_mul(groups)?, scratch_bytes })
            }
            _ => {
                let form = self.form(weight);
                let k = weight.shape.dim(1);
                let weight_bytes = weights::form_bytes(form, n, k, quantized, tile)?;
                Some(Need { weight_bytes, scratch_bytes: 0 })
            }
        }
    }

    /// Bytes of activations and weights that a run reads and writes.
    fn bytes_moved(&self, work: &Work) -> u64 {
        if matches!(work, Work::Alias) {
            return 0;
        }
        let values = self.node.inputs.iter().chain([&self.node.output]);
        let activations: usize = values
            .map(|&value| self.types[value].shape.len() * self.types[value].dtype.size_bytes())
            .sum();
        (activations + work.weight_bytes()) as u64
    }

    fn work(&self) -> Result<Work, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        match &self.node.op {
            Op::Conv2d(conv) => self.convolution(conv),
            Op::Dense(_) => self.dense(),
            Op::Pool(pool) => {
                let geometry = WindowGeometry::new(&pool.window, from.shape, to.shape);
                self.pool(pool, geometry)
            }
            Op::GlobalAveragePool => self.average_pool(self.whole_sample(), false),
            Op::Activation(activation) => self.activation(*activation),
            Op::Flatten | Op::Reshape(_) => self.activation(Activation::None),
            Op::Add(activation) => self.add(*activation),
            Op::Concat(concat) => self.concat(*concat),
            Op::Lrn(lrn) => {
                self.need_floats()?;
                Ok(Work::Lrn(*lrn, from.shape.dim(3)))
            }
            Op::BatchNorm(_) => Err(self.unsupported("it is for training")),
            Op::Softmax => {
                self.need_floats()?;
                Ok(Work::Softmax(from.shape.dim(from.shape.rank() - 1)))
            }
            Op::Quantize => match (from.dtype, to.dtype, to.quant) {
                (DType::F32, DType::U8, Some(quant)) => Ok(Work::Quantize(quant)),
                _ => Err(self.unsupported("it turns f32 into u8 only")),
            },
            Op::Dequantize => match (from.dtype, from.quant, to.dtype) {
                (DType::U8, Some(quant), DType::F32) => Ok(Work::DequantizeU8(quant)),
                (DType::I32, Some(quant), DType::F32) => Ok(Work::DequantizeI32(quant.scale)),
                _ => Err(self.unsupported("it turns u8 or i32 into f32 only")),
            },
        }
    }

    fn convolution(&self, conv: &Conv2d) -> Result<Work, RuntimeError> {
        let (weight, from, to) = (self.needed_weight()?, self.from(), self.to());
        let geometry = WindowGeometry::new(&conv.window, from.shape, to.shape);
        let n = weight.shape.dim(0);
        let (groups, k) = (conv.groups as usize, weight.shape.len() / n);
        let width = n / groups;
        let rows = |group: usize| group * width..(group + 1) * width;
        if let Some((quant, stage)) = self.integer_stage(weight, n, conv.activation)? {
            let values = weight.decode_i8().map_err(|source| self.undecodable(source))?;
            let bias = self.bias_i32()?;
            let zero_point = quant.zero_point;
            if self.is_depthwise(conv) {
                let weights = taps_first(&values, n);
                let bias = if bias.is_empty() { alloc::vec![0; n] } else { bias };
                return Ok(Work::DepthwiseQ8 { geometry, weights, bias, zero_point, stage });
            }
            let tile = self.kernels.tile_q8();
            let pack = |group| {
                let packed = weights::pack_q8(&values, &bias, rows(group), k, zero_point, tile);
                (packed, stage.of_channels(rows(group)))
            };
            let block = self.block_rows(conv, k);
            let groups = (0..groups).map(pack).collect();
            let conv = Conv { geometry, out_channels: n, groups, block };
            return Ok(Work::ConvQ8 { conv, zero_point });
        }
        let values = weight.dequantize().map_err(|source| self.undecodable(source))?;
        let bias = self.bias_f32()?;
        let clamp = conv.activation.bounds();
        if self.is_depthwise(conv) {
            let weights = taps_first(&values, n);
            let bias = if bias.is_empty() { alloc::vec![0.0; n] } else { bias };
            return Ok(Work::DepthwiseF32 { geometry, weights, bias, clamp });
        }
        let tile = self.kernels.tile_f32();
        let pack = |group| weights::pack_f32(&values, &bias, rows(group), k, tile);
        let block = self.block_rows(conv, k * 4);
        let groups = (0..groups).map(pack).collect();
        Ok(Work::ConvF32(Conv { geometry, out_channels: n, groups, block }, clamp))
    }

    fn dense(&self) -> Result<Work, RuntimeError> {
        let weight = self.needed_weight()?;
        let [n, k] = [weight.shape.dim(0), weight.shape.dim(1)];
        let m = self.from().shape.dim(0);
        let activation = self.node.op.activation();
        let failed = |source| self.undecodable(source);
        let form = self.form(weight);
        if let Some((quant, stage)) = self.integer_stage(weight, n, activation)? {
            let bias = self.bias_i32()?;
            let zero_point = quant.zero_point;
            return match form {
                Form::Dense => {
                    let values = weight.decode_i8().map_err(failed)?;
                    let tile = self.kernels.tile_q8();
                    let packed = weights::pack_q8(&values, &bias, 0..n, k, zero_point, tile);
                    Ok(Work::DenseQ8(m, packed, stage))
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
        let values = weight.dequantize().map_err(failed)?;
        let packed = weights::pack_f32(&values, &bias, 0..n, k, self.kernels.tile_f32());
        Ok(Work::DenseF32(m, packed, clamp))
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

    fn pool(&self, pool: &Pool, geometry: WindowGeometry) -> Result<Work, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        match (pool.kind, from.dtype, to.dtype) {
            (PoolKind::Average { include_pads }, _, _) => self.average_pool(geometry, include_pads),
            (PoolKind::Max, DType::F32, DType::F32) => Ok(Work::MaxPoolF32(geometry)),
            (PoolKind::Max, DType::U8, DType::U8) => {
                Ok(Work::MaxPoolU8(geometry, self.table(from, to, Activation::None)?))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    fn average_pool(
        &self,
        geometry: WindowGeometry,
        include_pads: bool,
    ) -> Result<Work, RuntimeError> {
        match (self.from().dtype, self.from().quant, self.to().dtype, self.to().quant) {
            (DType::F32, _, DType::F32, _) => Ok(Work::AveragePoolF32(geometry, include_pads)),
            (DType::U8, Some(from), DType::U8, Some(to)) => {
                let average = AverageRequant::new(&geometry, include_pads, from, to)
                    .ok_or_else(|| self.unsupported("the ratio of its scales is out of range"))?;
                Ok(Work::AveragePoolU8(geometry, average))
            }
            _ => Err(self.unsupported("it computes on f32 and on u8 only")),
        }
    }

    /// The window of global pooling.
    fn whole_sample(&self) -> WindowGeometry {
        let shape = self.from().shape;
        WindowGeometry {
            input: [shape.dim(1), shape.dim(2), shape.dim(3)],
            output: [1, 1],
            kernel: [shape.dim(1), shape.dim(2)],
            stride: [1, 1],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 0],
        }
    }

    fn activation(&self, activation: Activation) -> Result<Work, RuntimeError> {
        let (from, to) = (self.from(), self.to());
        let same = from.dtype == to.dtype && from.quant == to.quant;
        match (from.dtype, activation) {
            (_, Activation::None) if same => Ok(Work::Alias),
            (DType::F32, _) if same => Ok(Work::ClampF32(activation.bounds())),
            (DType::I32, Activation::Relu) if same => Ok(Work::ReluI32),
            (DType::U8, _) if to.dtype == DType::U8 => {
                match (self.table(from, to, activation)?, to.quant) {
                    (None, Some(quant)) => Ok(Work::ClampU8(levels(quant, activation))),
                    (Some(table), _) => Ok(Work::MapU8(table)),
                    (None, None) => Err(invalid(&self.node.name, "its result has no scale")),
                }
            }
            _ => Err(self.unsupported("it does not compute on these element types")),
        }
    }

    fn add(&self, activation: Activation) -> Result<Work, RuntimeError> {
        let [lhs, rhs] = [self.from(), self.types[self.node.inputs[1]]];
        let to = self.to();
        match [lhs.dtype, rhs.dtype, to.dtype] {
            [DType::F32, DType::F32, DType::F32] => Ok(Work::AddF32(activation.bounds())),
            [DType::U8, DType::U8, DType::U8] => {
                let (Some(lhs), Some(rhs), Some(to)) = (lhs.quant, rhs.quant, to.quant) else {
                    return Err(invalid(&self.node.name, "a quantized value has no scale"));
                };
                let requant = AddRequant::new(lhs, rhs, to, levels(to, activation))
                    .ok_or_else(|| self.unsupported("a ratio of its scales is out of range"))?;
                Ok(Work::AddU8(requant))
            }
            _ => Err(self.unsupported("it adds f32 to f32, and u8 to u8")),
        }
    }

    fn concat(&self, concat: Concat) -> Result<Work, RuntimeError> {
        let to = self.to();
        let part = |&input: &usize| {
            let from = self.types[input];
            let elements: usize = from.shape.iter().skip(concat.axis as usize).product();
            if from.dtype != to.dtype || (to.dtype == DType::I32 && from.quant != to.quant) {
                return Err(self.unsupported("its inputs are not of the result's element type"));
            }
            let table = match to.dtype {
                DType::U8 => self.table(from, to, Activation::None)?,
                _ => None,
            };
            Ok((elements * to.dtype.size_bytes(), table))
        };
        Ok(Work::Concat(self.node.inputs.iter().map(part).collect::<Result<_, _>>()?))
    }

    /// The table from the levels of one value to those of another; `None` where they are the same levels.
    fn table(
        &self,
        from: ValueType,
        to: ValueType,
        activation: Activation,
    ) -> Result<Option<Box<[u8; 256]>>, RuntimeError> {
        if from.quant == to.quant {
            return Ok(None);
        }
        let (Some(from), Some(to)) = (from.quant, to.quant) else {
            return Err(invalid(&self.node.name, "a quantized value has no scale"));
        };
        let table = rescale_table(from, to, levels(to, activation))
            .ok_or_else(|| self.unsupported("the ratio of its scales is out of range"))?;
        Ok(Some(Box::new(table)))
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

    fn need_floats(&self) -> Result<(), RuntimeError> {
        if [self.from().dtype, self.to().dtype] == [DType::F32; 2] {
            Ok(())
        } else {
            Err(self.unsupported("it computes on f32 only"))
        }
    }

    fn needed_weight(&self) -> Result<&EncodedTensor<'m>, RuntimeError> {
        self.weight().ok_or_else(|| invalid(&self.node.name, "it has no weight"))
    }

    fn unsupported(&self, reason: &'static str) -> RuntimeError {
        let node: String = self.node.name.clone();
        RuntimeError::Unsupported { node, op: self.node.op.name(), reason }
    }

    fn undecodable(&self, source: EncodingError) -> RuntimeError {
        RuntimeError::Weight { node: self.node.name.clone(), source }
    }
}

fn levels(quant: Quant, activation: Activation) -> (u8, u8) {
    let (low, high) = activation.bounds();
    quant.clamp_levels(low, high)
}

/// `[c, taps]` to `[taps, c]`.
fn taps_first<T: Copy>(weights: &[T], channels: usize) -> Vec<T> {
    let taps = weights.len() / channels;
    (0..weights.len()).map(|at| weights[at % channels * taps + at / channels]).collect()
}
