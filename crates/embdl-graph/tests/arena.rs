//! Activations of every network of the zoo take hardly more room than the largest sum that is live at a time.

use embdl_core::model::{Model, Node, Value, ValueId};
use embdl_core::op::Op;
use embdl_core::plan::Plan;
use embdl_core::quant::Quant;
use embdl_core::tensor::ValueType;
use embdl_graph::{Graph, zoo};

/// What the planner sees of a graph: no weights, and batch normalization taken in by the layer before it.
fn model(graph: &Graph, kind: impl Fn(ValueType) -> ValueType) -> Model<'static> {
    let mut stands_for: Vec<ValueId> = (0..graph.values.len()).collect();
    let mut nodes = Vec::new();
    for node in &graph.nodes {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|&id| stands_for[id]).collect();
        if matches!(node.op, Op::BatchNorm(_)) {
            stands_for[node.output] = inputs[0];
            continue;
        }
        let (name, op) = (node.name.clone(), node.op.clone());
        nodes.push(Node { name, op, inputs, output: node.output, weight: None, bias: None });
    }
    let value = |value: &embdl_graph::Value| Value {
        name: value.name.clone(),
        kind: kind(ValueType::f32(value.shape)),
    };
    Model {
        name: graph.name.clone(),
        values: graph.values.iter().map(value).collect(),
        nodes,
        tensors: Vec::new(),
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.iter().map(|&id| stands_for[id]).collect(),
        metadata: graph.metadata.clone(),
    }
}

#[test]
fn arenas_of_the_zoo_are_within_a_tenth_of_the_lower_bound() {
    let levels = |kind: ValueType| ValueType::u8(kind.shape, Quant { scale: 0.5, zero_point: 0 });
    let mut too_large = Vec::new();
    for name in zoo::NAMES {
        let graph = zoo::zeroed(name).or_else(|| zoo::by_name(name, 1)).expect("a name of the zoo");
        for (elements, model) in
            [("f32", model(&graph, |kind| kind)), ("u8", model(&graph, levels))]
        {
            for batch in [1, 4] {
                let kind = |value: &Value| ValueType {
                    shape: value.kind.shape.with_batch(batch),
                    ..value.kind
                };
                let kinds: Vec<ValueType> = model.values.iter().map(kind).collect();
                let plan = Plan::new(&model, &kinds).expect("sizes can be counted");
                let (arena, bound) = (plan.arena_bytes, plan.lower_bound_bytes);
                assert!(arena >= bound, "{name}, {elements}: {arena} below {bound}");
                if arena * 10 > bound * 11 {
                    too_large
                        .push(format!("{name}, {elements}, batch {batch}: {arena} of {bound}"));
                }
            }
        }
    }
    assert!(too_large.is_empty(), "{too_large:#?}");
}

/// The networks that concatenate: their expanded channels exist once.
#[test]
fn fire_modules_write_their_channels_once() {
    for name in ["squeezenet-1.0", "squeezenet-1.1"] {
        let graph = zoo::zeroed(name).expect("a name of the zoo");
        let model = model(&graph, |kind| kind);
        let kinds: Vec<ValueType> = model.values.iter().map(|value| value.kind).collect();
        let plan = Plan::new(&model, &kinds).expect("sizes can be counted");
        let concats = model.nodes.iter().filter(|node| matches!(node.op, Op::Concat(_)));
        let parts: Vec<ValueId> = concats.flat_map(|node| node.inputs.clone()).collect();
        assert_eq!(parts.len(), 16, "{name} has eight fire modules");
        assert!(parts.iter().all(|&part| plan.row_bytes[part].is_some()), "{name}");
    }
}
