//! Every operator against Burn's own where Burn has it, against its definition, and against finite differences.

use burn_autodiff::Autodiff;
use burn_backend::TensorMetadata;
use burn_backend::backend::AutodiffBackend;
use burn_backend::ops::{ConvOptions, ModuleOps};
use burn_flex::{Flex, FlexTensor};
use burn_std::Shape as BurnShape;
use embdl_core::op::{Activation, Concat, Conv2d, Dense, Lrn, Op, Pool, PoolKind, Reshape, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder, ValueId};

use crate::kernels::loss::{Loss, Targets, loss};
use crate::network::{end_in, forward};
use crate::tape::{Tensor, constant, flat, leaf, values};

type Burn = Autodiff<Flex>;

/// Numbers in -1 ..= 1.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let unit = (state >> 8) as f32 / 16_777_216.0;
        2.0 * unit - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Numbers in -1 ..= 1, none so near to another or to zero that a step would make another one the largest or pass a
/// kink.
fn spread(len: usize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred elements")]
    let number = |at: usize| (2.0 * ((at * 61 + 7) % len) as f32 + 1.0) / len as f32 - 1.0;
    (0..len).map(number).collect()
}

/// A graph of one input `[1, h, w, c]`, the operators that `build` adds, and a dense layer of three classes.
fn graph(input: Shape, build: impl Fn(&mut GraphBuilder, ValueId) -> ValueId) -> Graph {
    let mut b = GraphBuilder::new("test", 3);
    let image = b.input("image", input);
    let value = build(&mut b, image);
    let features = if b.shape(value).rank() == 4 {
        b.op("flatten", Op::Flatten, &[value]).unwrap()
    } else {
        value
    };
    let logits = b.dense("classes", features, 3, Activation::None).unwrap();
    let mut graph = b.finish(&[logits]).unwrap();
    for (seed, param) in (9..).zip(&mut graph.params) {
        let len = param.len();
        for (w, noise) in param.values_mut().iter_mut().zip(noise(len, seed)) {
            *w += 0.3 * noise;
        }
    }
    graph
}

const LABELS: [u8; 2] = [2, 0];

fn run(graph: &Graph, params: &[Tensor], image: Tensor) -> (Tensor, Loss) {
    let logits = forward(graph, params, image, 2, &mut |_, _| ()).unwrap();
    let targets = Targets { labels: &LABELS, smoothing: 0.1, teacher: None };
    let found = loss(values(&logits), 3, targets);
    (logits, found)
}

/// Gradients of the loss for the image and all parameters, by the tape.
fn gradients(graph: &Graph, image: &[f32]) -> Vec<Vec<f32>> {
    let params: Vec<Tensor> =
        graph.params.iter().map(|param| leaf(flat(param.effective()))).collect();
    let image = leaf(flat(image.to_vec()));
    let (logits, found) = run(graph, &params, image.clone());
    let mut gradients = end_in(&logits, found).backward();
    core::iter::once(&image)
        .chain(&params)
        .map(|tensor| Burn::grad_remove(tensor, &mut gradients).unwrap().storage().to_vec())
        .collect()
}

fn mean_loss(graph: &Graph, image: &[f32]) -> f64 {
    let params: Vec<Tensor> =
        graph.params.iter().map(|param| constant(flat(param.effective()))).collect();
    run(graph, &params, constant(flat(image.to_vec()))).1.mean
}

/// Compares every gradient with the slope of the loss over a small step.
fn check(name: &str, graph: &Graph) {
    const STEP: f32 = 4e-3;
    let image = spread(2 * graph.values[graph.inputs[0]].shape.len());
    let found = gradients(graph, &image);
    let mut wrong = Vec::new();
    let mut compare = |what: String, found: f32, slope: f64| {
        if (f64::from(found) - slope).abs() > 2e-3 + 0.02 * slope.abs() {
            wrong.push(format!("{what}: {found} but slope {slope}"));
        }
    };
    for at in 0..image.len() {
        let shifted = |by: f32| {
            let mut image = image.clone();
            image[at] += by;
            mean_loss(graph, &image)
        };
        let slope = (shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP);
        compare(format!("image[{at}]"), found[0][at], slope);
    }
    for (id, param) in graph.params.iter().enumerate() {
        for (at, &gradient) in found[id + 1].iter().enumerate() {
            let shifted = |by: f32| {
                let mut graph = graph.clone();
                graph.params[id].values_mut()[at] += by;
                mean_loss(&graph, &image)
            };
            let slope = (shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP);
            compare(format!("{}[{at}]", param.name), gradient, slope);
        }
    }
    assert!(wrong.is_empty(), "{name}: {} wrong, such as {:?}", wrong.len(), &wrong[..1]);
}

