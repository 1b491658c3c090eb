//! ONNX Runtime computes what the graph says, for any batch. Needs Python with onnx, onnxruntime and numpy; without them
//! the tests say so and do nothing. `EMBDL_PYTHON` names the interpreter.

#![allow(clippy::print_stderr, reason = "what was measured")]

mod common;

use std::collections::BTreeMap;

use common::peer::{self, Case};
use common::random::random_graph;
use common::{assert_close, evaluate, in_graph_order, noise, runtime};
use embdl_compress::passes::{QuantizeActivations, QuantizeWeights};
use embdl_compress::{Calibration, Observer, Pass as _};
use embdl_core::op::Op;
use embdl_graph::{Graph, fold_batch_norm, fuse_activations, zoo};
use embdl_onnx::{ExportOptions, ImportOptions, export, export_with, import};

const BATCH: usize = 3;

/// The eight networks in their forms for small pictures, narrow, so that the scalar reference takes seconds.
const ZOO: [&str; 8] = [
    "lenet-300-100",
    "lenet-5",
    "alexnet-0.125-cifar10",
    "alexnet-caffe-0.125-cifar10",
    "vgg-16-0.125-cifar10",
    "mobilenet-v1-0.25-cifar10",
    "mobilenet-v2-0.35-cifar10",
    "squeezenet-1.1-0.25-cifar10",
];

/// Noise for each input of a graph, sample by sample.
fn samples(graph: &Graph, count: usize) -> Vec<Vec<Vec<f32>>> {
    let input = |sample: usize, id: usize| noise(sample as u64 + 7, graph.values[id].shape.len());
    (0..count).map(|at| graph.inputs.iter().map(|&id| input(at, id)).collect()).collect()
}

fn named(name: &str) -> Graph {
    zoo::by_name(name, 4).unwrap_or_else(|| panic!("{name} is not in the zoo"))
}

#[test]
fn onnx_runtime_agrees() {
    let mut graphs: Vec<Graph> = ZOO.iter().map(|name| named(name)).collect();
    for seed in 0..40_u64 {
        let genes: Vec<u8> =
            noise(seed + 1, 30).iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
        let mut graph = random_graph(&genes, true);
        for node in &mut graph.nodes {
            if let Op::Lrn(lrn) = &mut node.op {
                // ONNX defines even sizes, ONNX Runtime refuses them.
                lrn.size |= 1;
            }
        }
        graphs.push(graph);
    }
    let samples: Vec<_> = graphs.iter().map(|graph| samples(graph, BATCH)).collect();
    let cases = graphs
        .iter()
        .zip(&samples)
        .map(|(graph, samples)| Case::new(export(graph).expect("exports"), graph, samples));
    let Some(found) = peer::onnx_runtime(&cases.collect::<Vec<_>>()) else { return };
    for ((mut graph, batch), found) in graphs.into_iter().zip(&samples).zip(&found) {
        fold_batch_norm(&mut graph).expect("statistics of the zoo are positive");
        let expected: Vec<Vec<Vec<f32>>> =
            batch.iter().map(|sample| evaluate(&graph, sample)).collect();
        for (k, &id) in graph.outputs.iter().enumerate() {
            let shape = graph.values[id].shape;
            assert_eq!(found[k].len(), BATCH * shape.len(), "{graph}");
            for (found, expected) in found[k].chunks_exact(shape.len()).zip(&expected) {
                assert_close(&in_graph_order(found, shape), &expected[k], &graph.to_string());
            }
        }
    }
}

/// The graph with levels for all values, calibrated on noise, and 8-bit weights.
fn quantized(mut graph: Graph, per_channel: bool) -> Graph {
    fold_batch_norm(&mut graph).expect("statistics of the zoo are positive");
    fuse_activations(&mut graph).expect("valid");
    let mut observers = vec![Observer::default(); graph.values.len()];
    for sample in samples(&graph, 4) {
        for (observer, values) in observers.iter_mut().zip(common::evaluate_all(&graph, &sample)) {
            observer.observe(&values);
        }
    }
    let activations = QuantizeActivations {
        observers: &observers,
        calibration: Calibration::MinMax,
        inputs: &[],
    };
    activations.run(&mut graph).expect("calibrated");
    let weights = QuantizeWeights { bits: vec![("*".into(), 8)], per_channel };
    weights.run(&mut graph).expect("8 bits");
    graph
}

