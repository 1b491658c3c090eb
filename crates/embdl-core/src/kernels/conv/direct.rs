//! Float convolutions without im2col: the windows of a row of results are rows of a matrix as they lie in memory.
//!
//! A window is `kh` runs of `kw * ci` neighbouring elements, one a line of the input, and the windows of neighbouring
//! results start `stride * ci` elements apart. So GEMM can read them in place, `kh` runs a row, if no window hangs over the
//! edge:
//!
//! ```text
//! for each band of rows of results
//!     scratch = the band's lines of the input, with zeros for the pads           one copy of each element, not kh * kw
//!     for each row of results: out = clamp(windows(scratch) * weights + bias)    GEMM with m = ow, k = kh runs;
//!                                                                                some levels take all rows at once
//! ```
//!
//! What it saves counts where few channels make products cheap beside copies: in first layers.

use super::{ConvF32, ConvLevel, ConvProblem, ConvWeights};
use crate::kernels::gemm::{Lines, Runs};
use crate::kernels::parallel::{Parallel, for_each_piece};
use crate::kernels::{GemmF32, PackedF32, Tile};

/// Bytes of input lines that a band should not exceed: they are read from the first-level cache.
const BAND_BYTES: usize = 24 * 1024;
/// Rows of results a band has at most.
const MAX_ROWS: usize = 8;

/// Sizes of the bands of a problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bands {
    /// Rows of results in a band.
    rows: usize,
    /// Elements of a line with its pads.
    line: usize,
    /// Lines that a band reads.
    lines: usize,
    runs: Runs,
}

impl Bands {
    /// The bands of a problem; `None` where windows are not runs.
    pub(super) fn new(problem: &ConvProblem) -> Option<Self> {
        let geometry = &problem.geometry;
        let ([kh, kw], depth) = (geometry.kernel, geometry.input[2]);
        if problem.groups != 1 || geometry.dilation[1] != 1 || problem.is_pointwise() {
            return None;
        }
        // What the last window of a row reaches; lines may end before it, or go on beyond.
        let width = (geometry.output[1] - 1) * geometry.stride[1] + kw;
        let line = width * depth;
        let lines =
            |rows: usize| (rows - 1) * geometry.stride[0] + (kh - 1) * geometry.dilation[0] + 1;
        let fits = |rows: &usize| 4 * lines(*rows) * line <= BAND_BYTES;
        let rows = (1..=MAX_ROWS.min(geometry.output[0])).rev().find(fits).unwrap_or(1);
        let runs = Runs { count: kh, len: kw * depth, step: geometry.dilation[0] * line };
        Some(Self { rows, line, lines: lines(rows), runs })
    }

    /// Elements of scratch.
    const fn scratch(&self) -> usize {
        self.lines * self.line
    }

    /// Bytes of scratch for all threads.
    pub(super) const fn scratch_bytes(&self, threads: usize) -> usize {
        4 * self.scratch() * threads
    }

    /// Bytes of packed weights.
    pub(super) fn weight_bytes(&self, n: usize, tile: Tile) -> usize {
        let k = self.runs.count * self.runs.len.next_multiple_of(tile.kr);
        4 * n.next_multiple_of(tile.nr) * (k + 1)
    }

    /// Products that take as long: with tiles of up to `mr` rows (1 where they go across lines), of which a short one takes as
    /// long as a half, and the lines that are copied.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn cost(&self, problem: &ConvProblem, mr: usize) -> f32 {
        const COPY: f32 = 2.0;
        let [oh, ow] = problem.geometry.output;
        let short = ow % mr;
        let rows = ow - short + if short == 0 { 0 } else { short.max(mr / 2) };
        let products = (oh * rows * problem.n) as f32 * problem.k() as f32;
        products + COPY * (oh.div_ceil(self.rows) * self.scratch()) as f32
    }
}

/// A convolution whose windows are read in place.
#[derive(Debug)]
pub(super) struct Direct<K> {
    kernels: K,
    problem: ConvProblem,
    bands: Bands,
    weights: PackedF32,
    clamp: (f32, f32),
}

impl<K: ConvLevel> Direct<K> {
    /// Packs the weights by runs.
    pub(super) fn new(
        kernels: K,
        problem: &ConvProblem,
        bands: Bands,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> Self {
        let tile = kernels.tile();
        let Runs { count, len, .. } = bands.runs;
        let padded = len.next_multiple_of(tile.kr);
        let mut packed = PackedF32::zeros(weights.bias, problem.n, count * padded, tile);
        for (channel, filter) in weights.weights.chunks_exact(count * len).enumerate() {
            for (run, elements) in filter.chunks_exact(len).enumerate() {
                packed.put(channel, run * padded, elements);
            }
        }
        kernels.finish(&mut packed);
        Self { kernels, problem: *problem, bands, weights: packed, clamp }
    }

    /// Copies the lines that the results from row `first` on read.
    fn copy_band(&self, first: usize, rows: usize, input: &[f32], band: &mut [f32]) {
        let geometry = &self.problem.geometry;
        let [height, width, depth] = geometry.input;
        let line = self.bands.line;
        let before = (geometry.pad_before[1] * depth).min(line);
        let there = (width * depth).min(line - before);
        let span = (geometry.kernel[0] - 1) * geometry.dilation[0] + 1;
        let lines = (rows - 1) * geometry.stride[0] + span;
        let top = first * geometry.stride[0];
        for (at, band) in band.chunks_exact_mut(line).take(lines).enumerate() {
            let y = (top + at).wrapping_sub(geometry.pad_before[0]);
            if y < height {
                band[..before].fill(0.0);
                band[before..][..there].copy_from_slice(&input[y * width * depth..][..there]);
                band[before + there..].fill(0.0);
            } else {
                band.fill(0.0);
            }
        }
    }
}

impl<K: ConvLevel> ConvF32 for Direct<K> {
    fn weight_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        let ConvProblem { geometry, n, out_stride, .. } = self.problem;
        assert!(input.len() == geometry.input_len(), "{} inputs for {geometry:?}", input.len());
        let [oh, ow] = geometry.output;
        let scratch = &mut scratch[..self.bands.scratch() * parallel.threads()];
        assert!(out.len() >= (oh * ow - 1) * out_stride + n, "{} results", out.len());
        let row = ow * out_stride;
        for_each_piece(parallel, out, self.bands.rows * row, scratch, |index, out, band| {
            let first = index * self.bands.rows;
            let rows = self.bands.rows.min(oh - first);
            self.copy_band(first, rows, input, band);
            let job = GemmF32 {
                m: rows * ow,
                lhs: band,
                lhs_stride: geometry.stride[1] * geometry.input[2],
                weights: &self.weights,
                clamp: self.clamp,
                out_stride,
            };
            let lines = Lines { rows: ow, step: geometry.stride[0] * self.bands.line };
            self.kernels.gemm_lines(&job, self.bands.runs, lines, out);
        });
    }
}
