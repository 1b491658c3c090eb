//! Max, average and global average pooling, vectorized over channels.

use embdl_core::op::{Pool, PoolKind, Window};
use embdl_core::tensor::Shape;
use rayon::prelude::*;

use super::vectorized;

/// Which input pixels each output pixel's window covers; pads and what hangs over the end are left out.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    input_len: usize,
    output_len: usize,
    count: usize,
    /// Number and offset of each covered tap, pixel after pixel.
    taps: Vec<(u16, u32)>,
    /// Where each pixel's taps end.
    ends: Vec<u32>,
    /// Taps of each pixel that lie on the image or on pads.
    with_pads: Vec<u32>,
}

impl Taps {
    /// For an input `[n, h, w, c]` and a result `[n, oh, ow, c]`.
    ///
    /// # Panics
    /// If an image has 2^32 elements or a window 2^16 taps.
    pub(crate) fn new(window: &Window, input: Shape, output: Shape) -> Self {
        let size = |value: u32| value as usize;
        let [kh, kw] = window.kernel.map(size);
        let [sh, sw] = window.stride.map(size);
        let [dh, dw] = window.dilation.map(size);
        let [top, left, bottom, right] = window.pads.map(size);
        let (h, w, c) = (input.dim(1), input.dim(2), input.dim(3));
        let (oh, ow) = (output.dim(1), output.dim(2));
        let (mut taps, mut ends, mut with_pads) = (Vec::new(), Vec::new(), Vec::new());
        for pixel in 0..oh * ow {
            let mut padded = 0;
            for tap in 0..kh * kw {
                let y = pixel / ow * sh + tap / kw * dh;
                let x = pixel % ow * sw + tap % kw * dw;
                padded += u32::from(y < top + h + bottom && x < left + w + right);
                if (top..top + h).contains(&y) && (left..left + w).contains(&x) {
                    let offset = ((y - top) * w + x - left) * c;
                    taps.push((
                        u16::try_from(tap).expect("windows have fewer than 2^16 taps"),
                        u32::try_from(offset).expect("images have fewer than 2^32 elements"),
                    ));
                }
            }
            ends.push(u32::try_from(taps.len()).expect("fewer than 2^32 taps in all"));
            with_pads.push(padded);
        }
        let (input_len, output_len) = (h * w * c, oh * ow * output.dim(3));
        Self { input_len, output_len, count: kh * kw, taps, ends, with_pads }
    }

    /// Elements of one input image.
    pub(crate) fn input_len(&self) -> usize {
        self.input_len
    }

    /// Elements of one output image.
    pub(crate) fn output_len(&self) -> usize {
        self.output_len
    }

    /// Taps of a window.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Share of each tap in the mean of each pixel's window.
    pub(crate) fn shares(&self, include_pads: bool) -> Vec<f32> {
        (0..self.ends.len()).map(|pixel| share(self, pixel, include_pads)).collect()
    }

    /// Number and offset of the taps of `pixel` that lie on the image.
    #[inline(always)]
    pub(crate) fn of(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
        self.raw(pixel).iter().map(|&(tap, offset)| (usize::from(tap), offset as usize))
    }

    #[inline(always)]
    fn raw(&self, pixel: usize) -> &[(u16, u32)] {
        let first = if pixel == 0 { 0 } else { self.ends[pixel - 1] as usize };
        &self.taps[first..self.ends[pixel] as usize]
    }
}

/// A pooling layer of one input shape.
#[derive(Clone, Debug)]
pub(crate) struct Pooling {
    batch: usize,
    channels: usize,
    kind: PoolKind,
    taps: Taps,
}

impl Pooling {
    /// For an input `[batch, h, w, c]` and a result `[batch, oh, ow, c]`.
    pub(crate) fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        let taps = Taps::new(&pool.window, input, output);
        Self { batch: input.dim(0), channels: input.dim(3), kind: pool.kind, taps }
    }

    /// The result, and for max pooling the tap that each element came from.
    pub(crate) fn forward(&self, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let (len, out_len) = (self.taps.input_len, self.taps.output_len);
        let mut y = vec![0.0; self.batch * out_len];
        let mut winners = Vec::new();
        match self.kind {
            PoolKind::Max => {
                winners.resize(y.len(), 0);
                y.par_chunks_exact_mut(out_len)
                    .zip(winners.par_chunks_exact_mut(out_len))
                    .zip(x.par_chunks_exact(len))
                    .for_each(|((y, winners), x)| max(&self.taps, self.channels, x, y, winners));
            }
            PoolKind::Average { include_pads } => {
                y.par_chunks_exact_mut(out_len)
                    .zip(x.par_chunks_exact(len))
                    .for_each(|(y, x)| average(&self.taps, self.channels, include_pads, x, y));
            }
        }
        (y, winners)
    }

    /// Gradient of the input.
    pub(crate) fn input_gradient(&self, dy: &[f32], winners: &[u32]) -> Vec<f32> {
        let (len, out_len) = (self.taps.input_len, self.taps.output_len);
        let mut dx = vec![0.0; self.batch * len];
        match self.kind {
            PoolKind::Max => dx
                .par_chunks_exact_mut(len)
                .zip(dy.par_chunks_exact(out_len))
                .zip(winners.par_chunks_exact(out_len))
                .for_each(|((dx, dy), winners)| {
                    max_gradient(&self.taps, self.channels, dy, winners, dx);
                }),
            PoolKind::Average { include_pads } => {
                dx.par_chunks_exact_mut(len).zip(dy.par_chunks_exact(out_len)).for_each(
                    |(dx, dy)| {
                        average_gradient(&self.taps, self.channels, include_pads, dy, dx);
                    },
                );
            }
        }
        dx
    }
}

