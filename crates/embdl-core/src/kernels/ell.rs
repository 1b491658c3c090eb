//! Scalar dense layers with sparse rows in slices.

use super::packed::{EllQ8, EllTile};
use super::{OutQ8, RowsQ8};

/// How the reference wants its slices.
pub const TILE: EllTile = EllTile { rows: 4, window: 16, in_pairs: false };

/// Dense layer with sparse integer rows in slices, in any tile.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn ell_q8(job: &RowsQ8<'_, EllQ8>, mut out: OutQ8<'_>) {
    let (n, k, rows) = (job.weights.n(), job.weights.k(), job.weights.tile().rows);
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(out.len() >= job.m * n, "{} results are not {} rows of {n}", out.len(), job.m);
    let step_bytes = job.weights.tile().step_bytes();
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        for j in 0..n {
            let slice = job.weights.slice(j / rows);
            let mut sum = job.weights.bias()[j];
            for (step, &offset) in slice.slots.chunks_exact(step_bytes).zip(slice.offsets) {
                let (columns, values) = step.split_at(step_bytes / 2);
                let of_row = EllTile::SLOTS * (j % rows)..EllTile::SLOTS * (j % rows + 1);
                for (&column, &value) in columns[of_row.clone()].iter().zip(&values[of_row]) {
                    let x = i32::from(lhs[usize::from(offset) + usize::from(column)]);
                    sum = sum.wrapping_add(x * i32::from(value.cast_signed()));
                }
            }
            out.store(i * n + j, j, &[sum]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::EllBuilder;

    #[test]
    fn by_hand() {
        // [[0, 5, 0], [-1, 0, 2]], zero point 10, bias [1, 2].
        let mut rows = EllBuilder::new([2, 3, 3], &[1, 2], 10, TILE, usize::MAX);
        [(1, 5), (3, -1), (5, 2)].into_iter().for_each(|(at, value)| rows.push(at, value));
        let weights = rows.finish().expect("without a limit");
        let job = RowsQ8 { m: 2, lhs: &[10, 11, 12, 0, 255, 20], weights: &weights };
        let mut out = [0; 4];
        ell_q8(&job, OutQ8::I32(&mut out));
        // 1·5; -1·0 + 2·2; 245·5; -1·-10 + 2·10; and the bias.
        assert_eq!(out, [6, 6, 1226, 32]);
    }
}
