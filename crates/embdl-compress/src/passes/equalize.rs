//! Cross-layer equalization: scales of channels move between neighbouring layers, so that one range serves them all.
//!
//! Between two layers with a positively homogeneous function, channel `i` may be divided by `s` where it is made and
//! multiplied by `s` where it is read, and the network computes the same. Source: Nagel et al. 2019, "Data-Free
//! Quantization Through Weight Equalization and Bias Correction", §4.1; ReLU6 is homogeneous only below six, so that
//! a channel is held below it, or left alone where it gets there.

use embdl_core::op::{Activation, Op};
use embdl_core::runtime::Runtime;
use embdl_graph::{Form, Graph, NodeId};

use crate::error::CompressError;
use crate::observe::{bare, channel_ranges};
use crate::pass::{LayerReport, Pass, PassReport};
use crate::samples::Samples;

/// Sweeps over all pairs; they converge in a few.
const SWEEPS: usize = 20;
/// A sweep that changes no scale by more than this share is the last one.
const SETTLED: f32 = 0.01;
/// Room left below six, so that inputs that go beyond the samples are not clipped either.
const ROOM: f32 = 1.5;

/// What is made equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Balance {
    /// Ranges of the first layer's rows and of the second layer's columns, as in the paper: for weights with one scale
    /// for the tensor.
    Weights,
    /// Ranges of the activations between them and of the second layer's columns, neither of which gets a larger
    /// maximum: for weights with a scale for each channel, whose rows need no help.
    #[default]
    Activations,
}

/// What becomes of ReLU6 between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Clipping {
    /// Channels that reach six on the samples keep their scale, the others stay below it: the network computes the
    /// same on inputs like the samples.
    #[default]
    Keep,
    /// It becomes ReLU, as in the paper, which changes what the network computes.
    Replace,
}

/// Makes ranges of channels equal across pairs of layers.
#[derive(Clone, Copy)]
pub struct EqualizeLayers<'a> {
    /// Runs the network.
    pub runtime: &'a dyn Runtime,
    /// Tell the ranges of activations.
    pub samples: &'a Samples,
    /// What is made equal.
    pub balance: Balance,
    /// What becomes of ReLU6.
    pub clipping: Clipping,
}

impl core::fmt::Debug for EqualizeLayers<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EqualizeLayers")
            .field("balance", &self.balance)
            .field("clipping", &self.clipping)
            .finish_non_exhaustive()
    }
}

impl Pass for EqualizeLayers<'_> {
    fn name(&self) -> &'static str {
        "equalize"
    }

    fn run(&self, graph: &mut Graph) -> Result<PassReport, CompressError> {
        let pairs = pairs(graph);
        let mut tops: Vec<Option<Vec<f32>>> = if pairs.is_empty() {
            Vec::new()
        } else {
            channel_ranges(graph, self.runtime, self.samples)?
                .into_iter()
                .map(|ranges| Some(ranges?.iter().map(|range| range.1).collect()))
                .collect()
        };
        if self.clipping == Clipping::Replace {
            pairs.iter().for_each(|pair| unclip(graph, pair));
        }
        let mut changed = vec![false; pairs.len()];
        for _ in 0..SWEEPS {
            let mut largest = 0.0_f32;
            for (pair, changed) in pairs.iter().zip(&mut changed) {
                let tops = tops[pair.first].as_mut().expect("layers have ranges");
                let scales = self.scales(graph, pair, tops);
                let change = scales.iter().fold(0.0_f32, |most, s| most.max(s.ln().abs()));
                if change > SETTLED {
                    *changed = true;
                    apply(graph, pair, &scales);
                    tops.iter_mut().zip(&scales).for_each(|(top, s)| *top /= s);
                }
                largest = largest.max(change);
            }
            if largest <= SETTLED {
                break;
            }
        }
        graph.validate()?;
        let firsts: Vec<NodeId> =
            pairs.iter().zip(&changed).filter(|(_, c)| **c).map(|(pair, _)| pair.first).collect();
        let layers = firsts.into_iter().filter_map(|node| {
            let node = &graph.nodes[node];
            let weights = graph.params[node.weight?].len();
            // The function stays, so no error is added.
            Some(LayerReport {
                layer: node.name.clone(),
                weights,
                kept: weights,
                levels: None,
                error: 0.0,
            })
        });
        Ok(PassReport { pass: self.name().into(), layers: layers.collect() })
    }
}

impl EqualizeLayers<'_> {
    /// What each channel between the pair is divided by.
    fn scales(&self, graph: &Graph, pair: &Pair, tops: &[f32]) -> Vec<f32> {
        let columns = columns(graph, pair);
        let clipped = pair.clips && self.clipping == Clipping::Keep;
        let reached = |top: f32| if pair.clips && clipped { top.min(6.0) } else { top };
        let widest = tops.iter().fold(0.0_f32, |most, &top| most.max(reached(top)));
        let largest = columns.iter().copied().fold(0.0_f32, f32::max);
        let rows = rows(graph, pair);
        (0..tops.len())
            .map(|channel| {
                let (top, column, row) = (reached(tops[channel]), columns[channel], rows[channel]);
                if !(top > 0.0 && column > 0.0 && row > 0.0) {
                    return 1.0;
                }
                if clipped && tops[channel] * ROOM >= 6.0 {
                    return 1.0;
                }
                let scale = match self.balance {
                    Balance::Weights => (row / column).sqrt(),
                    Balance::Activations if pair.depthwise => top / widest,
                    Balance::Activations => (top / widest * (largest / column)).sqrt(),
                };
                // Beyond this, products of scales of a long chain would leave the range of floats.
                let scale = scale.clamp(1e-4, 1e4);
                if clipped { scale.max(tops[channel] * ROOM / 6.0) } else { scale }
            })
            .collect()
    }
}

