//! Convolutions with sparse weights, scattered and in blocks, beside ones of all weights.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "estimates of small numbers"
)]

use core::hint::black_box;
use std::sync::Arc;

use embdl_core::kernels::{
    BlockBuilder, BlocksF32, ConvProblem, ConvWeights, GemmF32, KernelKind, Kernels, OneThread,
    OutQ8, PackedF32, RowsF32, Tile, WindowGeometry,
};
use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::runtime::WeightForm;
use embdl_core::tensor::Shape;
use embdl_testkit::Random;

use crate::bench::{best, usual_requant};
use crate::forms::held;
use crate::networks::Network;

/// Input height and width, input channels, output channels, kernel: AlexNet, VGG-16, SqueezeNet, MobileNet, LeNet-5.
const CONVOLUTIONS: [[usize; 4]; 5] =
    [[13, 256, 384, 3], [28, 256, 512, 3], [27, 32, 128, 3], [14, 512, 512, 1], [12, 20, 50, 5]];

/// Prints tables for the levels, or for one of them.
pub(crate) fn run(levels: &[Arc<dyn Kernels>], only: &str) {
    for kernels in levels.iter().filter(|kernels| only.is_empty() || kernels.isa() == only) {
        CONVOLUTIONS.iter().for_each(|&case| convolutions(&**kernels, case));
    }
}

/// Prints what a convolution of 6-bit weights takes through slices and through blocks, and a session with one of all weights;
/// then the product alone of floats in blocks.
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
    let ways = [
        (KernelKind::EllQ8, Tile { nr: 1, kr: 1 }),
        (KernelKind::BlocksQ8, kernels.tile_blocks(true)),
    ];
    for (percent, (kind, block)) in
        [5, 10, 20, 30, 50].into_iter().flat_map(|percent| ways.map(|way| (percent, way)))
    {
        let density = percent as f32 / 100.0;
        let problem = ConvProblem {
            geometry,
            groups: 1,
            n,
            out_stride: n,
            density,
            blocks: density,
            max_abs: 127,
            threads: 1,
        };
        let dense_weights = random.weights(n * problem.k(), 31);
        let held = held(&mut random, [n, problem.k()], block, percent);
        let weights: Vec<i8> =
            dense_weights.into_iter().zip(held).map(|(w, is)| if is { w } else { 0 }).collect();
        let weights = ConvWeights { weights: &weights, bias: &[] };
        let name = kernels.kernel_name(kind);
        let packed = kernels.conv_q8(name, &problem, weights, 3).expect("weights as expected");
        let mut scratch = vec![0; 64 * 1024 + 16 * problem.k()];
        let took = best(&mut || {
            let out = OutQ8::U8(&requant, black_box(&mut out));
            packed.run(&OneThread, black_box(&data), out, &mut scratch);
        });
        let mut ways = kernels.conv_q8_ways(&problem);
        ways.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let is_taken = ways[0].name == name && ways[0].cost < problem.gemm_cost();
        let taken = if is_taken { "" } else { " (not taken)" };
        let form = if kind == KernelKind::EllQ8 { "slices" } else { "blocks" };
        print!(" | {percent} % {form} {:8.1}{taken}", took.as_nanos() as f32 / 1e3);
    }
    println!();
    floats(kernels, [size * size, n, kernel * kernel * depth]);
}

/// Prints what a product of floats takes with all weights and with block-sparse ones.
fn floats(kernels: &dyn Kernels, [m, n, k]: [usize; 3]) {
    let mut random = Random::new(8);
    let (lhs, dense) = (random.floats(m * k), random.floats(n * k));
    let mut out = vec![0.0; m * n];
    let clamp = (f32::NEG_INFINITY, f32::INFINITY);
    let weights = PackedF32::pack(&dense, &[], n, k, kernels.tile_f32());
    let job = GemmF32 { m, lhs: &lhs, lhs_stride: k, weights: &weights, clamp, out_stride: n };
    let took = best(&mut || kernels.gemm_f32(black_box(&job), &mut out));
    print!(
        "{:10} floats {m} x {n} x {k}: dense {:8.1} us",
        kernels.isa(),
        took.as_nanos() as f32 / 1e3
    );
    let tile = kernels.tile_blocks(false);
    for percent in [5, 10, 20, 30, 50] {
        let held = held(&mut random, [n, k], tile, percent);
        let mut rows = BlockBuilder::new([n, k], percent as f32 / 100.0, &[], tile, usize::MAX);
        (0..n * k).filter(|at| held[*at]).for_each(|at| rows.push(at, dense[at]));
        let weights: BlocksF32 = rows.finish().expect("without a limit");
        let job = RowsF32 { m, lhs: &lhs, weights: &weights, clamp };
        let took = best(&mut || kernels.blocks_f32(black_box(&job), &mut out));
        print!(" | {percent} % {:8.1}", took.as_nanos() as f32 / 1e3);
    }
    println!();
}
