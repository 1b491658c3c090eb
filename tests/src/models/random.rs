//! Random networks: whatever shares, dies, aliases and skips in ways that nobody thinks of.

use embdl_core::model::ValueId;
use embdl_core::op::{Activation, Concat, Op, Pool, PoolKind, Reshape, Window};
use embdl_core::tensor::Shape;

use super::Problem;
use super::networks::{Builder, Numbers};

/// Networks that follow from the seeds, float and integer in turn.
#[must_use]
pub fn random_networks(seeds: core::ops::Range<u64>) -> Vec<Problem> {
    seeds.map(random_network).collect()
}

fn random_network(seed: u64) -> Problem {
    let numbers = if seed.is_multiple_of(2) { Numbers::Float } else { Numbers::Int8 };
    let mut builder = Builder::new(numbers, seed);
    let [h, w, c] = [3, 3, 1].map(|least| least + below(&mut builder, 5));
    let mut values = vec![builder.input(Shape::nhwc(1, h, w, c))];
    for _ in 0..3 + below(&mut builder, 14) {
        let value = next_value(&mut builder, &values);
        values.push(value);
    }
    // Flattened values are not in `values`, but always read.
    let read: Vec<ValueId> =
        builder.net.model().nodes.into_iter().flat_map(|node| node.inputs).collect();
    for &value in &values[1..] {
        if !read.contains(&value) || below(&mut builder, 4) == 0 {
            builder.net.output(value);
        }
    }
    let mut problem = Problem::new(format!("random network, seed {seed}"), builder.net);
    // Up to 17 float layers, each of which adds to the error of those before.
    problem.tolerance = 1e-4;
    problem.with_batch(1 + usize::from(seed.is_multiple_of(3)))
}

fn next_value(builder: &mut Builder, values: &[ValueId]) -> ValueId {
    let input = any(builder, values);
    let shape = builder.net.kind(input).shape;
    let channels = shape.dim(3);
    let activation = [Activation::None, Activation::Relu, Activation::Relu6][below(builder, 3)];
    match below(builder, 9) {
        0 => {
            let co = 1 + below(builder, 9);
            let window = [Window::square(1, 1), Window::square(3, 1).padded(1)][below(builder, 2)];
            builder.conv(input, co, window, 1, activation)
        }
        1 => {
            let groups = u32::try_from(channels).expect("few channels");
            builder.conv(input, channels, Window::square(3, 1).padded(1), groups, activation)
        }
        2 | 3 => builder.same(Op::Activation(activation), input),
        4 => {
            let other = alike(builder, values, |other| other == shape);
            let elements = builder.elements(0.02, 99);
            builder.net.node(Op::Add(activation), &[input, other], elements)
        }
        5 => {
            let fits = |other: Shape| (1..3).all(|axis| other.dim(axis) == shape.dim(axis));
            let others = [alike(builder, values, fits), alike(builder, values, fits)];
            let inputs = [input, others[0], others[1]];
            let count = 2 + below(builder, 2);
            let elements = builder.elements(0.015, 80);
            builder.net.node(Op::Concat(Concat { axis: 3 }), &inputs[..count], elements)
        }
        6 => {
            let kind = [PoolKind::Max, PoolKind::Average { include_pads: false }];
            let kind = kind[below(builder, 2)];
            let window = Window::square(3, 1).padded(1);
            builder.same(Op::Pool(Pool { kind, window, ceil: false }), input)
        }
        7 => {
            let shape = Shape::nhwc(1, shape.dim(2), shape.dim(1), channels);
            builder.same(Op::Reshape(Reshape { shape }), input)
        }
        _ => {
            let flat = builder.same(Op::Flatten, input);
            builder.same(Op::Reshape(Reshape { shape }), flat)
        }
    }
}

fn below(builder: &mut Builder, count: usize) -> usize {
    let last = i32::try_from(count).expect("small") - 1;
    usize::try_from(builder.random.integer(0, last)).expect("not negative")
}

fn any(builder: &mut Builder, values: &[ValueId]) -> ValueId {
    // Mostly recent ones, so that networks become deep.
    let recent = values.len().saturating_sub(4);
    let from = if below(builder, 4) == 0 { 0 } else { recent };
    values[from + below(builder, values.len() - from)]
}

/// One of the values whose shape fits; there is always the one that was asked for.
fn alike(builder: &mut Builder, values: &[ValueId], fits: impl Fn(Shape) -> bool) -> ValueId {
    let fitting: Vec<ValueId> =
        values.iter().copied().filter(|&value| fits(builder.net.kind(value).shape)).collect();
    fitting[below(builder, fitting.len())]
}
