//! Batch normalization over the rows of a `[rows, channels]` matrix.
//!
//! Sums go over parts of rows that do not depend on the number of threads and are added in their order; within a part
//! they are f32, over at most an eighth of the rows.

use rayon::prelude::*;

use super::conv::add_all;
use super::vectorized;
use crate::operators::Statistics;

/// What the passes over the rows read for each channel.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    mean: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)`.
    inverse: Vec<f32>,
    /// `weight * inverse`.
    factor: Vec<f32>,
}

impl Channels {
    pub(crate) fn new(statistics: &Statistics, weight: &[f32], epsilon: f32) -> Self {
        let inverse: Vec<f32> =
            statistics.variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect();
        let factor = inverse.iter().zip(weight).map(|(inverse, weight)| inverse * weight).collect();
        Self { mean: statistics.mean.clone(), inverse, factor }
    }
}

/// Gradients of factor and bias.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Sum of `dy * (x - mean) * inverse`.
    pub(crate) weight: Vec<f32>,
    /// Sum of `dy`.
    pub(crate) bias: Vec<f32>,
}

/// Elements of a part: an eighth of the rows.
fn part(len: usize, channels: usize) -> usize {
    (len / channels).div_ceil(8).max(1) * channels
}

/// Mean and variance of a population, each channel for itself.
pub(crate) fn statistics(x: &[f32], channels: usize) -> Statistics {
    #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
    let share = 1.0 / (x.len() / channels) as f32;
    let sums = |of: &(dyn Fn(&[f32], &mut [f32]) + Sync)| {
        let partials = x
            .par_chunks(part(x.len(), channels))
            .map(|x| {
                let mut sums = vec![0.0; channels];
                of(x, &mut sums);
                sums
            })
            .collect();
        let mut sums = add_all(partials, channels);
        sums.iter_mut().for_each(|sum| *sum *= share);
        sums
    };
    let mean = sums(&|x, sums| add_rows(x, sums));
    let variance = sums(&|x, sums| add_squares(x, &mean, sums));
    Statistics { mean, variance }
}

/// `(x - mean) * factor + bias`.
pub(crate) fn normalize(x: &[f32], channels: &Channels, bias: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let part = part(x.len(), bias.len());
    y.par_chunks_mut(part).zip(x.par_chunks(part)).for_each(|(y, x)| affine(x, channels, bias, y));
    y
}

/// Gradients of factor and bias.
pub(crate) fn gradient_sums(x: &[f32], dy: &[f32], channels: &Channels) -> Sums {
    let count = channels.mean.len();
    let part = part(x.len(), count);
    let partials = x
        .par_chunks(part)
        .zip(dy.par_chunks(part))
        .map(|(x, dy)| {
            let mut sums = vec![0.0; 2 * count];
            add_gradients(x, dy, channels, &mut sums);
            sums
        })
        .collect();
    let mut weight = add_all(partials, 2 * count);
    let bias = weight.split_off(count);
    Sums { weight, bias }
}

/// Gradient of the input; with `through`, mean and variance are those of the input and depend on it.
/// Source: Ioffe and Szegedy 2015, §3.
pub(crate) fn input_gradient(
    x: &[f32],
    dy: &[f32],
    channels: &Channels,
    through: Option<&Sums>,
) -> Vec<f32> {
    let count = channels.mean.len();
    #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
    let share = 1.0 / (x.len() / count) as f32;
    // dx = factor * (dy - mean of dy - x̂ * mean of dy·x̂)
    let zeros = vec![0.0; count];
    let means = |sums: &[f32]| sums.iter().map(|sum| sum * share).collect::<Vec<f32>>();
    let (of_weight, of_bias) = through.map_or_else(
        || (zeros.clone(), zeros.clone()),
        |sums| (means(&sums.weight), means(&sums.bias)),
    );
    let slope: Vec<f32> = of_weight.iter().zip(&channels.inverse).map(|(a, b)| a * b).collect();
    let mut dx = vec![0.0; x.len()];
    let part = part(x.len(), count);
    dx.par_chunks_mut(part)
        .zip(x.par_chunks(part))
        .zip(dy.par_chunks(part))
        .for_each(|((dx, x), dy)| back(x, dy, channels, &slope, &of_bias, dx));
    dx
}

vectorized! {
    fn add_rows<'a>(x: &'a [f32], sums: &'a mut [f32]) {
        for row in x.chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }
}

vectorized! {
    fn add_squares<'a>(x: &'a [f32], mean: &'a [f32], sums: &'a mut [f32]) {
        for row in x.chunks_exact(sums.len()) {
            for ((sum, x), mean) in sums.iter_mut().zip(row).zip(mean) {
                *sum += (x - mean) * (x - mean);
            }
        }
    }
}

vectorized! {
    fn affine<'a>(x: &'a [f32], channels: &'a Channels, bias: &'a [f32], y: &'a mut [f32]) {
        let Channels { mean, factor, .. } = channels;
        for (y, x) in y.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
            for ((((y, x), mean), factor), bias) in y.iter_mut().zip(x).zip(mean).zip(factor).zip(bias) {
                *y = (x - mean) * factor + bias;
            }
        }
    }
}

vectorized! {
    fn add_gradients<'a>(x: &'a [f32], dy: &'a [f32], channels: &'a Channels, sums: &'a mut [f32]) {
        let Channels { mean, inverse, .. } = channels;
        let count = mean.len();
        let (weight, bias) = sums.split_at_mut(count);
        for (x, dy) in x.chunks_exact(count).zip(dy.chunks_exact(count)) {
            bias.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
            for ((((sum, x), dy), mean), inverse) in weight.iter_mut().zip(x).zip(dy).zip(mean).zip(inverse) {
                *sum += dy * ((x - mean) * inverse);
            }
        }
    }
}

vectorized! {
    fn back<'a>(
        x: &'a [f32], dy: &'a [f32], channels: &'a Channels, slope: &'a [f32], offset: &'a [f32], dx: &'a mut [f32],
    ) {
        let Channels { mean, factor, .. } = channels;
        let count = mean.len();
        let rows = dx.chunks_exact_mut(count).zip(x.chunks_exact(count)).zip(dy.chunks_exact(count));
        for ((dx, x), dy) in rows {
            for c in 0..count {
                dx[c] = factor[c] * (dy[c] - offset[c] - (x[c] - mean[c]) * slope[c]);
            }
        }
    }
}
