//! Float convolutions in the ways that kernels have of their own, against plain loops.

use std::collections::BTreeSet;

use embdl_core::kernels::{ConvProblem, ConvWay, ConvWeights, Kernels, OneThread, Parallel};
use embdl_testkit::{Guarded, Random};

use super::convolutions::{CASES, Case, problem};
use super::{HALVES, POISON_F32, clamp_f64, gemm_tolerance};
use crate::report::Report;

/// Largest error of a result by Winograd's transforms, relative to the largest result. Measured: below a quarter of it for
/// all sizes of tiles.
const WINOGRAD: f64 = 2e-5;

/// The same for Fourier transforms, whose factors are at most 1. Measured: below a fifth of it.
const FOURIER: f64 = 1e-6;

/// Large windows, for levels with Fourier transforms.
const LARGE: [Case; 9] = [
    // One tile of a Fourier transform that windows wrap around in, and just too large for that.
    ([14, 14, 16], [5; 2], [1; 2], [2; 4], 17, 1),
    ([28, 28, 18], [7; 2], [1; 2], [3; 4], 33, 1),
    ([27, 27, 32], [5; 2], [1; 2], [2; 4], 32, 2),
    // Results of one pixel, rows and columns of tiles that are short, pads larger than windows.
    ([9, 9, 20], [9; 2], [1; 2], [0; 4], 19, 1),
    ([31, 25, 16], [3, 7], [1; 2], [1, 3, 0, 2], 31, 1),
    ([2, 3, 16], [5; 2], [1; 2], [6, 7, 8, 5], 16, 1),
    ([70, 5, 16], [13, 5], [1; 2], [6, 2, 6, 2], 16, 1),
    ([14, 14, 16], [31; 2], [1; 2], [15; 4], 16, 1),
    ([45, 50, 48], [6; 2], [1; 2], [2, 3, 3, 2], 51, 3),
];

/// Every way that is offered gives the sums of plain loops, in the memory that it says.
pub fn convolution_f32(kernels: &dyn Kernels, report: &mut Report) {
    let tall = ([13, 9, 3], [3; 2], [1; 2], [2, 1, 2, 1], 12, 1);
    let large = if kinds(kernels).len() > OWN { &LARGE[..] } else { &[] };
    let problems = CASES.iter().chain(large).map(|&case| problem(case, [1, 1]));
    let mut names = BTreeSet::new();
    for (seed, problem) in problems.chain([problem(tall, [2, 1])]).enumerate() {
        let is_sparse = seed % 3 == 1;
        names.extend(check(kernels, report, problem, is_sparse, &OneThread));
    }
    let is_offered = |kind: &&str| names.iter().any(|name| name.starts_with(*kind));
    let missing: Vec<_> = kinds(kernels).iter().filter(|kind| !is_offered(kind)).collect();
    report.equal(&format!("kinds that are not among {names:?}"), &missing, &[]);
}

/// Three threads share the work and give the same sums.
///
/// # Panics
/// If the system has no three threads.
pub fn convolution_f32_threads(kernels: &dyn Kernels, report: &mut Report) {
    let threads = embdl_threads::threads(3).expect("three threads");
    let mut names = BTreeSet::new();
    for case in [
        ([13, 13, 48], [3; 2], [1; 2], [1; 4], 64, 2),
        ([30, 21, 20], [5; 2], [1; 2], [2; 4], 70, 1),
        ([1, 9, 3], [3; 2], [2; 2], [1; 4], 33, 1),
    ] {
        let problem = ConvProblem { threads: 3, ..problem(case, [1, 1]) };
        names.extend(check(kernels, report, problem, false, &*threads));
    }
    let is_own = !kinds(kernels).is_empty();
    report.equal(&"ways are offered", &[!names.is_empty()], &[is_own]);
}

/// Ways of [`kinds`] that need no Fourier transforms.
const OWN: usize = 4;

/// Ways that a level has at least for some of the problems; those that run plain Rust have none.
fn kinds(kernels: &dyn Kernels) -> &'static [&'static str] {
    const ALL: [&str; OWN + 3] = [
        "conv_f32",
        "winograd_f32_f32_4x",
        "winograd_f32_f32_6x",
        "winograd5_f32_f32_4x",
        "fft_f32_f32_16x",
        "fft_f32_f32_32x",
        "fft_f32_f32_64x",
    ];
    match kernels.isa() {
        "scalar" | "armv7" => &[],
        _ if cfg!(target_arch = "x86_64") => &ALL,
        _ => &ALL[..OWN],
    }
}

