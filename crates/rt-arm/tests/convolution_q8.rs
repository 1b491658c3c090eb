//! Integer convolutions in the levels' own ways, against plain loops: every accumulator bit for bit.
#![cfg(target_arch = "aarch64")]

mod common;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::thread;

use common::{compare_q8, levels, report, requant};
use embdl_core::kernels::{
    ConvProblem, ConvQ8, ConvWeights, OneThread, OutQ8, Parallel, WindowGeometry,
};
use embdl_testkit::{Guarded, Random};

/// What a case computes: input, kernel, pads (top, left, bottom, right), output channels, groups.
type Case = ([usize; 3], [usize; 2], [usize; 4], usize, usize);

const CASES: [Case; 18] = [
    ([3, 3, 16], [3; 2], [0; 4], 16, 1),
    ([1, 1, 17], [3; 2], [1; 4], 16, 1),
    ([4, 4, 32], [3; 2], [1; 4], 33, 1),
    ([6, 7, 20], [3; 2], [1; 4], 40, 1),
    ([8, 8, 64], [3; 2], [1, 0, 0, 1], 16, 1),
    ([13, 13, 48], [3; 2], [1; 4], 64, 2),
    ([12, 5, 18], [3; 2], [2, 3, 1, 0], 19, 1),
    ([30, 29, 16], [3; 2], [1; 4], 24, 1),
    ([5, 64, 33], [3; 2], [1; 4], 31, 1),
    ([70, 30, 70], [3; 2], [1; 4], 9, 1),
    ([28, 28, 1], [5; 2], [0; 4], 20, 1),
    ([12, 12, 20], [5; 2], [0; 4], 50, 1),
    ([11, 9, 24], [5; 2], [2; 4], 34, 2),
    ([9, 10, 4], [7; 2], [3; 4], 8, 1),
    ([9, 10, 12], [3, 4], [0, 1, 1, 0], 3, 3),
    ([3, 2, 5], [5; 2], [4; 4], 3, 1),
    ([1, 2, 3], [3; 2], [5, 7, 4, 9], 5, 1),
    ([5, 26, 8], [3; 2], [1; 4], 4, 1),
];

fn problem((input, kernel, pads, n, groups): Case, threads: usize) -> ConvProblem {
    let [top, left, bottom, right] = pads;
    let geometry = WindowGeometry {
        input,
        output: [input[0] + top + bottom + 1 - kernel[0], input[1] + left + right + 1 - kernel[1]],
        kernel,
        stride: [1; 2],
        dilation: [1; 2],
        pad_before: [top, left],
        pad_after: [bottom, right],
    };
    ConvProblem { geometry, groups, n, out_stride: n + n % 3, density: 1.0, threads }
}

#[test]
fn every_way_gives_the_reference_s_integers() {
    let mut random = Random::new(31);
    let (mut names, mut failures) = (BTreeSet::new(), Vec::new());
    for (seed, case) in CASES.into_iter().enumerate() {
        let problem = problem(case, 1);
        let ConvProblem { geometry, n, .. } = problem;
        let zero_point = [0, 128, 255, 7][seed % 4];
        // Everything at random, then at its extremes.
        for limit in [127, 1] {
            let weights = random.weights(n * problem.k(), limit);
            let data = random.bytes(geometry.input_len());
            let (weights, data) = if limit == 127 {
                (weights, data)
            } else {
                let extreme = |&w: &i8| if w > 0 { 127 } else { -128 };
                let ends = |&x: &u8| if x > 99 { 255 } else { 0 };
                (weights.iter().map(extreme).collect(), data.iter().map(ends).collect())
            };
            let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
            let of = ConvWeights { weights: &weights, bias: &bias };
            let sums = by_loops(&problem, &data, of, zero_point);
            let requants = [
                requant(&mut random, 900_000.0, n),
                requant(&mut random, 60_000.0, 1),
                requant(&mut random, 100.0, n),
            ];
            for kernels in levels() {
                for way in kernels.conv_q8_ways(&problem) {
                    names.insert(way.name);
                    let what = format!("{} {geometry:?} to {n}, weights to {limit}", way.name);
                    let packed = kernels.conv_q8(way.name, &problem, of, zero_point);
                    let packed = packed.expect(&what);
                    assert!(packed.weight_bytes() <= way.weight_bytes, "{what}");
                    failures.extend(check(
                        &what,
                        &problem,
                        (&data, &sums),
                        &requants,
                        (way.scratch_bytes, &*packed),
                    ));
                }
            }
        }
    }
    report(&failures);
    assert!(!names.is_empty(), "no way was offered");
}