#[test]
fn quantized_graphs_agree() {
    let mut options = ExportOptions::default();
    options.quantized = true;
    let graphs: Vec<Graph> =
        ZOO.iter().enumerate().map(|(at, name)| quantized(named(name), at % 2 == 0)).collect();
    let samples: Vec<_> = graphs.iter().map(|graph| samples(graph, BATCH)).collect();
    let mut cases = Vec::new();
    for (graph, samples) in graphs.iter().zip(&samples) {
        let bytes = export_with(graph, &options).expect("exports");
        // What comes back is the same network to the last bit.
        let again = import(&bytes, &ImportOptions::default()).expect("reads what it writes");
        let [before, after] = [graph, &again].map(|graph| {
            samples
                .iter()
                .map(|sample| runtime::run(graph, sample, 1).expect("runs"))
                .collect::<Vec<_>>()
        });
        assert_eq!(before, after, "{}", graph.name);
        let integers = |graph: &Graph| {
            let is_integer = |value: usize| graph.values[value].quant.is_some();
            graph
                .layers()
                .filter(|(node, weight)| is_integer(node.inputs[0]) && weight.levels().is_some())
                .count()
        };
        // What reads the floats of an LRN computes in floats.
        assert!(2 * integers(graph) > graph.layers().count(), "{}", graph.name);
        assert_eq!(integers(&again), integers(graph), "{}", graph.name);
        cases.push(Case::new(bytes, graph, samples));
    }
    let Some(found) = peer::onnx_runtime(&cases) else { return };
    for ((graph, batch), found) in graphs.iter().zip(&samples).zip(&found) {
        let expected: Vec<Vec<f32>> = batch
            .iter()
            .map(|sample| runtime::run(graph, sample, 1).expect("runs").swap_remove(0))
            .collect();
        let len = expected[0].len();
        let range = |values: &[f32]| {
            let fold = |(low, high): (f32, f32), &x: &f32| (low.min(x), high.max(x));
            values.iter().fold((0.0_f32, 0.0_f32), fold)
        };
        let (low, high) = range(&expected.concat());
        // ONNX Runtime rounds ties to even and multiplies in floats: a level of a value in between may differ by one, and
        // the layers behind it see that.
        let level = (high - low) / 255.0;
        let errors: Vec<f32> = (found[0].iter().zip(expected.iter().flatten()))
            .map(|(found, expected)| (found - expected).abs() / level)
            .collect();
        let near = errors.iter().filter(|&&error| error <= 1.0).count();
        let largest = errors.iter().copied().fold(0.0, f32::max);
        let top = |values: &[f32]| {
            (0..len).max_by(|&a, &b| values[a].total_cmp(&values[b])).expect("there are classes")
        };
        let same = (found[0].chunks_exact(len).zip(&expected))
            .filter(|(found, expected)| top(found) == top(expected))
            .count();
        // How far the levels themselves are from floats.
        let mut plain = graph.clone();
        plain.values.iter_mut().for_each(|value| value.quant = None);
        let floats: Vec<f32> =
            batch.iter().flat_map(|sample| evaluate(&plain, sample).concat()).collect();
        let rounding = (floats.iter().zip(expected.iter().flatten()))
            .fold(0.0_f32, |error, (a, b)| error.max((a - b).abs() / level));
        eprintln!(
            "{}: {near} of {} outputs within a level, the others within {largest} where floats are {rounding} away; \
             top-1 {same} of {BATCH}",
            graph.name,
            errors.len(),
        );
        assert!(largest <= f32::max(1.0, 0.5 * rounding), "{}", graph.name);
        assert!(same + 1 >= BATCH, "{}", graph.name);
    }
}

/// The node `id` as a network of its own.
fn single(graph: &Graph, id: usize) -> Graph {
    let node = &graph.nodes[id];
    let mut inputs = node.inputs.clone();
    inputs.sort_unstable();
    inputs.dedup();
    let values = inputs.iter().chain([&node.output]);
    let place = |value: &usize| inputs.iter().position(|input| input == value).expect("an input");
    let params = node.weight.iter().chain(&node.bias);
    let alone = embdl_graph::Node {
        inputs: node.inputs.iter().map(place).collect(),
        output: inputs.len(),
        weight: node.weight.map(|_| 0),
        bias: node.bias.map(|_| usize::from(node.weight.is_some())),
        ..node.clone()
    };
    Graph {
        name: node.name.clone(),
        values: values.map(|&value| graph.values[value].clone()).collect(),
        nodes: vec![alone],
        params: params.map(|&param| graph.params[param].clone()).collect(),
        inputs: (0..inputs.len()).collect(),
        outputs: vec![inputs.len()],
        metadata: graph.metadata.clone(),
    }
}

