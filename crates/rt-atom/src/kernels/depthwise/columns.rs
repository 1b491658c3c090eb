//! Depthwise 3x3 convolution of levels by pairs of words, column by column. Contract and reference:
//! `embdl_core::kernels::depthwise`.
//!
//! ```text
//! for each row of results, for each two vectors of channels
//!     for each column of the input: the first two rows as pairs of words, the third one with its neighbour's    once
//!     for each result: sums = bias; three pairs of rows, two pairs of columns of the third row: sums += pair * weights
//! ```
//!
//! A column is widened once and not for each of the three results that see it. Rows and columns in the pads hold the zero
//! point, so that its share of the bias is the same everywhere and edges need no code of their own. Ten vectors of weights
//! stay in registers for a row. Rows are outside, because a step of channels is a part of a cache line, whose other parts the
//! next steps need.

use embdl_core::kernels::{DepthwiseQ8, OutQ8, WindowGeometry};

use super::{MAX_CHANNELS, three_rows};
use crate::kernels::output::{Block, Stage, store};
use crate::simd::Simd;

/// Results that are computed from columns widened together.
const RESULTS: usize = 62;

/// Whether the kernel takes the windows, of enough channels. With larger strides a column has too few results.
pub(super) fn takes(geometry: &WindowGeometry) -> bool {
    geometry.kernel == [3, 3] && geometry.dilation == [1, 1] && geometry.stride[1] == 1
}

/// The job; [`takes`] and [`super::takes`] must hold.
#[inline(always)]
pub(super) fn depthwise_q8<S: Simd>(simd: S, job: &DepthwiseQ8<'_>, out: &mut OutQ8<'_>) {
    let (channels, step) = (job.geometry.input[2], 2 * S::LANES);
    let pad = [job.zero_point; MAX_CHANNELS];
    let nothing = Column { upper: [simd.splat_i32(0); 2], lower: [simd.splat_i32(0); 2] };
    let mut columns = [nothing; RESULTS + 2];
    for oy in 0..job.geometry.output[0] {
        let rows = three_rows(job, oy);
        for first in (0..channels).step_by(step) {
            let channel = first.min(channels - step);
            let rows = Rows::new(&job.geometry, &rows, channel, &pad);
            row(simd, job, [oy, channel], &rows, &mut columns, out);
        }
    }
}

/// A row of results of two vectors of channels.
#[inline(always)]
fn row<S: Simd>(
    simd: S,
    job: &DepthwiseQ8<'_>,
    [oy, channel]: [usize; 2],
    rows: &Rows<'_>,
    columns: &mut [Column<S>; RESULTS + 2],
    out: &mut OutQ8<'_>,
) {
    let geometry = &job.geometry;
    let weights = Weights::new(simd, job, channel);
    let stage = Stage::prepare(simd, out, channel);
    for ox in (0..geometry.output[1]).step_by(RESULTS) {
        let count = RESULTS.min(geometry.output[1] - ox);
        rows.widen(simd, ox, &mut columns[..count + 2]);
        let mut result = 0;
        while result < count {
            let at = geometry.output_index([oy, ox + result]) + channel;
            let stride = geometry.input[2];
            let block = Block { at, stride, channel, count: 2 * S::LANES };
            let seen = &columns[result..];
            let sums = weights.multiply(simd, seen);
            // Two at once, since levels of two rows are packed together.
            if result + 1 < count {
                let both = [sums, weights.multiply(simd, &seen[1..])];
                store(simd, stage.as_ref(), out, block, &both);
            } else {
                store(simd, stage.as_ref(), out, block, &[sums]);
            }
            result += 2;
        }
    }
}

/// A column of the input.
#[derive(Clone, Copy)]
struct Column<S: Simd> {
    /// The first two rows.
    upper: [S::I32; 2],
    /// The third row of this column and of the next one.
    lower: [S::I32; 2],
}

/// Weights of a step of channels.
struct Weights<S: Simd> {
    /// The bias less the zero point times all weights.
    bias: [S::I32; 2],
    /// Of the first two rows, a pair for each column.
    upper: [[S::I32; 2]; 3],
    /// Of the third row: the first two columns, and the last alone.
    lower: [[S::I32; 2]; 2],
}

