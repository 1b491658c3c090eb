//! A graph as layers that vendors' files know: channels before rows and columns, activations by themselves, batch normalization
//! folded, and flattened maps in the order of the files, which the weights behind them follow.

use embdl_core::op::{Activation, Lrn, Op, PoolKind, Unary, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Node, Param, fold_batch_norm};

use crate::VendorError;

/// A network.
pub(crate) struct Net {
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
    pub(crate) layers: Vec<Layer>,
}

/// What a layer reads or writes: `[n, c, h, w]` or `[n, features]`.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
    /// Rows, columns, channels of the map that it is flattened from, where the file's order is another than the graph's.
    map: Option<[usize; 3]>,
}

pub(crate) struct Layer {
    pub(crate) name: String,
    /// Name and operator of the node that it is a part of, for errors.
    pub(crate) node: String,
    pub(crate) op: &'static str,
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
}

pub(crate) enum Kind {
    /// Weights `[co, ci / groups, kh, kw]`.
    Conv {
        weights: Vec<f32>,
        dims: [usize; 4],
        bias: Option<Vec<f32>>,
        window: Window,
        groups: usize,
    },
    /// Weights `[outputs, inputs]`.
    Dense {
        weights: Vec<f32>,
        dims: [usize; 2],
        bias: Option<Vec<f32>>,
    },
    Pool {
        kind: PoolKind,
        window: Window,
        ceil: bool,
    },
    GlobalAverage,
    Relu,
    Clamp {
        min: f32,
        max: f32,
    },
    Sigmoid,
    Tanh,
    Elu {
        alpha: f32,
    },
    /// One slope a channel, or one for all.
    PRelu {
        slopes: Vec<f32>,
    },
    /// `scale * x + shift`.
    Affine {
        scale: f32,
        shift: f32,
    },
    Add,
    Mul,
    Concat {
        axis: usize,
    },
    Lrn(Lrn),
    /// Over channels.
    Softmax,
    Flatten,
}

impl Net {
    /// The layers of a graph.
    pub(crate) fn of(graph: &Graph) -> Result<Self, VendorError> {
        let mut folded = graph.clone();
        fold_batch_norm(&mut folded)?;
        folded.validate()?;
        let value = |value: &embdl_graph::Value| Value {
            name: value.name.clone(),
            dims: dims(value.shape),
            map: None,
        };
        let mut lowering = Lowering {
            graph: &folded,
            values: folded.values.iter().map(value).collect(),
            layers: Vec::new(),
        };
        for node in &folded.nodes {
            lowering.node(node)?;
        }
        for &output in &folded.outputs {
            if lowering.values[output].map.is_some() {
                let node = folded.producer(output);
                let reason = "an output is a flattened map, whose order would be another";
                let (node, op) =
                    node.map_or((String::new(), "Flatten"), |n| (n.name.clone(), n.op.name()));
                return Err(VendorError::Node { node, op, reason });
            }
        }
        let Lowering { mut values, layers, .. } = lowering;
        unique(values.iter_mut().map(|value| &mut value.name), "value");
        let mut net = Self {
            name: if folded.name.is_empty() { "network".into() } else { folded.name.clone() },
            values,
            inputs: folded.inputs.clone(),
            outputs: folded.outputs.clone(),
            layers,
        };
        unique(net.layers.iter_mut().map(|layer| &mut layer.name), "layer");
        Ok(net)
    }

    pub(crate) fn dims(&self, value: usize) -> &[usize] {
        &self.values[value].dims
    }
}

impl Layer {
    pub(crate) fn unsupported(&self, reason: &'static str) -> VendorError {
        VendorError::Node { node: self.node.clone(), op: self.op, reason }
    }
}

/// Makes names that nothing else has.
fn unique<'a>(names: impl Iterator<Item = &'a mut String>, what: &str) {
    let mut taken = std::collections::HashSet::new();
    for name in names {
        let wish = if name.is_empty() { what.to_owned() } else { name.clone() };
        let mut unique = wish.clone();
        let mut count = 1_usize;
        while !taken.insert(unique.clone()) {
            count += 1;
            unique = format!("{wish}.{count}");
        }
        *name = unique;
    }
}

/// Channels before rows and columns.
fn dims(shape: Shape) -> Vec<usize> {
    let own: Vec<usize> = shape.iter().collect();
    match own[..] {
        [n, h, w, c] => vec![n, c, h, w],
        _ => own,
    }
}

