//! Times integer convolutions of the zoo in every way that a level offers, beside im2col and GEMM, in turns.
//!
//! `cargo run --release -p rt-atom --example conv_q8_bench [-- LEVEL[,LEVEL] [FILTER [LARGEST WEIGHT]]]`. One thread; the
//! best of several repetitions, in billions of multiply-accumulates a second.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]

#[cfg(target_arch = "x86_64")]
mod shapes;

#[cfg(target_arch = "x86_64")]
mod bench {
    use core::hint::black_box;
    use core::time::Duration;
    use std::time::Instant;

    use embdl_core::kernels::im2col::im2col;
    use embdl_core::kernels::{
        ConvProblem, ConvQ8, ConvWeights, GemmQ8, Kernels, OneThread, OutQ8, PackedQ8,
        WindowGeometry,
    };
    use embdl_core::quant::{Quant, Requant};
    use embdl_testkit::Random;

    use crate::shapes::SHAPES;

    /// Bytes and rows of a block, as the executor has them.
    const BLOCK: [usize; 2] = [32 * 1024, 24];
    const ZERO_POINT: u8 = 3;

    pub(crate) fn run() {
        let mut args = std::env::args().skip(1);
        let isas = args.next().unwrap_or_default();
        let filter = args.next().unwrap_or_default();
        let limit = args.next().and_then(|limit| limit.parse().ok()).unwrap_or(127);
        let levels = rt_atom::detect::Level::available();
        for level in levels
            .iter()
            .filter(|level| isas.is_empty() || isas.split(',').any(|isa| isa == level.name()))
        {
            let kernels = rt_atom::kernels(Some(level.name())).expect("an available level");
            for shape in SHAPES.iter().filter(|shape| shape.0.contains(&filter)) {
                time_shape(&*kernels, shape, limit);
            }
        }
    }