#[test]
fn accumulators_beyond_the_range_of_winograd_are_refused() {
    let problem = problem(([5, 5, 256], [3; 2], [1; 4], 9, 1), 1);
    // 255 * 127 * 1100 is above 2^25; small weights and a large bias are, too.
    for (w, bias) in [(127, 0), (-128, 0), (1, 1 << 25), (-1, i32::MIN)] {
        let weights = vec![w; 9 * problem.k()];
        let of = ConvWeights { weights: &weights, bias: &[bias; 9] };
        for kernels in levels() {
            for way in kernels.conv_q8_ways(&problem) {
                assert!(kernels.conv_q8(way.name, &problem, of, 0).is_none(), "{}", way.name);
            }
        }
    }
}

/// As many threads, started for every call.
#[derive(Debug)]
struct Threads(usize);

// SAFETY: every index is taken from the counter once, every thread has its own number, and the scope ends after them.
unsafe impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        let next = &AtomicUsize::new(0);
        thread::scope(|scope| {
            for worker in 0..self.0 {
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= tasks {
                            break;
                        }
                        task(worker, index);
                    }
                });
            }
        });
    }
}

#[test]
fn threads_share_the_work() {
    let mut random = Random::new(33);
    for case in [
        ([13, 13, 48], [3; 2], [1; 4], 64, 2),
        ([30, 21, 20], [5; 2], [2; 4], 70, 1),
        ([1, 9, 3], [3; 2], [1; 4], 33, 1),
    ] {
        let problem = problem(case, 3);
        let ConvProblem { geometry, n, out_stride, .. } = problem;
        let weights = random.weights(n * problem.k(), 127);
        let data = random.bytes(geometry.input_len());
        let of = ConvWeights { weights: &weights, bias: &[] };
        let sums = by_loops(&problem, &data, of, 9);
        for kernels in levels() {
            for way in kernels.conv_q8_ways(&problem) {
                let packed = kernels.conv_q8(way.name, &problem, of, 9).expect(way.name);
                let pixels = geometry.output[0] * geometry.output[1];
                let mut out = vec![7; (pixels - 1) * out_stride + n];
                let mut scratch = Guarded::new(&vec![0x5a; way.scratch_bytes]);
                packed.run(&Threads(3), &data, OutQ8::I32(&mut out), &mut scratch);
                for (pixel, sums) in sums.chunks_exact(n).enumerate() {
                    assert_eq!(&out[pixel * out_stride..][..n], sums, "{} {pixel}", way.name);
                }
            }
        }
    }
}

fn check(
    what: &str,
    problem: &ConvProblem,
    (data, sums): (&[u8], &[i32]),
    requants: &[embdl_core::quant::Requant],
    (scratch_bytes, packed): (usize, &dyn ConvQ8),
) -> Vec<String> {
    let ConvProblem { geometry, n, out_stride, .. } = *problem;
    let guarded = Guarded::new(data);
    let pixels = geometry.output[0] * geometry.output[1];
    compare_q8(
        (pixels - 1) * out_stride + n,
        requants,
        what,
        |out| {
            let mut scratch = Guarded::new(&vec![0x5a; scratch_bytes]);
            packed.run(&OneThread, &guarded, out, &mut scratch);
        },
        |mut out| {
            for (pixel, sums) in sums.chunks_exact(n).enumerate() {
                out.store(pixel * out_stride, 0, sums);
            }
        },
    )
}

fn by_loops(
    problem: &ConvProblem,
    input: &[u8],
    of: ConvWeights<'_, i8, i32>,
    zero_point: u8,
) -> Vec<i32> {
    let ConvProblem { geometry, groups, n, .. } = *problem;
    let depth = geometry.input[2] / groups;
    let mut out = Vec::new();
    for at in 0..geometry.output[0] * geometry.output[1] {
        for channel in 0..n {
            let first = channel / (n / groups) * depth;
            let mut sum = of.bias.get(channel).copied().unwrap_or(0);
            let pixel = [at / geometry.output[1], at % geometry.output[1]];
            geometry.for_each_tap(pixel, |pixel, tap| {
                let xs = &input[pixel * geometry.input[2] + first..][..depth];
                let ws = &of.weights[channel * problem.k() + tap * depth..][..depth];
                for (&x, &w) in xs.iter().zip(ws) {
                    sum += (i32::from(x) - i32::from(zero_point)) * i32::from(w);
                }
            });
            out.push(sum);
        }
    }
    out
}
