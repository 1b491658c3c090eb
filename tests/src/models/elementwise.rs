//! Operators without weights and windows.

use embdl_core::op::{Activation, Concat, Lrn, Op, Pool, PoolKind, Reshape, Unary, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;

use super::Problem;
use crate::net::{Elements, Net};

const NARROW: Quant = Quant { scale: 0.03, zero_point: 100 };
const WIDE: Quant = Quant { scale: 0.05, zero_point: 3 };
const LEVELS: Elements = Elements::U8(NARROW);
const OTHER: Elements = Elements::U8(WIDE);

const RELU: Op = Op::Activation(Activation::Relu);
const RELU6: Op = Op::Activation(Activation::Relu6);

fn single(op: Op, shape: Shape, from: Elements, to: Elements) -> Net {
    let mut net = Net::new();
    let input = net.input(shape, from);
    let output = net.node(op, &[input], to);
    net.output(output);
    net
}

/// Activations and sums, on their own, in place and not.
#[must_use]
pub fn element_wise() -> Vec<Problem> {
    let mut problems = vec![activations_by_hand(), sums_by_hand(), sums_of_levels_by_hand()];
    problems.extend(of_shape(Shape::nhwc(1, 3, 5, 7)));
    problems.extend(shared_out());
    for elements in [Elements::F32, LEVELS] {
        let name = if elements == LEVELS { "levels" } else { "float" };
        problems.push(Problem::new(format!("sum with itself, {name}"), doubled(elements)));
        let shape = Shape::nhwc(1, 4, 4, 5);
        let net = skip(shape, elements);
        problems.push(Problem::new(format!("sum in place of the second, {name}"), net));
    }
    problems
}

/// Values large enough to be shared out to threads, of no whole number of cache lines.
fn shared_out() -> Vec<Problem> {
    let shape = Shape::nhwc(1, 53, 47, 31);
    let mut problems: Vec<Problem> = of_shape(shape)
        .into_iter()
        .map(|problem| Problem { name: format!("{}, large", problem.name), ..problem })
        .collect();
    for elements in [Elements::F32, LEVELS] {
        let name = if elements == LEVELS { "levels" } else { "float" };
        let net = skip(shape, elements);
        problems.push(Problem::new(format!("sum in place of the second, {name}, large"), net));
    }
    let function = single(Op::Unary(Unary::HardSwish), shape, Elements::F32, Elements::F32);
    problems.push(Problem::new("hard-swish, large", function));
    problems
}

/// Activations and sums of values of a shape.
fn of_shape(shape: Shape) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, op) in
        [("relu", RELU), ("relu6", RELU6), ("identity", Op::Activation(Activation::None))]
    {
        let net = |from, to| single(op.clone(), shape, from, to);
        let float = net(Elements::F32, Elements::F32);
        problems.push(Problem::new(format!("{name}, float"), float));
        problems.push(Problem::new(format!("{name}, levels"), net(LEVELS, LEVELS)));
        let rescaled = Problem::new(format!("{name}, other levels"), net(LEVELS, OTHER));
        problems.push(rescaled.only_in_memory());
    }
    let accumulators = single(RELU, shape, Elements::I32(0.1), Elements::I32(0.1));
    problems.push(Problem::new("relu, accumulators", accumulators).only_in_memory());
    for (name, activation) in [
        ("sum", Activation::None),
        ("sum, relu", Activation::Relu),
        ("sum, relu6", Activation::Relu6),
    ] {
        let float = sum(shape, activation, [Elements::F32; 3]);
        problems.push(Problem::new(format!("{name}, float"), float));
        let levels = sum(
            shape,
            activation,
            [LEVELS, OTHER, Elements::U8(Quant { scale: 0.06, zero_point: 60 })],
        );
        problems.push(Problem::new(format!("{name}, levels"), levels));
    }
    problems
}

fn sum(shape: Shape, activation: Activation, [lhs, rhs, to]: [Elements; 3]) -> Net {
    let mut net = Net::new();
    let lhs = net.input(shape, lhs);
    let rhs = net.input(shape, rhs);
    let output = net.node(Op::Add(activation), &[lhs, rhs], to);
    net.output(output);
    net
}