impl<S: Simd> Weights<S> {
    #[inline(always)]
    fn new(simd: S, job: &DepthwiseQ8<'_>, channel: usize) -> Self {
        let (channels, step) = (job.geometry.input[2], 2 * S::LANES);
        let (weights, bias) = (&job.weights[channel..], &job.bias[channel..][..step]);
        assert!(weights.len() >= 8 * channels + step);
        let tap = weights.as_ptr();
        let none = [0_i8; MAX_CHANNELS];
        // SAFETY: a step of weights of each of nine taps, and as many biases.
        let (upper, lower, mut bias) = unsafe {
            let [top, middle, bottom] = [tap, tap.add(3 * channels), tap.add(6 * channels)];
            let upper = [
                simd.interleave_i8([top, middle]),
                simd.interleave_i8([top.add(channels), middle.add(channels)]),
                simd.interleave_i8([top.add(2 * channels), middle.add(2 * channels)]),
            ];
            let lower = [
                simd.interleave_i8([bottom, bottom.add(channels)]),
                simd.interleave_i8([bottom.add(2 * channels), none.as_ptr()]),
            ];
            let bias = bias.as_ptr().cast::<u8>();
            (upper, lower, [simd.load_bytes(bias), simd.load_bytes(bias.add(4 * S::LANES))])
        };
        let [low, high] = (-i16::from(job.zero_point)).to_ne_bytes();
        let share = simd.splat_i32(i32::from_ne_bytes([low, high, low, high]));
        for pair in upper.iter().chain(&lower) {
            for (bias, &weights) in bias.iter_mut().zip(pair) {
                *bias = simd.madd(weights, share, *bias);
            }
        }
        Self { bias, upper, lower }
    }

    /// The sums of a result that sees the first three columns.
    #[inline(always)]
    fn multiply(&self, simd: S, columns: &[Column<S>]) -> [S::I32; 2] {
        let columns: &[_; 3] = columns.first_chunk().expect("three columns");
        let mut sums = self.bias;
        for (v, sum) in sums.iter_mut().enumerate() {
            for (column, weights) in columns.iter().zip(&self.upper) {
                *sum = simd.madd(column.upper[v], weights[v], *sum);
            }
            *sum = simd.madd(columns[0].lower[v], self.lower[0][v], *sum);
            *sum = simd.madd(columns[2].lower[v], self.lower[1][v], *sum);
        }
        sums
    }
}

/// Three rows of the input, as a step of channels sees them.
struct Rows<'a> {
    /// Where the channels of the first column are; in the pads, a vector of zero points.
    starts: [*const u8; 3],
    /// From one column to the next; none in the pads.
    steps: [usize; 3],
    width: usize,
    /// Columns of pads before the first.
    pads: usize,
    /// Zero points.
    pad: &'a [u8; MAX_CHANNELS],
}

impl<'a> Rows<'a> {
    /// The rows for the channels from `channel`.
    #[inline(always)]
    fn new(
        geometry: &WindowGeometry,
        rows: &[Option<&[u8]>; 3],
        channel: usize,
        pad: &'a [u8; MAX_CHANNELS],
    ) -> Self {
        let [_, width, channels] = geometry.input;
        let pads = geometry.pad_before[1];
        let mut seen = Self { starts: [pad.as_ptr(); 3], steps: [0; 3], width, pads, pad };
        for (ky, row) in rows.iter().enumerate() {
            if let Some(row) = row {
                seen.starts[ky] = row[channel..].as_ptr();
                seen.steps[ky] = channels;
            }
        }
        seen
    }

    /// Widens as many columns from the `first` on, pads counted.
    #[inline(always)]
    fn widen<S: Simd>(&self, simd: S, first: usize, columns: &mut [Column<S>]) {
        let mut at = [self.column(0, first), self.column(1, first), self.column(2, first)];
        // Wraps in the pads before the first column, so that it is beyond the last.
        let mut x = first.wrapping_sub(self.pads);
        for column in columns {
            let next = at[2].wrapping_add(self.steps[2]);
            let seen = if x < self.width { at } else { [self.pad.as_ptr(); 3] };
            let next = if x.wrapping_add(1) < self.width { next } else { self.pad.as_ptr() };
            // SAFETY: two vectors of levels each: of a row, since `x` is one of its columns, or of pads.
            unsafe {
                column.upper = simd.interleave_u8([seen[0], seen[1]]);
                column.lower = simd.interleave_u8([seen[2], next]);
            }
            for (at, step) in at.iter_mut().zip(self.steps) {
                *at = at.wrapping_add(step);
            }
            x = x.wrapping_add(1);
        }
    }

    /// Where the channels of column `x`, pads counted, would be if there were no pads.
    #[inline(always)]
    fn column(&self, row: usize, x: usize) -> *const u8 {
        self.starts[row].wrapping_add(x.wrapping_sub(self.pads).wrapping_mul(self.steps[row]))
    }
}
