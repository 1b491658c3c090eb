//! GEMM.

use embdl_core::kernels::{GemmF32, GemmQ8, PackedF32, PackedQ8, gemm};
use embdl_testkit::{Guarded, Random};

use crate::{check_q8, close, levels, requants};

/// Shapes around every tile: rows 1 to 13, channels 1 to 33, k 0 to 37.
fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let channels = [1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 25, 31, 32, 33];
    let depths = (0..=20).chain([31, 32, 33, 37]);
    depths
        .flat_map(move |k| channels.into_iter().flat_map(move |n| (0..=13).map(move |m| (m, n, k))))
}

#[test]
fn float_results_are_close_in_every_shape() {
    let mut random = Random::new(1);
    for kernels in levels() {
        for (m, n, k) in shapes().chain([(64, 50, 500), (30, 65, 1000)]) {
            let (lhs_stride, out_stride) = (k + m % 3, n + m % 2);
            let weights = random.floats(n * k);
            let bias = random.floats(n);
            let lhs = random.floats((m.max(1) - 1) * lhs_stride + k);
            let packed = PackedF32::pack(&weights, &bias, n, k, kernels.tile_f32());
            let guarded = Guarded::new(&lhs);
            let clamp = if m % 2 == 0 { (f32::NEG_INFINITY, f32::INFINITY) } else { (0.0, 1.0) };
            let job = GemmF32 { m, lhs: &guarded, lhs_stride, weights: &packed, clamp, out_stride };
            let mut expected = vec![7.0; (m.max(1) - 1) * out_stride + n];
            let mut found = Guarded::new(&expected);
            gemm::gemm_f32(&job, &mut expected);
            kernels.gemm_f32(&job, &mut found);
            for (at, (&f, &e)) in found.iter().zip(&expected).enumerate() {
                // The largest possible sum: k products of at most 1, and a bias.
                #[expect(clippy::cast_precision_loss, reason = "tests have small k")]
                let size = k as f32 + 1.0;
                let isa = kernels.isa();
                assert!(close(f, e, k, size), "{isa} {m}x{n}x{k} at {at}: {f}, reference {e}");
            }
        }
    }
}

#[test]
fn float_classes_survive() {
    for kernels in levels() {
        for m in [1, 4] {
            let weights = PackedF32::pack(&[1.0; 10], &[], 10, 1, kernels.tile_f32());
            let lhs = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -3.0];
            for clamp in [(0.0, 6.0), (f32::NEG_INFINITY, f32::INFINITY)] {
                for first in 0..=4 - m {
                    let lhs = &lhs[first..first + m];
                    let job =
                        GemmF32 { m, lhs, lhs_stride: 1, weights: &weights, clamp, out_stride: 10 };
                    let (mut expected, mut found) = ([0.0; 40], [0.0; 40]);
                    gemm::gemm_f32(&job, &mut expected);
                    kernels.gemm_f32(&job, &mut found);
                    assert!(
                        found.iter().zip(&expected).all(|(&f, &e)| close(f, e, 0, 0.0)),
                        "{}: {found:?}, reference {expected:?}",
                        kernels.isa()
                    );
                }
            }
        }
    }
}

#[test]
fn integer_results_are_exact_in_every_shape() {
    let mut random = Random::new(2);
    for kernels in levels() {
        for (index, (m, n, k)) in shapes().chain([(64, 50, 500), (9, 33, 1000)]).enumerate() {
            // The limits of the three ways to sum products.
            let limit = [32, 64, 127, 33, 65][index % 5];
            let (lhs_stride, out_stride) = (k + m % 3, n + m % 2);
            let weights = random.weights(n * k, limit);
            let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
            let lhs = Guarded::new(&random.bytes((m.max(1) - 1) * lhs_stride + k));
            let packed = PackedQ8::pack(&weights, &bias, 7, n, k, kernels.tile_q8());
            let job = GemmQ8 { m, lhs: &lhs, lhs_stride, weights: &packed, out_stride };
            check_q8(
                &format!("{} {m}x{n}x{k}, weights to {limit}", kernels.isa()),
                (m.max(1) - 1) * out_stride + n,
                &requants(n, &mut random),
                &|out| kernels.gemm_q8(&job, out),
                &|out| gemm::gemm_q8(&job, out),
            );
        }
    }
}

#[test]
fn the_largest_products_do_not_saturate() {
    let mut random = Random::new(3);
    for kernels in levels() {
        for magnitude in [32_i8, 33, 64, 65, 127, -128] {
            for (m, n, k) in [(1, 8, 64), (5, 17, 67), (4, 16, 32)] {
                for sign in [1, -1] {
                    let w = i32::from(magnitude) * sign;
                    let w = i8::try_from(w).unwrap_or(127);
                    let packed = PackedQ8::pack(&vec![w; n * k], &[], 0, n, k, kernels.tile_q8());
                    let lhs = Guarded::new(&vec![255; m * k]);
                    let job =
                        GemmQ8 { m, lhs: &lhs, lhs_stride: k, weights: &packed, out_stride: n };
                    check_q8(
                        &format!("{} {m}x{n}x{k}, all weights {w}", kernels.isa()),
                        m * n,
                        &requants(n, &mut random),
                        &|out| kernels.gemm_q8(&job, out),
                        &|out| gemm::gemm_q8(&job, out),
                    );
                }
            }
        }
    }
}

#[test]
fn requantization_of_extreme_accumulators_follows_the_rule() {
    let mut random = Random::new(4);
    for kernels in levels() {
        let tile = kernels.tile_q8();
        for shift in [1, 2, 30, 31, 32, 33, 40, 61, 62] {
            for (index, multiplier) in
                [1, 0x4000_0000, i32::MAX, 0, -1, i32::MIN].into_iter().enumerate()
            {
                // Without products, the accumulators are the biases.
                let mut bias =
                    vec![i32::MIN, i32::MAX, 0, -1, 1, i32::MIN + 1, i32::MAX - 1, 0x4000_0000];
                bias.extend((0..25).map(|_| random.next_u32().cast_signed() >> (index * 5)));
                let n = bias.len();
                let packed = PackedQ8::pack(&vec![0; n], &bias, 0, n, 1, tile);
                let job =
                    GemmQ8 { m: 1, lhs: &[255], lhs_stride: 1, weights: &packed, out_stride: n };
                let requant = embdl_core::quant::Requant {
                    multipliers: vec![multiplier; if index % 2 == 0 { n } else { 1 }],
                    shift,
                    zero_point: 128,
                    min: 2,
                    max: 250,
                };
                check_q8(kernels.isa(), n, &[requant], &|out| kernels.gemm_q8(&job, out), &|out| {
                    gemm::gemm_q8(&job, out)
                });
            }
        }
    }
}
