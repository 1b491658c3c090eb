//! Windows that keep channels apart, shared out by rows of the result.

use crate::kernels::WindowGeometry;
use crate::kernels::parallel::{Parallel, for_each_piece};

/// Fewer taps than this are not shared out, and fewer than that not in more bands than shares: each band reads the lines at
/// its edges again and prepares the weights of all channels. On two cores of an AMD EPYC with AVX-512 VNNI, 7x7 results of
/// 1024 channels took 9 microseconds in one band and 12 in four; 56x56 of 128 took 36 and 30.
const FEW_TAPS: usize = 1 << 19;
const MANY_TAPS: usize = 1 << 23;

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
    let taps = geometry.output_len() * geometry.kernel[0] * geometry.kernel[1];
    let wanted = match parallel.shares() {
        1 => 1,
        _ if taps < FEW_TAPS => 1,
        shares if taps < MANY_TAPS => shares,
        shares => 2 * shares,
    };
    let rows = height.div_ceil(wanted);
    let cut = |first: usize| geometry.of_rows(first..height.min(first + rows));
    let bands = height.div_ceil(rows);
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
