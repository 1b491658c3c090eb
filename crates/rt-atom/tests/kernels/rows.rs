//! Dense layers with sparse and with codebook weights.

use embdl_core::kernels::{
    CodebookQ8, EllBuilder, RowsF32, RowsQ8, SparseF32, SparseQ8, codebook, ell, sparse,
};
use embdl_testkit::{Guarded, Random};

use crate::{check_q8, close, levels, requants};

/// Rows, channels, columns around the blocks of 8 rows and 8 channels, and the largest blocks.
fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let small = (0..=19).flat_map(|m| {
        [1, 3, 7, 8, 9, 16, 17]
            .into_iter()
            .flat_map(move |n| [1, 2, 3, 7, 40].into_iter().map(move |k| (m, n, k)))
    });
    small.chain([(9, 5, 512), (9, 5, 513), (3, 2, 2048), (4, 2, 2049), (8, 1, 8192), (8, 1, 8193)])
}

/// Positions of about one entry in `every`, some rows empty.
fn positions(n: usize, k: usize, every: i32, random: &mut Random) -> Vec<usize> {
    (0..n * k).filter(|at| at / k % 3 != 2 && random.integer(1, every) == 1).collect()
}

#[test]
fn sparse_float_results_are_close() {
    let mut random = Random::new(5);
    for kernels in levels() {
        for (m, n, k) in shapes() {
            let book = random.floats(256);
            let codes: Vec<_> = positions(n, k, 3, &mut random)
                .into_iter()
                .map(|at| (at, random.bytes(1)[0]))
                .collect();
            let weights = SparseF32::new(n, k, codes, &book, &random.floats(n));
            let lhs = Guarded::new(&random.floats(m * k));
            let clamp = if m % 2 == 0 { (f32::NEG_INFINITY, f32::INFINITY) } else { (-0.5, 0.5) };
            let job = RowsF32 { m, lhs: &lhs, weights: &weights, clamp };
            let mut expected = vec![7.0; m * n];
            let mut found = Guarded::new(&expected);
            sparse::sparse_f32(&job, &mut expected);
            kernels.sparse_f32(&job, &mut found);
            for (at, (&f, &e)) in found.iter().zip(&expected).enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "tests have small k")]
                let size = k as f32 + 1.0;
                let isa = kernels.isa();
                assert!(close(f, e, k, size), "{isa} {m}x{n}x{k} at {at}: {f}, reference {e}");
            }
        }
    }
}

#[test]
fn sparse_integer_results_are_exact() {
    let mut random = Random::new(6);
    for kernels in levels() {
        for (m, n, k) in shapes() {
            let entries: Vec<_> = positions(n, k, 3, &mut random)
                .into_iter()
                .map(|at| (at, [-128, 127, random.weights(1, 127)[0]][at % 3]))
                .collect();
            let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
            let weights = SparseQ8::new(n, k, entries, &bias, 9);
            let lhs = Guarded::new(&random.bytes(m * k));
            let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
            check_q8(
                &format!("{} sparse {m}x{n}x{k}", kernels.isa()),
                m * n,
                &requants(n, &mut random),
                &|out| kernels.sparse_q8(&job, out),
                &|out| sparse::sparse_q8(&job, out),
            );
        }
    }
}

#[test]
fn results_of_rows_in_slices_are_exact() {
    let mut random = Random::new(8);
    for kernels in levels() {
        let windows = [15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 300];
        let more = windows.into_iter().flat_map(|k| [(1, 33, k), (3, 5, k), (5, 17, k)]);
        for (m, n, k) in shapes().chain(more) {
            // Both windows, and what neither expects: full rows.
            for (density, every) in [(0.01, 30), (0.01, 1), (0.9, 3), (0.9, 1)] {
                let entries: Vec<_> = positions(n, k, every, &mut random)
                    .into_iter()
                    .map(|at| (at, [-128, 127, random.weights(1, 127)[0], 64][at % 4]))
                    .collect();
                let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
                let (size, tile) = ([n, k, entries.len()], kernels.tile_ell(density));
                let mut rows = EllBuilder::new(size, &bias, 9, tile, usize::MAX);
                entries.iter().for_each(|&(at, value)| rows.push(at, value));
                let weights = rows.finish().expect("without a limit");
                let lhs = if every == 1 { vec![255; m * k] } else { random.bytes(m * k) };
                let lhs = Guarded::new(&lhs);
                let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
                check_q8(
                    &format!("{} {tile:?} {m}x{n}x{k} 1/{every}", kernels.isa()),
                    m * n,
                    &requants(n, &mut random),
                    &|out| kernels.ell_q8(&job, out),
                    &|out| ell::ell_q8(&job, out),
                );
            }
        }
    }
}

#[test]
fn codebook_results_are_exact() {
    let mut random = Random::new(7);
    for kernels in levels() {
        for k in (1..=70).chain([127, 128, 129, 300, 784]) {
            for (n, m) in [(1, 1), (3, 2), (4, 1), (5, 3), (8, 1), (9, 1)] {
                // The limits of the three ways to sum products; every value at its extreme once.
                let limit = [32, 64, 127][k % 3];
                let mut book = random.weights(16, limit);
                book[0] = limit;
                book[1] = -limit;
                let extremes = k % 5 == 0;
                let codes: Vec<u8> = random
                    .bytes(n * k)
                    .into_iter()
                    .map(|byte| if extremes { 0 } else { byte % 16 })
                    .collect();
                let bias: Vec<i32> = (0..n).map(|_| random.integer(-9000, 9000)).collect();
                let weights = CodebookQ8::new(&codes, &book, &bias, 200, n, k);
                let levels = if extremes { vec![255; m * k] } else { random.bytes(m * k) };
                let lhs = Guarded::new(&levels);
                let job = RowsQ8 { m, lhs: &lhs, weights: &weights };
                check_q8(
                    &format!("{} codebook {m}x{n}x{k}, values to {limit}", kernels.isa()),
                    m * n,
                    &requants(n, &mut random),
                    &|out| kernels.codebook_q8(&job, out),
                    &|out| codebook::codebook_q8(&job, out),
                );
            }
        }
    }
}
