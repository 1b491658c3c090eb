//! Products of two values, and the slopes of PRelu, each with what one factor of several elements sums up.

use rayon::prelude::*;

use super::conv::add_all;
use super::{PART, vectorized};

/// `lhs * rhs`, where runs of `pixels * channels` elements of `lhs` share `channels` of `rhs`.
pub(crate) fn multiply(lhs: &[f32], rhs: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    let mut y = vec![0.0; lhs.len()];
    if pixels == 1 {
        y.par_chunks_mut(PART)
            .zip(lhs.par_chunks(PART))
            .zip(rhs.par_chunks(PART))
            .for_each(|((y, lhs), rhs)| product(lhs, rhs, y));
    } else {
        y.par_chunks_exact_mut(pixels * channels)
            .zip(lhs.par_chunks_exact(pixels * channels))
            .zip(rhs.par_chunks_exact(channels))
            .for_each(|((y, lhs), rhs)| {
                let rows = y.chunks_exact_mut(channels).zip(lhs.chunks_exact(channels));
                rows.for_each(|(y, lhs)| product(lhs, rhs, y));
            });
    }
    y
}

/// Gradient of `rhs` in [`multiply`].
pub(crate) fn factor_gradient(lhs: &[f32], dy: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    if pixels == 1 {
        return multiply(lhs, dy, 1, channels);
    }
    let mut sums = vec![0.0; lhs.len() / pixels];
    sums.par_chunks_exact_mut(channels)
        .zip(lhs.par_chunks_exact(pixels * channels))
        .zip(dy.par_chunks_exact(pixels * channels))
        .for_each(|((sums, lhs), dy)| {
            let rows = lhs.chunks_exact(channels).zip(dy.chunks_exact(channels));
            rows.for_each(|(lhs, dy)| add_product(lhs, dy, sums));
        });
    sums
}

/// `x` where it is not negative, else times the slope of its channel.
pub(crate) fn prelu(x: &[f32], slopes: &[f32]) -> Vec<f32> {
    through_prelu(x, slopes, x)
}

/// Gradient of `x` in [`prelu`].
pub(crate) fn through_prelu(x: &[f32], slopes: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![0.0; x.len()];
    let rows = part_of(slopes.len());
    dx.par_chunks_mut(rows).zip(x.par_chunks(rows)).zip(dy.par_chunks(rows)).for_each(
        |((dx, x), dy)| {
            for ((dx, x), dy) in dx
                .chunks_exact_mut(slopes.len())
                .zip(x.chunks_exact(slopes.len()))
                .zip(dy.chunks_exact(slopes.len()))
            {
                sloped(x, slopes, dy, dx);
            }
        },
    );
    dx
}

/// Gradient of the slopes in [`prelu`].
pub(crate) fn slope_gradient(x: &[f32], dy: &[f32], channels: usize) -> Vec<f32> {
    let part = (x.len() / channels).div_ceil(8).max(1) * channels;
    let partials = x
        .par_chunks(part)
        .zip(dy.par_chunks(part))
        .map(|(x, dy)| {
            let mut sums = vec![0.0; channels];
            for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
                add_negative(x, dy, &mut sums);
            }
            sums
        })
        .collect();
    add_all(partials, channels)
}

/// About [`PART`] elements in whole rows of `channels`.
fn part_of(channels: usize) -> usize {
    (PART / channels).max(1) * channels
}

vectorized! {
    fn product<'a>(lhs: &'a [f32], rhs: &'a [f32], y: &'a mut [f32]) {
        y.iter_mut().zip(lhs.iter().zip(rhs)).for_each(|(y, (lhs, rhs))| *y = lhs * rhs);
    }
}

vectorized! {
    fn add_product<'a>(lhs: &'a [f32], rhs: &'a [f32], sums: &'a mut [f32]) {
        sums.iter_mut().zip(lhs.iter().zip(rhs)).for_each(|(sum, (lhs, rhs))| *sum += lhs * rhs);
    }
}

vectorized! {
    fn sloped<'a>(x: &'a [f32], slopes: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) {
        for (((dx, x), slope), dy) in dx.iter_mut().zip(x).zip(slopes).zip(dy) {
            *dx = if *x < 0.0 { dy * slope } else { *dy };
        }
    }
}

vectorized! {
    fn add_negative<'a>(x: &'a [f32], dy: &'a [f32], sums: &'a mut [f32]) {
        for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
            *sum += if *x < 0.0 { x * dy } else { 0.0 };
        }
    }
}
