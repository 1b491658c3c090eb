//! Local response normalization and softmax, over the last axis.

use embdl_core::op::Lrn;
use rayon::prelude::*;

/// Sums over the neighbours of each channel: `first - before ..= last + after`, cut off at the ends.
fn neighbour_sums(values: &[f32], before: usize, after: usize, sums: &mut [f32]) {
    for (c, sum) in sums.iter_mut().enumerate() {
        let end = (c + after + 1).min(values.len());
        *sum = values[c.saturating_sub(before)..end].iter().sum();
    }
}

/// Channels before and after that count.
fn reach(lrn: &Lrn) -> (usize, usize) {
    ((lrn.size as usize - 1) / 2, lrn.size as usize / 2)
}

#[expect(clippy::cast_precision_loss, reason = "a number of channels")]
fn factor(lrn: &Lrn) -> f32 {
    lrn.alpha / lrn.size as f32
}

/// `bias + alpha / size * sum of squares` of each element.
fn denominators(lrn: &Lrn, x: &[f32]) -> Vec<f32> {
    let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
    let mut sums = vec![0.0; x.len()];
    let (before, after) = reach(lrn);
    neighbour_sums(&squares, before, after, &mut sums);
    sums.iter().map(|sum| lrn.bias + factor(lrn) * sum).collect()
}

/// The normalized elements.
pub(crate) fn lrn(lrn: &Lrn, x: &[f32], channels: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_exact_mut(channels).zip(x.par_chunks_exact(channels)).for_each(|(y, x)| {
        let denominators = denominators(lrn, x);
        for ((y, x), d) in y.iter_mut().zip(x).zip(denominators) {
            *y = x * d.powf(-lrn.beta);
        }
    });
    y
}

/// Gradient of the input of [`lrn`].
pub(crate) fn lrn_gradient(lrn: &Lrn, x: &[f32], channels: usize, dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_exact_mut(channels)
        .zip(x.par_chunks_exact(channels))
        .zip(dy.par_chunks_exact(channels))
        .for_each(|((dx, x), dy)| {
            let denominators = denominators(lrn, x);
            let weighted: Vec<f32> = (0..channels)
                .map(|c| dy[c] * x[c] * denominators[c].powf(-lrn.beta - 1.0))
                .collect();
            let mut sums = vec![0.0; channels];
            // Whoever counts this channel among its neighbours: the reach the other way round.
            let (before, after) = reach(lrn);
            neighbour_sums(&weighted, after, before, &mut sums);
            for c in 0..channels {
                let own = dy[c] * denominators[c].powf(-lrn.beta);
                dx[c] = own - 2.0 * factor(lrn) * lrn.beta * x[c] * sums[c];
            }
        });
    dx
}

/// Softmax of each row.
pub(crate) fn softmax(x: &[f32], columns: usize) -> Vec<f32> {
    let mut y = x.to_vec();
    for row in y.chunks_exact_mut(columns) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    y
}

/// Gradient of the input of [`softmax`], given its result.
pub(crate) fn softmax_gradient(y: &[f32], columns: usize, dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![0.0; y.len()];
    let rows = y.chunks_exact(columns).zip(dy.chunks_exact(columns));
    for (dx, (y, dy)) in dx.chunks_exact_mut(columns).zip(rows) {
        let mean: f32 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
        for c in 0..columns {
            dx[c] = y[c] * (dy[c] - mean);
        }
    }
    dx
}
