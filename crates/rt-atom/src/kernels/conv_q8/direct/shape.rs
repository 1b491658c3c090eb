//! What a convolution without a matrix of windows derives from its shapes: segments of windows, bands, scratch.

use embdl_core::kernels::ConvProblem;

use crate::simd::words::{WORD_STEP, Words};

/// Bytes of input rows that a band holds.
const BAND_BYTES: usize = 192 * 1024;
/// Bytes to which parts of the scratch are aligned.
pub(super) const ALIGNMENT: usize = 64;

/// What follows from the shapes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) problem: ConvProblem,
    /// Channels of a panel.
    pub(super) nr: usize,
    /// Input channels of a group.
    pub(super) channels: usize,
    /// Where the segments of a window start, in elements of a band.
    pub(super) segments: Vec<usize>,
    /// Elements of a segment, and as many as are multiplied.
    pub(super) segment: [usize; 2],
    /// Pixels of a row of the band.
    pub(super) width: usize,
    /// Whether rows are copied.
    pub(super) is_copied: bool,
    /// Lines of a window that are brought together, if they are.
    pub(super) lines: Option<Lines>,
}

/// Short lines of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) count: usize,
    /// Elements of a line, at most [`LINE`].
    pub(super) len: usize,
    /// Elements of a band from one line to the next.
    pub(super) step: usize,
}

/// Elements that are moved for a line, and so the most that it may have.
pub(super) const LINE: usize = 16;

impl Shape {
    pub(super) fn new<S: Words>(problem: &ConvProblem, is_words: bool) -> Self {
        let geometry = &problem.geometry;
        let channels = geometry.input[2] / problem.groups;
        let [kh, kw] = geometry.kernel;
        let touches_pads = (0..2).any(|axis| {
            let inside = geometry.inside(axis);
            inside.len() < geometry.output[axis]
        });
        let taps_touch = geometry.dilation[1] == 1;
        let segment = if taps_touch { kw * channels } else { channels };
        let step = if is_words { WORD_STEP } else { S::KR_BYTES };
        let steps = segment.next_multiple_of(step);
        let whole = (kh * segment).next_multiple_of(step);
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
    pub(super) fn k(&self) -> usize {
        self.segments.len() * self.segment[1]
    }

    pub(super) fn panels_of_group(&self) -> usize {
        (self.problem.n / self.problem.groups).div_ceil(self.nr)
    }

    /// Input rows that `rows` rows of the result see.
    pub(super) const fn input_rows(&self, rows: usize) -> usize {
        let geometry = &self.problem.geometry;
        (rows - 1) * geometry.stride[0] + geometry.dilation[0] * (geometry.kernel[0] - 1) + 1
    }

    /// Elements of the band of so many rows of the result, and what is read beyond them.
    pub(super) fn band_len(&self, rows: usize) -> usize {
        if !self.is_copied {
            return 0;
        }
        self.input_rows(rows) * self.width * self.channels + ALIGNMENT
    }

    /// Elements of the windows of so many rows of the result, where their lines are brought together.
    pub(super) const fn matrix_len(&self, rows: usize) -> usize {
        if self.lines.is_none() {
            return 0;
        }
        rows * self.problem.geometry.output[1] * self.segment[1] + LINE
    }

    /// Rows of the result of a band, whose elements take `size` bytes.
    pub(super) fn rows(&self, size: usize) -> usize {
        let oh = self.problem.geometry.output[0].max(1);
        let row = size * self.width * self.channels * self.problem.geometry.stride[0];
        let row = row.max(size * self.matrix_len(1));
        let rows = (BAND_BYTES / row.max(1)).clamp(1, oh.div_ceil(self.problem.threads.max(1)));
        // Bands of about equal size.
        oh.div_ceil(oh.div_ceil(rows))
    }

    /// Bytes of a worker's scratch: the band, its windows, and where those of its pixels start.
    pub(super) fn worker_bytes(&self, size: usize) -> usize {
        let rows = self.rows(size);
        let band = (size * self.band_len(rows)).next_multiple_of(ALIGNMENT);
        let matrix = (size * self.matrix_len(rows)).next_multiple_of(ALIGNMENT);
        band + matrix + (4 * rows * self.problem.geometry.output[1]).next_multiple_of(ALIGNMENT)
    }

    /// The panel and the lane of an output channel.
    pub(super) fn place(&self, channel: usize) -> (usize, usize) {
        let width = self.problem.n / self.problem.groups;
        (
            channel / width * self.panels_of_group() + channel % width / self.nr,
            channel % width % self.nr,
        )
    }

    /// Calls `put` with panel, element of a row, and lane of each of the filters' weights.
    pub(super) fn for_each_weight(
        &self,
        filters: &[i8],
        mut put: impl FnMut(usize, usize, usize, i8),
    ) {
        let [len, steps] = self.segment;
        for (j, filter) in filters.chunks_exact(self.problem.k().max(1)).enumerate() {
            let (panel, lane) = self.place(j);
            for (index, segment) in filter.chunks_exact(len).enumerate() {
                for (p, &w) in (index * steps..).zip(segment) {
                    put(panel, p, lane, w);
                }
            }
        }
    }
}
