//! Resizing of maps, with the positions of both axes worked out beforehand.
//!
//! Levels are interpolated with weights in steps of 1/4096 on each axis, rounded half up; the four products sum up exactly
//! in 32 bits (255 * 2^24 < 2^32), and one rounding, half up, gives the level.

use alloc::vec::Vec;

use crate::op::{Coordinates, Resize, ResizeMode};
use crate::tensor::Shape;

/// Bits of a weight between two levels.
const WEIGHT_BITS: u32 = 12;

/// What one position of an axis of the result reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbours {
    /// The lower neighbour; the only one where the nearest counts.
    pub low: u32,
    /// The upper neighbour.
    pub high: u32,
    /// Weight of the upper neighbour, 0 to 1.
    pub weight: f32,
    /// The same in steps of 1/4096.
    pub weight_q12: u32,
}

/// All that resizing a map needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizePlan {
    /// What is made of the neighbours.
    pub mode: ResizeMode,
    /// Height, width, channels of the input.
    pub input: [usize; 3],
    /// One entry for each row of the result.
    pub rows: Vec<Neighbours>,
    /// One entry for each column of the result.
    pub columns: Vec<Neighbours>,
}

impl ResizePlan {
    /// The plan for inputs of shape `input`, `[n, h, w, c]`.
    ///
    /// # Panics
    /// If the shape does not have four dimensions.
    #[must_use]
    pub fn new(resize: &Resize, input: Shape) -> Self {
        let input = [1, 2, 3].map(|axis| input.dim(axis));
        let axis = |input, output| {
            (0..output)
                .map(move |at| neighbours(resize.mode, resize.coordinates, at, input, output))
        };
        Self {
            mode: resize.mode,
            input,
            rows: axis(input[0], resize.height).collect(),
            columns: axis(input[1], resize.width).collect(),
        }
    }

    /// Bytes that the plan of `resize` will hold.
    #[must_use]
    pub const fn size_bytes_of(resize: &Resize) -> usize {
        (resize.height + resize.width) * size_of::<Neighbours>()
    }

    /// Bytes held.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        (self.rows.len() + self.columns.len()) * size_of::<Neighbours>()
    }

    fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    fn output_len(&self) -> usize {
        self.rows.len() * self.columns.len() * self.input[2]
    }

    /// Calls `each(result, the four neighbours, their row, their column)` for each pixel of one sample.
    fn for_each_pixel<T>(
        &self,
        input: &[T],
        out: &mut [T],
        mut each: impl FnMut(&mut [T], [&[T]; 4], &Neighbours, &Neighbours),
    ) {
        let [_, width, channels] = self.input;
        let pixel =
            |y: u32, x: u32| &input[(y as usize * width + x as usize) * channels..][..channels];
        let mut results = out.chunks_exact_mut(channels);
        for row in &self.rows {
            for (column, result) in self.columns.iter().zip(&mut results) {
                let around = [
                    pixel(row.low, column.low),
                    pixel(row.low, column.high),
                    pixel(row.high, column.low),
                    pixel(row.high, column.high),
                ];
                each(result, around, row, column);
            }
        }
    }

    fn check(&self, input: usize, out: usize) {
        assert!(
            input.is_multiple_of(self.input_len())
                && input / self.input_len() * self.output_len() == out,
            "{input} inputs and {out} results do not fit {:?}",
            self.input
        );
    }
}

/// Copies the nearest pixels, of any element type.
///
/// # Panics
/// If the slices do not fit the plan.
pub fn resize_nearest<T: Copy>(plan: &ResizePlan, input: &[T], out: &mut [T]) {
    plan.check(input.len(), out.len());
    let samples = input.chunks_exact(plan.input_len());
    for (input, out) in samples.zip(out.chunks_exact_mut(plan.output_len())) {
        plan.for_each_pixel(input, out, |result, around, _, _| result.copy_from_slice(around[0]));
    }
}

/// Interpolates floats, along rows first.
///
/// # Panics
/// If the slices do not fit the plan.
pub fn resize_linear_f32(plan: &ResizePlan, input: &[f32], out: &mut [f32]) {
    plan.check(input.len(), out.len());
    let between = |low: f32, high: f32, weight: f32| low * (1.0 - weight) + high * weight;
    let samples = input.chunks_exact(plan.input_len());
    for (input, out) in samples.zip(out.chunks_exact_mut(plan.output_len())) {
        plan.for_each_pixel(input, out, |result, [a, b, c, d], row, column| {
            for (at, slot) in result.iter_mut().enumerate() {
                let upper = between(a[at], b[at], column.weight);
                let lower = between(c[at], d[at], column.weight);
                *slot = between(upper, lower, row.weight);
            }
        });
    }
}

/// Interpolates levels.
///
/// # Panics
/// If the slices do not fit the plan.
pub fn resize_linear_u8(plan: &ResizePlan, input: &[u8], out: &mut [u8]) {
    plan.check(input.len(), out.len());
    let samples = input.chunks_exact(plan.input_len());
    for (input, out) in samples.zip(out.chunks_exact_mut(plan.output_len())) {
        plan.for_each_pixel(input, out, |result, around, row, column| {
            let one = 1 << WEIGHT_BITS;
            let [low, high] = [one - column.weight_q12, column.weight_q12];
            let [upper, lower] = [one - row.weight_q12, row.weight_q12];
            let weights = [upper * low, upper * high, lower * low, lower * high];
            for (at, slot) in result.iter_mut().enumerate() {
                let products = around.iter().zip(weights).map(|(p, w)| u32::from(p[at]) * w);
                let sum = products.sum::<u32>() + (1 << (2 * WEIGHT_BITS - 1));
                // A mean of levels is a level.
                *slot = (sum >> (2 * WEIGHT_BITS)) as u8;
            }
        });
    }
}

