//! Walks a float network and its quantized form side by side, node by node, over all samples.

use std::collections::BTreeMap;

use embdl_core::metadata::Metadata;
use embdl_core::quant::Quant;
use embdl_core::runtime::Runtime;
use embdl_graph::{Graph, Node, NodeId, ValueId};

use crate::error::CompressError;
use crate::execute::{Buffer, Executor};
use crate::observe::{bare, floats};
use crate::samples::Samples;

/// Bytes that the activations of all samples may take at a time.
const BUDGET_BYTES: usize = 1 << 30;

/// A layer that computes in integers, when the walk is at it; what came before is quantized already.
pub(crate) struct Layer<'a> {
    /// The layer.
    pub(crate) node: NodeId,
    /// What the quantized network gives it, for each sample, as floats.
    pub(crate) inputs: &'a [Vec<f32>],
    /// Results of the float network before the activation, for each sample.
    pub(crate) results: &'a [Vec<f32>],
    executor: Executor<'a>,
}

impl Layer<'_> {
    /// Results before the activation of the layer as it is in `graph`, on the inputs that the quantized network gives.
    pub(crate) fn quantized_results(&self, graph: &Graph) -> Result<Vec<Vec<f32>>, CompressError> {
        let layer = floats(&single(graph, self.node, true));
        let input = |at: usize, _: usize| Buffer::F32(self.inputs[at].clone());
        self.executor.run(&layer, self.inputs.len(), input, |_, outputs, _| first(outputs))
    }
}

/// Calls `visit` at every layer of `graph` that computes in integers, in order; what it changes counts from there on.
///
/// `reference` is the float network, with the same nodes and values. Takes as many of the samples as fit the memory.
pub(crate) fn walk(
    runtime: &dyn Runtime,
    reference: &Graph,
    graph: &mut Graph,
    samples: &Samples,
    mut visit: impl FnMut(&mut Graph, &Layer<'_>) -> Result<(), CompressError>,
) -> Result<(), CompressError> {
    samples.fit(graph)?;
    let samples = samples.spread(affordable(graph));
    let (count, executor) = (samples.len(), Executor { runtime });
    let mut float: BTreeMap<ValueId, Vec<Vec<f32>>> = BTreeMap::new();
    let mut quantized: BTreeMap<ValueId, Vec<Buffer>> = BTreeMap::new();
    let input = graph.inputs[0];
    let all = || (0..count).map(|at| samples.get(at).to_vec());
    float.insert(input, all().collect());
    quantized.insert(input, all().map(Buffer::F32).collect());
    for id in 0..graph.nodes.len() {
        let node = reference.nodes[id].clone();
        let alone = floats(&single(reference, id, true));
        let take =
            |at: usize, index: usize| Buffer::F32(float[&nth_input(&node, index)][at].clone());
        let mut results = executor.run(&alone, count, take, |_, outputs, _| first(outputs))?;
        if graph.computes_in_integers(&graph.nodes[id]) && bare(&node.op).is_some() {
            let quant = graph.values[node.inputs[0]].quant;
            let inputs: Vec<Vec<f32>> = quantized[&node.inputs[0]]
                .iter()
                .map(|buffer| in_levels(buffer.clone(), quant).floats(quant))
                .collect();
            let (inputs, results) = (&inputs, &results);
            visit(graph, &Layer { node: id, inputs, results, executor })?;
        }
        let epilogue = node.op.activation();
        if bare(&node.op).is_some() {
            results.iter_mut().flatten().for_each(|x| *x = epilogue.apply(*x));
        }
        let integer = graph.computes_in_integers(&graph.nodes[id]);
        let mut alone = single(graph, id, false);
        if !integer {
            alone = floats(&alone);
        }
        let take = |at: usize, index: usize| {
            let value = nth_input(&node, index);
            let (buffer, quant) = (quantized[&value][at].clone(), graph.values[value].quant);
            if integer { in_levels(buffer, quant) } else { Buffer::F32(buffer.floats(quant)) }
        };
        let made = executor.run(&alone, count, take, |_, mut outputs, specs| {
            let output = outputs.remove(0);
            match output {
                Buffer::I32(_) => Buffer::F32(output.floats(specs[0].kind.quant)),
                other => other,
            }
        })?;
        float.insert(node.output, results);
        quantized.insert(node.output, made);
        let needed = |value: &ValueId| {
            graph.nodes[id + 1..].iter().any(|later| later.inputs.contains(value))
        };
        float.retain(|value, _| needed(value));
        quantized.retain(|value, _| needed(value));
    }
    Ok(())
}

fn first(mut outputs: Vec<Buffer>) -> Vec<f32> {
    outputs.remove(0).floats(None)
}

fn in_levels(buffer: Buffer, quant: Option<Quant>) -> Buffer {
    match (buffer, quant) {
        (Buffer::F32(data), Some(quant)) => {
            Buffer::U8(data.iter().map(|&x| quant.quantize(x)).collect())
        }
        (other, _) => other,
    }
}

/// Distinct inputs of a node, in order.
fn distinct(node: &Node) -> Vec<ValueId> {
    let mut seen: Vec<ValueId> = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        if !seen.contains(&input) {
            seen.push(input);
        }
    }
    seen
}

fn nth_input(node: &Node, index: usize) -> ValueId {
    distinct(node)[index]
}

/// The node as a network of its own; `open` without its activation if it is a layer.
fn single(graph: &Graph, id: NodeId, open: bool) -> Graph {
    let node = &graph.nodes[id];
    let inputs = distinct(node);
    let mut values: Vec<_> = inputs.iter().map(|&value| graph.values[value].clone()).collect();
    values.push(graph.values[node.output].clone());
    let mut params = Vec::new();
    let mut keep = |param: Option<usize>| {
        param.map(|id| {
            params.push(graph.params[id].clone());
            params.len() - 1
        })
    };
    let (weight, bias) = (keep(node.weight), keep(node.bias));
    let place =
        |value: &ValueId| inputs.iter().position(|input| input == value).expect("its own input");
    let alone = Node {
        op: bare(&node.op).filter(|_| open).unwrap_or_else(|| node.op.clone()),
        inputs: node.inputs.iter().map(place).collect(),
        output: inputs.len(),
        weight,
        bias,
        ..node.clone()
    };
    Graph {
        values,
        nodes: vec![alone],
        params,
        inputs: (0..inputs.len()).collect(),
        outputs: vec![inputs.len()],
        name: graph.name.clone(),
        metadata: Metadata::default(),
    }
}

/// How many samples fit the memory: a node's values as floats, as levels, and as floats again.
fn affordable(graph: &Graph) -> usize {
    let live = |node: &Node| -> usize {
        node.inputs.iter().chain([&node.output]).map(|&id| graph.values[id].shape.len()).sum()
    };
    let widest = graph.nodes.iter().map(live).max().unwrap_or(1).max(1);
    (BUDGET_BYTES / (widest * 12)).max(1)
}