fn window(kernel: [u32; 2], stride: [u32; 2], dilation: [u32; 2], pads: [u32; 4]) -> Window {
    Window { kernel, stride, dilation, pads }
}

/// Windows that differ in every attribute.
fn windows() -> [Window; 6] {
    [
        window([3, 3], [1, 1], [1, 1], [0; 4]),
        window([3, 2], [2, 1], [1, 1], [1, 1, 1, 1]),
        window([2, 3], [1, 2], [2, 1], [1, 0, 1, 0]),
        window([1, 1], [1, 1], [1, 1], [0; 4]),
        window([3, 3], [1, 1], [1, 2], [0, 2, 1, 1]),
        window([1, 1], [2, 2], [1, 1], [0; 4]),
    ]
}

fn convolution(channels: usize, conv: Conv2d) -> Graph {
    graph(Shape::nhwc(1, 6, 5, 4), |b, image| b.conv2d("conv", image, channels, conv).unwrap())
}

#[test]
fn convolutions_have_the_slope_of_the_loss() {
    for window in windows() {
        for (channels, groups) in [(6, 1), (6, 2), (4, 4), (8, 4)] {
            let conv = Conv2d { window, groups, activation: Activation::None };
            check(&format!("{conv:?}"), &convolution(channels, conv));
        }
    }
}

#[test]
fn activations_have_the_slope_of_the_loss() {
    let shape = Shape::nhwc(1, 3, 3, 2);
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        let conv = Conv2d { window: Window::square(2, 1), groups: 1, activation };
        check("conv", &graph(shape, |b, x| b.conv2d("conv", x, 3, conv).unwrap()));
        check(
            "alone",
            &graph(shape, |b, x| b.op("act", Op::Activation(activation), &[x]).unwrap()),
        );
        check(
            "sum",
            &graph(shape, |b, x| {
                let conv = Conv2d {
                    window: Window::square(1, 1),
                    groups: 1,
                    activation: Activation::None,
                };
                let y = b.conv2d("conv", x, 2, conv).unwrap();
                b.op("add", Op::Add(activation), &[x, y]).unwrap()
            }),
        );
        check(
            "dense",
            &graph(shape, |b, x| {
                let flat = b.op("pixels", Op::Flatten, &[x]).unwrap();
                b.dense("dense", flat, 5, activation).unwrap()
            }),
        );
    }
}

#[test]
fn pools_have_the_slope_of_the_loss() {
    let windows = [
        (Window::square(2, 2), false),
        (Window::square(3, 2).padded(1), false),
        (window([2, 3], [2, 2], [1, 1], [0, 1, 1, 0]), true),
        (Window::square(2, 2), true),
    ];
    for (window, ceil) in windows {
        for kind in [
            PoolKind::Max,
            PoolKind::Average { include_pads: true },
            PoolKind::Average { include_pads: false },
        ] {
            let pool = Pool { kind, window, ceil };
            let shape = Shape::nhwc(1, 5, 7, 2);
            let graph = graph(shape, |b, x| b.op("pool", Op::Pool(pool), &[x]).unwrap());
            check(&format!("{pool:?}"), &graph);
        }
    }
}

#[test]
fn other_operators_have_the_slope_of_the_loss() {
    let shape = Shape::nhwc(1, 3, 2, 5);
    let mean = graph(shape, |b, x| b.op("mean", Op::GlobalAveragePool, &[x]).unwrap());
    check("global average", &mean);
    for size in [1, 2, 3, 4] {
        let lrn = Lrn { size, alpha: 0.7, beta: 0.75, bias: 1.3 };
        check("lrn", &graph(shape, |b, x| b.op("lrn", Op::Lrn(lrn), &[x]).unwrap()));
    }
    check("softmax", &graph(shape, |b, x| b.op("softmax", Op::Softmax, &[x]).unwrap()));
    for axis in [1, 2, 3] {
        let concat = graph(shape, |b, x| {
            let conv =
                Conv2d { window: Window::square(1, 1), groups: 1, activation: Activation::None };
            let y = b.conv2d("conv", x, 5, conv).unwrap();
            b.op("concat", Op::Concat(Concat { axis }), &[x, y, x]).unwrap()
        });
        check("concat", &concat);
    }
    let reshape = Reshape { shape: Shape::nhwc(1, 1, 6, 5) };
    check("reshape", &graph(shape, |b, x| b.op("reshape", Op::Reshape(reshape), &[x]).unwrap()));
}

