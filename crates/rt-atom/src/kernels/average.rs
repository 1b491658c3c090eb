//! Average pooling: lanes are channels; where they are no multiple of a vector, the last vector overlaps the one before. Inputs
//! with fewer channels than a vector take 128 bits, those with fewer still the reference. Contract and reference:
//! `embdl_core::kernels::pool`.
//!
//! Sums of levels stay in 16 bits for up to 257 taps (257 * 255 = 65,535): a load, two times widening and adding for a vector
//! of bytes. Float sums are in the order of the taps, as the reference has them.

use embdl_core::kernels::WindowGeometry;
use embdl_core::kernels::pool::{self, AverageRequant};

use super::segment::segments;
use crate::detect::Sse41;
use crate::simd::Simd;
use crate::simd::bytes::Bytes;

/// Windows with more taps than this go to the reference where they are floats: it reads the input from its start to its end, and
/// within networks sums in registers were not faster (docs/src/kernels.md).
const MAX_TAPS: usize = 16;

/// Taps whose levels sum up to 16 bits.
const MAX_COUNT: usize = 257;

/// Average pooling, float.
///
/// # Panics
/// If a slice does not fit the geometry.
#[inline(always)]
pub(crate) fn pool_f32<S: Simd + Into<Sse41>>(
    simd: S,
    geometry: &WindowGeometry,
    include_pads: bool,
    input: &[f32],
    out: &mut [f32],
) {
    if geometry.kernel[0] * geometry.kernel[1] > MAX_TAPS {
        pool::average_pool_f32(geometry, include_pads, input, out);
    } else if geometry.input[2] >= S::LANES {
        floats(simd, geometry, include_pads, input, out);
    } else if geometry.input[2] >= Sse41::LANES {
        floats::<Sse41>(simd.into(), geometry, include_pads, input, out);
    } else {
        pool::average_pool_f32(geometry, include_pads, input, out);
    }
}

/// Average pooling of levels.
///
/// # Panics
/// If a slice does not fit the geometry, or `average` was made for another one.
#[inline(always)]
pub(crate) fn pool_u8<S: Bytes + Into<Sse41>>(
    simd: S,
    geometry: &WindowGeometry,
    average: &AverageRequant,
    input: &[u8],
    out: &mut [u8],
) {
    let channels = geometry.input[2];
    if !average.shifts_within(32..=54) || geometry.kernel[1] > MAX_COUNT {
        pool::average_pool_u8(geometry, average, input, out);
    } else if channels >= 4 * S::LANES {
        levels(simd, geometry, average, input, out);
    } else if channels >= 4 * Sse41::LANES {
        levels::<Sse41>(simd.into(), geometry, average, input, out);
    } else {
        pool::average_pool_u8(geometry, average, input, out);
    }
}

#[inline(always)]
fn floats<S: Simd>(
    simd: S,
    geometry: &WindowGeometry,
    include_pads: bool,
    input: &[f32],
    out: &mut [f32],
) {
    let lanes = S::LANES;
    for window in windows(geometry, input.len(), out.len()) {
        #[expect(clippy::cast_precision_loss, reason = "windows have far fewer than 2^24 taps")]
        let count = simd.splat(pool::tap_count(geometry, include_pads, window.at) as f32);
        let result = &mut out[geometry.output_index(window.at)..][..geometry.input[2]];
        let channels = result.len();
        let mut channel = 0;
        // SAFETY: all taps of the window have all channels behind them, and so has the result; in the last loop there is at
        // least a vector of them.
        unsafe {
            while channel + 8 * lanes <= channels {
                means::<S, 8>(simd, &window, count, channel, input, result);
                channel += 8 * lanes;
            }
            while channel + 4 * lanes <= channels {
                means::<S, 4>(simd, &window, count, channel, input, result);
                channel += 4 * lanes;
            }
            while channel < channels {
                let first = channel.min(channels - lanes);
                means::<S, 1>(simd, &window, count, first, input, result);
                channel += lanes;
            }
        }
    }
}

