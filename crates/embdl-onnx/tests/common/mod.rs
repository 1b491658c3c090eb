//! A naive float evaluator of graphs, and what the tests share.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod mutate;
pub(crate) mod peer;
pub(crate) mod proto;
pub(crate) mod random;
pub(crate) mod runtime;
pub(crate) mod tract;

use embdl_core::op::{Conv2d, Coordinates, Lrn, Op, Pool, PoolKind, Resize, ResizeMode};
use embdl_core::tensor::Shape;
use embdl_graph::Graph;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;

/// Absolute and relative error allowed between two float implementations of a small network.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// Numbers between -1 and 1 that follow from `seed`.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        })
        .collect()
}

/// Properties are tried on `cases` examples, or on as many as `PROPTEST_CASES` says; failing ones are kept beside the
/// test file, to be committed.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let persistence = FileFailurePersistence::WithSource("regressions");
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..default }
}

pub(crate) fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        let limit = TOLERANCE * expected.abs().max(1.0);
        assert!(error <= limit, "{what}: element {at} is {found}, expected {expected}");
    }
}

/// `[n, c, h, w]` to `[n, h, w, c]`, or back with the dimensions given accordingly.
pub(crate) fn to_nhwc(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = values.len() / channels;
    (0..values.len()).map(|at| values[at % channels * pixels + at / channels]).collect()
}

pub(crate) fn to_nchw(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = values.len() / channels;
    (0..values.len()).map(|at| values[at % pixels * channels + at / pixels]).collect()
}

/// Elements of a value of the graph in ONNX's order.
pub(crate) fn in_onnx_order(values: &[f32], shape: Shape) -> Vec<f32> {
    if shape.rank() == 4 { to_nchw(values, shape.dim(3)) } else { values.to_vec() }
}

pub(crate) fn in_graph_order(values: &[f32], shape: Shape) -> Vec<f32> {
    if shape.rank() == 4 { to_nhwc(values, shape.dim(3)) } else { values.to_vec() }
}

/// Outputs of the graph for NHWC inputs.
pub(crate) fn evaluate(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let values = evaluate_all(graph, inputs);
    graph.outputs.iter().map(|&id| values[id].clone()).collect()
}