/// Sizes beyond the tiles of the product, against Burn's own convolution and its gradients.
#[test]
fn convolutions_equal_burns() {
    let shapes = [(9, 12, 5, 12, 1), (8, 8, 6, 50, 2), (7, 9, 16, 16, 16), (5, 5, 3, 33, 1)];
    for (case, (h, w, ci, co, groups)) in shapes.into_iter().enumerate() {
        for window in windows() {
            let [top, left, bottom, right] = window.pads;
            if top != bottom || left != right {
                continue;
            }
            let conv = Conv2d {
                window,
                groups: u32::try_from(groups).unwrap(),
                activation: Activation::None,
            };
            let graph =
                graph(Shape::nhwc(1, h, w, ci), |b, x| b.conv2d("conv", x, co, conv).unwrap());
            let image = noise(2 * h * w * ci, 7);
            let found = gradients(&graph, &image);
            let expected = burn_gradients(&graph, &conv, &image);
            for (what, (found, expected)) in
                ["image", "weight", "bias"].iter().zip(found.iter().zip(&expected))
            {
                assert_eq!(found.len(), expected.len());
                for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        (found - expected).abs() <= 1e-4 * (1.0 + expected.abs()),
                        "case {case}, {conv:?}, {what}[{at}]: {found}, Burn has {expected}"
                    );
                }
            }
        }
    }
}

/// The gradients for image, weight and bias where Burn runs the convolution, and our kernels the rest.
fn burn_gradients(graph: &Graph, conv: &Conv2d, image: &[f32]) -> Vec<Vec<f32>> {
    let input = graph.values[graph.inputs[0]].shape.with_batch(2);
    let weight = graph.params[0].shape;
    let [x, w] = [(image.to_vec(), input), (graph.params[0].effective(), weight)]
        .map(|(values, shape)| leaf(shaped(values, shape)));
    let bias = leaf(flat(graph.params[1].effective()));
    let size = |pair: [u32; 2]| pair.map(|value| value as usize);
    let options = ConvOptions::new(
        size(conv.window.stride),
        size([conv.window.pads[0], conv.window.pads[1]]),
        size(conv.window.dilation),
        conv.groups as usize,
    );
    let nchw = |tensor: &Tensor| permute(tensor.clone(), &[0, 3, 1, 2]);
    let y = Burn::conv2d(nchw(&x), nchw(&w), Some(bias.clone()), options);
    let y = permute(y, &[0, 2, 3, 1]);
    let len = y.shape().num_elements();
    let y = <Burn as burn_backend::ops::FloatTensorOps<Burn>>::float_reshape(
        y,
        BurnShape::from(vec![len]),
    );
    // What follows the convolution, as a graph of its own.
    let mut rest = graph.clone();
    let node = rest.nodes.remove(0);
    rest.inputs = vec![node.output];
    let params: Vec<Tensor> =
        rest.params.iter().map(|param| constant(flat(param.effective()))).collect();
    let (logits, found) = run(&rest, &params, y);
    let mut gradients = end_in(&logits, found).backward();
    [&x, &w, &bias]
        .map(|tensor| {
            let gradient = Burn::grad_remove(tensor, &mut gradients).unwrap();
            gradient.to_contiguous().storage().to_vec()
        })
        .to_vec()
}

fn shaped(values: Vec<f32>, shape: Shape) -> FlexTensor {
    flat(values).reshape(BurnShape::from(shape.iter().collect::<Vec<_>>()))
}

fn permute(tensor: Tensor, axes: &[usize]) -> Tensor {
    <Burn as burn_backend::ops::FloatTensorOps<Burn>>::float_permute(tensor, axes)
}

