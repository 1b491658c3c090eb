//! GEMM of every level against the scalar reference: integers bit for bit, floats within the rounding of a sum.
#![cfg(target_arch = "aarch64")]

mod common;

use common::{compare_f32, compare_q8, levels, report, requant};
use embdl_core::kernels::{GemmF32, GemmQ8, Kernels, PackedF32, PackedQ8, Reference};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::{Guarded, Random};

/// Sizes around the tiles of all levels: 1 to 8 rows, panels of 12 channels and of 4 in groups of 1, 2 and 4, 16 steps.
const ROWS: [usize; 10] = [0, 1, 2, 3, 4, 7, 8, 9, 15, 17];
const CHANNELS: [usize; 15] = [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 25];
const DEPTHS: [usize; 16] = [0, 1, 3, 4, 5, 8, 15, 16, 17, 25, 31, 32, 33, 48, 64, 79];

struct Case {
    m: usize,
    n: usize,
    k: usize,
    /// Elements between rows of the left-hand side, and of the result.
    gaps: (usize, usize),
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for m in ROWS {
        for n in CHANNELS {
            for k in DEPTHS {
                cases.push(Case { m, n, k, gaps: (0, 0) });
            }
            cases.push(Case { m, n, k: 21, gaps: (5, 3) });
            cases.push(Case { m, n, k: 37, gaps: (30, 1) });
        }
    }
    cases.push(Case { m: 1, n: 300, k: 784, gaps: (0, 0) });
    cases.push(Case { m: 576, n: 20, k: 25, gaps: (0, 0) });
    cases.push(Case { m: 64, n: 50, k: 500, gaps: (0, 0) });
    // More steps than a block of rows holds, and more rows.
    cases.push(Case { m: 9, n: 29, k: 2051, gaps: (1, 2) });
    cases.push(Case { m: 45, n: 13, k: 1025, gaps: (0, 0) });
    cases
}

#[test]
fn float_gemm_is_close_to_the_reference() {
    let mut random = Random::new(1);
    let mut failures = Vec::new();
    for Case { m, n, k, gaps } in cases() {
        let (lhs_stride, out_stride) = (k + gaps.0, n + gaps.1);
        let lhs_len = if m == 0 { 0 } else { (m - 1) * lhs_stride + k };
        let out_len = if m == 0 { 0 } else { (m - 1) * out_stride + n };
        let lhs = Guarded::new(&random.floats(lhs_len));
        let (weights, bias) = (random.floats(n * k), random.floats(n));
        let clamp = if random.integer(0, 1) == 0 { (-0.5, 1.0) } else { (f32::MIN, f32::MAX) };
        let run = |kernels: &dyn Kernels, out: &mut [f32]| {
            let weights = PackedF32::pack(&weights, &bias, n, k, kernels.tile_f32());
            let job = GemmF32 { m, lhs: &lhs, lhs_stride, weights: &weights, clamp, out_stride };
            kernels.gemm_f32(&job, out);
        };
        let mut expected = vec![-7.0; out_len];
        run(&Reference, &mut expected);
        for kernels in levels() {
            let mut out = Guarded::new(&vec![-7.0; out_len]);
            run(&*kernels, &mut out);
            let what = format!("{} {m}x{n}x{k} gaps {gaps:?}", kernels.isa());
            // Products are at most 1: the sums differ by at most the rounding of k + 1 additions of at most k.
            let tolerance = 2e-6 * (k as f32).max(1.0);
            failures.extend(compare_f32(&out, &expected, tolerance, &what));
        }
    }
    report(&failures);
}

