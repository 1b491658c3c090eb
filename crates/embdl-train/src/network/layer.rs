//! One node of a network: its operator, attributes and parameters on a device.

use embdl_core::op::Op;
use embdl_core::tensor::Shape;
use embdl_graph::{Node, ParamId, ValueId};

use super::Network;
use crate::error::TrainError;
use crate::operators::{Norm, Operators, Statistics, Tensor, Weights};

pub(super) struct Layer<'a, E: Operators> {
    pub(super) on: &'a E,
    pub(super) network: &'a Network<'a, E::Burn>,
    pub(super) node: &'a Node,
}

impl<E: Operators> Layer<'_, E> {
    /// The result, and the statistics of a batch that was normalized by them.
    pub(super) fn run(
        &self,
        inputs: &[&Tensor<E::Burn>],
    ) -> Result<(Tensor<E::Burn>, Option<Statistics>), TrainError> {
        let Self { on, node, .. } = *self;
        let x = inputs[0];
        let output = self.shape(node.output);
        let result = match &node.op {
            Op::Conv2d(conv) => on.convolution(conv, x, &self.weights()?, output),
            Op::Dense(dense) => on.dense(dense.activation, x, &self.weights()?),
            Op::Pool(pool) => on.pool(pool, x, output),
            Op::GlobalAveragePool => on.global_average(x),
            Op::Activation(activation) => on.activation(*activation, x),
            Op::Unary(unary) => on.unary(*unary, x),
            Op::Add(activation) => on.add(*activation, x, inputs[1]),
            Op::Mul => on.multiply(x, inputs[1]),
            Op::PRelu => on.prelu(x, self.weights()?.weight),
            Op::Concat(concat) => on.concat(inputs, concat.axis as usize),
            Op::Lrn(lrn) => on.lrn(lrn, x),
            Op::Softmax => on.softmax(x),
            Op::BatchNorm(norm) => {
                let Weights { weight, bias } = self.weights()?;
                let bias = bias.ok_or_else(|| self.unsupported("it has no bias"))?;
                let (mean, variance) =
                    node.stats.ok_or_else(|| self.unsupported("it has no statistics"))?;
                let values = |id: ParamId| self.network.graph.params[id].values().to_vec();
                let running = (!self.network.is_training)
                    .then(|| Statistics { mean: values(mean), variance: values(variance) });
                return on.batch_norm(&Norm { norm: *norm, weight, bias, running }, x);
            }
            Op::Transpose(transpose) => on.transpose(transpose, x),
            Op::Pad(pad) => on.pad(pad, x),
            Op::Resize(resize) => on.resize(resize, x),
            // NHWC order stays.
            Op::Flatten | Op::Reshape(_) => on.reshape(x, output),
            // Levels are simulated where values are written.
            Op::Quantize | Op::Dequantize => x.clone(),
        };
        Ok((result, None))
    }

    fn shape(&self, value: ValueId) -> Shape {
        self.network.graph.values[value].shape.with_batch(self.network.batch)
    }

    fn weights(&self) -> Result<Weights<'_, E::Burn>, TrainError> {
        let weight = self.node.weight.ok_or_else(|| self.unsupported("it has no weight"))?;
        let params = self.network.params;
        Ok(Weights { weight: &params[weight], bias: self.node.bias.map(|id| &params[id]) })
    }

    fn unsupported(&self, reason: &'static str) -> TrainError {
        TrainError::Unsupported { node: self.node.name.clone(), op: self.node.op.name(), reason }
    }
}
