//! Element by element: activations, addition, tables, and the way between floats and levels. The loops are inlined into
//! functions of the runtimes that have more instructions enabled.

use super::{clamp, exp};
use crate::op::Unary;
use crate::quant::{AddRequant, Quant};

/// Clamps to `bounds` where the elements stand; NaN stays NaN.
#[inline(always)]
pub fn clamp_f32(bounds: (f32, f32), data: &mut [f32]) {
    for x in data {
        *x = clamp(*x, bounds);
    }
}

/// Applies a function where the elements stand; those with exponentials by the functions of [`exp`].
#[inline(always)]
pub fn unary_f32(unary: Unary, data: &mut [f32]) {
    // A loop each, so that no element asks which function it is.
    match unary {
        Unary::Sigmoid => each(data, exp::sigmoid),
        Unary::Silu => each(data, |x| x * exp::sigmoid(x)),
        Unary::Tanh => each(data, exp::tanh),
        Unary::Elu { alpha } => each(data, |x| if x < 0.0 { alpha * exp::exp_m1(x) } else { x }),
        Unary::HardSwish => each(data, |x| Unary::HardSwish.apply(x)),
        Unary::HardSigmoid { alpha, beta } => {
            each(data, |x| Unary::HardSigmoid { alpha, beta }.apply(x));
        }
        Unary::LeakyRelu { alpha } => each(data, |x| Unary::LeakyRelu { alpha }.apply(x)),
        Unary::Clip { min, max } => each(data, |x| clamp(x, (min, max))),
    }
}

#[inline(always)]
fn each(data: &mut [f32], function: impl Fn(f32) -> f32) {
    for x in data {
        *x = function(*x);
    }
}

/// Clamps levels where they stand.
#[inline(always)]
pub fn clamp_u8((low, high): (u8, u8), data: &mut [u8]) {
    for x in data {
        *x = (*x).max(low).min(high);
    }
}

/// Replaces levels where they stand.
#[inline(always)]
pub fn map_u8(table: &[u8; 256], data: &mut [u8]) {
    for x in data {
        *x = table[usize::from(*x)];
    }
}

/// Adds `rhs` to `data`, then clamps.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn add_f32(data: &mut [f32], rhs: &[f32], bounds: (f32, f32)) {
    assert!(data.len() == rhs.len(), "sums of {} and {} elements", data.len(), rhs.len());
    for (x, &y) in data.iter_mut().zip(rhs) {
        *x = clamp(*x + y, bounds);
    }
}

/// Replaces the left-hand levels `data` by the sum with the right-hand levels `rhs`.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn add_u8(data: &mut [u8], rhs: &[u8], requant: &AddRequant) {
    assert!(data.len() == rhs.len(), "sums of {} and {} elements", data.len(), rhs.len());
    for (x, &y) in data.iter_mut().zip(rhs) {
        *x = requant.apply(*x, y);
    }
}

/// Nearest levels to floats.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn quantize(quant: Quant, input: &[f32], out: &mut [u8]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    for (slot, &x) in out.iter_mut().zip(input) {
        *slot = quant.quantize(x);
    }
}

/// What levels stand for.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn dequantize_u8(quant: Quant, input: &[u8], out: &mut [f32]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    for (slot, &level) in out.iter_mut().zip(input) {
        *slot = quant.dequantize(level);
    }
}

/// What accumulators stand for.
///
/// # Panics
/// If the slices differ in length.
pub fn dequantize_i32(scale: f32, input: &[i32], out: &mut [f32]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    for (slot, &accumulator) in out.iter_mut().zip(input) {
        #[expect(clippy::cast_precision_loss, reason = "a float has the precision of a float")]
        {
            *slot = scale * accumulator as f32;
        }
    }
}

/// Copies rows of `row_len` elements into wider rows: row `i` goes to `out[i * out_stride ..]`.
///
/// # Panics
/// If `out` is too short.
pub fn copy_rows<T: Copy>(input: &[T], row_len: usize, out: &mut [T], out_stride: usize) {
    for (i, row) in input.chunks_exact(row_len).enumerate() {
        out[i * out_stride..][..row_len].copy_from_slice(row);
    }
}

/// Copies rows like [`copy_rows`], replacing levels by the table.
///
/// # Panics
/// If `out` is too short.
pub fn map_rows_u8(
    table: &[u8; 256],
    input: &[u8],
    row_len: usize,
    out: &mut [u8],
    out_stride: usize,
) {
    for (i, row) in input.chunks_exact(row_len).enumerate() {
        for (slot, &level) in out[i * out_stride..][..row_len].iter_mut().zip(row) {
            *slot = table[usize::from(level)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::rescale_table;

    #[test]
    fn activations_by_hand() {
        let mut data = [-1.0, 0.0, 3.0, 7.0, f32::NAN];
        clamp_f32((0.0, 6.0), &mut data);
        assert_eq!(data[..4], [0.0, 0.0, 3.0, 6.0]);
        assert!(data[4].is_nan());
        let mut levels = [0, 9, 10, 200, 255];
        clamp_u8((10, 200), &mut levels);
        assert_eq!(levels, [10, 10, 10, 200, 200]);
    }

    #[test]
    fn sums_by_hand() {
        let mut data = [1.0, -3.0, 2.0];
        add_f32(&mut data, &[1.0, 1.0, 9.0], (0.0, 6.0));
        assert_eq!(data, [2.0, 0.0, 6.0]);
        // (10 - 10) / 2 + (3 - 1) / 4; 5 / 2 + 0; -10 / 2 - 1 / 4.
        let quant = |scale, zero_point| Quant { scale, zero_point };
        let requant = AddRequant::new(quant(0.5, 10), quant(0.25, 1), quant(1.0, 7), (0, 9));
        let mut levels = [10, 15, 0, 255];
        add_u8(&mut levels, &[3, 1, 0, 255], &requant.unwrap());
        assert_eq!(levels, [8, 9, 2, 9]);
    }

    #[test]
    fn levels_by_hand() {
        let quant = Quant { scale: 0.5, zero_point: 3 };
        let mut levels = [0; 5];
        quantize(quant, &[0.0, 0.25, -0.25, 1000.0, -1000.0], &mut levels);
        assert_eq!(levels, [3, 4, 3, 255, 0]);
        let mut floats = [0.0; 5];
        dequantize_u8(quant, &levels, &mut floats);
        assert_eq!(floats, [0.0, 0.5, 0.0, 126.0, -1.5]);
        dequantize_i32(0.25, &[1, -8, 0, 4, 400], &mut floats);
        assert_eq!(floats, [0.25, -2.0, 0.0, 1.0, 100.0]);
    }

    #[test]
    fn rows_by_hand() {
        let mut out = [0; 6];
        copy_rows(&[1, 2, 3, 4], 2, &mut out[1..], 3);
        assert_eq!(out, [0, 1, 2, 0, 3, 4]);
        let (from, to) = (Quant { scale: 1.0, zero_point: 2 }, Quant { scale: 0.5, zero_point: 0 });
        let table = rescale_table(from, to, (0, 255)).unwrap();
        map_rows_u8(&table, &[1, 2, 3, 255], 2, &mut out[1..], 3);
        assert_eq!(out, [0, 0, 0, 0, 2, 255]);
        let mut levels = [4, 2];
        map_u8(&table, &mut levels);
        assert_eq!(levels, [4, 0]);
    }
}
