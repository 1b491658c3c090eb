//! Integer convolutions in the levels' own ways, against plain loops.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::thread;

use embdl_core::kernels::{ConvProblem, ConvWeights, OneThread, Parallel, WindowGeometry};
use embdl_testkit::{Guarded, Random};

use crate::{check_q8, levels, requants};

/// What a case computes: input, kernel, stride, pads (top, left, bottom, right), output channels, groups.
type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 4], usize, usize);

const CASES: [Case; 28] = [
    ([3, 3, 16], [3; 2], [1; 2], [0; 4], 16, 1),
    ([1, 1, 17], [3; 2], [1; 2], [1; 4], 16, 1),
    ([4, 4, 32], [3; 2], [1; 2], [1; 4], 33, 1),
    ([6, 7, 20], [3; 2], [1; 2], [1; 4], 40, 1),
    ([8, 8, 64], [3; 2], [1; 2], [1, 0, 0, 1], 16, 1),
    ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
    ([12, 5, 18], [3; 2], [1; 2], [2, 3, 1, 0], 19, 1),
    ([30, 29, 16], [3; 2], [1; 2], [1; 4], 24, 1),
    ([5, 64, 33], [3; 2], [1; 2], [1; 4], 31, 1),
    ([70, 30, 70], [3; 2], [1; 2], [1; 4], 9, 1),
    ([28, 28, 1], [5; 2], [1; 2], [0; 4], 20, 1),
    ([12, 12, 20], [5; 2], [1; 2], [0; 4], 50, 1),
    ([11, 9, 24], [5; 2], [1; 2], [2; 4], 34, 2),
    ([9, 10, 4], [7; 2], [1; 2], [3; 4], 8, 1),
    ([9, 10, 12], [3, 4], [1; 2], [0, 1, 1, 0], 3, 3),
    ([31, 33, 3], [3; 2], [2; 2], [1; 4], 32, 1),
    ([19, 17, 3], [3; 2], [2; 2], [1; 4], 70, 1),
    ([35, 29, 3], [11; 2], [4; 2], [0, 2, 1, 2], 37, 1),
    ([9, 40, 2], [2, 5], [3, 1], [1, 4, 0, 6], 9, 1),
    ([3, 2, 5], [5; 2], [1; 2], [4; 4], 3, 1),
    ([17, 6, 4], [3, 1], [1, 2], [0, 0, 5, 0], 8, 1),
    ([20, 20, 12], [1; 2], [2; 2], [0; 4], 16, 1),
    ([64, 64, 8], [3; 2], [2; 2], [1, 1, 0, 0], 50, 1),
    ([7, 70, 40], [4, 3], [1; 2], [1; 4], 65, 1),
    ([5, 7, 33], [1; 2], [1; 2], [0; 4], 31, 1),
    ([9, 3, 24], [1; 2], [1; 2], [0; 4], 18, 3),
    ([13, 1, 64], [1; 2], [1; 2], [0; 4], 32, 1),
    ([1, 1, 6], [1; 2], [1; 2], [0; 4], 5, 1),
];

fn problem((input, kernel, stride, pads, n, groups): Case, dilation: [usize; 2]) -> ConvProblem {
    let [top, left, bottom, right] = pads;
    let span = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
    let geometry = WindowGeometry {
        input,
        output: [
            (input[0] + top + bottom - span[0]) / stride[0] + 1,
            (input[1] + left + right - span[1]) / stride[1] + 1,
        ],
        kernel,
        stride,
        dilation,
        pad_before: [top, left],
        pad_after: [bottom, right],
    };
    ConvProblem { geometry, groups, n, out_stride: n + n % 3, density: 1.0, threads: 1 }
}

fn problems() -> impl Iterator<Item = ConvProblem> {
    let apart = ([13, 9, 5], [3; 2], [1; 2], [2, 1, 2, 1], 12, 1);
    let apart = [[2, 1], [1, 2], [2, 2]].map(|dilation| problem(apart, dilation));
    CASES.into_iter().map(|case| problem(case, [1, 1])).chain(apart)
}

