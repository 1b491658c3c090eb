//! Folds batch normalization into the layers before it, and activations into the layers whose results they read: what
//! training keeps apart and a device computes as one.

use embdl_core::op::{Activation, Conv2d, Op, Reshape, Window};
use embdl_core::tensor::Shape;

use crate::graph::{Graph, Node, NodeId, ParamId, Value, ValueId};
use crate::param::{Form, Param, ParamRole};
use crate::validate::GraphError;

/// Replaces every batch normalization by what it does once its statistics are fixed: `y = factor * x + offset` with
/// `factor = weight / sqrt(variance + epsilon)` and `offset = bias - factor * mean`.
///
/// A convolution or a dense layer before it takes both in, if nothing else reads its result or its parameters and these
/// have no constraint other than a mask. Otherwise it becomes a depthwise convolution of 1x1. Statistics are lost, so
/// folding comes after training with them.
///
/// Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
/// Inference", §3.2.
///
/// # Errors
/// If the graph is not valid, or a variance is negative or not a number; the graph is then as it was.
pub fn fold_batch_norm(graph: &mut Graph) -> Result<(), GraphError> {
    graph.validate()?;
    let affines: Vec<Option<Affine>> =
        graph.nodes.iter().map(|node| Affine::of(graph, node)).collect::<Result<_, _>>()?;
    let mut at = 0;
    for affine in affines {
        at = match (affine, layer_before(graph, at)) {
            (None, _) => at + 1,
            (Some(affine), Some(layer)) => {
                take_in(graph, layer, at, &affine);
                at
            }
            (Some(affine), None) => stand_alone(graph, at, affine),
        };
    }
    graph.drop_unused();
    graph.validate()
}

/// Lets convolutions, dense layers and sums apply the activation that alone reads their result.
///
/// # Errors
/// If the graph is not valid.
pub fn fuse_activations(graph: &mut Graph) -> Result<(), GraphError> {
    graph.validate()?;
    let mut at = 0;
    while at < graph.nodes.len() {
        let (Op::Activation(activation), Some(layer)) =
            (graph.nodes[at].op.clone(), only_writer(graph, at))
        else {
            at += 1;
            continue;
        };
        let of_layer = match &mut graph.nodes[layer].op {
            Op::Conv2d(conv) => Some(&mut conv.activation),
            Op::Dense(dense) => Some(&mut dense.activation),
            Op::Add(of_sum) => Some(of_sum),
            _ => None,
        };
        if let Some(of_layer) = of_layer.filter(|of_layer| **of_layer == Activation::None) {
            *of_layer = activation;
            remove_after(graph, layer, at);
        } else {
            at += 1;
        }
    }
    graph.drop_unused();
    graph.validate()
}

/// What batch normalization does to each channel: `factor * x + offset`.
struct Affine {
    factor: Vec<f32>,
    offset: Vec<f32>,
}

impl Affine {
    /// Of a node that is batch normalization. Computed in double precision: differences of large means matter.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    fn of(graph: &Graph, node: &Node) -> Result<Option<Self>, GraphError> {
        let (Op::BatchNorm(norm), Some(weight), Some(bias), Some((mean, variance))) =
            (&node.op, node.weight, node.bias, node.stats)
        else {
            return Ok(None);
        };
        let values = |id: ParamId| graph.params[id].effective().into_iter().map(f64::from);
        let (mut factor, mut offset) = (Vec::new(), Vec::new());
        for (((weight, bias), mean), variance) in
            values(weight).zip(values(bias)).zip(values(mean)).zip(values(variance))
        {
            if variance.is_nan() || variance < 0.0 {
                let reason = "a variance is negative or not a number";
                return Err(GraphError::Norm { node: node.name.clone(), reason });
            }
            let scale = weight / (variance + f64::from(norm.epsilon)).sqrt();
            factor.push(scale as f32);
            offset.push(scale.mul_add(-mean, bias) as f32);
        }
        Ok(Some(Self { factor, offset }))
    }
}

/// The node whose result node `at` reads, if nothing else does.
fn only_writer(graph: &Graph, at: NodeId) -> Option<NodeId> {
    let value = *graph.nodes.get(at)?.inputs.first()?;
    let reads = graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs);
    if reads.filter(|&&read| read == value).count() != 1 || graph.values[value].quant.is_some() {
        return None;
    }
    graph.nodes.iter().position(|node| node.output == value)
}

