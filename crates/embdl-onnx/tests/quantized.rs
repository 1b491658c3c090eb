//! QuantizeLinear and DequantizeLinear become levels of values and integer forms of weights.

mod common;

use common::proto::{floats, info, model, node, with_int};
use common::{evaluate, noise, runtime};
use embdl_core::quant::Quant;
use embdl_graph::{Form, Graph};
use embdl_onnx::{ImportOptions, import};
use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

fn tensor(name: &str, kind: DataType, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: kind as i32,
        raw_data: raw,
        ..TensorProto::default()
    }
}

fn scales(name: &str, values: &[f32]) -> TensorProto {
    let dims: &[i64] = if values.len() == 1 { &[] } else { &[values.len() as i64] };
    TensorProto { float_data: values.to_vec(), ..floats(name, dims) }
}

/// Input, convolution, ReLU and result of int8 levels; `kind`, `zero` and `levels` are those of the weight.
fn network(kind: DataType, zero: u8, levels: Vec<u8>) -> ModelProto {
    let pair = |from: &str, to: &str, scale: &str, zero: &str| -> [NodeProto; 2] {
        let levels = format!("{to}.levels");
        [
            node("QuantizeLinear", &[from, scale, zero], &levels),
            node("DequantizeLinear", &[&levels, scale, zero], to),
        ]
    };
    let mut nodes = pair("x", "xq", "xs", "xz").to_vec();
    nodes.push(with_int(node("DequantizeLinear", &["w", "ws", "wz"], "wf"), "axis", 0));
    nodes.push(with_int(node("DequantizeLinear", &["b", "bs"], "bf"), "axis", 0));
    nodes.push(node("Conv", &["xq", "wf", "bf"], "c"));
    nodes.push(node("Relu", &["c"], "r"));
    nodes.extend(pair("r", "y", "ys", "yz"));
    let bias: Vec<u8> = [700_i32, -300, 5].iter().flat_map(|bias| bias.to_le_bytes()).collect();
    let constants = vec![
        scales("xs", &[0.01]),
        tensor("xz", DataType::Int8, &[], vec![0xfd]),
        tensor("w", kind, &[3, 2, 1, 1], levels),
        scales("ws", &[0.02, 0.01, 0.005]),
        tensor("wz", kind, &[3], vec![zero; 3]),
        tensor("b", DataType::Int32, &[3], bias),
        scales("bs", &[0.0002, 0.0001, 0.00005]),
        scales("ys", &[0.03]),
        tensor("yz", DataType::Int8, &[], vec![0x80]),
    ];
    let mut model = model(nodes, constants);
    model.graph.as_mut().expect("a graph").output = vec![info("y", &[1, 3, 4, 4])];
    model
}

fn read(model: &ModelProto) -> Graph {
    import(&model.encode_to_vec(), &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Compares the integer runtime with floats of the same weights and levels.
fn check(graph: &Graph) {
    let input = noise(3, graph.values[graph.inputs[0]].shape.len());
    let found = runtime::run(graph, core::slice::from_ref(&input), 1).expect("runs").swap_remove(0);
    let levels = graph.values[graph.inputs[0]].quant.expect("the input is quantized");
    let rounded = input.iter().map(|&x| levels.dequantize(levels.quantize(x))).collect();
    let output = graph.values[graph.outputs[0]].quant.expect("the output is quantized");
    for (found, exact) in found.iter().zip(&evaluate(graph, &[rounded])[0]) {
        let expected = output.dequantize(output.quantize(*exact));
        assert!((found - expected).abs() <= 1.01 * output.scale, "{found} {expected}");
    }
}

#[test]
fn int8_levels_are_shifted() {
    let graph = read(&network(DataType::Int8, 0, vec![100, 0x81, 7, 0, 0xff, 127]));
    let quant = |value: usize| graph.values[value].quant;
    assert_eq!(quant(graph.inputs[0]), Some(Quant { scale: 0.01, zero_point: 125 }));
    assert_eq!(quant(graph.outputs[0]), Some(Quant { scale: 0.03, zero_point: 0 }));
    assert_eq!(graph.nodes.len(), 1);
    let weight = &graph.params[graph.nodes[0].weight.expect("a weight")];
    assert_eq!(weight.name, "w");
    assert_eq!(weight.form, Form::Integer { bits: 8, scales: vec![0.02, 0.01, 0.005] });
    assert_eq!(weight.levels(), Some(vec![100, -127, 7, 0, -1, 127]));
    assert!(graph.computes_in_integers(&graph.nodes[0]));
    check(&graph);
}

#[test]
fn levels_around_another_zero_are_the_same() {
    let graph = read(&network(DataType::Uint8, 128, vec![228, 1, 135, 128, 127, 255]));
    let weight = &graph.params[graph.nodes[0].weight.expect("a weight")];
    assert_eq!(weight.levels(), Some(vec![100, -127, 7, 0, -1, 127]));
    check(&graph);
}

#[test]
fn levels_that_are_not_symmetric_compute_in_floats() {
    for (kind, zero, first) in [(DataType::Int8, 0, 0x80), (DataType::Uint8, 3, 200)] {
        let graph = read(&network(kind, zero, vec![first, 0, 7, 0, 1, 127]));
        let weight = &graph.params[graph.nodes[0].weight.expect("a weight")];
        assert_eq!(weight.form, Form::Free);
        let value = if kind == DataType::Int8 { -128.0 } else { 197.0 };
        assert_eq!(weight.values()[0], value * 0.02);
        check(&graph);
    }
}

#[test]
fn a_scale_that_changes_on_the_way_is_an_error() {
    let mut model = network(DataType::Int8, 0, vec![0; 6]);
    let graph = model.graph.as_mut().expect("a graph");
    graph.node[1].input[1] = "ys".into();
    let error = import(&model.encode_to_vec(), &ImportOptions::default()).expect_err("two scales");
    assert!(error.to_string().contains("scale and zero point have to be those of"), "{error}");
}
