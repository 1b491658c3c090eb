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
    let contiguous = depth == all_channels && geometry.dilation[1] == 1;
    for (pixel, row) in pixels.clone().zip(rows[..pixels.len() * row_len].chunks_exact_mut(row_len))
    {
        let [oy, ox] = [pixel / geometry.output[1], pixel % geometry.output[1]];
        let (tap_rows, tap_columns) = (geometry.valid_taps(0, oy), geometry.valid_taps(1, ox));
        for ky in 0..kh {
            let line = &mut row[ky * kw * depth..][..kw * depth];
            if !tap_rows.contains(&ky) || tap_columns.is_empty() {
                line.fill(pad);
                continue;
            }
            let y = geometry.input_position(0, oy, ky);
            line[..tap_columns.start * depth].fill(pad);
            line[tap_columns.end * depth..].fill(pad);
            let first = y * width + geometry.input_position(1, ox, tap_columns.start);
            let inside = &mut line[tap_columns.start * depth..tap_columns.end * depth];
            if contiguous {
                let source = &input[first * depth..][..inside.len()];
                if source.len() < 16 {
                    // A call to memcpy costs more than a few elements.
                    for (slot, &x) in inside.iter_mut().zip(source) {
                        *slot = x;
                    }
                } else {
                    inside.copy_from_slice(source);
                }
            } else {
                for (tap, slots) in inside.chunks_exact_mut(depth).enumerate() {
                    let at = (first + tap * geometry.dilation[1]) * all_channels + channels.start;
                    slots.copy_from_slice(&input[at..][..depth]);
                }
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
