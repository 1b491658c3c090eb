//! What exporters write for one operator of a graph becomes that operator, and computes what tract computes.

mod common;

use common::proto::{floats, info, ints, model, node, with_float, with_int, with_ints};
use common::{assert_close, evaluate, noise, tract};
use embdl_core::op::{Activation, Op, Pool, PoolKind, Unary};
use embdl_graph::Graph;
use embdl_onnx::{ImportOptions, import};
use prost::Message as _;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

fn check_model(model: &ModelProto) -> Graph {
    let bytes = model.encode_to_vec();
    let graph = import(&bytes, &ImportOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let inputs: Vec<Vec<f32>> =
        graph.inputs.iter().map(|&id| noise(5, graph.values[id].shape.len())).collect();
    let expected = tract::run(&bytes, &graph, &inputs);
    for (found, expected) in evaluate(&graph, &inputs).iter().zip(&expected) {
        assert_close(found, expected, &graph.to_string());
    }
    graph
}

/// Checks the nodes between input `x` of shape `[1, 2, 4, 4]` and output `y`.
fn check(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Graph {
    check_model(&model(nodes, constants))
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto { float_data: vec![value], ..floats(name, &[]) }
}

fn positive(name: &str, len: i64) -> TensorProto {
    let mut tensor = floats(name, &[len]);
    tensor.float_data.iter_mut().for_each(|value| *value = value.abs() + 0.5);
    tensor
}

#[test]
fn gates_by_hand_become_one_operator() {
    // x * relu6(x + 3) / 6, the division before, in the middle and at the end.
    let clip = |from: &str, to: &str| node("Clip", &[from, "zero", "six"], to);
    let add = || node("Add", &["three", "x"], "a");
    let constants = || {
        vec![
            scalar("three", 3.0),
            scalar("zero", 0.0),
            scalar("six", 6.0),
            scalar("sixth", 1.0 / 6.0),
        ]
    };
    let ways = [
        vec![add(), clip("a", "c"), node("Div", &["c", "six"], "d"), node("Mul", &["x", "d"], "y")],
        vec![
            add(),
            clip("a", "c"),
            node("Mul", &["c", "sixth"], "d"),
            node("Mul", &["d", "x"], "y"),
        ],
        vec![add(), clip("a", "c"), node("Mul", &["x", "c"], "d"), node("Div", &["d", "six"], "y")],
        vec![
            add(),
            clip("a", "c"),
            node("Mul", &["x", "c"], "d"),
            node("Mul", &["sixth", "d"], "y"),
        ],
    ];
    for nodes in ways {
        assert_eq!(names(&check(nodes, constants())), ["hard-swish"]);
    }
    let only = vec![add(), clip("a", "c"), node("Div", &["c", "six"], "y")];
    assert_eq!(names(&check(only, constants())), ["hard-sigmoid"]);
    let silu = vec![node("Sigmoid", &["x"], "s"), node("Mul", &["x", "s"], "y")];
    assert_eq!(names(&check(silu, vec![])), ["silu"]);
    // A gate that others read too stays.
    let shared = vec![
        node("Sigmoid", &["x"], "s"),
        node("Mul", &["x", "s"], "m"),
        node("Add", &["m", "s"], "y"),
    ];
    assert_eq!(names(&check(shared, vec![])), ["sigmoid", "mul", "add"]);
    let six = vec![node("Relu", &["x"], "r"), node("Min", &["r", "six"], "y")];
    assert_eq!(names(&check(six, constants())), ["relu", "clip"]);
}

#[test]
fn constants_meet_activations() {
    let conv = || node("Conv", &["x", "w"], "c");
    let weight = || floats("w", &[2, 2, 1, 1]);
    // Factors and summands behind a layer are part of it.
    let behind = vec![
        conv(),
        node("Mul", &["c", "k"], "m"),
        node("Sub", &["m", "k"], "s"),
        node("Div", &["s", "half"], "y"),
    ];
    let graph = check(behind, vec![weight(), floats("k", &[1, 2, 1, 1]), scalar("half", 0.5)]);
    assert_eq!(names(&graph), ["conv2d"]);
    // A factor before a layer is too; a summand is not, where pads are added behind it.
    let before = vec![node("Div", &["x", "half"], "d"), node("Conv", &["d", "w"], "y")];
    assert_eq!(names(&check(before, vec![weight(), scalar("half", 0.5)])), ["conv2d"]);
    let summand = vec![
        node("Sub", &["half", "x"], "d"),
        with_ints(node("Conv", &["d", "w"], "y"), "pads", &[1, 1, 1, 1]),
    ];
    assert_eq!(names(&check(summand, vec![weight(), scalar("half", 0.5)])), ["conv2d", "conv2d"]);
    // One for each channel, where no layer is: a depthwise convolution of one tap.
    let mean = vec![node("Sub", &["x", "k"], "a"), node("Div", &["a", "d"], "y")];
    let constants =
        vec![floats("k", &[2, 1, 1]), TensorProto { dims: vec![1, 2, 1, 1], ..positive("d", 2) }];
    assert_eq!(names(&check(mean, constants)), ["conv2d"]);
    let norm = vec![
        node("BatchNormalization", &["x", "g", "s", "m", "v"], "n"),
        node("Relu", &["n"], "y"),
    ];
    let constants = vec![floats("g", &[2]), floats("s", &[2]), floats("m", &[2]), positive("v", 2)];
    let graph = check(norm, constants);
    assert_eq!(names(&graph), ["conv2d"]);
    assert_eq!(graph.nodes[0].op.activation(), Activation::Relu);
}

#[test]
fn squeeze_and_excitation_is_a_product() {
    let nodes = vec![
        with_int(with_ints(node("ReduceMean", &["x"], "p"), "axes", &[2, 3]), "keepdims", 0),
        node("Gemm", &["p", "w"], "g"),
        node("Sigmoid", &["g"], "s"),
        with_ints(node("Unsqueeze", &["s"], "u"), "axes", &[2, 3]),
        node("Mul", &["u", "x"], "y"),
    ];
    let mut file = model(nodes, vec![floats("w", &[2, 2])]);
    file.opset_import[0].version = 11;
    let graph = check_model(&file);
    let expected = ["global-average-pool", "flatten", "dense", "sigmoid", "reshape", "mul"];
    assert_eq!(names(&graph), expected);
}

#[test]
fn pads_go_into_the_window_behind_them() {
    let pad = |from: &str| node("Pad", &[from, "pads"], "p");
    let pads = || ints("pads", &[0, 0, 1, 0, 0, 0, 2, 1]);
    let conv = vec![pad("x"), node("Conv", &["p", "w"], "y")];
    let graph = check(conv, vec![pads(), floats("w", &[3, 2, 2, 2])]);
    let Op::Conv2d(conv) = &graph.nodes[0].op else { panic!("a convolution") };
    assert_eq!((graph.nodes.len(), conv.window.pads), (1, [1, 0, 2, 1]));

    let window = |op: &str| {
        let node = with_ints(node(op, &["p"], "y"), "kernel_shape", &[3, 3]);
        with_int(node, "ceil_mode", 0)
    };
    let average = check(vec![pad("x"), window("AveragePool")], vec![pads()]);
    let kind = PoolKind::Average { include_pads: true };
    assert!(matches!(average.nodes[0].op, Op::Pool(Pool { kind: found, .. }) if found == kind));
    // Zeros would win where all is below them.
    assert_eq!(names(&check(vec![pad("x"), window("MaxPool")], vec![pads()])), ["pad", "max-pool"]);
    let relu = vec![node("Relu", &["x"], "r"), pad("r"), window("MaxPool")];
    assert_eq!(names(&check(relu, vec![pads()])), ["relu", "max-pool"]);
    assert_eq!(
        names(&check(vec![pad("x"), node("Tanh", &["p"], "y")], vec![pads()])),
        ["pad", "tanh"]
    );
}

#[test]
fn layouts_are_followed() {
    // ShuffleNet's exchange of groups, in the five dimensions that exporters write.
    let shuffle = |last: NodeProto| {
        vec![
            node("Conv", &["x", "w"], "c"),
            node("Reshape", &["c", "split"], "s"),
            with_ints(node("Transpose", &["s"], "t"), "perm", &[0, 2, 1, 3, 4]),
            node("Reshape", &["t", "join"], "j"),
            last,
        ]
    };
    let constants = || {
        vec![
            floats("w", &[6, 2, 1, 1]),
            ints("split", &[0, 2, 3, 4, 4]),
            ints("join", &[0, 6, 4, 4]),
            floats("v", &[6, 1, 3, 3]),
        ]
    };
    let last = with_int(node("Conv", &["j", "v"], "y"), "group", 6);
    let expected = ["conv2d", "reshape", "transpose", "reshape", "conv2d"];
    assert_eq!(names(&check(shuffle(last), constants())), expected);

    // There and back is nothing; a softmax over any dimension finds its elements.
    let nothing = vec![
        node("Sigmoid", &["x"], "s"),
        with_ints(node("Transpose", &["s"], "t"), "perm", &[0, 3, 1, 2]),
        node("Tanh", &["t"], "r"),
        with_ints(node("Transpose", &["r"], "b"), "perm", &[0, 2, 3, 1]),
        node("Conv", &["b", "w"], "y"),
    ];
    assert_eq!(
        names(&check(nothing, vec![floats("w", &[1, 2, 2, 2])])),
        ["sigmoid", "tanh", "conv2d"]
    );
    for axis in 1..3 {
        check(vec![with_int(node("Softmax", &["x"], "y"), "axis", axis)], vec![]);
    }
    // Rows of features over several positions.
    let tokens = vec![
        node("Reshape", &["x", "rows"], "r"),
        with_ints(node("Transpose", &["r"], "t"), "perm", &[0, 2, 1]),
        node("MatMul", &["t", "w"], "m"),
        node("Add", &["m", "b"], "a"),
        with_int(with_ints(node("ReduceMean", &["a"], "y"), "axes", &[1]), "keepdims", 0),
    ];
    let mut file =
        model(tokens, vec![ints("rows", &[0, 2, -1]), floats("w", &[2, 3]), floats("b", &[3])]);
    file.graph.as_mut().expect("a graph").output = vec![info("y", &[1, 3])];
    check_model(&file);
}

#[test]
fn functions_and_slopes() {
    for (op, expected) in [
        ("Sigmoid", Unary::Sigmoid),
        ("Tanh", Unary::Tanh),
        ("HardSigmoid", Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }),
        ("LeakyRelu", Unary::LeakyRelu { alpha: 0.01 }),
        ("Elu", Unary::Elu { alpha: 1.0 }),
    ] {
        let graph = check(vec![node(op, &["x"], "y")], vec![]);
        assert_eq!(graph.nodes[0].op, Op::Unary(expected));
    }
    let alpha = with_float(node("LeakyRelu", &["x"], "y"), "alpha", 0.3);
    assert_eq!(check(vec![alpha], vec![]).nodes[0].op, Op::Unary(Unary::LeakyRelu { alpha: 0.3 }));
    for dims in [&[][..], &[1], &[2, 1, 1], &[1, 2, 1, 1]] {
        let graph = check(vec![node("PRelu", &["x", "k"], "y")], vec![floats("k", dims)]);
        assert_eq!((names(&graph), graph.params[0].len()), (vec!["prelu"], 2));
    }
    let bounds = vec![node("Clip", &["x", "", "k"], "y")];
    let graph = check(bounds, vec![scalar("k", 0.25)]);
    let expected = Unary::Clip { min: f32::NEG_INFINITY, max: 0.25 };
    assert_eq!(graph.nodes[0].op, Op::Unary(expected));
}

/// Slice of `x` along one axis.
fn slice(from: &str, to: &str, bounds: [&str; 4]) -> NodeProto {
    node("Slice", &[from, bounds[0], bounds[1], bounds[2], bounds[3]], to)
}

#[test]
fn parts_of_activations_are_picked() {
    let constants = || {
        let far = i64::from(i32::MAX);
        vec![
            ints("zero", &[0]),
            ints("one", &[1]),
            ints("two", &[2]),
            ints("three", &[3]),
            ints("last", &[-1]),
            ints("far", &[far]),
            floats("w", &[6, 2, 1, 1]),
        ]
    };
    let conv = || node("Conv", &["x", "w"], "c");
    // Channels from the start, from the middle and every other one, rows and columns, and the columns from the end.
    let ways = [
        ["zero", "three", "one", "one"],
        ["two", "last", "one", "one"],
        ["one", "far", "one", "two"],
        ["one", "three", "two", "one"],
        ["zero", "far", "two", "two"],
        ["zero", "last", "three", "one"],
        ["one", "far", "last", "two"],
    ];
    for bounds in ways {
        let graph = check(vec![conv(), slice("c", "y", bounds)], constants());
        let convolutions = names(&graph).iter().filter(|name| **name == "conv2d").count();
        assert_eq!(convolutions, 2, "{bounds:?}: {graph}");
    }
    // All of it is nothing to do, of the batch too.
    let whole = vec![
        slice("x", "a", ["zero", "far", "zero", "one"]),
        slice("a", "b", ["zero", "far", "one", "one"]),
        node("Relu", &["b"], "y"),
    ];
    assert_eq!(names(&check(whole, constants())), ["relu"]);
    // Four quarters of the pixels as channels, as YOLOv5 begins.
    let focus = vec![
        slice("x", "rows0", ["zero", "far", "two", "two"]),
        slice("x", "rows1", ["one", "far", "two", "two"]),
        slice("rows0", "a", ["zero", "far", "three", "two"]),
        slice("rows1", "b", ["zero", "far", "three", "two"]),
        slice("rows0", "c", ["one", "far", "three", "two"]),
        slice("rows1", "d", ["one", "far", "three", "two"]),
        with_int(node("Concat", &["a", "b", "c", "d"], "y"), "axis", 1),
    ];
    check(focus, constants());
    // A row of features, in the order of the file.
    let row = vec![node("Flatten", &["x"], "f"), slice("f", "y", ["three", "last", "one", "one"])];
    check(row, constants());
}

#[test]
fn splits_give_what_is_read_of_them() {
    let split = |from: &str, inputs: &[&str], outputs: &[&str], axis| {
        let mut split = node("Split", &[&[from], inputs].concat(), outputs[0]);
        split.output = outputs.iter().map(|&name| name.into()).collect();
        with_int(split, "axis", axis)
    };
    let constants = || vec![ints("parts", &[1, 3, 2]), floats("w", &[6, 2, 1, 1])];
    let conv = || node("Conv", &["x", "w"], "c");
    // ShuffleNet's unit: one half stays, the other is computed on.
    let halves = vec![
        conv(),
        split("c", &[], &["a", "b"], 1),
        node("Relu", &["b"], "r"),
        with_int(node("Concat", &["a", "r"], "y"), "axis", 1),
    ];
    assert_eq!(check(halves, constants()).layers().count(), 3);
    let some = vec![
        conv(),
        split("c", &["parts"], &["a", "b", "d"], -3),
        with_int(node("Concat", &["d", "a"], "y"), "axis", 1),
    ];
    assert_eq!(check(some, constants()).layers().count(), 3, "what nobody reads is not made");
    let rows = vec![split("x", &[], &["a", "b"], 2), node("Add", &["a", "b"], "y")];
    check(rows, constants());
    let none = vec![conv(), split("c", &["parts"], &["y"], 1)];
    let error = import(&model(none, constants()).encode_to_vec(), &ImportOptions::default());
    assert!(error.unwrap_err().to_string().contains("split"));
}

#[test]
fn parts_that_need_more_than_a_choice_are_refused() {
    let refused = |bounds: [i64; 4]| {
        let [start, end, axis, step] = bounds.map(|bound| vec![bound]);
        let constants =
            vec![ints("s", &start), ints("e", &end), ints("a", &axis), ints("t", &step)];
        let bytes = model(vec![slice("x", "y", ["s", "e", "a", "t"])], constants).encode_to_vec();
        import(&bytes, &ImportOptions::default()).unwrap_err().to_string()
    };
    assert!(refused([-1, -9, 1, -1]).contains("steps"), "backwards");
    assert!(refused([0, 1, 0, 1]).contains("the batch stays whole"));
    assert!(refused([1, 1, 1, 1]).contains("ends"), "nothing");
    assert!(refused([0, 1, 4, 1]).contains("axes"));
    let gather = vec![node("Gather", &["x", "i"], "y")];
    let bytes = model(gather, vec![ints("i", &[0])]).encode_to_vec();
    let error = import(&bytes, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("Gather") && error.contains("docs/src/operators.md"), "{error}");
}

#[test]
fn inputs_of_channels_last_stay_so_behind_what_prepares_them() {
    let to_nchw =
        |from: &str, to: &str| with_ints(node("Transpose", &[from], to), "perm", &[0, 3, 1, 2]);
    let pads = ints("pads", &[0, 0, 1, 0, 0, 0, 0, 0]);
    let constants = vec![scalar("half", 0.5), pads, floats("w", &[3, 4, 1, 1])];
    // `[1, 2, 4, 4]` is height 2, width 4 and 4 channels here.
    let nodes = vec![
        node("Mul", &["x", "half"], "m"),
        node("Pad", &["m", "pads"], "p"),
        to_nchw("p", "t"),
        node("Conv", &["t", "w"], "y"),
    ];
    let bytes = model(nodes, constants).encode_to_vec();
    let imported = embdl_onnx::import_with_layouts(&bytes, &ImportOptions::default()).unwrap();
    assert_eq!(imported.inputs, [embdl_onnx::Layout::Same]);
    let graph = &imported.graph;
    assert_eq!(graph.values[graph.inputs[0]].shape, embdl_core::tensor::Shape::nhwc(1, 2, 4, 4));
    let output = graph.values[graph.outputs[0]].shape;
    assert_eq!(output, embdl_core::tensor::Shape::nhwc(1, 2, 5, 3), "{graph}");
}

#[test]
fn cubes_of_channels_last_keep_their_channels() {
    // Height, width and channels are 4: a gate for each channel, in the order that the file has behind its transpose.
    let perm = |from: &str, to: &str, perm: &[i64]| {
        with_ints(node("Transpose", &[from], to), "perm", perm)
    };
    let nodes = vec![
        node("Conv", &["x", "w"], "c"),
        perm("c", "l", &[0, 2, 3, 1]),
        with_ints(node("ReduceMax", &["l"], "g"), "axes", &[1, 2]),
        node("Mul", &["l", "g"], "m"),
        perm("m", "y", &[0, 3, 1, 2]),
    ];
    check(nodes, vec![floats("w", &[4, 2, 1, 1])]);
}
