//! Bias correction: what quantization shifts on average, biases shift back.

use core::fmt;

use embdl_core::runtime::Runtime;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, Param, ParamRole};

use crate::error::CompressError;
use crate::pass::{Pass, PassReport, report};
use crate::samples::Samples;
use crate::walk::walk;

/// Moves the bias of each quantized layer so that every channel has the float network's mean before the activation.
///
/// Layer by layer, on what the quantized and so far corrected network gives. Source: Nagel et al. 2019, "Data-Free
/// Quantization Through Weight Equalization and Bias Correction", §4.2, with the means observed on samples.
pub struct CorrectBias<'a> {
    /// Runs the network.
    pub runtime: &'a dyn Runtime,
    /// What means are taken over.
    pub samples: &'a Samples,
    /// The network before quantization.
    pub reference: &'a Graph,
}

impl fmt::Debug for CorrectBias<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorrectBias").finish_non_exhaustive()
    }
}

impl Pass for CorrectBias<'_> {
    fn name(&self) -> &'static str {
        "correct-bias"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        report(self.name(), graph, |graph| {
            let mut changed = graph.clone();
            walk(self.runtime, self.reference, &mut changed, self.samples, |graph, layer| {
                let channels = bias_of(graph, layer.node);
                let wanted = means(layer.results, channels);
                let found = means(&layer.quantized_results(graph)?, channels);
                let bias = graph.nodes[layer.node].bias.expect("made above");
                let values = graph.params[bias].values_mut();
                for ((bias, wanted), found) in values.iter_mut().zip(wanted).zip(found) {
                    #[expect(clippy::cast_possible_truncation, reason = "a mean of f32")]
                    let shift = (wanted - found) as f32;
                    *bias += shift;
                }
                Ok(())
            })?;
            *graph = changed;
            Ok(())
        })
    }
}

/// Makes sure that a layer has a bias; the number of its channels.
fn bias_of(graph: &mut Graph, node: usize) -> usize {
    let weight = graph.nodes[node].weight.expect("layers have weights");
    let channels = graph.params[weight].shape.dim(0);
    if graph.nodes[node].bias.is_none() {
        let name = format!("{}.bias", graph.nodes[node].name);
        let zeros = vec![0.0; channels];
        graph.params.push(Param::new(name, ParamRole::Bias, Shape::vector(channels), zeros));
        graph.nodes[node].bias = Some(graph.params.len() - 1);
    }
    channels
}

/// Mean of each channel over all positions of all samples.
#[expect(clippy::cast_precision_loss, reason = "a count of positions")]
fn means(results: &[Vec<f32>], channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0_f64; channels];
    for row in results.iter().flat_map(|result| result.chunks_exact(channels)) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let rows: usize = results.iter().map(|result| result.len() / channels).sum();
    sums.iter_mut().for_each(|sum| *sum /= rows.max(1) as f64);
    sums
}
