//! Depthwise convolution: lanes are channels; where they are no multiple of a vector, the last vector overlaps the one
//! before and computes the same results again. Inputs with fewer channels than a vector go to the scalar reference.
//!
//! ```text
//! for each run of positions that see the same taps, for each vector of channels
//!     for each TX neighbours: sums[TX] = bias; for each tap: sums += input[pixel of each] * weights[tap]
//! ```

use embdl_core::kernels::WindowGeometry;

use super::segment::Segment;

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Asserts that the slices fit the geometry.
fn check(geometry: &WindowGeometry, input: usize, weights: usize, bias: usize, out: usize) {
    let channels = geometry.input[2];
    let taps = geometry.kernel[0] * geometry.kernel[1];
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(weights == taps * channels, "{weights} weights do not fit {geometry:?}");
    assert!(bias == channels, "{bias} biases for {channels} channels");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}

/// Where the taps of one result position are, in elements.
struct Taps {
    /// Taps in height and width.
    rows: usize,
    columns: usize,
    /// Input of the first tap, and the steps to the next row, column and neighbour.
    input: usize,
    input_row: usize,
    input_column: usize,
    next: usize,
    /// Weight of the first tap, and the steps to the next row and column.
    weight: usize,
    weight_row: usize,
    weight_column: usize,
}

impl Taps {
    #[inline]
    fn new(geometry: &WindowGeometry, segment: &Segment, ox: usize, channel: usize) -> Self {
        let [_, width, channels] = geometry.input;
        let first_tap = segment.ky.start * geometry.kernel[1] + segment.kx.start;
        Self {
            rows: segment.ky.len(),
            columns: segment.kx.len(),
            input: segment.pixel(geometry, ox) * channels + channel,
            input_row: geometry.dilation[0] * width * channels,
            input_column: geometry.dilation[1] * channels,
            next: geometry.stride[1] * channels,
            weight: first_tap * channels + channel,
            weight_row: geometry.kernel[1] * channels,
            weight_column: channels,
        }
    }

    /// Whether `channels` elements can be read at every tap of `neighbours` positions.
    #[inline]
    const fn fit(&self, [neighbours, channels]: [usize; 2], inputs: usize, weights: usize) -> bool {
        if self.rows == 0 || self.columns == 0 {
            return true;
        }
        let (input, weight) = self.at(self.rows - 1, self.columns - 1);
        input + (neighbours - 1) * self.next + channels <= inputs && weight + channels <= weights
    }

    /// Input and weight of a tap.
    #[inline]
    const fn at(&self, row: usize, column: usize) -> (usize, usize) {
        (
            self.input + row * self.input_row + column * self.input_column,
            self.weight + row * self.weight_row + column * self.weight_column,
        )
    }
}
