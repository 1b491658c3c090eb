//! The ONNX project's own tests of single operators, through import and the scalar reference runtime. `cargo xtask setup`
//! generates them; without them the test says so, and fails where `CI` is set.
#![allow(clippy::print_stderr, reason = "a test that is skipped has to be loud")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::runtime;
use common::{in_graph_order, in_onnx_order};
use embdl_onnx::{ImportOptions, Imported, Layout, import_with_layouts, operators};
use prost::Message as _;
use serde::Deserialize;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto, type_proto};

/// Tests that do not run, with the reason: `name: reason`.
const SKIPS: &str = include_str!("backend/skips.txt");
/// Most elements of a result that is computed from constants alone.
const MOST_CONSTANT: usize = 4096;

#[derive(Debug, Deserialize)]
struct Record {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    rtol: f64,
    atol: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Tensor {
    kind: String,
    dims: Vec<usize>,
    values: Vec<String>,
}

impl Tensor {
    fn numbers(&self) -> Vec<f64> {
        self.values.iter().map(|text| text.parse().expect("a number as Python writes it")).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the values are those of f32")]
    fn floats(&self) -> Vec<f32> {
        self.numbers().iter().map(|&value| value as f32).collect()
    }

    /// The tensor as an initializer.
    #[expect(clippy::cast_possible_truncation, reason = "the values are those of the type")]
    fn proto(&self, name: &str) -> TensorProto {
        let numbers = self.numbers();
        let bytes = |each: &dyn Fn(f64) -> Vec<u8>| numbers.iter().flat_map(|&n| each(n)).collect();
        let (kind, raw_data): (DataType, Vec<u8>) = match self.kind.as_str() {
            "float32" => (DataType::Float, bytes(&|n| (n as f32).to_le_bytes().to_vec())),
            "float64" => (DataType::Double, bytes(&|n| n.to_le_bytes().to_vec())),
            "int64" => (DataType::Int64, bytes(&|n| (n as i64).to_le_bytes().to_vec())),
            "int32" => (DataType::Int32, bytes(&|n| (n as i32).to_le_bytes().to_vec())),
            "int16" => (DataType::Int16, bytes(&|n| (n as i16).to_le_bytes().to_vec())),
            "uint16" => (DataType::Uint16, bytes(&|n| (n as u16).to_le_bytes().to_vec())),
            "uint32" => (DataType::Uint32, bytes(&|n| (n as u32).to_le_bytes().to_vec())),
            "uint64" => (DataType::Uint64, bytes(&|n| (n as u64).to_le_bytes().to_vec())),
            "int8" => (DataType::Int8, bytes(&|n| (n as i8).to_le_bytes().to_vec())),
            "uint8" => (DataType::Uint8, bytes(&|n| vec![n as u8])),
            "bool" => (DataType::Bool, bytes(&|n| vec![u8::from(n != 0.0)])),
            other => panic!("{other} is not written by the generator, or is float16"),
        };
        let dims = self.dims.iter().map(|&dim| dim as i64).collect();
        let data_type = kind as i32;
        TensorProto { name: name.into(), dims, data_type, raw_data, ..TensorProto::default() }
    }
}

/// Why a way of running a test was not taken.
enum Outcome {
    /// It cannot be imported.
    Refused(String),
    /// It ran, and what was wrong.
    Ran(Result<(), String>),
}

#[test]
fn the_node_tests_of_onnx_agree() {
    let Some(folder) = folder() else { return };
    let skips: BTreeMap<&str, &str> = SKIPS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("name: reason"))
        .collect();
    let known: BTreeSet<&str> = operators().iter().map(|operator| operator.name).collect();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder can be read")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            name.strip_suffix(".onnx").map(str::to_owned)
        })
        .collect();
    names.sort();
    let (mut ran, mut failures) = (0_usize, Vec::new());
    let mut covered = BTreeSet::new();
    for name in &names {
        let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).expect("a model");
        let model = ModelProto::decode(&*bytes).expect("a model");
        let op = model.graph.as_ref().expect("a graph").node[0].op_type.clone();
        if !known.contains(op.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("a record");
        let record: Record = serde_json::from_str(&text).expect("a record");
        let result = check(&model, &record);
        match (result, skips.get(name.as_str())) {
            (Ok(()), None) => {
                ran += 1;
                covered.insert(op);
            }
            (Ok(()), Some(reason)) => {
                failures.push(format!("{name} passes, but is skipped: {reason}"));
            }
            (Err(_), Some(_)) => {}
            (Err(error), None) => failures.push(format!("{name}: {error}")),
        }
    }
    for name in skips.keys().filter(|name| !names.iter().any(|known| known == *name)) {
        failures.push(format!("{name} is skipped, but there is no such test"));
    }
    assert!(
        failures.is_empty(),
        "{} of {} node tests:\n{}",
        failures.len(),
        ran + failures.len(),
        failures.join("\n")
    );
    let missing: Vec<&&str> = known.iter().filter(|op| !covered.contains(**op)).collect();
    eprintln!("{ran} node tests agree, {} are skipped; no test runs of {missing:?}", skips.len());
    assert!(ran > 300, "only {ran} node tests ran");
}

