//! What the chip's kernels of layers and pools compute, in either arithmetic.
//!
//! How the chip adds up is not public. What a device was seen to print is off by what eight sums side by side in 16-bit floats
//! would be off by, and not by what one sum or a 32-bit sum would.

use super::execute::Arithmetic;
use super::tensor::Map;
use crate::blob::{Slide, WeightLayout};
use crate::half;

/// 16-bit floats of a vector register.
const LANES: usize = 8;
/// Pixels whose products share a pass over the weights.
const BLOCK: usize = 4;

/// A window with its distance of taps, over a map.
pub(super) struct Sliding {
    pub(super) slide: Slide,
    pub(super) dilation: [u32; 2],
}

impl Sliding {
    pub(super) const fn taps(&self) -> usize {
        self.slide.kernel[0] as usize * self.slide.kernel[1] as usize
    }

    /// The pixel that a tap reads for a pixel of the result, or `None` in the pads.
    #[inline]
    fn pixel(&self, [y, x]: [usize; 2], tap: usize, dims: [usize; 4]) -> Option<usize> {
        let width = self.slide.kernel[0] as usize;
        let place = |at: usize, tap: usize, axis: usize, extent: usize| {
            let from = at * self.slide.stride[axis] as usize + tap * self.dilation[axis] as usize;
            from.checked_sub(self.slide.pad[axis] as usize).filter(|&from| from < extent)
        };
        let row = place(y, tap / width, 1, dims[1])?;
        let column = place(x, tap % width, 0, dims[2])?;
        Some(row * dims[2] + column)
    }
}

/// Weights `[t][c][k]` as floats, from their layout.
pub(super) fn unpack(bytes: &[u8], layout: WeightLayout, dims: [usize; 3]) -> Vec<f32> {
    let [taps, ci, co] = dims;
    let stored: Vec<f32> = half::floats(bytes).collect();
    if layout == WeightLayout::Hwck {
        return stored;
    }
    let mut weights = Vec::with_capacity(stored.len());
    for t in 0..taps {
        for c in 0..ci {
            weights.extend((0..co).map(|k| stored[layout.at([t, c, k], dims)]));
        }
    }
    weights
}

/// A convolution of one sample without groups. `weights` are `[t][c][k]`.
pub(super) fn conv(
    input: &Map,
    sliding: &Sliding,
    weights: &[f32],
    to: [usize; 4],
    arithmetic: Arithmetic,
) -> Vec<f32> {
    let [_, height, width, co] = to;
    let ci = input.channels();
    let row = sliding.taps() * ci;
    let mut out = vec![0.0; height * width * co];
    let mut columns = vec![0.0; BLOCK * row];
    for (block, out) in out.chunks_mut(BLOCK * co).enumerate() {
        let pixels = out.len() / co;
        for (at, column) in columns.chunks_mut(row).take(pixels).enumerate() {
            let pixel = block * BLOCK + at;
            let place = [pixel / width, pixel % width];
            for (tap, slot) in column.chunks_mut(ci).enumerate() {
                match sliding.pixel(place, tap, input.dims) {
                    Some(from) => slot.copy_from_slice(&input.data[from * ci..][..ci]),
                    None => slot.fill(0.0),
                }
            }
        }
        let columns = &columns[..pixels * row];
        match arithmetic {
            Arithmetic::Sums32 => multiply_32(columns, row, weights, out),
            Arithmetic::Lanes16 => multiply_16(columns, row, weights, out),
        }
    }
    out
}

/// A fully connected layer: each row of `weights` has one weight for each of `co` results, in 16-bit floats.
pub(super) fn dense(input: &[f32], weights: &[u8], co: usize, arithmetic: Arithmetic) -> Vec<f32> {
    let mut out = vec![0.0; co];
    let mut buffer = vec![0.0; co];
    // Unpacked row by row: unpacked as a whole, these are the largest weights there are.
    let mut lanes = vec![0.0; LANES * co];
    for (at, (&x, row)) in input.iter().zip(weights.chunks_exact(2 * co)).enumerate() {
        buffer.iter_mut().zip(half::floats(row)).for_each(|(slot, weight)| *slot = weight);
        match arithmetic {
            Arithmetic::Sums32 => add_32(&mut out, x, &buffer),
            Arithmetic::Lanes16 => add_16(&mut lanes[at % LANES * co..][..co], x, &buffer),
        }
    }
    if arithmetic == Arithmetic::Lanes16 {
        fold_16(&lanes, &mut out);
    }
    out
}

