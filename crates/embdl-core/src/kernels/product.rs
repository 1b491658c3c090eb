//! Products of two values, and slopes below zero, element by element.

use crate::quant::{MulRequant, PReluRequant};

/// How the second factor lies under the first: of each sample of `sample` elements, every row of `row` elements is
/// multiplied by the same `row` factors. Equal shapes have rows as long as the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Elements of a sample of the first factor.
    pub sample: usize,
    /// Elements of a sample of the second factor.
    pub row: usize,
}

impl Rows {
    /// Calls `each(row of the first factor, its factors)`.
    ///
    /// # Panics
    /// If the slices do not fit.
    #[inline(always)]
    pub fn for_each<T>(self, data: &mut [T], rhs: &[T], mut each: impl FnMut(&mut [T], &[T])) {
        assert!(
            self.sample.is_multiple_of(self.row)
                && data.len() / self.sample == rhs.len() / self.row
                && data.len().is_multiple_of(self.sample),
            "{} elements and {} factors in {self:?}",
            data.len(),
            rhs.len()
        );
        for (sample, factors) in data.chunks_exact_mut(self.sample).zip(rhs.chunks_exact(self.row))
        {
            for row in sample.chunks_exact_mut(self.row) {
                each(row, factors);
            }
        }
    }
}

/// Multiplies `data` by `rhs`.
///
/// # Panics
/// If the slices do not fit `rows`.
#[inline(always)]
pub fn mul_f32(rows: Rows, data: &mut [f32], rhs: &[f32]) {
    rows.for_each(data, rhs, |row, factors| {
        for (x, &factor) in row.iter_mut().zip(factors) {
            *x *= factor;
        }
    });
}

/// Replaces the levels `data` by the product with the levels `rhs`.
///
/// # Panics
/// If the slices do not fit `rows`.
#[inline(always)]
pub fn mul_u8(rows: Rows, data: &mut [u8], rhs: &[u8], requant: &MulRequant) {
    rows.for_each(data, rhs, |row, factors| {
        for (x, &factor) in row.iter_mut().zip(factors) {
            *x = requant.apply(*x, factor);
        }
    });
}

/// Multiplies what is negative by the slope of its channel. NaN stays NaN.
pub fn prelu_f32(slopes: &[f32], data: &mut [f32]) {
    for row in data.chunks_exact_mut(slopes.len()) {
        for (x, &slope) in row.iter_mut().zip(slopes) {
            *x = if *x < 0.0 { *x * slope } else { *x };
        }
    }
}

/// The same for levels.
pub fn prelu_u8(requant: &PReluRequant, data: &mut [u8]) {
    for row in data.chunks_exact_mut(requant.negative.len()) {
        for (channel, x) in row.iter_mut().enumerate() {
            *x = requant.apply(*x, channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Quant;

    #[test]
    fn products_by_hand() {
        let mut data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        mul_f32(Rows { sample: 4, row: 2 }, &mut data, &[1.0, 10.0, -1.0, 0.0]);
        assert_eq!(data, [1.0, 20.0, 3.0, 40.0, -5.0, 0.0, -7.0, 0.0]);
        mul_f32(Rows { sample: 8, row: 8 }, &mut data, &[2.0; 8]);
        assert_eq!(data, [2.0, 40.0, 6.0, 80.0, -10.0, 0.0, -14.0, 0.0]);
        // (x - 10) / 2 * (y / 4) in steps of 1 from 7: -5 * 1, 0.5 * 1.25 (0.625), 122.5 * 2.
        let quant = |scale, zero_point| Quant { scale, zero_point };
        let requant = MulRequant::new(quant(0.5, 10), quant(0.25, 0), quant(1.0, 7)).unwrap();
        let mut levels = [0, 11, 255];
        mul_u8(Rows { sample: 3, row: 3 }, &mut levels, &[4, 5, 8], &requant);
        assert_eq!(levels, [2, 8, 252]);
    }

    #[test]
    fn slopes_by_hand() {
        let mut data = [-2.0, -2.0, 3.0, 3.0, f32::NAN, -0.5];
        prelu_f32(&[0.5, -1.0], &mut data);
        assert_eq!(data[..4], [-1.0, 2.0, 3.0, 3.0]);
        assert!(data[4].is_nan());
        assert_eq!(data[5], 0.5);
        let quant = Quant { scale: 1.0, zero_point: 100 };
        let requant = PReluRequant::new(&[0.5, -1.0], quant, quant).unwrap();
        let mut levels = [97, 97, 103, 103];
        prelu_u8(&requant, &mut levels);
        // -1.5 rounds up to -1.
        assert_eq!(levels, [99, 103, 103, 103]);
    }
}
