//! How much accuracy each layer costs when it alone is compressed.

use embdl_graph::Graph;
use serde::{Deserialize, Serialize};

use crate::error::CompressError;
use crate::pass::Pass;
use crate::passes::{PruneMagnitude, ShareWeights, Sparsity};

/// Accuracy of the network for several strengths of compressing one layer, without retraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name of the layer.
    pub layer: String,
    /// Pruned to each density.
    pub pruned: Vec<SensitivityPoint>,
    /// Shared with each number of bits.
    pub shared: Vec<SensitivityPoint>,
}

/// One strength and what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityPoint {
    /// Density (0 to 1) or bits.
    pub setting: f64,
    /// Accuracy, 0 to 1, as `evaluate` measured it.
    pub accuracy: f64,
}

/// Compresses each layer alone to every density and to every number of bits, and measures.
///
/// `evaluate` must use validation data, never the test set.
///
/// # Errors
/// If a density or a number of bits is out of range, or `evaluate` fails.
pub fn sensitivity<E: From<CompressError>>(
    graph: &Graph,
    densities: &[f64],
    bits: &[u8],
    mut evaluate: impl FnMut(&Graph) -> Result<f64, E>,
) -> Result<Vec<Sensitivity>, E> {
    let mut all = Vec::new();
    for (node, _) in graph.layers() {
        let mut measure = |pass: &dyn Pass, setting| -> Result<SensitivityPoint, E> {
            let mut changed = graph.clone();
            pass.run(&mut changed)?;
            Ok(SensitivityPoint { setting, accuracy: evaluate(&changed)? })
        };
        let mut pruned = Vec::with_capacity(densities.len());
        for &density in densities {
            let only = Sparsity::PerLayer(vec![(node.name.clone(), density)]);
            pruned.push(measure(&PruneMagnitude::new(only), density)?);
        }
        let mut shared = Vec::with_capacity(bits.len());
        for &bits in bits {
            shared.push(measure(
                &ShareWeights { bits: vec![(node.name.clone(), bits)] },
                f64::from(bits),
            )?);
        }
        all.push(Sensitivity { layer: node.name.clone(), pruned, shared });
    }
    Ok(all)
}