    fn time_shape(
        kernels: &dyn Kernels,
        &(name, [h, w, ci, co], [taps, stride, pad], groups): &(
            &str,
            [usize; 4],
            [usize; 3],
            usize,
        ),
        limit: i8,
    ) {
        let extent = |size: usize| (size + 2 * pad - taps) / stride + 1;
        let geometry = WindowGeometry {
            input: [h, w, ci],
            output: [extent(h), extent(w)],
            kernel: [taps; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pad_before: [pad; 2],
            pad_after: [pad; 2],
        };
        let problem = ConvProblem {
            geometry,
            groups,
            n: co,
            out_stride: co,
            density: 1.0,
            blocks: 1.0,
            max_abs: limit.unsigned_abs(),
            threads: 1,
        };
        let mut random = Random::new(1);
        // A spread like that of trained weights: nearly normal, the largest three deviations away.
        let len = co * problem.k();
        let parts = [0, 1, 2].map(|_| random.weights(len, limit));
        let weights: Vec<i8> = (0..len)
            .map(|i| {
                let sum: i16 = parts.iter().map(|part| i16::from(part[i])).sum();
                i8::try_from(sum / 3).expect("a mean of bytes")
            })
            .collect();
        let input = random.bytes(geometry.input_len());
        let ratio = 0.1 / (problem.k() as f64).sqrt() / f64::from(limit);
        let requant = Requant::new(&vec![ratio; co], Quant { scale: 1.0, zero_point: 0 }, (0, 255))
            .expect("a usual ratio");
        let results = geometry.output[0] * geometry.output[1] * co;
        let gemm = Gemm::new(kernels, &problem, &weights);
        let ways: Vec<(&str, f32, Box<dyn ConvQ8>, usize)> = kernels
            .conv_q8_ways(&problem)
            .into_iter()
            .filter_map(|way| {
                let weights = ConvWeights { weights: &weights, bias: &[] };
                let packed = kernels.conv_q8(way.name, &problem, weights, ZERO_POINT)?;
                Some((way.name, way.cost, packed, way.scratch_bytes))
            })
            .collect();
        let mut out = vec![0; results];
        let mut expected = vec![0; results];
        let mut scratch = vec![0; gemm.scratch_bytes()];
        gemm.run(kernels, &input, &requant, &mut expected, &mut scratch);
        let mut times = vec![Duration::MAX; ways.len() + 1];
        let mut scratches: Vec<Vec<u8>> = ways.iter().map(|way| vec![0; way.3]).collect();
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 3 || start.elapsed() < Duration::from_millis(150) && rounds < 400 {
            let begin = Instant::now();
            gemm.run(kernels, black_box(&input), &requant, black_box(&mut out), &mut scratch);
            times[0] = times[0].min(begin.elapsed());
            for ((way, scratch), time) in ways.iter().zip(&mut scratches).zip(&mut times[1..]) {
                let begin = Instant::now();
                way.2.run(
                    &OneThread,
                    black_box(&input),
                    OutQ8::U8(&requant, black_box(&mut out)),
                    scratch,
                );
                *time = (*time).min(begin.elapsed());
                if rounds == 0 {
                    assert!(out == expected, "{} of {name} differs", way.0);
                }
            }
            rounds += 1;
        }
        let rate = |time: Duration| f64::from(problem.macs()) / time.as_nanos() as f64;
        print!(
            "{:11} {name:18} {:9.1} us gemm {:6.1}",
            kernels.isa(),
            times[0].as_nanos() as f64 / 1e3,
            rate(times[0])
        );
        for (way, time) in ways.iter().zip(&times[1..]) {
            let kind = way.0.split('_').next().unwrap_or_default();
            print!("  {kind} {:6.1} (cost {:.2})", rate(*time), way.1 / problem.gemm_cost());
        }
        println!();
    }

    /// The executor's way.
    struct Gemm {
        problem: ConvProblem,
        groups: Vec<PackedQ8>,
        block: usize,
    }

    impl Gemm {
        fn new(kernels: &dyn Kernels, problem: &ConvProblem, weights: &[i8]) -> Self {
            let (k, n) = (problem.k(), problem.n / problem.groups);
            let tile = kernels.tile_q8();
            let groups = weights
                .chunks_exact(k * n)
                .map(|weights| PackedQ8::pack(weights, &[], ZERO_POINT, n, k, tile))
                .collect();
            let [oh, ow] = problem.geometry.output;
            let block = (BLOCK[0] / k / BLOCK[1] * BLOCK[1]).max(BLOCK[1]).min(oh * ow);
            Self { problem: *problem, groups, block }
        }

        fn scratch_bytes(&self) -> usize {
            self.block * self.problem.k()
        }

        fn run(
            &self,
            kernels: &dyn Kernels,
            input: &[u8],
            requant: &Requant,
            out: &mut [u8],
            scratch: &mut [u8],
        ) {
            let geometry = &self.problem.geometry;
            let (k, n) = (self.problem.k(), self.problem.n);
            let pixels = geometry.output[0] * geometry.output[1];
            if self.problem.is_pointwise() && self.groups.len() == 1 {
                let weights = &self.groups[0];
                let job = GemmQ8 { m: pixels, lhs: input, lhs_stride: k, weights, out_stride: n };
                return kernels.gemm_q8(&job, OutQ8::U8(requant, out));
            }
            for first in (0..pixels).step_by(self.block) {
                let m = self.block.min(pixels - first);
                for (group, weights) in self.groups.iter().enumerate() {
                    let depth = geometry.input[2] / self.groups.len();
                    let channels = group * depth..(group + 1) * depth;
                    im2col(geometry, input, ZERO_POINT, channels, first..first + m, scratch);
                    let job = GemmQ8 { m, lhs: scratch, lhs_stride: k, weights, out_stride: n };
                    let out = &mut out[first * n + group * weights.n..];
                    kernels.gemm_q8(&job, OutQ8::U8(requant, out));
                }
            }
        }
    }
}

fn main() {
    #[cfg(target_arch = "x86_64")]
    bench::run();
}
