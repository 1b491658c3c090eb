//! Depthwise convolution and max pooling.

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, WindowGeometry, depthwise, lrn, pool};
use embdl_core::op::Lrn;
use embdl_testkit::{Guarded, Random};

use crate::{check_q8, close, levels, requants};

/// Windows with and without pads, strides, dilation, taps that never see the input, over all numbers of channels around
/// the vectors.
fn geometries() -> impl Iterator<Item = WindowGeometry> {
    let axes = [
        // Input, kernel, stride, dilation, pads before, pads after.
        (1, 1, 1, 1, 0, 0),
        (6, 3, 1, 1, 1, 1),
        (9, 3, 2, 1, 1, 1),
        (8, 2, 2, 1, 0, 0),
        (10, 3, 3, 1, 1, 0),
        (9, 3, 1, 2, 2, 2),
        (7, 5, 1, 1, 4, 4),
        (3, 2, 1, 5, 4, 4),
    ];
    let channels = [1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 31, 32, 33, 50, 64, 65, 130];
    axes.into_iter().flat_map(move |(input, kernel, stride, dilation, before, after)| {
        channels.into_iter().map(move |channels| {
            // Height and width differ, so that exchanging them is noticed.
            let width = input + 4 * stride;
            let extent =
                |input: usize| (before + input + after - dilation * (kernel - 1) - 1) / stride + 1;
            WindowGeometry {
                input: [input, width, channels],
                output: [extent(input), extent(width)],
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [dilation; 2],
                pad_before: [before; 2],
                pad_after: [after; 2],
            }
        })
    })
}

#[test]
fn depthwise_float_results_are_close() {
    let mut random = Random::new(8);
    for kernels in levels() {
        for geometry in geometries() {
            let taps = geometry.kernel[0] * geometry.kernel[1];
            let channels = geometry.input[2];
            let input = Guarded::new(&random.floats(geometry.input_len()));
            let weights = Guarded::new(&random.floats(taps * channels));
            let bias = Guarded::new(&random.floats(channels));
            let job = DepthwiseF32 {
                geometry,
                input: &input,
                weights: &weights,
                bias: &bias,
                clamp: if channels % 2 == 0 { (-0.3, 0.4) } else { (f32::MIN, f32::INFINITY) },
            };
            let mut expected = vec![7.0; geometry.output_len()];
            let mut found = Guarded::new(&expected);
            depthwise::depthwise_f32(&job, &mut expected);
            kernels.depthwise_f32(&job, &mut found);
            for (at, (&f, &e)) in found.iter().zip(&expected).enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "windows have few taps")]
                let size = taps as f32 + 1.0;
                let isa = kernels.isa();
                assert!(close(f, e, taps, size), "{isa} {geometry:?} at {at}: {f}, reference {e}");
            }
        }
    }
}

#[test]
fn depthwise_integer_results_are_exact() {
    let mut random = Random::new(9);
    for kernels in levels() {
        for (index, geometry) in geometries().enumerate() {
            let taps = geometry.kernel[0] * geometry.kernel[1];
            let channels = geometry.input[2];
            // Extremes in every third, where a sum of two products is the largest that there is.
            let (levels, values) = if index % 3 == 0 {
                (vec![255; geometry.input_len()], vec![[127, -128][index % 2]; taps * channels])
            } else {
                (random.bytes(geometry.input_len()), random.weights(taps * channels, 127))
            };
            let (input, weights) = (Guarded::new(&levels), Guarded::new(&values));
            let bias: Vec<i32> = (0..channels).map(|_| random.integer(-9000, 9000)).collect();
            let bias = Guarded::new(&bias);
            let zero_point = [0, 7, 255][index % 3];
            let job =
                DepthwiseQ8 { geometry, input: &input, zero_point, weights: &weights, bias: &bias };
            check_q8(
                &format!("{} {geometry:?}", kernels.isa()),
                geometry.output_len(),
                &requants(channels, &mut random),
                &|out| kernels.depthwise_q8(&job, out),
                &|out| depthwise::depthwise_q8(&job, out),
            );
        }
    }
}

#[test]
fn maxima_are_exact() {
    let mut random = Random::new(10);
    for kernels in levels() {
        for geometry in geometries() {
            let mut values = random.floats(geometry.input_len());
            for at in (0..values.len()).step_by(13) {
                values[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][at % 3];
            }
            let input = Guarded::new(&values);
            let mut expected = vec![7.0; geometry.output_len()];
            let mut found = Guarded::new(&expected);
            pool::max_pool_f32(&geometry, &input, &mut expected);
            kernels.max_pool_f32(&geometry, &input, &mut found);
            assert_eq!(&found[..], &expected[..], "{} {geometry:?}", kernels.isa());

            let input = Guarded::new(&random.bytes(geometry.input_len()));
            let mut expected = vec![7; geometry.output_len()];
            let mut found = Guarded::new(&expected);
            pool::max_pool_u8(&geometry, &input, &mut expected);
            kernels.max_pool_u8(&geometry, &input, &mut found);
            assert_eq!(&found[..], &expected[..], "{} {geometry:?}", kernels.isa());
        }
    }
}

#[test]
fn normalized_floats_are_close() {
    let mut random = Random::new(10);
    for kernels in levels() {
        for channels in [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 96, 1024, 1025] {
            for (size, beta) in [(1, 0.75), (4, 0.75), (5, 0.75), (33, 0.75), (5, 0.5)] {
                let lrn = Lrn { size, alpha: 1.3, beta, bias: 2.0 };
                let input = Guarded::new(&random.floats(3 * channels));
                let mut expected = vec![0.0; 3 * channels];
                let mut found = Guarded::new(&expected);
                lrn::lrn_f32(&lrn, channels, &input, &mut expected);
                kernels.lrn_f32(&lrn, channels, &input, &mut found);
                for (at, (&f, &e)) in found.iter().zip(&expected).enumerate() {
                    let isa = kernels.isa();
                    let case = format!("{isa} {lrn:?} on {channels} channels at {at}");
                    assert!(close(f, e, size as usize, 1.0), "{case}: {f}, reference {e}");
                }
            }
        }
        // An infinite neighbour makes a row of zeros, a NaN one of NaN.
        for odd in [f32::INFINITY, f32::NAN] {
            let lrn = Lrn { size: 3, alpha: 1.0, beta: 0.75, bias: 1.0 };
            let mut input = vec![1.0; 64];
            input[20] = odd;
            let (mut expected, mut found) = (vec![0.0; 64], vec![0.0; 64]);
            lrn::lrn_f32(&lrn, 64, &input, &mut expected);
            kernels.lrn_f32(&lrn, 64, &input, &mut found);
            assert!(found.iter().zip(&expected).all(|(&f, &e)| close(f, e, 3, 1.0)), "{found:?}");
        }
    }
}
