//! Convolutions in the levels' own ways, against plain loops.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "integers far below 2^52, as floats and back"
)]

use embdl_core::kernels::parallel::Parallel;
use embdl_core::kernels::{ConvProblem, ConvWeights, OneThread, WindowGeometry};
use embdl_testkit::{Guarded, Random};

use crate::{check_q8, levels, requants};

/// Largest error of a result, relative to the largest result, that the transforms of a way may cause. Measured: below a
/// quarter of it for both sizes of Winograd's tiles.
const TOLERANCE: f64 = 2e-5;

/// The same for Fourier transforms, whose factors are at most 1. Measured: below a fifth of it.
const FFT_TOLERANCE: f64 = 1e-6;

/// Tasks of several workers, one after the other, the last task first.
#[derive(Debug)]
struct InTurns(usize);

// SAFETY: each task is called once, none at the same time as another.
unsafe impl Parallel for InTurns {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        (0..tasks).rev().for_each(|index| task(index % self.0, index));
    }
}

/// What a case computes: input, kernel, stride, pads (top, left, bottom, right), output channels, groups.
type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 4], usize, usize);

const CASES: [Case; 30] = [
    ([3, 3, 16], [3; 2], [1; 2], [0; 4], 16, 1),
    ([1, 1, 17], [3; 2], [1; 2], [1; 4], 16, 1),
    ([4, 4, 32], [3; 2], [1; 2], [1; 4], 33, 1),
    ([6, 7, 20], [3; 2], [1; 2], [1; 4], 40, 1),
    ([8, 8, 64], [3; 2], [1; 2], [1, 0, 0, 1], 16, 1),
    ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
    ([12, 5, 18], [3; 2], [1; 2], [2, 3, 1, 0], 19, 1),
    ([30, 29, 16], [3; 2], [1; 2], [1; 4], 24, 1),
    ([5, 64, 33], [3; 2], [1; 2], [1; 4], 31, 1),
    ([28, 28, 1], [5; 2], [1; 2], [0; 4], 20, 1),
    ([31, 33, 3], [3; 2], [2; 2], [1; 4], 32, 1),
    ([35, 29, 3], [11; 2], [4; 2], [0, 2, 1, 2], 37, 1),
    ([9, 40, 2], [2, 5], [3, 1], [1, 4, 0, 6], 9, 1),
    ([3, 2, 5], [5; 2], [1; 2], [4; 4], 3, 1),
    ([17, 6, 4], [3, 1], [1, 2], [0, 0, 5, 0], 8, 1),
    ([20, 20, 12], [1; 2], [2; 2], [0; 4], 16, 1),
    ([64, 64, 8], [3; 2], [2; 2], [1, 1, 0, 0], 50, 1),
    ([7, 70, 40], [4, 3], [1; 2], [1; 4], 65, 1),
    // One tile that windows wrap around in, and just too large for that.
    ([14, 14, 16], [5; 2], [1; 2], [2; 4], 17, 1),
    ([15, 14, 17], [5; 2], [1; 2], [2; 4], 16, 1),
    ([28, 28, 18], [7; 2], [1; 2], [3; 4], 33, 1),
    ([27, 27, 32], [5; 2], [1; 2], [2; 4], 32, 2),
    // Results of one pixel, rows and columns of tiles that are short, pads larger than windows.
    ([9, 9, 20], [9; 2], [1; 2], [0; 4], 19, 1),
    ([31, 25, 16], [3, 7], [1; 2], [1, 3, 0, 2], 31, 1),
    ([33, 18, 19], [11, 4], [1; 2], [5, 0, 5, 3], 16, 1),
    ([2, 3, 16], [5; 2], [1; 2], [6, 7, 8, 5], 16, 1),
    ([70, 5, 16], [13, 5], [1; 2], [6, 2, 6, 2], 16, 1),
    ([14, 14, 16], [31; 2], [1; 2], [15; 4], 16, 1),
    ([70, 6, 17], [31, 4], [1; 2], [15, 1, 15, 2], 18, 1),
    ([45, 50, 48], [6; 2], [1; 2], [2, 3, 3, 2], 51, 3),
];

