//! Looks at all activations of a network, as floats.

use std::sync::Mutex;

use embdl_core::metadata::Metadata;
use embdl_core::op::{Activation, Op};
use embdl_core::runtime::Runtime;
use embdl_graph::{Form, Graph, Node, Value, ValueId};

use crate::calibrate::Observer;
use crate::error::CompressError;
use crate::execute::{Buffer, Executor};
use crate::samples::Samples;

/// Observes every value of `graph` on `samples`, in floats: activations without levels, weights with the values that
/// the network computes with.
///
/// # Errors
/// If the samples do not fit the graph, or `runtime` cannot run it.
///
/// # Panics
/// If another thread panicked while it observed.
pub fn observe(
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<Observer>, CompressError> {
    let observers: Vec<Mutex<Observer>> =
        graph.values.iter().map(|_| Mutex::new(Observer::default())).collect();
    look(&floats(graph), runtime, samples, |value, seen| {
        observers[value].lock().expect("observing does not panic").observe(seen);
    })?;
    Ok(observers
        .into_iter()
        .map(|observer| observer.into_inner().expect("observing does not panic"))
        .collect())
}

/// Smallest and largest value of each channel.
pub(crate) type ChannelRanges = Vec<(f32, f32)>;

/// The smallest and the largest result of each channel of every layer, before its activation, by node; `None` for
/// nodes without weights.
pub(crate) fn channel_ranges(
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<Option<ChannelRanges>>, CompressError> {
    let (open, layers) = without_epilogues(&floats(graph));
    let ranges: Vec<Option<Mutex<ChannelRanges>>> = graph
        .nodes
        .iter()
        .map(|node| {
            bare(&node.op)?;
            let channels = graph.params[node.weight?].shape.dim(0);
            Some(Mutex::new(vec![(f32::MAX, f32::MIN); channels]))
        })
        .collect();
    let writer: Vec<Option<usize>> = (0..open.values.len())
        .map(|value| layers.iter().position(|layer| *layer == Some(value)))
        .collect();
    look(&open, runtime, samples, |value, seen| {
        let Some(ranges) = writer[value].and_then(|node| ranges[node].as_ref()) else { return };
        let mut ranges = ranges.lock().expect("taking ranges does not panic");
        let channels = ranges.len();
        for row in seen.chunks_exact(channels) {
            for (range, &x) in ranges.iter_mut().zip(row) {
                *range = (range.0.min(x), range.1.max(x));
            }
        }
    })?;
    let taken = |range: Mutex<Vec<_>>| range.into_inner().expect("taking ranges does not panic");
    Ok(ranges.into_iter().map(|range| range.map(taken)).collect())
}

/// The graph as a float network with the same numbers: no levels, no constraints.
pub(crate) fn floats(graph: &Graph) -> Graph {
    let mut free = graph.clone();
    for value in &mut free.values {
        value.quant = None;
    }
    for param in &mut free.params {
        if param.form != Form::Free || param.mask.is_some() {
            param.set_values(param.effective());
            param.form = Form::Free;
            param.mask = None;
        }
    }
    free
}

/// Shows every value of a float graph for every sample.
fn look(
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
    show: impl Fn(ValueId, &[f32]) + Sync,
) -> Result<(), CompressError> {
    samples.fit(graph)?;
    let mut all = graph.clone();
    all.outputs = (0..graph.values.len()).collect();
    // Labels belong to the network's own outputs.
    all.metadata = Metadata::default();
    let input = |at: usize, _: usize| Buffer::F32(samples.get(at).to_vec());
    Executor { runtime }.run(&all, samples.len(), input, |_, outputs, _| {
        for (value, output) in outputs.into_iter().enumerate() {
            show(value, &output.floats(None));
        }
    })?;
    Ok(())
}

/// The graph with the activations of its layers as nodes of their own, and for each node of the original the value
/// that holds its layer's result before the activation.
fn without_epilogues(graph: &Graph) -> (Graph, Vec<Option<ValueId>>) {
    let mut open = graph.clone();
    let mut results = Vec::with_capacity(graph.nodes.len());
    open.nodes = Vec::with_capacity(graph.nodes.len() * 2);
    for node in &graph.nodes {
        let activation = node.op.activation();
        let Some(bare) = bare(&node.op).filter(|_| activation != Activation::None) else {
            results.push(bare(&node.op).map(|_| node.output));
            open.nodes.push(node.clone());
            continue;
        };
        let before = open.values.len();
        let name = format!("{}.before", graph.values[node.output].name);
        open.values.push(Value { name, ..graph.values[node.output].clone() });
        results.push(Some(before));
        open.nodes.push(Node { op: bare, output: before, ..node.clone() });
        open.nodes.push(Node {
            name: format!("{}.activation", node.name),
            op: Op::Activation(activation),
            inputs: vec![before],
            weight: None,
            bias: None,
            ..node.clone()
        });
    }
    (open, results)
}

/// The layer without its activation.
pub(crate) fn bare(op: &Op) -> Option<Op> {
    match op {
        Op::Conv2d(conv) => {
            Some(Op::Conv2d(embdl_core::op::Conv2d { activation: Activation::None, ..*conv }))
        }
        Op::Dense(_) => Some(Op::Dense(embdl_core::op::Dense { activation: Activation::None })),
        _ => None,
    }
}