/// The layer that can take in the affine map of node `at`.
fn layer_before(graph: &Graph, at: NodeId) -> Option<NodeId> {
    let layer = only_writer(graph, at)?;
    let Node { op, weight, bias, .. } = &graph.nodes[layer];
    let is_layer =
        matches!(op, Op::Conv2d(_) | Op::Dense(_)) && op.activation() == Activation::None;
    let is_own = |id: ParamId| {
        let uses = graph.nodes.iter().flat_map(|node| node.weight.iter().chain(&node.bias));
        let param = &graph.params[id];
        uses.filter(|&&used| used == id).count() == 1 && param.form == Form::Free
    };
    let is_free = weight.iter().chain(bias).all(|&id| is_own(id))
        && bias.is_none_or(|id| graph.params[id].mask.is_none());
    (is_layer && is_free).then_some(layer)
}

/// Lets node `layer` do what node `at` does after it.
fn take_in(graph: &mut Graph, layer: NodeId, at: NodeId, affine: &Affine) {
    let Node { name, weight, bias, .. } = &graph.nodes[layer];
    let weight = weight.expect("layers have weights");
    let values = graph.params[weight].values_mut();
    let row_len = values.len() / affine.factor.len();
    for (row, factor) in values.chunks_exact_mut(row_len).zip(&affine.factor) {
        row.iter_mut().for_each(|w| *w *= factor);
    }
    if let Some(id) = *bias {
        let biases = graph.params[id].values_mut().iter_mut();
        for ((bias, factor), offset) in biases.zip(&affine.factor).zip(&affine.offset) {
            *bias = bias.mul_add(*factor, *offset);
        }
    } else {
        let bias = parameter(name, ParamRole::Bias, &affine.offset);
        graph.params.push(bias);
        graph.nodes[layer].bias = Some(graph.params.len() - 1);
    }
    remove_after(graph, layer, at);
}

/// Removes node `at`; what it wrote is written by `layer`, whose name for it stays, unless it leaves the network.
fn remove_after(graph: &mut Graph, layer: NodeId, at: NodeId) {
    let removed = graph.nodes.remove(at);
    let before = core::mem::replace(&mut graph.nodes[layer].output, removed.output);
    if !graph.outputs.contains(&removed.output) {
        graph.values[removed.output].name = core::mem::take(&mut graph.values[before].name);
    }
}

/// Makes node `at` a depthwise convolution of 1x1. Gives the index of the node after what was put there.
fn stand_alone(graph: &mut Graph, at: NodeId, affine: Affine) -> NodeId {
    let channels = affine.factor.len();
    let Node { name, inputs, output, .. } = &graph.nodes[at];
    let (name, input, output) = (name.clone(), inputs[0], *output);
    let weight = Param::new(
        format!("{name}.weight"),
        ParamRole::Weight,
        Shape::nhwc(channels, 1, 1, 1),
        affine.factor,
    );
    let bias = parameter(&name, ParamRole::Bias, &affine.offset);
    graph.params.extend([weight, bias]);
    let (weight, bias) = (graph.params.len() - 2, graph.params.len() - 1);
    let groups = u32::try_from(channels).expect("dimensions are u32");
    let op =
        Op::Conv2d(Conv2d { window: Window::square(1, 1), groups, activation: Activation::None });
    let conv = |name: &str, input, output| Node {
        name: name.into(),
        op: op.clone(),
        inputs: vec![input],
        output,
        weight: Some(weight),
        bias: Some(bias),
        stats: None,
    };
    let shape = graph.values[input].shape;
    if shape.rank() == 4 {
        graph.nodes[at] = conv(&name, input, output);
        return at + 1;
    }
    let image = Shape::nhwc(1, shape.len() / channels, 1, channels);
    let [before, after] = ["before", "after"].map(|side| {
        graph.values.push(Value { name: format!("{name}.{side}"), shape: image, quant: None });
        graph.values.len() - 1
    });
    let reshape = |side: &str, shape: Shape, input: ValueId, output: ValueId| Node {
        name: format!("{name}.{side}"),
        op: Op::Reshape(Reshape { shape }),
        inputs: vec![input],
        output,
        weight: None,
        bias: None,
        stats: None,
    };
    graph.nodes.splice(
        at..=at,
        [
            reshape("to-image", image, input, before),
            conv(&name, before, after),
            reshape("from-image", shape, after, output),
        ],
    );
    at + 3
}

fn parameter(node: &str, role: ParamRole, values: &[f32]) -> Param {
    Param::new(format!("{node}.bias"), role, Shape::vector(values.len()), values.to_vec())
}

#[cfg(test)]
mod tests;