/// Mean over `pixels` of `[batch, pixels, channels]`.
pub(crate) fn global_average(x: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / pixels];
    #[expect(clippy::cast_precision_loss, reason = "pixels of an image")]
    let share = 1.0 / pixels as f32;
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(pixels * channels)) {
        for x in x.chunks_exact(channels) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y *= share);
    }
    y
}

/// Gradient of [`global_average`].
pub(crate) fn global_average_gradient(dy: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    let mut dx = vec![0.0; dy.len() * pixels];
    #[expect(clippy::cast_precision_loss, reason = "pixels of an image")]
    let share = 1.0 / pixels as f32;
    for (dy, dx) in dy.chunks_exact(channels).zip(dx.chunks_exact_mut(pixels * channels)) {
        for dx in dx.chunks_exact_mut(channels) {
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy * share);
        }
    }
    dx
}

#[expect(clippy::cast_precision_loss, reason = "taps of a window")]
#[inline(always)]
fn share(taps: &Taps, pixel: usize, include_pads: bool) -> f32 {
    let count =
        if include_pads { taps.with_pads[pixel] as f32 } else { taps.raw(pixel).len() as f32 };
    1.0 / count.max(1.0)
}

/// Channels that are compared at a time, with all taps, in registers.
const LANES: usize = 8;

/// The largest of each of `LANES` channels from `first`, and its tap.
#[inline(always)]
fn largest(covered: &[(u16, u32)], x: &[f32], first: usize) -> ([f32; LANES], [u32; LANES]) {
    let (mut best, mut winners) = ([f32::NEG_INFINITY; LANES], [0; LANES]);
    if let Some(&(tap, offset)) = covered.first() {
        best.copy_from_slice(&x[offset as usize + first..][..LANES]);
        winners = [u32::from(tap); LANES];
    }
    for &(tap, offset) in covered.iter().skip(1) {
        let x = &x[offset as usize + first..][..LANES];
        for lane in 0..LANES {
            let wins = x[lane] > best[lane];
            best[lane] = if wins { x[lane] } else { best[lane] };
            winners[lane] = if wins { u32::from(tap) } else { winners[lane] };
        }
    }
    (best, winners)
}

vectorized! {
    fn max<'a>(taps: &'a Taps, channels: usize, x: &'a [f32], y: &'a mut [f32], winners: &'a mut [u32]) {
        let outputs = y.chunks_exact_mut(channels).zip(winners.chunks_exact_mut(channels));
        for (pixel, (y, winners)) in outputs.enumerate() {
            let covered = taps.raw(pixel);
            if channels < LANES {
                for c in 0..channels {
                    let (mut best, mut winner) = (f32::NEG_INFINITY, 0);
                    for (at, &(tap, offset)) in covered.iter().enumerate() {
                        let x = x[offset as usize + c];
                        if at == 0 || x > best {
                            (best, winner) = (x, u32::from(tap));
                        }
                    }
                    (y[c], winners[c]) = (best, winner);
                }
                continue;
            }
            let mut first = 0;
            while first < channels {
                // The last chunk may overlap the one before it, with the same result.
                let start = first.min(channels - LANES);
                let (best, taps) = largest(covered, x, start);
                y[start..][..LANES].copy_from_slice(&best);
                winners[start..][..LANES].copy_from_slice(&taps);
                first += LANES;
            }
        }
    }
}

vectorized! {
    fn max_gradient<'a>(taps: &'a Taps, channels: usize, dy: &'a [f32], winners: &'a [u32], dx: &'a mut [f32]) {
        let outputs = dy.chunks_exact(channels).zip(winners.chunks_exact(channels));
        for (pixel, (dy, winners)) in outputs.enumerate() {
            for &(tap, offset) in taps.raw(pixel) {
                let dx = &mut dx[offset as usize..][..channels];
                for ((dx, &dy), &winner) in dx.iter_mut().zip(dy).zip(winners) {
                    *dx += if winner == u32::from(tap) { dy } else { 0.0 };
                }
            }
        }
    }
}

vectorized! {
    fn average<'a>(taps: &'a Taps, channels: usize, include_pads: bool, x: &'a [f32], y: &'a mut [f32]) {
        for (pixel, y) in y.chunks_exact_mut(channels).enumerate() {
            for &(_, offset) in taps.raw(pixel) {
                y.iter_mut().zip(&x[offset as usize..]).for_each(|(y, x)| *y += x);
            }
            let share = share(taps, pixel, include_pads);
            y.iter_mut().for_each(|y| *y *= share);
        }
    }
}

vectorized! {
    fn average_gradient<'a>(taps: &'a Taps, channels: usize, include_pads: bool, dy: &'a [f32], dx: &'a mut [f32]) {
        for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
            let share = share(taps, pixel, include_pads);
            for &(_, offset) in taps.raw(pixel) {
                dx[offset as usize..].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * share);
            }
        }
    }
}