/// The means of `NV` vectors of channels from `channel`.
///
/// # Safety
/// There must be so many channels, at each tap of the window and in `result`.
#[inline(always)]
unsafe fn means<S: Simd, const NV: usize>(
    simd: S,
    window: &Window,
    count: S::F32,
    channel: usize,
    input: &[f32],
    result: &mut [f32],
) {
    let mut sums = [simd.splat(0.0); NV];
    for row in 0..window.taps[0] {
        for column in 0..window.taps[1] {
            let tap = window.tap(row, column) + channel;
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: by the contract.
                *sum = simd.add(*sum, unsafe { simd.load(input.as_ptr().add(tap + v * S::LANES)) });
            }
        }
    }
    for (v, sum) in sums.into_iter().enumerate() {
        // SAFETY: by the contract.
        unsafe {
            let at = result.as_mut_ptr().add(channel + v * S::LANES);
            simd.store(at, simd.div(sum, count));
        }
    }
}

#[inline(always)]
fn levels<S: Bytes>(
    simd: S,
    geometry: &WindowGeometry,
    average: &AverageRequant,
    input: &[u8],
    out: &mut [u8],
) {
    let zero = simd.splat_i32(0);
    let lanes = 4 * S::LANES;
    for window in windows(geometry, input.len(), out.len()) {
        let result = &mut out[geometry.output_index(window.at)..][..geometry.input[2]];
        let requant = average.of_position(geometry, window.at);
        let multiplier = simd.splat_i32(requant.multipliers[0]);
        let rounding = simd.rounding(requant.shift, requant.zero_point);
        let taps = i32::try_from(window.taps[0] * window.taps[1]).expect("a window in memory");
        let start = simd.splat_i32(-taps * i32::from(average.zero_point()));
        for channel in (0..result.len()).step_by(lanes) {
            let channel = channel.min(result.len() - lanes);
            let mut sums = [start; 4];
            let mut words = [zero; 2];
            let mut count = 0;
            for row in 0..window.taps[0] {
                if count + window.taps[1] > MAX_COUNT {
                    flush(simd, &mut sums, &mut words);
                    count = 0;
                }
                count += window.taps[1];
                for column in 0..window.taps[1] {
                    // SAFETY: the window's taps have all channels behind them, and `channel` has a vector of them.
                    let x = unsafe {
                        simd.load_bytes(input.as_ptr().add(window.tap(row, column) + channel))
                    };
                    words[0] = simd.add_words(words[0], simd.first_bytes(x, zero));
                    words[1] = simd.add_words(words[1], simd.last_bytes(x, zero));
                }
            }
            flush(simd, &mut sums, &mut words);
            for sum in &mut sums {
                *sum = simd.requantize(*sum, multiplier, rounding);
            }
            let levels = simd.levels(sums, 0, [requant.min, requant.max]);
            // SAFETY: `result` has a vector from `channel`.
            unsafe { simd.store_bytes(result.as_mut_ptr().add(channel), levels) };
        }
    }
}

/// Adds unsigned words to i32, and makes them zero.
#[inline(always)]
fn flush<S: Bytes>(simd: S, sums: &mut [S::I32; 4], words: &mut [S::I32; 2]) {
    let zero = simd.splat_i32(0);
    for (sums, word) in sums.chunks_exact_mut(2).zip(words) {
        sums[0] = simd.add_i32(sums[0], simd.first_words(*word, zero));
        sums[1] = simd.add_i32(sums[1], simd.last_words(*word, zero));
        *word = zero;
    }
}

/// The taps of a result position. All channels of each are in the input.
struct Window {
    /// Row and column of the result.
    at: [usize; 2],
    /// Taps inside the input, in height and width.
    taps: [usize; 2],
    /// Where the first one starts.
    first: usize,
    /// Elements from one to the next.
    step: [usize; 2],
}

impl Window {
    /// Where a tap starts.
    const fn tap(&self, row: usize, column: usize) -> usize {
        self.first + row * self.step[0] + column * self.step[1]
    }
}

/// All result positions.
///
/// # Panics
/// If an input or a result of so many elements does not fit the geometry.
fn windows(geometry: &WindowGeometry, input: usize, out: usize) -> impl Iterator<Item = Window> {
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
    let [_, width, channels] = geometry.input;
    let step = [geometry.dilation[0] * width * channels, geometry.dilation[1] * channels];
    segments(geometry).flat_map(move |segment| {
        let taps = [segment.ky.len(), segment.kx.len()];
        segment.ox.clone().map(move |ox| {
            let first = segment.pixel(geometry, ox) * channels;
            let window = Window { at: [segment.oy, ox], taps, first, step };
            let is_empty = taps.contains(&0);
            let last = [taps[0].saturating_sub(1), taps[1].saturating_sub(1)];
            let end = window.tap(last[0], last[1]) + channels;
            assert!(is_empty || end <= input, "a window outside of the input");
            window
        })
    })
}
