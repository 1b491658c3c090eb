//! Depthwise convolutions and pooling.

use embdl_core::kernels::depthwise::{depthwise_f32, depthwise_q8};
use embdl_core::kernels::pool::{
    AverageRequant, average_pool_f32, average_pool_u8, max_pool_f32, max_pool_u8,
};
use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8, WindowGeometry};
use embdl_core::quant::{Quant, Requant};
use embdl_testkit::Random;
use rt_jetson::kernels;
use rt_jetson::params::{self, PoolF32, PoolQ8, Stage};

use super::case::Case;
use super::convolution::{Problem, word};
use super::{assert_close, assert_same};

/// Windows over channels by themselves, with their samples.
fn windows() -> Vec<(Problem, usize)> {
    let of = |input: [usize; 3], kernel, stride, dilation, pads| {
        Problem::window(input, kernel, stride, dilation, pads, input[2])
    };
    vec![
        (of([1, 1, 1], [1, 1], [1, 1], [1, 1], [0; 4]), 1),
        (of([6, 7, 8], [3, 3], [1, 1], [1, 1], [1; 4]), 2),
        (of([9, 8, 5], [3, 2], [2, 3], [1, 1], [1, 0, 2, 1]), 3),
        (of([8, 9, 12], [2, 3], [1, 2], [3, 2], [2, 3, 1, 1]), 1),
        (of([5, 5, 260], [5, 5], [1, 1], [1, 1], [0; 4]), 1),
        (ceiled(), 1),
    ]
}

/// A last window that hangs over the end, as ceil mode has it.
fn ceiled() -> Problem {
    let mut problem = Problem::window([5, 5, 3], [2, 2], [2, 2], [1, 1], [0, 0, 1, 1], 3);
    problem.geometry.pad_after = [0, 0];
    problem
}

/// Runs the reference on each sample.
fn each_sample<T: Copy + Default>(
    geometry: &WindowGeometry,
    input: &[T],
    mut run: impl FnMut(&[T], &mut [T]),
) -> Vec<T> {
    let samples = input.chunks_exact(geometry.input_len());
    let mut out = vec![T::default(); samples.len() * geometry.output_len()];
    for (sample, out) in samples.zip(out.chunks_exact_mut(geometry.output_len())) {
        run(sample, out);
    }
    out
}

fn width(channels: usize) -> u32 {
    if channels.is_multiple_of(4) { 4 } else { 1 }
}

#[test]
fn depthwise_floats() {
    for (seed, (problem, samples)) in (0..).zip(windows()) {
        let mut random = Random::new(seed);
        let geometry = problem.geometry;
        let c = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let input = random.floats(samples * geometry.input_len());
        let (weights, bias) = (random.floats(taps * c), random.floats(c));
        let clamp = (-0.7, 6.0);
        let expected = each_sample(&geometry, &input, |input, out| {
            let job = DepthwiseF32 { geometry, input, weights: &weights, bias: &bias, clamp };
            depthwise_f32(&job, out);
        });
        let mut case = Case::default();
        let params = params::DepthwiseF32 {
            input: case.put(&input),
            weights: case.put(&weights),
            bias: case.put(&bias),
            out: case.room::<f32>(expected.len()),
            window: problem.window_params(),
            count: word(expected.len()),
            width: width(c),
            low: clamp.0,
            high: clamp.1,
            unused: 0,
        };
        case.launch(kernels::DEPTHWISE_F32, &params);
        for outcome in case.run() {
            let what = format!("depthwise_f32 {} {problem:?}", outcome.route);
            assert_close(&what, &outcome.read(params.out), &expected, |_| 1e-5);
        }
    }
}

