//! Depthwise convolution and max pooling of every level against the scalar reference.
#![cfg(target_arch = "aarch64")]

mod common;

use common::{compare_f32, compare_q8, geometries, levels, report, requant};
use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, Kernels, Reference, WindowGeometry};
use embdl_testkit::{Guarded, Random};

/// Around vectors of 4, 8 and 16 channels, and blocks of 16 and 64.
const CHANNELS: [usize; 14] = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 33, 64, 67];

fn all_geometries() -> impl Iterator<Item = WindowGeometry> {
    CHANNELS.into_iter().flat_map(geometries)
}

#[test]
fn depthwise_floats_are_close_to_the_reference() {
    let mut random = Random::new(21);
    let mut failures = Vec::new();
    for geometry in all_geometries() {
        let channels = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let input = Guarded::new(&random.floats(geometry.input_len()));
        let weights = Guarded::new(&random.floats(taps * channels));
        let bias = Guarded::new(&random.floats(channels));
        let clamp = (-0.5, 2.0);
        let job = DepthwiseF32 { geometry, input: &input, weights: &weights, bias: &bias, clamp };
        let mut expected = vec![9.0; geometry.output_len()];
        Reference.depthwise_f32(&job, &mut expected);
        for kernels in levels() {
            let mut out = Guarded::new(&vec![9.0; geometry.output_len()]);
            kernels.depthwise_f32(&job, &mut out);
            let what = format!("{} {geometry:?}", kernels.isa());
            // At most 15 taps of products of at most 1.
            failures.extend(compare_f32(&out, &expected, 1e-5, &what));
        }
    }
    report(&failures);
}

#[test]
fn depthwise_integers_equal_the_reference() {
    let mut random = Random::new(22);
    let mut failures = Vec::new();
    for (index, geometry) in all_geometries().enumerate() {
        let channels = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        // Every third case has the largest products everywhere.
        let extreme = index % 3 == 0;
        let input = if extreme {
            vec![255; geometry.input_len()]
        } else {
            random.bytes(geometry.input_len())
        };
        let weights = if extreme {
            vec![[-128, 127][index % 2]; taps * channels]
        } else {
            random.weights(taps * channels, 127)
        };
        let (input, weights) = (Guarded::new(&input), Guarded::new(&weights));
        let bias: Vec<i32> = (0..channels).map(|_| random.integer(-900, 900)).collect();
        let bias = Guarded::new(&bias);
        let zero_point = [0, 255, random.bytes(1)[0]][index % 3];
        let job =
            DepthwiseQ8 { geometry, input: &input, zero_point, weights: &weights, bias: &bias };
        let requants =
            [requant(&mut random, 60_000.0, 1), requant(&mut random, 60_000.0, channels)];
        for kernels in levels() {
            failures.extend(compare_q8(
                geometry.output_len(),
                &requants,
                &format!("{} {geometry:?}", kernels.isa()),
                |out| kernels.depthwise_q8(&job, out),
                |out| Reference.depthwise_q8(&job, out),
            ));
        }
    }
    report(&failures);
}

#[test]
fn max_pooling_equals_the_reference() {
    let mut random = Random::new(23);
    let mut failures = Vec::new();
    for geometry in all_geometries() {
        let mut floats = random.floats(geometry.input_len());
        let at = floats.len() / 2;
        floats[at] = f32::NAN;
        floats[0] = f32::NEG_INFINITY;
        let (floats, bytes) = (Guarded::new(&floats), random.bytes(geometry.input_len()));
        let bytes = Guarded::new(&bytes);
        let len = geometry.output_len();
        let (mut expected_floats, mut expected_bytes) = (vec![9.0; len], vec![9; len]);
        Reference.max_pool_f32(&geometry, &floats, &mut expected_floats);
        Reference.max_pool_u8(&geometry, &bytes, &mut expected_bytes);
        for kernels in levels() {
            let what = format!("{} {geometry:?}", kernels.isa());
            let mut out = Guarded::new(&vec![9.0; len]);
            kernels.max_pool_f32(&geometry, &floats, &mut out);
            failures.extend(compare_f32(&out, &expected_floats, 0.0, &what));
            let mut out = Guarded::new(&vec![9; len]);
            kernels.max_pool_u8(&geometry, &bytes, &mut out);
            if out[..] != expected_bytes[..] {
                failures.push(format!("{what}: {:?} instead of {expected_bytes:?}", &out[..]));
            }
        }
    }
    report(&failures);
}
