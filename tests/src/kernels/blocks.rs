//! Block-sparse rows.

use embdl_core::kernels::{BlockBuilder, Kernels, RowsF32, RowsQ8};
use embdl_testkit::{Guarded, Random};

use super::{CLAMPS, POISON_F32, check_q8, clamp_f64, dot_tolerance, requants};
use crate::pick;
use crate::report::Report;

/// `[n, k]`: around vectors of channels, blocks of columns, and what 16 bits name.
const SIZES: [[usize; 2]; 17] = [
    [1, 8],
    [1, 9],
    [2, 15],
    [3, 16],
    [4, 17],
    [5, 31],
    [7, 64],
    [8, 33],
    [9, 65],
    [15, 40],
    [16, 23],
    [17, 100],
    [31, 24],
    [32, 8],
    [33, 47],
    [70, 257],
    [2, 65_536],
];
const ROWS: [usize; 11] = [0, 1, 2, 3, 5, 6, 7, 8, 12, 13, 25];

/// Rows of activations, `[n, k]`, and positions of weights: scattered, in blocks of several sizes, none, or all of them.
fn cases(kernels: &dyn Kernels, quantized: bool) -> Vec<(Random, usize, [usize; 2], Vec<usize>)> {
    let mut cases = Vec::new();
    let sizes = ROWS.into_iter().flat_map(|m| SIZES.map(|size| (m, size)));
    for (seed, (m, [n, k])) in (1_u64..).zip(sizes) {
        if k < kernels.tile_blocks(quantized).kr || k > 1000 && m > 2 {
            continue;
        }
        let mut random = Random::new(seed);
        let [rows, columns] = pick(&[[1, 1], [4, 8], [16, 4], [2, 8], [8, 1]], seed);
        let percent = pick(&[30, 10, 0, 100, 50, 3], seed);
        let across = k.div_ceil(columns);
        let held: Vec<bool> =
            (0..n.div_ceil(rows) * across).map(|_| random.integer(0, 99) < percent).collect();
        let is_held = |at: &usize| held[at / k / rows * across + at % k / columns];
        cases.push((random, m, [n, k], (0..n * k).filter(is_held).collect()));
    }
    cases
}

/// Float blocks. Tolerance: `dot_tolerance` of the exact product.
///
/// # Panics
/// If the suite itself is wrong.
pub fn blocks_f32(kernels: &dyn Kernels, report: &mut Report) {
    let tile = kernels.tile_blocks(false);
    for (index, (mut random, m, [n, k], positions)) in cases(kernels, false).into_iter().enumerate()
    {
        let bias = random.floats(n);
        let values = random.floats(positions.len());
        let clamp = pick(&CLAMPS, index as u64);
        let mut rows = BlockBuilder::new([n, k], 0.3, &bias, tile, usize::MAX);
        positions.iter().zip(&values).for_each(|(&at, &value)| rows.push(at, value));
        let weights = rows.finish().expect("without a limit");
        let lhs = Guarded::new(&random.floats(m * k));
        let mut want: Vec<f64> =
            (0..m).flat_map(|_| bias.iter().map(|&bias| f64::from(bias))).collect();
        let mut allowed: Vec<f64> = want.iter().map(|bias| bias.abs()).collect();
        for (&at, &value) in positions.iter().zip(&values) {
            for i in 0..m {
                let product = f64::from(lhs[i * k + at % k]) * f64::from(value);
                want[i * n + at / k] += product;
                allowed[i * n + at / k] += product.abs();
            }
        }
        for (want, allowed) in want.iter_mut().zip(&mut allowed) {
            *want = clamp_f64(*want, clamp);
            *allowed = dot_tolerance(k, *allowed);
        }
        let mut got = Guarded::new(&vec![POISON_F32; m * n]);
        kernels.blocks_f32(&RowsF32 { m, lhs: &lhs, weights: &weights, clamp }, &mut got);
        let case = format!("{m}x{n}x{k}, {} weights, {tile:?}, clamp {clamp:?}", positions.len());
        report.close(&case, &got, &want, &allowed);
    }
}

/// Integer blocks; equal. Weights reach the limits of the ways to sum products, and the ends of the range.
///
/// # Panics
/// If the suite itself is wrong.
pub fn blocks_q8(kernels: &dyn Kernels, report: &mut Report) {
    let tile = kernels.tile_blocks(true);
    for (index, (mut random, m, [n, k], positions)) in cases(kernels, true).into_iter().enumerate()
    {
        let limit = pick(&[16, 32, 64, 127], index as u64);
        let is_extreme = index % 5 == 2;
        let mut values = random.weights(positions.len(), limit);
        if is_extreme {
            values.iter_mut().for_each(|w| *w = if *w < 0 { -limit } else { limit });
        }
        if let (Some(first), true) = (values.first_mut(), limit == 127) {
            *first = -128;
        }
        let zero_point = pick(&[0, 128, 255], index as u64);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-9999, 9999)).collect();
        let mut rows = BlockBuilder::new([n, k], 0.3, &bias, tile, usize::MAX);
        positions.iter().zip(&values).for_each(|(&at, &value)| rows.push(at, value));
        let weights = rows.finish(zero_point).expect("without a limit");
        let lhs: Vec<u8> = if is_extreme { vec![255; m * k] } else { random.bytes(m * k) };
        let lhs = Guarded::new(&lhs);
        let mut want: Vec<i64> =
            (0..m).flat_map(|_| bias.iter().map(|&bias| i64::from(bias))).collect();
        for (&at, &value) in positions.iter().zip(&values) {
            for i in 0..m {
                want[i * n + at / k] +=
                    (i64::from(lhs[i * k + at % k]) - i64::from(zero_point)) * i64::from(value);
            }
        }
        let case = format!(
            "{m}x{n}x{k}, {} weights to {limit}, {tile:?}, zero point {zero_point}",
            positions.len()
        );
        let every = requants(&mut random, n);
        let some = [pick(&every, index as u64)];
        check_q8(report, &case, &want, [m, n, n], &some, |out| {
            kernels.blocks_q8(&RowsQ8 { m, lhs: &lhs, weights: &weights }, out);
        });
    }
}
