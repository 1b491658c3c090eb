//! Plans of small models, replayed byte by byte.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::sharing::{Reuse, reuse};
use super::*;
use crate::model::{Node, Value};
use crate::op::{Activation, Concat, Conv2d, Op, Pool, PoolKind, Window};
use crate::quant::Quant;
use crate::tensor::Shape;

/// A model without weights: `(operator, inputs)` per node; value 0 is the input, value `i + 1` node `i`'s result.
fn model(kinds: &[ValueType], nodes: &[(Op, &[usize])], outputs: &[usize]) -> Model<'static> {
    let value = |&kind: &ValueType| Value { name: String::new(), kind };
    let node = |(index, (op, inputs)): (usize, &(Op, &[usize]))| Node {
        name: String::new(),
        op: op.clone(),
        inputs: inputs.to_vec(),
        output: index + 1,
        weight: None,
        bias: None,
    };
    Model {
        name: String::new(),
        values: kinds.iter().map(value).collect(),
        nodes: nodes.iter().enumerate().map(node).collect(),
        tensors: Vec::new(),
        inputs: vec![0],
        outputs: outputs.to_vec(),
        metadata: crate::metadata::Metadata::default(),
    }
}

fn plan(kinds: &[ValueType], nodes: &[(Op, &[usize])], outputs: &[usize]) -> Plan {
    let model = model(kinds, nodes, outputs);
    let plan = Plan::new(&model, kinds).unwrap();
    check_disjoint(&model, &plan);
    plan
}

/// Replays the model and checks that no value is overwritten before its last read.
fn check_disjoint(model: &Model<'_>, plan: &Plan) {
    let mut owner: Vec<Option<usize>> = vec![None; plan.arena_bytes];
    let bytes = |value: usize| -> Vec<usize> {
        let Some(Place::Arena(range)) = &plan.places[value] else { return Vec::new() };
        let Some(row_bytes) = plan.row_bytes[value] else { return range.clone().collect() };
        let kind = model.values[value].kind;
        let row = kind.shape.dim(kind.shape.rank() - 1) * kind.dtype.size_bytes();
        let rows = kind.shape.len() * kind.dtype.size_bytes() / row;
        (0..rows)
            .flat_map(|at| (0..row).map(move |byte| at * row_bytes + byte))
            .map(|byte| range.start + byte)
            .inspect(|byte| assert!(range.contains(byte), "value {value}"))
            .collect()
    };
    for (index, node) in model.nodes.iter().enumerate() {
        let aliases = reuse(node, &kinds_of(model)) == Reuse::Alias;
        let out = bytes(node.output);
        for (at, &input) in node.inputs.iter().enumerate() {
            let read = bytes(input);
            assert!(read.iter().all(|&byte| owner[byte] == Some(input)), "node {index}");
            let overlaps = read.iter().any(|byte| out.contains(byte));
            let is_part = plan.row_bytes[input].is_some();
            let allowed = aliases || is_part || plan.in_place[index] == Some(at);
            assert!(!overlaps || allowed, "node {index} writes over input {at}");
        }
        out.iter().for_each(|&byte| owner[byte] = Some(node.output));
    }
    for &output in &model.outputs {
        assert!(bytes(output).iter().all(|&byte| owner[byte] == Some(output)), "output {output}");
    }
}

fn kinds_of(model: &Model<'_>) -> Vec<ValueType> {
    model.values.iter().map(|value| value.kind).collect()
}

fn floats(len: usize) -> ValueType {
    ValueType::f32(Shape::matrix(1, len))
}

const RELU: Op = Op::Activation(Activation::Relu);

#[test]
fn a_chain_works_in_place() {
    let kinds = [floats(32); 4];
    let nodes: [(Op, &[usize]); 3] = [(Op::Softmax, &[0]), (RELU, &[1]), (Op::Flatten, &[2])];
    let plan = plan(&kinds, &nodes, &[3]);
    assert_eq!(plan.arena_bytes, 128);
    assert_eq!(plan.in_place, [None, Some(0), None]);
    assert_eq!(plan.places[0], Some(Place::Input(0)));
    assert!(plan.places[1..].iter().all(|place| *place == Some(Place::Arena(0..128))));
}

