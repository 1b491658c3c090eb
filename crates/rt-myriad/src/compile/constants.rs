//! Weights and biases as 16-bit floats, in the layout of the stage that takes them.

use embdl_core::model::{EncodedTensor, Node, Scales, TensorId};

use super::CompileError;
use super::builder::{Builder, Tensor, small};
use crate::blob::{Desc, ElementType, Order, WeightLayout};
use crate::half;

/// Weights decode in blocks of so many.
const BLOCK: usize = 4096;

/// Which part of a weight `[k][t][c]` to take, and where to put it.
pub(super) struct Weights {
    /// Taps, input channels, output channels of the part.
    pub(super) dims: [usize; 3],
    /// First output channel of the part.
    pub(super) first: usize,
    /// Layout of the result.
    pub(super) layout: WeightLayout,
}

/// A part of the weight of a layer as a constant.
pub(super) fn weights(
    builder: &mut Builder<'_>,
    node: &Node,
    part: &Weights,
) -> Result<Tensor, CompileError> {
    let [taps, ci, co] = part.dims;
    let desc = Desc::compact(ElementType::F16, Order::CHW, &part.dims.map(small));
    let desc = desc.ok_or(CompileError::TooLarge {
        what: "a weight",
        needed: usize::MAX,
        allowed: super::MAX_GRAPH_BYTES,
    })?;
    let tensor = tensor_of(builder, node.weight);
    let mut beyond = None;
    let mut result = Ok(());
    let row = taps * ci;
    let constant = builder.constant(desc, |bytes| {
        result = tensor.dequantize_blocks(BLOCK, |at, values| {
            for (index, &value) in (at..).zip(values) {
                let k = index / row;
                if k < part.first || k >= part.first + co {
                    continue;
                }
                let place = [index % row / ci, index % ci, k - part.first];
                let to = 2 * part.layout.at(place, part.dims);
                check(value, &mut beyond);
                bytes[to..to + 2].copy_from_slice(&half::from_f32(value).to_le_bytes());
            }
        });
    });
    finished(node, result, beyond)?;
    Ok(constant)
}

/// `count` elements from `first` on of the bias of a layer, or of another vector, as a constant.
pub(super) fn vector(
    builder: &mut Builder<'_>,
    node: &Node,
    id: TensorId,
    [first, count]: [usize; 2],
) -> Result<Tensor, CompileError> {
    let tensor = tensor_of(builder, Some(id));
    let values = match bias_scales(builder, node, id) {
        None => tensor.dequantize(),
        Some(scales) => tensor.decode_i32().map(|values| {
            let of = |at: usize| if scales.len() == 1 { scales[0] } else { scales[at] };
            #[expect(clippy::cast_possible_truncation, reason = "stored as a float")]
            values.iter().enumerate().map(|(at, &x)| (f64::from(x) * of(at)) as f32).collect()
        }),
    };
    let values = values.map_err(|source| error(node, source))?;
    let mut beyond = None;
    let desc = Desc::compact(ElementType::F16, Order::C, &[small(count)]).expect("a vector");
    let constant = builder.constant(desc, |bytes| {
        for (slot, &value) in bytes.chunks_exact_mut(2).zip(&values[first..first + count]) {
            check(value, &mut beyond);
            slot.copy_from_slice(&half::from_f32(value).to_le_bytes());
        }
    });
    finished(node, Ok(()), beyond)?;
    Ok(constant)
}

/// Real value of a step of each element of an integer bias; `None` for floats.
fn bias_scales(builder: &Builder<'_>, node: &Node, id: TensorId) -> Option<Vec<f64>> {
    let input = builder.model.values[node.inputs[0]].kind.quant?;
    let weight = &builder.model.tensors[node.weight.filter(|_| node.bias == Some(id))?];
    let scale = |of: &f32| f64::from(input.scale) * f64::from(*of);
    match &weight.scales {
        Scales::None => None,
        Scales::PerTensor(of) => Some(vec![scale(of)]),
        Scales::PerChannel(of) => Some(of.iter().map(scale).collect()),
    }
}

fn tensor_of<'a>(builder: &Builder<'a>, id: Option<TensorId>) -> &'a EncodedTensor<'a> {
    &builder.model.tensors[id.expect("the model is checked: a layer has a weight")]
}

/// Keeps the first value that is no finite 16-bit float.
fn check(value: f32, beyond: &mut Option<f32>) {
    if value.is_nan() || value.abs() > half::MAX {
        beyond.get_or_insert(value);
    }
}

fn finished(
    node: &Node,
    result: Result<(), embdl_core::encoding::EncodingError>,
    beyond: Option<f32>,
) -> Result<(), CompileError> {
    result.map_err(|source| error(node, source))?;
    match beyond {
        None => Ok(()),
        Some(value) => Err(CompileError::WeightRange { node: node.name.clone(), value }),
    }
}

fn error(node: &Node, source: embdl_core::encoding::EncodingError) -> CompileError {
    CompileError::Weight { node: node.name.clone(), source }
}
