//! Models with a few things wrong, still a protobuf: what damaged bytes seldom reach. Shared with the fuzz target.

use embdl_onnx::{ExportOptions, ImportOptions, export_with, import, operators};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    ValueInfoProto, type_proto,
};

/// Elements of an activation that are worth computing a file for; shapes alone cost nothing.
const MOST_ELEMENTS: usize = 1 << 20;

/// Whether a file is imported; what is imported is valid, and can be written and read again.
///
/// # Panics
/// If it is not, or cannot.
pub(crate) fn is_imported(bytes: &[u8], options: &ImportOptions) -> bool {
    let Ok(graph) = import(bytes, options) else { return false };
    graph.validate().expect("an import is a valid graph");
    if graph.values.iter().any(|value| value.shape.len() > MOST_ELEMENTS) {
        return true;
    }
    for quantized in [false, true] {
        let mut form = ExportOptions::default();
        form.quantized = quantized;
        let Ok(written) = export_with(&graph, &form) else { continue };
        let again = import(&written, &ImportOptions::default()).expect("what is written is read");
        assert_eq!(again.outputs.len(), graph.outputs.len());
    }
    true
}

/// Numbers at which sizes, axes and counts go wrong.
const INTS: [i64; 24] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    224,
    255,
    -1,
    -2,
    -3,
    -4,
    -5,
    1 << 16,
    1 << 20,
    1 << 31,
    1 << 40,
    -(1 << 31),
    i64::MAX,
    i64::MIN,
    (1 << 31) - 1,
];
const FLOATS: [f32; 10] =
    [0.0, -0.0, 1.0, -1.0, 6.0, 1e-30, 3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
const ATTRIBUTES: [&str; 48] = [
    "auto_pad",
    "pads",
    "strides",
    "dilations",
    "kernel_shape",
    "group",
    "ceil_mode",
    "storage_order",
    "count_include_pad",
    "alpha",
    "beta",
    "transA",
    "transB",
    "axis",
    "axes",
    "keepdims",
    "perm",
    "epsilon",
    "momentum",
    "spatial",
    "training_mode",
    "min",
    "max",
    "gamma",
    "bias",
    "size",
    "mode",
    "value",
    "value_int",
    "value_ints",
    "value_float",
    "value_floats",
    "to",
    "starts",
    "ends",
    "split",
    "num_outputs",
    "allowzero",
    "coordinate_transformation_mode",
    "nearest_mode",
    "scales",
    "block_size",
    "output_dtype",
    "noop_with_empty_axes",
    "exclude_outside",
    "antialias",
    "start",
    "end",
];
const STRINGS: [&str; 16] = [
    "",
    "NOTSET",
    "VALID",
    "SAME_UPPER",
    "SAME_LOWER",
    "constant",
    "reflect",
    "edge",
    "nearest",
    "linear",
    "cubic",
    "half_pixel",
    "align_corners",
    "asymmetric",
    "floor",
    "pytorch_half_pixel",
];
const LOCATIONS: [&str; 5] = ["", "weights.bin", "../weights.bin", "/dev/zero", "a\0b"];

/// Small numbers that follow from a seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Below `count`, which is not zero.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("less than a usize")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.below(all.len())])
    }

    fn of_mut<'a, T>(&mut self, all: &'a mut [T]) -> Option<&'a mut T> {
        if all.is_empty() { None } else { Some(&mut all[self.below(all.len())]) }
    }

    fn int(&mut self, old: i64) -> i64 {
        match self.below(3) {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            _ => INTS[self.below(INTS.len())],
        }
    }
}

/// Changes one to four things of `model`, mostly one.
pub(crate) fn mutate(model: &mut ModelProto, dice: &mut Dice) {
    let most = 1 + dice.below(4);
    for _ in 0..=dice.below(most) {
        let Some(graph) = model.graph.as_mut() else { return };
        match dice.below(16) {
            0 => {
                if let Some(entry) = dice.of_mut(&mut model.opset_import) {
                    entry.version = dice.int(entry.version);
                }
            }
            1 | 2 => order(graph, dice),
            3 | 4 => insert(graph, dice),
            5..=7 => wire(graph, dice),
            8..=10 => attribute(graph, dice),
            11 | 12 => constant(graph, dice),
            13 => {
                let ends = if dice.one_in(2) { &mut graph.input } else { &mut graph.output };
                if let Some(info) = dice.of_mut(ends) {
                    describe(info, dice);
                }
            }
            14 => outputs(graph, dice),
            _ => {
                let known = operators();
                if let Some(node) = dice.of_mut(&mut graph.node) {
                    node.op_type = known[dice.below(known.len())].name.into();
                }
            }
        }
    }
}

