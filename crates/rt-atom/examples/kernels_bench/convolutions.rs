//! Float convolutions of the zoo: im2col and GEMM beside the ways that a level offers.

use core::hint::black_box;

use embdl_core::kernels::im2col::im2col;
use embdl_core::kernels::{
    ConvProblem, ConvWeights, GemmF32, Kernels, OneThread, PackedF32, WindowGeometry,
};
use embdl_testkit::Random;

use crate::bench::Report;

/// What it is, input height and width, input channels, output channels, kernel, stride, groups.
const LAYERS: &[(&str, [usize; 6])] = &[
    ("conv vgg 1.1", [224, 3, 64, 3, 1, 1]),
    ("conv vgg 1.2", [224, 64, 64, 3, 1, 1]),
    ("conv vgg 2.1", [112, 64, 128, 3, 1, 1]),
    ("conv vgg 2.2", [112, 128, 128, 3, 1, 1]),
    ("conv vgg 3.2", [56, 256, 256, 3, 1, 1]),
    ("conv vgg 4.1", [28, 256, 512, 3, 1, 1]),
    ("conv vgg 4.2", [28, 512, 512, 3, 1, 1]),
    ("conv vgg 5.1", [14, 512, 512, 3, 1, 1]),
    ("conv alexnet 1", [227, 3, 96, 11, 4, 1]),
    ("conv alexnet 2", [27, 96, 256, 5, 1, 2]),
    ("conv alexnet 3", [13, 256, 384, 3, 1, 1]),
    ("conv alexnet 4", [13, 384, 384, 3, 1, 2]),
    ("conv squeezenet 1", [224, 3, 64, 3, 2, 1]),
    ("conv fire2 squeeze", [55, 64, 16, 1, 1, 1]),
    ("conv fire2 expand1", [55, 16, 64, 1, 1, 1]),
    ("conv fire2 expand3", [55, 16, 64, 3, 1, 1]),
    ("conv fire5 expand3", [27, 32, 128, 3, 1, 1]),
    ("conv fire9 expand3", [13, 64, 256, 3, 1, 1]),
    ("conv squeezenet 10", [13, 512, 1000, 1, 1, 1]),
    ("conv mobilenet 1", [224, 3, 32, 3, 2, 1]),
    ("conv mobilenet 2", [112, 32, 64, 1, 1, 1]),
    ("conv mobilenet 4", [56, 128, 128, 1, 1, 1]),
    ("conv mobilenet 7", [14, 512, 512, 1, 1, 1]),
    ("conv mobilenet 14", [7, 1024, 1024, 1, 1, 1]),
    ("conv 5x5 googlenet 3b", [28, 32, 96, 5, 1, 1]),
    ("conv 5x5 googlenet 4b", [14, 24, 64, 5, 1, 1]),
    ("conv 7x7", [28, 64, 64, 7, 1, 1]),
    ("conv 9x9", [14, 128, 128, 9, 1, 1]),
    ("conv 13x13", [28, 32, 32, 13, 1, 1]),
    ("conv 31x31", [28, 16, 16, 31, 1, 1]),
    ("conv block1 project", [112, 32, 16, 1, 1, 1]),
    ("conv block2 expand", [112, 16, 96, 1, 1, 1]),
    ("conv block2 project", [56, 96, 24, 1, 1, 1]),
    ("conv block3 expand", [56, 24, 144, 1, 1, 1]),
    ("conv block8 expand", [14, 64, 384, 1, 1, 1]),
    ("conv block17 project", [7, 960, 320, 1, 1, 1]),
];

/// Times each layer in each way.
pub(crate) fn run(kernels: &dyn Kernels, report: Report<'_>) {
    let mut random = Random::new(6);
    for &(name, [size, ci, n, kernel, stride, groups]) in LAYERS {
        let pad = if stride == 4 { 0 } else { kernel / 2 };
        let output = (size + 2 * pad - kernel) / stride + 1;
        let geometry = WindowGeometry {
            input: [size, size, ci],
            output: [output; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad_before: [pad; 2],
            pad_after: [pad; 2],
        };
        let problem = ConvProblem {
            geometry,
            groups,
            n,
            out_stride: n,
            density: 1.0,
            blocks: 1.0,
            max_abs: 127,
            threads: 1,
        };
        let (k, macs) = (problem.k(), output * output * n * problem.k());
        let input = random.floats(geometry.input_len());
        let weights = random.floats(n * k);
        let mut out = vec![0.0; output * output * n];
        let gemm = Gemm::new(kernels, problem, &weights);
        let mut rows = vec![0.0; gemm.block * k];
        report(name, "gemm", macs, &mut || {
            gemm.run(black_box(&input), black_box(&mut out), &mut rows);
        });
        for way in kernels.conv_f32_ways(&problem) {
            let weights = ConvWeights { weights: &weights, bias: &[] };
            let clamp = (0.0, f32::INFINITY);
            let Some(packed) = kernels.conv_f32(way.name, &problem, weights, clamp) else {
                continue;
            };
            let mut scratch = vec![0.0; way.scratch_bytes / 4];
            let estimate = way.cost / problem.gemm_cost();
            let label = format!("{} {estimate:.2}", &way.name[..18.min(way.name.len())]);
            report(name, &label, macs, &mut || {
                packed.run(&OneThread, black_box(&input), black_box(&mut out), &mut scratch);
            });
        }
    }
}

/// A convolution as the executor runs it without a way of the runtime.
struct Gemm<'a> {
    kernels: &'a dyn Kernels,
    problem: ConvProblem,
    groups: Vec<PackedF32>,
    block: usize,
}

impl<'a> Gemm<'a> {
    fn new(kernels: &'a dyn Kernels, problem: ConvProblem, weights: &[f32]) -> Self {
        let (k, n) = (problem.k(), problem.n / problem.groups);
        let pack = |weights| PackedF32::pack(weights, &[], n, k, kernels.tile_f32());
        let groups = weights.chunks_exact(n * k).map(pack).collect();
        let pixels = problem.geometry.output[0] * problem.geometry.output[1];
        let block =
            if problem.is_pointwise() { pixels } else { (8192 / k / 24 * 24).max(24).min(pixels) };
        Self { kernels, problem, groups, block }
    }

    fn run(&self, input: &[f32], out: &mut [f32], rows: &mut [f32]) {
        let ConvProblem { geometry, n, groups, .. } = self.problem;
        let pixels = geometry.output[0] * geometry.output[1];
        for first in (0..pixels).step_by(self.block) {
            let m = self.block.min(pixels - first);
            for (group, weights) in self.groups.iter().enumerate() {
                let depth = geometry.input[2] / groups;
                let (lhs, lhs_stride) = if self.problem.is_pointwise() {
                    (input, geometry.input[2])
                } else {
                    let channels = group * depth..(group + 1) * depth;
                    im2col(&geometry, input, 0.0, channels, first..first + m, rows);
                    (&*rows, weights.k)
                };
                let clamp = (0.0, f32::INFINITY);
                let job = GemmF32 { m, lhs, lhs_stride, weights, clamp, out_stride: n };
                self.kernels.gemm_f32(&job, &mut out[first * n + group * weights.n..]);
            }
        }
    }
}
