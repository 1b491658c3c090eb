//! The geometry of a sliding window over one sample, shared by convolutions and pooling.

use core::ops::Range;

use crate::op::Window;
use crate::tensor::Shape;

/// Geometry of a sliding window over one sample: everything resolved, pads already checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowGeometry {
    /// Input height, width, channels.
    pub input: [usize; 3],
    /// Result height and width.
    pub output: [usize; 2],
    /// Window taps in height and width.
    pub kernel: [usize; 2],
    /// Steps.
    pub stride: [usize; 2],
    /// Distance of taps.
    pub dilation: [usize; 2],
    /// Rows added on top, columns added on the left.
    pub pad_before: [usize; 2],
    /// Rows added at the bottom, columns added on the right.
    pub pad_after: [usize; 2],
}

impl WindowGeometry {
    /// The geometry of `window` that turns one sample of shape `input` into one of shape `output` (both NHWC, of which
    /// the batch is ignored).
    ///
    /// # Panics
    /// If a shape does not have four dimensions.
    #[must_use]
    pub fn new(window: &Window, input: Shape, output: Shape) -> Self {
        let pair = |values: [u32; 2]| values.map(|value| value as usize);
        let [top, left, bottom, right] = window.pads;
        Self {
            input: [input.dim(1), input.dim(2), input.dim(3)],
            output: [output.dim(1), output.dim(2)],
            kernel: pair(window.kernel),
            stride: pair(window.stride),
            dilation: pair(window.dilation),
            pad_before: pair([top, left]),
            pad_after: pair([bottom, right]),
        }
    }

