//! The transforms of Winograd's minimal filtering for 3x3 filters, on vectors of channels.
//!
//! The points of F(4x4) are 0, ±1, ±2, those of F(6x6) 0, ±1, ±2, ±1/2. Every transform of a tile is one of its columns,
//! then one of its rows. Where channels are no multiple of a vector, the last vector overlaps the one before and computes
//! the same results again.
//!
//! Source of the matrices: Lavin and Gray 2016, §4.3, for F(4x4); for F(6x6) the same construction (Toom-Cook).

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use core::ops::Range;

use crate::kernels::WindowGeometry;
use crate::kernels::lanes::Lanes;
use crate::kernels::parallel::Shared;

/// Size of the result of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 4x4 results of 6x6 inputs.
    F4,
    /// 6x6 results of 8x8 inputs.
    F6,
}

/// Rows of G of F(4x4).
const FILTER_F4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Rows of G of F(6x6).
const FILTER_F6: [[f64; 3]; 8] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
    [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
    [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
    [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
    [1.0 / 45.0, 1.0 / 90.0, 1.0 / 180.0],
    [1.0 / 45.0, -1.0 / 90.0, 1.0 / 180.0],
    [0.0, 0.0, 1.0],
];

impl Size {
    /// Rows and columns of the result.
    pub const fn out(self) -> usize {
        match self {
            Self::F4 => 4,
            Self::F6 => 6,
        }
    }

    /// Positions of a transformed tile.
    pub const fn positions(self) -> usize {
        (self.out() + 2) * (self.out() + 2)
    }

    /// `G w G^T` of one filter `[3, 3, ci]`, into `[positions, ci]`; in f64, rounded once.
    #[expect(clippy::cast_possible_truncation, reason = "the one rounding")]
    pub fn transform_filter(self, filter: &[f32], out: &mut [f32]) {
        let rows: &[[f64; 3]] = match self {
            Self::F4 => &FILTER_F4,
            Self::F6 => &FILTER_F6,
        };
        let ci = filter.len() / 9;
        for (xi, out) in out.chunks_exact_mut(ci).enumerate() {
            let [down, across] = [rows[xi / rows.len()], rows[xi % rows.len()]];
            for (c, slot) in out.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (y, down) in down.iter().enumerate() {
                    for (x, across) in across.iter().enumerate() {
                        sum += down * across * f64::from(filter[(3 * y + x) * ci + c]);
                    }
                }
                *slot = sum as f32;
            }
        }
    }
}

/// A tile of the input.
#[derive(Clone, Debug)]
pub struct InputTiles<'a> {
    /// Where the windows go.
    pub geometry: &'a WindowGeometry,
    /// Tiles in a row of tiles.
    pub tiles_across: usize,
    /// Which tile.
    pub tile: usize,
    /// The sample.
    pub input: &'a [f32],
    /// Channels of the group.
    pub channels: Range<usize>,
    /// What pixels in the pads hold, one value a channel of the group.
    pub zeros: &'a [f32],
}

/// A tile of products.
#[derive(Clone, Copy, Debug)]
pub struct OutputTiles<'a> {
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Tiles in a row of tiles.
    pub tiles_across: usize,
    /// Which tile.
    pub tile: usize,
    /// The tile's products, those of the first position first.
    pub products: &'a [f32],
    /// Products from one position to the next.
    pub position_stride: usize,
    /// One bias a channel.
    pub bias: &'a [f32],
    /// Bounds of the result.
    pub clamp: (f32, f32),
    /// Elements from one pixel of the result to the next.
    pub out_stride: usize,
    /// First channel of the group within a pixel of the result.
    pub first_channel: usize,
}

/// One-dimensional transforms of `IN` inputs for `OUT` results.
trait Filtering<const IN: usize, const OUT: usize> {
    /// `B^T d`.
    fn input<S: Lanes>(simd: S, d: [S::F32; IN]) -> [S::F32; IN];
    /// `A^T m`.
    fn output<S: Lanes>(simd: S, m: [S::F32; IN]) -> [S::F32; OUT];
}

