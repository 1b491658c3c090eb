//! Folded graphs compute what they computed before.

use super::*;
use crate::builder::GraphBuilder;
use crate::zoo;

/// Outputs of a graph of convolutions, dense layers, batch normalization, activations, sums and reshapes,
/// in double precision.
fn evaluate(graph: &Graph, image: &[f64]) -> Vec<f64> {
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); graph.values.len()];
    values[graph.inputs[0]] = image.to_vec();
    for node in &graph.nodes {
        let x = &values[node.inputs[0]];
        let [from, to] = [node.inputs[0], node.output].map(|id| graph.values[id].shape);
        let param = |id: Option<ParamId>| -> Option<Vec<f64>> {
            Some(graph.params[id?].effective().into_iter().map(f64::from).collect())
        };
        let (weight, bias) = (param(node.weight).unwrap_or_default(), param(node.bias));
        let mut y = match &node.op {
            Op::Conv2d(conv) => convolve(conv, from, to, x, &weight),
            Op::Dense(_) => weight
                .chunks_exact(x.len())
                .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum())
                .collect(),
            Op::BatchNorm(norm) => {
                let (mean, variance) = node.stats.expect("statistics");
                let (mean, variance) = (param(Some(mean)).unwrap(), param(Some(variance)).unwrap());
                let channels = mean.len();
                let at = |(i, x): (usize, &f64)| {
                    let c = i % channels;
                    (x - mean[c]) / (variance[c] + f64::from(norm.epsilon)).sqrt() * weight[c]
                };
                x.iter().enumerate().map(at).collect()
            }
            Op::Add(_) => x.iter().zip(&values[node.inputs[1]]).map(|(a, b)| a + b).collect(),
            Op::Activation(_) | Op::Flatten | Op::Reshape(_) => x.clone(),
            other => panic!("{} is not evaluated here", other.name()),
        };
        if let Some(bias) = bias {
            y.iter_mut().zip(bias.iter().cycle()).for_each(|(y, bias)| *y += bias);
        }
        let (low, high) = node.op.activation().bounds();
        y.iter_mut().for_each(|y| *y = y.clamp(f64::from(low), f64::from(high)));
        values[node.output] = y;
    }
    values[graph.outputs[0]].clone()
}

fn convolve(conv: &Conv2d, from: Shape, to: Shape, x: &[f64], weight: &[f64]) -> Vec<f64> {
    let [h, w, ci] = [1, 2, 3].map(|axis| from.dim(axis));
    let [oh, ow, co] = [1, 2, 3].map(|axis| to.dim(axis));
    let [kh, kw] = conv.window.kernel.map(|taps| taps as usize);
    let (groups, step) = (conv.groups as usize, conv.window.stride.map(|step| step as usize));
    let width = ci / groups;
    let mut y = Vec::new();
    for at in 0..oh * ow * co {
        let (oy, ox, o) = (at / co / ow, at / co % ow, at % co);
        let group = o / (co / groups);
        let mut sum = 0.0;
        for tap in 0..kh * kw {
            let iy = (oy * step[0] + tap / kw).checked_sub(conv.window.pads[0] as usize);
            let ix = (ox * step[1] + tap % kw).checked_sub(conv.window.pads[1] as usize);
            let (Some(iy), Some(ix)) = (iy.filter(|y| *y < h), ix.filter(|x| *x < w)) else {
                continue;
            };
            for c in 0..width {
                sum += x[(iy * w + ix) * ci + group * width + c]
                    * weight[(o * kh * kw + tap) * width + c];
            }
        }
        y.push(sum);
    }
    y
}

/// Numbers that look random, in -1 to 1.
fn noise(len: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 8_388_608.0 - 1.0
    };
    core::iter::repeat_with(step).take(len).collect()
}

/// Gives all batch normalization statistics, factors and offsets that are not trivial.
#[expect(clippy::cast_possible_truncation, reason = "noise")]
fn unsettle(graph: &mut Graph) {
    for (at, param) in graph.params.iter_mut().enumerate() {
        let is_variance = param.name.ends_with(".variance");
        let is_filter = param.shape.rank() > 1;
        let noise = noise(param.len(), at as u32 + 5);
        for (value, noise) in param.values_mut().iter_mut().zip(noise) {
            if is_variance {
                *value = (noise.abs() * 3.0) as f32;
            } else if !is_filter {
                *value += noise as f32;
            }
        }
    }
}

/// Folds and fuses, and compares what both graphs compute.
fn folded(mut graph: Graph) -> Graph {
    unsettle(&mut graph);
    let image = noise(graph.values[graph.inputs[0]].shape.len(), 3);
    let expected = evaluate(&graph, &image);
    fold_batch_norm(&mut graph).unwrap();
    assert!(graph.nodes.iter().all(|node| !matches!(node.op, Op::BatchNorm(_))));
    assert!(graph.params.iter().all(|param| param.role != ParamRole::Statistic));
    for stage in ["folded", "fused"] {
        let found = evaluate(&graph, &image);
        let scale = expected.iter().fold(1.0_f64, |scale, y| scale.max(y.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-5 * scale,
                "{stage}: {found} {expected}\n{graph}"
            );
        }
        fuse_activations(&mut graph).unwrap();
    }
    graph
}

fn conv(kernel: u32, groups: u32, activation: Activation) -> Conv2d {
    Conv2d { window: Window::square(kernel, 1).padded(kernel / 2), groups, activation }
}

