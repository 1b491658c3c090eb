//! Convolutions as matrix products whose rows lie in the input: no matrix of windows is written.
//!
//! ```text
//! for each band of result rows
//!     copy its input rows, pads included, one group of channels     bytes, or words where products are of words
//!     for each panel of output channels, for each MR pixels
//!         tile = bias
//!         for each segment of the window: tile += rows at the pixels + segment * weights of the segment
//! ```
//!
//! A segment is what lies together in a window: a row of taps with all channels, or one tap where taps lie apart. It is
//! filled up to whole steps of four with weights of zero, so what a row reads beyond its segment does not matter. Where a
//! window never touches a pad and rows need not be widened, the input is read as it is.
//!
//! Windows of few channels, such as those of first layers, have lines so short that filling them up would cost more than
//! writing a matrix of windows: their lines are brought together, a band at a time.
//!
//! Levels without an exact dot product multiply weights above 64 as words (`pmaddwd`): widened once a band, and not
//! once a tile, they take a third of the instructions less.

use core::ops::Range;

use embdl_core::kernels::parallel::for_each_piece;
use embdl_core::kernels::{ConvProblem, ConvQ8, ConvWay, ConvWeights, OutQ8, Parallel};

use super::Compiled;
use crate::kernels::gemm::{PAIRS, Products, QUADS, q8::multiply_bytes};
use crate::kernels::output::{Block, Stage, store};
use crate::simd::Simd;
use crate::simd::words::{WORD_STEP, Words, word_position};

/// Bytes of input rows that a band holds.
const BAND_BYTES: usize = 192 * 1024;
/// Bytes to which parts of the scratch are aligned.
const ALIGNMENT: usize = 64;

/// A convolution packed for products without a matrix.
#[derive(Debug)]
pub(crate) struct Direct<S> {
    level: S,
    shape: Shape,
    weights: Weights,
    /// Biases less the zero point's share, a panel's lanes for each panel.
    bias: Vec<i32>,
    zero_point: u8,
}

/// Weights, `[panel][segment]`, each in steps of four elements.
#[derive(Debug)]
enum Weights {
    /// In bytes, with the way to sum their products.
    Bytes(Vec<i8>, Products),
    Words(Vec<i16>),
}

/// What follows from the shapes.
#[derive(Clone, Debug)]
struct Shape {
    problem: ConvProblem,
    /// Channels of a panel.
    nr: usize,
    /// Input channels of a group.
    channels: usize,
    /// Where the segments of a window start, in elements of a band.
    segments: Vec<usize>,
    /// Elements of a segment, and as many as are multiplied.
    segment: [usize; 2],
    /// Pixels of a row of the band.
    width: usize,
    /// Whether rows are copied.
    is_copied: bool,
    /// Lines of a window that are brought together, if they are.
    lines: Option<Lines>,
}

/// Short lines of a window.
#[derive(Clone, Copy, Debug)]
struct Lines {
    count: usize,
    /// Elements of a line, at most [`LINE`].
    len: usize,
    /// Elements of a band from one line to the next.
    step: usize,
}

/// Elements that are moved for a line, and so the most that it may have.
const LINE: usize = 16;

