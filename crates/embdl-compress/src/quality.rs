//! Quantization layer by layer: how well each one is represented, and what it alone costs.

use embdl_core::runtime::Runtime;
use embdl_graph::{Graph, Node, NodeId};
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, decibels, scores};
use crate::error::CompressError;
use crate::levels::drop_needless_levels;
use crate::observe::bare;
use crate::samples::Samples;
use crate::walk::walk;

/// What quantization does to one layer. Ratios are of signal to error, in decibels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerQuality {
    /// Name of the layer.
    pub layer: String,
    /// Of the weights.
    pub weight_sqnr_db: f64,
    /// Of the float network's activations, put into the levels of the layer's result; infinite where it has none.
    pub activation_sqnr_db: f64,
    /// Of the layer's result before the activation, with all layers before it quantized as well.
    pub output_sqnr_db: f64,
    /// Of the network with this layer alone quantized, with the float network.
    pub alone: Agreement,
}

/// Looks at every integer layer of `graph`, the quantized form of the float network `reference`.
///
/// # Errors
/// If the samples do not fit, or a network cannot be lowered or run.
pub fn layer_quality(
    reference: &Graph,
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<LayerQuality>, CompressError> {
    let mut layers = Vec::new();
    let mut walked = graph.clone();
    walk(runtime, reference, &mut walked, samples, |graph, layer| {
        let node = &graph.nodes[layer.node];
        let mut weights = Ratio::default();
        let of = |graph: &Graph| node.weight.map(|id| graph.params[id].effective());
        weights.add(&of(reference).unwrap_or_default(), &of(graph).unwrap_or_default());
        let (mut activations, mut outputs) = (Ratio::default(), Ratio::default());
        let epilogue = node.op.activation();
        for (result, found) in layer.results.iter().zip(layer.quantized_results(graph)?) {
            outputs.add(result, &found);
            if let Some(quant) = graph.values[node.output].quant {
                let real: Vec<f32> = result.iter().map(|&x| epilogue.apply(x)).collect();
                let held: Vec<f32> =
                    real.iter().map(|&x| quant.dequantize(quant.quantize(x))).collect();
                activations.add(&real, &held);
            }
        }
        layers.push([weights.decibels(), activations.decibels(), outputs.decibels()]);
        Ok(())
    })?;
    let costs = alone_costs(reference, graph, runtime, samples)?;
    let quality = |((id, alone), ratios): ((NodeId, Agreement), [f64; 3])| {
        let [weight_sqnr_db, activation_sqnr_db, output_sqnr_db] = ratios;
        let layer = graph.nodes[id].name.clone();
        LayerQuality { layer, weight_sqnr_db, activation_sqnr_db, output_sqnr_db, alone }
    };
    Ok(costs.into_iter().zip(layers).map(quality).collect())
}

/// For every integer layer of `graph`, in order, how the network agrees with `reference` if this layer alone is quantized.
pub(crate) fn alone_costs(
    reference: &Graph,
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<(NodeId, Agreement)>, CompressError> {
    let wanted = scores(reference, runtime, samples)?;
    let is_integer = |node: &Node| bare(&node.op).is_some() && graph.computes_in_integers(node);
    let layers = graph.nodes.iter().enumerate().filter(|(_, node)| is_integer(node));
    layers
        .map(|(id, node)| {
            let one = alone(reference, graph, node);
            Ok((id, Agreement::of(&wanted, &scores(&one, runtime, samples)?)))
        })
        .collect()
}

/// The float network with one layer as it is in the quantized one.
fn alone(reference: &Graph, graph: &Graph, node: &Node) -> Graph {
    let mut one = reference.clone();
    for id in [node.weight, node.bias].into_iter().flatten() {
        if let (Some(own), Some(param)) = (one.params.get_mut(id), graph.params.get(id)) {
            *own = param.clone();
        }
    }
    debug_assert!(bare(&node.op).is_some(), "layers are convolutions and dense");
    for &value in node.inputs.iter().chain([&node.output]) {
        one.values[value].quant = graph.values[value].quant;
    }
    drop_needless_levels(&mut one);
    one
}

/// Energy of a signal and of its error.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    energy: f64,
    error: f64,
}

impl Ratio {
    fn add(&mut self, signal: &[f32], found: &[f32]) {
        for (&x, &y) in signal.iter().zip(found) {
            self.energy += f64::from(x) * f64::from(x);
            self.error += (f64::from(x) - f64::from(y)).powi(2);
        }
    }

    fn decibels(self) -> f64 {
        decibels(self.energy, self.error)
    }
}
