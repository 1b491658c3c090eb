//! What a run writes to, and what it means.

use core::cmp::Ordering;

use embdl_core::tensor::{DType, TensorMut, ValueType};
use sha2::{Digest, Sha256};

/// The buffer for one output of any element type.
#[derive(Clone, Debug)]
pub struct Output {
    kind: ValueType,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I32(Vec<i32>),
}

impl Output {
    /// Room for a value.
    #[must_use]
    pub fn new(kind: ValueType) -> Self {
        let len = kind.shape.len();
        let data = match kind.dtype {
            DType::F32 => Data::F32(vec![0.0; len]),
            DType::U8 | DType::I8 => Data::U8(vec![0; len]),
            DType::I32 => Data::I32(vec![0; len]),
        };
        Self { kind, data }
    }

    /// What a run writes to.
    pub fn tensor(&mut self) -> TensorMut<'_> {
        match &mut self.data {
            Data::F32(data) => TensorMut::F32(data),
            Data::U8(data) => TensorMut::U8(data),
            Data::I32(data) => TensorMut::I32(data),
        }
    }

    /// Elements of one sample.
    #[must_use]
    pub fn sample_len(&self) -> usize {
        self.kind.shape.iter().skip(1).product()
    }

    /// Elements of the sample at `row` as reals: levels times their scale.
    ///
    /// # Panics
    /// If the batch has no such sample.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "scores for people")]
    pub fn reals(&self, row: usize) -> Vec<f32> {
        let (scale, zero_point) =
            self.kind.quant.map_or((1.0, 0), |quant| (quant.scale, i32::from(quant.zero_point)));
        let real = |level: i32| (level - zero_point) as f32 * scale;
        let range = self.range(row);
        match &self.data {
            Data::F32(data) => data[range].to_vec(),
            Data::U8(data) => data[range].iter().map(|&level| real(i32::from(level))).collect(),
            Data::I32(data) => data[range].iter().map(|&level| real(level)).collect(),
        }
    }

    /// Index of the largest element of the sample at `row`; of equal ones the first.
    ///
    /// # Panics
    /// If the batch has no such sample.
    #[must_use]
    pub fn class(&self, row: usize) -> usize {
        let range = self.range(row);
        match &self.data {
            Data::F32(data) => first_largest(&data[range], f32::total_cmp),
            Data::U8(data) => first_largest(&data[range], u8::cmp),
            Data::I32(data) => first_largest(&data[range], i32::cmp),
        }
    }

    /// Adds the elements of the sample at `row`, little-endian, to a hash.
    pub(crate) fn digest(&self, row: usize, hash: &mut Sha256) {
        let range = self.range(row);
        match &self.data {
            Data::F32(data) => data[range].iter().for_each(|real| hash.update(real.to_le_bytes())),
            Data::U8(data) => hash.update(&data[range]),
            Data::I32(data) => data[range].iter().for_each(|sum| hash.update(sum.to_le_bytes())),
        }
    }

    fn range(&self, row: usize) -> core::ops::Range<usize> {
        let len = self.sample_len();
        row * len..(row + 1) * len
    }
}

fn first_largest<T>(row: &[T], order: impl Fn(&T, &T) -> Ordering) -> usize {
    let mut best = 0;
    for at in 1..row.len() {
        if order(&row[at], &row[best]).is_gt() {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use embdl_core::quant::Quant;
    use embdl_core::tensor::Shape;

    use super::*;

    #[test]
    fn levels_become_reals_and_the_first_largest_wins() {
        let quant = Quant { scale: 0.5, zero_point: 10 };
        let mut output = Output::new(ValueType::u8(Shape::matrix(2, 3), quant));
        let TensorMut::U8(levels) = output.tensor() else { panic!("levels") };
        levels.copy_from_slice(&[10, 12, 9, 7, 20, 20]);
        assert_eq!(output.reals(0), [0.0, 1.0, -0.5]);
        assert_eq!([output.class(0), output.class(1)], [1, 1]);
        let mut output = Output::new(ValueType::i32(Shape::matrix(1, 2), 0.25));
        let TensorMut::I32(sums) = output.tensor() else { panic!("sums") };
        sums.copy_from_slice(&[-4, 6]);
        assert_eq!((output.reals(0), output.class(0)), (vec![-1.0, 1.5], 1));
    }
}
