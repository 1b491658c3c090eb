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
    insta::assert_snapshot!(check("torch_lenet", false).to_string(), @"");
}

#[test]
fn old_files_have_weights_as_inputs() {
    insta::assert_snapshot!(check("torch_legacy", false).to_string(), @"");
}

#[test]
fn keras_has_channels_last() {
    insta::assert_snapshot!(check("keras", true).to_string(), @"");
}

#[test]
fn new_files_join_maps_and_vectors() {
    insta::assert_snapshot!(check("residual", false).to_string(), @"");
}
