//! Resizing: one axis after the other, each position a weighted mean of two neighbours.

use embdl_core::op::{Coordinates, Resize, ResizeMode};
use embdl_core::tensor::Shape;
use rayon::prelude::*;

use super::vectorized;

/// What a position of the result is made of: `(1 - share) * low + share * high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbours {
    /// Index of the lower neighbour.
    pub(crate) low: usize,
    /// Index of the upper one.
    pub(crate) high: usize,
    /// Weight of the upper one; 0 for the nearest element.
    pub(crate) share: f32,
}

/// The neighbours of every position of an axis of `output` elements among `input`.
pub(crate) fn neighbours(resize: &Resize, input: usize, output: usize) -> Vec<Neighbours> {
    let last = input - 1;
    let inside = |at: i64| usize::try_from(at).map_or(0, |at| at.min(last));
    let neighbours = |x| {
        let (numerator, denominator) = resize.coordinates.position(x, input, output);
        if resize.mode == ResizeMode::Linear {
            let low = numerator.div_euclid(denominator);
            #[expect(clippy::cast_precision_loss, reason = "extents are at most 65,536")]
            let share = numerator.rem_euclid(denominator) as f32 / denominator as f32;
            return Neighbours { low: inside(low), high: inside(low + 1), share };
        }
        let at = match resize.coordinates {
            Coordinates::Asymmetric => numerator.div_euclid(denominator),
            // Nearest, ties down: `ceil(position - 1/2)`.
            _ => -(denominator - 2 * numerator).div_euclid(2 * denominator),
        };
        Neighbours { low: inside(at), high: inside(at), share: 0.0 }
    };
    (0..output).map(neighbours).collect()
}

/// Resizing of one input shape.
#[derive(Clone, Debug)]
pub(crate) struct Interpolation {
    /// Shape of the input.
    pub(crate) input: Shape,
    /// What each row of the result is made of.
    pub(crate) rows: Vec<Neighbours>,
    /// What each column of the result is made of.
    pub(crate) columns: Vec<Neighbours>,
}

impl Interpolation {
    /// Shape of the result.
    pub(crate) fn output(&self) -> Shape {
        let (n, c) = (self.input.dim(0), self.input.dim(3));
        Shape::nhwc(n, self.rows.len(), self.columns.len(), c)
    }

    /// The resized maps.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (h, w, c) = (self.input.dim(1), self.input.dim(2), self.input.dim(3));
        let tall = mix(x, h, w * c, &self.rows);
        mix(&tall, w, c, &self.columns)
    }

    /// Gradient of the input.
    pub(crate) fn gradient(&self, dy: &[f32]) -> Vec<f32> {
        let (h, w, c) = (self.input.dim(1), self.input.dim(2), self.input.dim(3));
        let tall = spread(dy, w, c, &self.columns);
        spread(&tall, h, w * c, &self.rows)
    }
}

/// From blocks of `len` runs to blocks of as many runs as there are `positions`.
fn mix(x: &[f32], len: usize, run: usize, positions: &[Neighbours]) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / len * positions.len()];
    y.par_chunks_exact_mut(positions.len() * run).zip(x.par_chunks_exact(len * run)).for_each(
        |(y, x)| {
            for (y, at) in y.chunks_exact_mut(run).zip(positions) {
                add(&x[at.low * run..][..run], 1.0 - at.share, y);
                if at.share > 0.0 {
                    add(&x[at.high * run..][..run], at.share, y);
                }
            }
        },
    );
    y
}

/// The transpose of [`mix`].
fn spread(dy: &[f32], len: usize, run: usize, positions: &[Neighbours]) -> Vec<f32> {
    let mut dx = vec![0.0; dy.len() / positions.len() * len];
    dx.par_chunks_exact_mut(len * run).zip(dy.par_chunks_exact(positions.len() * run)).for_each(
        |(dx, dy)| {
            for (dy, at) in dy.chunks_exact(run).zip(positions) {
                add(dy, 1.0 - at.share, &mut dx[at.low * run..][..run]);
                if at.share > 0.0 {
                    add(dy, at.share, &mut dx[at.high * run..][..run]);
                }
            }
        },
    );
    dx
}

vectorized! {
    fn add<'a>(values: &'a [f32], factor: f32, sums: &'a mut [f32]) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
    }
}
