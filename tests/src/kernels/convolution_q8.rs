//! Integer convolutions in the ways that kernels have of their own, against plain loops.

use std::collections::BTreeSet;

use embdl_core::kernels::{
    ConvProblem, ConvQ8, ConvWay, ConvWeights, Kernels, OneThread, OutQ8, Parallel,
};
use embdl_core::quant::Requant;
use embdl_testkit::{Guarded, Random};

use super::convolutions::{CASES, problem};
use super::{check_q8, requants};
use crate::report::Report;

fn problems() -> impl Iterator<Item = ConvProblem> {
    let apart = ([13, 9, 5], [3; 2], [1; 2], [2, 1, 2, 1], 12, 1);
    let apart = [[2, 1], [1, 2], [2, 2]].map(|dilation| problem(apart, dilation));
    let four_channels = ([5, 26, 8], [3; 2], [1; 2], [1; 4], 4, 1);
    CASES.into_iter().chain([four_channels]).map(|case| problem(case, [1, 1])).chain(apart)
}

/// Ways that a level of a runtime has at least; those that run plain Rust have none.
fn least_ways(kernels: &dyn Kernels) -> usize {
    match kernels.isa() {
        "scalar" | "armv7" => 0,
        _ if cfg!(target_arch = "x86_64") => 2,
        _ => 1,
    }
}

/// How the weights of a problem spread.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Evenly up to a largest one.
    Even(i8),
    /// As in a trained layer: small but for a few.
    Trained,
    /// The smallest and the largest.
    Extreme,
}

impl Spread {
    /// At the limits of the ways to sum products, and beyond.
    const ALL: [Self; 6] = [
        Self::Even(16),
        Self::Even(32),
        Self::Even(64),
        Self::Even(127),
        Self::Trained,
        Self::Extreme,
    ];

    const fn largest(self) -> u8 {
        match self {
            Self::Even(limit) => limit.unsigned_abs(),
            Self::Trained | Self::Extreme => 128,
        }
    }

    fn weights(self, random: &mut Random, len: usize) -> Vec<i8> {
        let Self::Even(limit) = self else {
            let mut weights = random.weights(len, 127);
            for w in &mut weights {
                *w = match self {
                    // Both signs, so that sums of many stay in the range of Winograd.
                    Self::Extreme => {
                        if *w > 0 {
                            127
                        } else {
                            -128
                        }
                    }
                    _ if w.unsigned_abs() > 124 => *w,
                    _ => *w / 8,
                };
            }
            return weights;
        };
        random.weights(len, limit)
    }
}

/// Every way that is offered gives the accumulators of plain loops, in the memory that it says.
pub fn convolution_q8(kernels: &dyn Kernels, report: &mut Report) {
    let mut random = Random::new(31);
    let mut names = BTreeSet::new();
    for (seed, problem) in problems().enumerate() {
        let ConvProblem { geometry, n, .. } = problem;
        let zero_point = [0, 128, 255, 7][seed % 4];
        for spread in Spread::ALL {
            let problem = ConvProblem { max_abs: spread.largest(), ..problem };
            let ways = kernels.conv_q8_ways(&problem);
            names.extend(ways.iter().map(|way| way.name));
            let weights = spread.weights(&mut random, n * problem.k());
            let mut data = random.bytes(geometry.input_len());
            if matches!(spread, Spread::Extreme) {
                data.iter_mut().for_each(|x| *x = if *x > 99 { 255 } else { 0 });
            }
            let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
            let of = ConvWeights { weights: &weights, bias: &bias };
            let case = Convolution { problem, data: &data, of, zero_point };
            let requants = requants(&mut random, n);
            let sums = if ways.is_empty() { Vec::new() } else { case.by_loops() };
            for way in &ways {
                let what = format!("{} {geometry:?} to {n}, weights {spread:?}", way.name);
                match kernels.conv_q8(way.name, &problem, of, zero_point) {
                    Some(packed) => case.check(report, &what, &sums, &requants, way, &*packed),
                    // Pixels may be left to GEMM.
                    None if problem.is_pointwise() && spread.largest() <= 64 => {}
                    None => report.fail(&what, &"is refused"),
                }
            }
        }
    }
    let enough = names.len() >= least_ways(kernels);
    report.equal(&format!("enough of the ways {names:?}"), &[enough], &[true]);
}

