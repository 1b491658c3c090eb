//! Scalar pooling of one sample.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::WindowGeometry;
use crate::quant::{Quant, Requant};

/// Channels that are accumulated together.
const LANES: usize = 16;

/// Max pooling, float. NaN never wins over a number.
///
/// # Panics
/// If a slice does not fit the geometry.
pub fn max_pool_f32(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
    max_pool(geometry, input, out, f32::NEG_INFINITY);
}

/// Max pooling of levels.
///
/// # Panics
/// If a slice does not fit the geometry.
pub fn max_pool_u8(geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
    max_pool(geometry, input, out, 0);
}

/// Average pooling, float: the sum in order of the taps, divided by their number, of which pads count only with
/// `include_pads`.
///
/// # Panics
/// If a slice does not fit the geometry.
pub fn average_pool_f32(
    geometry: &WindowGeometry,
    include_pads: bool,
    input: &[f32],
    out: &mut [f32],
) {
    check(geometry, input.len(), out.len());
    let channels = geometry.input[2];
    for (at, result) in results(geometry, out) {
        result.fill(0.0);
        geometry.for_each_tap(at, |pixel, _| {
            for (sum, &x) in result.iter_mut().zip(&input[pixel * channels..][..channels]) {
                *sum += x;
            }
        });
        #[expect(clippy::cast_precision_loss, reason = "windows have far fewer than 2^24 taps")]
        let count = tap_count(geometry, include_pads, at) as f32;
        for sum in result {
            *sum /= count;
        }
    }
}

/// Average pooling of levels: exact sums, one rounding.
///
/// # Panics
/// If a slice does not fit the geometry, or `average` was made for another one.
pub fn average_pool_u8(
    geometry: &WindowGeometry,
    average: &AverageRequant,
    input: &[u8],
    out: &mut [u8],
) {
    check(geometry, input.len(), out.len());
    for (at, result) in results(geometry, out) {
        let (groups, rest) = result.as_chunks_mut::<LANES>();
        let first = groups.len() * LANES;
        for (group, slots) in groups.iter_mut().enumerate() {
            means(geometry, average, input, (at, group * LANES), slots);
        }
        for (channel, slot) in (first..).zip(rest) {
            means(geometry, average, input, (at, channel), core::array::from_mut(slot));
        }
    }
}

/// The means of the channels from `channel` at result position `at`.
fn means<const N: usize>(
    geometry: &WindowGeometry,
    average: &AverageRequant,
    input: &[u8],
    (at, channel): ([usize; 2], usize),
    slots: &mut [u8; N],
) {
    let mut sums = [0_i32; N];
    geometry.for_each_tap(at, |pixel, _| {
        let levels = &input[pixel * geometry.input[2] + channel..][..N];
        for (sum, &x) in sums.iter_mut().zip(levels) {
            *sum = sum.wrapping_add(i32::from(x) - i32::from(average.zero_point));
        }
    });
    let requant = average.of_position(geometry, at);
    for (slot, &sum) in slots.iter_mut().zip(&sums) {
        *slot = requant.apply(sum, 0);
    }
}

/// Turns sums of levels into mean levels: one requantization for each number of taps that a window may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AverageRequant {
    include_pads: bool,
    zero_point: u8,
    by_count: Vec<(usize, Requant)>,
}

impl AverageRequant {
    /// For windows of `geometry` over levels of `from` with results of `to`, or `None` if a ratio of scales is out of
    /// range.
    #[must_use]
    pub fn new(
        geometry: &WindowGeometry,
        include_pads: bool,
        from: Quant,
        to: Quant,
    ) -> Option<Self> {
        let counts = |axis: usize| {
            let mut counts: Vec<usize> = (0..geometry.output[axis])
                .map(|at| axis_count(geometry, include_pads, axis, at))
                .collect();
            counts.sort_unstable();
            counts.dedup();
            counts
        };
        let columns = counts(1);
        let mut products: Vec<usize> = counts(0)
            .iter()
            .flat_map(|row| columns.iter().map(move |column| row * column))
            .collect();
        products.sort_unstable();
        products.dedup();
        let requant = |count: usize| {
            #[expect(clippy::cast_precision_loss, reason = "windows have fewer than 2^52 taps")]
            let ratio = f64::from(from.scale) / (f64::from(to.scale) * count as f64);
            Some((count, Requant::new(&[ratio], to, (0, 255))?))
        };
        let by_count = products.into_iter().map(requant).collect::<Option<_>>()?;
        Some(Self { include_pads, zero_point: from.zero_point, by_count })
    }

    /// The level that stands for zero in the input.
    #[must_use]
    pub const fn zero_point(&self) -> u8 {
        self.zero_point
    }

    /// Whether all requantizations shift by so much.
    #[must_use]
    pub fn shifts_within(&self, range: RangeInclusive<u32>) -> bool {
        self.by_count.iter().all(|(_, requant)| range.contains(&requant.shift))
    }