struct F4;
struct F6;

impl Filtering<6, 4> for F4 {
    #[inline(always)]
    fn input<S: Lanes>(s: S, d: [S::F32; 6]) -> [S::F32; 6] {
        let times = |x: f32, a: S::F32, sum: S::F32| s.mul_add(s.splat(x), a, sum);
        let even = times(-4.0, d[2], d[4]);
        let odd = times(-4.0, d[1], d[3]);
        let even_half = s.sub(d[4], d[2]);
        let odd_half = s.sub(d[3], d[1]);
        let odd_half = s.add(odd_half, odd_half);
        [
            times(4.0, s.sub(d[0], d[2]), even_half),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(even_half, odd_half),
            s.sub(even_half, odd_half),
            times(4.0, s.sub(d[1], d[3]), s.sub(d[5], d[3])),
        ]
    }

    #[inline(always)]
    fn output<S: Lanes>(s: S, m: [S::F32; 6]) -> [S::F32; 4] {
        let times = |x: f32, a: S::F32, sum: S::F32| s.mul_add(s.splat(x), a, sum);
        let [sum_1, sum_2] = [s.add(m[1], m[2]), s.add(m[3], m[4])];
        let [difference_1, difference_2] = [s.sub(m[1], m[2]), s.sub(m[3], m[4])];
        [
            s.add(s.add(m[0], sum_1), sum_2),
            times(2.0, difference_2, difference_1),
            times(4.0, sum_2, sum_1),
            s.add(times(8.0, difference_2, difference_1), m[5]),
        ]
    }
}

impl Filtering<8, 6> for F6 {
    #[inline(always)]
    fn input<S: Lanes>(s: S, d: [S::F32; 8]) -> [S::F32; 8] {
        let times = |x: f32, a: S::F32, sum: S::F32| s.mul_add(s.splat(x), a, sum);
        let even_1 = times(-4.25, d[4], s.add(d[2], d[6]));
        let odd_1 = times(-4.25, d[3], s.add(d[1], d[5]));
        let even_2 = times(-1.25, d[4], times(0.25, d[2], d[6]));
        let odd_2 = times(-2.5, d[3], times(0.5, d[1], s.add(d[5], d[5])));
        let even_3 = times(-5.0, d[4], times(4.0, d[2], d[6]));
        let odd_3 = times(-2.5, d[3], times(0.5, d[5], s.add(d[1], d[1])));
        [
            times(5.25, s.sub(d[4], d[2]), s.sub(d[0], d[6])),
            s.add(even_1, odd_1),
            s.sub(even_1, odd_1),
            s.add(even_2, odd_2),
            s.sub(even_2, odd_2),
            s.add(even_3, odd_3),
            s.sub(even_3, odd_3),
            times(5.25, s.sub(d[3], d[5]), s.sub(d[7], d[1])),
        ]
    }

    #[inline(always)]
    fn output<S: Lanes>(s: S, m: [S::F32; 8]) -> [S::F32; 6] {
        let times = |x: f32, a: S::F32, sum: S::F32| s.mul_add(s.splat(x), a, sum);
        let sums = [s.add(m[1], m[2]), s.add(m[3], m[4]), s.add(m[5], m[6])];
        let differences = [s.sub(m[1], m[2]), s.sub(m[3], m[4]), s.sub(m[5], m[6])];
        let even = |a: f32, b: f32| times(a, sums[1], times(b, sums[2], sums[0]));
        let odd =
            |a: f32, b: f32| times(a, differences[1], times(b, differences[2], differences[0]));
        [
            s.add(m[0], even(1.0, 32.0)),
            odd(2.0, 16.0),
            even(4.0, 8.0),
            odd(8.0, 4.0),
            even(16.0, 2.0),
            s.add(m[7], odd(32.0, 1.0)),
        ]
    }
}

/// [`Size::F4`]'s transform of an input tile into `out`, `[positions, channels]`.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub fn input_f4<S: Lanes>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    input::<S, F4, 6, 4>(simd, job, out);
}

