//! Max pooling of small windows, a row of results at a time, a vector of channels at a time.
//!
//! ```text
//! for each row of results, each vector of channels:
//!     for each four results in the row:
//!         columns = maxima of each column of taps that one of them sees; results = maxima of their columns
//! ```
//! Windows of 3x3 that are two apart share columns: 27 loads, 18 and 12 maxima for four results.

use core::arch::aarch64::*;
use core::ops::Range;

use embdl_core::kernels::WindowGeometry;

use super::super::window::full_columns;

/// Results in a row that are computed together.
const TOGETHER: usize = 4;

/// A vector of elements.
pub(super) trait Vector: Copy {
    /// An element.
    type Element;
    /// Elements of a vector.
    const LANES: usize;
    /// What every element beats.
    fn lowest() -> Self;
    /// The larger elements.
    fn max(self, other: Self) -> Self;
    /// A vector from memory.
    ///
    /// # Safety
    /// `LANES` elements at `at`.
    unsafe fn load(at: *const Self::Element) -> Self;
    /// Writes a vector.
    ///
    /// # Safety
    /// Room for `LANES` elements at `at`.
    unsafe fn store(self, at: *mut Self::Element);
}

impl Vector for float32x4_t {
    type Element = f32;
    const LANES: usize = 4;

    #[inline]
    fn lowest() -> Self {
        // SAFETY: this module is for CPUs with NEON; so it is below.
        unsafe { vdupq_n_f32(f32::NEG_INFINITY) }
    }

    #[inline]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmaxnmq_f32(self, other) }
    }

    #[inline]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: by the contract.
        unsafe { vld1q_f32(at) }
    }

    #[inline]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: by the contract.
        unsafe { vst1q_f32(at, self) }
    }
}

impl Vector for uint8x16_t {
    type Element = u8;
    const LANES: usize = 16;

    #[inline]
    fn lowest() -> Self {
        // SAFETY: as above.
        unsafe { vdupq_n_u8(0) }
    }

    #[inline]
    fn max(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmaxq_u8(self, other) }
    }

    #[inline]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: by the contract.
        unsafe { vld1q_u8(at) }
    }

    #[inline]
    unsafe fn store(self, at: *mut u8) {
        // SAFETY: by the contract.
        unsafe { vst1q_u8(at, self) }
    }
}

/// Pools windows of 2x2 and 3x3 that are two columns apart; says whether these were.
///
/// The caller has checked the slices, and that there are channels for a vector.
#[target_feature(enable = "neon")]
pub(super) fn max_pool<V: Vector>(
    geometry: &WindowGeometry,
    input: &[V::Element],
    out: &mut [V::Element],
) -> bool {
    match (geometry.kernel, geometry.stride, geometry.dilation) {
        ([2, 2], [_, 2], [1, 1]) => rows::<V, 2>(geometry, input, out),
        ([3, 3], [_, 2], [1, 1]) => rows::<V, 3>(geometry, input, out),
        _ => return false,
    }
    true
}

#[target_feature(enable = "neon")]
fn rows<V: Vector, const K: usize>(
    geometry: &WindowGeometry,
    input: &[V::Element],
    out: &mut [V::Element],
) {
    let full = full_columns(geometry);
    let row = geometry.output[1] * geometry.input[2];
    for (oy, out) in out[..geometry.output_len()].chunks_exact_mut(row).enumerate() {
        let taps = geometry.valid_taps(0, oy);
        let y = if taps.is_empty() { 0 } else { geometry.input_position(0, oy, taps.start) };
        match taps.len() {
            3 => one_row::<V, K, 3>(geometry, y, full.clone(), input, out),
            2 => one_row::<V, K, 2>(geometry, y, full.clone(), input, out),
            1 => one_row::<V, K, 1>(geometry, y, full.clone(), input, out),
            _ => one_row::<V, K, 0>(geometry, y, full.clone(), input, out),
        }
    }
}

/// A row of the results, from the `R` rows of the input from `y` on.
#[target_feature(enable = "neon")]
fn one_row<V: Vector, const K: usize, const R: usize>(
    geometry: &WindowGeometry,
    y: usize,
    full: Range<usize>,
    input: &[V::Element],
    out: &mut [V::Element],
) {
    let [height, width, channels] = geometry.input;
    assert!(y + R <= height && channels >= V::LANES && input.len() == height * width * channels);
    assert!(full.is_empty() || geometry.input_position(1, full.end - 1, K - 1) < width);
    assert!(out.len() == geometry.output[1] * channels);
    let line = width * channels;
    let first = if full.is_empty() { 0 } else { geometry.input_position(1, full.start, 0) };
    for base in (0..channels).step_by(V::LANES) {
        let base = base.min(channels - V::LANES);
        let row = input.as_ptr().wrapping_add(y * line + base);
        let results = out.as_mut_ptr().wrapping_add(base);
        for ox in (0..full.start).chain(full.end.max(full.start)..geometry.output[1]) {
            let columns = geometry.valid_taps(1, ox);
            let mut best = V::lowest();
            if !columns.is_empty() {
                let x = geometry.input_position(1, ox, columns.start);
                assert!(x + columns.len() <= width);
                for column in x..x + columns.len() {
                    for r in 0..R {
                        // SAFETY: asserted above: R rows of the input, and these columns.
                        let x = unsafe { V::load(row.add(r * line + column * channels)) };
                        best = best.max(x);
                    }
                }
            }
            // SAFETY: results of the row, `channels` elements each; so it is below.
            unsafe { best.store(results.add(ox * channels)) };
        }
        let mut from = row.wrapping_add(first * channels);
        let mut to = results.wrapping_add(full.start * channels);
        let mut left = full.len();
        while left >= TOGETHER {
            // SAFETY: asserted above: R rows of the input, and the columns of all full windows.
            unsafe { windows::<V, K, R, TOGETHER>(from, [line, channels], to) };
            from = from.wrapping_add(TOGETHER * 2 * channels);
            to = to.wrapping_add(TOGETHER * channels);
            left -= TOGETHER;
        }
        for _ in 0..left {
            // SAFETY: as above.
            unsafe { windows::<V, K, R, 1>(from, [line, channels], to) };
            from = from.wrapping_add(2 * channels);
            to = to.wrapping_add(channels);
        }
    }
}

/// The maxima of `N` neighbouring windows, of which the first starts at `from`.
///
/// # Safety
/// `R` rows, `line` apart, of `2 * (N - 1) + K` vectors, `channels` apart, and room for `N` results.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn windows<V: Vector, const K: usize, const R: usize, const N: usize>(
    from: *const V::Element,
    [line, channels]: [usize; 2],
    to: *mut V::Element,
) {
    let mut best = [V::lowest(); N];
    let mut rows = [from; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = super::super::gemm::opaque(from.wrapping_add(r * line));
    }
    for column in 0..2 * (N - 1) + K {
        let mut largest = None;
        for row in &rows {
            // SAFETY: by the contract.
            let x = unsafe { V::load(row.add(column * channels)) };
            largest = Some(largest.map_or(x, |largest: V| largest.max(x)));
        }
        let Some(largest) = largest else { continue };
        for (n, best) in best.iter_mut().enumerate() {
            if (2 * n..2 * n + K).contains(&column) {
                *best = best.max(largest);
            }
        }
    }
    for (n, best) in best.into_iter().enumerate() {
        // SAFETY: by the contract.
        unsafe { best.store(to.add(n * channels)) };
    }
}