/// The folder of the generated tests.
fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let folder =
        set("EMBDL_ONNX_NODE_TESTS").or_else(|| Some(cache()?.join("embdl/onnx/node-tests")));
    if let Some(folder) = folder.filter(|folder| folder.join("version").is_file()) {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the node tests of ONNX are not there; run `cargo xtask setup`"
    );
    eprintln!("SKIPPED: the node tests of ONNX are not there; run `cargo xtask setup`");
    None
}

/// Runs a test in every way that can be imported: each float input as the only activation, all of them, or none.
fn check(model: &ModelProto, record: &Record) -> Result<(), String> {
    let floats: Vec<usize> = (0..record.inputs.len())
        .filter(|&at| record.inputs[at].kind == "float32" && !record.inputs[at].dims.is_empty())
        .collect();
    let mut ways: Vec<Vec<usize>> = floats.iter().map(|&at| vec![at]).collect();
    if floats.len() > 1 {
        ways.push(floats);
    }
    let mut refusals = Vec::new();
    let mut ran = false;
    for activations in ways {
        match with_activations(model, record, &activations) {
            Outcome::Refused(why) => refusals.push(why),
            Outcome::Ran(result) => {
                result?;
                ran = true;
            }
        }
    }
    match of_constants(model, record) {
        Outcome::Refused(why) => refusals.push(why),
        Outcome::Ran(result) => {
            result?;
            ran = true;
        }
    }
    if ran { Ok(()) } else { Err(refusals.join(" | ")) }
}