/// All values of the graph for NHWC inputs.
pub(crate) fn evaluate_all(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); graph.values.len()];
    for (&id, input) in graph.inputs.iter().zip(inputs) {
        values[id].clone_from(input);
    }
    for node in &graph.nodes {
        let input = &values[node.inputs[0]];
        let shape = graph.values[node.inputs[0]].shape;
        let out_shape = graph.values[node.output].shape;
        let weight = node.weight.map(|id| graph.params[id].effective());
        let bias = node.bias.map(|id| graph.params[id].effective());
        let mut out = match &node.op {
            Op::Conv2d(conv) => {
                let weight = weight.expect("a convolution has a weight");
                convolve(conv, input, shape, &weight, out_shape)
            }
            Op::Dense(_) => {
                let weight = weight.expect("a dense layer has a weight");
                let rows = weight.chunks_exact(input.len());
                rows.map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum()).collect()
            }
            Op::Pool(pool) => pool_map(pool, input, shape, out_shape),
            Op::GlobalAveragePool => {
                let channels = shape.dim(3);
                let pixels = input.len() / channels;
                (0..channels)
                    .map(|c| input.iter().skip(c).step_by(channels).sum::<f32>() / pixels as f32)
                    .collect()
            }
            Op::Add(_) => {
                input.iter().zip(&values[node.inputs[1]]).map(|(lhs, rhs)| lhs + rhs).collect()
            }
            Op::Concat(concat) => {
                let axis = concat.axis as usize;
                let outer: usize = shape.iter().take(axis).product();
                (0..outer)
                    .flat_map(|at| {
                        node.inputs.iter().flat_map(move |&id| {
                            let row = graph.values[id].shape.len() / outer;
                            (id, at * row, row).into_row()
                        })
                    })
                    .map(|(id, at)| values[id][at])
                    .collect()
            }
            Op::Lrn(lrn) => normalize(lrn, input, shape.dim(3)),
            Op::Softmax => {
                let last = shape.dim(shape.rank() - 1);
                input.chunks_exact(last).flat_map(softmax).collect()
            }
            Op::Flatten | Op::Reshape(_) | Op::Activation(_) => input.clone(),
            Op::Unary(unary) => input.iter().map(|&x| unary.apply(x)).collect(),
            Op::Mul => {
                let factors = &values[node.inputs[1]];
                input.iter().zip(factors.iter().cycle()).map(|(x, factor)| x * factor).collect()
            }
            Op::PRelu => {
                let slopes = weight.expect("slopes");
                let slope = |(x, slope): (&f32, &f32)| if *x < 0.0 { x * slope } else { *x };
                input.iter().zip(slopes.iter().cycle()).map(slope).collect()
            }
            Op::Transpose(transpose) => {
                let order = transpose.order.map(usize::from);
                transposed(input, shape, &order[..shape.rank()])
            }
            Op::Pad(pad) => {
                let [h, w, c] = [1, 2, 3].map(|axis| shape.dim(axis));
                let at = |at: usize| {
                    let (pixel, c) = (at / c, at % c);
                    let y = (pixel / out_shape.dim(2)).checked_sub(pad.top).filter(|&y| y < h)?;
                    let x = (pixel % out_shape.dim(2)).checked_sub(pad.left).filter(|&x| x < w)?;
                    Some((y, x, c))
                };
                (0..out_shape.len())
                    .map(|i| at(i).map_or(0.0, |(y, x, ch)| input[(y * w + x) * c + ch]))
                    .collect()
            }
            Op::Resize(resize) => resized(resize, input, shape, out_shape),
            op => panic!("{} is not evaluated here", op.name()),
        };
        if let Some(bias) = bias {
            out.iter_mut().zip(bias.iter().cycle()).for_each(|(out, bias)| *out += bias);
        }
        out.iter_mut().for_each(|out| *out = node.op.activation().apply(*out));
        assert_eq!(out.len(), out_shape.len(), "{}", node.name);
        values[node.output] = out;
    }
    values
}

fn transposed(input: &[f32], shape: Shape, order: &[usize]) -> Vec<f32> {
    let dims: Vec<usize> = shape.iter().collect();
    let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
    let mut places = vec![0];
    for &axis in order {
        places = places
            .iter()
            .flat_map(|&at| (0..dims[axis]).map(move |i| (at, i)))
            .map(|(at, i)| at + i * stride(axis))
            .collect();
    }
    places.into_iter().map(|at| input[at]).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "small maps, and rounding to f32")]
fn resized(resize: &Resize, input: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    let channels = shape.dim(3);
    // Two neighbours and the weight of the second.
    let neighbours = |axis: usize, x: usize| -> (usize, usize, f64) {
        let (input, output) = (shape.dim(axis) as f64, out.dim(axis) as f64);
        let x = x as f64;
        let at = match resize.coordinates {
            Coordinates::HalfPixel => (x + 0.5) * input / output - 0.5,
            Coordinates::AlignCorners if output == 1.0 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x * input / output,
        };
        let clamp = |at: f64| at.clamp(0.0, input - 1.0) as usize;
        match (resize.mode, resize.coordinates) {
            (ResizeMode::Linear, _) => {
                (clamp(at.floor()), clamp(at.floor() + 1.0), at - at.floor())
            }
            (ResizeMode::Nearest, Coordinates::Asymmetric) => (clamp(at.floor()), 0, 0.0),
            (ResizeMode::Nearest, _) => (clamp((at - 0.5).ceil()), 0, 0.0),
        }
    };
    let element =
        |y: usize, x: usize, c: usize| f64::from(input[(y * shape.dim(2) + x) * channels + c]);
    (0..out.len())
        .map(|at| {
            let (pixel, c) = (at / channels, at % channels);
            let (y0, y1, v) = neighbours(1, pixel / out.dim(2));
            let (x0, x1, u) = neighbours(2, pixel % out.dim(2));
            let row = |y: usize| element(y, x0, c) * (1.0 - u) + element(y, x1, c) * u;
            (row(y0) * (1.0 - v) + row(y1) * v) as f32
        })
        .collect()
}

trait IntoRow {
    fn into_row(self) -> impl Iterator<Item = (usize, usize)>;
}