impl Shape {
    fn new<S: Simd>(problem: &ConvProblem, is_words: bool) -> Self {
        let geometry = &problem.geometry;
        let channels = geometry.input[2] / problem.groups;
        let [kh, kw] = geometry.kernel;
        let touches_pads = (0..2).any(|axis| {
            let inside = geometry.inside(axis);
            inside.len() < geometry.output[axis]
        });
        let taps_touch = geometry.dilation[1] == 1;
        let segment = if taps_touch { kw * channels } else { channels };
        let steps = segment.next_multiple_of(WORD_STEP);
        let whole = (kh * segment).next_multiple_of(WORD_STEP);
        // Bringing lines together pays from so many channels of the result on: measured.
        let has_many = problem.n / problem.groups >= 8 * S::LANES.min(8);
        let is_short = has_many && taps_touch && segment <= LINE && 10 * kh * steps > 11 * whole;
        let is_copied =
            is_words || is_short || touches_pads || problem.groups > 1 || segment != steps;
        let span = geometry.dilation[1] * (kw - 1);
        let width = if is_copied {
            (geometry.output[1].max(1) - 1) * geometry.stride[1] + span + 1
        } else {
            geometry.input[1]
        };
        let line = geometry.dilation[0] * width * channels;
        let lines = is_short.then_some(Lines { count: kh, len: segment, step: line });
        let columns = if taps_touch { 1 } else { kw };
        let (segments, segment) = if is_short {
            (vec![0], [kh * segment, whole])
        } else {
            let column = geometry.dilation[1] * channels;
            let tap = |ky: usize| (0..columns).map(move |kx| ky * line + kx * column);
            ((0..kh).flat_map(tap).collect(), [segment, steps])
        };
        let problem = *problem;
        let nr = 2 * S::LANES;
        Self { problem, nr, channels, segments, segment, width, is_copied, lines }
    }

    /// Elements of a row of weights.
    fn k(&self) -> usize {
        self.segments.len() * self.segment[1]
    }

    fn panels_of_group(&self) -> usize {
        (self.problem.n / self.problem.groups).div_ceil(self.nr)
    }

    /// Input rows that `rows` rows of the result see.
    const fn input_rows(&self, rows: usize) -> usize {
        let geometry = &self.problem.geometry;
        (rows - 1) * geometry.stride[0] + geometry.dilation[0] * (geometry.kernel[0] - 1) + 1
    }

    /// Elements of the band of so many rows of the result, and what is read beyond them.
    fn band_len(&self, rows: usize) -> usize {
        if !self.is_copied {
            return 0;
        }
        self.input_rows(rows) * self.width * self.channels + ALIGNMENT
    }

    /// Elements of the windows of so many rows of the result, where their lines are brought together.
    const fn matrix_len(&self, rows: usize) -> usize {
        if self.lines.is_none() {
            return 0;
        }
        rows * self.problem.geometry.output[1] * self.segment[1] + LINE
    }

    /// Rows of the result of a band, whose elements take `size` bytes.
    fn rows(&self, size: usize) -> usize {
        let oh = self.problem.geometry.output[0].max(1);
        let row = size * self.width * self.channels * self.problem.geometry.stride[0];
        let row = row.max(size * self.matrix_len(1));
        let rows = (BAND_BYTES / row.max(1)).clamp(1, oh.div_ceil(self.problem.threads.max(1)));
        // Bands of about equal size.
        oh.div_ceil(oh.div_ceil(rows))
    }

    /// Bytes of a worker's scratch: the band, its windows, and where those of its pixels start.
    fn worker_bytes(&self, size: usize) -> usize {
        let rows = self.rows(size);
        let band = (size * self.band_len(rows)).next_multiple_of(ALIGNMENT);
        let matrix = (size * self.matrix_len(rows)).next_multiple_of(ALIGNMENT);
        band + matrix + (4 * rows * self.problem.geometry.output[1]).next_multiple_of(ALIGNMENT)
    }
}

/// The way, where it is one.
pub(super) fn way<S: Compiled>(problem: &ConvProblem) -> Option<ConvWay> {
    let is_words = !S::HAS_DOT;
    let shape = Shape::new::<S>(problem, is_words);
    // Starts are stored in 32 bits.
    let largest =
        shape.input_rows(problem.geometry.output[0].max(1)) * shape.width * shape.channels;
    // Where pixels are windows and stay bytes, GEMM has its rows as they are.
    let is_gemm = problem.is_pointwise() && problem.groups == 1 && !is_words;
    if u32::try_from(largest).is_err() || shape.k() == 0 || is_gemm {
        return None;
    }
    let panels = shape.panels_of_group() * problem.groups;
    let size = if is_words { 2 } else { 1 };
    // Which of them it will be is known when the weights are.
    let as_bytes = Shape::new::<S>(problem, false).worker_bytes(1);
    let scratch = shape.worker_bytes(size).max(as_bytes);
    Some(ConvWay {
        name: S::DIRECT,
        cost: cost::<S>(problem, &shape),
        weight_bytes: panels * shape.nr * (size * shape.k() + 4),
        scratch_bytes: problem.threads * (scratch + ALIGNMENT),
    })
}

