//! Resizing, transposing, padding: one loop over the result each.

use embdl_core::op::{Coordinates, Pad, Resize, ResizeMode};
use embdl_core::tensor::{DType, ValueType};

use super::Tensor;

/// Positions of the result, row-major.
fn positions(to: ValueType) -> impl Iterator<Item = [usize; 4]> {
    let mut dims = [1; 4];
    dims.iter_mut().zip(to.shape.iter()).for_each(|(slot, dim)| *slot = dim);
    let [_, h, w, c] = dims;
    (0..dims.iter().product())
        .map(move |at: usize| [at / (h * w * c), at / (w * c) % h, at / c % w, at % c])
}

pub(super) fn resize(resize: &Resize, input: &Tensor, to: ValueType) -> Vec<f64> {
    let [height, width] = [1, 2].map(|axis| input.shape().dim(axis));
    let axis = |at, from, to| position(resize.coordinates, at, from, to);
    positions(to)
        .map(|[n, y, x, c]| {
            let (y, x) = (axis(y, height, resize.height), axis(x, width, resize.width));
            if resize.mode == ResizeMode::Nearest {
                let nearest = |(low, part): (i64, f64)| match resize.coordinates {
                    Coordinates::Asymmetric => low,
                    _ => low + i64::from(part > 0.5),
                };
                let at = [inside(nearest(y), height), inside(nearest(x), width)];
                return input.at([n, at[0], at[1], c]);
            }
            let mut sum = 0.0;
            for (row, row_weight) in neighbours(y, input.kind.dtype) {
                for (column, column_weight) in neighbours(x, input.kind.dtype) {
                    let at = [inside(row, height), inside(column, width)];
                    sum += row_weight * column_weight * input.at([n, at[0], at[1], c]);
                }
            }
            if input.kind.dtype == DType::U8 { (sum + 0.5).floor() } else { sum }
        })
        .collect()
}

/// A position as the element below it and the part beyond that. Extents of tests are so small that no rounding of a
/// quotient crosses an integer or one half.
#[expect(clippy::cast_precision_loss, reason = "extents of tests")]
#[expect(clippy::cast_possible_truncation, reason = "extents of tests")]
fn position(coordinates: Coordinates, at: usize, from: usize, to: usize) -> (i64, f64) {
    let [at, from, to] = [at as f64, from as f64, to as f64];
    let (numerator, denominator) = match coordinates {
        Coordinates::HalfPixel => ((2.0 * at + 1.0) * from - to, 2.0 * to),
        Coordinates::AlignCorners if to == 1.0 => (0.0, 1.0),
        Coordinates::AlignCorners => (at * (from - 1.0), to - 1.0),
        Coordinates::Asymmetric => (at * from, to),
    };
    let low = (numerator / denominator).floor();
    (low as i64, (numerator - low * denominator) / denominator)
}

/// Both neighbours and their weights, which for levels are multiples of 1/4096.
fn neighbours((low, part): (i64, f64), dtype: DType) -> [(i64, f64); 2] {
    let part = if dtype == DType::U8 { (part * 4096.0 + 0.5).floor() / 4096.0 } else { part };
    [(low, 1.0 - part), (low + 1, part)]
}

fn inside(at: i64, extent: usize) -> usize {
    usize::try_from(at.max(0)).expect("not negative").min(extent - 1)
}

pub(super) fn transpose(order: [u8; 4], input: &Tensor, to: ValueType) -> Vec<f64> {
    let mut dims = [1; 4];
    dims.iter_mut().zip(input.shape().iter()).for_each(|(slot, dim)| *slot = dim);
    positions(to)
        .map(|position| {
            let mut from = [0; 4];
            order.iter().zip(position).for_each(|(&axis, at)| from[usize::from(axis)] = at);
            input.data[((from[0] * dims[1] + from[1]) * dims[2] + from[2]) * dims[3] + from[3]]
        })
        .collect()
}

pub(super) fn pad(pad: Pad, input: &Tensor, to: ValueType) -> Vec<f64> {
    let [height, width] = [1, 2].map(|axis| input.shape().dim(axis));
    positions(to)
        .map(|[n, y, x, c]| {
            let row = y.checked_sub(pad.top).filter(|&row| row < height);
            let column = x.checked_sub(pad.left).filter(|&column| column < width);
            match (row, column) {
                (Some(row), Some(column)) => input.at([n, row, column, c]),
                _ => input.zero(),
            }
        })
        .collect()
}