/// Asymmetric pads, groups and dilation, against the definition.
#[test]
fn convolutions_equal_their_definition() {
    for window in windows() {
        for groups in [1, 2, 4] {
            let conv = Conv2d { window, groups, activation: Activation::None };
            let graph = convolution(8, conv);
            let image = noise(2 * 6 * 5 * 4, 3);
            let params: Vec<Tensor> =
                graph.params.iter().map(|param| constant(flat(param.effective()))).collect();
            let mut found = Vec::new();
            forward(&graph, &params, constant(flat(image.clone())), 2, &mut |id, values| {
                if id == graph.nodes[0].output {
                    found = values.to_vec();
                }
            })
            .unwrap();
            let output = graph.values[graph.nodes[0].output].shape.with_batch(2);
            let expected = define(&conv, output, &image, &graph.params[0].effective());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{conv:?}: {found}, not {expected}");
            }
        }
    }
}

/// A convolution of a `[2, 6, 5, 4]` image as it is written in books, the bias left out (it is zero plus noise).
fn define(conv: &Conv2d, output: Shape, x: &[f32], w: &[f32]) -> Vec<f32> {
    let size = |value: u32| value as usize;
    let (h, width, ci) = (6, 5, 4);
    let [kh, kw] = conv.window.kernel.map(size);
    let [sh, sw] = conv.window.stride.map(size);
    let [dh, dw] = conv.window.dilation.map(size);
    let (top, left) = (size(conv.window.pads[0]), size(conv.window.pads[1]));
    let (gci, gco) = (ci / size(conv.groups), output.dim(3) / size(conv.groups));
    let bias = {
        let graph = convolution(8, *conv);
        graph.params[1].effective()
    };
    let mut y = Vec::new();
    for n in 0..2 {
        for (oy, ox) in (0..output.dim(1)).flat_map(|oy| (0..output.dim(2)).map(move |ox| (oy, ox)))
        {
            for o in 0..output.dim(3) {
                let mut sum = bias[o];
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let (iy, ix) = (oy * sh + ky * dh, ox * sw + kx * dw);
                    if iy < top || ix < left || iy - top >= h || ix - left >= width {
                        continue;
                    }
                    for c in 0..gci {
                        let at = ((n * h + iy - top) * width + ix - left) * ci + o / gco * gci + c;
                        sum += x[at] * w[((o * kh + ky) * kw + kx) * gci + c];
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

#[test]
fn levels_round_forward_and_pass_gradients_inside() {
    let shape = Shape::matrix(1, 4);
    let mut graph = graph(shape, |_, x| x);
    let free = gradients(&graph, &[0.26, -0.5, 3.0, 0.0, 0.1, 0.2, 0.3, 0.4]);
    graph.values[graph.inputs[0]].quant = Some(Quant { scale: 0.01, zero_point: 20 });
    let held = gradients(&graph, &[0.26, -0.5, 3.0, 0.0, 0.1, 0.2, 0.3, 0.4]);
    // Element 1 is below -0.2, element 2 above 2.35.
    assert!(held[0][1] == 0.0 && held[0][2] == 0.0);
    for at in 4..8 {
        assert!((held[0][at] - free[0][at]).abs() < 1e-4, "{at}");
    }
    let mut seen = Vec::new();
    let params: Vec<Tensor> =
        graph.params.iter().map(|param| constant(flat(param.effective()))).collect();
    let image = constant(flat(vec![0.264, -0.5, 3.0, 0.0, 0.1, 0.2, 0.3, 0.4]));
    forward(&graph, &params, image, 2, &mut |id, values| {
        if id == graph.inputs[0] {
            seen = values.to_vec();
        }
    })
    .unwrap();
    for (seen, expected) in seen.iter().zip([0.26, -0.2, 2.35, 0.0, 0.1, 0.2, 0.3, 0.4]) {
        assert!((seen - expected).abs() < 1e-6, "{seen}, not {expected}");
    }
}

#[test]
fn logits_are_what_a_final_softmax_reads() {
    let mut b = GraphBuilder::new("softmax", 1);
    let image = b.input("image", Shape::matrix(1, 4));
    let logits =
        b.node("dense", Op::Dense(Dense { activation: Activation::None }), &[image], None, None);
    assert!(logits.is_err(), "a dense layer has a weight");
    let logits = b.dense("classes", image, 3, Activation::None).unwrap();
    let softmax = b.op("softmax", Op::Softmax, &[logits]).unwrap();
    let graph = b.finish(&[softmax]).unwrap();
    assert_eq!(crate::network::logits_value(&graph).unwrap(), logits);
}
