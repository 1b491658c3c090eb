//! Damaged, incomplete and malicious files are errors that say what is wrong; never a panic, never endless work.

mod common;

use std::path::Path;

use common::noise;
use common::proto::{
    floats, info, ints, model, node, with_float, with_int, with_ints, with_string,
};
use common::random::random_graph;
use embdl_core::quant::Quant;
use embdl_graph::{Form, Graph, ParamRole};
use embdl_onnx::{
    ExportOptions, ImportError, ImportOptions, NodeError, TensorError, export, export_with, import,
};
use proptest::prelude::*;
use prost::Message as _;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{
    ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto, type_proto,
};

fn read(bytes: &[u8]) -> Result<Graph, ImportError> {
    import(bytes, &ImportOptions::default())
}

fn read_model(model: &ModelProto) -> Result<Graph, ImportError> {
    read(&model.encode_to_vec())
}

fn error_of(model: &ModelProto) -> String {
    read_model(model).expect_err("the model is wrong").to_string()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.onnx"));
    std::fs::read(path).expect("the fixture is there")
}

fn conv() -> NodeProto {
    node("Conv", &["x", "w"], "y")
}

fn weight() -> TensorProto {
    floats("w", &[3, 2, 3, 3])
}

#[test]
fn every_truncation_is_an_error() {
    for name in ["torch_lenet", "torch_legacy", "keras", "residual"] {
        let bytes = fixture(name);
        assert!(read(&bytes).is_ok(), "{name}");
        for len in 0..bytes.len() {
            // The opset stands at the end, so no prefix is whole.
            assert!(read(&bytes[..len]).is_err(), "{name} cut at byte {len}");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for name in ["torch_lenet", "torch_legacy", "keras", "residual"] {
        let mut bytes = fixture(name);
        for at in 0..bytes.len() {
            for bit in [1, 0x80, 0xff] {
                bytes[at] ^= bit;
                drop(read(&bytes));
                bytes[at] ^= bit;
            }
        }
    }
}

/// A graph of every kind of operator, with levels where they are asked for.
fn random(seed: u64, quantized: bool) -> Graph {
    let genes: Vec<u8> = noise(seed, 30).iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    let mut graph = random_graph(&genes, true);
    if quantized {
        graph.values.iter_mut().for_each(|value| value.quant = Some(Quant::from_range(-2.0, 3.0)));
        for param in graph.params.iter_mut().filter(|param| param.role == ParamRole::Weight) {
            param.form = Form::Integer { bits: 8, scales: vec![0.01; param.shape.dim(0)] };
        }
    }
    graph
}

proptest! {
    #![proptest_config(common::cases(2000))]

    #[test]
    fn several_damages_never_panic(
        which in 0_usize..12,
        damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = match which {
            0..4 => fixture(["torch_lenet", "torch_legacy", "keras", "residual"][which]),
            4..8 => export(&random(which as u64, false)).expect("exports"),
            _ => {
                let mut options = ExportOptions::default();
                options.quantized = true;
                export_with(&random(which as u64, true), &options).expect("exports")
            }
        };
        for (at, byte) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        drop(read(&bytes));
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(read(&bytes));
    }
}

#[test]
fn unsupported_names_node_operator_and_attribute() {
    let cases = [
        (
            with_string(conv(), "auto_pad", "FOO"),
            r#"attribute auto_pad = "FOO": it has to be NOTSET, VALID, SAME_UPPER or SAME_LOWER"#,
        ),
        (with_int(conv(), "wobble", 1), "attribute wobble is not known for this operator"),
        (with_int(conv(), "group", 0), "conv2d cannot have groups = 0"),
        (with_int(conv(), "group", -1), "attribute group = -1: at least 1"),
        (with_int(conv(), "strides", 2), "attribute strides = (INT): a list of integers"),
        (
            with_ints(conv(), "strides", &[1, 1, 1]),
            "attribute strides = [1, 1, 1]: two dimensions, no zero and no negative number, expected",
        ),
        (
            with_ints(conv(), "strides", &[0, 1]),
            "attribute strides = [0, 1]: two dimensions, no zero and no negative number, expected",
        ),
        (
            with_ints(conv(), "pads", &[0, 0, -1, 0]),
            "attribute pads = [0, 0, -1, 0]: two dimensions, no zero and no negative number, expected",
        ),
        (
            with_ints(conv(), "kernel_shape", &[5, 5]),
            "attribute kernel_shape = [5, 5]: it differs from the weight's",
        ),
        (with_ints(conv(), "dilations", &[9, 1]), "conv2d cannot have kernel = 3"),
        (
            node("Conv", &["x", "w", "w"], "y"),
            r#"constant "w" has dimensions [3, 2, 3, 3]: a bias has one value for each channel"#,
        ),
        (node("Conv", &["x", "x"], "y"), r#"input "x" has to be a constant"#),
        (
            node("Conv", &["w", "w"], "y"),
            r#"input "w" is a constant where an activation is expected"#,
        ),
        (node("Conv", &["x"], "y"), "it has 1 inputs, not 2 or 3"),
        (node("Gemm", &["x", "w"], "y"), r#"input "x": only [n, features] is multiplied"#),
        (
            node("MatMul", &["x", "w"], "y"),
            r#"constant "w" has dimensions [3, 2, 3, 3]: a weight has two dimensions"#,
        ),
        (node("Erf", &["x"], "y"), r#"this operator of domain "" is not supported"#),
        (
            with_int(node("Softmax", &["x"], "y"), "axis", 0),
            "attribute axis = 0: it cannot be the batch",
        ),
        (
            with_int(node("Flatten", &["x"], "y"), "axis", 2),
            "attribute axis = 2: only 1, the axis after the batch, is supported",
        ),
        (
            with_int(node("Concat", &["x", "x"], "y"), "axis", 0),
            "attribute axis = 0: an axis after the batch",
        ),
        (
            with_ints(node("Transpose", &["x"], "y"), "perm", &[1, 0, 2, 3]),
            "attribute perm = Some([1, 0, 2, 3]): all axes once, the batch first",
        ),
        (
            node("BatchNormalization", &["x", "w", "w", "w", "w"], "y"),
            r#"constant "w" has dimensions [3, 2, 3, 3]: it has to be one value for each channel"#,
        ),
        (
            node("Add", &["x", "w"], "y"),
            r#"constant "w" has dimensions [3, 2, 3, 3]: it has to be one value, or one for each channel"#,
        ),
        (node("Div", &["x", "x"], "y"), r#"input "x" has to be a constant"#),
        (
            with_ints(node("ReduceMean", &["x"], "y"), "axes", &[0, 1]),
            "attribute axes = [0, 1]: dimensions after the batch, at least one",
        ),
        (
            with_string(node("Pad", &["x"], "y"), "mode", "reflect"),
            r#"attribute mode = "reflect": only constant is supported"#,
        ),
        (
            with_ints(node("Pad", &["x"], "y"), "pads", &[0, 0, 1, 0, 0, 0, -1, 0]),
            "attribute pads = [0, 0, 1, 0, 0, 0, -1, 0]: nothing is cut off",
        ),
        (
            with_string(node("Resize", &["x"], "y"), "coordinate_transformation_mode", "odd"),
            "attribute scales is missing",
        ),
        (node("MaxPool", &["x"], "y"), "attribute kernel_shape is missing"),
        (
            node("Relu", &["z"], "y"),
            r#"it reads "z", which no initializer, input or earlier node provides"#,
        ),
        (
            node("Relu", &["y"], "y"),
            r#"it reads "y", which no initializer, input or earlier node provides"#,
        ),
        (node("Relu", &["x"], "x"), r#"it writes "x", which is written already"#),
        (node("Relu", &["x"], ""), "it has 1 outputs, not 1"),
    ];
    for (node, expected) in cases {
        let (name, op) = (node.name.clone(), node.op_type.clone());
        let found = error_of(&model(vec![node], vec![weight()]));
        let book = format!("(what is read of {op}: docs/src/operators.md)");
        assert_eq!(found, format!("node {name:?} ({op}): {expected} {book}"));
    }
}

#[test]
fn wrong_tensors_are_named() {
    let tensor_error = |tensor: TensorProto| match read_model(&model(vec![conv()], vec![tensor])) {
        Err(ImportError::Node { source: NodeError::Tensor { value, source }, .. }) => {
            assert_eq!(value, "w");
            source
        }
        other => panic!("{other:?}"),
    };
    let short = TensorProto { dims: vec![3, 2, 3, 4], ..weight() };
    assert!(matches!(tensor_error(short), TensorError::Length { expected: 72, found: 54, .. }));
    let giant = TensorProto { dims: vec![1 << 31, 1 << 31, 1 << 31, 3], ..weight() };
    assert!(matches!(tensor_error(giant), TensorError::Dims { .. }));
    let large = TensorProto { dims: vec![1 << 30, 2, 3, 3], ..weight() };
    assert!(matches!(tensor_error(large), TensorError::Length { found: 54, .. }));
    let negative = TensorProto { dims: vec![3, -2, 3, 3], ..weight() };
    assert!(matches!(tensor_error(negative), TensorError::Dims { .. }));
    let text = TensorProto { data_type: DataType::String as i32, ..weight() };
    let error = tensor_error(text).to_string();
    assert_eq!(error, "element type STRING is not supported, only floats and integers");

    let location = StringStringEntryProto { key: "location".into(), value: "weights.bin".into() };
    let external = TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![location],
        float_data: Vec::new(),
        ..weight()
    };
    assert_eq!(
        error_of(&model(vec![conv()], vec![external])),
        "node \"Conv_y\" (Conv): constant \"w\": its values are in another file (\"weights.bin\"); \
         import the model from its folder, or save it with its weights inside (what is read of Conv: \
         docs/src/operators.md)"
    );
}

#[test]
fn wrong_inputs_and_outputs_are_named() {
    let with_input = |input: ValueInfoProto| {
        let mut model = model(vec![conv()], vec![weight()]);
        model.graph.as_mut().expect("a graph").input = vec![input];
        model
    };
    let cases = [
        (info("x", &[]), "it has 0 dimensions, not 1 to 4 with the batch first"),
        (info("x", &[1, 2, 3, 4, 5]), "it has 5 dimensions, not 1 to 4 with the batch first"),
        (
            info("x", &[1, 2, 0, 4]),
            "dimension 2 is not known; give its dimensions by `ImportOptions::shapes`",
        ),
        (
            info("x", &[1, i64::MAX, i64::MAX, 4]),
            "it has no elements, or too many: [9223372036854775807, 9223372036854775807, 4]",
        ),
        (info("x", &[1, 1 << 40, 1, 1]), "it is too large: [1, 1, 1, 1099511627776]"),
        (ValueInfoProto { name: "x".into(), ..ValueInfoProto::default() }, "it is not a tensor"),
    ];
    for (input, reason) in cases {
        assert_eq!(error_of(&with_input(input)), format!("input \"x\": {reason}"));
    }

    let open = dimension::Value::DimParam("height".into());
    let mut input = info("x", &[1, 2, 4, 4]);
    let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_mut().and_then(|kind| kind.value.as_mut())
    else {
        panic!("a tensor");
    };
    tensor.shape.as_mut().expect("a shape").dim[2].value = Some(open);
    let model_with_open = with_input(input);
    let error = error_of(&model_with_open);
    assert_eq!(error, "input \"x\": dimension 2 is open; give a size for \"height\"");
    let mut options = ImportOptions::default();
    options.symbols.insert("height".into(), 9);
    let graph = import(&model_with_open.encode_to_vec(), &options).expect("the size is given");
    assert_eq!(graph.values[0].shape.to_string(), "[1x9x4x2]");

    let mut options = ImportOptions::default();
    options.shapes.insert("x".into(), vec![1, 2, 6, 4]);
    let graph = import(&model_with_open.encode_to_vec(), &options).expect("the shape is given");
    assert_eq!(graph.values[0].shape.to_string(), "[1x6x4x2]");

    let flat = || node("Flatten", &["x"], "f");
    let joined = model(vec![flat(), with_int(node("Concat", &["f", "f"], "y"), "axis", 1)], vec![]);
    let expected = "output \"y\" is several flattened maps in a row, whose order would change";
    assert_eq!(error_of(&joined), expected);
    let nothing = model(vec![], vec![]);
    assert_eq!(error_of(&nothing), "output \"y\" is written by no node");
    let twice = model(vec![conv()], vec![weight(), weight()]);
    assert_eq!(error_of(&twice), "two initializers or inputs have the name \"w\"");
}

#[test]
fn versions_are_checked() {
    let mut file = model(vec![conv()], vec![weight()]);
    for version in [6, 29, i64::MIN] {
        file.opset_import[0].version = version;
        let expected = format!("operator set Some({version}) is not between 7 and 28");
        assert_eq!(error_of(&file), expected);
    }
    file.opset_import.clear();
    assert_eq!(error_of(&file), "operator set None is not between 7 and 28");
    file.graph = None;
    assert_eq!(error_of(&file), "the model has no graph");
    assert!(matches!(read(b"PK\x03\x04 a zip file"), Err(ImportError::Malformed { .. })));
}

#[test]
fn small_files_cannot_ask_for_much_memory_or_time() {
    // Two bytes a node would become hundreds each.
    let mut body = Vec::new();
    for _ in 0..1 << 20 {
        body.extend([1 << 3 | 2, 0]);
    }
    let mut bytes = vec![7 << 3 | 2];
    prost::encoding::encode_varint(body.len() as u64, &mut bytes);
    bytes.extend(body);
    assert!(matches!(read(&bytes), Err(ImportError::TooManyFields { .. })));

    // One weight under five thousand factors would be five thousand weights.
    let mut nodes = vec![node("GlobalAveragePool", &["x"], "p"), node("Flatten", &["p"], "h0")];
    for at in 0..5_000 {
        let (from, to) = (format!("h{at}"), format!("h{}", at + 1));
        let gemm = node("Gemm", &[&from, "w"], &to);
        nodes.push(with_float(gemm, "alpha", 1.0 + at as f32));
    }
    nodes.push(node("Gemm", &["h5000", "w"], "y"));
    let many = model(nodes, vec![floats("w", &[2, 2])]);
    assert!(read_model(&many).is_ok(), "small weights may be used often");
    let Some(mut graph) = many.graph.clone() else { panic!("a graph") };
    graph.input = vec![info("x", &[1, 400, 4, 4])];
    graph.initializer = vec![floats("w", &[400, 400])];
    let many = ModelProto { graph: Some(graph), ..many };
    let error = read_model(&many).expect_err("too much");
    assert!(matches!(error, ImportError::Node { source: NodeError::Amplified, .. }), "{error}");

    // A vector joined with itself sixty times has 2^60 elements.
    let mut nodes = Vec::new();
    for at in 0..60 {
        let from = if at == 0 { "s".to_owned() } else { format!("s{at}") };
        let join = node("Concat", &[&from, &from], &format!("s{}", at + 1));
        nodes.push(with_int(join, "axis", 0));
    }
    nodes.push(node("Reshape", &["x", "s60"], "y"));
    let error = error_of(&model(nodes, vec![ints("s", &[1])]));
    assert!(error.contains("so often that the graph would be far larger"), "{error}");

    // A row of two orders that is joined with itself has twice the parts each time.
    let mut nodes = vec![node("Flatten", &["x"], "r0")];
    for at in 0..40 {
        let from = format!("r{at}");
        let join = node("Concat", &[&from, &from], &format!("r{}", at + 1));
        nodes.push(with_int(join, "axis", 1));
    }
    nodes.push(node("Relu", &["r40"], "y"));
    let error = error_of(&model(nodes, vec![]));
    assert!(error.contains("so often that the graph would be far larger"), "{error}");

    // Levels and zero points at the ends of what integers can say.
    let extremes = [i64::MIN, i64::MAX, 0, 255];
    for level in extremes {
        for zero in extremes {
            let constants = vec![
                TensorProto { dims: vec![], ..ints("q", &[level]) },
                TensorProto { dims: vec![], float_data: vec![0.5], ..floats("s", &[1]) },
                TensorProto { dims: vec![], ..ints("z", &[zero]) },
            ];
            let nodes = vec![
                node("DequantizeLinear", &["q", "s", "z"], "f"),
                node("Mul", &["x", "f"], "m"),
                node("QuantizeLinear", &["m", "s", "z"], "n"),
                node("DequantizeLinear", &["n", "s", "z"], "y"),
            ];
            drop(read_model(&model(nodes, constants)));
        }
    }

    // Activations that double their channels end where they cannot be counted.
    let mut nodes = Vec::new();
    for at in 0..80 {
        let from = if at == 0 { "x".to_owned() } else { format!("d{at}") };
        let join = node("Concat", &[&from, &from], &format!("d{}", at + 1));
        nodes.push(with_int(join, "axis", 1));
    }
    nodes.push(node("Relu", &["d80"], "y"));
    let error = error_of(&model(nodes, vec![]));
    assert!(error.contains("the result of concat is too large"), "{error}");

    // Thousands of nodes that want the same name.
    let mut nodes: Vec<NodeProto> = (0..5_000)
        .map(|at| NodeProto { name: "same".into(), ..node("Softmax", &["x"], &format!("r{at}")) })
        .map(|node| with_int(node, "axis", 1))
        .collect();
    nodes.push(node("Relu", &["x"], "y"));
    let graph = read_model(&model(nodes, vec![])).expect("legal, if odd");
    assert_eq!(graph.nodes[4_999].name, "same.5000");
}