struct Lowering<'g> {
    graph: &'g Graph,
    values: Vec<Value>,
    layers: Vec<Layer>,
}

impl Lowering<'_> {
    fn node(&mut self, node: &Node) -> Result<(), VendorError> {
        let unsupported =
            |reason| VendorError::Node { node: node.name.clone(), op: node.op.name(), reason };
        let shape = self.graph.values[node.output].shape;
        if !matches!(shape.rank(), 2 | 4) {
            return Err(unsupported("only maps and rows of features have a place in the file"));
        }
        if !matches!(node.op, Op::Dense(_)) && !keeps_order(&node.op) && self.map_of(node).is_some()
        {
            return Err(unsupported(
                "it reads a flattened map, whose order is another in the file",
            ));
        }
        match &node.op {
            Op::Conv2d(conv) => {
                let weights = self.param(node.weight).ok_or_else(|| unsupported("no weight"))?;
                let [co, kh, kw, ci] = four(weights.shape);
                let kind = Kind::Conv {
                    weights: to_oihw(&weights.effective(), [co, kh * kw, ci]),
                    dims: [co, ci, kh, kw],
                    bias: self.param(node.bias).map(|bias| bias.effective()),
                    window: conv.window,
                    groups: conv.groups as usize,
                };
                self.with_activation(node, kind, conv.activation);
            }
            Op::Dense(dense) => {
                let weights = self.param(node.weight).ok_or_else(|| unsupported("no weight"))?;
                let dims = [weights.shape.dim(0), weights.shape.dim(1)];
                let values = weights.effective();
                let weights = match self.values[node.inputs[0]].map {
                    Some([h, w, c]) => to_oihw(&values, [dims[0], h * w, c]),
                    None => values,
                };
                let bias = self.param(node.bias).map(|bias| bias.effective());
                self.with_activation(node, Kind::Dense { weights, dims, bias }, dense.activation);
            }
            Op::Pool(pool) => {
                if pool.window.dilation != [1, 1] {
                    return Err(unsupported("pools in the file have no dilation"));
                }
                let (kind, window, ceil) = (pool.kind, pool.window, pool.ceil);
                self.only(node, Kind::Pool { kind, window, ceil });
            }
            Op::GlobalAveragePool => self.only(node, Kind::GlobalAverage),
            Op::Activation(activation) => self.activation(node, *activation, node.inputs[0]),
            Op::Add(activation) => self.with_activation(node, Kind::Add, *activation),
            Op::Mul => {
                if self.values[node.inputs[0]].dims != self.values[node.inputs[1]].dims {
                    return Err(unsupported("the factors have different shapes"));
                }
                self.only(node, Kind::Mul);
            }
            Op::Concat(concat) => {
                let axis = match (shape.rank(), concat.axis) {
                    (4, axis) => [0, 2, 3, 1][axis as usize],
                    (_, axis) => axis as usize,
                };
                self.only(node, Kind::Concat { axis });
            }
            Op::Lrn(lrn) => self.only(node, Kind::Lrn(*lrn)),
            Op::Softmax => self.only(node, Kind::Softmax),
            Op::Flatten | Op::Reshape(_) => self.flatten(node)?,
            Op::Unary(unary) => self.unary(node, *unary),
            Op::PRelu => {
                let slopes = self.param(node.weight).ok_or_else(|| unsupported("no slopes"))?;
                let slopes = slopes.effective();
                self.only(node, Kind::PRelu { slopes });
            }
            Op::BatchNorm(_) => return Err(unsupported("no layer before it takes it in")),
            Op::Quantize | Op::Dequantize => {
                return Err(unsupported("the file has no levels; export before they are made"));
            }
            Op::Resize(_) | Op::Transpose(_) | Op::Pad(_) => {
                return Err(unsupported("it is not written; export it as ONNX"));
            }
        }
        Ok(())
    }

    fn map_of(&self, node: &Node) -> Option<[usize; 3]> {
        node.inputs.iter().find_map(|&input| self.values[input].map)
    }

    fn param(&self, id: Option<usize>) -> Option<&Param> {
        id.map(|id| &self.graph.params[id])
    }

    fn flatten(&mut self, node: &Node) -> Result<(), VendorError> {
        let [from, to] = [node.inputs[0], node.output].map(|value| self.graph.values[value].shape);
        if to.rank() != 2 {
            let reason = "other shapes than rows of features are not written; export it as ONNX";
            let (node, op) = (node.name.clone(), node.op.name());
            return Err(VendorError::Node { node, op, reason });
        }
        if from.rank() == 4 {
            let [_, h, w, c] = four(from);
            self.values[node.output].map = (h * w > 1 && c > 1).then_some([h, w, c]);
        }
        self.push(node, Kind::Flatten, node.inputs.clone(), node.output, "");
        Ok(())
    }

    fn unary(&mut self, node: &Node, unary: Unary) {
        let [input, output] = [node.inputs[0], node.output];
        match unary {
            Unary::Sigmoid => self.only(node, Kind::Sigmoid),
            Unary::Tanh => self.only(node, Kind::Tanh),
            Unary::Elu { alpha } => self.only(node, Kind::Elu { alpha }),
            Unary::LeakyRelu { alpha } => self.only(node, Kind::PRelu { slopes: vec![alpha] }),
            Unary::Clip { min, max } => self.only(node, Kind::Clamp { min, max }),
            Unary::Silu => {
                let gate = self.temporary(output, "gate");
                self.push(node, Kind::Sigmoid, vec![input], gate, ".gate");
                self.push(node, Kind::Mul, vec![input, gate], output, "");
            }
            Unary::HardSigmoid { alpha, beta } => {
                let line = self.temporary(output, "line");
                let affine = Kind::Affine { scale: alpha, shift: beta };
                self.push(node, affine, vec![input], line, ".line");
                self.push(node, Kind::Clamp { min: 0.0, max: 1.0 }, vec![line], output, "");
            }
            Unary::HardSwish => {
                let [line, gate] = ["line", "gate"].map(|what| self.temporary(output, what));
                let affine = Kind::Affine { scale: 1.0 / 6.0, shift: 0.5 };
                self.push(node, affine, vec![input], line, ".line");
                self.push(node, Kind::Clamp { min: 0.0, max: 1.0 }, vec![line], gate, ".gate");
                self.push(node, Kind::Mul, vec![input, gate], output, "");
            }
        }
        self.keep_order(node);
    }

    /// A layer, then its activation.
    fn with_activation(&mut self, node: &Node, kind: Kind, activation: Activation) {
        if activation == Activation::None {
            return self.only(node, kind);
        }
        let inner = self.temporary(node.output, "linear");
        self.push(node, kind, node.inputs.clone(), inner, "");
        self.activation(node, activation, inner);
    }

    fn activation(&mut self, node: &Node, activation: Activation, input: usize) {
        let kind = match activation {
            // A clamp that lets everything pass would be rounded differently: one that does nothing is nothing.
            Activation::None => Kind::Affine { scale: 1.0, shift: 0.0 },
            Activation::Relu => Kind::Relu,
            Activation::Relu6 => Kind::Clamp { min: 0.0, max: 6.0 },
        };
        self.push(node, kind, vec![input], node.output, ".activation");
        self.keep_order(node);
    }

    fn only(&mut self, node: &Node, kind: Kind) {
        self.push(node, kind, node.inputs.clone(), node.output, "");
        self.keep_order(node);
    }

    /// What works element by element has its input's order.
    fn keep_order(&mut self, node: &Node) {
        if keeps_order(&node.op) {
            self.values[node.output].map = self.map_of(node);
        }
    }

    fn temporary(&mut self, like: usize, what: &str) -> usize {
        let Value { name, dims, .. } = &self.values[like];
        let value = Value { name: format!("{name}.{what}"), dims: dims.clone(), map: None };
        self.values.push(value);
        self.values.len() - 1
    }

    fn push(&mut self, node: &Node, kind: Kind, inputs: Vec<usize>, output: usize, suffix: &str) {
        let name = format!("{}{suffix}", node.name);
        let (node, op) = (node.name.clone(), node.op.name());
        self.layers.push(Layer { name, node, op, kind, inputs, output });
    }
}

/// Whether an element of the result depends on the same element of the inputs alone.
const fn keeps_order(op: &Op) -> bool {
    matches!(op, Op::Activation(_) | Op::Unary(_) | Op::Add(_) | Op::Mul)
}

fn four(shape: Shape) -> [usize; 4] {
    [0, 1, 2, 3].map(|axis| shape.dim(axis))
}

/// `[o, taps, i]` as `[o, i, taps]`.
fn to_oihw(values: &[f32], [o, taps, i]: [usize; 3]) -> Vec<f32> {
    let mut own = Vec::with_capacity(values.len());
    for filter in values.chunks_exact(taps * i).take(o) {
        for channel in 0..i {
            own.extend((0..taps).map(|tap| filter[tap * i + channel]));
        }
    }
    own
}
