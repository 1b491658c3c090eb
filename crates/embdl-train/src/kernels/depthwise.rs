//! Depthwise convolution: one filter a channel, vectorized over channels.

use embdl_core::op::{Activation, Conv2d};
use embdl_core::tensor::Shape;
use rayon::prelude::*;

use super::conv::add_all;
use super::pool::Taps;
use super::vectorized;

/// A convolution with as many groups and outputs as input channels.
#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    batch: usize,
    channels: usize,
    taps: Taps,
}

impl Depthwise {
    /// Whether a convolution is one.
    pub(crate) fn fits(conv: &Conv2d, input: Shape, output: Shape) -> bool {
        conv.groups as usize == input.dim(3) && input.dim(3) == output.dim(3)
    }

    /// For an input `[batch, h, w, c]` and a result `[batch, oh, ow, c]`.
    pub(crate) fn new(conv: &Conv2d, input: Shape, output: Shape) -> Self {
        let taps = Taps::new(&conv.window, input, output);
        Self { batch: input.dim(0), channels: input.dim(3), taps }
    }

    /// `activation(conv(x, w) + b)`.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Vec<f32> {
        let by_tap = self.by_tap(w);
        let zeros = vec![0.0; self.channels];
        let bias = bias.unwrap_or(&zeros);
        let mut y = vec![0.0; self.batch * self.taps.output_len()];
        y.par_chunks_exact_mut(self.taps.output_len())
            .zip(x.par_chunks_exact(self.taps.input_len()))
            .for_each(|(y, x)| {
                forward(&self.taps, self.channels, x, &by_tap, bias, activation.bounds(), y);
            });
        y
    }

    /// Gradient of the input.
    pub(crate) fn input_gradient(&self, dy: &[f32], w: &[f32]) -> Vec<f32> {
        let by_tap = self.by_tap(w);
        let mut dx = vec![0.0; self.batch * self.taps.input_len()];
        dx.par_chunks_exact_mut(self.taps.input_len())
            .zip(dy.par_chunks_exact(self.taps.output_len()))
            .for_each(|(dx, dy)| input_gradient(&self.taps, self.channels, dy, &by_tap, dx));
        dx
    }

    /// Gradient of the weight.
    pub(crate) fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let len = self.taps.count() * self.channels;
        let images = self.batch.div_ceil(8).max(1);
        let partials = x
            .par_chunks(images * self.taps.input_len())
            .zip(dy.par_chunks(images * self.taps.output_len()))
            .map(|(x, dy)| {
                let mut sum = vec![0.0; len];
                let images = x.chunks_exact(self.taps.input_len());
                for (x, dy) in images.zip(dy.chunks_exact(self.taps.output_len())) {
                    weight_gradient(&self.taps, self.channels, x, dy, &mut sum);
                }
                sum
            })
            .collect();
        let total = add_all(partials, len);
        transpose(&total, self.taps.count(), self.channels)
    }

    /// From `[channels][taps]` to `[taps][channels]`.
    fn by_tap(&self, w: &[f32]) -> Vec<f32> {
        transpose(w, self.channels, self.taps.count())
    }
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect()
}

vectorized! {
    fn forward<'a>(
        taps: &'a Taps, channels: usize, x: &'a [f32], w: &'a [f32], bias: &'a [f32], bounds: (f32, f32),
        y: &'a mut [f32],
    ) {
        for (pixel, y) in y.chunks_exact_mut(channels).enumerate() {
            y.copy_from_slice(bias);
            for (tap, offset) in taps.of(pixel) {
                let (x, w) = (&x[offset..][..channels], &w[tap * channels..][..channels]);
                for c in 0..channels {
                    y[c] += x[c] * w[c];
                }
            }
            for y in y.iter_mut() {
                let low = if *y < bounds.0 { bounds.0 } else { *y };
                *y = if low > bounds.1 { bounds.1 } else { low };
            }
        }
    }
}

vectorized! {
    fn input_gradient<'a>(taps: &'a Taps, channels: usize, dy: &'a [f32], w: &'a [f32], dx: &'a mut [f32]) {
        for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
            for (tap, offset) in taps.of(pixel) {
                let (dx, w) = (&mut dx[offset..][..channels], &w[tap * channels..][..channels]);
                for c in 0..channels {
                    dx[c] += dy[c] * w[c];
                }
            }
        }
    }
}

vectorized! {
    fn weight_gradient<'a>(taps: &'a Taps, channels: usize, x: &'a [f32], dy: &'a [f32], sum: &'a mut [f32]) {
        for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
            for (tap, offset) in taps.of(pixel) {
                let (x, sum) = (&x[offset..][..channels], &mut sum[tap * channels..][..channels]);
                for c in 0..channels {
                    sum[c] += x[c] * dy[c];
                }
            }
        }
    }
}
