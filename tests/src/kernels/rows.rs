//! Dense layers with sparse rows and with 4-bit indices.

use embdl_core::kernels::{CodebookQ8, EllBuilder, Kernels, RowsF32, RowsQ8, SparseF32, SparseQ8};
use embdl_testkit::{Guarded, Random};

use super::{CLAMPS, POISON_F32, check_q8, clamp_f64, dot_tolerance, requants};
use crate::pick;
use crate::report::Report;

const ROWS: [usize; 8] = [0, 1, 2, 3, 4, 5, 8, 9];
/// `[n, k]`: around vector lengths, layers of the LeNets, the widest layer that 16-bit columns can name.
const SIZES: [[usize; 2]; 18] = [
    [1, 1],
    [1, 7],
    [2, 8],
    [3, 9],
    [4, 15],
    [5, 16],
    [7, 17],
    [8, 31],
    [9, 32],
    [15, 33],
    [16, 47],
    [17, 63],
    [2, 64],
    [33, 65],
    [10, 100],
    [3, 257],
    [50, 784],
    [2, 65_536],
];

/// Sizes with the percentage of weights that are there, and a seed.
fn cases() -> impl Iterator<Item = (u64, usize, [usize; 2], i32)> {
    let sizes = ROWS.into_iter().flat_map(|m| SIZES.map(|size| (m, size)));
    (1_u64..).zip(sizes).map(|(seed, (m, size))| {
        (seed, if size[1] > 1000 { m.min(2) } else { m }, size, pick(&[8, 0, 100, 40, 2], seed))
    })
}

fn positions(random: &mut Random, len: usize, percent: i32) -> Vec<usize> {
    (0..len).filter(|_| random.integer(0, 99) < percent).collect()
}

/// Sparse float rows. Tolerance: `dot_tolerance` of the exact product.
///
/// # Panics
/// If the suite itself is wrong.
pub fn sparse_f32(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, m, [n, k], percent) in cases() {
        let mut random = Random::new(seed);
        let codebook = random.floats(pick(&[1, 16, 256], seed));
        let last = i32::try_from(codebook.len()).expect("at most 256") - 1;
        let entries: Vec<(usize, u8)> = positions(&mut random, n * k, percent)
            .into_iter()
            .map(|at| (at, u8::try_from(random.integer(0, last)).expect("a code")))
            .collect();
        let bias = random.floats(n);
        let clamp = pick(&CLAMPS, seed);
        let weights = SparseF32::new(n, k, entries.iter().copied(), &codebook, &bias);
        let lhs = Guarded::new(&random.floats(m * k));
        let mut want: Vec<f64> =
            (0..m).flat_map(|_| bias.iter().map(|&bias| f64::from(bias))).collect();
        let mut allowed: Vec<f64> = want.iter().map(|bias| bias.abs()).collect();
        let mut terms = vec![0; n];
        for &(at, code) in &entries {
            terms[at / k] += 1;
            for i in 0..m {
                let product =
                    f64::from(lhs[i * k + at % k]) * f64::from(codebook[usize::from(code)]);
                want[i * n + at / k] += product;
                allowed[i * n + at / k] += product.abs();
            }
        }
        for (index, (want, allowed)) in want.iter_mut().zip(&mut allowed).enumerate() {
            *want = clamp_f64(*want, clamp);
            *allowed = dot_tolerance(terms[index % n], *allowed);
        }
        let mut got = Guarded::new(&vec![POISON_F32; m * n]);
        kernels.sparse_f32(&RowsF32 { m, lhs: &lhs, weights: &weights, clamp }, &mut got);
        let case = format!("seed {seed}: {m}x{n}x{k}, {percent} % dense, clamp {clamp:?}");
        report.close(&case, &got, &want, &allowed);
    }
}

/// Sparse integer rows; equal.
///
/// # Panics
/// If the suite itself is wrong.
pub fn sparse_q8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, m, [n, k], percent) in cases() {
        let mut random = Random::new(seed);
        let entries: Vec<(usize, i8)> = positions(&mut random, n * k, percent)
            .into_iter()
            .map(|at| (at, i8::try_from(random.integer(-128, 127)).expect("i8")))
            .collect();
        let zero_point = pick(&[0, 128, 255], seed);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-9999, 9999)).collect();
        let weights = SparseQ8::new(n, k, entries.iter().copied(), &bias, zero_point);
        let lhs = Guarded::new(&random.bytes(m * k));
        let mut want: Vec<i64> =
            (0..m).flat_map(|_| bias.iter().map(|&bias| i64::from(bias))).collect();
        for &(at, value) in &entries {
            for i in 0..m {
                want[i * n + at / k] +=
                    (i64::from(lhs[i * k + at % k]) - i64::from(zero_point)) * i64::from(value);
            }
        }
        let case = format!("seed {seed}: {m}x{n}x{k}, {percent} % dense, zero point {zero_point}");
        let every = requants(&mut random, n);
        let some = [pick(&every, seed)];
        check_q8(report, &case, &want, [m, n, n], &some, |out| {
            kernels.sparse_q8(&RowsQ8 { m, lhs: &lhs, weights: &weights }, out);
        });
    }
}

