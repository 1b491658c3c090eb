//! Depthwise convolutions: strides, dilations, uneven pads, channel counts around every vector length.

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, Kernels, WindowGeometry};
use embdl_testkit::{Guarded, Random};

use super::{CLAMPS, POISON_F32, check_q8, clamp_f64, dot_tolerance, requants};
use crate::pick;
use crate::report::Report;

pub(super) const CHANNELS: [usize; 13] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64];

/// Windows over inputs of `channels`, with every combination of what matters at the borders.
pub(super) fn geometries(channels: usize) -> Vec<WindowGeometry> {
    let mut all = Vec::new();
    for (input, kernel) in [
        ([1, 1], [1, 1]),
        ([3, 3], [3, 3]),
        ([7, 5], [3, 3]),
        ([6, 9], [2, 2]),
        ([8, 8], [5, 5]),
        ([4, 11], [1, 3]),
        ([9, 4], [3, 2]),
    ] {
        for (stride, dilation) in
            [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([1, 3], [1, 1]), ([1, 1], [2, 2])]
        {
            for (pad_before, pad_after) in [([0, 0], [0, 0]), ([1, 1], [1, 1]), ([0, 2], [1, 0])] {
                let span = |axis: usize| dilation[axis] * (kernel[axis] - 1) + 1;
                let extent = |axis: usize| {
                    let padded: usize = pad_before[axis] + input[axis] + pad_after[axis];
                    Some(padded.checked_sub(span(axis))? / stride[axis] + 1)
                };
                let small = |axis: usize| pad_before[axis].max(pad_after[axis]) < span(axis);
                if let (Some(oh), Some(ow), true) = (extent(0), extent(1), small(0) && small(1)) {
                    all.push(WindowGeometry {
                        input: [input[0], input[1], channels],
                        output: [oh, ow],
                        kernel,
                        stride,
                        dilation,
                        pad_before,
                        pad_after,
                    });
                }
            }
        }
    }
    all
}

/// Visits every tap inside the input: `(result position, channel, tap, input element)`, the geometry taken literally.
pub(super) fn visit(geometry: &WindowGeometry, mut each: impl FnMut(usize, usize, usize, usize)) {
    let [height, width, channels] = geometry.input;
    for oy in 0..geometry.output[0] {
        for ox in 0..geometry.output[1] {
            for ky in 0..geometry.kernel[0] {
                for kx in 0..geometry.kernel[1] {
                    let y = oy * geometry.stride[0] + ky * geometry.dilation[0];
                    let x = ox * geometry.stride[1] + kx * geometry.dilation[1];
                    let y = y.checked_sub(geometry.pad_before[0]).filter(|&y| y < height);
                    let x = x.checked_sub(geometry.pad_before[1]).filter(|&x| x < width);
                    let (Some(y), Some(x)) = (y, x) else { continue };
                    for c in 0..channels {
                        let at = oy * geometry.output[1] + ox;
                        each(at, c, ky * geometry.kernel[1] + kx, (y * width + x) * channels + c);
                    }
                }
            }
        }
    }
}

/// Float depthwise convolutions. Tolerance: `dot_tolerance` of the exact sum.
pub fn depthwise_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in (1_u64..).zip(CHANNELS.into_iter().flat_map(geometries)) {
        let mut random = Random::new(seed);
        let channels = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let input = Guarded::new(&random.floats(geometry.input_len()));
        let weights = Guarded::new(&random.floats(taps * channels));
        let bias = Guarded::new(&random.floats(channels));
        let clamp = pick(&CLAMPS, seed);
        let mut want: Vec<f64> =
            (0..geometry.output_len()).map(|at| f64::from(bias[at % channels])).collect();
        let mut allowed: Vec<f64> = want.iter().map(|bias| bias.abs()).collect();
        visit(&geometry, |at, c, tap, element| {
            let product = f64::from(input[element]) * f64::from(weights[tap * channels + c]);
            want[at * channels + c] += product;
            allowed[at * channels + c] += product.abs();
        });
        for (want, allowed) in want.iter_mut().zip(&mut allowed) {
            *want = clamp_f64(*want, clamp);
            *allowed = dot_tolerance(taps, *allowed);
        }
        let mut got = Guarded::new(&vec![POISON_F32; geometry.output_len()]);
        let job = DepthwiseF32 { geometry, input: &input, weights: &weights, bias: &bias, clamp };
        kernels.depthwise_f32(&job, &mut got);
        report.close(&format!("seed {seed}: {geometry:?}"), &got, &want, &allowed);
    }
}

/// Integer depthwise convolutions; equal.
pub fn depthwise_q8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, geometry) in (1_u64..).zip(CHANNELS.into_iter().flat_map(geometries)) {
        let mut random = Random::new(seed);
        let channels = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let extreme = seed % 5 == 0;
        let input = random.bytes(geometry.input_len());
        let input = Guarded::new(&if extreme { vec![255; input.len()] } else { input });
        let weights = random.weights(taps * channels, 127);
        let weights = Guarded::new(&if extreme { vec![-128; weights.len()] } else { weights });
        let bias: Vec<i32> = (0..channels).map(|_| random.integer(-30_000, 30_000)).collect();
        let bias = Guarded::new(&bias);
        let zero_point = pick(&[0, 128, 255, 31], seed);
        let mut want: Vec<i64> =
            (0..geometry.output_len()).map(|at| i64::from(bias[at % channels])).collect();
        visit(&geometry, |at, c, tap, element| {
            let x = i64::from(input[element]) - i64::from(zero_point);
            want[at * channels + c] += x * i64::from(weights[tap * channels + c]);
        });
        let pixels = geometry.output[0] * geometry.output[1];
        let every = requants(&mut random, channels);
        let some = [pick(&every, seed)];
        let case = format!("seed {seed}: zero point {zero_point}, {geometry:?}");
        check_q8(report, &case, &want, [pixels, channels, channels], &some, |out| {
            let job =
                DepthwiseQ8 { geometry, input: &input, zero_point, weights: &weights, bias: &bias };
            kernels.depthwise_q8(&job, out);
        });
    }
}
