//! Depthwise convolutions and pooling.

use core::hint::black_box;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, Kernels, OutQ8, WindowGeometry};
use embdl_testkit::Random;

use crate::bench::{Report, usual_requant};

/// What it is, input height and width, channels, stride.
const DEPTHWISE: &[(&str, usize, usize, usize)] = &[
    ("depthwise 112x112x32", 112, 32, 1),
    ("depthwise 56x56x128 /2", 56, 128, 2),
    ("depthwise 14x14x512", 14, 512, 1),
];

/// What it is, input height and width, channels.
const POOLS: &[(&str, usize, usize)] =
    &[("lenet-5 pool1", 24, 20), ("lenet-5 pool2", 8, 50), ("vgg pool1", 224, 64)];

/// Times 3x3 depthwise convolutions and 2x2 pools.
pub(crate) fn run(kernels: &dyn Kernels, report: Report<'_>) {
    let mut random = Random::new(3);
    for &(name, size, channels, stride) in DEPTHWISE {
        let geometry = WindowGeometry {
            input: [size, size, channels],
            output: [size / stride; 2],
            kernel: [3; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad_before: [1; 2],
            pad_after: [1; 2],
        };
        let macs = geometry.output_len() * 9;
        let (input, weights) = (random.floats(geometry.input_len()), random.floats(9 * channels));
        let bias = vec![0.0; channels];
        let job = DepthwiseF32 {
            geometry,
            input: &input,
            weights: &weights,
            bias: &bias,
            clamp: (0.0, 6.0),
        };
        let mut out = vec![0.0; geometry.output_len()];
        report(name, "f32", macs, &mut || {
            kernels.depthwise_f32(black_box(&job), black_box(&mut out));
        });
        let input = random.bytes(geometry.input_len());
        let weights = random.weights(9 * channels, 127);
        let bias = vec![0; channels];
        let job =
            DepthwiseQ8 { geometry, input: &input, zero_point: 5, weights: &weights, bias: &bias };
        let requant = usual_requant(channels);
        let mut out = vec![0; geometry.output_len()];
        report(name, "q8", macs, &mut || {
            kernels.depthwise_q8(black_box(&job), OutQ8::U8(&requant, black_box(&mut out)));
        });
    }
    for &(name, size, channels) in POOLS {
        let geometry = WindowGeometry {
            input: [size, size, channels],
            output: [size / 2; 2],
            kernel: [2; 2],
            stride: [2; 2],
            dilation: [1; 2],
            pad_before: [0; 2],
            pad_after: [0; 2],
        };
        let input = random.floats(geometry.input_len());
        let mut out = vec![0.0; geometry.output_len()];
        report(name, "f32", geometry.input_len(), &mut || {
            kernels.max_pool_f32(&geometry, black_box(&input), black_box(&mut out));
        });
        let input = random.bytes(geometry.input_len());
        let mut out = vec![0; geometry.output_len()];
        report(name, "u8", geometry.input_len(), &mut || {
            kernels.max_pool_u8(&geometry, black_box(&input), black_box(&mut out));
        });
    }
}