/// What is beyond the range of Winograd is refused there, and computed by every other way.
pub fn convolution_q8_range(kernels: &dyn Kernels, report: &mut Report) {
    let problem = problem(([5, 5, 256], [3; 2], [1; 2], [1; 4], 9, 1), [1, 1]);
    let data = vec![255; problem.geometry.input_len()];
    let mut random = Random::new(32);
    let ways = kernels.conv_q8_ways(&problem);
    report.equal(&"there are ways", &[ways.len() >= least_ways(kernels)], &[true]);
    // 255 * 127 * 1100 is above 2^25; small weights and a large bias are too, where the bias is in the sum that is divided.
    let is_divided = cfg!(target_arch = "aarch64");
    for (w, bias) in [(127, 0), (-128, 0), (1, 1 << 25), (-1, i32::MIN)] {
        let weights = vec![w; 9 * problem.k()];
        let of = ConvWeights { weights: &weights, bias: &[bias; 9] };
        let case = Convolution { problem, data: &data, of, zero_point: 3 };
        let sums = case.by_loops();
        for way in &ways {
            let packed = kernels.conv_q8(way.name, &problem, of, 3);
            let is_refused = way.name.starts_with("winograd") && (bias == 0 || is_divided);
            let what = format!("{} weights of {w}, biases of {bias}", way.name);
            report.equal(&format!("{what}, refused"), &[packed.is_none()], &[is_refused]);
            if let Some(packed) = packed {
                case.check(report, &what, &sums, &requants(&mut random, 9), way, &*packed);
            }
        }
    }
}

/// Sparse weights, scattered and in blocks, give the accumulators of plain loops in every way that is offered for them.
pub fn convolution_q8_sparse(kernels: &dyn Kernels, report: &mut Report) {
    let mut random = Random::new(34);
    let mut tried = 0;
    for (seed, problem) in problems().enumerate() {
        let ConvProblem { geometry, n, .. } = problem;
        // Pixels side by side, as such ways want them.
        let problem = ConvProblem { density: 0.1, blocks: 0.1, out_stride: n, ..problem };
        let [rows, columns] = [[16, 8], [1, 1], [4, 8]][seed % 3];
        let k = problem.k();
        let across = k.div_ceil(columns);
        let mut weights = Spread::ALL[seed % 4].weights(&mut random, n * k);
        let held: Vec<bool> =
            (0..n.div_ceil(rows) * across).map(|_| random.integer(0, 99) < 8).collect();
        for (at, w) in weights.iter_mut().enumerate() {
            if !held[at / k / rows * across + at % k / columns] {
                *w = 0;
            }
        }
        let data = random.bytes(geometry.input_len());
        let of = ConvWeights { weights: &weights, bias: &[] };
        let case = Convolution { problem, data: &data, of, zero_point: [0, 128, 9][seed % 3] };
        let requants = requants(&mut random, n);
        for way in kernels.conv_q8_ways(&problem) {
            let what = format!("{} {geometry:?} to {n}, blocks of {rows}x{columns}", way.name);
            // Scattered weights may take more room than blocks were expected to.
            if let Some(packed) = kernels.conv_q8(way.name, &problem, of, case.zero_point) {
                tried += usize::from(way.name.contains("blkw") || way.name.contains("ellw"));
                case.check(report, &what, &case.by_loops(), &requants, &way, &*packed);
            } else if !way.name.contains("ellw") && !way.name.contains("blkw") {
                report.fail(&what, &"is refused");
            }
        }
    }
    let enough = tried >= least_ways(kernels).min(1);
    report.equal(&format!("{tried} sparse ways are tried"), &[enough], &[true]);
}