/// Time in products of GEMM. With a dot product it is never more than GEMM's, which writes the matrix; without one, words
/// are measured to take 0.7 of the time of bytes that are widened in every tile.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn cost<S: Words>(problem: &ConvProblem, shape: &Shape) -> f32 {
    let [oh, ow] = problem.geometry.output;
    let results = (oh * ow * problem.n) as f32;
    let products = results * shape.k() as f32;
    if S::HAS_DOT {
        let is_filled_up = products > 1.5 * problem.macs();
        return if is_filled_up { products } else { products.min(0.97 * problem.gemm_cost()) };
    }
    // Tiles begin and end once for every half of a panel where words are not broadcast.
    let tile = if S::KR_WORDS == 2 { 3.0 } else { 5.0 };
    0.7 * products + tile * results
}

impl<S: Compiled> Direct<S> {
    /// Packs weights; `None` where GEMM does the same without starts of rows.
    pub(super) fn pack(
        level: S,
        problem: &ConvProblem,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> Option<Self> {
        let largest = weights.weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        let products = Products::for_weights(largest);
        let is_words = !S::HAS_DOT && products == Products::Widened;
        if problem.is_pointwise() && problem.groups == 1 && !is_words {
            return None;
        }
        let shape = Shape::new::<S>(problem, is_words);
        let (k, nr, width) = (shape.k(), shape.nr, problem.n / problem.groups);
        let panels = shape.panels_of_group() * problem.groups;
        let mut bytes = vec![0_i8; if is_words { 0 } else { panels * k * nr }];
        let mut words = vec![0_i16; if is_words { panels * k * nr } else { 0 }];
        let mut bias = vec![0_i32; panels * nr];
        let row = shape.problem.k();
        let [len, steps] = shape.segment;
        for (j, filter) in weights.weights.chunks_exact(row.max(1)).enumerate() {
            let panel = j / width * shape.panels_of_group() + j % width / nr;
            let lane = j % width % nr;
            let sum = filter.iter().fold(0_i32, |sum, &w| sum.wrapping_add(i32::from(w)));
            let own = weights.bias.get(j).copied().unwrap_or(0);
            bias[panel * nr + lane] = own.wrapping_sub(i32::from(zero_point).wrapping_mul(sum));
            for (index, segment) in filter.chunks_exact(len).enumerate() {
                for (p, &w) in (index * steps..).zip(segment) {
                    if is_words {
                        words[panel * k * nr + word_position::<S>(k, p, lane)] = i16::from(w);
                    } else {
                        bytes[panel * k * nr + (p / 4 * nr + lane) * 4 + p % 4] = w;
                    }
                }
            }
        }
        let weights =
            if is_words { Weights::Words(words) } else { Weights::Bytes(bytes, products) };
        Some(Self { level, shape, weights, bias, zero_point })
    }

    /// Bytes of an element of a band.
    const fn size(&self) -> usize {
        match self.weights {
            Weights::Bytes(..) => 1,
            Weights::Words(_) => 2,
        }
    }
}

impl<S: Compiled> ConvQ8 for Direct<S> {
    fn weight_bytes(&self) -> usize {
        4 * self.bias.len()
            + match &self.weights {
                Weights::Bytes(weights, _) => weights.len(),
                Weights::Words(weights) => 2 * weights.len(),
            }
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let ConvProblem { geometry, out_stride, .. } = self.shape.problem;
        assert!(input.len() == geometry.input_len(), "{} inputs", input.len());
        let rows = self.shape.rows(self.size());
        let [oh, ow] = geometry.output;
        let piece = rows * ow * out_stride;
        let each = |index: usize, out: OutQ8<'_>, scratch: &mut [u8]| {
            let first = index * rows;
            self.level.direct_rows(self, input, first..oh.min(first + rows), scratch, out);
        };
        match out {
            OutQ8::U8(requant, out) => {
                for_each_piece(parallel, out, piece, scratch, |index, out, scratch| {
                    each(index, OutQ8::U8(requant, out), scratch);
                });
            }
            OutQ8::I32(out) => {
                for_each_piece(parallel, out, piece, scratch, |index, out, scratch| {
                    each(index, OutQ8::I32(out), scratch);
                });
            }
        }
    }
}

