//! Max pooling: lanes are channels; where they are no multiple of a vector, the last vector overlaps the one before,
//! which a maximum does not mind. Inputs with fewer channels than a vector, and windows with
//! very many taps, go to the scalar reference.

use embdl_core::kernels::WindowGeometry;

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Asserts that the slices fit the geometry.
fn check(geometry: &WindowGeometry, input: usize, out: usize) {
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}

/// First channels of vectors of `lanes` that cover `channels`, of which there are at least as many.
fn vectors(channels: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..channels).step_by(lanes).map(move |channel| channel.min(channels - lanes))
}