/// [`Size::F6`]'s transform of an input tile.
///
/// # Panics
/// As [`input_f4`].
#[inline(always)]
pub fn input_f6<S: Lanes>(simd: S, job: &InputTiles<'_>, out: &mut [f32]) {
    input::<S, F6, 8, 6>(simd, job, out);
}

/// [`Size::F4`]'s results of a tile of products, which no other thread writes.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub fn output_f4<S: Lanes>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    output::<S, F4, 6, 4>(simd, job, out);
}

/// [`Size::F6`]'s results of a tile of products.
///
/// # Panics
/// As [`output_f4`].
#[inline(always)]
pub fn output_f6<S: Lanes>(simd: S, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    output::<S, F6, 8, 6>(simd, job, out);
}

#[inline(always)]
fn input<S: Lanes, F: Filtering<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    job: &InputTiles<'_>,
    out: &mut [f32],
) {
    let ci = job.channels.len();
    assert!(ci >= S::LANES && job.zeros.len() == ci && out.len() >= IN * IN * ci);
    let [height, width, depth] = job.geometry.input;
    let at = [job.tile / job.tiles_across, job.tile % job.tiles_across];
    let [y, x] = [0, 1].map(|axis| (at[axis] * OUT).wrapping_sub(job.geometry.pad_before[axis]));
    let is_inside = |from: usize, len: usize| from < len && len - from >= IN;
    if is_inside(y, height) && is_inside(x, width) {
        let first = (y * width + x) * depth;
        let last = first + (IN - 1) * (width + 1) * depth;
        assert!(
            job.channels.start <= job.channels.end && last + job.channels.end <= job.input.len()
        );
        let first = job.input.as_ptr().wrapping_add(first + job.channels.start);
        let pixel = |y: usize, x: usize| first.wrapping_add((y * width + x) * depth);
        // SAFETY: asserted above: `ci` channels of the last pixel, behind all others, and of each position in `out`.
        unsafe { transform_input::<S, F, IN, OUT>(simd, ci, pixel, out.as_mut_ptr()) };
    } else {
        let pixels = pixels::<IN, OUT>(job);
        let pixel = |y: usize, x: usize| pixels[y][x].as_ptr();
        // SAFETY: `pixels` gives slices of `ci` channels, and asserted above.
        unsafe { transform_input::<S, F, IN, OUT>(simd, ci, pixel, out.as_mut_ptr()) };
    }
}

/// The transform of a tile whose pixels, by row and column, begin at `pixel`.
///
/// # Safety
/// `ci` elements at each of the pixels and in each of IN * IN positions of `out`; `ci` is not less than the lanes.
#[inline(always)]
unsafe fn transform_input<S: Lanes, F: Filtering<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    ci: usize,
    pixel: impl Fn(usize, usize) -> *const f32,
    out: *mut f32,
) {
    for channel in (0..ci).step_by(S::LANES) {
        let channel = channel.min(ci - S::LANES);
        let mut columns = [[simd.splat(0.0); IN]; IN];
        for x in 0..IN {
            let mut d = [simd.splat(0.0); IN];
            for (y, d) in d.iter_mut().enumerate() {
                // SAFETY: by the contract, as a vector from `channel` ends with the channels.
                *d = unsafe { simd.load(pixel(y, x).wrapping_add(channel)) };
            }
            for (row, transformed) in columns.iter_mut().zip(F::input(simd, d)) {
                row[x] = transformed;
            }
        }
        let mut to = out.wrapping_add(channel);
        for row in columns {
            for (x, value) in F::input(simd, row).into_iter().enumerate() {
                // SAFETY: by the contract.
                unsafe { simd.store(to.wrapping_add(x * ci), value) };
            }
            to = to.wrapping_add(IN * ci);
        }
    }
}