#[test]
fn depthwise_levels() {
    for (seed, (problem, samples)) in (0..).zip(windows()) {
        let mut random = Random::new(seed);
        let geometry = problem.geometry;
        let c = geometry.input[2];
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let input = random.bytes(samples * geometry.input_len());
        let weights = random.weights(taps * c, 127);
        let bias: Vec<i32> = (0..c).map(|_| random.integer(-2000, 2000)).collect();
        let ratios: Vec<f64> =
            (0..c).map(|_| f64::from(random.unit()).mul_add(0.01, 0.02)).collect();
        let requant =
            Requant::new(&ratios, Quant { scale: 1.0, zero_point: 100 }, (100, 255)).unwrap();
        for kind in [params::LEVELS, params::ACCUMULATORS, params::RELU_ACCUMULATORS] {
            let count = samples * geometry.output_len();
            let mut sums = vec![0; count];
            let results = sums.chunks_exact_mut(geometry.output_len());
            for (input, out) in input.chunks_exact(geometry.input_len()).zip(results) {
                let job =
                    DepthwiseQ8 { geometry, input, zero_point: 97, weights: &weights, bias: &bias };
                depthwise_q8(&job, OutQ8::I32(out));
            }
            let mut case = Case::default();
            let params = params::DepthwiseQ8 {
                input: case.put(&input),
                weights: case.put(&weights),
                bias: case.put(&bias),
                multipliers: case.put(&requant.multipliers),
                out: case.room::<u8>(count * if kind == params::LEVELS { 1 } else { 4 }),
                window: problem.window_params(),
                count: word(count),
                width: width(c),
                zero_point: 97,
                stage: Stage { kind, shift: requant.shift, zero_point: 100, min: 100, max: 255 },
                unused: 0,
            };
            case.launch(kernels::DEPTHWISE_Q8, &params);
            for outcome in case.run() {
                let what = format!("depthwise_q8 {} {problem:?}", outcome.route);
                let level = |(at, &sum): (usize, &i32)| requant.apply(sum, at % c);
                if kind == params::LEVELS {
                    let expected: Vec<u8> = sums.iter().enumerate().map(level).collect();
                    assert_same(&what, &outcome.read::<u8>(params.out), &expected);
                } else {
                    let is_relu = kind == params::RELU_ACCUMULATORS;
                    let kept = |&sum: &i32| if is_relu { sum.max(0) } else { sum };
                    let expected: Vec<i32> = sums.iter().map(kept).collect();
                    assert_same(&what, &outcome.read::<i32>(params.out), &expected);
                }
            }
        }
    }
}

#[test]
fn pools_of_floats() {
    for (seed, (problem, samples)) in (0..).zip(windows()) {
        let mut random = Random::new(seed);
        let geometry = problem.geometry;
        let mut input = random.floats(samples * geometry.input_len());
        for function in [params::POOL_MAX, params::POOL_MEAN, params::POOL_MEAN_WITH_PADS] {
            if function == params::POOL_MAX {
                input[0] = f32::NAN;
            } else {
                input[0] = 0.5;
            }
            let expected = each_sample(&geometry, &input, |input, out| match function {
                params::POOL_MAX => max_pool_f32(&geometry, input, out),
                _ => {
                    average_pool_f32(&geometry, function == params::POOL_MEAN_WITH_PADS, input, out)
                }
            });
            let mut case = Case::default();
            let params = PoolF32 {
                input: case.put(&input),
                out: case.room::<f32>(expected.len()),
                window: problem.window_params(),
                count: word(expected.len()),
                width: width(geometry.input[2]),
                function,
            };
            case.launch(kernels::POOL_F32, &params);
            let allowed = if function == params::POOL_MAX { 0.0 } else { 2e-6 };
            for outcome in case.run() {
                let what = format!("pool_f32 {function} {} {problem:?}", outcome.route);
                assert_close(&what, &outcome.read(params.out), &expected, |_| allowed);
            }
        }
    }
}

#[test]
fn pools_of_levels() {
    for (seed, (problem, samples)) in (0..).zip(windows()) {
        let mut random = Random::new(seed);
        let geometry = problem.geometry;
        let [oh, ow] = geometry.output;
        let input = random.bytes(samples * geometry.input_len());
        let table: [u8; 256] = core::array::from_fn(|_| random.bytes(1)[0]);
        let (from, to) =
            (Quant { scale: 0.5, zero_point: 90 }, Quant { scale: 0.4, zero_point: 120 });
        for (function, include_pads) in [
            (params::POOL_MAX, false),
            (params::POOL_MAX_BY_TABLE, false),
            (params::POOL_MEAN_OF_LEVELS, false),
            (params::POOL_MEAN_OF_LEVELS, true),
        ] {
            let average = AverageRequant::new(&geometry, include_pads, from, to).unwrap();
            let expected = each_sample(&geometry, &input, |input, out| {
                if function == params::POOL_MEAN_OF_LEVELS {
                    average_pool_u8(&geometry, &average, input, out);
                    return;
                }
                max_pool_u8(&geometry, input, out);
                if function == params::POOL_MAX_BY_TABLE {
                    out.iter_mut().for_each(|level| *level = table[usize::from(*level)]);
                }
            });
            let requants: Vec<i32> = (0..oh * ow)
                .flat_map(|at| {
                    let requant = average.of_position(&geometry, [at / ow, at % ow]);
                    [requant.multipliers[0], i32::try_from(requant.shift).unwrap()]
                })
                .collect();
            let mut case = Case::default();
            let params = PoolQ8 {
                input: case.put(&input),
                table: case.put(&table),
                requants: case.put(&requants),
                out: case.room::<u8>(expected.len()),
                window: problem.window_params(),
                count: word(expected.len()),
                width: width(geometry.input[2]),
                function,
                zero_point: 90,
                stage: Stage { kind: params::LEVELS, shift: 0, zero_point: 120, min: 0, max: 255 },
            };
            case.launch(kernels::POOL_Q8, &params);
            for outcome in case.run() {
                let what = format!("pool_q8 {function} {} {problem:?}", outcome.route);
                assert_same(&what, &outcome.read::<u8>(params.out), &expected);
            }
        }
    }
}
