//! What import folds, fuses and reorders computes the same as the file does in tract.

mod common;

use common::proto::{
    floats, info, ints, model, node, with_float, with_int, with_ints, with_string,
};
use common::{assert_close, evaluate, noise, tract};
use embdl_core::op::Activation;
use embdl_graph::Graph;
use embdl_onnx::{ImportError, ImportOptions, NodeError, import};
use prost::Message as _;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

fn read(model: &ModelProto) -> Result<Graph, ImportError> {
    import(&model.encode_to_vec(), &ImportOptions::default())
}

/// Imports a model and compares with tract.
fn check(model: &ModelProto) -> Graph {
    let graph = read(model).unwrap_or_else(|error| panic!("{error}"));
    let inputs: Vec<Vec<f32>> =
        graph.inputs.iter().map(|&id| noise(5, graph.values[id].shape.len())).collect();
    let expected = tract::run(&model.encode_to_vec(), &graph, &inputs);
    for (found, expected) in evaluate(&graph, &inputs).iter().zip(&expected) {
        assert_close(found, expected, &graph.to_string());
    }
    graph
}

/// Checks the nodes between input `x` of shape `[1, 2, 4, 4]` and output `y`.
fn check_nodes(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Graph {
    check(&model(nodes, constants))
}

fn positive(name: &str, len: i64) -> TensorProto {
    let mut tensor = floats(name, &[len]);
    tensor.float_data.iter_mut().for_each(|value| *value = value.abs() + 0.5);
    tensor
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

#[test]
fn batch_normalization_leaves_a_shared_weight_alone() {
    let nodes = vec![
        node("Conv", &["x", "w", "b"], "plain"),
        node("Conv", &["x", "w", "b"], "c"),
        with_float(node("BatchNormalization", &["c", "g", "s", "m", "v"], "n"), "epsilon", 0.1),
        node("Add", &["plain", "n"], "y"),
    ];
    let constants = vec![
        floats("w", &[3, 2, 3, 3]),
        floats("b", &[3]),
        floats("g", &[3]),
        floats("s", &[3]),
        floats("m", &[3]),
        positive("v", 3),
    ];
    let graph = check_nodes(nodes, constants);
    assert_eq!(names(&graph), ["conv2d", "conv2d", "add"]);
    let params: Vec<&str> = graph.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(params, ["w", "b", "w.2", "b.2"]);
}

#[test]
fn added_constants_become_the_bias() {
    let weight = || floats("w", &[3, 2, 3, 3]);
    let conv = || node("Conv", &["x", "w"], "c");
    for dims in [&[][..], &[1], &[3, 1, 1], &[1, 3, 1, 1], &[1, 1, 1, 1]] {
        let add = node("Add", &["b", "c"], "y");
        let graph = check_nodes(vec![conv(), add], vec![weight(), floats("b", dims)]);
        assert_eq!((names(&graph), graph.params[1].len()), (vec!["conv2d"], 3), "{dims:?}");
    }
    let twice = vec![conv(), node("Add", &["c", "b"], "d"), node("Add", &["b", "d"], "y")];
    check_nodes(twice, vec![weight(), floats("b", &[3, 1, 1])]);

    // Along the width, for each pixel, or with more dimensions than the map, it is no bias.
    for dims in [&[3][..], &[3, 1], &[2, 2], &[1, 1, 3, 1, 1], &[2, 1, 1]] {
        let add = node("Add", &["c", "b"], "y");
        let wrong = model(vec![conv(), add], vec![weight(), floats("b", dims)]);
        let error = read(&wrong).expect_err("not a bias");
        assert!(
            matches!(error, ImportError::Node { source: NodeError::Dims { .. }, .. }),
            "{error}"
        );
    }
}

#[test]
fn gemm_takes_its_factors_and_orders() {
    for (transposed, dims) in [(0, [32, 5]), (1, [5, 32])] {
        for bias in [&[5][..], &[1, 5], &[1], &[]] {
            let gemm = with_int(node("Gemm", &["f", "w", "b"], "y"), "transB", transposed);
            let gemm = with_float(with_float(gemm, "alpha", 0.5), "beta", -2.0);
            let constants = vec![floats("w", &dims), floats("b", bias)];
            let graph = check_nodes(vec![node("Flatten", &["x"], "f"), gemm], constants);
            assert_eq!(names(&graph), ["flatten", "dense"]);
        }
    }
}

#[test]
fn the_order_of_a_map_reaches_the_weight() {
    let nodes = vec![
        node("Reshape", &["x", "shape"], "f"),
        node("Dropout", &["f"], "d"),
        node("Relu", &["d"], "r"),
        with_int(node("Softmax", &["r"], "s"), "axis", 1),
        with_int(node("Concat", &["s", "f", "r"], "j"), "axis", -1),
        with_ints(node("Transpose", &["w"], "wt"), "perm", &[1, 0]),
        node("MatMul", &["j", "wt"], "m"),
        node("Add", &["m", "b"], "y"),
    ];
    let constants = vec![ints("shape", &[0, -1]), floats("w", &[4, 96]), floats("b", &[4])];
    let graph = check_nodes(nodes, constants);
    assert_eq!(names(&graph), ["reshape", "relu", "softmax", "concat", "dense"]);
}

#[test]
fn activations_fuse_only_where_nobody_else_looks() {
    let conv = || node("Conv", &["x", "w"], "c");
    let weight = || floats("w", &[2, 2, 1, 1]);
    let relu = |from: &str, to: &str| node("Relu", &[from], to);

    let through = vec![conv(), node("Dropout", &["c"], "d"), relu("d", "r"), relu("r", "y")];
    let graph = check_nodes(through, vec![weight()]);
    assert_eq!(names(&graph), ["conv2d", "relu"]);
    assert_eq!(graph.nodes[0].op.activation(), Activation::Relu);

    let residual = vec![conv(), relu("c", "r"), node("Add", &["c", "r"], "y")];
    assert_eq!(names(&check_nodes(residual, vec![weight()])), ["conv2d", "relu", "add"]);

    let renamed =
        vec![conv(), node("Identity", &["c"], "i"), relu("i", "r"), node("Add", &["i", "r"], "y")];
    assert_eq!(names(&check_nodes(renamed, vec![weight()])), ["conv2d", "relu", "add"]);

    let mut both = model(vec![conv(), relu("c", "y")], vec![weight()]);
    both.graph.as_mut().expect("a graph").output.push(info("c", &[1, 2, 4, 4]));
    let graph = check(&both);
    assert_eq!(names(&graph), ["conv2d", "relu"]);
    let outputs: Vec<&str> =
        graph.outputs.iter().map(|&id| graph.values[id].name.as_str()).collect();
    assert_eq!(outputs, ["y", "c"]);
}

#[test]
fn automatic_pads_are_those_of_onnx() {
    for mode in ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"] {
        for (kernel, stride) in [([2, 3], [1, 1]), ([3, 3], [2, 2]), ([1, 2], [3, 2])] {
            let window = |op: &str, inputs: &[&str], to: &str| {
                let node = with_string(node(op, inputs, to), "auto_pad", mode);
                with_ints(with_ints(node, "kernel_shape", &kernel), "strides", &stride)
            };
            let constants = || {
                let [kh, kw] = kernel;
                vec![floats("w", &[3, 2, kh, kw])]
            };
            check_nodes(vec![window("Conv", &["x", "w"], "y")], constants());
            check_nodes(vec![window("MaxPool", &["x"], "y")], vec![]);
            check_nodes(vec![window("AveragePool", &["x"], "y")], vec![]);
        }
    }
}

#[test]
fn vectors_become_maps() {
    let mut flat = model(
        vec![
            with_ints(node("Unsqueeze", &["x"], "m"), "axes", &[1]),
            node("Conv", &["m", "w"], "c"),
            node("GlobalAveragePool", &["c"], "p"),
            with_ints(node("Squeeze", &["p"], "y"), "axes", &[2, 3]),
        ],
        vec![floats("w", &[3, 1, 2, 2])],
    );
    flat.opset_import[0].version = 11;
    flat.graph.as_mut().expect("a graph").input = vec![info("x", &[1, 6, 5])];
    assert_eq!(names(&check(&flat)), ["reshape", "conv2d", "global-average-pool", "reshape"]);

    // A row of 18 features as three channels would need another order of the features.
    let mut deep = model(
        vec![node("Reshape", &["x", "s"], "m"), node("Conv", &["m", "w"], "y")],
        vec![ints("s", &[-1, 3, 3, 2]), floats("w", &[1, 3, 1, 1])],
    );
    deep.graph.as_mut().expect("a graph").input = vec![info("x", &[1, 18])];
    let moved = ["reshape", "reshape", "transpose", "reshape", "conv2d"];
    assert_eq!(names(&check(&deep)), moved);
}

#[test]
fn a_fixed_batch_becomes_one() {
    let mut fixed = model(
        vec![node("Reshape", &["x", "s"], "f"), node("Gemm", &["f", "w"], "y")],
        vec![ints("s", &[8, -1]), floats("w", &[32, 3])],
    );
    fixed.graph.as_mut().expect("a graph").input = vec![info("x", &[8, 2, 4, 4])];
    let graph = read(&fixed).expect("the batch is free");
    assert_eq!(graph.values[graph.outputs[0]].shape.to_string(), "[1x3]");
}