/// The channels of each pixel of a tile.
#[inline(always)]
fn pixels<'a, const IN: usize, const OUT: usize>(job: &InputTiles<'a>) -> [[&'a [f32]; IN]; IN] {
    let [height, width, depth] = job.geometry.input;
    let at = [job.tile / job.tiles_across, job.tile % job.tiles_across];
    let mut pixels = [[job.zeros; IN]; IN];
    for (dy, row) in pixels.iter_mut().enumerate() {
        let y = (at[0] * OUT + dy).wrapping_sub(job.geometry.pad_before[0]);
        for (dx, pixel) in row.iter_mut().enumerate() {
            let x = (at[1] * OUT + dx).wrapping_sub(job.geometry.pad_before[1]);
            if y < height && x < width {
                let first = (y * width + x) * depth;
                *pixel = &job.input[first + job.channels.start..first + job.channels.end];
            }
        }
    }
    pixels
}

#[inline(always)]
fn output<S: Lanes, F: Filtering<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    job: &OutputTiles<'_>,
    out: &Shared<'_, f32>,
) {
    let n = job.bias.len();
    let at = [job.tile / job.tiles_across * OUT, job.tile % job.tiles_across * OUT];
    let [rows, columns] = [0, 1].map(|axis| OUT.min(job.output[axis] - at[axis]));
    assert!(n >= S::LANES && job.products.len() >= (IN * IN - 1) * job.position_stride + n);
    let (first_channel, last) = (job.first_channel, [at[0] + rows - 1, at[1] + columns - 1]);
    let last = (last[0] * job.output[1] + last[1]) * job.out_stride + first_channel + n;
    assert!(last <= out.len(), "{last} results of {}", out.len());
    let first = (at[0] * job.output[1] + at[1]) * job.out_stride + first_channel;
    let to = out.as_mut_ptr().wrapping_add(first);
    // SAFETY: asserted above for the last pixel and channel; those of different tiles and groups are disjoint.
    unsafe {
        if [rows, columns] == [OUT; 2] {
            transform_output::<S, F, IN, OUT>(simd, job, to, |row, column, to, result| {
                let _ = (row, column);
                simd.store(to, result);
            });
        } else {
            transform_output::<S, F, IN, OUT>(simd, job, to, |row, column, to, result| {
                if row < rows && column < columns {
                    simd.store(to, result);
                }
            });
        }
    }
}

/// The results of a tile, of which the first goes `to`: `store` is given the row and column of each vector.
///
/// # Safety
/// `store` writes those only that are in the result.
#[inline(always)]
unsafe fn transform_output<S: Lanes, F: Filtering<IN, OUT>, const IN: usize, const OUT: usize>(
    simd: S,
    job: &OutputTiles<'_>,
    to: *mut f32,
    store: impl Fn(usize, usize, *mut f32, S::F32),
) {
    let (n, stride) = (job.bias.len(), job.position_stride);
    let (low, high) = (simd.splat(job.clamp.0), simd.splat(job.clamp.1));
    for channel in (0..n).step_by(S::LANES) {
        let channel = channel.min(n - S::LANES);
        let mut halves = [[simd.splat(0.0); IN]; OUT];
        let from = job.products.as_ptr().wrapping_add(channel);
        for x in 0..IN {
            let mut m = [simd.splat(0.0); IN];
            for (y, m) in m.iter_mut().enumerate() {
                // SAFETY: the caller asserted: `n` products for each of IN * IN positions.
                *m = unsafe { simd.load(from.wrapping_add((y * IN + x) * stride)) };
            }
            for (row, half) in halves.iter_mut().zip(F::output(simd, m)) {
                row[x] = half;
            }
        }
        // SAFETY: a vector of biases from `channel`.
        let bias = unsafe { simd.load(job.bias.as_ptr().add(channel)) };
        let mut to = to.wrapping_add(channel);
        for (row, half) in halves.into_iter().enumerate() {
            for (column, result) in F::output(simd, half).into_iter().enumerate() {
                let result = simd.clamp(simd.add(result, bias), low, high);
                store(row, column, to.wrapping_add(column * job.out_stride), result);
            }
            to = to.wrapping_add(job.output[1] * job.out_stride);
        }
    }
}