fn doubled(elements: Elements) -> Net {
    let mut net = Net::new();
    let input = net.input(Shape::matrix(1, 70), elements);
    let relu = net.node(RELU, &[input], elements);
    let output = net.node(Op::Add(Activation::None), &[relu, relu], elements);
    net.output(output);
    net
}

/// relu(x) stays needed as a result, so that the sum can only be written over the second summand, which has levels of its
/// own.
fn skip(shape: Shape, elements: Elements) -> Net {
    let mut net = Net::new();
    let input = net.input(shape, elements);
    let kept = net.node(RELU, &[input], elements);
    let kind = PoolKind::Average { include_pads: false };
    let pool = Pool { kind, window: Window::square(1, 1), ceil: false };
    let other = if elements == Elements::F32 { elements } else { OTHER };
    let copy = net.node(Op::Pool(pool), &[kept], other);
    let output = net.node(Op::Add(Activation::None), &[kept, copy], elements);
    net.output(kept);
    net.output(output);
    net
}

/// Concatenation, flatten, reshape.
#[must_use]
pub fn layouts() -> Vec<Problem> {
    let mut problems = vec![concat_by_hand()];
    for (name, axis, shapes) in [
        ("channels", 3, [[2, 3, 4], [2, 3, 1], [2, 3, 9]]),
        ("rows", 1, [[2, 3, 4], [1, 3, 4], [5, 3, 4]]),
        ("columns", 2, [[2, 3, 4], [2, 1, 4], [2, 2, 4]]),
        // Large enough to be shared out to threads.
        ("many channels", 3, [[53, 47, 16], [53, 47, 3], [53, 47, 31]]),
    ] {
        for (kind, elements) in [
            ("float", [Elements::F32; 4]),
            ("levels", [LEVELS; 4]),
            ("levels of different scales", [LEVELS, OTHER, LEVELS, OTHER]),
        ] {
            let mut net = Net::new();
            let inputs: Vec<usize> = shapes
                .iter()
                .zip(elements)
                .map(|(&[h, w, c], elements)| net.input(Shape::nhwc(1, h, w, c), elements))
                .collect();
            let output = net.node(Op::Concat(Concat { axis }), &inputs, elements[3]);
            net.output(output);
            problems.push(Problem::new(format!("concat of {name}, {kind}"), net));
        }
    }
    for (kind, elements) in [("float", Elements::F32), ("levels", LEVELS)] {
        let mut net = Net::new();
        let input = net.input(Shape::nhwc(1, 2, 3, 4), elements);
        let flat = net.node(Op::Flatten, &[input], elements);
        let relu = net.node(RELU, &[flat], elements);
        let reshape = Reshape { shape: Shape::nhwc(1, 6, 2, 2) };
        let reshaped = net.node(Op::Reshape(reshape), &[relu], elements);
        let output = net.node(Op::GlobalAveragePool, &[reshaped], elements);
        // An input that is a result, two names of one buffer, and a value that was flattened before.
        net.output(flat);
        net.output(reshaped);
        net.output(output);
        problems.push(Problem::new(format!("flatten and reshape, {kind}"), net));
    }
    let net = single(Op::Flatten, Shape::nhwc(1, 2, 3, 4), LEVELS, OTHER);
    problems.push(Problem::new("flatten to other levels", net).only_in_memory());
    problems
}

/// Local response normalization and softmax. The tolerances of powers and exponentials are those of their functions.
#[must_use]
pub fn normalizations() -> Vec<Problem> {
    let lrn = |size, alpha, beta, bias| Op::Lrn(Lrn { size, alpha, beta, bias });
    let mut problems = vec![softmax_by_hand()];
    for (name, op) in [
        ("as in AlexNet", lrn(5, 1e-4, 0.75, 2.0)),
        ("of even size", lrn(4, 0.5, 0.5, 1.0)),
        ("wider than the channels", lrn(31, 0.3, 1.25, 0.9)),
        ("of one channel", lrn(1, 2.0, 0.75, 1.0)),
    ] {
        let net = single(op, Shape::nhwc(1, 4, 3, 11), Elements::F32, Elements::F32);
        problems.push(Problem::new(format!("lrn {name}"), net));
    }
    for shape in [Shape::matrix(1, 10), Shape::matrix(1, 1), Shape::nhwc(1, 3, 2, 21)] {
        let net = single(Op::Softmax, shape, Elements::F32, Elements::F32);
        problems.push(Problem::new(format!("softmax of {shape}"), net));
    }
    problems
}

