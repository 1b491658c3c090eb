//! Functions, products, slopes; resizing, transposing, padding.

use embdl_core::model::{Scales, ValueId};
use embdl_core::op::{Coordinates, Op, Pad, Pool, PoolKind, Resize, ResizeMode, Transpose};
use embdl_core::op::{Unary, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;

use super::Problem;
use crate::net::{Elements, Net, Store, floats, integers};

const NARROW: Elements = Elements::U8(Quant { scale: 0.03, zero_point: 100 });
const WIDE: Elements = Elements::U8(Quant { scale: 0.05, zero_point: 3 });
const SHARE: Elements = Elements::U8(Quant { scale: 1.0 / 256.0, zero_point: 0 });

/// A network of one node, whose result is a copy of its input where `in_place`: nothing else reads that.
fn single(op: &Op, shape: Shape, [from, to]: [Elements; 2], in_place: bool) -> Net {
    let mut net = Net::new();
    let mut input = net.input(shape, from);
    if in_place {
        input = copy(&mut net, input, from);
    }
    let output = net.node(op.clone(), &[input], to);
    net.output(output);
    net
}

/// A value in the arena with the same elements; maps only.
fn copy(net: &mut Net, input: ValueId, elements: Elements) -> ValueId {
    let pool = Pool { kind: PoolKind::Max, window: Window::square(1, 1), ceil: false };
    net.node(Op::Pool(pool), &[input], elements)
}

/// Functions of one element.
#[must_use]
pub fn functions() -> Vec<Problem> {
    let mut problems = Vec::new();
    for unary in [
        Unary::Sigmoid,
        Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        Unary::HardSwish,
        Unary::Silu,
        Unary::Tanh,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 1.5 },
        Unary::Clip { min: -0.5, max: 0.75 },
    ] {
        for (kind, elements) in [
            ("float", [Elements::F32; 2]),
            ("levels", [NARROW; 2]),
            ("levels to others", [WIDE, NARROW]),
            ("levels to shares", [NARROW, SHARE]),
        ] {
            for (shape, in_place) in [
                (Shape::nhwc(1, 3, 5, 7), true),
                (Shape::nhwc(1, 1, 1, 1), false),
                (Shape::matrix(1, 33), false),
            ] {
                let net = single(&Op::Unary(unary), shape, elements, in_place);
                problems.push(Problem::new(format!("{} of {kind} {shape}", unary.name()), net));
            }
        }
    }
    let net = single(&Op::Unary(Unary::HardSwish), Shape::matrix(1, 4), [Elements::F32; 2], false);
    problems.push(
        Problem::new("hard-swish by hand", net)
            .by_hand(&[&[-4., -1.5, 0., 3.]], &[&[0., -0.375, 0., 3.]]),
    );
    problems
}

/// Products with and without broadcast, and slopes.
#[must_use]
pub fn products() -> Vec<Problem> {
    let map = Shape::nhwc(1, 3, 5, 7);
    let mut problems = vec![product_by_hand(), levels_by_hand()];
    for (kind, [lhs, rhs, to]) in [
        ("float", [Elements::F32; 3]),
        ("levels", [NARROW, SHARE, NARROW]),
        (
            "levels of other scales",
            [NARROW, WIDE, Elements::U8(Quant { scale: 0.2, zero_point: 77 })],
        ),
    ] {
        for (name, lhs_shape, rhs_shape) in [
            ("maps", map, map),
            ("map and channels", map, Shape::nhwc(1, 1, 1, 7)),
            ("rows", Shape::matrix(1, 19), Shape::matrix(1, 19)),
            ("pixel and channels", Shape::nhwc(1, 1, 1, 7), Shape::nhwc(1, 1, 1, 7)),
        ] {
            for in_place in [false, true] {
                if in_place && lhs_shape.rank() == 2 {
                    continue;
                }
                let mut net = Net::new();
                let mut input = net.input(lhs_shape, lhs);
                let factor = net.input(rhs_shape, rhs);
                if in_place {
                    input = copy(&mut net, input, lhs);
                }
                let output = net.node(Op::Mul, &[input, factor], to);
                net.output(output);
                let place = if in_place { ", in place" } else { "" };
                let problem = Problem::new(format!("product of {name}, {kind}{place}"), net);
                problems.push(problem.with_batch(if in_place { 3 } else { 1 }));
            }
        }
        if lhs == rhs {
            let mut net = Net::new();
            let input = net.input(map, lhs);
            let value = copy(&mut net, input, lhs);
            let output = net.node(Op::Mul, &[value, value], to);
            net.output(output);
            problems.push(Problem::new(format!("square, {kind}"), net));
        }
    }
    let slopes = [0.25, 0.0, -0.5, 1.0, 2.0, 1e-3, 0.1];
    for (kind, elements) in
        [("float", [Elements::F32; 2]), ("levels", [NARROW; 2]), ("other levels", [NARROW, WIDE])]
    {
        // The last is large enough to be shared out to threads.
        let large = Shape::nhwc(1, 61, 53, 7);
        for shape in [map, Shape::matrix(1, 7), Shape::nhwc(1, 4, 4, 1), large] {
            let channels = shape.dim(shape.rank() - 1);
            let shape_of_slopes = Shape::vector(channels);
            for (store, slopes) in [
                ("float", floats(shape_of_slopes, &slopes[..channels])),
                (
                    "integer",
                    integers(
                        shape_of_slopes,
                        Scales::PerTensor(0.01),
                        &[25, 0, -50, 100, 127, 1, 10][..channels],
                        Store::Dense,
                    ),
                ),
            ] {
                let mut net = Net::new();
                let input = net.input(shape, elements[0]);
                let output = net.layer(Op::PRelu, input, slopes, None, elements[1]);
                net.output(output);
                let name = format!("prelu of {kind} {shape}, {store} slopes");
                problems.push(Problem::new(name, net).with_batch(2));
            }
        }
    }
    problems
}

