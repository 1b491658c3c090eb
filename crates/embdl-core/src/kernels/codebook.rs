//! Scalar dense layers whose weights are 4-bit indices into a codebook of integers.

use super::{CodebookQ8, OutQ8, RowsQ8};

/// Dense layer with 4-bit codebook indices.
///
/// # Panics
/// If a slice is shorter than the job says.
pub fn codebook_q8(job: &RowsQ8<'_, CodebookQ8>, mut out: OutQ8<'_>) {
    let CodebookQ8 { n, k, row_bytes, ref codebook, .. } = *job.weights;
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(out.len() >= job.m * n, "{} results are not {} rows of {n}", out.len(), job.m);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        let (pairs, last) = lhs.as_chunks::<2>();
        for j in 0..n {
            let row = &job.weights.indices[j * row_bytes..][..row_bytes];
            let mut sum = job.weights.bias[j];
            for (&[even, odd], &byte) in pairs.iter().zip(row) {
                let low = i32::from(codebook[usize::from(byte & 15)]);
                let high = i32::from(codebook[usize::from(byte >> 4)]);
                sum = sum.wrapping_add(i32::from(even) * low + i32::from(odd) * high);
            }
            for &x in last {
                let low = i32::from(codebook[usize::from(row[k / 2] & 15)]);
                sum = sum.wrapping_add(i32::from(x) * low);
            }
            out.store(i * n + j, j, &[sum]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // [[5, -3, 5], [-3, -3, 0]], zero point 1, bias [10, 20].
        let weights = CodebookQ8::new(&[1, 2, 1, 2, 2, 0], &[0, 5, -3], &[10, 20], 1, 2, 3);
        let job = RowsQ8 { m: 2, lhs: &[2, 3, 255, 0, 1, 2], weights: &weights };
        let mut out = [0; 4];
        codebook_q8(&job, OutQ8::I32(&mut out));
        // 1·5 - 2·3 + 254·5, -1·3 - 2·3; -1·5 - 0·3 + 1·5, 1·3 - 0·3; and the bias.
        assert_eq!(out, [1279, 11, 10, 23]);
    }
}
