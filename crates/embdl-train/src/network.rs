//! The interpreter: runs any graph on Burn's tape, node by node.

use burn_flex::FlexTensor;
use embdl_core::op::{Activation, Conv2d, Lrn, Op};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Node, ValueId};

use crate::error::TrainError;
use crate::kernels::conv::Convolution;
use crate::kernels::dense::Sizes;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::loss::Loss;
use crate::kernels::pool::{self, Pooling};
use crate::kernels::{fake_quant, norm, pointwise};
use crate::tape::{Saved, Tensor, record, values};

/// Values that every gradient pass reads again.
type Storage = FlexTensor;

/// The value that holds logits: the output, or what its softmax reads.
///
/// # Errors
/// If the graph has not one input and one output.
pub(crate) fn logits_value(graph: &Graph) -> Result<ValueId, TrainError> {
    let (&[_], &[output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
        let (inputs, outputs) = (graph.inputs.len(), graph.outputs.len());
        return Err(TrainError::Ends { graph: graph.name.clone(), inputs, outputs });
    };
    Ok(match graph.producer(output) {
        Some(Node { op: Op::Softmax, inputs, .. }) => inputs[0],
        _ => output,
    })
}

/// Runs `graph` on a batch of images up to the logits; `observe` sees every value, the image included.
///
/// # Errors
/// If a node needs what there is no gradient for.
pub(crate) fn forward(
    graph: &Graph,
    params: &[Tensor],
    image: Tensor,
    batch: usize,
    observe: &mut dyn FnMut(ValueId, &[f32]),
) -> Result<Tensor, TrainError> {
    let logits = logits_value(graph)?;
    let mut reads = vec![0_usize; graph.values.len()];
    graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|&input| reads[input] += 1);
    reads[logits] += 1;
    let mut slots: Vec<Option<Tensor>> = vec![None; graph.values.len()];
    let mut put = |slots: &mut Vec<Option<Tensor>>, id: ValueId, tensor: Tensor| {
        let tensor = match graph.values[id].quant {
            Some(quant) => hold_to_levels(&tensor, quant),
            None => tensor,
        };
        observe(id, values(&tensor));
        slots[id] = Some(tensor);
    };
    put(&mut slots, graph.inputs[0], image);
    for node in &graph.nodes {
        let inputs: Vec<&Tensor> = node
            .inputs
            .iter()
            .map(|&id| {
                slots[id].as_ref().expect("a valid graph writes values before it reads them")
            })
            .collect();
        let result = Layer { graph, node, params, batch }.run(&inputs)?;
        put(&mut slots, node.output, result);
        if node.output == logits {
            break;
        }
        for &input in &node.inputs {
            reads[input] -= 1;
            if reads[input] == 0 {
                slots[input] = None;
            }
        }
    }
    Ok(slots[logits].take().expect("a valid graph writes its outputs"))
}

struct Layer<'a> {
    graph: &'a Graph,
    node: &'a Node,
    params: &'a [Tensor],
    batch: usize,
}