/// Names of the ways that were tried.
fn check(
    kernels: &dyn Kernels,
    report: &mut Report,
    mut problem: ConvProblem,
    is_sparse: bool,
    threads: &dyn Parallel,
) -> Vec<&'static str> {
    let (n, k) = (problem.n, problem.k());
    let mut random = Random::new(35);
    let mut weights = random.floats(n * k);
    if is_sparse {
        // Blocks of eight channels and four elements, of which one in three stays; pixels side by side.
        let is_held = |at: usize| (at / k / 8 + at % k / 4).is_multiple_of(3);
        let gone = weights.iter_mut().enumerate().filter(|(at, _)| !is_held(*at));
        gone.for_each(|(_, w)| *w = 0.0);
        problem = ConvProblem { density: 0.3, blocks: 0.5, out_stride: n, ..problem };
    }
    let ways = kernels.conv_f32_ways(&problem);
    if ways.is_empty() {
        return Vec::new();
    }
    let case = Convolution {
        problem,
        data: &random.floats(problem.geometry.input_len()),
        of: ConvWeights { weights: &weights, bias: &random.floats(n) },
        clamp: (-1.5, 2.5),
    };
    let sums = case.by_loops();
    let largest = sums.iter().fold(0.0_f64, |largest, (sum, _)| largest.max(sum.abs()));
    for way in &ways {
        case.check(
            kernels,
            report,
            way,
            threads,
            |(_, magnitude)| match way.name {
                name if name.starts_with("winograd") => WINOGRAD * largest,
                name if name.starts_with("fft") => FOURIER * largest,
                name if name.contains("f16") => gemm_tolerance(HALVES, k + 1, magnitude),
                _ => gemm_tolerance("", k + 1, magnitude),
            },
            &sums,
        );
    }
    ways.iter().map(|way| way.name).collect()
}

/// A convolution of floats.
struct Convolution<'a> {
    problem: ConvProblem,
    data: &'a [f32],
    of: ConvWeights<'a, f32, f32>,
    clamp: (f32, f32),
}

impl Convolution<'_> {
    /// Compares a way with `sums`, each of which may be off by its `tolerance`.
    fn check(
        &self,
        kernels: &dyn Kernels,
        report: &mut Report,
        way: &ConvWay,
        threads: &dyn Parallel,
        tolerance: impl Fn((f64, f64)) -> f64,
        sums: &[(f64, f64)],
    ) {
        let ConvProblem { geometry, n, out_stride, .. } = self.problem;
        let what = format!("{} {geometry:?} to {n}", way.name);
        let Some(packed) = kernels.conv_f32(way.name, &self.problem, self.of, self.clamp) else {
            report.fail(&what, &"is refused");
            return;
        };
        let is_within = packed.weight_bytes() <= way.weight_bytes;
        report.equal(&format!("{what}, bytes within the estimate"), &[is_within], &[true]);
        let pixels = geometry.output[0] * geometry.output[1];
        let data = Guarded::new(self.data);
        let mut out = Guarded::new(&vec![POISON_F32; (pixels - 1) * out_stride + n]);
        let mut scratch = Guarded::new(&vec![f32::NAN; way.scratch_bytes / 4]);
        packed.run(threads, &data, &mut out, &mut scratch);
        let (mut want, mut allowed) =
            (vec![f64::from(POISON_F32); out.len()], vec![0.0; out.len()]);
        for (at, &sum) in sums.iter().enumerate() {
            let slot = at / n * out_stride + at % n;
            want[slot] = clamp_f64(sum.0, self.clamp);
            allowed[slot] = tolerance(sum);
        }
        report.close(&what, &out, &want, &allowed);
    }

    /// Sums in double precision, pixel by pixel, and what they would be of absolute values.
    fn by_loops(&self) -> Vec<(f64, f64)> {
        let ConvProblem { geometry, groups, n, .. } = self.problem;
        let (depth, k) = (geometry.input[2] / groups, self.problem.k());
        let mut out = Vec::new();
        for at in 0..geometry.output[0] * geometry.output[1] {
            let pixel = [at / geometry.output[1], at % geometry.output[1]];
            for channel in 0..n {
                let first = channel / (n / groups) * depth;
                let bias = f64::from(self.of.bias[channel]);
                let (mut sum, mut magnitude) = (bias, bias.abs());
                geometry.for_each_tap(pixel, |pixel, tap| {
                    let xs = &self.data[pixel * geometry.input[2] + first..][..depth];
                    let ws = &self.of.weights[channel * k + tap * depth..][..depth];
                    for (&x, &w) in xs.iter().zip(ws) {
                        let product = f64::from(x) * f64::from(w);
                        sum += product;
                        magnitude += product.abs();
                    }
                });
                out.push((sum, magnitude));
            }
        }
        out
    }
}
