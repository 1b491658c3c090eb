//! Dense layers in each form that their weights can take, by size and density, beside what the level expects them to cost.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "estimates of small numbers")]

use core::hint::black_box;
use std::sync::Arc;

use embdl_core::kernels::{
    BlockBuilder, CodebookQ8, EllBuilder, GemmQ8, Kernels, OutQ8, PackedQ8, RowsForm, RowsProblem,
    RowsQ8, SparseQ8, Tile,
};
use embdl_testkit::Random;

use crate::bench::{best, usual_requant};

/// In the first and the second cache, in the third, beyond.
const SIZES: [(usize, usize); 5] =
    [(100, 300), (300, 784), (1024, 1024), (4096, 4096), (4096, 9216)];
const PERCENTS: [i32; 8] = [2, 5, 8, 10, 15, 20, 30, 50];
const VALUES: [i8; 15] = [-60, -50, -40, -30, -20, -10, -5, 3, 7, 12, 20, 30, 40, 50, 60];

/// Prints tables for the levels, or for one of them, for one row of activations and for some.
pub(crate) fn run(levels: &[Arc<dyn Kernels>], only: &str) {
    for kernels in levels.iter().filter(|kernels| only.is_empty() || kernels.isa() == only) {
        let blocks = kernels.tile_blocks(true);
        for block in [Tile { nr: 1, kr: 1 }, blocks] {
            println!("weights in blocks of {} x {}", block.nr, block.kr);
            SIZES.iter().for_each(|&size| table(&**kernels, 1, size, block));
            SIZES[..3].iter().for_each(|&size| table(&**kernels, 16, size, block));
        }
    }
}

/// Whether each weight of `[n, k]` is in one of the blocks that stay.
pub(crate) fn held(
    random: &mut Random,
    [n, k]: [usize; 2],
    block: Tile,
    percent: i32,
) -> Vec<bool> {
    let across = k.div_ceil(block.kr);
    let blocks: Vec<bool> =
        (0..n.div_ceil(block.nr) * across).map(|_| random.integer(1, 100) <= percent).collect();
    (0..n * k).map(|at| blocks[at / k / block.nr * across + at % k / block.kr]).collect()
}

/// Prints microseconds, and in parentheses what was expected.
fn table(kernels: &dyn Kernels, m: usize, (n, k): (usize, usize), block: Tile) {
    let mut random = Random::new(6);
    let lhs = random.bytes(m * k);
    let requant = usual_requant(n);
    let mut out = vec![0; m * n];
    for percent in PERCENTS {
        let density = percent as f32 / 100.0;
        let held = held(&mut random, [n, k], block, percent);
        let entries: Vec<(usize, i8)> =
            (0..n * k).filter(|at| held[*at]).map(|at| (at, VALUES[at % 15])).collect();
        let tile = kernels.tile_blocks(true);
        // All are in use where a block holds one weight in a hundred or so.
        let blocks = if block == tile { density } else { 1.0 };
        let problem = RowsProblem { m, n, k, density, blocks, quantized: true, max_abs: 60 };
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
        let mut rows = BlockBuilder::new([n, k], blocks, &[], tile, usize::MAX);
        entries.iter().for_each(|&(at, value)| rows.push(at, value));
        let weights = rows.finish(3).expect("without a limit");
        let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
        time(RowsForm::Blocks, weights.size_bytes(), &mut |out| {
            kernels.blocks_q8(black_box(&job), out);
        });
        print!("{:10} {m:2} x {n:4} x {k:4} {percent:3} %", kernels.isa());
        for (name, (took, cost, megabytes)) in
            ["dense", "codebook", "sparse", "slices", "blocks"].into_iter().zip(&times)
        {
            print!(" | {name} {took:8.2} ({cost:8.2}) us {megabytes:6.2} MB");
        }
        println!();
    }
}
