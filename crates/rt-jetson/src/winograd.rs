//! Filters as Winograd's kernels take them: the counterpart of the matrices in `kernels/winograd.cu`.
//!
//! Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", §4.1 and §4.2.

/// G of F(2x2, 3x3).
const G2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// G of F(4x4, 3x3).
const G4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A filter of nine taps for the kernels `winograd2_*`: 4x4 numbers, row by row.
#[must_use]
pub fn filter_of_2x2(taps: &[f32; 9]) -> [f32; 16] {
    let transformed = transform(&G2, taps);
    core::array::from_fn(|at| transformed[at / 4][at % 4])
}

/// A filter of nine taps for the kernels `winograd4_*`: 6x6 numbers, row by row.
#[must_use]
pub fn filter_of_4x4(taps: &[f32; 9]) -> [f32; 36] {
    let transformed = transform(&G4, taps);
    core::array::from_fn(|at| transformed[at / 6][at % 6])
}

/// G w G^T, in f64, rounded once.
fn transform<const N: usize>(g: &[[f64; 3]; N], taps: &[f32; 9]) -> [[f32; N]; N] {
    let element = |y: usize, x: usize| {
        (0..9).map(|tap| g[y][tap / 3] * f64::from(taps[tap]) * g[x][tap % 3]).sum::<f64>()
    };
    // Sums of nine f32 with factors of at most one.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
    core::array::from_fn(|y| core::array::from_fn(|x| element(y, x) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_in_the_middle_by_hand() {
        let mut taps = [0.0; 9];
        taps[4] = 4.0;
        let row = [0.0, 1.0, -1.0, 0.0];
        let filter = filter_of_2x2(&taps);
        assert_eq!(filter[4..8], row);
        assert_eq!(filter[8..12], row.map(|x| -x));
        assert!(filter[..4].iter().chain(&filter[12..]).all(|&x| x == 0.0));
        let filter = filter_of_4x4(&taps);
        let sixth = 1.0_f32 / 9.0;
        assert_eq!([filter[7], filter[8], filter[13]], [sixth, -sixth, -sixth]);
    }
}
