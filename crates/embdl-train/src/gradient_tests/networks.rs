//! Small graphs of every operator with all its attributes.

use embdl_core::op::{
    Activation, Concat, Conv2d, Coordinates, Lrn, Op, Pad, Pool, PoolKind, Reshape, Resize,
    ResizeMode, Transpose, Unary, Window,
};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder, Param, ParamRole, ValueId};

use super::{graph, window, windows};

/// Graphs by what they are called in a failure.
pub(super) type Cases = Vec<(String, Graph)>;

pub(super) fn convolution(channels: usize, conv: Conv2d) -> Graph {
    graph(Shape::nhwc(1, 6, 5, 4), |b, image| b.conv2d("conv", image, channels, conv).unwrap())
}

pub(super) fn convolutions() -> Cases {
    let mut cases = Vec::new();
    for window in windows() {
        for (channels, groups) in [(6, 1), (6, 2), (4, 4), (8, 4)] {
            let conv = Conv2d { window, groups, activation: Activation::None };
            cases.push((format!("{conv:?}"), convolution(channels, conv)));
        }
    }
    cases
}

fn pointwise_conv(b: &mut GraphBuilder, x: ValueId, channels: usize) -> ValueId {
    let window = Window::square(1, 1);
    let conv = Conv2d { window, groups: 1, activation: Activation::None };
    b.conv2d("mix", x, channels, conv).unwrap()
}

pub(super) fn activations() -> Cases {
    let shape = Shape::nhwc(1, 3, 3, 2);
    let mut cases = Vec::new();
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let mut case = |name: &str, graph| cases.push((format!("{name} {activation:?}"), graph));
        let conv = Conv2d { window: Window::square(2, 1), groups: 1, activation };
        case("conv", graph(shape, |b, x| b.conv2d("conv", x, 3, conv).unwrap()));
        let alone = Op::Activation(activation);
        case("alone", graph(shape, |b, x| b.op("act", alone.clone(), &[x]).unwrap()));
        case(
            "sum",
            graph(shape, |b, x| {
                let y = pointwise_conv(b, x, 2);
                b.op("add", Op::Add(activation), &[x, y]).unwrap()
            }),
        );
        case(
            "dense",
            graph(shape, |b, x| {
                let flat = b.op("pixels", Op::Flatten, &[x]).unwrap();
                b.dense("dense", flat, 5, activation).unwrap()
            }),
        );
    }
    cases
}

pub(super) fn pools() -> Cases {
    let windows = [
        (Window::square(2, 2), false),
        (Window::square(3, 2).padded(1), false),
        (window([2, 3], [2, 2], [1, 1], [0, 1, 1, 0]), true),
        (window([2, 2], [1, 2], [2, 3], [1, 0, 0, 1]), false),
        (Window::square(2, 2), true),
    ];
    let mut cases = Vec::new();
    for (window, ceil) in windows {
        for kind in [
            PoolKind::Max,
            PoolKind::Average { include_pads: true },
            PoolKind::Average { include_pads: false },
        ] {
            let pool = Pool { kind, window, ceil };
            let shape = Shape::nhwc(1, 5, 7, 2);
            let graph = graph(shape, |b, x| b.op("pool", Op::Pool(pool), &[x]).unwrap());
            cases.push((format!("{pool:?}"), graph));
        }
    }
    let shape = Shape::nhwc(1, 3, 2, 5);
    let mean = graph(shape, |b, x| b.op("mean", Op::GlobalAveragePool, &[x]).unwrap());
    cases.push(("global average".into(), mean));
    cases
}

pub(super) fn functions() -> Cases {
    let functions = [
        Unary::Sigmoid,
        Unary::HardSigmoid { alpha: 0.9, beta: 0.5 },
        Unary::HardSwish,
        Unary::Silu,
        Unary::Tanh,
        Unary::LeakyRelu { alpha: 0.2 },
        Unary::Elu { alpha: 1.5 },
        Unary::Clip { min: -0.4, max: 0.7 },
        Unary::Clip { min: 0.1, max: f32::INFINITY },
    ];
    let case = |unary: Unary| {
        // Four times the input reaches beyond the bends of all of them.
        let graph = graph(Shape::nhwc(1, 3, 4, 2), |b, x| {
            let two = b.op("two", Op::Add(Activation::None), &[x, x]).unwrap();
            let four = b.op("four", Op::Add(Activation::None), &[two, two]).unwrap();
            b.op("function", Op::Unary(unary), &[four]).unwrap()
        });
        (format!("{unary:?}"), graph)
    };
    let mut cases: Cases = functions.into_iter().map(case).collect();
    let slopes = graph(Shape::nhwc(1, 3, 2, 3), |b, x| {
        let slope = Param::new("slope", ParamRole::Weight, Shape::vector(3), vec![0.3, -0.2, 0.9]);
        let slope = b.param(slope);
        b.node("prelu", Op::PRelu, &[x], Some(slope), None).unwrap()
    });
    cases.push(("prelu".into(), slopes));
    cases
}

