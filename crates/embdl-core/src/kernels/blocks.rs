//! Scalar products with block-sparse rows.

use super::packed::{BlocksF32, BlocksQ8, Tile};
use super::{OutQ8, RowsF32, RowsQ8, clamp};

/// How the reference wants its blocks.
pub const TILE: Tile = Tile { nr: 4, kr: 4 };

/// Block-sparse float weights, in any tile.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn blocks_f32(job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
    let (m, n, k) = (job.m, job.weights.n(), job.weights.k());
    assert!(job.lhs.len() >= m * k, "{} inputs are not {m} rows of {k}", job.lhs.len());
    assert!(out.len() >= m * n, "{} results are not {m} rows of {n}", out.len());
    let Tile { nr, kr } = job.weights.tile();
    for i in 0..m {
        let lhs = &job.lhs[i * k..][..k];
        for j in 0..n {
            let panel = job.weights.panel(j / nr);
            let mut sum = job.weights.bias()[j];
            for (&offset, block) in panel.offsets.iter().zip(panel.values.chunks_exact(nr * kr)) {
                let row = &block[j % nr * kr..][..kr];
                sum += row.iter().zip(&lhs[usize::from(offset)..]).map(|(w, x)| w * x).sum::<f32>();
            }
            out[i * n + j] = clamp(sum, job.clamp);
        }
    }
}

/// Block-sparse integer weights, in any tile.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn blocks_q8(job: &RowsQ8<'_, BlocksQ8>, mut out: OutQ8<'_>) {
    let (m, n, k) = (job.m, job.weights.n(), job.weights.k());
    assert!(job.lhs.len() >= m * k, "{} inputs are not {m} rows of {k}", job.lhs.len());
    assert!(out.len() >= m * n, "{} results are not {m} rows of {n}", out.len());
    let Tile { nr, kr } = job.weights.tile();
    for i in 0..m {
        let lhs = &job.lhs[i * k..][..k];
        for j in 0..n {
            let panel = job.weights.panel(j / nr);
            let mut sum = job.weights.bias()[j];
            for (&offset, block) in panel.offsets.iter().zip(panel.values.chunks_exact(nr * kr)) {
                let row = &block[j % nr * kr..][..kr];
                for (&w, &x) in row.iter().zip(&lhs[usize::from(offset)..]) {
                    sum = sum.wrapping_add(i32::from(w) * i32::from(x));
                }
            }
            out.store(i * n + j, j, &[sum]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::BlockBuilder;

    // [[0, 5, 0], [-1, 0, 2]], bias [1, 2].
    const ENTRIES: [(usize, i8); 3] = [(1, 5), (3, -1), (5, 2)];

    #[test]
    fn integers_by_hand() {
        let mut rows = BlockBuilder::new([2, 3], 1.0, &[1, 2], Tile { nr: 1, kr: 2 }, usize::MAX);
        ENTRIES.into_iter().for_each(|(at, value)| rows.push(at, value));
        let weights = rows.finish(10).expect("without a limit");
        let job = RowsQ8 { m: 2, lhs: &[10, 11, 12, 0, 255, 20], weights: &weights };
        let mut out = [0; 4];
        blocks_q8(&job, OutQ8::I32(&mut out));
        // 1·5; -1·0 + 2·2; 245·5; -1·-10 + 2·10; and the bias.
        assert_eq!(out, [6, 6, 1226, 32]);
    }

    #[test]
    fn floats_by_hand() {
        let mut rows =
            BlockBuilder::new([2, 3], 1.0, &[1.0, 2.0], Tile { nr: 2, kr: 2 }, usize::MAX);
        ENTRIES.into_iter().for_each(|(at, value)| rows.push(at, f32::from(value)));
        let weights = rows.finish().expect("without a limit");
        let job = RowsF32 { m: 1, lhs: &[1.0, 2.0, 3.0], weights: &weights, clamp: (0.0, 10.0) };
        let mut out = [0.0; 2];
        blocks_f32(&job, &mut out);
        assert_eq!(out, [10.0, 7.0]);
    }
}