#[test]
fn every_way_gives_the_reference_s_integers() {
    let mut random = Random::new(31);
    let mut names = BTreeSet::new();
    for (seed, problem) in problems().enumerate() {
        let ConvProblem { geometry, n, .. } = problem;
        let zero_point = [0, 128, 255, 7][seed % 4];
        // The limits of the ways to sum products; then everything at its extremes.
        for (limit, is_extreme) in [(32, false), (64, false), (127, false), (127, true)] {
            let weights: Vec<i8> = if is_extreme {
                // As many negative as positive weights, so that sums of many stay in the range of Winograd.
                random
                    .weights(n * problem.k(), 1)
                    .iter()
                    .map(|&w| [-128, 127, 127][usize::from(w > 0)])
                    .collect()
            } else {
                random.weights(n * problem.k(), limit)
            };
            let data = if is_extreme {
                random
                    .bytes(geometry.input_len())
                    .iter()
                    .map(|&x| if x > 99 { 255 } else { 0 })
                    .collect()
            } else {
                random.bytes(geometry.input_len())
            };
            let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
            let of = ConvWeights { weights: &weights, bias: &bias };
            let sums = by_loops(&problem, &data, of, zero_point);
            let requants = requants(n, &mut random);
            let some = if is_extreme { &requants[..1] } else { &requants[..] };
            for (kernels, way) in levels().iter().flat_map(|kernels| {
                kernels.conv_q8_ways(&problem).into_iter().map(move |way| (kernels, way))
            }) {
                names.insert(way.name);
                let case = format!("{} {geometry:?} to {n}, weights to {limit}", way.name);
                let Some(packed) = kernels.conv_q8(way.name, &problem, of, zero_point) else {
                    // Small weights of pixels are left to GEMM.
                    assert!(problem.is_pointwise() && limit <= 64, "{case}");
                    continue;
                };
                assert!(packed.weight_bytes() <= way.weight_bytes, "{case}");
                check(&case, &problem, &data, &sums, some, way.scratch_bytes, &*packed);
            }
        }
    }
    assert!(names.len() >= 2, "only {names:?} were offered");
}

#[test]
fn weights_beyond_the_range_of_winograd_are_refused_there_and_computed_else() {
    // 255 * 127 * 1100 is above 2^25.
    let problem = problem(([5, 5, 256], [3; 2], [1; 2], [1; 4], 9, 1), [1, 1]);
    let mut random = Random::new(32);
    for w in [127, -128] {
        let weights = vec![w; 9 * problem.k()];
        let of = ConvWeights { weights: &weights, bias: &[] };
        let data = vec![255; problem.geometry.input_len()];
        let sums = by_loops(&problem, &data, of, 3);
        for kernels in levels() {
            for way in kernels.conv_q8_ways(&problem) {
                let packed = kernels.conv_q8(way.name, &problem, of, 3);
                assert_eq!(packed.is_none(), way.name.starts_with("winograd"), "{}", way.name);
                let Some(packed) = packed else { continue };
                assert!(packed.weight_bytes() <= way.weight_bytes, "{}", way.name);
                let requants = requants(9, &mut random);
                check(way.name, &problem, &data, &sums, &requants, way.scratch_bytes, &*packed);
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
        ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
        ([30, 21, 20], [5; 2], [1; 2], [2; 4], 70, 1),
        ([1, 9, 3], [3; 2], [2; 2], [1; 4], 33, 1),
        ([19, 5, 24], [1; 2], [1; 2], [0; 4], 18, 1),
    ] {
        let problem = ConvProblem { threads: 3, ..problem(case, [1, 1]) };
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
                let results = embdl_core::kernels::OutQ8::I32(&mut out);
                packed.run(&Threads(3), &data, results, &mut scratch);
                for (pixel, sums) in sums.chunks_exact(n).enumerate() {
                    assert_eq!(&out[pixel * out_stride..][..n], sums, "{} {pixel}", way.name);
                }
            }
        }
    }
}

fn check(
    case: &str,
    problem: &ConvProblem,
    data: &[u8],
    sums: &[i32],
    requants: &[embdl_core::quant::Requant],
    scratch_bytes: usize,
    packed: &dyn embdl_core::kernels::ConvQ8,
) {
    let ConvProblem { geometry, n, out_stride, .. } = *problem;
    let guarded = Guarded::new(data);
    let pixels = geometry.output[0] * geometry.output[1];
    let filled = vec![0x5a; scratch_bytes];
    check_q8(
        case,
        (pixels - 1) * out_stride + n,
        requants,
        &|out| {
            let mut scratch = Guarded::new(&filled);
            packed.run(&OneThread, &guarded, out, &mut scratch);
        },
        &|mut out| {
            for (pixel, sums) in sums.chunks_exact(n).enumerate() {
                out.store(pixel * out_stride, 0, sums);
            }
        },
    );
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
            geometry.for_each_tap(
                [at / geometry.output[1], at % geometry.output[1]],
                |pixel, tap| {
                    let xs = &input[pixel * geometry.input[2] + first..][..depth];
                    let ws = &of.weights[channel * problem.k() + tap * depth..][..depth];
                    for (&x, &w) in xs.iter().zip(ws) {
                        sum += (i32::from(x) - i32::from(zero_point)) * i32::from(w);
                    }
                },
            );
            out.push(sum);
        }
    }
    out
}