/// The way between floats and levels.
#[must_use]
pub fn boundaries() -> Vec<Problem> {
    let shape = Shape::nhwc(1, 3, 3, 5);
    // Large enough to be shared out to threads.
    let large = Shape::nhwc(1, 53, 47, 31);
    vec![
        quantize_by_hand(),
        Problem::new("quantize and dequantize", there_and_back(shape)),
        Problem::new("quantize and dequantize, large", there_and_back(large)),
        // Files have accumulators as results of layers only.
        Problem::new("dequantize accumulators", accumulators(shape)).only_in_memory(),
        Problem::new("dequantize accumulators, large", accumulators(large)).only_in_memory(),
    ]
}

fn accumulators(shape: Shape) -> Net {
    single(Op::Dequantize, shape, Elements::I32(0.37), Elements::F32)
}

fn there_and_back(shape: Shape) -> Net {
    let mut there_and_back = Net::new();
    let input = there_and_back.input(shape, Elements::F32);
    let levels = there_and_back.node(
        Op::Quantize,
        &[input],
        Elements::U8(Quant { scale: 0.01, zero_point: 128 }),
    );
    let output = there_and_back.node(Op::Dequantize, &[levels], Elements::F32);
    there_and_back.output(levels);
    there_and_back.output(output);
    there_and_back
}

fn activations_by_hand() -> Problem {
    let net = single(RELU6, Shape::matrix(1, 4), Elements::F32, Elements::F32);
    Problem::new("relu6 by hand", net).by_hand(&[&[-1., 0., 5.5, 7.]], &[&[0., 0., 5.5, 6.]])
}

fn sums_by_hand() -> Problem {
    let net = sum(Shape::matrix(1, 3), Activation::Relu, [Elements::F32; 3]);
    Problem::new("sum by hand", net)
        .by_hand(&[&[1., -5., 0.5], &[2., 1., 0.25]], &[&[3., 0., 0.75]])
}

fn sums_of_levels_by_hand() -> Problem {
    let elements = |scale, zero_point| Elements::U8(Quant { scale, zero_point });
    let kinds = [elements(0.5, 10), elements(0.25, 1), elements(1.0, 7)];
    let net = sum(Shape::matrix(1, 4), Activation::None, kinds);
    // 0 + 0.5, 2.5 + 0, -5 - 0.25, 122.5 + 63.5: ties go up.
    Problem::new("sum of levels by hand", net)
        .by_hand(&[&[10., 15., 0., 255.], &[3., 1., 0., 255.]], &[&[8., 10., 2., 193.]])
}

fn concat_by_hand() -> Problem {
    let mut net = Net::new();
    let lhs = net.input(Shape::nhwc(1, 1, 2, 2), Elements::F32);
    let rhs = net.input(Shape::nhwc(1, 1, 2, 1), Elements::F32);
    let output = net.node(Op::Concat(Concat { axis: 3 }), &[lhs, rhs], Elements::F32);
    net.output(output);
    Problem::new("concat by hand", net)
        .by_hand(&[&[1., 2., 3., 4.], &[5., 6.]], &[&[1., 2., 5., 3., 4., 6.]])
}

fn softmax_by_hand() -> Problem {
    let net = single(Op::Softmax, Shape::matrix(1, 2), Elements::F32, Elements::F32);
    Problem::new("softmax by hand", net).by_hand(&[&[1000., 1000.]], &[&[0.5, 0.5]])
}

fn quantize_by_hand() -> Problem {
    let quant = Quant { scale: 0.5, zero_point: 3 };
    let net = single(Op::Quantize, Shape::matrix(1, 5), Elements::F32, Elements::U8(quant));
    Problem::new("quantize by hand", net)
        .by_hand(&[&[0., 0.25, -0.25, 1000., -1000.]], &[&[3., 4., 3., 255., 0.]])
}
