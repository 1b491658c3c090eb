//! Dense layers with compressed weights of every level against the scalar reference.
#![cfg(target_arch = "aarch64")]

mod common;

use common::{compare_f32, compare_q8, levels, report, requant};
use embdl_core::kernels::{
    CodebookQ8, EllBuilder, EllQ8, Kernels, Reference, RowsF32, RowsQ8, SparseF32, SparseQ8,
};
use embdl_testkit::{Guarded, Random};

/// Sizes around blocks of 4 rows and channels, chunks of 8 and 16 columns, blocks of 32 indices.
const ROWS: [usize; 6] = [0, 1, 3, 4, 5, 9];
const CHANNELS: [usize; 6] = [1, 3, 4, 5, 8, 13];
const DEPTHS: [usize; 11] = [1, 2, 7, 16, 31, 32, 33, 63, 64, 65, 200];

/// Positions of about `percent` of `len` elements; none, all, and rows without entries come up.
fn positions(random: &mut Random, len: usize, percent: i32) -> Vec<usize> {
    (0..len).filter(|_| random.integer(0, 99) < percent).collect()
}

#[test]
fn sparse_floats_are_close_to_the_reference() {
    let mut random = Random::new(11);
    let mut failures = Vec::new();
    for m in ROWS {
        for n in CHANNELS {
            for k in DEPTHS {
                for percent in [0, 8, 100] {
                    let codebook = random.floats(if percent == 100 { 256 } else { 5 });
                    let last = i32::try_from(codebook.len()).unwrap() - 1;
                    let entries: Vec<_> = positions(&mut random, n * k, percent)
                        .into_iter()
                        .map(|at| (at, u8::try_from(random.integer(0, last)).unwrap()))
                        .collect();
                    let weights = SparseF32::new(n, k, entries, &codebook, &random.floats(n));
                    let lhs = Guarded::new(&random.floats(m * k));
                    let job = RowsF32 { m, lhs: &lhs, weights: &weights, clamp: (-1.0, 3.0) };
                    let mut expected = vec![9.0; m * n];
                    Reference.sparse_f32(&job, &mut expected);
                    for kernels in levels() {
                        let mut out = Guarded::new(&vec![9.0; m * n]);
                        kernels.sparse_f32(&job, &mut out);
                        let what = format!("{} {m}x{n}x{k} {percent} %", kernels.isa());
                        // As for GEMM: k products of at most 1.
                        let tolerance = 2e-6 * k as f32;
                        failures.extend(compare_f32(&out, &expected, tolerance, &what));
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn sparse_integers_equal_the_reference() {
    let mut random = Random::new(12);
    let mut failures = Vec::new();
    for m in ROWS {
        for n in CHANNELS {
            for k in DEPTHS {
                for percent in [0, 8, 100] {
                    let entries: Vec<_> = positions(&mut random, n * k, percent)
                        .into_iter()
                        .map(|at| (at, random.weights(1, 127)[0]))
                        .collect();
                    let bias: Vec<i32> = (0..n).map(|_| random.integer(-900, 900)).collect();
                    let weights = SparseQ8::new(n, k, entries, &bias, random.bytes(1)[0]);
                    let lhs = Guarded::new(&random.bytes(m * k));
                    let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
                    let requants =
                        [requant(&mut random, 30_000.0, 1), requant(&mut random, 90_000.0, n)];
                    for kernels in levels() {
                        failures.extend(compare_q8(
                            m * n,
                            &requants,
                            &format!("{} {m}x{n}x{k} {percent} %", kernels.isa()),
                            |out| kernels.sparse_q8(&job, out),
                            |out| Reference.sparse_q8(&job, out),
                        ));
                    }
                }
            }
        }
    }
    report(&failures);
}

/// Slices of 16 rows, windows of 128 columns and around them, values with and without -128.
#[test]
fn rows_in_slices_equal_the_reference() {
    let mut random = Random::new(14);
    let mut failures = Vec::new();
    for (m, n) in [(0, 3), (1, 1), (1, 15), (1, 16), (1, 17), (1, 33), (2, 5), (3, 40)] {
        for k in DEPTHS.into_iter().chain([127, 128, 129, 143, 255, 400]) {
            for (percent, limit) in [(0, 127), (8, 127), (30, 127), (100, 127), (60, -128)] {
                let entries: Vec<_> = positions(&mut random, n * k, percent)
                    .into_iter()
                    .map(|at| (at, [limit, -127, random.weights(1, 127)[0]][at % 3]))
                    .collect();
                let bias: Vec<i32> = (0..n).map(|_| random.integer(-900, 900)).collect();
                let zero_point = random.bytes(1)[0];
                let pack = |kernels: &dyn Kernels| -> EllQ8 {
                    let (size, tile) = ([n, k, entries.len()], kernels.tile_ell(0.1));
                    let mut rows = EllBuilder::new(size, &bias, zero_point, tile, usize::MAX);
                    entries.iter().for_each(|&(at, value)| rows.push(at, value));
                    rows.finish().unwrap()
                };
                let extremes = [vec![0; m * k], vec![255; m * k], random.bytes(m * k)];
                let lhs = Guarded::new(&extremes[k % 3]);
                let requants =
                    [requant(&mut random, 30_000.0, 1), requant(&mut random, 90_000.0, n)];
                let reference = pack(&Reference);
                for kernels in levels() {
                    let weights = pack(&*kernels);
                    failures.extend(compare_q8(
                        m * n,
                        &requants,
                        &format!("{} {m}x{n}x{k} {percent} % to {limit}", kernels.isa()),
                        |out| kernels.ell_q8(&RowsQ8 { m, lhs: &lhs, weights: &weights }, out),
                        |out| Reference.ell_q8(&RowsQ8 { m, lhs: &lhs, weights: &reference }, out),
                    ));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn codebook_rows_equal_the_reference() {
    let mut random = Random::new(13);
    let mut failures = Vec::new();
    for m in ROWS {
        for n in CHANNELS {
            for k in DEPTHS {
                // Codebooks that span up to 128, more, and the whole of i8.
                for codebook in [random.weights(16, 64), random.weights(9, 127), vec![-128, 127]] {
                    let last = i32::try_from(codebook.len()).unwrap() - 1;
                    let codes: Vec<u8> =
                        (0..n * k).map(|_| random.integer(0, last).try_into().unwrap()).collect();
                    let bias: Vec<i32> = (0..n).map(|_| random.integer(-900, 900)).collect();
                    let weights =
                        CodebookQ8::new(&codes, &codebook, &bias, random.bytes(1)[0], n, k);
                    let lhs = Guarded::new(&random.bytes(m * k));
                    let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
                    let requants =
                        [requant(&mut random, 90_000.0, 1), requant(&mut random, 30_000.0, n)];
                    for kernels in levels() {
                        failures.extend(compare_q8(
                            m * n,
                            &requants,
                            &format!("{} {m}x{n}x{k} of {codebook:?}", kernels.isa()),
                            |out| kernels.codebook_q8(&job, out),
                            |out| Reference.codebook_q8(&job, out),
                        ));
                    }
                }
            }
        }
    }
    report(&failures);
}

/// The largest products in every lane, for both ways of the NEON kernel.
#[test]
fn extreme_levels_and_codebooks_do_not_saturate() {
    let mut failures = Vec::new();
    for codebook in [vec![-128, 127], vec![0, 127], vec![-128, 0], vec![-64, 64], vec![-65, 64]] {
        for code in [0, 1] {
            for k in [2, 32, 1000] {
                let (m, n) = (2, 5);
                let weights = CodebookQ8::new(&vec![code; n * k], &codebook, &[], 0, n, k);
                let lhs = Guarded::new(&vec![255; m * k]);
                let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
                for kernels in levels() {
                    failures.extend(compare_q8(
                        m * n,
                        &[],
                        &format!("{} k {k}, {code} of {codebook:?}", kernels.isa()),
                        |out| kernels.codebook_q8(&job, out),
                        |out| Reference.codebook_q8(&job, out),
                    ));
                }
            }
        }
    }
    report(&failures);
}

#[test]
#[should_panic(expected = "column 5 of 4")]
fn a_column_beyond_the_row_is_refused() {
    let mut weights = SparseQ8::new(1, 4, [(0, 1)], &[], 0);
    weights.columns[0] = 5;
    let job = RowsQ8 { m: 1, lhs: &[1, 2, 3, 4], weights: &weights };
    levels()[0].sparse_q8(&job, embdl_core::kernels::OutQ8::I32(&mut [0]));
}

#[test]
#[should_panic(expected = "code 7 of 2")]
fn a_code_beyond_the_codebook_is_refused() {
    let mut weights = SparseF32::new(1, 4, [(0, 1)], &[1.0, 2.0], &[]);
    weights.codes[0] = 7;
    let job = RowsF32 { m: 1, lhs: &[0.0; 4], weights: &weights, clamp: (0.0, 1.0) };
    levels()[0].sparse_f32(&job, &mut [0.0]);
}
