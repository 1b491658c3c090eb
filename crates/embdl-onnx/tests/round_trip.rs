//! What is exported comes back the same, and other programs compute the same with it.

mod common;

use std::path::PathBuf;

use common::random::random_graph;
use common::{assert_close, evaluate, noise, tract};
use embdl_core::metadata::{Channels, Preprocess};
use embdl_core::op::{Activation, Op};
use embdl_core::tensor::Shape;
use embdl_graph::{Form, Graph, GraphBuilder, zoo};
use embdl_onnx::{ExportOptions, ImportOptions, export, export_with, import, import_file};
use proptest::prelude::*;
use prost::Message as _;
use tract_onnx::pb::ModelProto;

fn reimport(graph: &Graph) -> Graph {
    let bytes = export(graph).expect("the graph has an ONNX form");
    import(&bytes, &ImportOptions::default()).expect("what was exported is read")
}

fn check_with_tract(graph: &Graph) {
    let inputs: Vec<Vec<f32>> =
        graph.inputs.iter().map(|&id| noise(99, graph.values[id].shape.len())).collect();
    let expected = evaluate(graph, &inputs);
    let bytes = export(graph).expect("the graph has an ONNX form");
    for (found, expected) in tract::run(&bytes, graph, &inputs).iter().zip(&expected) {
        assert_close(found, expected, &graph.to_string());
    }
}

#[test]
fn the_zoo_comes_back_and_tract_agrees() {
    for name in ["lenet-300-100", "lenet-5"] {
        let graph = zoo::by_name(name, 3).expect("a network of the zoo");
        assert_eq!(reimport(&graph), graph, "{name}");
        check_with_tract(&graph);
    }
}

proptest! {
    #![proptest_config(common::cases(256))]

    #[test]
    fn random_graphs_come_back(genes in prop::collection::vec(any::<u8>(), 3..36)) {
        let graph = random_graph(&genes, true);
        prop_assert_eq!(reimport(&graph), graph);
    }
}

proptest! {
    #![proptest_config(common::cases(64))]

    #[test]
    fn tract_agrees_on_random_graphs(genes in prop::collection::vec(any::<u8>(), 3..36)) {
        check_with_tract(&random_graph(&genes, false));
    }
}

#[test]
fn constrained_weights_are_written_as_the_network_computes() {
    let mut graph = zoo::lenet300(5);
    for param in &mut graph.params {
        let len = param.len();
        param.mask = Some((0..len).map(|at| at % 3 != 0).collect());
    }
    graph.params[0].form = Form::Integer { bits: 4, scales: vec![0.02] };
    graph.params[2].form = Form::Shared {
        centroids: vec![-0.1, 0.0, 0.1],
        codes: (0..graph.params[2].len()).map(|at| [0, 1, 2][at % 3]).collect(),
        step: None,
    };
    let again = reimport(&graph);
    for (before, after) in graph.params.iter().zip(&again.params) {
        assert_eq!(before.effective(), after.values(), "{}", before.name);
        assert_eq!((&after.form, &after.mask), (&Form::Free, &None));
    }
}

#[test]
fn an_input_that_leaves_at_once_is_copied() {
    let mut builder = GraphBuilder::new("copies", 1);
    let image = builder.input("image", Shape::nhwc(1, 2, 2, 3));
    let relu = builder.op("relu", Op::Activation(Activation::Relu), &[image]).expect("fits");
    let graph = builder.finish(&[image, relu, relu]).expect("valid");
    check_with_tract(&graph);
    assert_eq!(reimport(&graph), graph);
}

#[test]
fn shared_weights_stay_shared() {
    let mut builder = GraphBuilder::new("tied", 1);
    let input = builder.input("input", Shape::matrix(1, 4));
    let first = builder.dense("first", input, 4, Activation::Relu).expect("fits");
    builder.dense("second", first, 4, Activation::None).expect("fits");
    let mut graph = builder.finish(&[2]).expect("valid");
    (graph.nodes[1].weight, graph.nodes[1].bias) = (graph.nodes[0].weight, graph.nodes[0].bias);
    graph.params.truncate(2);
    check_with_tract(&graph);
    assert_eq!(reimport(&graph), graph);
}

#[test]
fn names_that_collide_are_told_apart() {
    let mut graph = zoo::lenet300(1);
    graph.params[0].name = "fc1".into();
    graph.params[1].name = "fc1".into();
    graph.values[2].name = String::new();
    let again = reimport(&graph);
    assert_eq!(again.params[0].values(), graph.params[0].values());
    assert_eq!(again.params[1].values(), graph.params[1].values());
    check_with_tract(&graph);
}

#[test]
fn the_file_says_where_it_comes_from() {
    let mut options = ExportOptions::default();
    options.doc = "trained on nothing".into();
    options.metadata.push(("seed".into(), "1".into()));
    let bytes = export_with(&zoo::lenet300(1), &options).expect("exports");
    let model = ModelProto::decode(&*bytes).expect("protobuf");
    assert_eq!((model.producer_name.as_str(), model.ir_version), ("embeddedDL", 8));
    assert_eq!(model.opset_import[0].version, 17);
    assert_eq!(model.doc_string, "trained on nothing");
    assert_eq!(model.metadata_props[0].key, "seed");
    assert_eq!(model.graph.expect("a graph").name, "lenet-300-100");
}

#[test]
fn preprocessing_and_labels_come_back() {
    let mut graph = zoo::lenet5(1);
    graph.metadata.preprocess = Some(Preprocess::unit(Channels::Gray));
    graph.metadata.labels = (0..10).map(|digit| format!("digit {digit}")).collect();
    assert_eq!(reimport(&graph), graph);
    check_with_tract(&graph);
}

#[test]
fn files_are_read_from_disk() {
    let graph = zoo::lenet300(2);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path: PathBuf = directory.path().join("model.onnx");
    std::fs::write(&path, export(&graph).expect("exports")).expect("written");
    assert_eq!(import_file(&path, &ImportOptions::default()).expect("read"), graph);

    let mut small = ImportOptions::default();
    small.max_bytes = 1000;
    let error = import_file(&path, &small).expect_err("too large").to_string();
    assert_eq!(error, "the file has 1001 bytes, the limit is 1000");
    let error = import_file(&directory.path().join("none"), &small).expect_err("no file");
    assert!(error.to_string().contains("none"), "{error}");
}