/// Where a chain of layers in levels drifts apart from ONNX Runtime, no layer of it does: on the same levels, each gives
/// the same levels but for sums that lie between two.
#[test]
fn single_layers_in_levels_agree() {
    let mut options = ExportOptions::default();
    options.quantized = true;
    for name in ["mobilenet-v1-0.25-cifar10", "mobilenet-v2-0.35-cifar10"] {
        let graph = quantized(named(name), true);
        let mut all = graph.clone();
        all.outputs = graph.nodes.iter().map(|node| node.output).collect();
        let inputs = samples(&graph, 1).swap_remove(0);
        let results = runtime::run(&all, &inputs, 1).expect("runs");
        let written = all.outputs.iter().copied().zip(results);
        let values: BTreeMap<usize, Vec<f32>> =
            graph.inputs.iter().copied().zip(inputs).chain(written).collect();
        let integer = graph.nodes.iter().enumerate();
        let integer = integer.filter(|(_, node)| graph.computes_in_integers(node));
        // Scores that no other layer takes have no levels; they are floats on both sides.
        let integer = integer.filter(|(_, node)| graph.values[node.output].quant.is_some());
        let layers: Vec<(Graph, Vec<Vec<f32>>)> = integer
            .map(|(id, node)| {
                let mut inputs = node.inputs.clone();
                inputs.sort_unstable();
                inputs.dedup();
                let inputs = inputs.iter().map(|value| values[value].clone()).collect();
                (single(&graph, id), inputs)
            })
            .collect();
        let case = |(layer, inputs): &(Graph, Vec<Vec<f32>>)| {
            let bytes = export_with(layer, &options).expect("exports");
            Case::new(bytes, layer, core::slice::from_ref(inputs))
        };
        let Some(found) = peer::onnx_runtime(&layers.iter().map(case).collect::<Vec<_>>()) else {
            return;
        };
        let (mut elements, mut different) = (0, 0);
        for ((layer, inputs), found) in layers.iter().zip(&found) {
            let value = &layer.values[layer.outputs[0]];
            let scale = value.quant.expect("levels").scale;
            let expected = runtime::run(layer, inputs, 1).expect("runs").swap_remove(0);
            let found = in_graph_order(&found[0], value.shape);
            let apart: Vec<f32> =
                found.iter().zip(&expected).map(|(a, b)| ((a - b) / scale).abs()).collect();
            let most = apart.iter().copied().fold(0.0, f32::max);
            assert!(most < 1.01, "{name}, {}: {most} levels", layer.name);
            elements += apart.len();
            different += apart.iter().filter(|&&levels| levels > 0.5).count();
        }
        eprintln!("{name}: {different} of {elements} levels of single layers differ by one");
        assert!(1000 * different <= elements, "{name}: {different} of {elements}");
    }
}

/// The published networks, whole, from export through import against tract and ONNX Runtime. Minutes, and 3 GiB of memory.
#[test]
#[ignore = "takes minutes"]
fn published_networks_agree() {
    let names = [
        "alexnet",
        "alexnet-caffe",
        "mobilenet-v1",
        "mobilenet-v2",
        "squeezenet-1.0",
        "squeezenet-1.1",
        "vgg-16",
    ];
    for name in names {
        let mut graph = named(name);
        fold_batch_norm(&mut graph).expect("statistics of the zoo are positive");
        fuse_activations(&mut graph).expect("valid");
        let samples = samples(&graph, 1);
        let bytes = export(&graph).expect("exports");
        let again = import(&bytes, &ImportOptions::default()).expect("reads what it writes");
        let expected = runtime::run(&graph, &samples[0], 1).expect("runs").swap_remove(0);
        let found = runtime::run(&again, &samples[0], 1).expect("runs").swap_remove(0);
        assert_eq!(found, expected, "{name}");
        drop(again);
        let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
        let agrees = |found: &[f32], who: &str| {
            let error = found.iter().zip(&expected).fold(0.0_f32, |e, (a, b)| e.max((a - b).abs()));
            eprintln!("{name}: {who} differs by {:.1e} of the largest output", error / scale);
            assert!(error <= 1e-4 * scale, "{name}: {who} differs by {error} of {scale}");
        };
        agrees(&common::tract::run(&bytes, &graph, &samples[0])[0], "tract");
        let case = Case::new(bytes, &graph, &samples);
        if let Some(found) = peer::onnx_runtime(&[case]) {
            agrees(&found[0][0], "ONNX Runtime");
        }
    }
}