#[test]
fn convolutions_with_and_without_bias_and_dense_layers_take_norms_in() {
    let mut b = GraphBuilder::new("net", 1);
    let image = b.input("image", Shape::nhwc(1, 5, 4, 3));
    let x = b.conv2d_norm("a", image, 8, conv(3, 1, Activation::Relu6)).unwrap();
    let x = b.conv2d("b", x, 8, conv(3, 8, Activation::None)).unwrap();
    let x = b.batch_norm("b.norm", x, 1e-3).unwrap();
    let x = b.op("flat", Op::Flatten, &[x]).unwrap();
    let x = b.dense("c", x, 6, Activation::None).unwrap();
    let x = b.batch_norm("c.norm", x, 1e-5).unwrap();
    let graph = folded(b.finish(&[x]).unwrap());
    insta::assert_snapshot!(graph.to_string(), @r"
    net (1270 parameters, 6720 MACs)
      input image [1x5x4x3]
      a = conv2d(image) [1x5x4x8] then Relu6, weight [8x3x3x3]
      b = conv2d(a) [1x5x4x8], weight [8x3x3x1]
      flat = flatten(b) [1x160]
      c.norm = dense(flat) [1x6], weight [6x160]
      output c.norm
    ");
}

#[test]
fn norms_without_a_layer_before_them_become_depthwise() {
    let mut b = GraphBuilder::new("net", 1);
    let image = b.input("image", Shape::nhwc(1, 5, 4, 3));
    let x = b.batch_norm("first", image, 1e-5).unwrap();
    let x = b.conv2d("conv", x, 4, conv(1, 1, Activation::Relu)).unwrap();
    let y = b.batch_norm("second", x, 1e-5).unwrap();
    let x = b.op("sum", Op::Add(Activation::None), &[x, y]).unwrap();
    let x = b.op("relu", Op::Activation(Activation::Relu), &[x]).unwrap();
    let x = b.op("flat", Op::Flatten, &[x]).unwrap();
    let x = b.batch_norm("third", x, 1e-5).unwrap();
    let x = b.dense("fc", x, 2, Activation::None).unwrap();
    let graph = folded(b.finish(&[x]).unwrap());
    insta::assert_snapshot!(graph.to_string(), @r"
    net (352 parameters, 620 MACs)
      input image [1x5x4x3]
      first = conv2d(image) [1x5x4x3], weight [3x1x1x1]
      conv = conv2d(first) [1x5x4x4] then Relu, weight [4x1x1x3]
      second = conv2d(conv) [1x5x4x4], weight [4x1x1x1]
      sum = add(conv, second) [1x5x4x4] then Relu
      flat = flatten(sum) [1x80]
      third.before = reshape(flat) [1x1x1x80]
      third.after = conv2d(third.before) [1x1x1x80], weight [80x1x1x1]
      third = reshape(third.after) [1x80]
      fc = dense(third) [1x2], weight [2x80]
      output fc
    ");
}

#[test]
fn constrained_weights_are_left_as_they_are() {
    let mut b = GraphBuilder::new("net", 1);
    let image = b.input("image", Shape::nhwc(1, 5, 4, 3));
    let x = b.conv2d_norm("a", image, 8, conv(3, 1, Activation::None)).unwrap();
    let mut graph = b.finish(&[x]).unwrap();
    graph.params[0].form = Form::Integer { bits: 4, scales: vec![0.1] };
    graph.params[0].mask = Some((0..8 * 27).map(|at| at % 3 != 0).collect());
    let before = graph.params[0].effective();
    let graph = folded(graph);
    assert_eq!(graph.nodes.len(), 2);
    assert_eq!(graph.params[0].effective(), before);
}

#[test]
fn masks_stay_where_they_are() {
    let mut b = GraphBuilder::new("net", 1);
    let image = b.input("image", Shape::nhwc(1, 5, 4, 3));
    let x = b.conv2d_norm("a", image, 8, conv(3, 1, Activation::None)).unwrap();
    let mut graph = b.finish(&[x]).unwrap();
    let mask: Vec<bool> = (0..8 * 27).map(|at| at % 3 != 0).collect();
    graph.params[0].mask = Some(mask.clone());
    let graph = folded(graph);
    assert_eq!((graph.nodes.len(), &graph.params[0].mask), (1, &Some(mask)));
}

#[test]
fn a_variance_that_gives_no_factor_is_an_error_and_changes_nothing() {
    let mut b = GraphBuilder::new("net", 1);
    let image = b.input("image", Shape::nhwc(1, 5, 4, 3));
    let x = b.conv2d_norm("a", image, 8, conv(3, 1, Activation::None)).unwrap();
    let mut graph = b.finish(&[x]).unwrap();
    let variance = graph.nodes[1].stats.unwrap().1;
    graph.params[variance].values_mut()[3] = -1.0;
    let before = graph.clone();
    assert!(matches!(fold_batch_norm(&mut graph), Err(GraphError::Norm { .. })));
    assert_eq!(graph, before);
}

#[test]
fn graphs_without_norms_stay_as_they_are() {
    let mut graph = zoo::lenet5(1);
    fold_batch_norm(&mut graph).unwrap();
    fuse_activations(&mut graph).unwrap();
    assert_eq!(graph, zoo::lenet5(1));
}
