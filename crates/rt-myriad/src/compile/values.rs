//! Where values live: in tensors of their own, as other names of one, as parts of a concatenation, or in an output.

use embdl_core::model::{Model, ValueId};
use embdl_core::op::{Activation, Op};

/// Where the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In the input of this index.
    Input(usize),
    /// In the output of this index.
    Output(usize),
    /// In a tensor of its own.
    Own,
    /// The same bytes as another value's, under another shape.
    Same(ValueId),
    /// A part of a concatenation, which no node but that reads.
    Part {
        /// The concatenation's result.
        whole: ValueId,
        /// Where it starts along the axis of the concatenation.
        start: usize,
        /// The axis.
        axis: usize,
    },
}

/// The home of each value.
pub(super) fn homes(model: &Model<'_>) -> Vec<Home> {
    let mut homes = vec![Home::Own; model.values.len()];
    let mut uses = vec![0_usize; model.values.len()];
    for value in model.nodes.iter().flat_map(|node| &node.inputs).chain(&model.outputs) {
        uses[*value] += 1;
    }
    for (index, &input) in model.inputs.iter().enumerate() {
        homes[input] = Home::Input(index);
    }
    let mut is_strided = vec![false; model.values.len()];
    for node in &model.nodes {
        if is_alias(&node.op) {
            homes[node.output] = Home::Same(node.inputs[0]);
        }
        is_strided[node.output] = writes_strided(&node.op, node.bias.is_some());
    }
    for node in &model.nodes {
        let Op::Concat(concat) = &node.op else { continue };
        let axis = concat.axis as usize;
        let rank = model.values[node.output].kind.shape.rank();
        // A part by columns would have gaps between its rows, which few stages write.
        let is_view = rank < 4 || axis != 2;
        let mut start = 0;
        for &input in &node.inputs {
            if is_view && homes[input] == Home::Own && uses[input] == 1 && is_strided[input] {
                homes[input] = Home::Part { whole: node.output, start, axis };
            }
            start += model.values[input].kind.shape.dim(axis);
        }
    }
    for (index, &output) in model.outputs.iter().enumerate() {
        // What others read too, or what is only a name, is copied to its output at the end.
        if homes[output] == Home::Own && uses[output] == 1 {
            homes[output] = Home::Output(index);
        }
    }
    homes
}

/// Whether the result has the bytes of the input.
pub(super) const fn is_alias(op: &Op) -> bool {
    matches!(
        op,
        Op::Activation(Activation::None)
            | Op::Flatten
            | Op::Reshape(_)
            | Op::Quantize
            | Op::Dequantize
    )
}

/// Whether the last stage of the node writes a tensor with gaps between its pixels: biases, activations and functions do,
/// convolutions and fully connected layers do not.
fn writes_strided(op: &Op, has_bias: bool) -> bool {
    match op {
        Op::Conv2d(conv) => has_bias || conv.activation != Activation::None,
        Op::Dense(dense) => has_bias || dense.activation != Activation::None,
        Op::Activation(_) | Op::Unary(_) | Op::PRelu => true,
        _ => false,
    }
}
