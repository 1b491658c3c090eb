//! Depthwise convolution: lanes are channels; where they are no multiple of a vector, the last vector overlaps the one
//! before and computes the same results again. Inputs with fewer channels than a step, and windows with very many taps,
//! go to the scalar reference.
//!
//! ```text
//! for each run of positions that see the same taps, for each step of channels
//!     for each 4 neighbours: sums[4] = bias; for each tap: sums += input[pixel of each] * weights[tap]
//! ```

use embdl_core::kernels::WindowGeometry;

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Asserts that the slices fit the geometry.
fn check(geometry: &WindowGeometry, input: usize, weights: usize, bias: usize, out: usize) {
    let channels = geometry.input[2];
    let taps = taps(geometry);
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(weights == taps * channels, "{weights} weights do not fit {geometry:?}");
    assert!(bias == channels, "{bias} biases for {channels} channels");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}

/// Taps of the window.
const fn taps(geometry: &WindowGeometry) -> usize {
    geometry.kernel[0] * geometry.kernel[1]
}