    /// What becomes of the sum at result position `at`, of differences from the zero point; has one multiplier.
    ///
    /// # Panics
    /// If this was made for another geometry.
    #[must_use]
    pub fn of_position(&self, geometry: &WindowGeometry, at: [usize; 2]) -> &Requant {
        self.for_count(tap_count(geometry, self.include_pads, at))
    }

    fn for_count(&self, count: usize) -> &Requant {
        let at = self.by_count.binary_search_by_key(&count, |entry| entry.0);
        &self.by_count[at.expect("all counts of the geometry are there")].1
    }
}

fn max_pool<T: Copy + PartialOrd>(
    geometry: &WindowGeometry,
    input: &[T],
    out: &mut [T],
    lowest: T,
) {
    check(geometry, input.len(), out.len());
    let channels = geometry.input[2];
    for (at, result) in results(geometry, out) {
        result.fill(lowest);
        geometry.for_each_tap(at, |pixel, _| {
            for (best, &x) in result.iter_mut().zip(&input[pixel * channels..][..channels]) {
                *best = if x > *best { x } else { *best };
            }
        });
    }
}

fn results<'a, T>(
    geometry: &WindowGeometry,
    out: &'a mut [T],
) -> impl Iterator<Item = ([usize; 2], &'a mut [T])> + use<'a, T> {
    let (width, channels) = (geometry.output[1], geometry.input[2]);
    out[..geometry.output_len()]
        .chunks_exact_mut(channels)
        .enumerate()
        .map(move |(at, result)| ([at / width, at % width], result))
}

/// What the sum at result position `at` is divided by.
#[must_use]
pub fn tap_count(geometry: &WindowGeometry, include_pads: bool, at: [usize; 2]) -> usize {
    axis_count(geometry, include_pads, 0, at[0]) * axis_count(geometry, include_pads, 1, at[1])
}

fn axis_count(geometry: &WindowGeometry, include_pads: bool, axis: usize, at: usize) -> usize {
    if include_pads { geometry.padded_taps(axis, at) } else { geometry.valid_taps(axis, at).len() }
}

fn check(geometry: &WindowGeometry, input: usize, out: usize) {
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3x3 input of one channel, 2x2 windows two apart, one pad on top and left: 2x2 results.
    fn geometry() -> WindowGeometry {
        WindowGeometry {
            input: [3, 3, 1],
            output: [2, 2],
            kernel: [2, 2],
            stride: [2, 2],
            dilation: [1, 1],
            pad_before: [1, 1],
            pad_after: [0, 0],
        }
    }

    #[test]
    fn maxima_by_hand() {
        let mut out = [0.0; 4];
        let input = [-1.0, -2.0, -3.0, 4.0, -5.0, f32::NAN, 7.0, 8.0, -9.0];
        max_pool_f32(&geometry(), &input, &mut out);
        assert_eq!(out, [-1.0, -2.0, 7.0, 8.0]);
        let mut levels = [9; 4];
        max_pool_u8(&geometry(), &[1, 2, 3, 4, 5, 6, 7, 8, 255], &mut levels);
        assert_eq!(levels, [1, 3, 7, 255]);
    }

    #[test]
    fn float_means_by_hand() {
        let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let mut out = [0.0; 4];
        average_pool_f32(&geometry(), false, &input, &mut out);
        assert_eq!(out, [1.0, 2.5, 5.5, 7.0]);
        average_pool_f32(&geometry(), true, &input, &mut out);
        assert_eq!(out, [0.25, 1.25, 2.75, 7.0]);
    }

    #[test]
    fn level_means_round_once() {
        let (from, to) =
            (Quant { scale: 0.5, zero_point: 10 }, Quant { scale: 0.25, zero_point: 1 });
        let input = [11, 12, 13, 14, 15, 16, 17, 18, 20];
        let mut out = [0; 4];
        let average = AverageRequant::new(&geometry(), false, from, to).unwrap();
        average_pool_u8(&geometry(), &average, &input, &mut out);
        // Means 1, 2.5, 5.5, 7.25 of steps of 0.5, in steps of 0.25: 2, 5, 11, 14.5 (up).
        assert_eq!(out, [3, 6, 12, 16]);
        let average = AverageRequant::new(&geometry(), true, from, to).unwrap();
        average_pool_u8(&geometry(), &average, &input, &mut out);
        // 0.25, 1.25, 2.75, 7.25: 0.5 (up), 2.5 (up), 5.5 (up), 14.5 (up).
        assert_eq!(out, [2, 4, 7, 16]);
    }

    #[test]
    fn what_hangs_over_the_end_never_counts() {
        // Width 3, windows of 2 two apart in ceil mode: the second sees one column.
        let geometry = WindowGeometry {
            input: [1, 3, 2],
            output: [1, 2],
            kernel: [1, 2],
            stride: [1, 2],
            dilation: [1, 1],
            pad_before: [0, 0],
            pad_after: [0, 0],
        };
        let mut out = [0.0; 4];
        for include_pads in [false, true] {
            average_pool_f32(&geometry, include_pads, &[1., 2., 3., 4., 5., 6.], &mut out);
            assert_eq!(out, [2.0, 3.0, 5.0, 6.0]);
        }
    }
}
