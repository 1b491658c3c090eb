//! The transforms of Winograd's minimal filtering for 3x3 and 5x5 filters, on vectors of channels.
//!
//! Every transform of a tile is one of its columns, then one of its rows. Where channels are no multiple of a vector, the
//! last vector overlaps the one before and computes the same results again. What the inputs become depends on the points
//! alone, so that F(6x6, 3x3) and F(4x4, 5x5) share it.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use core::ops::Range;

use crate::kernels::WindowGeometry;
use crate::kernels::lanes::Lanes;
use crate::kernels::parallel::Shared;
use points::{Eight, F4x3, F4x5, F6x3, Inputs, Results, Six};

mod points;

/// Results of a tile and taps of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// F(4x4, 3x3): 6x6 inputs.
    F4x3,
    /// F(6x6, 3x3): 8x8 inputs.
    F6x3,
    /// F(4x4, 5x5): 8x8 inputs.
    F4x5,
}

impl Size {
    /// In the order of [`Names::winograd`](super::Names::winograd).
    pub const ALL: [Self; 3] = [Self::F4x3, Self::F6x3, Self::F4x5];

    /// Rows and columns of the result.
    pub const fn out(self) -> usize {
        match self {
            Self::F4x3 | Self::F4x5 => 4,
            Self::F6x3 => 6,
        }
    }

    /// Rows and columns of a filter.
    pub const fn taps(self) -> usize {
        match self {
            Self::F4x3 | Self::F6x3 => 3,
            Self::F4x5 => 5,
        }
    }

    /// Rows and columns of a tile of the input.
    pub const fn inputs(self) -> usize {
        self.out() + self.taps() - 1
    }

    /// Positions of a transformed tile.
    pub const fn positions(self) -> usize {
        self.inputs() * self.inputs()
    }

    /// `G w G^T` of one filter `[taps, taps, ci]`, into `[positions, ci]`; in f64, rounded once.
    #[expect(clippy::cast_possible_truncation, reason = "the one rounding")]
    pub fn transform_filter(self, filter: &[f32], out: &mut [f32]) {
        let (taps, inputs) = (self.taps(), self.inputs());
        let ci = filter.len() / (taps * taps);
        for (xi, out) in out.chunks_exact_mut(ci).enumerate() {
            let [down, across] = [xi / inputs, xi % inputs].map(|row| points::filter(self, row));
            for (c, slot) in out.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (y, down) in down[..taps].iter().enumerate() {
                    for (x, across) in across[..taps].iter().enumerate() {
                        sum += down * across * f64::from(filter[(taps * y + x) * ci + c]);
                    }
                }
                *slot = sum as f32;
            }
        }
    }
}

/// A tile of the input.
#[derive(Clone, Debug)]
pub struct InputTiles<'a> {
    /// Where the windows go.
    pub geometry: &'a WindowGeometry,
    /// Tiles in a row of tiles.
    pub tiles_across: usize,
    /// Which tile.
    pub tile: usize,
    /// Pixels from one tile to the next: [`Size::out`].
    pub step: usize,
    /// The sample.
    pub input: &'a [f32],
    /// Channels of the group.
    pub channels: Range<usize>,
    /// What pixels in the pads hold, one value a channel of the group.
    pub zeros: &'a [f32],
}

/// A tile of products.
#[derive(Clone, Copy, Debug)]
pub struct OutputTiles<'a> {
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Tiles in a row of tiles.
    pub tiles_across: usize,
    /// Which tile.
    pub tile: usize,
    /// The tile's products, those of the first position first.
    pub products: &'a [f32],
    /// Products from one position to the next.
    pub position_stride: usize,
    /// One bias a channel.
    pub bias: &'a [f32],
    /// Bounds of the result.
    pub clamp: (f32, f32),
    /// Elements from one pixel of the result to the next.
    pub out_stride: usize,
    /// First channel of the group within a pixel of the result.
    pub first_channel: usize,
}

/// The transform of a tile of 6x6 inputs into `out`, `[positions, channels]`.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub fn input_6<S: Lanes>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    input::<S, Six, 6>(simd, job, out);
}