    /// Elements of the input.
    #[must_use]
    pub const fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.input[2]
    }

    /// Elements of a result with as many channels as the input.
    #[must_use]
    pub const fn output_len(&self) -> usize {
        self.output[0] * self.output[1] * self.input[2]
    }

    /// Element of a result with as many channels as the input at which position `at` (row, column) starts.
    #[must_use]
    pub const fn output_index(&self, at: [usize; 2]) -> usize {
        (at[0] * self.output[1] + at[1]) * self.input[2]
    }

    /// The same window over the lines that result rows `rows` see, and those lines' elements of the input; `None` where
    /// the rows see no line.
    #[must_use]
    pub fn of_rows(&self, rows: Range<usize>) -> Option<(Self, Range<usize>)> {
        let first = rows.start * self.stride[0];
        let span = (self.kernel[0] - 1) * self.dilation[0] + 1;
        // Lines are counted with the pads first.
        let (top, end) = (self.pad_before[0], self.pad_before[0] + self.input[0]);
        let lines = first.clamp(top, end)..((rows.end - 1) * self.stride[0] + span).clamp(top, end);
        if rows.is_empty() || lines.is_empty() {
            return None;
        }
        let mut part = *self;
        part.input[0] = lines.len();
        part.output[0] = rows.len();
        part.pad_before[0] = lines.start - first;
        part.pad_after[0] = end + self.pad_after[0] - lines.end;
        let line = self.input[1] * self.input[2];
        Some((part, (lines.start - top) * line..(lines.end - top) * line))
    }

    /// Taps along `axis` (0 height, 1 width) that lie inside the input for result position `at`.
    #[must_use]
    pub const fn valid_taps(&self, axis: usize, at: usize) -> Range<usize> {
        let start = at * self.stride[axis];
        let step = self.dilation[axis];
        let first = self.pad_before[axis].saturating_sub(start).div_ceil(step);
        let room = (self.input[axis] + self.pad_before[axis]).saturating_sub(start);
        let end = room.div_ceil(step);
        let end = if end < self.kernel[axis] { end } else { self.kernel[axis] };
        if first < end { first..end } else { 0..0 }
    }

    /// Whether all taps along `axis` lie inside the input for result position `at`.
    #[must_use]
    pub const fn is_inside(&self, axis: usize, at: usize) -> bool {
        let first = at * self.stride[axis];
        let last = first + self.dilation[axis] * (self.kernel[axis] - 1);
        first >= self.pad_before[axis] && last < self.pad_before[axis] + self.input[axis]
    }

    /// Result positions along `axis` whose taps all lie inside the input.
    #[must_use]
    pub const fn inside(&self, axis: usize) -> Range<usize> {
        let (extent, stride) = (self.pad_before[axis] + self.input[axis], self.stride[axis]);
        let span = self.dilation[axis] * (self.kernel[axis] - 1);
        let first = self.pad_before[axis].div_ceil(stride);
        let end = if extent > span { (extent - 1 - span) / stride + 1 } else { 0 };
        let end = if end < self.output[axis] { end } else { self.output[axis] };
        if first < end { first..end } else { 0..0 }
    }

    /// Number of taps along `axis` that lie inside the input or its pads; fewer than the kernel has only where a
    /// window of ceil mode hangs over the end.
    #[must_use]
    pub const fn padded_taps(&self, axis: usize, at: usize) -> usize {
        let extent = self.pad_before[axis] + self.input[axis] + self.pad_after[axis];
        let taps = extent.saturating_sub(at * self.stride[axis]).div_ceil(self.dilation[axis]);
        if taps < self.kernel[axis] { taps } else { self.kernel[axis] }
    }

    /// Row or column of the input that tap `tap` of result position `at` reads. Only for valid taps.
    #[must_use]
    pub const fn input_position(&self, axis: usize, at: usize, tap: usize) -> usize {
        at * self.stride[axis] + tap * self.dilation[axis] - self.pad_before[axis]
    }

    /// Calls `visit(pixel of the input, tap of the kernel)` for the taps of result position `at` inside the input.
    #[inline]
    pub fn for_each_tap(&self, at: [usize; 2], mut visit: impl FnMut(usize, usize)) {
        let columns = self.valid_taps(1, at[1]);
        for ky in self.valid_taps(0, at[0]) {
            let line = self.input_position(0, at[0], ky) * self.input[1];
            for kx in columns.clone() {
                visit(line + self.input_position(1, at[1], kx), ky * self.kernel[1] + kx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_rows_sees_the_same_taps() {
        for (input, kernel, stride, dilation, before, after) in
            [(9, 3, 1, 1, 1, 1), (8, 3, 2, 1, 0, 1), (7, 2, 2, 3, 2, 2), (5, 5, 1, 1, 2, 4)]
        {
            let extent = before + input + after - dilation * (kernel - 1) - 1;
            let whole = WindowGeometry {
                input: [input, input, 2],
                output: [extent / stride + 1; 2],
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [dilation; 2],
                pad_before: [before; 2],
                pad_after: [after; 2],
            };
            for start in 0..whole.output[0] {
                for end in start + 1..=whole.output[0] {
                    let Some((part, elements)) = whole.of_rows(start..end) else { continue };
                    assert_eq!(elements.len(), part.input_len());
                    for (row, ox) in (start..end).flat_map(|row| [(row, 0), (row, 1)]) {
                        let (mut expected, mut found) = (alloc::vec![], alloc::vec![]);
                        whole.for_each_tap([row, ox], |pixel, tap| expected.push((pixel, tap)));
                        let first = elements.start / 2;
                        part.for_each_tap([row - start, ox], |pixel, tap| {
                            found.push((first + pixel, tap));
                        });
                        assert_eq!(found, expected, "{whole:?} {start}..{end} at {row}, {ox}");
                        assert_eq!(part.padded_taps(0, row - start), whole.padded_taps(0, row));
                    }
                }
            }
        }
    }

    #[test]
    fn taps_are_those_that_touch_the_input() {
        for (input, kernel, stride, dilation, before, after) in
            [(5, 3, 1, 1, 1, 1), (5, 3, 2, 2, 2, 0), (1, 4, 1, 3, 9, 9), (7, 2, 3, 1, 0, 1)]
        {
            let axis = |value: usize| [value, 1];
            let padded = before + input + after;
            let geometry = WindowGeometry {
                input: [input, 1, 1],
                output: axis((padded - dilation * (kernel - 1) - 1).div_ceil(stride) + 1),
                kernel: axis(kernel),
                stride: axis(stride),
                dilation: axis(dilation),
                pad_before: [before, 0],
                pad_after: [after, 0],
            };
            for at in 0..geometry.output[0] {
                assert_eq!(
                    geometry.inside(0).contains(&at),
                    geometry.is_inside(0, at),
                    "{geometry:?} at {at}"
                );
                let touching: alloc::vec::Vec<usize> = (0..kernel)
                    .filter(|tap| {
                        (before..before + input).contains(&(at * stride + tap * dilation))
                    })
                    .collect();
                let found: alloc::vec::Vec<usize> = geometry.valid_taps(0, at).collect();
                assert_eq!(found, touching, "{geometry:?} at {at}");
                assert_eq!(
                    geometry.is_inside(0, at),
                    found.len() == kernel,
                    "{geometry:?} at {at}"
                );
                let in_pads =
                    (0..kernel).filter(|tap| at * stride + tap * dilation < padded).count();
                assert_eq!(geometry.padded_taps(0, at), in_pads, "{geometry:?} at {at}");
            }
        }
    }
}