impl Layer<'_> {
    fn run(&self, inputs: &[&Tensor]) -> Result<Tensor, TrainError> {
        let x = inputs[0];
        let input = self.shape(self.node.inputs[0]);
        let output = self.shape(self.node.output);
        let channels = input.iter().last().unwrap_or(1);
        Ok(match &self.node.op {
            Op::Conv2d(conv) => {
                self.weighted(x, Kernel::new(conv, input, output), conv.activation)?
            }
            Op::Dense(dense) => {
                let (inputs, outputs) = (input.dim(1), output.dim(1));
                let kernel = Kernel::Dense(Sizes { batch: self.batch, inputs, outputs });
                self.weighted(x, kernel, dense.activation)?
            }
            Op::Pool(attributes) => {
                let pooling = Pooling::new(attributes, input, output);
                let (y, winners) = pooling.forward(values(x));
                record([x], y, || SavedPool { pooling, winners })
            }
            Op::GlobalAveragePool => {
                let pixels = input.dim(1) * input.dim(2);
                let y = pool::global_average(values(x), pixels, channels);
                record([x], y, || SavedMean { pixels, channels })
            }
            Op::Activation(activation) => {
                let y = pointwise::activate(values(x), *activation);
                activated([x], y, *activation)
            }
            Op::Add(activation) => {
                let y = pointwise::add(values(x), values(inputs[1]), *activation);
                activated([x, inputs[1]], y, *activation)
            }
            Op::Concat(concat) => self.concat(inputs, concat.axis as usize),
            Op::Lrn(lrn) => {
                let y = norm::lrn(lrn, values(x), channels);
                record([x], y, || SavedLrn { lrn: *lrn, channels, x: x.primitive().clone() })
            }
            Op::BatchNorm(_) => {
                let (node, op) = (self.node.name.clone(), self.node.op.name());
                return Err(TrainError::Unsupported { node, op, reason: "it has no gradient yet" });
            }
            Op::Softmax => {
                let y = norm::softmax(values(x), channels);
                let saved = SavedSoftmax { channels, y: y.clone() };
                record([x], y, || saved)
            }
            // NHWC order stays, and tensors are flat. Levels are simulated where values are written.
            Op::Flatten | Op::Reshape(_) | Op::Quantize | Op::Dequantize => x.clone(),
            Op::Unary(_) | Op::Mul | Op::PRelu | Op::Resize(_) | Op::Transpose(_) | Op::Pad(_) => {
                return Err(TrainError::Unsupported {
                    node: self.node.name.clone(),
                    op: self.node.op.name(),
                    reason: "training has no gradient for it",
                });
            }
        })
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.graph.values[value].shape.with_batch(self.batch)
    }

    fn weighted(
        &self,
        x: &Tensor,
        kernel: Kernel,
        activation: Activation,
    ) -> Result<Tensor, TrainError> {
        let missing = || TrainError::Unsupported {
            node: self.node.name.clone(),
            op: self.node.op.name(),
            reason: "it has no weight",
        };
        let w = &self.params[self.node.weight.ok_or_else(missing)?];
        let bias = self.node.bias.map(|id| &self.params[id]);
        let y = kernel.forward(values(x), values(w), bias.map(values), activation);
        let columns = bias.map_or(1, |bias| values(bias).len());
        let result = (activation != Activation::None).then(|| y.clone());
        let saved = || SavedWeighted {
            kernel,
            columns,
            x: x.primitive().clone(),
            w: w.primitive().clone(),
            y: result,
            activation,
        };
        Ok(match bias {
            Some(bias) => record([x, w, bias], y, saved),
            None => record([x, w], y, saved),
        })
    }

    fn concat(&self, inputs: &[&Tensor], axis: usize) -> Tensor {
        let run = |id: ValueId| self.shape(id).iter().skip(axis).product::<usize>();
        let mut joined = inputs[0].clone();
        let mut lhs = run(self.node.inputs[0]);
        for (&id, input) in self.node.inputs.iter().zip(inputs).skip(1) {
            let rhs = run(id);
            let y = pointwise::concat(values(&joined), lhs, values(input), rhs);
            joined = record([&joined, input], y, || SavedConcat { lhs, rhs });
            lhs += rhs;
        }
        joined
    }
}

/// The products of a layer with weights.
#[derive(Clone, Debug)]
enum Kernel {
    Dense(Sizes),
    Convolution(Convolution),
    Depthwise(Depthwise),
}

impl Kernel {
    fn new(conv: &Conv2d, input: Shape, output: Shape) -> Self {
        if Depthwise::fits(conv, input, output) {
            Self::Depthwise(Depthwise::new(conv, input, output))
        } else {
            Self::Convolution(Convolution::new(conv, input, output))
        }
    }

    fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, then: Activation) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.forward(x, w, bias, then),
            Self::Convolution(conv) => conv.forward(x, w, bias, then),
            Self::Depthwise(conv) => conv.forward(x, w, bias, then),
        }
    }

    fn input_gradient(&self, dy: &[f32], w: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.input_gradient(dy, w),
            Self::Convolution(conv) => conv.input_gradient(dy, w),
            Self::Depthwise(conv) => conv.input_gradient(dy, w),
        }
    }

    fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.weight_gradient(x, dy),
            Self::Convolution(conv) => conv.weight_gradient(x, dy),
            Self::Depthwise(conv) => conv.weight_gradient(x, dy),
        }
    }
}

#[derive(Clone, Debug)]
struct SavedWeighted {
    kernel: Kernel,
    columns: usize,
    x: Storage,
    w: Storage,
    /// The result, where an activation decides which gradients pass.
    y: Option<Vec<f32>>,
    activation: Activation,
}