/// Three threads share the work and give the same accumulators.
///
/// # Panics
/// If the system has no three threads.
pub fn convolution_q8_threads(kernels: &dyn Kernels, report: &mut Report) {
    let threads = embdl_threads::threads(3).expect("three threads");
    let mut random = Random::new(33);
    let mut tried = 0;
    for case in [
        ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
        ([30, 21, 20], [5; 2], [1; 2], [2; 4], 70, 1),
        ([1, 9, 3], [3; 2], [2; 2], [1; 4], 33, 1),
        ([1, 9, 3], [3; 2], [1; 2], [1; 4], 33, 1),
        ([19, 5, 24], [1; 2], [1; 2], [0; 4], 18, 1),
    ] {
        let problem = ConvProblem { threads: 3, ..problem(case, [1, 1]) };
        let weights = random.weights(problem.n * problem.k(), 127);
        let data = random.bytes(problem.geometry.input_len());
        let of = ConvWeights { weights: &weights, bias: &[] };
        let case = Convolution { problem, data: &data, of, zero_point: 9 };
        for way in kernels.conv_q8_ways(&problem) {
            let Some(packed) = kernels.conv_q8(way.name, &problem, of, 9) else {
                report.fail(&way.name, &"is refused");
                continue;
            };
            tried += 1;
            let run = |out: OutQ8<'_>| case.run(&*threads, &way, &*packed, out);
            check_q8(report, way.name, &case.by_loops(), case.rows(), &[], run);
        }
    }
    report.equal(&"a way is tried", &[tried >= least_ways(kernels)], &[true]);
}

/// A convolution of levels.
struct Convolution<'a> {
    problem: ConvProblem,
    data: &'a [u8],
    of: ConvWeights<'a, i8, i32>,
    zero_point: u8,
}

impl Convolution<'_> {
    /// Pixels, channels, and results from one pixel to the next.
    fn rows(&self) -> [usize; 3] {
        let ConvProblem { geometry, n, out_stride, .. } = self.problem;
        [geometry.output[0] * geometry.output[1], n, out_stride]
    }

    fn run(&self, threads: &dyn Parallel, way: &ConvWay, packed: &dyn ConvQ8, out: OutQ8<'_>) {
        let data = Guarded::new(self.data);
        let mut scratch = Guarded::new(&vec![0x5a; way.scratch_bytes]);
        packed.run(threads, &data, out, &mut scratch);
    }

    fn check(
        &self,
        report: &mut Report,
        what: &str,
        sums: &[i64],
        requants: &[Requant],
        way: &ConvWay,
        packed: &dyn ConvQ8,
    ) {
        let is_within = packed.weight_bytes() <= way.weight_bytes;
        report.equal(&format!("{what}, bytes within the estimate"), &[is_within], &[true]);
        let run = |out: OutQ8<'_>| self.run(&OneThread, way, packed, out);
        check_q8(report, what, sums, self.rows(), requants, run);
    }

    /// The accumulators, pixel by pixel; they wrap around as i32 do.
    fn by_loops(&self) -> Vec<i64> {
        let ConvProblem { geometry, groups, n, .. } = self.problem;
        let depth = geometry.input[2] / groups;
        let mut out = Vec::new();
        for at in 0..geometry.output[0] * geometry.output[1] {
            let pixel = [at / geometry.output[1], at % geometry.output[1]];
            for channel in 0..n {
                let first = channel / (n / groups) * depth;
                let mut sum = self.of.bias.get(channel).copied().unwrap_or(0);
                geometry.for_each_tap(pixel, |pixel, tap| {
                    let xs = &self.data[pixel * geometry.input[2] + first..][..depth];
                    let ws = &self.of.weights[channel * self.problem.k() + tap * depth..][..depth];
                    for (&x, &w) in xs.iter().zip(ws) {
                        let x = i32::from(x) - i32::from(self.zero_point);
                        sum = sum.wrapping_add(x * i32::from(w));
                    }
                });
                out.push(i64::from(sum));
            }
        }
        out
    }
}