impl IntoRow for (usize, usize, usize) {
    fn into_row(self) -> impl Iterator<Item = (usize, usize)> {
        let (id, start, len) = self;
        (start..start + len).map(move |at| (id, at))
    }
}

/// Calls `each` with the input row, input column and tap of each tap of an output element that is not on a pad.
fn taps(
    window: &embdl_core::op::Window,
    shape: Shape,
    [oy, ox]: [usize; 2],
    mut each: impl FnMut(usize, usize, usize),
) {
    let [kh, kw] = window.kernel.map(|v| v as usize);
    for tap in 0..kh * kw {
        let place = |axis: usize, out: usize, tap: usize| {
            (out * window.stride[axis] as usize + tap * window.dilation[axis] as usize)
                .checked_sub(window.pads[axis] as usize)
                .filter(|&at| at < shape.dim(axis + 1))
        };
        if let (Some(y), Some(x)) = (place(0, oy, tap / kw), place(1, ox, tap % kw)) {
            each(y, x, tap);
        }
    }
}

fn convolve(conv: &Conv2d, input: &[f32], shape: Shape, weight: &[f32], out: Shape) -> Vec<f32> {
    let [_, oh, ow, co] = [0, 1, 2, 3].map(|axis| out.dim(axis));
    let (channels, groups) = (shape.dim(3), conv.groups as usize);
    let ci = channels / groups;
    let per_filter = weight.len() / co;
    let mut values = Vec::new();
    for at in 0..oh * ow * co {
        let (pixel, o) = (at / co, at % co);
        let first = o / (co / groups) * ci;
        let mut sum = 0.0;
        taps(&conv.window, shape, [pixel / ow, pixel % ow], |y, x, tap| {
            for i in 0..ci {
                let w = weight[o * per_filter + tap * ci + i];
                sum += w * input[(y * shape.dim(2) + x) * channels + first + i];
            }
        });
        values.push(sum);
    }
    values
}

fn pool_map(pool: &Pool, input: &[f32], shape: Shape, out: Shape) -> Vec<f32> {
    let [_, oh, ow, channels] = [0, 1, 2, 3].map(|axis| out.dim(axis));
    let mut values = Vec::new();
    for at in 0..oh * ow * channels {
        let (pixel, c) = (at / channels, at % channels);
        let [oy, ox] = [pixel / ow, pixel % ow];
        let (mut largest, mut sum, mut count) = (f32::NEG_INFINITY, 0.0, 0_usize);
        taps(&pool.window, shape, [oy, ox], |y, x, _| {
            let value = input[(y * shape.dim(2) + x) * channels + c];
            largest = largest.max(value);
            sum += value;
            count += 1;
        });
        values.push(match pool.kind {
            PoolKind::Max => largest,
            PoolKind::Average { include_pads: false } => sum / count as f32,
            PoolKind::Average { include_pads: true } => {
                // Taps beyond the trailing pad hang over in ceil mode and never count.
                let inside = |axis: usize, out: usize| {
                    let padded = shape.dim(axis + 1)
                        + (pool.window.pads[axis] + pool.window.pads[axis + 2]) as usize;
                    (0..pool.window.kernel[axis] as usize)
                        .filter(|tap| {
                            let [stride, dilation] =
                                [pool.window.stride, pool.window.dilation].map(|of| of[axis]);
                            let at = out * stride as usize + tap * dilation as usize;
                            at < padded
                        })
                        .count()
                };
                sum / (inside(0, oy) * inside(1, ox)) as f32
            }
        });
    }
    values
}

fn normalize(lrn: &Lrn, input: &[f32], channels: usize) -> Vec<f32> {
    let size = lrn.size as usize;
    let (before, after) = ((size - 1) / 2, size / 2);
    (0..input.len())
        .map(|at| {
            let (start, c) = (at - at % channels, at % channels);
            let range = start + c.saturating_sub(before)..=start + (c + after).min(channels - 1);
            let squares: f32 = input[range].iter().map(|x| x * x).sum();
            input[at] / (lrn.bias + lrn.alpha / lrn.size as f32 * squares).powf(lrn.beta)
        })
        .collect()
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = row.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
