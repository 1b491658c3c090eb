//! Which layers stay float: those that win most for what they cost, as the calibration samples tell, until it is enough.

use core::ops::Range;

use embdl_core::runtime::Runtime;
use embdl_graph::{Graph, NodeId, ValueId};
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, scores};
use crate::error::CompressError;
use crate::levels::drop_needless_levels;
use crate::observe::bare;
use crate::quality::alone_costs;
use crate::samples::Samples;

/// Layers, the costliest in integers, that are tried each time.
const TRIED: usize = 12;
/// Share of the network that a layer counts at least: values are converted around it, however small it is.
const LEAST_SHARE: f64 = 0.01;
/// Share of the remaining error that a step has to win.
const LEAST_GAIN: f64 = 0.01;
/// Targets that make sense, in decibels.
const TARGETS: Range<f64> = -100.0..200.0;

/// How far post-training quantization may go in keeping layers float by itself.
///
/// The layers that alone in integers cost the network most are tried, one by one and with those that write what they read or
/// read what they write, because a value is rounded until both sides are float. What wins most for its share of the
/// network stays float; then the rest is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FloatLayers {
    /// Signal to error of the network's scores on calibration samples at which it is enough, in decibels.
    pub target_db: f64,
    /// Share of the network's multiply-accumulates, and of its weights, that may stay float, 0 to 1.
    pub share: f64,
    /// How many layers may stay float, if that is limited.
    pub layers: Option<usize>,
}

impl Default for FloatLayers {
    /// Until the error is a hundredth of the signal, at most a tenth of the network.
    fn default() -> Self {
        Self { target_db: 20.0, share: 0.1, layers: None }
    }
}

/// A layer that stays float, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatLayer {
    /// Name of the layer.
    pub layer: String,
    /// Share of the network's multiply-accumulates.
    pub macs: f64,
    /// Share of the network's weights.
    pub weights: f64,
    /// Of the network with this layer alone in integers, with the float network.
    pub alone: Agreement,
}

impl FloatLayers {
    /// The layers of `graph`, the quantized form of `reference`, that are to stay float, and how the network agrees with
    /// them; `wanted` are the float network's scores for `samples`.
    pub(crate) fn choose(
        &self,
        reference: &Graph,
        graph: &Graph,
        runtime: &dyn Runtime,
        (samples, wanted): (&Samples, &[Vec<f32>]),
    ) -> Result<(Vec<FloatLayer>, Agreement), CompressError> {
        let refuse = |setting, value, range| Err(CompressError::Setting { setting, value, range });
        if !(0.0..=1.0).contains(&self.share) {
            return refuse("share of float layers", self.share, "0 to 1");
        }
        if !TARGETS.contains(&self.target_db) {
            return refuse("target of float layers", self.target_db, "-100 to 200 dB");
        }
        let measure = |graph: &Graph| -> Result<Agreement, CompressError> {
            Ok(Agreement::of(wanted, &scores(graph, runtime, samples)?))
        };
        let mut now = graph.clone();
        let mut agreement = measure(&now)?;
        let mut chosen: Vec<NodeId> = Vec::new();
        if agreement.sqnr_db >= self.target_db {
            return Ok((Vec::new(), agreement));
        }
        let mut costs = alone_costs(reference, graph, runtime, samples)?;
        costs.sort_by(|a, b| a.1.sqnr_db.total_cmp(&b.1.sqnr_db));
        while agreement.sqnr_db < self.target_db {
            let mut best: Option<(f64, Vec<NodeId>, Graph, Agreement)> = None;
            let open = costs.iter().map(|(node, _)| *node).filter(|node| !chosen.contains(node));
            for group in groups(graph, open.take(TRIED), &chosen) {
                let all = [&chosen[..], &group[..]].concat();
                let is_full = self.layers.is_some_and(|most| all.len() > most);
                if is_full || share(reference, &all) > self.share {
                    continue;
                }
                let mut trial = now.clone();
                make_float(&mut trial, reference, &group);
                let found = measure(&trial)?;
                let gain = error(agreement) - error(found);
                if gain < LEAST_GAIN * error(agreement) {
                    continue;
                }
                #[expect(clippy::cast_precision_loss, reason = "a few layers")]
                let least = LEAST_SHARE * group.len() as f64;
                let worth = gain / share(reference, &group).max(least);
                if best.as_ref().is_none_or(|(most, ..)| worth > *most) {
                    best = Some((worth, group, trial, found));
                }
            }
            let Some((_, group, trial, found)) = best else { break };
            chosen.extend(group);
            (now, agreement) = (trial, found);
        }
        let layer = |id: NodeId| {
            let alone = costs.iter().find(|(node, _)| *node == id).map(|(_, alone)| *alone);
            FloatLayer {
                layer: graph.nodes[id].name.clone(),
                macs: macs(reference, &[id]),
                weights: weights(reference, &[id]),
                alone: alone.unwrap_or_default(),
            }
        };
        Ok((chosen.into_iter().map(layer).collect(), agreement))
    }
}

