//! Scalar dense layers with sparse rows: only the weights that are there are visited.

use super::{OutQ8, RowsF32, RowsQ8, SparseF32, SparseQ8, clamp};

/// Dense layer with sparse float weights.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn sparse_f32(job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
    let SparseF32 { n, k, .. } = *job.weights;
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(out.len() >= job.m * n, "{} results are not {} rows of {n}", out.len(), job.m);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        for j in 0..n {
            let row = job.weights.row_starts[j] as usize..job.weights.row_starts[j + 1] as usize;
            let mut sum = job.weights.bias[j];
            for (&column, &code) in
                job.weights.columns[row.clone()].iter().zip(&job.weights.codes[row])
            {
                sum += lhs[usize::from(column)] * job.weights.codebook[usize::from(code)];
            }
            out[i * n + j] = clamp(sum, job.clamp);
        }
    }
}

/// Dense layer with sparse integer weights.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn sparse_q8(job: &RowsQ8<'_, SparseQ8>, mut out: OutQ8<'_>) {
    let SparseQ8 { n, k, .. } = *job.weights;
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(out.len() >= job.m * n, "{} results are not {} rows of {n}", out.len(), job.m);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        for j in 0..n {
            let row = job.weights.row_starts[j] as usize..job.weights.row_starts[j + 1] as usize;
            let mut sum = job.weights.bias[j];
            for (&column, &value) in
                job.weights.columns[row.clone()].iter().zip(&job.weights.values[row])
            {
                sum = sum.wrapping_add(i32::from(lhs[usize::from(column)]) * i32::from(value));
            }
            out.store(i * n + j, j, &[sum]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_by_hand() {
        // [[0, 2, 0], [0, 0, 0], [-1, 0, 2]], bias [1, 2, 3].
        let weights =
            SparseF32::new(3, 3, [(1, 0), (6, 1), (8, 0)], &[2.0, -1.0], &[1.0, 2.0, 3.0]);
        let job = RowsF32 {
            m: 2,
            lhs: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            weights: &weights,
            clamp: (-100.0, 10.5),
        };
        let mut out = [0.0; 6];
        sparse_f32(&job, &mut out);
        assert_eq!(out, [5.0, 2.0, 8.0, 10.5, 2.0, 10.5]);
    }

    #[test]
    fn integer_by_hand() {
        let weights = SparseQ8::new(3, 3, [(1, 2), (6, -1), (8, 2)], &[1, 2, 3], 1);
        let job = RowsQ8 { m: 2, lhs: &[1, 2, 3, 4, 5, 6], weights: &weights };
        let mut out = [0; 6];
        sparse_q8(&job, OutQ8::I32(&mut out));
        assert_eq!(out, [3, 2, 7, 9, 2, 10]);
    }
}
