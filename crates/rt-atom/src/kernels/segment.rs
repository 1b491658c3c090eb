//! Cuts the result of a sliding window into runs of positions that see the same taps, so that kernels do no arithmetic
//! on pads inside a run.

use core::ops::Range;

use embdl_core::kernels::WindowGeometry;

/// Result positions of one row that see the same taps of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Row of the result.
    pub(super) oy: usize,
    /// Columns of the result.
    pub(super) ox: Range<usize>,
    /// Taps in height.
    pub(super) ky: Range<usize>,
    /// Taps in width.
    pub(super) kx: Range<usize>,
    /// Pixel of the input that the first tap of the first position reads; 0 where there is no tap.
    pub(super) first_pixel: usize,
}

impl Segment {
    /// Pixel of the input that the first tap of column `ox` reads.
    pub(super) const fn pixel(&self, geometry: &WindowGeometry, ox: usize) -> usize {
        self.first_pixel + (ox - self.ox.start) * geometry.stride[1]
    }

    /// Whether all taps of all positions read inside the input, and the taps are taps of the kernel.
    fn is_inside(&self, geometry: &WindowGeometry) -> bool {
        let [height, width, _] = geometry.input;
        if self.ky.is_empty() || self.kx.is_empty() || self.ox.is_empty() {
            return true;
        }
        let last = self.pixel(geometry, self.ox.end - 1)
            + (self.ky.len() - 1) * geometry.dilation[0] * width
            + (self.kx.len() - 1) * geometry.dilation[1];
        last < height * width
            && self.ky.end <= geometry.kernel[0]
            && self.kx.end <= geometry.kernel[1]
    }
}

/// Windows with more taps than this go to the scalar reference.
pub(super) const MAX_TAPS: usize = 64;

/// The taps of a segment as distances in elements, in order.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    len: usize,
    inputs: [usize; MAX_TAPS],
    kernel: [usize; MAX_TAPS],
}

impl Taps {
    /// No taps.
    pub(super) const fn new() -> Self {
        Self { len: 0, inputs: [0; MAX_TAPS], kernel: [0; MAX_TAPS] }
    }

    /// Takes the taps of `segment`.
    ///
    /// # Panics
    /// If there are more than [`MAX_TAPS`].
    pub(super) fn fill(&mut self, geometry: &WindowGeometry, segment: &Segment) {
        let [_, width, channels] = geometry.input;
        let [row_step, column_step] = [geometry.dilation[0] * width, geometry.dilation[1]];
        self.len = 0;
        for (row, ky) in segment.ky.clone().enumerate() {
            for (column, kx) in segment.kx.clone().enumerate() {
                self.inputs[self.len] = (row * row_step + column * column_step) * channels;
                self.kernel[self.len] = (ky * geometry.kernel[1] + kx) * channels;
                self.len += 1;
            }
        }
    }

    /// From the first tap's input to each tap's, ascending.
    pub(super) fn inputs(&self) -> &[usize] {
        &self.inputs[..self.len]
    }

    /// From the kernel's start to each tap's weights, ascending.
    pub(super) fn kernel(&self) -> &[usize] {
        &self.kernel[..self.len]
    }
}

/// All result positions, row by row; the taps of each segment lie inside the input and the kernel.
pub(super) fn segments(geometry: &WindowGeometry) -> impl Iterator<Item = Segment> {
    let geometry = *geometry;
    let [oh, ow] = geometry.output;
    let inside = columns_with_all_taps(&geometry);
    (0..oh).flat_map(move |oy| {
        let ky = geometry.valid_taps(0, oy);
        let before = (0..inside.start).map(|ox| ox..ox + 1);
        let after = (inside.end..ow).map(|ox| ox..ox + 1);
        let middle = (!inside.is_empty()).then(|| inside.clone());
        before.chain(middle).chain(after).map(move |ox| {
            let kx = geometry.valid_taps(1, ox.start);
            let first_pixel = if ky.is_empty() || kx.is_empty() {
                0
            } else {
                geometry.input_position(0, oy, ky.start) * geometry.input[1]
                    + geometry.input_position(1, ox.start, kx.start)
            };
            let segment = Segment { oy, ox, ky: ky.clone(), kx, first_pixel };
            assert!(segment.is_inside(&geometry), "{segment:?} reads outside of {geometry:?}");
            segment
        })
    })
}

/// Result columns whose windows lie inside the input as a whole.
fn columns_with_all_taps(geometry: &WindowGeometry) -> Range<usize> {
    let [width, pad, stride] = [geometry.input[1], geometry.pad_before[1], geometry.stride[1]];
    let span = (geometry.kernel[1].max(1) - 1) * geometry.dilation[1];
    let ow = geometry.output[1];
    let first = pad.div_ceil(stride).min(ow);
    // The last tap of column ox reads ox * stride + span - pad, which must be below the width.
    let end = (width + pad).checked_sub(span).map_or(0, |room| room.div_ceil(stride));
    first..end.clamp(first, ow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_there_once_with_its_taps() {
        for (input, kernel, stride, dilation, before, after) in [
            (5, 3, 1, 1, 1, 1),
            (9, 3, 2, 2, 2, 0),
            (1, 4, 1, 3, 9, 9),
            (7, 2, 3, 1, 0, 1),
            (4, 1, 1, 1, 0, 0),
            (6, 5, 1, 1, 4, 4),
        ] {
            let extent = before + input + after - dilation * (kernel - 1) - 1;
            let geometry = WindowGeometry {
                input: [input, input, 1],
                output: [extent / stride + 1; 2],
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [dilation; 2],
                pad_before: [before; 2],
                pad_after: [after; 2],
            };
            let mut positions = Vec::new();
            for segment in segments(&geometry) {
                for ox in segment.ox.clone() {
                    positions.push([segment.oy, ox]);
                    let mut expected = Vec::new();
                    geometry
                        .for_each_tap([segment.oy, ox], |pixel, tap| expected.push((pixel, tap)));
                    let mut found = Vec::new();
                    for (row, ky) in segment.ky.clone().enumerate() {
                        for (column, kx) in segment.kx.clone().enumerate() {
                            let pixel = segment.pixel(&geometry, ox)
                                + row * dilation * input
                                + column * dilation;
                            found.push((pixel, ky * kernel + kx));
                        }
                    }
                    assert_eq!(found, expected, "{geometry:?} at {}, {ox}", segment.oy);
                }
            }
            let [oh, ow] = geometry.output;
            let all: Vec<_> = (0..oh * ow).map(|at| [at / ow, at % ow]).collect();
            assert_eq!(positions, all, "{geometry:?}");
        }
    }
}
