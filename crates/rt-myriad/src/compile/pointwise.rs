//! Stages of operators without windows and matrices.

use embdl_core::model::Node;
use embdl_core::op::{Activation, Lrn, Op, Transpose, Unary};

use super::builder::{Builder, Tensor};
use super::constants::vector;
use super::layers::clamp_6;
use super::{CompileError, unsupported};
use crate::blob::{Eltwise, Params, StageKind};
use crate::half;

/// Stands for no operation after a combination of two tensors.
const NO_POST: i32 = -1;

pub(super) fn emit(builder: &mut Builder<'_>, node: &Node) -> Result<(), CompileError> {
    match &node.op {
        Op::Activation(activation) => {
            let [from, to] = ends(builder, node);
            match activation {
                Activation::None => builder.copy(from, to),
                Activation::Relu => {
                    let params = Params::Relu { has_bias: false, slope: 0.0 };
                    builder.stage(StageKind::RELU, params, vec![from, to]);
                }
                Activation::Relu6 => clamp_6(builder, from, to),
            }
        }
        Op::Add(activation) => {
            let (post, bounds) = match activation {
                Activation::None => (NO_POST, [0.0, 0.0]),
                Activation::Relu => (StageKind::RELU.0, [0.0, 0.0]),
                Activation::Relu6 => (StageKind::CLAMP.0, [0.0, 6.0]),
            };
            combine(builder, node, StageKind::SUM, post, bounds);
        }
        Op::Mul => {
            let [lhs, rhs] = [0, 1].map(|at| builder.shape(node.inputs[at]));
            if lhs != rhs {
                let reason = "how the chip multiplies a map by one factor a channel is not known";
                return Err(unsupported(node, reason));
            }
            combine(builder, node, StageKind::PROD, NO_POST, [0.0, 0.0]);
        }
        Op::PRelu => {
            let [from, to] = ends(builder, node);
            let channels = builder.shape(node.output).iter().last().unwrap_or(1);
            let slopes = node.weight.expect("the model is checked: slopes are there");
            let slopes = vector(builder, node, slopes, [0, channels])?;
            builder.stage(StageKind::PRELU, Params::None, vec![from, to, slopes]);
        }
        Op::Unary(unary) => function(builder, node, *unary),
        Op::Lrn(lrn) => normalize(builder, node, lrn)?,
        Op::Softmax => {
            let [from, to] = ends(builder, node);
            builder.stage(StageKind::SOFTMAX, Params::Softmax { axis: 0 }, vec![from, to]);
        }
        Op::Transpose(transpose) => permute(builder, node, transpose),
        Op::Resize(_) => {
            let reason = "how the chip places the pixels of a resized map is not known";
            return Err(unsupported(node, reason));
        }
        Op::Pad(_) => {
            let reason = "which mode of the chip's pad stage means zeros is not known";
            return Err(unsupported(node, reason));
        }
        _ => return Err(unsupported(node, "the chip has no stage for it")),
    }
    Ok(())
}

fn ends(builder: &mut Builder<'_>, node: &Node) -> [Tensor; 2] {
    [builder.tensor(node.inputs[0]), builder.tensor(node.output)]
}

/// Two tensors element by element, then perhaps an activation.
fn combine(builder: &mut Builder<'_>, node: &Node, kind: StageKind, post: i32, bounds: [f32; 2]) {
    let [lhs, to] = ends(builder, node);
    let rhs = builder.tensor(node.inputs[1]);
    product_or_sum(builder, kind, [lhs, to, rhs], post, bounds);
}

fn product_or_sum(
    builder: &mut Builder<'_>,
    kind: StageKind,
    [lhs, to, rhs]: [Tensor; 3],
    post: i32,
    bounds: [f32; 2],
) {
    let third = to.absent_beside();
    let eltwise = Eltwise { factors: [1.0, 1.0], post, slope: 0.0, bounds };
    builder.stage(kind, Params::Eltwise(eltwise), vec![lhs, to, rhs, third]);
}

fn function(builder: &mut Builder<'_>, node: &Node, unary: Unary) {
    let [from, to] = ends(builder, node);
    let power = |scale, bias| Params::Power { bias, scale, power: 1.0 };
    let unit = Params::Clamp { min: 0.0, max: 1.0 };
    match unary {
        Unary::Sigmoid => builder.stage(StageKind::SIGMOID, Params::None, vec![from, to]),
        Unary::Tanh => builder.stage(StageKind::TANH, Params::None, vec![from, to]),
        Unary::LeakyRelu { alpha } => {
            let params = Params::Relu { has_bias: false, slope: alpha };
            builder.stage(StageKind::LEAKY_RELU, params, vec![from, to]);
        }
        Unary::Elu { alpha } => {
            builder.stage(StageKind::ELU, Params::Elu { alpha }, vec![from, to]);
        }
        Unary::Clip { min, max } => {
            // No bound is a bound that no finite value exceeds.
            let [min, max] = [min, max].map(|bound| bound.clamp(-half::MAX, half::MAX));
            builder.stage(StageKind::CLAMP, Params::Clamp { min, max }, vec![from, to]);
        }
        Unary::HardSigmoid { alpha, beta } => {
            let line = builder.temporary(&to.desc);
            builder.stage(StageKind::POWER, power(alpha, beta), vec![from, line.clone()]);
            builder.stage(StageKind::CLAMP, unit, vec![line, to]);
        }
        Unary::HardSwish => {
            let [line, gate] = [0, 1].map(|_| builder.temporary(&to.desc));
            let params = power(1.0 / 6.0, 0.5);
            builder.stage(StageKind::POWER, params, vec![from.clone(), line.clone()]);
            builder.stage(StageKind::CLAMP, unit, vec![line, gate.clone()]);
            product_or_sum(builder, StageKind::PROD, [from, to, gate], NO_POST, [0.0, 0.0]);
        }
        Unary::Silu => {
            let gate = builder.temporary(&to.desc);
            builder.stage(StageKind::SIGMOID, Params::None, vec![from.clone(), gate.clone()]);
            product_or_sum(builder, StageKind::PROD, [from, to, gate], NO_POST, [0.0, 0.0]);
        }
    }
}

fn normalize(builder: &mut Builder<'_>, node: &Node, lrn: &Lrn) -> Result<(), CompileError> {
    if lrn.size.is_multiple_of(2) {
        let reason =
            "on which side the chip takes one channel more, for an even size, is not known";
        return Err(unsupported(node, reason));
    }
    let [from, to] = ends(builder, node);
    let Lrn { size, alpha, beta, bias } = *lrn;
    builder.stage(StageKind::LRN, Params::Lrn { size, k: bias, alpha, beta }, vec![from, to]);
    Ok(())
}

/// Axes are counted from the outermost in a model and from the innermost in a stage.
fn permute(builder: &mut Builder<'_>, node: &Node, transpose: &Transpose) {
    let [from, to] = ends(builder, node);
    let rank = from.desc.dims.len();
    let mut order = [-1; 8];
    for (position, slot) in order.iter_mut().take(rank).enumerate() {
        let axis = usize::from(transpose.order[rank - 1 - position]);
        *slot = i32::try_from(rank - 1 - axis).expect("a rank of at most 4");
    }
    builder.stage(StageKind::PERMUTE, Params::Permute(order), vec![from, to]);
}