/// The result's rows `rows`, which `out` starts with.
#[inline(always)]
pub(super) fn rows<S: Compiled>(
    simd: S,
    conv: &Direct<S>,
    input: &[u8],
    rows: Range<usize>,
    scratch: &mut [u8],
    mut out: OutQ8<'_>,
) {
    let shape = &conv.shape;
    let geometry = &shape.problem.geometry;
    let start = scratch.as_ptr().align_offset(ALIGNMENT);
    let band_bytes = conv.size() * shape.band_len(shape.rows(conv.size()));
    let (band, rest) = scratch[start..].split_at_mut(band_bytes.next_multiple_of(ALIGNMENT));
    let matrix_bytes = conv.size() * shape.matrix_len(shape.rows(conv.size()));
    let (matrix, starts) = rest.split_at_mut(matrix_bytes.next_multiple_of(ALIGNMENT));
    // SAFETY: any bytes are integers.
    let starts = unsafe { starts.align_to_mut::<u32>().1 };
    let pixels = rows.len() * geometry.output[1];
    let starts = &mut starts[..pixels];
    let line = shape.width * shape.channels * geometry.stride[0];
    for (row, starts) in starts.chunks_exact_mut(geometry.output[1]).enumerate() {
        for (column, start) in starts.iter_mut().enumerate() {
            let at = if shape.lines.is_some() {
                (row * geometry.output[1] + column) * shape.segment[1]
            } else {
                row * line + column * geometry.stride[1] * shape.channels
            };
            *start = u32::try_from(at).expect("ways end where starts do not fit");
        }
    }
    for group in 0..shape.problem.groups {
        let band_of = (group, rows.clone());
        match &conv.weights {
            Weights::Bytes(weights, products) => {
                let lhs = if shape.is_copied {
                    copy(conv, input, band_of, band);
                    join_lines(shape, rows.len(), band, matrix)
                } else {
                    &input[rows.start * line..]
                };
                if *products == Products::Quads && !S::HAS_DOT {
                    let factors = Bytes::<QUADS> { lhs, weights };
                    panels(simd, conv, group, starts, &factors, &mut out);
                } else {
                    let factors = Bytes::<PAIRS> { lhs, weights };
                    panels(simd, conv, group, starts, &factors, &mut out);
                }
            }
            Weights::Words(weights) => {
                // SAFETY: any bytes are words.
                let [band, matrix] = [&mut *band, &mut *matrix]
                    .map(|bytes| unsafe { bytes.align_to_mut::<i16>().1 });
                copy(conv, input, band_of, band);
                let lhs = join_lines(shape, rows.len(), band, matrix);
                panels(simd, conv, group, starts, &Pairs { lhs, weights }, &mut out);
            }
        }
    }
}

/// Copies the input rows of result rows, with pads, of a group of channels.
#[inline(always)]
fn copy<S, T: Copy + From<u8>>(
    conv: &Direct<S>,
    input: &[u8],
    (group, rows): (usize, Range<usize>),
    band: &mut [T],
) {
    let shape = &conv.shape;
    let geometry = &shape.problem.geometry;
    let [height, width, all] = geometry.input;
    let (channels, pad) = (shape.channels, T::from(conv.zero_point));
    let before = geometry.pad_before[1].min(shape.width);
    let inside = width.min(shape.width - before);
    let lines = band.chunks_exact_mut(shape.width * channels);
    for (row, line) in lines.take(shape.input_rows(rows.len())).enumerate() {
        let y = (rows.start * geometry.stride[0] + row).checked_sub(geometry.pad_before[0]);
        let Some(y) = y.filter(|&y| y < height) else {
            line.fill(pad);
            continue;
        };
        let (left, rest) = line.split_at_mut(before * channels);
        let (middle, right) = rest.split_at_mut(inside * channels);
        left.fill(pad);
        right.fill(pad);
        let source = &input[y * width * all..][..inside * all];
        if channels == all {
            for (slot, &x) in middle.iter_mut().zip(source) {
                *slot = T::from(x);
            }
            continue;
        }
        for (target, source) in middle.chunks_exact_mut(channels).zip(source.chunks_exact(all)) {
            for (slot, &x) in target.iter_mut().zip(&source[group * channels..]) {
                *slot = T::from(x);
            }
        }
    }
}