/// Every name that something has or reads.
fn names(graph: &GraphProto) -> Vec<String> {
    let nodes = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output)).cloned();
    let constants = graph.initializer.iter().map(|tensor| tensor.name.clone());
    nodes.chain(constants).chain(graph.input.iter().map(|info| info.name.clone())).collect()
}

fn a_name(graph: &GraphProto, dice: &mut Dice) -> String {
    dice.of(&names(graph)).cloned().unwrap_or_default()
}

/// Removes, doubles or swaps nodes.
fn order(graph: &mut GraphProto, dice: &mut Dice) {
    if graph.node.is_empty() {
        return;
    }
    let (one, other) = (dice.below(graph.node.len()), dice.below(graph.node.len()));
    match dice.below(3) {
        0 => drop(graph.node.remove(one)),
        1 => graph.node.swap(one, other),
        _ => {
            let mut again = graph.node[one].clone();
            for name in &mut again.output {
                name.push('\'');
            }
            graph.node.insert(other, again);
        }
    }
}

/// Puts a node between one that writes and one that reads.
fn insert(graph: &mut GraphProto, dice: &mut Dice) {
    let known = operators();
    let at = dice.below(graph.node.len() + 1);
    let between = graph.node.get(at).filter(|node| !node.input.is_empty());
    let from = between.map_or_else(|| a_name(graph, dice), |node| node.input[0].clone());
    let output = format!("new{}", dice.below(1 << 20));
    let mut input = vec![from];
    while input.len() < 5 && dice.one_in(2) {
        input.push(a_name(graph, dice));
    }
    let mut node = NodeProto {
        op_type: known[dice.below(known.len())].name.into(),
        name: output.clone(),
        input,
        output: vec![output.clone()],
        ..NodeProto::default()
    };
    while dice.one_in(2) {
        node.attribute.push(an_attribute(dice));
    }
    if let Some(reader) = graph.node.get_mut(at).filter(|node| !node.input.is_empty()) {
        reader.input[0] = output;
    }
    graph.node.insert(at, node);
}

/// Lets a node read or write something else, more or less.
fn wire(graph: &mut GraphProto, dice: &mut Dice) {
    let name = a_name(graph, dice);
    let Some(node) = dice.of_mut(&mut graph.node) else { return };
    let end = if dice.one_in(4) { &mut node.output } else { &mut node.input };
    match dice.below(6) {
        0 => end.push(name),
        1 => drop(end.pop()),
        2 => end.push(String::new()),
        3 => end.reverse(),
        _ => {
            if let Some(old) = dice.of_mut(end) {
                *old = name;
            }
        }
    }
}

fn attribute(graph: &mut GraphProto, dice: &mut Dice) {
    let Some(node) = dice.of_mut(&mut graph.node) else { return };
    if node.attribute.is_empty() || dice.one_in(4) {
        node.attribute.push(an_attribute(dice));
        return;
    }
    let at = dice.below(node.attribute.len());
    if dice.one_in(8) {
        node.attribute.remove(at);
        return;
    }
    let old = &mut node.attribute[at];
    match dice.below(8) {
        0 => old.name = ATTRIBUTES[dice.below(ATTRIBUTES.len())].into(),
        1 => old.r#type = i32::try_from(dice.below(16)).expect("small"),
        2 => {
            if let Some(tensor) = old.t.as_mut() {
                damage(tensor, dice);
            }
        }
        _ if old.r#type == AttributeType::Ints as i32 => list(&mut old.ints, dice),
        _ if old.r#type == AttributeType::Int as i32 => old.i = dice.int(old.i),
        _ => {
            let name = old.name.clone();
            *old = AttributeProto { name, ..an_attribute(dice) };
        }
    }
}