/// Two layers with nothing but channel-wise homogeneous functions between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    first: NodeId,
    second: NodeId,
    /// Nodes between them.
    between: Vec<NodeId>,
    /// Whether there is a ReLU6.
    clips: bool,
    /// Whether each channel has its own filter, and so its own scale, in the second layer.
    depthwise: bool,
}

fn pairs(graph: &Graph) -> Vec<Pair> {
    (0..graph.nodes.len()).filter_map(|first| pair(graph, first)).collect()
}

fn pair(graph: &Graph, first: NodeId) -> Option<Pair> {
    let is_free = |node: NodeId| {
        let weight = graph.nodes[node].weight;
        weight.is_some_and(|id| {
            let users = graph.nodes.iter().filter(|other| other.weight == weight).count();
            graph.params[id].form == Form::Free && users == 1
        })
    };
    if bare(&graph.nodes[first].op).is_none() || !is_free(first) {
        return None;
    }
    let mut clips = graph.nodes[first].op.activation() == Activation::Relu6;
    let mut between = Vec::new();
    let mut value = graph.nodes[first].output;
    loop {
        let mut readers =
            (0..graph.nodes.len()).filter(|&node| graph.nodes[node].inputs.contains(&value));
        let (Some(reader), None) = (readers.next(), readers.next()) else { return None };
        if graph.outputs.contains(&value) {
            return None;
        }
        let node = &graph.nodes[reader];
        match &node.op {
            Op::Conv2d(conv) => {
                let depthwise = conv.is_depthwise(graph.values[value].shape.dim(3));
                return is_free(reader).then_some(Pair {
                    first,
                    second: reader,
                    between,
                    clips,
                    depthwise,
                });
            }
            Op::Dense(_) => {
                return is_free(reader).then_some(Pair {
                    first,
                    second: reader,
                    between,
                    clips,
                    depthwise: false,
                });
            }
            Op::Activation(activation) => clips |= *activation == Activation::Relu6,
            Op::Pool(_) | Op::GlobalAveragePool | Op::Flatten => {}
            _ => return None,
        }
        between.push(reader);
        value = node.output;
    }
}

/// Largest absolute weight of each row of the first layer.
fn rows(graph: &Graph, pair: &Pair) -> Vec<f32> {
    let weight = graph.nodes[pair.first].weight.expect("pairs are of layers");
    let param = &graph.params[weight];
    let len = (param.len() / param.shape.dim(0)).max(1);
    let largest = |row: &[f32]| row.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    param.values().chunks(len).map(largest).collect()
}

/// Largest absolute weight of the second layer for each channel between the two.
fn columns(graph: &Graph, pair: &Pair) -> Vec<f32> {
    let channels = rows_len(graph, pair.first);
    let weight = graph.nodes[pair.second].weight.expect("pairs are of layers");
    let channel_of = reads(graph, pair.second, channels);
    let mut columns = vec![0.0_f32; channels];
    for (at, w) in graph.params[weight].values().iter().enumerate() {
        let column = &mut columns[channel_of(at)];
        *column = column.max(w.abs());
    }
    columns
}

fn rows_len(graph: &Graph, node: NodeId) -> usize {
    graph.params[graph.nodes[node].weight.expect("pairs are of layers")].shape.dim(0)
}

/// Which of `channels` each weight of a layer is multiplied with.
fn reads(graph: &Graph, node: NodeId, channels: usize) -> impl Fn(usize) -> usize + use<> {
    let node = &graph.nodes[node];
    let shape = graph.params[node.weight.expect("pairs are of layers")].shape;
    let (row, width, groups) = match &node.op {
        Op::Conv2d(conv) => (shape.len() / shape.dim(0), shape.dim(3), conv.groups as usize),
        // A flattened image repeats its channels.
        _ => (shape.dim(1), channels, 1),
    };
    let rows_a_group = (shape.dim(0) / groups).max(1);
    move |at| at / row / rows_a_group * width + at % row % width
}

fn apply(graph: &mut Graph, pair: &Pair, scales: &[f32]) {
    let channel_of = reads(graph, pair.second, scales.len());
    let second = graph.nodes[pair.second].weight.expect("pairs are of layers");
    for (at, w) in graph.params[second].values_mut().iter_mut().enumerate() {
        *w *= scales[channel_of(at)];
    }
    let (first, bias) = (graph.nodes[pair.first].weight, graph.nodes[pair.first].bias);
    for id in [first, bias].into_iter().flatten() {
        let param = &mut graph.params[id];
        let row = (param.len() / scales.len()).max(1);
        for (row, s) in param.values_mut().chunks_mut(row).zip(scales) {
            row.iter_mut().for_each(|w| *w /= s);
        }
    }
}

fn unclip(graph: &mut Graph, pair: &Pair) {
    for &node in [pair.first].iter().chain(&pair.between) {
        match &mut graph.nodes[node].op {
            Op::Conv2d(conv) if conv.activation == Activation::Relu6 => {
                conv.activation = Activation::Relu;
            }
            Op::Dense(dense) if dense.activation == Activation::Relu6 => {
                dense.activation = Activation::Relu;
            }
            Op::Activation(activation) if *activation == Activation::Relu6 => {
                *activation = Activation::Relu;
            }
            _ => {}
        }
    }
}
