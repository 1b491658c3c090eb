//! 2-D convolution with groups, dilation, stride and pads, as products over offsets into the padded image.

use embdl_core::op::{Activation, Conv2d};
use embdl_core::tensor::Shape;
use rayon::prelude::*;

use super::gemm::{Accumulate, Affine, Lhs, PADDING, Rhs, Scatter, multiply};

/// Steps of the sum over pixels that one product of the weight's gradient takes at least, where a batch has them.
const DEPTH: usize = 128;

/// A convolution of one input shape: sizes and offsets that its three products share.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    batch: usize,
    height: usize,
    width: usize,
    ci: usize,
    co: usize,
    pixels: usize,
    groups: usize,
    pads: [usize; 4],
    padded_height: usize,
    padded_width: usize,
    /// Offset of each output pixel's window in the padded image.
    windows: Vec<usize>,
    /// Offset of each tap and channel of a group in a window, in the order of the weight.
    taps: Vec<usize>,
    /// Runs of taps that are neighbours in the image: first tap and number.
    runs: Vec<(usize, usize)>,
}

impl Convolution {
    /// For an input `[batch, h, w, ci]`, a result `[batch, oh, ow, co]`.
    pub(crate) fn new(conv: &Conv2d, input: Shape, output: Shape) -> Self {
        let size = |value: u32| value as usize;
        let [kh, kw] = conv.window.kernel.map(size);
        let [sh, sw] = conv.window.stride.map(size);
        let [dh, dw] = conv.window.dilation.map(size);
        let pads = conv.window.pads.map(size);
        let (height, width, ci) = (input.dim(1), input.dim(2), input.dim(3));
        let (oh, ow, co) = (output.dim(1), output.dim(2), output.dim(3));
        let groups = size(conv.groups);
        let (padded_height, padded_width) = (height + pads[0] + pads[2], width + pads[1] + pads[3]);
        let at = |y: usize, x: usize| (y * padded_width + x) * ci;
        let windows = (0..oh * ow).map(|i| at(i / ow * sh, i % ow * sw)).collect();
        let mut taps = Vec::with_capacity(kh * kw * ci / groups);
        for ky in 0..kh {
            for kx in 0..kw {
                taps.extend((0..ci / groups).map(|c| at(ky * dh, kx * dw) + c));
            }
        }
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (k, &tap) in taps.iter().enumerate() {
            match runs.last_mut() {
                Some((first, len)) if taps[*first] + *len == tap => *len += 1,
                _ => runs.push((k, 1)),
            }
        }
        Self {
            batch: input.dim(0),
            height,
            width,
            ci,
            co,
            pixels: oh * ow,
            groups,
            pads,
            padded_height,
            padded_width,
            windows,
            taps,
            runs,
        }
    }