pub(super) fn products() -> Cases {
    let shape = Shape::nhwc(1, 3, 2, 4);
    let same = graph(shape, |b, x| {
        let y = pointwise_conv(b, x, 4);
        b.op("mul", Op::Mul, &[x, y]).unwrap()
    });
    let square = graph(shape, |b, x| b.op("mul", Op::Mul, &[x, x]).unwrap());
    let squeezed = graph(shape, |b, x| {
        let mean = b.op("mean", Op::GlobalAveragePool, &[x]).unwrap();
        let gate = pointwise_conv(b, mean, 4);
        let gate = b.op("gate", Op::Unary(Unary::Sigmoid), &[gate]).unwrap();
        b.op("mul", Op::Mul, &[x, gate]).unwrap()
    });
    let rows = graph(Shape::matrix(1, 5), |b, x| {
        let gate = b.dense("gate", x, 5, Activation::None).unwrap();
        b.op("mul", Op::Mul, &[x, gate]).unwrap()
    });
    let names = ["same shape", "square", "squeeze and excite", "features"];
    names.map(String::from).into_iter().zip([same, square, squeezed, rows]).collect()
}

pub(super) fn normalizations() -> Cases {
    let shape = Shape::nhwc(1, 3, 2, 5);
    let mut cases = Vec::new();
    for size in [1, 2, 3, 4, 15] {
        let lrn = Lrn { size, alpha: 0.7, beta: 0.75, bias: 1.3 };
        let graph = graph(shape, |b, x| b.op("lrn", Op::Lrn(lrn), &[x]).unwrap());
        cases.push((format!("{lrn:?}"), graph));
    }
    let softmax = graph(shape, |b, x| b.op("softmax", Op::Softmax, &[x]).unwrap());
    cases.push(("softmax".into(), softmax));
    for (name, shape) in [("maps", shape), ("features", Shape::matrix(1, 7))] {
        let norm = graph(shape, |b, x| {
            let y = b.batch_norm("norm", x, 1e-2).unwrap();
            b.op("act", Op::Unary(Unary::Tanh), &[y]).unwrap()
        });
        cases.push((format!("batch normalization of {name}"), norm));
    }
    cases
}

pub(super) fn layouts() -> Cases {
    let shape = Shape::nhwc(1, 3, 2, 5);
    let mut cases = Vec::new();
    for axis in [1, 2, 3] {
        let concat = graph(shape, |b, x| {
            let y = pointwise_conv(b, x, 5);
            b.op("concat", Op::Concat(Concat { axis }), &[x, y, x]).unwrap()
        });
        cases.push((format!("concat along {axis}"), concat));
    }
    let reshape = Reshape { shape: Shape::nhwc(1, 1, 6, 5) };
    let reshaped = graph(shape, |b, x| b.op("reshape", Op::Reshape(reshape), &[x]).unwrap());
    cases.push(("reshape".into(), reshaped));
    for order in [[0, 3, 1, 2], [0, 2, 1, 3], [0, 3, 2, 1]] {
        let transpose = Op::Transpose(Transpose::new(&order).unwrap());
        let graph = graph(shape, |b, x| {
            let y = b.op("transpose", transpose.clone(), &[x]).unwrap();
            let channels = b.shape(y).dim(3);
            pointwise_conv(b, y, channels)
        });
        cases.push((format!("transpose {order:?}"), graph));
    }
    let pad = Pad { top: 1, left: 0, bottom: 2, right: 3 };
    let padded = graph(shape, |b, x| b.op("pad", Op::Pad(pad), &[x]).unwrap());
    cases.push((format!("{pad:?}"), padded));
    for mode in [ResizeMode::Nearest, ResizeMode::Linear] {
        for coordinates in
            [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric]
        {
            for (height, width) in [(6, 5), (2, 3), (1, 1)] {
                let resize = Resize { height, width, mode, coordinates };
                let shape = Shape::nhwc(1, 4, 3, 2);
                let op = Op::Resize(resize);
                let graph = graph(shape, |b, x| b.op("resize", op.clone(), &[x]).unwrap());
                cases.push((format!("{resize:?}"), graph));
            }
        }
    }
    cases
}

pub(super) fn all() -> Cases {
    [convolutions(), activations(), pools(), functions(), products(), normalizations(), layouts()]
        .into_iter()
        .flatten()
        .collect()
}
