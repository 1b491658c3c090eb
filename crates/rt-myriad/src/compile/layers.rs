//! Stages of layers and pools.

use embdl_core::model::Node;
use embdl_core::op::{Activation, Conv2d, Dense, Pool, PoolKind, Window};

use super::builder::{Builder, Tensor, small};
use super::constants::{Weights, vector, weights};
use super::{CompileError, unsupported};
use crate::blob::{Params, Slide, StageKind, WeightLayout};

/// Elements beyond the columns in the scratch of an im2col convolution.
const IM2COL_SPARE: usize = 32;
/// Channels are the innermost dimension.
const CHANNELS: usize = 0;

pub(super) fn conv(
    builder: &mut Builder<'_>,
    node: &Node,
    conv: &Conv2d,
) -> Result<(), CompileError> {
    let [input, output] = [node.inputs[0], node.output].map(|value| builder.shape(value));
    let [ci, co] = [input.dim(3), output.dim(3)];
    let groups = conv.groups as usize;
    let from = builder.tensor(node.inputs[0]);
    let to = builder.tensor(node.output);
    let params = Params::Conv(slide(&conv.window), dilation(&conv.window));
    if groups == ci && groups == co && groups > 1 {
        let taps = taps(&conv.window);
        let part = Weights { dims: [taps, 1, co], first: 0, layout: WeightLayout::Hwck };
        let weights = weights(builder, node, &part)?;
        return with_epilogue(builder, node, conv.activation, [0, co], to, |_, out| {
            Ok((StageKind::DEPTH_CONV, params, vec![from, out, weights]))
        });
    }
    let [ci, co] = [ci / groups, co / groups];
    for group in 0..groups {
        let channels = [group * co, co];
        let (from, to) = if groups == 1 {
            (from.clone(), to.clone())
        } else {
            // Convolutions read maps without gaps only.
            let slice = from.slice(CHANNELS, small(group * ci), small(ci));
            let alone = builder.temporary(&slice.desc);
            builder.copy(slice, alone.clone());
            (alone, to.slice(CHANNELS, small(group * co), small(co)))
        };
        let params = params.clone();
        with_epilogue(builder, node, conv.activation, channels, to, |builder, out| {
            conv_stage(builder, node, conv, [ci, co, group * co], params, [from, out])
        })?;
    }
    Ok(())
}

type StageParts = (StageKind, Params, Vec<Tensor>);

/// The stage of one convolution without groups, by the rules of the vendor's compiler.
fn conv_stage(
    builder: &mut Builder<'_>,
    node: &Node,
    conv: &Conv2d,
    [ci, co, first]: [usize; 3],
    params: Params,
    [from, out]: [Tensor; 2],
) -> Result<StageParts, CompileError> {
    let input = builder.shape(node.inputs[0]);
    let [kh, kw] = conv.window.kernel;
    let taps = taps(&conv.window);
    let dims = [taps, ci, co];
    let is_plain = conv.window.stride == [1, 1] && conv.window.pads == [0; 4];
    if taps == 1 && is_plain && input.dim(1) == 1 && input.dim(2) == 1 {
        let part = Weights { dims, first, layout: WeightLayout::Hwck };
        let weights = weights(builder, node, &part)?;
        return Ok((StageKind::FC, Params::None, vec![from, out, weights]));
    }
    let (layout, kind) = WeightLayout::of([kw, kh], small(ci), small(co));
    let weights = weights(builder, node, &Weights { dims, first, layout })?;
    let output = builder.shape(node.output);
    let mut tensors = vec![from, out, weights];
    if kind == StageKind::IM2COL_CONVOLUTION {
        let columns =
            [output.dim(1), output.dim(2), ci].iter().try_fold(taps, |n, &x| n.checked_mul(x));
        let elements = columns.map_or(usize::MAX, |columns| columns.saturating_add(IM2COL_SPARE));
        tensors.push(builder.scratch(elements)?);
    }
    Ok((kind, params, tensors))
}

pub(super) fn dense(
    builder: &mut Builder<'_>,
    node: &Node,
    dense: Dense,
) -> Result<(), CompileError> {
    let from = builder.map_of(node.inputs[0]);
    let features = builder.shape(node.inputs[0]).dim(1);
    let outputs = builder.shape(node.output).dim(1);
    // A map is taken channel by channel within each pixel, which is the order of flattened values as well.
    let channels = from.desc.dims[CHANNELS] as usize;
    let dims = [features / channels, channels, outputs];
    let part = Weights { dims, first: 0, layout: WeightLayout::Hwck };
    let weights = weights(builder, node, &part)?;
    let to = builder.tensor(node.output);
    with_epilogue(builder, node, dense.activation, [0, outputs], to, |_, out| {
        Ok((StageKind::FC, Params::None, vec![from, out, weights]))
    })
}