fn an_attribute(dice: &mut Dice) -> AttributeProto {
    let name = ATTRIBUTES[dice.below(ATTRIBUTES.len())].into();
    let mut made = AttributeProto { name, ..AttributeProto::default() };
    let kind = match dice.below(5) {
        0 => {
            made.f = FLOATS[dice.below(FLOATS.len())];
            AttributeType::Float
        }
        1 => {
            made.s = STRINGS[dice.below(STRINGS.len())].into();
            AttributeType::String
        }
        2 => {
            (0..dice.below(9)).for_each(|_| made.ints.push(dice.int(1)));
            AttributeType::Ints
        }
        3 => {
            (0..dice.below(5)).for_each(|_| made.floats.push(FLOATS[dice.below(FLOATS.len())]));
            AttributeType::Floats
        }
        _ => {
            made.i = dice.int(1);
            AttributeType::Int
        }
    };
    made.r#type = kind as i32;
    made
}

/// Another number, one more, or one less.
fn list(numbers: &mut Vec<i64>, dice: &mut Dice) {
    match dice.below(4) {
        0 => drop(numbers.pop()),
        1 => numbers.push(dice.int(1)),
        _ => {
            if let Some(number) = dice.of_mut(numbers) {
                *number = dice.int(*number);
            }
        }
    }
}

fn constant(graph: &mut GraphProto, dice: &mut Dice) {
    match dice.below(8) {
        0 if !graph.initializer.is_empty() => {
            let at = dice.below(graph.initializer.len());
            graph.initializer.remove(at);
        }
        1 => {
            let mut again = dice.of(&graph.initializer).cloned().unwrap_or_default();
            again.name = a_name(graph, dice);
            graph.initializer.push(again);
        }
        _ => {
            if let Some(tensor) = dice.of_mut(&mut graph.initializer) {
                damage(tensor, dice);
            }
        }
    }
}

fn damage(tensor: &mut TensorProto, dice: &mut Dice) {
    match dice.below(8) {
        0 | 1 => list(&mut tensor.dims, dice),
        2 => tensor.data_type = i32::try_from(dice.below(26)).expect("small"),
        3 => {
            let entry =
                |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
            let location = LOCATIONS[dice.below(LOCATIONS.len())].to_owned();
            tensor.data_location = Some(DataLocation::External as i32);
            tensor.external_data = vec![
                entry("location", location),
                entry("offset", dice.int(0).to_string()),
                entry("length", dice.int(64).to_string()),
            ];
        }
        4 => {
            let len = dice.below(2 * tensor.raw_data.len() + 2);
            tensor.raw_data.resize(len, 0x7f);
        }
        5 => {
            if let Some(value) = dice.of_mut(&mut tensor.float_data) {
                *value = FLOATS[dice.below(FLOATS.len())];
            }
            if let Some(value) = dice.of_mut(&mut tensor.int64_data) {
                *value = dice.int(*value);
            }
        }
        6 => {
            if tensor.raw_data.len() >= 8 {
                let at = dice.below(tensor.raw_data.len() / 8) * 8;
                let bytes = dice.int(1).to_le_bytes();
                tensor.raw_data[at..at + 8].copy_from_slice(&bytes);
            }
        }
        _ => tensor.dims.reverse(),
    }
}

fn describe(info: &mut ValueInfoProto, dice: &mut Dice) {
    let value = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = value else { return };
    match dice.below(6) {
        0 => tensor.elem_type = i32::try_from(dice.below(26)).expect("small"),
        1 => tensor.shape = None,
        2 => info.name.push('?'),
        _ => {
            let Some(shape) = tensor.shape.as_mut() else { return };
            let value = match dice.below(4) {
                0 => Some(dimension::Value::DimParam("n".into())),
                1 => None,
                _ => Some(dimension::Value::DimValue(dice.int(8))),
            };
            let dim = Dimension { value, ..Dimension::default() };
            match dice.below(6) {
                0 => shape.dim.push(dim),
                1 => drop(shape.dim.pop()),
                _ => {
                    if let Some(old) = dice.of_mut(&mut shape.dim) {
                        *old = dim;
                    }
                }
            }
        }
    }
}

/// Another output, or one more: values inside the graph come to light.
fn outputs(graph: &mut GraphProto, dice: &mut Dice) {
    let name = a_name(graph, dice);
    let Some(info) = dice.of(&graph.output).cloned() else { return };
    let info = ValueInfoProto { name, ..info };
    if dice.one_in(2) {
        graph.output.push(info);
    } else if let Some(old) = dice.of_mut(&mut graph.output) {
        *old = info;
    }
}