#[test]
fn inputs_and_values_still_needed_are_not_written_over() {
    let kinds = [floats(16); 4];
    // relu(input), then relu of that while it is a result too, then their sum.
    let nodes: [(Op, &[usize]); 3] =
        [(RELU, &[0]), (RELU, &[1]), (Op::Add(Activation::None), &[1, 2])];
    let plan = plan(&kinds, &nodes, &[1, 3]);
    assert_eq!(plan.in_place, [None, None, Some(1)]);
    assert_eq!(plan.arena_bytes, 128);
}

#[test]
fn a_value_added_to_itself_is_not_written_over() {
    let kinds = [floats(16); 3];
    let nodes: [(Op, &[usize]); 2] = [(Op::Softmax, &[0]), (Op::Add(Activation::None), &[1, 1])];
    assert_eq!(plan(&kinds, &nodes, &[2]).in_place, [None, None]);
}

#[test]
fn an_alias_keeps_the_buffer_alive() {
    let kinds = [floats(16), floats(16), floats(16), floats(16), floats(16)];
    // The flattened value is read after a relu that could otherwise work in place.
    let nodes: [(Op, &[usize]); 4] = [
        (Op::Softmax, &[0]),
        (Op::Flatten, &[1]),
        (RELU, &[1]),
        (Op::Add(Activation::None), &[2, 3]),
    ];
    let model = model(&kinds, &nodes, &[4]);
    let plan = Plan::new(&model, &kinds).unwrap();
    assert_eq!(plan.in_place[2], None);
    assert_eq!(plan.places[1], plan.places[2]);
    assert_ne!(plan.places[3], plan.places[1]);
}

const fn pixel_conv() -> Op {
    Op::Conv2d(Conv2d { window: Window::square(1, 1), groups: 1, activation: Activation::None })
}

/// A fire module: both convolutions read the first, the concatenation reads only them.
#[test]
fn convolutions_write_into_a_concatenation() {
    let map = |channels| ValueType::f32(Shape::nhwc(1, 8, 8, channels));
    let kinds = [map(4), map(4), map(16), map(16), map(32), map(4)];
    let nodes: [(Op, &[usize]); 5] = [
        (pixel_conv(), &[0]),
        (pixel_conv(), &[1]),
        (pixel_conv(), &[1]),
        (Op::Concat(Concat { axis: 3 }), &[2, 3]),
        (pixel_conv(), &[4]),
    ];
    let plan = plan(&kinds, &nodes, &[5]);
    assert_eq!(plan.row_bytes, [None, None, Some(128), Some(128), None, None]);
    assert_eq!(plan.arena_bytes, 64 * 4 * (32 + 4));
    assert_eq!(plan.arena_bytes, plan.lower_bound_bytes);
}

#[test]
fn what_others_read_or_give_in_other_levels_is_copied() {
    let map = |channels| ValueType::f32(Shape::nhwc(1, 8, 8, channels));
    let kinds = [map(4), map(4), map(4), map(12), map(12)];
    let nodes: [(Op, &[usize]); 4] = [
        (pixel_conv(), &[0]),
        // A result of the network, and something that is no convolution.
        (RELU, &[0]),
        (Op::Concat(Concat { axis: 3 }), &[1, 2, 0]),
        (RELU, &[3]),
    ];
    assert_eq!(plan(&kinds, &nodes, &[1, 4]).row_bytes, [None; 5]);
    let levels = |scale, channels| {
        ValueType::u8(Shape::nhwc(1, 8, 8, channels), Quant { scale, zero_point: 0 })
    };
    let kinds = [levels(1.0, 4), levels(0.5, 4), levels(0.25, 4), levels(0.5, 8)];
    let nodes: [(Op, &[usize]); 3] =
        [(pixel_conv(), &[0]), (pixel_conv(), &[0]), (Op::Concat(Concat { axis: 3 }), &[1, 2])];
    assert_eq!(plan(&kinds, &nodes, &[3]).row_bytes, [None, Some(8), None, None]);
}

