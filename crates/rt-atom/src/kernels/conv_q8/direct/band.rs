//! Copies the input rows that a band of result rows sees, pads included.

use core::ops::Range;

use super::Direct;
use super::shape::{LINE, Lines, Shape};

/// Copies the input rows of result rows, with pads, of a group of channels.
#[inline(always)]
pub(super) fn copy<S, T: Copy + From<u8>>(
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
pub(super) fn join_lines<'a, T: Copy>(
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