/// Brings the lines of the windows of `rows` rows of the result together in `matrix`, where they are short; gives what
/// rows of products lie in.
#[inline(always)]
fn join_lines<'a, T: Copy>(
    shape: &Shape,
    rows: usize,
    band: &'a [T],
    matrix: &'a mut [T],
) -> &'a [T] {
    let Some(Lines { count, len, step }) = shape.lines else { return band };
    let geometry = &shape.problem.geometry;
    let pixel = geometry.stride[1] * shape.channels;
    let mut window = 0;
    for row in 0..rows {
        let first = row * shape.width * shape.channels * geometry.stride[0];
        for column in 0..geometry.output[1] {
            for line in 0..count {
                // What is moved too much is written over by the next line; the last one meets weights of zero.
                let source = band[first + column * pixel + line * step..].first_chunk::<LINE>();
                let target = matrix[window + line * len..].first_chunk_mut::<LINE>();
                *target.expect("windows end before the matrix") =
                    *source.expect("lines end before the band");
            }
            window += shape.segment[1];
        }
    }
    matrix
}

/// What is multiplied.
trait Factors<S: Simd> {
    /// Rows of a tile.
    const ROWS: usize;
    /// Whether half a panel is done in half the time.
    const HALVES: bool;
    /// Elements of rows.
    fn len(&self) -> usize;
    /// Adds to `sums` the products of `M` rows, which start at `starts`, with the weights from `weight` on.
    ///
    /// # Safety
    /// Each row must have all elements of all segments, and there must be weights for all of a panel.
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        weight: usize,
        shape: &Shape,
    );
}

/// Rows and weights in bytes.
struct Bytes<'a, const PRODUCTS: u8> {
    lhs: &'a [u8],
    weights: &'a [i8],
}

impl<S: Simd, const PRODUCTS: u8> Factors<S> for Bytes<'_, PRODUCTS> {
    const ROWS: usize = S::MR_Q8;
    const HALVES: bool = true;

    #[inline(always)]
    fn len(&self) -> usize {
        self.lhs.len()
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        weight: usize,
        shape: &Shape,
    ) {
        // SAFETY: by the contract.
        let mut weights = unsafe { self.weights.as_ptr().add(weight).cast::<u8>() };
        for &segment in &shape.segments {
            let mut rows = [self.lhs.as_ptr(); M];
            let steps = shape.segment[1];
            // SAFETY: by the contract; a segment of a panel has `steps` weights of each channel.
            unsafe {
                for (row, &start) in rows.iter_mut().zip(starts) {
                    *row = row.add(start as usize + segment);
                }
                multiply_bytes::<S, M, NV, PRODUCTS>(simd, sums, rows, steps / 4, weights);
                weights = weights.add(steps * shape.nr);
            }
        }
    }
}

/// Rows and weights in words.
struct Pairs<'a> {
    lhs: &'a [i16],
    weights: &'a [i16],
}

