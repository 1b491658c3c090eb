//! Max pooling: lanes are channels; where they are no multiple of a vector, the last vector overlaps the one before,
//! which a maximum does not mind. Inputs with fewer channels than a vector go to a lesser level, windows with very many
//! taps to the scalar reference. Contract and reference: `embdl_core::kernels::pool`.

use embdl_core::kernels::WindowGeometry;

use super::segment::{MAX_TAPS, Taps, segments};
use crate::simd::Simd;

/// Whether the vector code of the level `S` takes the job: at least `lanes` channels, and not too many taps.
pub(crate) const fn takes(geometry: &WindowGeometry, lanes: usize) -> bool {
    geometry.input[2] >= lanes && geometry.kernel[0] * geometry.kernel[1] <= MAX_TAPS
}

/// Max pooling, float; NaN never wins over a number.
///
/// # Panics
/// If a slice does not fit the geometry.
#[inline(always)]
pub(crate) fn max_f32<S: Simd>(simd: S, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    for_each_window(geometry, input, out, |taps, input, result| {
        for channel in vectors(result.len(), S::LANES) {
            let mut best = simd.splat(f32::NEG_INFINITY);
            for &tap in taps {
                // SAFETY: `for_each_window` gives taps that have all channels behind them, and `vectors` a channel with
                // a vector of them behind it.
                let x = unsafe { simd.load(input.as_ptr().add(tap + channel)) };
                // Second stands what is kept where there is a NaN.
                best = simd.max(x, best);
            }
            // SAFETY: `result` has a vector from `channel`.
            unsafe { simd.store(result.as_mut_ptr().add(channel), best) };
        }
    });
}

/// Max pooling of levels.
///
/// # Panics
/// If a slice does not fit the geometry.
#[inline(always)]
pub(crate) fn max_u8<S: Simd>(simd: S, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    for_each_window(geometry, input, out, |taps, input, result| {
        for channel in vectors(result.len(), 4 * S::LANES) {
            let mut best = simd.splat_i32(0);
            for &tap in taps {
                // SAFETY: as above.
                let x = unsafe { simd.load_bytes(input.as_ptr().add(tap + channel)) };
                best = simd.max_bytes(x, best);
            }
            // SAFETY: `result` has a vector from `channel`.
            unsafe { simd.store_bytes(result.as_mut_ptr().add(channel), best) };
        }
    });
}

/// Calls `window` for each result position with its taps, the input from the first of them, and the position's channels.
/// All channels of each tap are in the input.
#[inline(always)]
fn for_each_window<T>(
    geometry: &WindowGeometry,
    input: &[T],
    out: &mut [T],
    mut window: impl FnMut(&[usize], &[T], &mut [T]),
) {
    assert!(input.len() == geometry.input_len(), "{} inputs do not fit {geometry:?}", input.len());
    assert!(out.len() >= geometry.output_len(), "{} results do not fit {geometry:?}", out.len());
    let channels = geometry.input[2];
    let mut taps = Taps::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        let last = taps.inputs().last().copied().unwrap_or(0);
        for ox in segment.ox.clone() {
            let first = segment.pixel(geometry, ox) * channels;
            assert!(first + last + channels <= input.len(), "a window outside of the input");
            let result = &mut out[geometry.output_index([segment.oy, ox])..][..channels];
            window(taps.inputs(), &input[first..], result);
        }
    }
}

/// First channels of vectors of `lanes` that cover `channels`, of which there are at least as many.
#[inline(always)]
fn vectors(channels: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..channels).step_by(lanes).map(move |channel| channel.min(channels - lanes))
}
