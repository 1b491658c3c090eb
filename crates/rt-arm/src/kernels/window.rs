//! Which elements a window touches, in the form that depthwise and pooling loops walk: offsets and counts.

use core::ops::Range;

use embdl_core::kernels::WindowGeometry;

/// The taps inside the input of some results that stand side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taps {
    /// Pixel of the input under the first tap of the first result.
    pub(super) pixel: usize,
    /// Index of that tap in the kernel.
    pub(super) tap: usize,
    /// Rows and columns of taps.
    pub(super) count: [usize; 2],
    /// Pixels from one row of taps to the next, and from one column to the next.
    pub(super) step: [usize; 2],
    /// Taps in a whole row of the kernel.
    pub(super) kernel_width: usize,
    /// Pixels from one result's window to the next one's.
    pub(super) stride: usize,
}

/// Calls `visit(first result, results, taps)` for groups of `together` results in a row whose windows miss no column of
/// taps, and for all others one by one. Results are counted row-major.
///
/// All pixels `taps` leads to are inside the input: this is asserted, so that callers may rely on it.
pub(super) fn for_each_group(
    geometry: &WindowGeometry,
    together: usize,
    mut visit: impl FnMut(usize, usize, &Taps),
) {
    let [height, width, _] = geometry.input;
    let [oh, ow] = geometry.output;
    let whole = geometry.kernel[1];
    let full = full_columns(geometry);
    for oy in 0..oh {
        let rows = geometry.valid_taps(0, oy);
        let mut ox = 0;
        while ox < ow {
            let inside = full.contains(&ox);
            let columns = if inside { 0..whole } else { geometry.valid_taps(1, ox) };
            let results = if inside && ox + together <= full.end { together } else { 1 };
            let mut taps = Taps {
                pixel: 0,
                tap: rows.start * whole + columns.start,
                count: [rows.len(), columns.len()],
                step: [geometry.dilation[0] * width, geometry.dilation[1]],
                kernel_width: whole,
                stride: geometry.stride[1],
            };
            if !rows.is_empty() && !columns.is_empty() {
                let y = geometry.input_position(0, oy, rows.start);
                let x = geometry.input_position(1, ox, columns.start);
                taps.pixel = y * width + x;
                let last_y = y + (rows.len() - 1) * geometry.dilation[0];
                let last_x = x
                    + (columns.len() - 1) * geometry.dilation[1]
                    + (results - 1) * geometry.stride[1];
                assert!(last_y < height && last_x < width, "a window leaves {geometry:?}");
            }
            visit(oy * ow + ox, results, &taps);
            ox += results;
        }
    }
}

/// The results of a row whose windows miss no column of taps.
pub(super) fn full_columns(geometry: &WindowGeometry) -> Range<usize> {
    let is_full = |&ox: &usize| geometry.valid_taps(1, ox).len() == geometry.kernel[1];
    let Some(first) = (0..geometry.output[1]).find(is_full) else { return 0..0 };
    let last = (first..geometry.output[1]).rfind(is_full).unwrap_or(first);
    first..last + 1
}

impl Taps {
    /// Calls `visit(pixel of the input, tap of the kernel)` for all taps, for the first result.
    #[inline]
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        for row in 0..self.count[0] {
            let (mut pixel, mut tap) =
                (self.pixel + row * self.step[0], self.tap + row * self.kernel_width);
            for _ in 0..self.count[1] {
                visit(pixel, tap);
                pixel += self.step[1];
                tap += 1;
            }
        }
    }
}