#[test]
fn a_device_that_writes_words_copies_parts_that_are_none() {
    let quant = Quant { scale: 0.1, zero_point: 3 };
    let map = |channels| ValueType::u8(Shape::nhwc(1, 2, 2, channels), quant);
    let joined = |channels: [usize; 2], granule| {
        let kinds = [map(4), map(channels[0]), map(channels[1]), map(channels[0] + channels[1])];
        let concat = Op::Concat(Concat { axis: 3 });
        let nodes: [(Op, &[usize]); 3] =
            [(pixel_conv(), &[0]), (pixel_conv(), &[0]), (concat, &[1, 2])];
        let plan = Plan::with_granule(&model(&kinds, &nodes, &[3]), &kinds, granule).unwrap();
        [1, 2].map(|value| plan.row_bytes[value].is_some())
    };
    assert_eq!(joined([8, 4], 4), [true, true]);
    assert_eq!(joined([6, 2], 1), [true, true]);
    assert_eq!(joined([6, 2], 4), [false, false]);
    // The row is no whole number of words, so the next row's first part begins within one.
    assert_eq!(joined([8, 2], 4), [false, false]);
}

#[test]
fn other_levels_need_a_table_and_so_no_alias() {
    let quant = |scale| Quant { scale, zero_point: 0 };
    let kinds = [0.5, 0.5, 0.25].map(|s| ValueType::u8(Shape::matrix(1, 8), quant(s)));
    let nodes: [(Op, &[usize]); 2] = [(RELU, &[0]), (Op::Flatten, &[1])];
    assert_eq!(plan(&kinds, &nodes, &[2]).in_place, [None, Some(0)]);
}

#[test]
fn arenas_are_close_to_the_lower_bound() {
    let pool = || {
        let kind = PoolKind::Average { include_pads: false };
        Op::Pool(Pool { kind, window: Window::square(2, 2), ceil: false })
    };
    let concat = || Op::Concat(Concat { axis: 1 });
    // Lengths as in LeNet-5, in a network with skips, and in one with branches as inception modules have.
    let chain: [(Op, &[usize]); 6] = core::array::from_fn(|i| {
        const INPUTS: [[usize; 1]; 6] = [[0], [1], [2], [3], [4], [5]];
        (pool(), &INPUTS[i][..])
    });
    let skips: [(Op, &[usize]); 6] = [
        (pool(), &[0]),
        (pool(), &[1]),
        (concat(), &[1, 2]),
        (pool(), &[3]),
        (concat(), &[1, 4]),
        (pool(), &[5]),
    ];
    let branches: [(Op, &[usize]); 7] = [
        (pool(), &[0]),
        (pool(), &[1]),
        (pool(), &[1]),
        (pool(), &[1]),
        (pool(), &[3]),
        (concat(), &[2, 4, 5]),
        (pool(), &[6]),
    ];
    type Nodes<'a> = &'a [(Op, &'a [usize])];
    let cases: [(&[usize], Nodes<'_>); 3] = [
        (&[784, 11_520, 2880, 3200, 800, 500, 10], &chain),
        (&[100, 5000, 2500, 7500, 900, 5900, 10], &skips),
        (&[100, 4000, 1000, 300, 2000, 700, 3700, 10], &branches),
    ];
    for (lens, nodes) in cases {
        let kinds: Vec<ValueType> = lens.iter().map(|&len| floats(len)).collect();
        let plan = plan(&kinds, nodes, &[nodes.len()]);
        let bound = plan.lower_bound_bytes;
        assert!(plan.arena_bytes >= bound, "{plan:?}");
        assert!(plan.arena_bytes * 10 <= bound * 11, "{} of {bound}", plan.arena_bytes);
    }
}

#[test]
fn sizes_that_cannot_be_counted_are_refused() {
    let kinds = [floats(16), floats(u32::MAX as usize), floats(u32::MAX as usize)];
    let huge = |kind: &ValueType| ValueType { shape: kind.shape.with_batch(1 << 31), ..*kind };
    let nodes: [(Op, &[usize]); 2] = [(Op::Softmax, &[0]), (Op::Softmax, &[1])];
    let model = model(&kinds, &nodes, &[2]);
    let kinds: Vec<ValueType> = kinds.iter().map(huge).collect();
    assert_eq!(Plan::new(&model, &kinds), None);
}