fn problem((input, kernel, stride, pads, n, groups): Case, dilation: usize) -> ConvProblem {
    let [top, left, bottom, right] = pads;
    let span = [(kernel[0] - 1) * dilation + 1, kernel[1]];
    let geometry = WindowGeometry {
        input,
        output: [
            (input[0] + top + bottom - span[0]) / stride[0] + 1,
            (input[1] + left + right - span[1]) / stride[1] + 1,
        ],
        kernel,
        stride,
        dilation: [dilation, 1],
        pad_before: [top, left],
        pad_after: [bottom, right],
    };
    ConvProblem {
        geometry,
        groups,
        n,
        out_stride: n + n % 3,
        density: 1.0,
        blocks: 1.0,
        max_abs: 127,
        threads: 1,
    }
}

#[test]
fn every_way_gives_the_sums_of_products() {
    let mut random = Random::new(21);
    let mut names = std::collections::BTreeSet::new();
    let tall = ([13, 9, 3], [3; 2], [1; 2], [2, 1, 2, 1], 12, 1);
    let problems = CASES.into_iter().map(|case| problem(case, 1)).chain([problem(tall, 2)]);
    for (index, problem) in problems.enumerate() {
        let workers: &dyn Parallel = if index % 2 == 0 { &OneThread } else { &InTurns(3) };
        let problem = ConvProblem { threads: workers.threads(), ..problem };
        let ConvProblem { geometry, n, .. } = problem;
        let mut weights = random.floats(n * problem.k());
        let problem = if index % 3 == 1 {
            // Blocks of eight channels and four elements, of which one in three stays.
            let k = problem.k();
            let is_held = |at: usize| (at / k / 8 + at % k / 4).is_multiple_of(3);
            weights
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| !is_held(*at))
                .for_each(|(_, w)| *w = 0.0);
            ConvProblem { density: 0.3, blocks: 0.5, out_stride: n, ..problem }
        } else {
            problem
        };
        let out_stride = problem.out_stride;
        let bias = random.floats(n);
        let data = random.floats(geometry.input_len());
        let (low, high) = (-1.5, 2.5);
        let expected = by_loops(&problem, &data, &weights, &bias);
        let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        for (kernels, way) in levels().iter().flat_map(|kernels| {
            kernels.conv_f32_ways(&problem).into_iter().map(move |way| (kernels, way))
        }) {
            names.insert(way.name);
            let tolerance = if way.name.starts_with("fft") { FFT_TOLERANCE } else { TOLERANCE };
            let case = format!("{} {geometry:?} to {n}", way.name);
            let of = ConvWeights { weights: &weights, bias: &bias };
            let packed = kernels.conv_f32(way.name, &problem, of, (low, high)).expect(&case);
            assert!(packed.weight_bytes() <= way.weight_bytes, "{case}");
            let guarded = Guarded::new(&data);
            let pixels = geometry.output[0] * geometry.output[1];
            let len = (pixels - 1) * out_stride + n;
            let mut out = Guarded::new(&vec![7.0; len]);
            let mut scratch = Guarded::new(&vec![f32::NAN; way.scratch_bytes / 4]);
            packed.run(workers, &guarded, &mut out, &mut scratch);
            for (at, &found) in out.iter().enumerate() {
                let [pixel, channel] = [at / out_stride, at % out_stride];
                if channel >= n {
                    assert!(found == 7.0, "{case}: beyond the channels of pixel {pixel}");
                    continue;
                }
                let want = expected[pixel * n + channel].clamp(low.into(), high.into());
                let error = (f64::from(found) - want).abs() / largest;
                assert!(error <= tolerance, "{case} at {pixel}, {channel}: {found}, {want}");
            }
        }
    }
    for kind in [
        "conv",
        "winograd_f32_f32_4x",
        "winograd_f32_f32_6x",
        "fft_f32_f32_16x",
        "fft_f32_f32_32x",
        "fft_f32_f32_64x",
    ] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind} is not among {names:?}");
    }
}