impl SavedWeighted {
    fn input_and_weight(&self, dy: &mut [f32], x: bool, w: bool) -> [Option<Vec<f32>>; 2] {
        if let Some(y) = &self.y {
            pointwise::through_activation(y, self.activation, dy);
        }
        [
            x.then(|| self.kernel.input_gradient(dy, self.w.storage())),
            w.then(|| self.kernel.weight_gradient(self.x.storage(), dy)),
        ]
    }
}

impl Saved<2> for SavedWeighted {
    fn gradients(self, dy: &mut [f32], [x, w]: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        self.input_and_weight(dy, x, w)
    }
}

impl Saved<3> for SavedWeighted {
    fn gradients(self, dy: &mut [f32], [x, w, bias]: [bool; 3]) -> [Option<Vec<f32>>; 3] {
        let [x, w] = self.input_and_weight(dy, x, w);
        [x, w, bias.then(|| pointwise::column_sums(dy, self.columns))]
    }
}

#[derive(Clone, Debug)]
struct SavedPool {
    pooling: Pooling,
    winners: Vec<u32>,
}

impl Saved<1> for SavedPool {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(self.pooling.input_gradient(dy, &self.winners))]
    }
}

#[derive(Clone, Debug)]
struct SavedMean {
    pixels: usize,
    channels: usize,
}

impl Saved<1> for SavedMean {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(pool::global_average_gradient(dy, self.pixels, self.channels))]
    }
}

/// An activation of the sum of its inputs.
#[derive(Clone, Debug)]
struct SavedSum {
    y: Vec<f32>,
    activation: Activation,
}

impl<const N: usize> Saved<N> for SavedSum {
    fn gradients(self, dy: &mut [f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N] {
        pointwise::through_activation(&self.y, self.activation, dy);
        wanted.map(|wanted| wanted.then(|| dy.to_vec()))
    }
}

fn activated<const N: usize>(inputs: [&Tensor; N], y: Vec<f32>, activation: Activation) -> Tensor {
    let saved = SavedSum {
        y: if activation == Activation::None { Vec::new() } else { y.clone() },
        activation,
    };
    record(inputs, y, || saved)
}

#[derive(Clone, Debug)]
struct SavedConcat {
    lhs: usize,
    rhs: usize,
}

impl Saved<2> for SavedConcat {
    fn gradients(self, dy: &mut [f32], _: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        let (lhs, rhs) = pointwise::split(dy, self.lhs, self.rhs);
        [Some(lhs), Some(rhs)]
    }
}

#[derive(Clone, Debug)]
struct SavedLrn {
    lrn: Lrn,
    channels: usize,
    x: Storage,
}

impl Saved<1> for SavedLrn {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(norm::lrn_gradient(&self.lrn, self.x.storage(), self.channels, dy))]
    }
}

#[derive(Clone, Debug)]
struct SavedSoftmax {
    channels: usize,
    y: Vec<f32>,
}

impl Saved<1> for SavedSoftmax {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(norm::softmax_gradient(&self.y, self.channels, dy))]
    }
}

#[derive(Clone, Debug)]
struct SavedLevels {
    x: Storage,
    quant: Quant,
}

impl Saved<1> for SavedLevels {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        fake_quant::through_levels(self.x.storage(), self.quant, dy);
        [Some(dy.to_vec())]
    }
}

fn hold_to_levels(x: &Tensor, quant: Quant) -> Tensor {
    let y = fake_quant::fake_quantize(values(x), quant);
    record([x], y, || SavedLevels { x: x.primitive().clone(), quant })
}

#[derive(Clone, Debug)]
struct SavedLoss {
    gradient: Vec<f32>,
}

impl Saved<1> for SavedLoss {
    fn gradients(self, dy: &mut [f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(self.gradient.iter().map(|gradient| gradient * dy[0]).collect())]
    }
}

/// The mean loss as the end of the tape.
pub(crate) fn end_in(logits: &Tensor, loss: Loss) -> Tensor {
    #[expect(clippy::cast_possible_truncation, reason = "only its gradient is used")]
    let mean = loss.mean as f32;
    record([logits], vec![mean], || SavedLoss { gradient: loss.gradient })
}
