//! Resampling as Pillow defines it: a separable filter, widened by the factor of reduction, in fixed point.
//!
//! ```text
//! scale = in / out;  support = radius * max(scale, 1)
//! for each output: centre = (at + 0.5) * scale
//!   taps = inputs whose middle is less than support away;  weight = filter((middle - centre) / max(scale, 1))
//!   output = sum of weight * input / sum of weight
//! ```
//! Weights have 22 fractional bits and are rounded; the rows are done first, rounded to bytes, then the columns.
//! Source: the description of `Image.resize` in Pillow's documentation; that the results are the same bytes is tested.

use core::ops::Range;

use embdl_core::metadata::Filter;

use super::{Image, Rect};

/// Fractional bits of a weight: two bits are left for the overshoot of the cubic, eight for the byte.
const FRACTION: u32 = 22;

/// The inputs that one output is made of, and their weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The part `crop`, which is inside, of `image` scaled to `width` by `height`.
pub(super) fn resize(
    image: &Image,
    [width, height]: [usize; 2],
    crop: Rect,
    filter: Filter,
) -> Image {
    let columns = taps(image.width, width, crop.left..crop.left + crop.width, filter);
    let rows = taps(image.height, height, crop.top..crop.top + crop.height, filter);
    let first_row = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
    let end_row = rows.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);

    let mut narrow = Vec::with_capacity((end_row - first_row) * crop.width * 3);
    for row in image.pixels.chunks_exact(image.width * 3).take(end_row).skip(first_row) {
        for taps in &columns {
            let mut sums = [1_i64 << (FRACTION - 1); 3];
            let pixels = row[taps.first * 3..].chunks_exact(3);
            for (pixel, &weight) in pixels.zip(&taps.weights) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += i64::from(weight) * i64::from(byte);
                }
            }
            narrow.extend(sums.map(to_byte));
        }
    }

    let row_len = crop.width * 3;
    let mut pixels = Vec::with_capacity(crop.height * row_len);
    let mut sums = vec![0_i64; row_len];
    for taps in &rows {
        sums.fill(1 << (FRACTION - 1));
        let inputs = narrow[(taps.first - first_row) * row_len..].chunks_exact(row_len);
        for (input, &weight) in inputs.zip(&taps.weights) {
            for (sum, &byte) in sums.iter_mut().zip(input) {
                *sum += i64::from(weight) * i64::from(byte);
            }
        }
        pixels.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    Image { width: crop.width, height: crop.height, pixels }
}

#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn to_byte(sum: i64) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

/// The taps of outputs `wanted` of a line of `input` that is scaled to `output`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in a line of pixels, and weights from -1 to 1 with 22 fractional bits"
)]
fn taps(input: usize, output: usize, wanted: Range<usize>, filter: Filter) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    if filter == Filter::Nearest {
        let one = |at: usize| Taps {
            first: (((at as f64 + 0.5) * scale) as usize).min(input - 1),
            weights: vec![1 << FRACTION],
        };
        return wanted.map(one).collect();
    }
    let (radius, kernel): (f64, fn(f64) -> f64) = match filter {
        Filter::Bicubic => (2.0, cubic),
        Filter::Nearest | Filter::Bilinear => (1.0, triangle),
    };
    let stretch = scale.max(1.0);
    let support = radius * stretch;
    let of = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let reals: Vec<f64> =
            (first..end).map(|tap| kernel((tap as f64 - centre + 0.5) * (1.0 / stretch))).collect();
        let sum: f64 = reals.iter().sum();
        let fixed = |real: f64| (real / sum * f64::from(1 << FRACTION)).round() as i32;
        Taps { first, weights: reals.into_iter().map(fixed).collect() }
    };
    wanted.map(of).collect()
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Source: Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing", with a = -1/2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((1.5 * x) - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    } else {
        0.0
    }
}