/// What is lost, as a share of the signal.
fn error(agreement: Agreement) -> f64 {
    10.0_f64.powf(-agreement.sqnr_db / 10.0)
}

/// Each of `layers` alone, with the layers that write what it reads, and with those that read what it writes; `chosen` are
/// float already and left out.
fn groups(
    graph: &Graph,
    layers: impl Iterator<Item = NodeId>,
    chosen: &[NodeId],
) -> Vec<Vec<NodeId>> {
    let mut groups: Vec<Vec<NodeId>> = Vec::new();
    for layer in layers {
        let node = &graph.nodes[layer];
        let before: Vec<NodeId> = node.inputs.iter().flat_map(|&id| writers(graph, id)).collect();
        for others in [Vec::new(), before, readers(graph, node.output)] {
            let mut group = [&[layer], &others[..]].concat();
            group
                .retain(|id| !chosen.contains(id) && graph.computes_in_integers(&graph.nodes[*id]));
            group.sort_unstable();
            group.dedup();
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
    }
    groups
}

/// Layers that write `value`, directly or through other nodes.
fn writers(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let Some(id) = graph.nodes.iter().position(|node| node.output == value) else {
        return Vec::new();
    };
    let node = &graph.nodes[id];
    if bare(&node.op).is_some() {
        return vec![id];
    }
    // Of a sum only what was added last: a chain of residuals would bring in half of the network.
    node.inputs.last().map_or_else(Vec::new, |&input| writers(graph, input))
}

/// Layers that read `value`, directly or through other nodes than sums.
fn readers(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let reading = graph.nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&value));
    reading
        .flat_map(|(id, node)| match bare(&node.op) {
            Some(_) => vec![id],
            None if node.inputs.len() == 1 => readers(graph, node.output),
            None => Vec::new(),
        })
        .collect()
}

/// Share of the network that the nodes `ids` have: of its multiply-accumulates or of its weights, whichever is larger.
fn share(graph: &Graph, ids: &[NodeId]) -> f64 {
    macs(graph, ids).max(weights(graph, ids))
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn macs(graph: &Graph, ids: &[NodeId]) -> f64 {
    let own: u64 = ids.iter().map(|&id| graph.node_macs(&graph.nodes[id])).sum();
    own as f64 / graph.macs().max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn weights(graph: &Graph, ids: &[NodeId]) -> f64 {
    let of = |&id: &NodeId| graph.nodes[id].weight.map_or(0, |own| graph.params[own].len());
    ids.iter().map(of).sum::<usize>() as f64 / graph.param_count().max(1) as f64
}

/// Gives the nodes `ids` back the weights that they have in `reference`, and takes the levels off values that nobody needs
/// now.
fn make_float(graph: &mut Graph, reference: &Graph, ids: &[NodeId]) {
    for &id in ids {
        let float = &reference.nodes[id];
        for own in [float.weight, float.bias].into_iter().flatten() {
            graph.params[own] = reference.params[own].clone();
        }
        // What bias correction added is gone as well.
        graph.nodes[id].bias = float.bias;
    }
    drop_needless_levels(graph);
}