/// The transform of a tile of 8x8 inputs.
///
/// # Panics
/// As [`input_6`].
#[inline(always)]
pub fn input_8<S: Lanes>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    input::<S, Eight, 8>(simd, job, out);
}

/// [`Size::F4x3`]'s results of a tile of products, which no other thread writes.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub fn output_4x3<S: Lanes>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    output::<S, F4x3, 6, 4>(simd, job, out);
}

/// [`Size::F6x3`]'s results of a tile of products.
///
/// # Panics
/// As [`output_4x3`].
#[inline(always)]
pub fn output_6x3<S: Lanes>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    output::<S, F6x3, 8, 6>(simd, job, out);
}

/// [`Size::F4x5`]'s results of a tile of products.
///
/// # Panics
/// As [`output_4x3`].
#[inline(always)]
pub fn output_4x5<S: Lanes>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    output::<S, F4x5, 8, 4>(simd, job, out);
}

#[inline(always)]
fn input<S: Lanes, P: Inputs<IN>, const IN: usize>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    let ci = job.channels.len();
    assert!(ci >= S::LANES && job.zeros.len() == ci && out.len() >= IN * IN * ci);
    let [height, width, depth] = job.geometry.input;
    let at = [job.tile / job.tiles_across, job.tile % job.tiles_across];
    let [y, x] =
        [0, 1].map(|axis| (at[axis] * job.step).wrapping_sub(job.geometry.pad_before[axis]));
    let is_inside = |from: usize, len: usize| from < len && len - from >= IN;
    if is_inside(y, height) && is_inside(x, width) {
        let first = (y * width + x) * depth;
        let last = first + (IN - 1) * (width + 1) * depth;
        assert!(
            job.channels.start <= job.channels.end && last + job.channels.end <= job.input.len()
        );
        let first = job.input.as_ptr().wrapping_add(first + job.channels.start);
        let pixel = |y: usize, x: usize| first.wrapping_add((y * width + x) * depth);
        // SAFETY: asserted above: `ci` channels of the last pixel, behind all others, and of each position in `out`.
        unsafe { transform_input::<S, P, IN>(simd, ci, pixel, out.as_mut_ptr()) };
    } else {
        let pixels = pixels::<IN>(job);
        let pixel = |y: usize, x: usize| pixels[y][x].as_ptr();
        // SAFETY: `pixels` gives slices of `ci` channels, and asserted above.
        unsafe { transform_input::<S, P, IN>(simd, ci, pixel, out.as_mut_ptr()) };
    }
}

/// The transform of a tile whose pixels, by row and column, begin at `pixel`.
///
/// # Safety
/// `ci` elements at each of the pixels and in each of IN * IN positions of `out`; `ci` is not less than the lanes.
#[inline(always)]
unsafe fn transform_input<S: Lanes, P: Inputs<IN>, const IN: usize>(
    simd: S,
    ci: usize,
    pixel: impl Fn(usize, usize) -> *const f32,
    out: *mut f32,
) {
    for channel in (0..ci).step_by(S::LANES) {
        let channel = channel.min(ci - S::LANES);
        let mut columns = [[simd.splat(0.0); IN]; IN];
        for x in 0..IN {
            let mut d = [simd.splat(0.0); IN];
            for (y, d) in d.iter_mut().enumerate() {
                // SAFETY: by the contract, as a vector from `channel` ends with the channels.
                *d = unsafe { simd.load(pixel(y, x).wrapping_add(channel)) };
            }
            for (row, transformed) in columns.iter_mut().zip(P::input(simd, d)) {
                row[x] = transformed;
            }
        }
        let mut to = out.wrapping_add(channel);
        for row in columns {
            for (x, value) in P::input(simd, row).into_iter().enumerate() {
                // SAFETY: by the contract.
                unsafe { simd.store(to.wrapping_add(x * ci), value) };
            }
            to = to.wrapping_add(IN * ci);
        }
    }
}