/// A layer's stage, then bias and activation as stages of their own. `channels` are the first and the number of those of the
/// bias.
fn with_epilogue<'a>(
    builder: &mut Builder<'a>,
    node: &Node,
    activation: Activation,
    channels: [usize; 2],
    to: Tensor,
    layer: impl FnOnce(&mut Builder<'a>, Tensor) -> Result<StageParts, CompileError>,
) -> Result<(), CompileError> {
    let bias = node.bias.map(|bias| vector(builder, node, bias, channels)).transpose()?;
    let is_last = bias.is_none() && activation == Activation::None;
    let result =
        if is_last && to.desc.is_compact() { to.clone() } else { builder.temporary(&to.desc) };
    let (kind, params, tensors) = layer(builder, result.clone())?;
    builder.stage(kind, params, tensors);
    let relu = |has_bias| Params::Relu { has_bias, slope: 0.0 };
    match (bias, activation) {
        (None, Activation::None) if to.desc.is_compact() => {}
        (None, Activation::None) => builder.copy(result, to),
        (None, Activation::Relu) => {
            builder.stage(StageKind::RELU, relu(false), vec![result, to]);
        }
        (None, Activation::Relu6) => clamp_6(builder, result, to),
        (Some(bias), Activation::None) => {
            builder.stage(StageKind::BIAS, Params::None, vec![result, to, bias]);
        }
        (Some(bias), Activation::Relu) => {
            builder.stage(StageKind::BIAS_RELU, relu(true), vec![result, to, bias]);
        }
        (Some(bias), Activation::Relu6) => {
            let sum = builder.temporary(&to.desc);
            builder.stage(StageKind::BIAS, Params::None, vec![result, sum.clone(), bias]);
            clamp_6(builder, sum, to);
        }
    }
    Ok(())
}

pub(super) fn clamp_6(builder: &mut Builder<'_>, from: Tensor, to: Tensor) {
    builder.stage(StageKind::CLAMP, Params::Clamp { min: 0.0, max: 6.0 }, vec![from, to]);
}

pub(super) fn pool(
    builder: &mut Builder<'_>,
    node: &Node,
    pool: &Pool,
) -> Result<(), CompileError> {
    let window = &pool.window;
    if window.dilation != [1, 1] {
        return Err(unsupported(node, "pools of this chip have no dilation"));
    }
    let [input, output] = [node.inputs[0], node.output].map(|value| builder.shape(value));
    let [kh, kw] = window.kernel.map(|taps| taps as usize);
    let is_global = [input.dim(1), input.dim(2)] == [kh, kw]
        && [output.dim(1), output.dim(2)] == [1, 1]
        && window.pads == [0; 4];
    let overhangs = (0..2).any(|axis| {
        let reach = (output.dim(axis + 1) - 1) * window.stride[axis] as usize
            + window.kernel[axis] as usize;
        reach > input.dim(axis + 1) + window.pads[axis] as usize + window.pads[axis + 2] as usize
    });
    let exclude_pads = match pool.kind {
        PoolKind::Max => false,
        PoolKind::Average { include_pads: true } if overhangs => {
            let reason =
                "what the chip divides by where a window hangs over counted pads is not known";
            return Err(unsupported(node, reason));
        }
        PoolKind::Average { include_pads } => !include_pads,
    };
    let kind = match (pool.kind, is_global) {
        (PoolKind::Max, false) => StageKind::MAX_POOL,
        (PoolKind::Max, true) => StageKind::GLOBAL_MAX_POOL,
        (PoolKind::Average { .. }, false) => StageKind::AVG_POOL,
        (PoolKind::Average { .. }, true) => StageKind::GLOBAL_AVG_POOL,
    };
    let tensors = vec![builder.tensor(node.inputs[0]), builder.tensor(node.output)];
    builder.stage(kind, Params::Pool(slide(window), exclude_pads), tensors);
    Ok(())
}

pub(super) fn global_average(builder: &mut Builder<'_>, node: &Node) {
    let input = builder.shape(node.inputs[0]);
    let [h, w] = [input.dim(1), input.dim(2)].map(small);
    let window = Slide { kernel: [w, h], stride: [1, 1], pad: [0, 0] };
    let tensors = vec![builder.tensor(node.inputs[0]), builder.tensor(node.output)];
    builder.stage(StageKind::GLOBAL_AVG_POOL, Params::Pool(window, true), tensors);
}

/// Width first, as stages have it.
fn slide(window: &Window) -> Slide {
    let [kh, kw] = window.kernel;
    let [sh, sw] = window.stride;
    let [top, left, ..] = window.pads;
    Slide { kernel: [kw, kh], stride: [sw, sh], pad: [left, top] }
}

const fn dilation(window: &Window) -> [u32; 2] {
    let [dh, dw] = window.dilation;
    [dw, dh]
}

const fn taps(window: &Window) -> usize {
    window.kernel[0] as usize * window.kernel[1] as usize
}
