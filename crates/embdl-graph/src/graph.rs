//! The graph: values, nodes, parameters.

use embdl_core::metadata::Metadata;
use embdl_core::op::{Op, Pool, PoolKind};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use serde::{Deserialize, Serialize};

use crate::param::{Param, ParamRole};

/// Index into [`Graph::values`].
pub type ValueId = usize;
/// Index into [`Graph::nodes`].
pub type NodeId = usize;
/// Index into [`Graph::params`].
pub type ParamId = usize;

/// A network on the host. Activations are NHWC, shapes are for a batch of one, nodes stand in an order in which they
/// can run. [`Graph::validate`] checks all that; every function that returns a graph has called it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Name of the network.
    pub name: String,
    /// Activations.
    pub values: Vec<Value>,
    /// Operators in execution order.
    pub nodes: Vec<Node>,
    /// Weights and biases.
    pub params: Vec<Param>,
    /// Values the caller provides.
    pub inputs: Vec<ValueId>,
    /// Values the caller receives.
    pub outputs: Vec<ValueId>,
    /// Preprocessing and labels.
    pub metadata: Metadata,
}

/// An activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Unique name.
    pub name: String,
    /// Shape for a batch of one.
    pub shape: Shape,
    /// Set where the value is to be a u8 on the device: training simulates these levels.
    pub quant: Option<Quant>,
}

/// One operator applied to values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// Operator and attributes.
    pub op: Op,
    /// Values read.
    pub inputs: Vec<ValueId>,
    /// Value written.
    pub output: ValueId,
    /// Weight of convolutions and dense layers, slopes of PReLU; of batch normalization, the factor of each channel.
    pub weight: Option<ParamId>,
    /// Bias of convolutions, dense layers and batch normalization.
    pub bias: Option<ParamId>,
    /// Running mean and variance of batch normalization, one of each for a channel.
    pub stats: Option<(ParamId, ParamId)>,
}

impl Graph {
    /// Number of weights and biases; statistics are neither.
    #[must_use]
    pub fn param_count(&self) -> usize {
        let trained = self.params.iter().filter(|param| param.role != ParamRole::Statistic);
        trained.map(|param| param.shape.len()).sum()
    }

    /// Bytes of all weights and biases as fp32: what compression ratios refer to.
    #[must_use]
    pub fn fp32_bytes(&self) -> u64 {
        self.param_count() as u64 * 4
    }

    /// Multiply-accumulates for one sample.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|node| self.node_macs(node)).sum()
    }

    /// Multiply-accumulates of one node for one sample.
    #[must_use]
    pub fn node_macs(&self, node: &Node) -> u64 {
        let weight = node.weight.map(|id| self.params[id].shape);
        node.op.macs(self.values[node.output].shape, weight)
    }

    /// Convolutions and dense layers with their weights, in execution order: what compression works on.
    pub fn layers(&self) -> impl Iterator<Item = (&Node, &Param)> {
        let layers = self.nodes.iter().filter(|node| node.op.is_layer());
        layers.filter_map(|node| Some((node, &self.params[node.weight?])))
    }

    /// Whether `node` computes in integers on a device: its inputs have levels, and so have its weights or its result.
    #[must_use]
    pub fn computes_in_integers(&self, node: &Node) -> bool {
        let quant = |id: ValueId| self.values[id].quant;
        let Some(first) = node.inputs.first().and_then(|&id| quant(id)) else { return false };
        if node.inputs.iter().any(|&id| quant(id).is_none()) {
            return false;
        }
        let result = quant(node.output);
        match &node.op {
            Op::Conv2d(_) | Op::Dense(_) => {
                node.weight.is_some_and(|id| self.params[id].scales().is_some())
            }
            Op::Add(_)
            | Op::Concat(_)
            | Op::Unary(_)
            | Op::Mul
            | Op::PRelu
            | Op::GlobalAveragePool
            | Op::Pool(Pool { kind: PoolKind::Average { .. }, .. }) => result.is_some(),
            Op::Lrn(_) | Op::Softmax | Op::Quantize | Op::Dequantize | Op::BatchNorm(_) => false,
            _ => result == Some(first),
        }
    }

    /// The node that writes `value`, if it is not an input.
    #[must_use]
    pub fn producer(&self, value: ValueId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.output == value)
    }
}
