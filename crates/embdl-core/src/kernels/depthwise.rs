//! Scalar depthwise convolution of one sample: each channel has its own filter.

use super::{DepthwiseF32, DepthwiseQ8, OutQ8, WindowGeometry, clamp};

/// Channels that are accumulated together.
const LANES: usize = 16;

/// Depthwise convolution, float.
///
/// # Panics
/// If a slice does not fit the geometry.
pub fn depthwise_f32(job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    for (at, base, lanes) in positions(geometry) {
        let mut sums = [0.0_f32; LANES];
        sums[..lanes].copy_from_slice(&job.bias[base..][..lanes]);
        geometry.for_each_tap(at, |pixel, tap| {
            let input = &job.input[pixel * channels + base..][..lanes];
            let weights = &job.weights[tap * channels + base..][..lanes];
            for ((sum, &x), &w) in sums.iter_mut().zip(input).zip(weights) {
                *sum += x * w;
            }
        });
        let result = &mut out[geometry.output_index(at) + base..][..lanes];
        for (slot, &sum) in result.iter_mut().zip(&sums) {
            *slot = clamp(sum, job.clamp);
        }
    }
}

/// Depthwise convolution, integer; pads have the zero point and so add nothing.
///
/// # Panics
/// If a slice does not fit the geometry.
pub fn depthwise_q8(job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    let zero_point = i32::from(job.zero_point);
    for (at, base, lanes) in positions(geometry) {
        let mut sums = [0_i32; LANES];
        sums[..lanes].copy_from_slice(&job.bias[base..][..lanes]);
        geometry.for_each_tap(at, |pixel, tap| {
            let input = &job.input[pixel * channels + base..][..lanes];
            let weights = &job.weights[tap * channels + base..][..lanes];
            for ((sum, &x), &w) in sums.iter_mut().zip(input).zip(weights) {
                *sum = sum.wrapping_add((i32::from(x) - zero_point) * i32::from(w));
            }
        });
        out.store(geometry.output_index(at) + base, base, &sums[..lanes]);
    }
}

/// Every output position with every group of channels: `([oy, ox], first channel, channels)`.
fn positions(
    geometry: &WindowGeometry,
) -> impl Iterator<Item = ([usize; 2], usize, usize)> + use<> {
    let ([oh, ow], channels) = (geometry.output, geometry.input[2]);
    (0..oh).flat_map(move |oy| {
        (0..ow).flat_map(move |ox| {
            (0..channels)
                .step_by(LANES)
                .map(move |base| ([oy, ox], base, LANES.min(channels - base)))
        })
    })
}

fn check(geometry: &WindowGeometry, input: usize, weights: usize, bias: usize, out: usize) {
    let channels = geometry.input[2];
    let taps = geometry.kernel[0] * geometry.kernel[1];
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(weights == taps * channels, "{weights} weights do not fit {geometry:?}");
    assert!(bias == channels, "{bias} biases for {channels} channels");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Quant, Requant};

    fn geometry() -> WindowGeometry {
        // 2x2x2 input, 2x2 window, one pad on top: a 2x1 result.
        WindowGeometry {
            input: [2, 2, 2],
            output: [2, 1],
            kernel: [2, 2],
            stride: [1, 1],
            dilation: [1, 1],
            pad_before: [1, 0],
            pad_after: [0, 0],
        }
    }

    #[test]
    fn float_by_hand() {
        let input = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0];
        let weights = [1.0, 0.0, 2.0, 0.0, 3.0, 1.0, 4.0, -1.0];
        let job = DepthwiseF32 {
            geometry: geometry(),
            input: &input,
            weights: &weights,
            bias: &[0.5, 0.0],
            clamp: (0.0, 25.0),
        };
        let mut out = [0.0; 4];
        depthwise_f32(&job, &mut out);
        // Channel 0: 3·1 + 4·2 + 0.5; then 1 + 4 + 9 + 16 + 0.5. Channel 1: 10 - 20; then 30 - 40.
        assert_eq!(out, [11.5, 0.0, 25.0, 0.0]);
    }

    #[test]
    fn integer_by_hand() {
        let input = [11, 20, 12, 30, 13, 40, 14, 50];
        let weights = [1, 0, 2, 0, 3, 1, 4, -1];
        let job = DepthwiseQ8 {
            geometry: geometry(),
            input: &input,
            zero_point: 10,
            weights: &weights,
            bias: &[5, 0],
        };
        let mut out = [0; 4];
        depthwise_q8(&job, OutQ8::I32(&mut out));
        assert_eq!(out, [16, -10, 35, -10]);
        let output = Quant { scale: 1.0, zero_point: 2 };
        let requant = Requant::new(&[0.5, 0.1], output, (2, 255)).unwrap();
        let mut levels = [0; 4];
        depthwise_q8(&job, OutQ8::U8(&requant, &mut levels));
        assert_eq!(levels, [10, 2, 20, 2]);
    }
}
