//! Files as other programs write them, and the outputs that ONNX Runtime computes for them; `fixtures/generate.py`
//! wrote both.

mod common;

use std::path::Path;

use common::{assert_close, evaluate, in_graph_order, in_onnx_order};
use embdl_graph::Graph;
use embdl_onnx::{ImportOptions, export, import, import_file};

fn fixture(name: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.onnx"));
    import_file(&path, &ImportOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Imports fixture `name` and compares its outputs; `nhwc` where the file has its input in that order.
fn check(name: &str, nhwc: bool) -> Graph {
    let graph = fixture(name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"));
    let record = std::fs::read_to_string(path).expect("the record stands beside the file");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let tensors = |key: &str| -> Vec<Vec<f32>> {
        serde_json::from_value(record[key].clone()).expect("lists of numbers")
    };
    let inputs: Vec<Vec<f32>> = (tensors("inputs").iter().zip(&graph.inputs))
        .map(
            |(values, &id)| {
                if nhwc { values.clone() } else { in_graph_order(values, graph.values[id].shape) }
            },
        )
        .collect();
    let compare = |graph: &Graph| {
        let outputs = evaluate(graph, &inputs);
        assert_eq!(outputs.len(), tensors("outputs").len());
        for ((&id, found), expected) in graph.outputs.iter().zip(&outputs).zip(tensors("outputs")) {
            assert_close(&in_onnx_order(found, graph.values[id].shape), &expected, name);
        }
    };
    compare(&graph);
    let bytes = export(&graph).expect("what was imported has an ONNX form");
    compare(&import(&bytes, &ImportOptions::default()).expect("what was exported is read"));
    graph
}

#[test]
fn torch_writes_shapes_as_arithmetic() {
    insta::assert_snapshot!(check("torch_lenet", false).to_string(), @r"
    torch_lenet (584 parameters, 3144 MACs)
      input input [1x8x8x1]
      /relu1/out = conv2d(input) [1x8x8x4] then Relu, weight [4x3x3x1]
      /pool1/out = max-pool(/relu1/out) [1x4x4x4]
      /relu6/out = conv2d(/pool1/out) [1x2x2x6] then Relu6, weight [6x3x3x2]
      /flat = reshape(/relu6/out) [1x24]
      /relu3/out = dense(/flat) [1x12] then Relu, weight [12x24]
      logits = dense(/relu3/out) [1x10], weight [10x12]
      output logits
    ");
}

#[test]
fn old_files_have_weights_as_inputs() {
    insta::assert_snapshot!(check("torch_legacy", false).to_string(), @r"
    torch_legacy (297 parameters, 4068 MACs)
      input 0 [1x12x12x3]
      11 = conv2d(0) [1x6x6x4] then Relu6, weight [4x3x3x3]
      12 = lrn(11) [1x6x6x4]
      13 = average-pool(12) [1x3x3x4]
      15 = flatten(13) [1x36]
      16 = dense(15) [1x5], weight [5x36]
      17 = softmax(16) [1x5]
      output 17
    ");
}

#[test]
fn keras_has_channels_last() {
    insta::assert_snapshot!(check("keras", true).to_string(), @r"
    keras (499 parameters, 2642 MACs)
      input image [1x10x10x2]
      conv/relu = conv2d(image) [1x5x5x5] then Relu, weight [5x3x3x2]
      pool = max-pool(conv/relu) [1x3x3x5]
      flat = reshape(pool) [1x45]
      fc1/relu = dense(flat) [1x8] then Relu, weight [8x45]
      fc2/sum = dense(fc1/relu) [1x4], weight [4x8]
      probabilities = softmax(fc2/sum) [1x4]
      output probabilities
    ");
}

#[test]
fn new_files_join_maps_and_vectors() {
    insta::assert_snapshot!(check("residual", false).to_string(), @r"
    residual (314 parameters, 3786 MACs)
      input x [1x5x6x3]
      s1 = conv2d(x) [1x5x6x4] then Relu, weight [4x1x1x3]
      d1 = conv2d(s1) [1x5x6x4], weight [4x3x3x1]
      sum1 = add(d1, s1) [1x5x6x4] then Relu
      w = conv2d(s1) [1x5x6x2], weight [2x3x3x4]
      c = concat(sum1, w) [1x5x6x6]
      p = average-pool(c) [1x3x3x6]
      mean.pooled = global-average-pool(p) [1x1x1x6]
      mean = flatten(mean.pooled) [1x6]
      gap = global-average-pool(w) [1x1x1x2]
      gap1 = reshape(gap) [1x2]
      flat = flatten(p) [1x54]
      all = concat(mean, flat, gap1) [1x62]
      scores = dense(all) [1x3], weight [3x62]
      heat = softmax(sum1) [1x5x6x4]
      output scores, heat
    ");
}