/// Rows that are windows of one, an element apart, as first layers of one channel read them.
#[test]
fn float_gemm_of_windows_is_close_to_the_reference() {
    let mut random = Random::new(4);
    let mut failures = Vec::new();
    for m in [1, 2, 5, 6, 7, 12, 13, 18] {
        for n in [1, 4, 5, 8, 11, 16, 20] {
            for k in [1, 3, 4, 5, 8, 9, 25] {
                let lhs = Guarded::new(&random.floats(m - 1 + k));
                let (weights, bias) = (random.floats(n * k), random.floats(n));
                let run = |kernels: &dyn Kernels, out: &mut [f32]| {
                    let weights = PackedF32::pack(&weights, &bias, n, k, kernels.tile_f32());
                    let (clamp, lhs_stride) = ((-0.5, f32::INFINITY), 1);
                    let job = GemmF32 {
                        m,
                        lhs: &lhs,
                        lhs_stride,
                        weights: &weights,
                        clamp,
                        out_stride: n,
                    };
                    kernels.gemm_f32(&job, out);
                };
                let mut expected = vec![-7.0; m * n];
                run(&Reference, &mut expected);
                for kernels in levels() {
                    let mut out = Guarded::new(&vec![-7.0; m * n]);
                    run(&*kernels, &mut out);
                    let what = format!("{} windows {m}x{n}x{k}", kernels.isa());
                    failures.extend(compare_f32(&out, &expected, 2e-6 * k as f32, &what));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn not_a_number_and_infinity_pass_through_float_gemm() {
    let (m, n, k) = (9, 6, 7);
    let mut random = Random::new(2);
    let (mut lhs, weights) = (random.floats(m * k), random.floats(n * k));
    lhs[3] = f32::NAN;
    lhs[2 * k + 6] = f32::INFINITY;
    lhs[8 * k] = f32::NEG_INFINITY;
    let run = |kernels: &dyn Kernels| {
        let weights = PackedF32::pack(&weights, &[], n, k, kernels.tile_f32());
        let clamp = (-2.0, f32::INFINITY);
        let job = GemmF32 { m, lhs: &lhs, lhs_stride: k, weights: &weights, clamp, out_stride: n };
        let mut out = vec![0.0; m * n];
        kernels.gemm_f32(&job, &mut out);
        out
    };
    let expected = run(&Reference);
    assert!(expected[0].is_nan() && expected.contains(&f32::INFINITY) && expected.contains(&-2.0));
    for kernels in levels() {
        report(&compare_f32(&run(&*kernels), &expected, 1e-5, kernels.isa()));
    }
}

#[test]
fn integer_gemm_equals_the_reference() {
    let mut random = Random::new(3);
    let mut failures = Vec::new();
    for (index, Case { m, n, k, gaps }) in cases().into_iter().enumerate() {
        let (lhs_stride, out_stride) = (k + gaps.0, n + gaps.1);
        let lhs_len = if m == 0 { 0 } else { (m - 1) * lhs_stride + k };
        let out_len = if m == 0 { 0 } else { (m - 1) * out_stride + n };
        let limit = [127, 63, 31, 7, 1][index % 5];
        let lhs = Guarded::new(&random.bytes(lhs_len));
        let weights = random.weights(n * k, limit);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-5000, 5000)).collect();
        let zero_point = random.bytes(1)[0];
        let largest = 200.0 * f64::from(limit) * (k as f64).sqrt() + 1000.0;
        let requants = [requant(&mut random, largest, 1), requant(&mut random, largest, n)];
        failures.extend(check_q8(
            &Problem { m, n, k, lhs: &lhs, lhs_stride, weights: &weights, bias: &bias, zero_point },
            (out_len, out_stride),
            &requants,
        ));
    }
    report(&failures);
}

/// The largest products in every lane: sums of 16 bits that are one product too long wrap.
#[test]
fn extreme_levels_and_weights_do_not_saturate() {
    let mut failures = Vec::new();
    for limit in [1_i8, 31, 32, 63, 64, 127, -128] {
        for k in [2, 16, 32, 64, 65, 200, 1000] {
            for (m, n) in [(1, 17), (9, 9)] {
                for level in [0_u8, 255] {
                    for sign in [-1_i8, 1] {
                        let lhs = Guarded::new(&vec![level; m * k]);
                        let weights = vec![limit.wrapping_mul(sign); n * k];
                        failures.extend(check_q8(
                            &Problem {
                                m,
                                n,
                                k,
                                lhs: &lhs,
                                lhs_stride: k,
                                weights: &weights,
                                bias: &[],
                                zero_point: 0,
                            },
                            (m * n, n),
                            &[],
                        ));
                    }
                }
            }
        }
    }
    report(&failures);
}

/// Shifts on both sides of 31, sums at the ends of i32, ties, and every clamp.
#[test]
fn output_stage_is_the_rule_for_all_shifts() {
    let sums = [
        i32::MIN,
        i32::MIN + 1,
        -1_000_000_007,
        -65_537,
        -256,
        -129,
        -3,
        -2,
        -1,
        0,
        1,
        2,
        3,
        5,
        127,
        128,
        255,
        32_768,
        1 << 20,
        1_000_000_007,
        i32::MAX,
    ];
    let n = sums.len();
    let mut failures = Vec::new();
    for shift in 1..=62 {
        for multiplier in [0, 1, 3, 1 << 15, 1 << 30, 0x5555_5555, i32::MAX] {
            for (zero_point, min, max) in [(0, 0, 255), (255, 0, 255), (128, 128, 200), (3, 0, 0)] {
                let multipliers = vec![multiplier; n];
                let requant = Requant { multipliers, shift, zero_point, min, max };
                failures.extend(check_q8(
                    &Problem {
                        m: 2,
                        n,
                        k: 1,
                        lhs: &[0, 0],
                        lhs_stride: 1,
                        weights: &vec![0; n],
                        bias: &sums,
                        zero_point: 0,
                    },
                    (2 * n, n),
                    &[requant],
                ));
            }
        }
    }
    report(&failures);
}

#[test]
fn output_stage_by_hand() {
    // 6 * 0.25 = 1.5 rounds to 2; -6 * 0.25 = -1.5 rounds to -1; zero point 10.
    let requant = Requant::new(&[0.25], Quant { scale: 1.0, zero_point: 10 }, (0, 255)).unwrap();
    for kernels in levels() {
        let weights = PackedQ8::pack(&[2, -2], &[], 0, 2, 1, kernels.tile_q8());
        let job = GemmQ8 { m: 1, lhs: &[3], lhs_stride: 1, weights: &weights, out_stride: 2 };
        let mut out = [0; 2];
        kernels.gemm_q8(&job, embdl_core::kernels::OutQ8::U8(&requant, &mut out));
        assert_eq!(out, [12, 9], "{}", kernels.isa());
    }
}

struct Problem<'a> {
    m: usize,
    n: usize,
    k: usize,
    lhs: &'a [u8],
    lhs_stride: usize,
    weights: &'a [i8],
    bias: &'a [i32],
    zero_point: u8,
}

fn check_q8(p: &Problem<'_>, out: (usize, usize), requants: &[Requant]) -> Vec<String> {
    let &Problem { m, n, k, lhs, lhs_stride, weights, bias, zero_point } = p;
    let pack =
        |kernels: &dyn Kernels| PackedQ8::pack(weights, bias, zero_point, n, k, kernels.tile_q8());
    let reference = pack(&Reference);
    let mut failures = Vec::new();
    for kernels in levels() {
        let packed = pack(&*kernels);
        let job = |weights| GemmQ8 { m, lhs, lhs_stride, weights, out_stride: out.1 };
        let what = format!("{} {m}x{n}x{k} max {}", kernels.isa(), packed.max_abs);
        failures.extend(compare_q8(
            out.0,
            requants,
            &what,
            |out| kernels.gemm_q8(&job(&packed), out),
            |out| Reference.gemm_q8(&job(&reference), out),
        ));
    }
    failures
}