/// The channels of each pixel of a tile.
#[inline(always)]
fn pixels<'a, const IN: usize>(job: &InputTiles<'a>) -> [[&'a [f32]; IN]; IN] {
    let [height, width, depth] = job.geometry.input;
    let at = [job.tile / job.tiles_across, job.tile % job.tiles_across];
    let mut pixels = [[job.zeros; IN]; IN];
    for (dy, row) in pixels.iter_mut().enumerate() {
        let y = (at[0] * job.step + dy).wrapping_sub(job.geometry.pad_before[0]);
        for (dx, pixel) in row.iter_mut().enumerate() {
            let x = (at[1] * job.step + dx).wrapping_sub(job.geometry.pad_before[1]);
            if y < height && x < width {
                let first = (y * width + x) * depth;
                *pixel = &job.input[first + job.channels.start..first + job.channels.end];
            }
        }
    }
    pixels
}

#[inline(always)]
fn output<S: Lanes, F: Results<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    job: &OutputTiles<'_>,
    out: &Shared<'_, f32>,
) {
    let n = job.bias.len();
    let at = [job.tile / job.tiles_across * OUT, job.tile % job.tiles_across * OUT];
    let [rows, columns] = [0, 1].map(|axis| OUT.min(job.output[axis] - at[axis]));
    assert!(n >= S::LANES && job.products.len() >= (IN * IN - 1) * job.position_stride + n);
    let (first_channel, last) = (job.first_channel, [at[0] + rows - 1, at[1] + columns - 1]);
    let last = (last[0] * job.output[1] + last[1]) * job.out_stride + first_channel + n;
    assert!(last <= out.len(), "{last} results of {}", out.len());
    let first = (at[0] * job.output[1] + at[1]) * job.out_stride + first_channel;
    let to = out.as_mut_ptr().wrapping_add(first);
    // SAFETY: asserted above for the last pixel and channel; those of different tiles and groups are disjoint.
    unsafe {
        if [rows, columns] == [OUT; 2] {
            transform_output::<S, F, IN, OUT>(simd, job, to, |row, column, to, result| {
                let _ = (row, column);
                simd.store(to, result);
            });
        } else {
            transform_output::<S, F, IN, OUT>(simd, job, to, |row, column, to, result| {
                if row < rows && column < columns {
                    simd.store(to, result);
                }
            });
        }
    }
}

/// The results of a tile, of which the first goes `to`: `store` is given the row and column of each vector.
///
/// # Safety
/// `store` writes those only that are in the result.
#[inline(always)]
unsafe fn transform_output<S: Lanes, F: Results<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    job: &OutputTiles<'_>,
    to: *mut f32,
    store: impl Fn(usize, usize, *mut f32, S::F32),
) {
    let (n, stride) = (job.bias.len(), job.position_stride);
    let (low, high) = (simd.splat(job.clamp.0), simd.splat(job.clamp.1));
    for channel in (0..n).step_by(S::LANES) {
        let channel = channel.min(n - S::LANES);
        let mut halves = [[simd.splat(0.0); IN]; OUT];
        let from = job.products.as_ptr().wrapping_add(channel);
        for x in 0..IN {
            let mut m = [simd.splat(0.0); IN];
            for (y, m) in m.iter_mut().enumerate() {
                // SAFETY: the caller asserted: `n` products for each of IN * IN positions.
                *m = unsafe { simd.load(from.wrapping_add((y * IN + x) * stride)) };
            }
            for (row, half) in halves.iter_mut().zip(F::output(simd, m)) {
                row[x] = half;
            }
        }
        // SAFETY: a vector of biases from `channel`.
        let bias = unsafe { simd.load(job.bias.as_ptr().add(channel)) };
        let mut to = to.wrapping_add(channel);
        for (row, half) in halves.into_iter().enumerate() {
            for (column, result) in F::output(simd, half).into_iter().enumerate() {
                let result = simd.clamp(simd.add(result, bias), low, high);
                store(row, column, to.wrapping_add(column * job.out_stride), result);
            }
            to = to.wrapping_add(job.output[1] * job.out_stride);
        }
    }
}