    /// `activation(conv(x, w) + b)`.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Vec<f32> {
        let (depth, gci, gco) = (self.taps.len(), self.ci / self.groups, self.co / self.groups);
        let packed: Vec<Rhs> =
            w.chunks_exact(gco * depth).map(|w| Rhs::columns_of(depth, gco, w, depth)).collect();
        let mut padded_bias = vec![0.0; self.co + PADDING];
        if let Some(bias) = bias {
            padded_bias[..self.co].copy_from_slice(bias);
        }
        let mut y = vec![0.0; self.batch * self.pixels * self.co];
        y.par_chunks_exact_mut(self.pixels * self.co).enumerate().for_each_init(
            Vec::new,
            |scratch, (n, y)| {
                let image = self.padded(self.images(x, n, 1), scratch);
                for (group, packed) in packed.iter().enumerate() {
                    let lhs = Lhs {
                        values: &image[group * gci..],
                        rows: &self.windows,
                        steps: &self.taps,
                    };
                    let out = &mut y[group * gco..];
                    let bias = &padded_bias[group * gco..];
                    let bounds = activation.bounds();
                    multiply(lhs, packed, &mut Affine { out, stride: self.co, bias, bounds });
                }
            },
        );
        y
    }

    /// Gradient of the input.
    pub(crate) fn input_gradient(&self, dy: &[f32], w: &[f32]) -> Vec<f32> {
        let (depth, gci, gco) = (self.taps.len(), self.ci / self.groups, self.co / self.groups);
        // One product for each run of taps: its columns land on neighbouring elements.
        let packed: Vec<Vec<Rhs>> = w
            .chunks_exact(gco * depth)
            .map(|w| {
                let run = |&(first, len)| Rhs::rows_of(gco, len, &w[first..], depth);
                self.runs.iter().map(run).collect()
            })
            .collect();
        let rows: Vec<usize> = (0..self.pixels).map(|pixel| pixel * self.co).collect();
        let steps: Vec<usize> = (0..gco).collect();
        let len = self.height * self.width * self.ci;
        let mut dx = vec![0.0; self.batch * len];
        dx.par_chunks_exact_mut(len).enumerate().for_each_init(Vec::new, |scratch, (n, dx)| {
            let dy = &dy[n * self.pixels * self.co..][..self.pixels * self.co];
            let is_padded = self.pads != [0; 4];
            if is_padded {
                scratch.clear();
                scratch.resize(self.padded_height * self.padded_width * self.ci, 0.0);
            }
            let target: &mut [f32] = if is_padded { scratch } else { dx };
            for (group, runs) in packed.iter().enumerate() {
                let lhs = Lhs { values: &dy[group * gco..], rows: &rows, steps: &steps };
                for (&(first, _), packed) in self.runs.iter().zip(runs) {
                    let out = &mut target[group * gci + self.taps[first]..];
                    multiply(lhs, packed, &mut Scatter { out, rows: &self.windows });
                }
            }
            if is_padded {
                self.crop(scratch, dx);
            }
        });
        dx
    }

    /// Gradient of the weight.
    pub(crate) fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (depth, gci, gco) = (self.taps.len(), self.ci / self.groups, self.co / self.groups);
        let len = self.co * depth;
        // The batch is cut into parts that sum on their own, fewer where weights are many; the cut is the same for any
        // number of threads.
        let parts = ((1 << 23) / len.max(1)).clamp(2, 8).min(self.batch.max(1));
        let images = self.batch.div_ceil(parts);
        let together = (DEPTH / self.pixels.max(1)).clamp(1, images);
        let partials: Vec<Vec<f32>> = (0..self.batch.div_ceil(images))
            .into_par_iter()
            .map(|part| {
                let (mut scratch, mut packed) = (Vec::new(), Rhs::default());
                let mut sum = vec![0.0; len];
                let (mut n, end) = (part * images, ((part + 1) * images).min(self.batch));
                while n < end {
                    let count = together.min(end - n);
                    let block = self.padded(self.images(x, n, count), &mut scratch);
                    let steps = self.pixel_offsets(count);
                    let dy = &dy[n * self.pixels * self.co..][..count * self.pixels * self.co];
                    for (group, sum) in sum.chunks_exact_mut(gco * depth).enumerate() {
                        packed.pack(count * self.pixels, gco, |p, j, out| {
                            let from = p * self.co + group * gco + j;
                            out.copy_from_slice(&dy[from..][..out.len()]);
                        });
                        let values = &block[group * gci..];
                        let lhs = Lhs { values, rows: &self.taps, steps: &steps };
                        multiply(lhs, &packed, &mut Accumulate { out: sum, stride: gco });
                    }
                    n += count;
                }
                sum
            })
            .collect();
        let total = add_all(partials, len);
        // From [group][tap][co] to [group][co][tap].
        let mut dw = vec![0.0; len];
        for (dw, total) in dw.chunks_exact_mut(gco * depth).zip(total.chunks_exact(gco * depth)) {
            for (o, dw) in dw.chunks_exact_mut(depth).enumerate() {
                for (dw, column) in dw.iter_mut().zip(total.chunks_exact(gco)) {
                    *dw = column[o];
                }
            }
        }
        dw
    }

    fn images<'a>(&self, x: &'a [f32], first: usize, count: usize) -> &'a [f32] {
        let len = self.height * self.width * self.ci;
        &x[first * len..(first + count) * len]
    }

    /// Windows of `count` padded images that follow each other.
    fn pixel_offsets(&self, count: usize) -> Vec<usize> {
        let len = self.padded_height * self.padded_width * self.ci;
        (0..count).flat_map(|n| self.windows.iter().map(move |window| n * len + window)).collect()
    }

    /// The images with zeros around them, in `scratch` where there are pads.
    fn padded<'a>(&self, x: &'a [f32], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        if self.pads == [0; 4] {
            return x;
        }
        let (row, padded_row) = (self.width * self.ci, self.padded_width * self.ci);
        let count = x.len() / (self.height * row);
        scratch.clear();
        scratch.resize(count * self.padded_height * padded_row, 0.0);
        let images = scratch.chunks_exact_mut(self.padded_height * padded_row);
        for (out, x) in images.zip(x.chunks_exact(self.height * row)) {
            let rows = out[self.pads[0] * padded_row..].chunks_exact_mut(padded_row);
            for (out, x) in rows.zip(x.chunks_exact(row)) {
                out[self.pads[1] * self.ci..][..row].copy_from_slice(x);
            }
        }
        scratch
    }

    fn crop(&self, padded: &[f32], out: &mut [f32]) {
        let (row, padded_row) = (self.width * self.ci, self.padded_width * self.ci);
        let rows = padded[self.pads[0] * padded_row..].chunks_exact(padded_row);
        for (out, padded) in out.chunks_exact_mut(row).zip(rows) {
            out.copy_from_slice(&padded[self.pads[1] * self.ci..][..row]);
        }
    }
}

/// The sum of partial sums, added in their order.
pub(super) fn add_all(partials: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut partials = partials.into_iter();
    let mut total = partials.next().unwrap_or_else(|| vec![0.0; len]);
    for partial in partials {
        total.iter_mut().zip(&partial).for_each(|(total, value)| *total += value);
    }
    total
}
