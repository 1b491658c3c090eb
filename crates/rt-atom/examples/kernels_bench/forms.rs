//! Dense layers in each form that their weights can take, by size and density, beside what the level expects them to cost.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "estimates of small numbers"
)]

use core::hint::black_box;
use std::sync::Arc;

use embdl_core::kernels::{
    CodebookQ8, ConvProblem, ConvWeights, EllBuilder, GemmQ8, KernelKind, Kernels, OneThread,
    OutQ8, PackedQ8, RowsForm, RowsProblem, RowsQ8, SparseQ8, WindowGeometry,
};
use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::runtime::WeightForm;
use embdl_core::tensor::Shape;
use embdl_testkit::Random;

use crate::bench::{best, usual_requant};
use crate::networks::Network;

/// In the first and the second cache, in the third, beyond.
const SIZES: [(usize, usize); 5] =
    [(100, 300), (300, 784), (1024, 1024), (4096, 4096), (4096, 9216)];
/// Input height and width, input channels, output channels, kernel: AlexNet, VGG-16, SqueezeNet, MobileNet, LeNet-5.
const CONVOLUTIONS: [[usize; 4]; 5] =
    [[13, 256, 384, 3], [28, 256, 512, 3], [27, 32, 128, 3], [14, 512, 512, 1], [12, 20, 50, 5]];
const PERCENTS: [i32; 8] = [2, 5, 8, 10, 15, 20, 30, 50];
const VALUES: [i8; 15] = [-60, -50, -40, -30, -20, -10, -5, 3, 7, 12, 20, 30, 40, 50, 60];

/// Prints tables for the levels, or for one of them, for one row of activations and for some.
pub(crate) fn run(levels: &[Arc<dyn Kernels>], only: &str) {
    for kernels in levels.iter().filter(|kernels| only.is_empty() || kernels.isa() == only) {
        SIZES.iter().for_each(|&size| table(&**kernels, 1, size));
        SIZES[..3].iter().for_each(|&size| table(&**kernels, 16, size));
        CONVOLUTIONS.iter().for_each(|&case| convolutions(&**kernels, case));
    }
}

/// Prints microseconds, and in parentheses what was expected.
fn table(kernels: &dyn Kernels, m: usize, (n, k): (usize, usize)) {
    let mut random = Random::new(6);
    let lhs = random.bytes(m * k);
    let requant = usual_requant(n);
    let mut out = vec![0; m * n];
    for percent in PERCENTS {
        let density = percent as f32 / 100.0;
        let entries: Vec<(usize, i8)> = (0..n * k)
            .filter(|_| random.integer(1, 100) <= percent)
            .map(|at| (at, VALUES[at % 15]))
            .collect();
        let problem = RowsProblem { m, n, k, density, quantized: true, max_abs: 60 };
        let mut times = Vec::new();
        let mut time = |form, bytes: usize, run: &mut dyn FnMut(OutQ8<'_>)| {
            let took = best(&mut || run(OutQ8::U8(&requant, black_box(&mut out))));
            let cost = kernels.rows_cost(&problem, form).unwrap_or(f32::NAN);
            times.push((took.as_nanos() as f32 / 1e3, cost / 1e3, bytes as f32 / 1e6));
        };
        {
            let mut dense = vec![0; n * k];
            entries.iter().for_each(|&(at, value)| dense[at] = value);
            let weights = PackedQ8::pack(&dense, &[], 3, n, k, kernels.tile_q8());
            let job = GemmQ8 { m, lhs: &lhs, lhs_stride: k, weights: &weights, out_stride: n };
            time(RowsForm::Panels, weights.size_bytes(), &mut |out| {
                kernels.gemm_q8(black_box(&job), out);
            });
            let code =
                |w: &i8| (1_u8..).zip(VALUES).find(|(_, v)| v == w).map_or(0, |(code, _)| code);
            let codes: Vec<u8> = dense.iter().map(code).collect();
            let mut book = vec![0];
            book.extend(VALUES);
            let weights = CodebookQ8::new(&codes, &book, &[], 3, n, k);
            let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
            time(RowsForm::Codebook, weights.size_bytes(), &mut |out| {
                kernels.codebook_q8(black_box(&job), out);
            });
        }
        let weights = SparseQ8::new(n, k, entries.iter().copied(), &[], 3);
        let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
        time(RowsForm::Sparse, weights.size_bytes(), &mut |out| {
            kernels.sparse_q8(black_box(&job), out);
        });
        let size = [n, k, entries.len()];
        let mut rows = EllBuilder::new(size, &[], 3, kernels.tile_ell(density), usize::MAX);
        entries.iter().for_each(|&(at, value)| rows.push(at, value));
        let weights = rows.finish().expect("without a limit");
        let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
        time(RowsForm::Ell, weights.size_bytes(), &mut |out| {
            kernels.ell_q8(black_box(&job), out);
        });
        print!("{:10} {m:2} x {n:4} x {k:4} {percent:3} %", kernels.isa());
        for (name, (took, cost, megabytes)) in
            ["dense", "codebook", "sparse", "slices"].into_iter().zip(&times)
        {
            print!(" | {name} {took:8.2} ({cost:8.2}) us {megabytes:6.2} MB");
        }
        println!();
    }
}

