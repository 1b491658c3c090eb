//! Compressed dense layers of several densities, one row and many; rates count the products of the dense layer, so they
//! compare with the matrix products.

use core::hint::black_box;

use embdl_core::kernels::{CodebookQ8, Kernels, OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8};
use embdl_testkit::Random;

use crate::bench::{Report, usual_requant};

const LAYERS: &[(&str, usize, usize)] = &[("300-100 fc1", 300, 784), ("lenet-5 fc1", 500, 800)];

/// Times sparse layers of each density, and codebook layers.
pub(crate) fn run(kernels: &dyn Kernels, report: Report<'_>) {
    let mut random = Random::new(2);
    for &(name, n, k) in LAYERS {
        for m in [1, 32] {
            let floats = random.floats(m * k);
            let levels = random.bytes(m * k);
            let requant = usual_requant(n);
            let (mut out, mut out_levels) = (vec![0.0; m * n], vec![0; m * n]);
            for percent in [2, 5, 10, 20, 30] {
                let entries: Vec<usize> =
                    (0..n * k).filter(|_| random.integer(1, 100) <= percent).collect();
                let codes = entries.iter().map(|&at| (at, [3, 7, 30][at % 3]));
                let weights = SparseF32::new(n, k, codes, &random.floats(31), &vec![0.0; n]);
                let job = RowsF32 { m, lhs: &floats, weights: &weights, clamp: (0.0, 9.0) };
                let name = format!("{name} m={m} {percent}%");
                report(&name, "sparse f32", m * n * k, &mut || {
                    kernels.sparse_f32(black_box(&job), black_box(&mut out));
                });
                let values = entries.iter().map(|&at| (at, [-60, 7, 30][at % 3]));
                let weights = SparseQ8::new(n, k, values, &vec![0; n], 3);
                let job = RowsQ8 { m, lhs: &levels, weights: &weights };
                report(&name, "sparse q8", m * n * k, &mut || {
                    kernels.sparse_q8(
                        black_box(&job),
                        OutQ8::U8(&requant, black_box(&mut out_levels)),
                    );
                });
            }
            let codes: Vec<u8> = random.bytes(n * k).iter().map(|byte| byte % 16).collect();
            for limit in [127, 63, 31] {
                let book = random.weights(16, limit);
                let weights = CodebookQ8::new(&codes, &book, &vec![0; n], 3, n, k);
                let job = RowsQ8 { m, lhs: &levels, weights: &weights };
                report(&format!("{name} m={m}"), &format!("cb4/{limit}"), m * n * k, &mut || {
                    kernels.codebook_q8(
                        black_box(&job),
                        OutQ8::U8(&requant, black_box(&mut out_levels)),
                    );
                });
            }
        }
    }
}