/// Each channel with weights of its own, `[t][c]`.
pub(super) fn depthwise(
    input: &Map,
    sliding: &Sliding,
    weights: &[f32],
    to: [usize; 4],
    arithmetic: Arithmetic,
) -> Vec<f32> {
    let [_, height, width, channels] = to;
    let mut out = vec![0.0; height * width * channels];
    let mut lanes = vec![0.0; LANES * channels];
    for (pixel, out) in out.chunks_mut(channels).enumerate() {
        lanes.fill(0.0);
        for tap in 0..sliding.taps() {
            let place = [pixel / width, pixel % width];
            let Some(from) = sliding.pixel(place, tap, input.dims) else { continue };
            let row = &input.data[from * channels..][..channels];
            let weights = &weights[tap * channels..][..channels];
            let pairs = row.iter().zip(weights);
            match arithmetic {
                Arithmetic::Sums32 => {
                    out.iter_mut().zip(pairs).for_each(|(sum, (x, w))| *sum += x * w);
                }
                Arithmetic::Lanes16 => {
                    let lane = &mut lanes[tap % LANES * channels..][..channels];
                    lane.iter_mut().zip(pairs).for_each(|(sum, (x, w))| {
                        *sum = half::round(*sum + x * w);
                    });
                }
            }
        }
        if arithmetic == Arithmetic::Lanes16 {
            fold_16(&lanes, out);
        }
    }
    out
}

/// What a pool makes of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    Max,
    /// The mean, of the whole window or of what is no pad.
    Average {
        exclude_pads: bool,
    },
}

/// Pools of one sample; sums are of 32 bits in either arithmetic.
pub(super) fn pool(input: &Map, sliding: &Sliding, pooling: Pooling, to: [usize; 4]) -> Vec<f32> {
    let [_, height, width, channels] = to;
    let start = if pooling == Pooling::Max { f32::NEG_INFINITY } else { 0.0 };
    let mut out = vec![start; height * width * channels];
    for (pixel, out) in out.chunks_mut(channels).enumerate() {
        let mut count = 0_u16;
        for tap in 0..sliding.taps() {
            let place = [pixel / width, pixel % width];
            let Some(from) = sliding.pixel(place, tap, input.dims) else { continue };
            count += 1;
            let row = &input.data[from * channels..][..channels];
            match pooling {
                Pooling::Max => {
                    out.iter_mut().zip(row).for_each(|(largest, x)| *largest = largest.max(*x));
                }
                Pooling::Average { .. } => {
                    out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
            }
        }
        if let Pooling::Average { exclude_pads } = pooling {
            let whole = u16::try_from(sliding.taps()).unwrap_or(u16::MAX);
            let divisor = f32::from(if exclude_pads { count.max(1) } else { whole });
            out.iter_mut().for_each(|sum| *sum /= divisor);
        }
    }
    out
}

/// Rows of `n` floats times weights of `n` rows, in sums of 32 bits.
fn multiply_32(columns: &[f32], n: usize, weights: &[f32], out: &mut [f32]) {
    let co = weights.len() / n;
    for (at, weights) in weights.chunks(co).enumerate() {
        for (column, out) in columns.chunks(n).zip(out.chunks_mut(co)) {
            add_32(out, column[at], weights);
        }
    }
}

/// The same in eight sums of 16 bits.
fn multiply_16(columns: &[f32], n: usize, weights: &[f32], out: &mut [f32]) {
    let co = weights.len() / n;
    let mut lanes = vec![0.0; LANES * co];
    for (column, out) in columns.chunks(n).zip(out.chunks_mut(co)) {
        lanes.fill(0.0);
        for (at, (&x, weights)) in column.iter().zip(weights.chunks(co)).enumerate() {
            add_16(&mut lanes[at % LANES * co..][..co], x, weights);
        }
        fold_16(&lanes, out);
    }
}

#[inline]
fn add_32(sums: &mut [f32], x: f32, weights: &[f32]) {
    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
}

/// The product of two halves is exact in 32 bits: one rounding for product and sum.
#[inline]
fn add_16(sums: &mut [f32], x: f32, weights: &[f32]) {
    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = half::round(*sum + x * weight));
}

/// Sums of lanes: neighbours first, every sum rounded.
fn fold_16(lanes: &[f32], out: &mut [f32]) {
    let co = out.len();
    for (at, out) in out.iter_mut().enumerate() {
        let lane = |index: usize| lanes[index * co + at];
        let pairs = [0, 2, 4, 6].map(|index| half::round(lane(index) + lane(index + 1)));
        let [low, high] = [0, 2].map(|index| half::round(pairs[index] + pairs[index + 1]));
        *out = half::round(low + high);
    }
}