impl<S: Words> Factors<S> for Pairs<'_> {
    const ROWS: usize = S::MR_WORDS;
    const HALVES: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.lhs.len()
    }

    #[inline(always)]
    unsafe fn multiply<const M: usize, const NV: usize>(
        &self,
        simd: S,
        sums: &mut [[S::I32; NV]; M],
        starts: &[u32; M],
        weight: usize,
        shape: &Shape,
    ) {
        let mut both = [[simd.splat_i32(0); 2]; M];
        for (both, sums) in both.iter_mut().zip(&*sums) {
            both[..NV].copy_from_slice(sums);
        }
        let mut rows = [self.lhs.as_ptr(); M];
        // SAFETY: by the contract.
        unsafe {
            for (row, &start) in rows.iter_mut().zip(starts) {
                *row = row.add(start as usize);
            }
            let weights = self.weights.as_ptr().add(weight);
            simd.multiply_words(&mut both, rows, &shape.segments, shape.segment[1], weights);
        }
        for (both, sums) in both.iter().zip(sums) {
            sums.copy_from_slice(&both[..NV]);
        }
    }
}

/// Every panel of a group, for pixels whose windows begin at `starts`.
#[inline(always)]
fn panels<S: Words, F: Factors<S>>(
    simd: S,
    conv: &Direct<S>,
    group: usize,
    starts: &[u32],
    factors: &F,
    out: &mut OutQ8<'_>,
) {
    let shape = &conv.shape;
    let width = shape.problem.n / shape.problem.groups;
    let reach = shape.segments.last().map_or(0, |last| last + shape.segment[1]);
    let Some(last) = starts.last() else { return };
    assert!(*last as usize + reach <= factors.len(), "rows end before their windows");
    for index in 0..shape.panels_of_group() {
        let channel = group * width + index * shape.nr;
        let panel = Panel {
            conv,
            starts,
            factors,
            index: group * shape.panels_of_group() + index,
            channel,
            count: shape.nr.min(width - index * shape.nr),
            stage: Stage::prepare(simd, out, channel),
        };
        let mut first = 0;
        while first < starts.len() {
            macro_rules! tile {
                ($m:literal) => {{
                    if F::HALVES && panel.count <= S::LANES {
                        tile::<S, F, $m, 1>(simd, &panel, first, out);
                    } else {
                        tile::<S, F, $m, 2>(simd, &panel, first, out);
                    }
                    $m
                }};
            }
            first += match starts.len() - first {
                12.. if F::ROWS >= 12 => tile!(12),
                8.. if F::ROWS >= 8 => tile!(8),
                6.. if F::ROWS == 6 => tile!(6),
                4.. => tile!(4),
                2.. => tile!(2),
                _ => tile!(1),
            };
        }
    }
}

/// A panel of channels, and the pixels it meets.
struct Panel<'a, S: Simd, F> {
    conv: &'a Direct<S>,
    /// Where the windows of the pixels begin.
    starts: &'a [u32],
    factors: &'a F,
    /// Number of the panel.
    index: usize,
    /// Its first channel.
    channel: usize,
    /// Channels that are there.
    count: usize,
    stage: Option<Stage<S>>,
}

/// `M` pixels from `first` on, times `NV` vectors of channels.
#[inline(always)]
fn tile<S: Words, F: Factors<S>, const M: usize, const NV: usize>(
    simd: S,
    panel: &Panel<'_, S, F>,
    first: usize,
    out: &mut OutQ8<'_>,
) {
    let Panel { conv, starts, factors, .. } = panel;
    let shape = &conv.shape;
    let starts: &[u32; M] = starts[first..].first_chunk().expect("a tile of pixels");
    let bias = &conv.bias[panel.index * shape.nr..][..shape.nr];
    let mut sums = [[simd.splat_i32(0); NV]; M];
    for v in 0..NV {
        // SAFETY: a panel has two vectors of biases.
        let bias = unsafe { simd.load_bytes(bias.as_ptr().add(v * S::LANES).cast()) };
        for sums in &mut sums {
            sums[v] = bias;
        }
    }
    let weight = panel.index * shape.k() * shape.nr;
    // SAFETY: starts and segments ascend, and `panels` asserted that the last has its elements; there are weights for every
    // panel.
    unsafe { factors.multiply::<M, NV>(simd, &mut sums, starts, weight, shape) };
    let stride = shape.problem.out_stride;
    let Panel { channel, count, .. } = *panel;
    let block = Block { at: first * stride + channel, stride, channel, count };
    store(simd, panel.stage.as_ref(), out, block, &sums);
}
