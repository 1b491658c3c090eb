//! Windows that keep channels apart, shared out by rows of the result.

use crate::kernels::WindowGeometry;
use crate::kernels::parallel::{Parallel, for_each_piece};

/// Calls `each(geometry, input, results)` for bands of rows of each sample; a result has `size` elements.
pub(super) fn for_each_band<T: Send + Sync>(
    parallel: &dyn Parallel,
    geometry: &WindowGeometry,
    input: &[T],
    out: &mut [T],
    size: usize,
    each: impl Fn(WindowGeometry, &[T], &mut [T]) + Sync,
) {
    let samples = input
        .chunks_exact(geometry.input_len())
        .zip(out.chunks_exact_mut(geometry.output_len() * size));
    let height = geometry.output[0];
    // Bands read the lines at their edges twice, so there are few.
    let rows = height.div_ceil(2 * parallel.threads());
    let cut = |first: usize| geometry.of_rows(first..height.min(first + rows));
    let bands = if parallel.threads() > 1 { height.div_ceil(rows) } else { 1 };
    // Rows that see nothing of the input have nothing to be cut to.
    if bands == 1 || (0..bands).any(|band| cut(band * rows).is_none()) {
        samples.for_each(|(input, out)| each(*geometry, input, out));
        return;
    }
    let row = geometry.output_index([1, 0]) * size;
    for (input, out) in samples {
        for_each_piece(parallel, out, rows * row, &mut [(); 0], |band, out, _| {
            if let Some((part, lines)) = cut(band * rows) {
                each(part, &input[lines], out);
            }
        });
    }
}
