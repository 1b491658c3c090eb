//! Convolutions against what books say: asymmetric pads, groups and dilation.

use embdl_core::op::{Activation, Conv2d};
use embdl_core::tensor::Shape;

use super::networks::convolution;
use super::{image_of, noise, tensors, windows};
use crate::cpu::Cpu;
use crate::network::Network;

#[test]
fn convolutions_equal_their_definition() {
    let on = Cpu::default();
    for window in windows() {
        for groups in [1, 2, 4] {
            let conv = Conv2d { window, groups, activation: Activation::None };
            let graph = convolution(8, conv);
            let image = noise(2 * 6 * 5 * 4, 3);
            let params = tensors(&on, &graph);
            let network = Network { graph: &graph, params: &params, batch: 2, is_training: false };
            let mut found = Vec::new();
            let mut observe = |id, values: &[f32]| {
                if id == graph.nodes[0].output {
                    found = values.to_vec();
                }
            };
            network.forward(&on, image_of(&on, &graph, &image), Some(&mut observe)).unwrap();
            let output = graph.values[graph.nodes[0].output].shape.with_batch(2);
            let [w, bias] = [0, 1].map(|id: usize| graph.params[id].effective());
            let expected = define(&conv, output, &image, &w, &bias);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{conv:?}: {found}, not {expected}");
            }
        }
    }
}

/// A convolution of a `[2, 6, 5, 4]` image, tap by tap.
fn define(conv: &Conv2d, output: Shape, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
    let size = |value: u32| value as usize;
    let (h, width, ci) = (6, 5, 4);
    let [kh, kw] = conv.window.kernel.map(size);
    let [sh, sw] = conv.window.stride.map(size);
    let [dh, dw] = conv.window.dilation.map(size);
    let (top, left) = (size(conv.window.pads[0]), size(conv.window.pads[1]));
    let (gci, gco) = (ci / size(conv.groups), output.dim(3) / size(conv.groups));
    let mut y = Vec::new();
    for n in 0..2 {
        for (oy, ox) in (0..output.dim(1)).flat_map(|oy| (0..output.dim(2)).map(move |ox| (oy, ox)))
        {
            for (o, &bias) in bias.iter().enumerate() {
                let mut sum = bias;
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