/// Resizing, transposing, padding.
///
/// # Panics
/// Never: shapes and orders are constants that fit.
#[must_use]
pub fn moved() -> Vec<Problem> {
    let mut problems = Vec::new();
    let accumulators = Elements::I32(0.25);
    for (kind, elements) in [("float", Elements::F32), ("levels", NARROW)] {
        for (mode_name, mode) in [("nearest", ResizeMode::Nearest), ("linear", ResizeMode::Linear)]
        {
            for coordinates in
                [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric]
            {
                for ([h, w, c], [height, width]) in [
                    ([3, 5, 7], [6, 10]),
                    ([3, 5, 7], [2, 3]),
                    ([4, 4, 1], [7, 1]),
                    ([1, 1, 3], [5, 4]),
                    ([2, 3, 16], [2, 3]),
                ] {
                    let resize = Op::Resize(Resize { height, width, mode, coordinates });
                    let net = single(&resize, Shape::nhwc(1, h, w, c), [elements; 2], false);
                    let name = format!(
                        "resize {h}x{w}x{c} to {height}x{width}, {mode_name}, {coordinates:?}, {kind}"
                    );
                    problems.push(Problem::new(name, net).with_batch(2));
                }
            }
        }
        for (shape, order) in [
            (Shape::nhwc(1, 3, 5, 7), &[0, 3, 1, 2][..]),
            (Shape::nhwc(1, 3, 5, 7), &[0, 2, 3, 1]),
            (Shape::nhwc(1, 3, 5, 7), &[0, 2, 1, 3]),
            (Shape::nhwc(1, 3, 5, 7), &[0, 1, 2, 3]),
            (Shape::nhwc(1, 3, 5, 7), &[0, 3, 2, 1]),
            (Shape::new(&[1, 4, 6]).expect("small"), &[0, 2, 1]),
            (Shape::matrix(1, 9), &[0, 1]),
        ] {
            let transpose = Transpose::new(order).expect("a permutation");
            let net = single(&Op::Transpose(transpose), shape, [elements; 2], false);
            let name = format!("transpose {shape} by {order:?}, {kind}");
            problems.push(Problem::new(name, net).with_batch(2));
        }
        for [top, left, bottom, right] in [[1, 1, 1, 1], [0, 2, 3, 0], [0; 4]] {
            let pad = Op::Pad(Pad { top, left, bottom, right });
            let net = single(&pad, Shape::nhwc(1, 2, 3, 5), [elements; 2], false);
            let name = format!("pad by {top} {left} {bottom} {right}, {kind}");
            problems.push(Problem::new(name, net).with_batch(2));
        }
    }
    let shape = Shape::nhwc(1, 2, 3, 4);
    for op in [
        Op::Transpose(Transpose::new(&[0, 3, 1, 2]).expect("a permutation")),
        Op::Pad(Pad { top: 1, left: 0, bottom: 0, right: 2 }),
        Op::Resize(Resize {
            height: 4,
            width: 2,
            mode: ResizeMode::Nearest,
            coordinates: Coordinates::Asymmetric,
        }),
    ] {
        let net = single(&op, shape, [accumulators; 2], false);
        let problem = Problem::new(format!("{} of accumulators", op.name()), net);
        problems.push(problem.only_in_memory());
    }
    problems
}

fn product_by_hand() -> Problem {
    let mut net = Net::new();
    let map = net.input(Shape::nhwc(1, 1, 2, 2), Elements::F32);
    let factors = net.input(Shape::nhwc(1, 1, 1, 2), Elements::F32);
    let output = net.node(Op::Mul, &[map, factors], Elements::F32);
    net.output(output);
    Problem::new("product by hand", net)
        .by_hand(&[&[1., 2., 3., 4.], &[0.5, -1.]], &[&[0.5, -2., 1.5, -4.]])
}

fn levels_by_hand() -> Problem {
    let mut net = Net::new();
    let elements = |scale, zero_point| Elements::U8(Quant { scale, zero_point });
    let lhs = net.input(Shape::matrix(1, 3), elements(0.5, 10));
    let rhs = net.input(Shape::matrix(1, 3), elements(0.25, 0));
    let output = net.node(Op::Mul, &[lhs, rhs], elements(1.0, 7));
    net.output(output);
    // -5 * 1, 0.5 * 1, 122.5 * 2: ties go up.
    Problem::new("product of levels by hand", net)
        .by_hand(&[&[0., 11., 255.], &[4., 4., 8.]], &[&[2., 8., 252.]])
}
