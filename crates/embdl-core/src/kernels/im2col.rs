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
    let rows = &mut rows[..pixels.len() * row_len];
    let contiguous = depth == all_channels && geometry.dilation[1] == 1;
    for (index, pixel) in pixels.enumerate() {
        let [oy, ox] = [pixel / geometry.output[1], pixel % geometry.output[1]];
        let inside = geometry.is_inside(0, oy) && geometry.is_inside(1, ox);
        let (tap_rows, tap_columns) = if inside {
            (0..kh, 0..kw)
        } else {
            rows[index * row_len..][..row_len].fill(pad);
            (geometry.valid_taps(0, oy), geometry.valid_taps(1, ox))
        };
        for ky in tap_rows {
            let line = geometry.input_position(0, oy, ky) * width;
            let first = line + geometry.input_position(1, ox, tap_columns.start);
            let at = index * row_len + (ky * kw + tap_columns.start) * depth;
            if contiguous {
                let len = tap_columns.len() * depth;
                // Without pads, what is copied too much is written over by the lines that follow.
                copy(&input[first * depth..], &mut rows[at..], len, !inside);
            } else {
                for tap in 0..tap_columns.len() {
                    let from = (first + tap * geometry.dilation[1]) * all_channels + channels.start;
                    let to = &mut rows[at + tap * depth..][..depth];
                    to.copy_from_slice(&input[from..][..depth]);
                }
            }
        }
    }
}

/// Copies `len` elements; up to eight by one move of eight where what follows may be written over, because a call to
/// memcpy costs more than a few elements.
#[inline]
fn copy<T: Copy>(from: &[T], to: &mut [T], len: usize, exactly: bool) {
    if len <= 8
        && !exactly
        && let (Some(from), Some(to)) = (from.first_chunk::<8>(), to.first_chunk_mut::<8>())
    {
        *to = *from;
        return;
    }
    to[..len].copy_from_slice(&from[..len]);
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