/// Sparse integer rows in slices, in the tiles for sparse and for dense layers; equal. Some rows and some columns are empty,
/// weights include the ends of the range.
///
/// # Panics
/// If the suite itself is wrong.
pub fn ell_q8(kernels: &dyn Kernels, report: &mut Report) {
    let wide = [31, 48, 127, 128, 129, 130, 200].map(|k| [17, k]);
    let slices = [1, 2, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 65].map(|n| [n, 40]);
    let more = wide.into_iter().chain(slices).flat_map(|size| [1, 2, 3, 5].map(|m| (m, size)));
    let more = more
        .zip(1000_u64..)
        .map(|((m, size), seed)| (seed, m, size, pick(&[10, 100, 30, 3, 60], seed)));
    for ((seed, m, [n, k], percent), density) in
        cases().chain(more).flat_map(|case| [(case, 0.01), (case, 0.9)])
    {
        let mut random = Random::new(seed);
        let extremes = [i8::MIN, i8::MAX, i8::MIN, i8::MAX, 1, -1];
        let entries: Vec<(usize, i8)> = positions(&mut random, n * k, percent)
            .into_iter()
            .filter(|at| seed % 2 == 0 || at / k % 5 != 3 && at % k % 64 < 40)
            .map(|at| (at, i8::try_from(random.integer(-128, 127)).expect("i8")))
            .map(|(at, value)| (at, if seed % 4 == 2 { extremes[at / 3 % 6] } else { value }))
            .collect();
        let zero_point = pick(&[0, 128, 255], seed);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-9999, 9999)).collect();
        let tile = kernels.tile_ell(density);
        let size = [n, k, entries.len()];
        let mut rows = EllBuilder::new(size, &bias, zero_point, tile, usize::MAX);
        entries.iter().for_each(|&(at, value)| rows.push(at, value));
        let weights = rows.finish().expect("without a limit");
        let lhs: Vec<u8> = if seed % 4 == 2 { vec![255; m * k] } else { random.bytes(m * k) };
        let lhs = Guarded::new(&lhs);
        let mut want: Vec<i64> =
            (0..m).flat_map(|_| bias.iter().map(|&bias| i64::from(bias))).collect();
        for &(at, value) in &entries {
            for i in 0..m {
                want[i * n + at / k] +=
                    (i64::from(lhs[i * k + at % k]) - i64::from(zero_point)) * i64::from(value);
            }
        }
        let case = format!(
            "seed {seed}: {m}x{n}x{k}, {percent} % dense, {tile:?}, zero point {zero_point}"
        );
        let every = requants(&mut random, n);
        let some = [pick(&every, seed)];
        check_q8(report, &case, &want, [m, n, n], &some, |out| {
            kernels.ell_q8(&RowsQ8 { m, lhs: &lhs, weights: &weights }, out);
        });
    }
}

/// Rows of 4-bit indices; equal. Codebooks include the ends of the range.
///
/// # Panics
/// If the suite itself is wrong.
pub fn codebook_q8(kernels: &dyn Kernels, report: &mut Report) {
    for (seed, m, [n, k], _) in cases() {
        // More products of u8 and i8 than these may leave i32, and no model has them.
        let k = k.min(embdl_core::format::MAX_INTEGER_TAPS);
        let mut random = Random::new(seed);
        let entries = pick(&[16, 1, 2, 9], seed);
        let mut codebook = random.weights(entries, 127);
        if seed % 3 == 0 {
            codebook[0] = -128;
            codebook[entries - 1] = 127;
        }
        let last = i32::try_from(entries).expect("at most 16") - 1;
        let codes: Vec<u8> =
            (0..n * k).map(|_| u8::try_from(random.integer(0, last)).expect("a code")).collect();
        let zero_point = pick(&[0, 128, 255], seed);
        let bias: Vec<i32> = (0..n).map(|_| random.integer(-9999, 9999)).collect();
        let weights = CodebookQ8::new(&codes, &codebook, &bias, zero_point, n, k);
        let lhs: Vec<u8> = if seed % 4 == 1 { vec![255; m * k] } else { random.bytes(m * k) };
        let lhs = Guarded::new(&lhs);
        let mut want = Vec::with_capacity(m * n);
        for i in 0..m {
            for j in 0..n {
                let products = (0..k).map(|p| {
                    (i64::from(lhs[i * k + p]) - i64::from(zero_point))
                        * i64::from(codebook[usize::from(codes[j * k + p])])
                });
                want.push(i64::from(bias[j]) + products.sum::<i64>());
            }
        }
        let case = format!("seed {seed}: {m}x{n}x{k}, {entries} values, zero point {zero_point}");
        let every = requants(&mut random, n);
        let some = [pick(&every, seed)];
        check_q8(report, &case, &want, [m, n, n], &some, |out| {
            kernels.codebook_q8(&RowsQ8 { m, lhs: &lhs, weights: &weights }, out);
        });
    }
}
