//! What a compression pass is, and what it reports.

use embdl_graph::{Form, Graph};
use serde::{Deserialize, Serialize};

use crate::error::CompressError;

/// A change of a graph that makes it smaller, faster, or ready to be.
pub trait Pass {
    /// A verb: "prune", "share", "quantize-weights".
    fn name(&self) -> &'static str;

    /// Changes the graph.
    ///
    /// # Errors
    /// If a setting does not fit the graph; the graph is then unchanged.
    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError>;
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PassReport {
    /// Name of the pass.
    pub pass: String,
    /// One entry for each layer with weights.
    pub layers: Vec<LayerReport>,
}

impl PassReport {
    /// The layers of `graph` as they are after a pass that adds no error.
    #[must_use]
    pub fn of(pass: &str, graph: &Graph) -> Self {
        let layers = graph.layers().map(|(node, param)| LayerReport {
            layer: node.name.clone(),
            weights: param.len(),
            kept: param
                .mask
                .as_ref()
                .map_or(param.len(), |mask| mask.iter().filter(|&&keep| keep).count()),
            levels: match &param.form {
                Form::Free => None,
                Form::Shared { centroids, .. } => Some(centroids.len()),
                Form::Integer { bits, .. } => Some((1 << bits) - 1),
            },
            error: 0.0,
        });
        Self { pass: pass.into(), layers: layers.collect() }
    }
}

/// What a pass did to the weights of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Name of the node.
    pub layer: String,
    /// Weights of the layer.
    pub weights: usize,
    /// Weights that are not held at zero.
    pub kept: usize,
    /// Distinct values that weights may take, if that is limited.
    pub levels: Option<usize>,
    /// Relative squared error that the pass added: `|before - after|² / |before|²`.
    pub error: f64,
}

/// Runs `change` on the graph and reports, layer by layer, what became of the effective weights.
pub(crate) fn report(
    pass: &'static str,
    graph: &mut Graph,
    change: impl FnOnce(&mut Graph) -> Result<(), CompressError>,
) -> Result<PassReport, CompressError> {
    let before = graph.clone();
    change(graph)?;
    graph.validate()?;
    let mut report = PassReport::of(pass, graph);
    let params = before.layers().zip(graph.layers());
    for (layer, ((_, before), (_, after))) in report.layers.iter_mut().zip(params) {
        layer.error = relative_error(&before.effective(), &after.effective());
    }
    Ok(report)
}

fn relative_error(before: &[f32], after: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let energy: f64 = before.iter().map(|&x| square(x)).sum();
    let error: f64 = before.iter().zip(after).map(|(&x, &y)| square(x - y)).sum();
    if energy > 0.0 { error / energy } else { 0.0 }
}