#[test]
fn other_convolutions_are_left_to_gemm() {
    for kernels in levels() {
        let mut problem = problem(([8, 8, 64], [3; 2], [1; 2], [1; 4], 64, 1), 1);
        problem.geometry.dilation = [1, 2];
        assert_eq!(kernels.conv_f32_ways(&problem), []);
    }
}

#[test]
fn sparse_integer_convolutions_are_exact() {
    let mut random = Random::new(22);
    let mut offered = 0;
    let pointwise = ([9, 11, 40], [1; 2], [1; 2], [0; 4], 33, 1);
    let last = ([30, 3, 2], [3; 2], [1; 2], [1; 4], 1, 1);
    for (case, density) in
        CASES.into_iter().chain([pointwise, last]).zip([0.02, 0.1, 0.25].into_iter().cycle())
    {
        let mut problem = problem(case, 1);
        problem.out_stride = problem.n;
        problem.density = density;
        let ConvProblem { geometry, n, .. } = problem;
        let weights: Vec<i8> = random
            .weights(n * problem.k(), 127)
            .into_iter()
            .map(|w| if random.unit() < density { w } else { 0 })
            .collect();
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
        let data = random.bytes(geometry.input_len());
        let floats = |values: &mut dyn Iterator<Item = f32>| values.collect::<Vec<_>>();
        let expected = by_loops(
            &problem,
            &floats(&mut data.iter().map(|&x| f32::from(x) - 7.0)),
            &floats(&mut weights.iter().map(|&w| f32::from(w))),
            &floats(&mut bias.iter().map(|&b| b as f32)),
        );
        for kernels in levels() {
            for way in kernels.conv_q8_ways(&problem) {
                offered += 1;
                let case = format!("{} {geometry:?} to {n}", way.name);
                let of = ConvWeights { weights: &weights, bias: &bias };
                let Some(packed) = kernels.conv_q8(way.name, &problem, of, 7) else {
                    continue;
                };
                let (held, promised) = (packed.weight_bytes(), way.weight_bytes);
                assert!(held <= promised, "{case} at {density}: {held} of {promised} bytes");
                let guarded = Guarded::new(&data);
                check_q8(
                    &case,
                    expected.len(),
                    &requants(n, &mut random),
                    &|out| {
                        let mut scratch = Guarded::new(&vec![0xa5; way.scratch_bytes]);
                        packed.run(&OneThread, &guarded, out, &mut scratch);
                    },
                    &|mut out| {
                        for (at, &sum) in expected.iter().enumerate() {
                            out.store(at, at % n, &[sum as i32]);
                        }
                    },
                );
            }
        }
    }
    assert!(offered > 0, "no level offers sparse convolutions");
}

fn by_loops(problem: &ConvProblem, input: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f64> {
    let ConvProblem { geometry, groups, n, .. } = *problem;
    let depth = geometry.input[2] / groups;
    let mut out = Vec::new();
    for at in 0..geometry.output[0] * geometry.output[1] {
        for channel in 0..n {
            let first = channel / (n / groups) * depth;
            let mut sum = f64::from(bias[channel]);
            geometry.for_each_tap(
                [at / geometry.output[1], at % geometry.output[1]],
                |pixel, tap| {
                    for c in 0..depth {
                        let x = input[pixel * geometry.input[2] + first + c];
                        let w = weights[channel * problem.k() + tap * depth + c];
                        sum += f64::from(x) * f64::from(w);
                    }
                },
            );
            out.push(sum);
        }
    }
    out
}
