//! The interpreter: runs any graph node by node, on any device.

mod layer;

use burn_backend::Backend;
use embdl_core::op::Op;
use embdl_graph::{Graph, Node, NodeId, ValueId};

use self::layer::Layer;
use crate::error::TrainError;
use crate::operators::{Operators, Statistics, Tensor};

/// Sees every value of a network.
pub(crate) type Observe<'a> = &'a mut dyn FnMut(ValueId, &[f32]);

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

/// A network and its parameters on a device, ready to run batches.
#[derive(Debug)]
pub(crate) struct Network<'a, B: Backend> {
    /// The nodes.
    pub(crate) graph: &'a Graph,
    /// Effective values of all parameters.
    pub(crate) params: &'a [Tensor<B>],
    /// Images of a batch.
    pub(crate) batch: usize,
    /// Whether batches are normalized by statistics of their own.
    pub(crate) is_training: bool,
}

/// What a batch gave.
#[derive(Debug)]
pub(crate) struct Passed<B: Backend> {
    /// Logits, one row an image.
    pub(crate) logits: Tensor<B>,
    /// Statistics of the batch at each of its normalizations.
    pub(crate) statistics: Vec<(NodeId, Statistics)>,
}

impl<B: Backend> Network<'_, B> {
    /// Runs a batch of images up to the logits; `observe` sees every value, the image included.
    ///
    /// # Errors
    /// If a node needs what there is no gradient for, or the device fails.
    pub(crate) fn forward<E: Operators<Burn = B>>(
        &self,
        on: &E,
        image: Tensor<B>,
        mut observe: Option<Observe<'_>>,
    ) -> Result<Passed<B>, TrainError> {
        let graph = self.graph;
        let logits = logits_value(graph)?;
        let mut reads = vec![0_usize; graph.values.len()];
        graph.nodes.iter().flat_map(|node| &node.inputs).for_each(|&input| reads[input] += 1);
        reads[logits] += 1;
        let mut statistics = Vec::new();
        let mut slots: Vec<Option<Tensor<B>>> = vec![None; graph.values.len()];
        let mut put = |slots: &mut Vec<_>, id: ValueId, tensor: Tensor<B>| {
            let tensor = match graph.values[id].quant {
                Some(quant) => on.hold_to_levels(quant, &tensor),
                None => tensor,
            };
            if let Some(observe) = &mut observe {
                observe(id, &on.download(tensor.primitive())?);
            }
            slots[id] = Some(tensor);
            Ok::<(), TrainError>(())
        };
        put(&mut slots, graph.inputs[0], image)?;
        for (at, node) in graph.nodes.iter().enumerate() {
            let inputs: Vec<&Tensor<B>> = node
                .inputs
                .iter()
                .map(|&id| {
                    slots[id].as_ref().expect("a valid graph writes values before it reads them")
                })
                .collect();
            let (result, found) = Layer { on, network: self, node }.run(&inputs)?;
            statistics.extend(found.map(|found| (at, found)));
            put(&mut slots, node.output, result)?;
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
        let logits = slots[logits].take().expect("a valid graph writes its outputs");
        Ok(Passed { logits, statistics })
    }
}
