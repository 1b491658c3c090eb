//! Turns the windows of a convolution into rows of a matrix, a block of output positions at a time.

use core::ops::Range;

use super::WindowGeometry;

/// Copies the windows of the output positions `pixels` (row-major) into `rows`, one row of
/// `kernel * channels.len()` elements a position: taps in row-major order, the input channels `channels` of each.
/// Taps in the pads become `pad`: zero, or the zero point.
///
/// # Panics
/// If `input` or `rows` do not fit the geometry.
pub fn im2col<T: Copy>(
    geometry: &WindowGeometry,
    input: &[T],
    pad: T,
    channels: Range<usize>,
    pixels: Range<usize>,
    rows: &mut [T],
) {
    let [height, width, all_channels] = geometry.input;
    let [kh, kw] = geometry.kernel;
    let depth = channels.len();
    let row_len = kh * kw * depth;
    assert!(input.len() == height * width * all_channels, "{} inputs", input.len());
    assert!(channels.end <= all_channels, "channels {channels:?} of {all_channels}");
    let windows = Windows { geometry, input, channels };
    let mut rows = &mut rows[..pixels.len() * row_len];
    let contiguous = depth == all_channels && geometry.dilation[1] == 1;
    let columns = if contiguous { geometry.inside(1) } else { 0..0 };
    let mut pixel = pixels.start;
    while pixel < pixels.end {
        // Positions of one row of the result: up to the first whose window lies inside, those, or what follows.
        let [oy, ox] = [pixel / geometry.output[1], pixel % geometry.output[1]];
        let row_end = (ox + pixels.end - pixel).min(geometry.output[1]);
        let is_inside = columns.contains(&ox) && geometry.is_inside(0, oy);
        let run_end = match ox {
            _ if is_inside => columns.end,
            _ if ox < columns.start => columns.start,
            _ => row_end,
        };
        let run = ox..run_end.min(row_end);
        pixel += run.len();
        let (now, later) = rows.split_at_mut(run.len() * row_len);
        rows = later;
        if is_inside {
            windows.copy_inside(oy, run, now);
        } else {
            for (ox, row) in run.zip(now.chunks_exact_mut(row_len)) {
                windows.copy_any(oy, ox, pad, row);
            }
        }
    }
}

/// Where windows come from.
struct Windows<'a, T> {
    geometry: &'a WindowGeometry,
    input: &'a [T],
    channels: Range<usize>,
}