/// The test with the inputs `activations` as inputs and all others as constants.
fn with_activations(model: &ModelProto, record: &Record, activations: &[usize]) -> Outcome {
    let mut model = model.clone();
    let graph = model.graph.as_mut().expect("a graph");
    let mut inputs = Vec::new();
    for (at, tensor) in record.inputs.iter().enumerate() {
        let info = graph.input[at].clone();
        if activations.contains(&at) {
            inputs.push(info);
        } else if tensor.kind == "float16" {
            return Outcome::Refused("float16 inputs".into());
        } else {
            graph.initializer.push(tensor.proto(&info.name));
        }
    }
    graph.input = inputs;
    let batches: BTreeSet<usize> =
        activations.iter().map(|&at| record.inputs[at].dims[0]).collect();
    let &[batch] = batches.iter().copied().collect::<Vec<_>>().as_slice() else {
        return Outcome::Refused("activations of several batches".into());
    };
    if batch == 0 || record.outputs[0].dims.first() != Some(&batch) {
        return Outcome::Refused("the result has another batch".into());
    }
    // Some tests leave the dimensions open.
    let mut options = ImportOptions::default();
    for &at in activations {
        let position = activations.iter().position(|&own| own == at).expect("it is there");
        let name = graph.input[position].name.clone();
        options.shapes.insert(name, record.inputs[at].dims.clone());
    }
    graph.output.truncate(1);
    let imported = match import_with_layouts(&model.encode_to_vec(), &options) {
        Ok(imported) => imported,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let inputs: Vec<Vec<f32>> = activations.iter().map(|&at| record.inputs[at].floats()).collect();
    Outcome::Ran(compare(&imported, &inputs, batch, record))
}

/// The test with all inputs constant; a matrix product with one brings the result to an output.
fn of_constants(model: &ModelProto, record: &Record) -> Outcome {
    let result = &record.outputs[0];
    let len: usize = result.dims.iter().product();
    let is_half = |tensor: &Tensor| tensor.kind == "float16";
    if len == 0 || len > MOST_CONSTANT || is_half(result) || record.inputs.iter().any(is_half) {
        return Outcome::Refused("no result that can be brought out".into());
    }
    let mut model = model.clone();
    let graph = model.graph.as_mut().expect("a graph");
    for (at, tensor) in record.inputs.iter().enumerate() {
        let name = graph.input[at].name.clone();
        graph.initializer.push(tensor.proto(&name));
    }
    let from = graph.output[0].name.clone();
    let attribute = |name: &str, i| AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    };
    let node = |op: &str, inputs: [&str; 2], output: &str| NodeProto {
        op_type: op.into(),
        input: inputs.iter().filter(|name| !name.is_empty()).map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let mut cast = node("Cast", [&from, ""], "as float");
    cast.attribute.push(attribute("to", DataType::Float as i64));
    let row =
        Tensor { kind: "int64".into(), dims: vec![2], values: vec!["1".into(), len.to_string()] };
    graph.initializer.push(row.proto("row shape"));
    graph.node.push(cast);
    graph.node.push(node("Reshape", ["as float", "row shape"], "row"));
    graph.node.push(node("MatMul", ["one", "row"], "brought out"));
    let float = |name: &str, dims: &[i64]| {
        let dim = dims.iter().map(|&dim| Dimension {
            value: Some(dimension::Value::DimValue(dim)),
            ..Dimension::default()
        });
        let mut info = graph.output[0].clone();
        info.name = name.into();
        let tensor = type_proto::Tensor {
            elem_type: DataType::Float as i32,
            shape: Some(tract_onnx::pb::TensorShapeProto { dim: dim.collect() }),
        };
        if let Some(kind) = &mut info.r#type {
            kind.value = Some(type_proto::Value::TensorType(tensor));
        }
        info
    };
    let (input, output) = (float("one", &[1, 1]), float("brought out", &[1, len as i64]));
    graph.input = vec![input];
    graph.output = vec![output];
    let imported = match import_with_layouts(&model.encode_to_vec(), &ImportOptions::default()) {
        Ok(imported) => imported,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    Outcome::Ran(compare(&imported, &[vec![1.0]], 1, record))
}

fn compare(
    imported: &Imported,
    inputs: &[Vec<f32>],
    batch: usize,
    record: &Record,
) -> Result<(), String> {
    let graph = &imported.graph;
    let reordered = |values: &[f32], id: usize, layout: Layout, to_graph: bool| -> Vec<f32> {
        let shape = graph.values[id].shape;
        let sample = |values: &[f32]| match (layout, to_graph) {
            (Layout::Same, _) => values.to_vec(),
            (Layout::Nhwc, true) => in_graph_order(values, shape),
            (Layout::Nhwc, false) => in_onnx_order(values, shape),
        };
        values.chunks_exact(shape.len()).flat_map(sample).collect()
    };
    let inputs: Vec<Vec<f32>> = (inputs.iter().zip(&graph.inputs).zip(&imported.inputs))
        .map(|((values, &id), &layout)| reordered(values, id, layout, true))
        .collect();
    let found = runtime::run(graph, &inputs, batch).map_err(|error| error.to_string())?;
    let found = reordered(&found[0], graph.outputs[0], imported.outputs[0], false);
    let expected = record.outputs[0].numbers();
    if found.len() != expected.len() {
        return Err(format!("{} elements, expected {}", found.len(), expected.len()));
    }
    for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
        let found = f64::from(found);
        let close =
            (found - expected).abs() <= record.atol.max(1e-5) + record.rtol * expected.abs();
        let alike = found == expected || (found.is_nan() && expected.is_nan());
        if !close && !alike {
            return Err(format!("element {at} is {found}, expected {expected}"));
        }
    }
    Ok(())
}

#[test]
fn skips_have_reasons() {
    let mut last = "";
    for line in SKIPS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, reason) = line.split_once(": ").expect("name: reason");
        assert!(reason.len() > 10 && name > last, "{line}");
        last = name;
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backend/generate.py").is_file());
}
