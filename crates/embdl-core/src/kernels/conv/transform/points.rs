//! The points of Winograd's transforms, and what a column or a row of a tile becomes.
//!
//! Six inputs have the points 0, ±1, ±2, eight have 0, ±1, ±2, ±1/2, and both the one at infinity.
//!
//! Source: Lavin and Gray 2016, §4.3, for F(4x4, 3x3); for the others the same construction (Toom-Cook).

use super::Size;
use crate::kernels::lanes::Lanes;

/// Most taps of a row of a filter.
const TAPS: usize = 5;

/// A row of G: powers of its point, or the last tap alone for infinity, and 0 beyond the taps.
pub(super) fn filter(size: Size, row: usize) -> [f64; TAPS] {
    const SIX: [(f64, f64); 3] = [(0.0, 1.0 / 4.0), (1.0, -1.0 / 6.0), (2.0, 1.0 / 24.0)];
    // `A^T` has the powers of ±1/2 times the largest 2^k of them; the last scale is to be divided by it.
    const EIGHT: [(f64, f64); 4] =
        [(0.0, 1.0), (1.0, -2.0 / 9.0), (2.0, 1.0 / 90.0), (0.5, 32.0 / 45.0)];
    let points: &[(f64, f64)] = if size.inputs() == 6 { &SIX } else { &EIGHT };
    let mut taps = [0.0; TAPS];
    match points.get(row.div_ceil(2)) {
        Some(&(point, scale)) => {
            let point = if row.is_multiple_of(2) { -point } else { point };
            let largest = if row < 5 { 1 } else { 1 << (size.out() - 1) };
            let mut power = scale / f64::from(largest);
            for tap in &mut taps[..size.taps()] {
                *tap = power;
                power *= point;
            }
        }
        None => taps[size.taps() - 1] = 1.0,
    }
    taps
}

/// What becomes of `IN` inputs.
pub(super) trait Inputs<const IN: usize> {
    /// `B^T d`.
    fn input<S: Lanes>(simd: S, d: [S::F32; IN]) -> [S::F32; IN];
}

/// `OUT` results of `IN` products.
pub(super) trait Results<const IN: usize, const OUT: usize> {
    /// `A^T m`.
    fn output<S: Lanes>(simd: S, m: [S::F32; IN]) -> [S::F32; OUT];
}

/// Of F(4x4, 3x3).
pub(super) struct Six;
/// Of F(6x6, 3x3) and F(4x4, 5x5).
pub(super) struct Eight;
pub(super) struct F4x3;
pub(super) struct F6x3;
pub(super) struct F4x5;

impl Inputs<6> for Six {
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
}

impl Inputs<8> for Eight {
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
}

impl Results<6, 4> for F4x3 {
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

impl Results<8, 6> for F6x3 {
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

impl Results<8, 4> for F4x5 {
    #[inline(always)]
    fn output<S: Lanes>(s: S, m: [S::F32; 8]) -> [S::F32; 4] {
        let times = |x: f32, a: S::F32, sum: S::F32| s.mul_add(s.splat(x), a, sum);
        let sums = [s.add(m[1], m[2]), s.add(m[3], m[4]), s.add(m[5], m[6])];
        let differences = [s.sub(m[1], m[2]), s.sub(m[3], m[4]), s.sub(m[5], m[6])];
        let even = |a: f32, b: f32| times(a, sums[1], times(b, sums[2], sums[0]));
        let odd =
            |a: f32, b: f32| times(a, differences[1], times(b, differences[2], differences[0]));
        [s.add(m[0], even(1.0, 8.0)), odd(2.0, 4.0), even(4.0, 2.0), s.add(m[7], odd(8.0, 1.0))]
    }
}