impl<T: Copy> Windows<'_, T> {
    /// The windows of positions `run` of result row `oy`, all inside the input, with all channels and neighbouring taps:
    /// the lines of each are contiguous.
    fn copy_inside(&self, oy: usize, run: Range<usize>, rows: &mut [T]) {
        let len = self.geometry.kernel[1] * self.geometry.input[2];
        match len {
            0..=8 => self.copy_lines::<8>(oy, run, len, rows),
            9..=16 => self.copy_lines::<16>(oy, run, len, rows),
            _ => self.copy_lines::<0>(oy, run, len, rows),
        }
    }

    /// Copies lines of `len` elements by one move of `MOVE`, because a call to memcpy costs more than a few elements: what is
    /// copied too much is written over by the line that follows. Without room for that, and for a `MOVE` of 0, exactly.
    fn copy_lines<const MOVE: usize>(
        &self,
        oy: usize,
        run: Range<usize>,
        len: usize,
        rows: &mut [T],
    ) {
        let geometry = self.geometry;
        let [_, width, depth] = geometry.input;
        let line = geometry.input_position(0, oy, 0) * width;
        let first = (line + geometry.input_position(1, run.start, 0)) * depth;
        let (step, line_step) = (geometry.stride[1] * depth, geometry.dilation[0] * width * depth);
        let mut at = 0;
        for index in 0..run.len() {
            let mut from = first + index * step;
            for _ in 0..geometry.kernel[0] {
                let (source, target) = (&self.input[from..], &mut rows[at..]);
                match (source.first_chunk::<MOVE>(), target.first_chunk_mut::<MOVE>()) {
                    (Some(source), Some(target)) if MOVE > 0 => *target = *source,
                    _ => target[..len].copy_from_slice(&source[..len]),
                }
                from += line_step;
                at += len;
            }
        }
    }

    /// The window of any position.
    fn copy_any(&self, oy: usize, ox: usize, pad: T, row: &mut [T]) {
        let geometry = self.geometry;
        let [_, width, all_channels] = geometry.input;
        let depth = self.channels.len();
        let (tap_rows, tap_columns) = (geometry.valid_taps(0, oy), geometry.valid_taps(1, ox));
        if tap_rows.len() < geometry.kernel[0] || tap_columns.len() < geometry.kernel[1] {
            row.fill(pad);
        }
        if tap_columns.is_empty() {
            return;
        }
        let contiguous = depth == all_channels && geometry.dilation[1] == 1;
        for ky in tap_rows {
            let line = geometry.input_position(0, oy, ky) * width;
            let first = line + geometry.input_position(1, ox, tap_columns.start);
            let at = (ky * geometry.kernel[1] + tap_columns.start) * depth;
            if contiguous {
                let len = tap_columns.len() * depth;
                row[at..][..len].copy_from_slice(&self.input[first * depth..][..len]);
                continue;
            }
            for tap in 0..tap_columns.len() {
                let pixel = first + tap * geometry.dilation[1];
                let from = pixel * all_channels + self.channels.start;
                let to = &mut row[at + tap * depth..][..depth];
                to.copy_from_slice(&self.input[from..][..depth]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_and_dilation_by_hand() {
        // A 3x3 input of two channels, 2x2 taps two apart, one pad on every side: a 3x3 result.
        let geometry = WindowGeometry {
            input: [3, 3, 2],
            output: [3, 3],
            kernel: [2, 2],
            stride: [1, 1],
            dilation: [2, 2],
            pad_before: [1, 1],
            pad_after: [1, 1],
        };
        let input: [u8; 18] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut rows = [77; 24];
        im2col(&geometry, &input, 99, 0..2, 4..5, &mut rows);
        assert_eq!(rows[..8], [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(rows[8..], [77; 16]);
        im2col(&geometry, &input, 99, 1..2, 0..2, &mut rows);
        assert_eq!(rows[..8], [99, 99, 99, 9, 99, 99, 7, 11]);
    }

    /// Every geometry of a few: each element is the tap's, or the pad.
    #[test]
    fn all_positions_of_many_geometries() {
        for (case, channels) in (0..4 * 81).flat_map(|case| [1, 3, 4].map(|c| (case, c))) {
            let pick = |digit: u32, from: &[usize]| from[case / 3_usize.pow(digit) % from.len()];
            let (kernel, stride, dilation) =
                (pick(0, &[1, 3, 4]), pick(1, &[1, 2, 3]), pick(2, &[1, 1, 2]));
            let (before, after) = (pick(3, &[0, 1, 2]), pick(4, &[0, 1, 3]));
            let [height, width] = [6, 9];
            let extent = |input: usize| {
                Some(
                    (input + before + after).checked_sub(dilation * (kernel - 1) + 1)? / stride + 1,
                )
            };
            let Some(output) = extent(height).zip(extent(width)) else { continue };
            let geometry = WindowGeometry {
                input: [height, width, channels],
                output: output.into(),
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [dilation; 2],
                pad_before: [before; 2],
                pad_after: [after; 2],
            };
            let input: alloc::vec::Vec<u16> = (1..).take(geometry.input_len()).collect();
            let pixels = output.0 * output.1;
            let row_len = kernel * kernel * channels;
            for block in [1, 5, pixels] {
                for first in (0..pixels).step_by(block) {
                    let some = first..pixels.min(first + block);
                    let mut rows = alloc::vec![777; some.len() * row_len];
                    im2col(&geometry, &input, 0, 0..channels, some.clone(), &mut rows);
                    for (pixel, row) in some.zip(rows.chunks_exact(row_len)) {
                        for (at, &got) in row.iter().enumerate() {
                            let tap = at / channels;
                            let position = |axis: usize, at: usize, tap: usize| {
                                (at * stride + tap * dilation)
                                    .checked_sub(before)
                                    .filter(|&x| x < geometry.input[axis])
                            };
                            let y = position(0, pixel / output.1, tap / kernel);
                            let x = position(1, pixel % output.1, tap % kernel);
                            let want = y.zip(x).map_or(0, |(y, x)| {
                                input[(y * width + x) * channels + at % channels]
                            });
                            assert_eq!(got, want, "{geometry:?} pixel {pixel} element {at}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_one_stride_are_copied_whole() {
        let geometry = WindowGeometry {
            input: [2, 4, 1],
            output: [1, 2],
            kernel: [2, 3],
            stride: [1, 2],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 1],
        };
        let mut rows = [0; 12];
        im2col(&geometry, &[1, 2, 3, 4, 5, 6, 7, 8], 9, 0..1, 0..2, &mut rows);
        assert_eq!(rows, [1, 2, 3, 5, 6, 7, 3, 4, 9, 7, 8, 9]);
    }
}