fn neighbours(
    mode: ResizeMode,
    coordinates: Coordinates,
    at: usize,
    input: usize,
    output: usize,
) -> Neighbours {
    let (numerator, denominator) = coordinates.position(at, input, output);
    #[expect(clippy::cast_possible_wrap, reason = "extents are far below 2^63")]
    let last = input as i64 - 1;
    #[expect(clippy::cast_possible_truncation, reason = "an extent fits u32")]
    #[expect(clippy::cast_sign_loss, reason = "clamped to the input")]
    let inside = |at: i64| at.clamp(0, last) as u32;
    match (mode, coordinates) {
        (ResizeMode::Nearest, Coordinates::Asymmetric) => {
            let low = inside(numerator.div_euclid(denominator));
            Neighbours { low, high: low, weight: 0.0, weight_q12: 0 }
        }
        (ResizeMode::Nearest, _) => {
            // The smallest integer that is not below the position minus one half.
            let low = inside(-(denominator - 2 * numerator).div_euclid(2 * denominator));
            Neighbours { low, high: low, weight: 0.0, weight_q12: 0 }
        }
        (ResizeMode::Linear, _) => {
            let low = numerator.div_euclid(denominator);
            let rest = numerator.rem_euclid(denominator);
            let scaled = rest << (WEIGHT_BITS + 1);
            #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1, and 0 and 4096")]
            #[expect(clippy::cast_sign_loss, reason = "a rest is not negative")]
            #[expect(clippy::cast_precision_loss, reason = "both parts are below 2^52")]
            Neighbours {
                low: inside(low),
                high: inside(low + 1),
                weight: (rest as f64 / denominator as f64) as f32,
                weight_q12: ((scaled + denominator) / (2 * denominator)) as u32,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mode: ResizeMode, coordinates: Coordinates, input: usize, output: usize) -> ResizePlan {
        let resize = Resize { height: 1, width: output, mode, coordinates };
        ResizePlan::new(&resize, Shape::nhwc(1, 1, input, 1))
    }

    #[test]
    fn nearest_by_hand() {
        let nearest = |coordinates, input: &[u8], output| {
            let mut out = alloc::vec![0; output];
            let plan = plan(ResizeMode::Nearest, coordinates, input.len(), output);
            resize_nearest(&plan, input, &mut out);
            out
        };
        use Coordinates::{AlignCorners, Asymmetric, HalfPixel};
        assert_eq!(nearest(Asymmetric, &[1, 2], 4), [1, 1, 2, 2]);
        assert_eq!(nearest(Asymmetric, &[1, 2, 3], 5), [1, 1, 2, 2, 3]);
        assert_eq!(nearest(HalfPixel, &[1, 2], 4), [1, 1, 2, 2]);
        // Position 0.5 of two elements is a tie, which goes down.
        assert_eq!(nearest(HalfPixel, &[1, 2], 1), [1]);
        assert_eq!(nearest(HalfPixel, &[1, 2, 3, 4], 2), [1, 3]);
        assert_eq!(nearest(AlignCorners, &[1, 2, 3], 2), [1, 3]);
        // Positions 0, 2/3, 4/3, 2.
        assert_eq!(nearest(AlignCorners, &[1, 2, 3], 4), [1, 2, 2, 3]);
        assert_eq!(nearest(AlignCorners, &[1, 2, 3], 1), [1]);
    }

    #[test]
    fn linear_by_hand() {
        let linear = |coordinates, input: &[f32], output| {
            let mut out = alloc::vec![0.0; output];
            let plan = plan(ResizeMode::Linear, coordinates, input.len(), output);
            resize_linear_f32(&plan, input, &mut out);
            out
        };
        use Coordinates::{AlignCorners, Asymmetric, HalfPixel};
        assert_eq!(linear(HalfPixel, &[0.0, 8.0], 4), [0.0, 2.0, 6.0, 8.0]);
        assert_eq!(linear(Asymmetric, &[0.0, 8.0], 4), [0.0, 4.0, 8.0, 8.0]);
        assert_eq!(linear(AlignCorners, &[0.0, 8.0], 5), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(linear(HalfPixel, &[0.0, 8.0, 16.0, 24.0], 2), [4.0, 20.0]);
    }

    #[test]
    fn levels_round_half_up() {
        let plan = plan(ResizeMode::Linear, Coordinates::HalfPixel, 2, 4);
        let mut out = [0; 4];
        // 0.75 * 1 + 0.25 * 3 = 1.5 and 2.5: both up.
        resize_linear_u8(&plan, &[1, 3], &mut out);
        assert_eq!(out, [1, 2, 3, 3]);
        resize_linear_u8(&plan, &[255, 255], &mut out);
        assert_eq!(out, [255; 4]);
    }

    #[test]
    fn both_axes_and_all_samples() {
        let resize = Resize {
            height: 2,
            width: 4,
            mode: ResizeMode::Linear,
            coordinates: Coordinates::HalfPixel,
        };
        let plan = ResizePlan::new(&resize, Shape::nhwc(2, 1, 2, 2));
        let mut out = [0.0; 32];
        resize_linear_f32(&plan, &[0.0, 1.0, 4.0, 1.0, 8.0, 2.0, 8.0, 2.0], &mut out);
        let row = [0.0, 1.0, 1.0, 1.0, 3.0, 1.0, 4.0, 1.0];
        assert_eq!([&out[..8], &out[8..16]], [row; 2]);
        assert!(out[16..].as_chunks::<2>().0.iter().all(|pixel| *pixel == [8.0, 2.0]));
    }
}