/// Prints what a convolution of 6-bit weights takes through slices, and a session with one of all weights.
fn convolutions(kernels: &dyn Kernels, [size, depth, n, kernel]: [usize; 4]) {
    let mut random = Random::new(7);
    let window = Window { pads: [(kernel / 2) as u32; 4], ..Window::square(kernel as u32, 1) };
    let op = Op::Conv2d(Conv2d { window, groups: 1, activation: Activation::None });
    let mut network = Network::new(31, 100);
    let input = Shape::new(&[1, size, size, depth]).expect("a shape");
    network.push(&op, &[n, kernel, kernel, depth], input);
    let runtime = rt_atom::runtime().expect("an x86 CPU");
    let mut dense = 0.0;
    network.time(&runtime, kernels.isa(), WeightForm::Auto, &mut |_, run| {
        dense = best(run).as_nanos() as f32 / 1e3;
    });
    let geometry = WindowGeometry {
        input: [size, size, depth],
        output: [size; 2],
        kernel: [kernel; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pad_before: [kernel / 2; 2],
        pad_after: [kernel / 2; 2],
    };
    let data = random.bytes(geometry.input_len());
    let requant = usual_requant(n);
    let mut out = vec![0; size * size * n];
    print!(
        "{:10} {size}x{size}x{depth} to {n}, {kernel}x{kernel}: dense {dense:8.1} us",
        kernels.isa()
    );
    for percent in [5, 10, 20, 30] {
        let density = percent as f32 / 100.0;
        let problem = ConvProblem {
            geometry,
            groups: 1,
            n,
            out_stride: n,
            density,
            max_abs: 127,
            threads: 1,
        };
        let dense_weights = random.weights(n * problem.k(), 31);
        let weights: Vec<i8> = dense_weights
            .into_iter()
            .map(|w| if random.integer(1, 100) <= percent { w } else { 0 })
            .collect();
        let weights = ConvWeights { weights: &weights, bias: &[] };
        let name = kernels.kernel_name(KernelKind::EllQ8);
        let packed = kernels.conv_q8(name, &problem, weights, 3).expect("weights as expected");
        let mut scratch = vec![0; 64 * 1024 + 16 * problem.k()];
        let took = best(&mut || {
            let out = OutQ8::U8(&requant, black_box(&mut out));
            packed.run(&OneThread, black_box(&data), out, &mut scratch);
        });
        let is_offered = !kernels.conv_q8_ways(&problem).is_empty()
            && kernels.conv_q8_ways(&problem)[0].cost < problem.gemm_cost();
        let taken = if is_offered { "" } else { " (not taken)" };
        print!(" | {percent} % {:8.1}{taken}", took.as_nanos() as f32 / 1e3);
    }
    println!();
}
