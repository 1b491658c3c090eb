//! Depthwise convolution, SSE4.1. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! f32: 4 neighbours x 2 vectors of channels are 8 accumulators, enough chains for the latency of an addition, and the
//! 2 vectors of weights of a tap serve all 4 neighbours.
//!
//! q8: two taps of eight channels are interleaved in bytes, widened to 16 bits and multiplied by `pmaddwd`, which adds
//! both taps in the channel's i32 lane. 2 accumulators a pixel, 2 vectors of weights; the zero point's share is the same for
//! all positions of a run and is taken off the bias once.

use core::arch::x86_64::*;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8, depthwise};

use super::{Taps, check};
use crate::detect::Sse41;
use crate::kernels::output::{self, Block};
use crate::kernels::segment::{Segment, segments};

/// Channels of a step; the accumulators of a step are two vectors.
const CHANNELS: usize = 8;
/// Neighbours that are computed together in f32.
const TX_F32: usize = 4;
/// Neighbours that are computed together in integers.
const TX_Q8: usize = 2;

/// Depthwise convolution, float.
pub(crate) fn depthwise_f32(_: Sse41, job: &DepthwiseF32<'_>, out: &mut [f32]) {
    if job.geometry.input[2] < CHANNELS {
        return depthwise::depthwise_f32(job, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { depthwise_f32_f32_4x8__sse41(job, out) }
}

/// Depthwise convolution, integer.
pub(crate) fn depthwise_q8(_: Sse41, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
    if job.geometry.input[2] < CHANNELS {
        return depthwise::depthwise_q8(job, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { depthwise_qu8_qc8w_2x8__sse41(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn depthwise_f32_f32_4x8__sse41(job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    for segment in segments(geometry) {
        for channel in (0..channels).step_by(CHANNELS) {
            let channel = channel.min(channels - CHANNELS);
            let mut ox = segment.ox.start;
            while ox + TX_F32 <= segment.ox.end {
                step_f32::<TX_F32>(job, &segment, ox, channel, out);
                ox += TX_F32;
            }
            while ox < segment.ox.end {
                step_f32::<1>(job, &segment, ox, channel, out);
                ox += 1;
            }
        }
    }
}

/// `TX` neighbours from column `ox`, [`CHANNELS`] channels. Only for a segment of the job's geometry, checked slices,
/// columns of the segment, and a channel with that many from it on.
#[inline]
#[target_feature(enable = "sse4.1")]
fn step_f32<const TX: usize>(
    job: &DepthwiseF32<'_>,
    segment: &Segment,
    ox: usize,
    channel: usize,
    out: &mut [f32],
) {
    let taps = Taps::new(&job.geometry, segment, ox, channel);
    assert!(taps.fit([TX, CHANNELS], job.input.len(), job.weights.len()));
    let bias: &[f32; CHANNELS] = job.bias[channel..].first_chunk().expect("channels to the end");
    // SAFETY: CHANNELS floats, two vectors.
    let bias = unsafe { [_mm_loadu_ps(bias.as_ptr()), _mm_loadu_ps(bias.as_ptr().add(4))] };
    let mut sums = [bias; TX];
    for row in 0..taps.rows {
        for column in 0..taps.columns {
            let (input, weight) = taps.at(row, column);
            for (v, lane) in [0, 4].into_iter().enumerate() {
                // SAFETY: `fit` asserted that CHANNELS weights follow those of the last tap.
                let w = unsafe { _mm_loadu_ps(job.weights.as_ptr().add(weight + lane)) };
                for (t, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `fit` asserted that CHANNELS inputs follow the last one of the last neighbour.
                    let x = unsafe {
                        _mm_loadu_ps(job.input.as_ptr().add(input + t * taps.next + lane))
                    };
                    let sum = &mut sums[v];
                    *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
                }
            }
        }
    }
    let (low, high) = (_mm_set1_ps(job.clamp.0), _mm_set1_ps(job.clamp.1));
    for (t, sums) in sums.iter().enumerate() {
        let at = job.geometry.output_index([segment.oy, ox + t]) + channel;
        let result: &mut [f32; CHANNELS] = out[at..].first_chunk_mut().expect("a whole result");
        for (&sum, result) in sums.iter().zip(result.as_chunks_mut::<4>().0) {
            // The sum stands second, because minps and maxps return that one where there is a NaN.
            let y = _mm_min_ps(high, _mm_max_ps(low, sum));
            // SAFETY: a vector of floats.
            unsafe { _mm_storeu_ps(result.as_mut_ptr(), y) };
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn depthwise_qu8_qc8w_2x8__sse41(job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    for segment in segments(geometry) {
        for channel in (0..channels).step_by(CHANNELS) {
            let channel = channel.min(channels - CHANNELS);
            let bias = bias_of_run(job, &segment, channel);
            let mut ox = segment.ox.start;
            while ox + TX_Q8 <= segment.ox.end {
                step_q8::<TX_Q8>(job, &segment, [ox, channel], bias, &mut out);
                ox += TX_Q8;
            }
            while ox < segment.ox.end {
                step_q8::<1>(job, &segment, [ox, channel], bias, &mut out);
                ox += 1;
            }
        }
    }
}

/// The bias less the zero point times the weights of the taps that the segment's positions see.
#[inline]
#[target_feature(enable = "sse4.1")]
fn bias_of_run(job: &DepthwiseQ8<'_>, segment: &Segment, channel: usize) -> [__m128i; 2] {
    let mut biases: [i32; CHANNELS] =
        *job.bias[channel..].first_chunk().expect("channels to the end");
    let channels = job.geometry.input[2];
    for ky in segment.ky.clone() {
        for kx in segment.kx.clone() {
            let at = (ky * job.geometry.kernel[1] + kx) * channels + channel;
            for (bias, &w) in biases.iter_mut().zip(&job.weights[at..][..CHANNELS]) {
                *bias = bias.wrapping_sub(i32::from(job.zero_point) * i32::from(w));
            }
        }
    }
    let biases = biases.as_chunks::<4>().0;
    // SAFETY: a vector of i32 each.
    unsafe {
        [_mm_loadu_si128(biases[0].as_ptr().cast()), _mm_loadu_si128(biases[1].as_ptr().cast())]
    }
}

/// `TX` neighbours from column `ox`, [`CHANNELS`] channels; conditions as for `step_f32`.
#[inline]
#[target_feature(enable = "sse4.1")]
fn step_q8<const TX: usize>(
    job: &DepthwiseQ8<'_>,
    segment: &Segment,
    [ox, channel]: [usize; 2],
    bias: [__m128i; 2],
    out: &mut OutQ8<'_>,
) {
    let taps = Taps::new(&job.geometry, segment, ox, channel);
    assert!(taps.fit([TX, CHANNELS], job.input.len(), job.weights.len()));
    let mut sums = [bias; TX];
    for row in 0..taps.rows {
        for column in (0..taps.columns).step_by(2) {
            let (input, weight) = taps.at(row, column);
            let has_second = column + 1 < taps.columns;
            let (second_input, second_weight) =
                if has_second { taps.at(row, column + 1) } else { (input, weight) };
            // SAFETY: `fit` asserted that CHANNELS weights follow those of the last tap.
            let w = unsafe {
                let at = |weight: usize| job.weights.as_ptr().add(weight);
                filter(at(weight), has_second.then(|| at(second_weight)))
            };
            for (t, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `fit` asserted that CHANNELS inputs follow the last one of the last neighbour.
                let x = unsafe {
                    let at = |input: usize| job.input.as_ptr().add(input + t * taps.next);
                    levels(at(input), at(second_input))
                };
                for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                    *sum = _mm_add_epi32(*sum, _mm_madd_epi16(x, w));
                }
            }
        }
    }
    let channels = job.geometry.input[2];
    let at = job.geometry.output_index([segment.oy, ox]) + channel;
    output::sse41::store(out, Block { at, stride: channels, channel, count: CHANNELS }, &sums);
}

/// The bytes of eight channels of two taps, interleaved and widened to 16 bits: channels 0 to 3, channels 4 to 7.
///
/// # Safety
/// Eight bytes must be readable at both.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn levels(first: *const u8, second: *const u8) -> [__m128i; 2] {
    // SAFETY: eight bytes each, by the contract.
    let both =
        unsafe { _mm_unpacklo_epi8(_mm_loadl_epi64(first.cast()), _mm_loadl_epi64(second.cast())) };
    [_mm_cvtepu8_epi16(both), _mm_unpackhi_epi8(both, _mm_setzero_si128())]
}

/// Like `levels`, for weights; without a second tap its weights are zeros.
///
/// # Safety
/// Eight weights must be readable at each.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn filter(first: *const i8, second: Option<*const i8>) -> [__m128i; 2] {
    // SAFETY: eight bytes each, by the contract.
    let both = unsafe {
        let first = _mm_loadl_epi64(first.cast());
        let second = second.map_or(_mm_setzero_si128(), |at| _mm_loadl_epi64(at.cast()));
        _mm_unpacklo_epi8(first, second)
    };
    [_mm_cvtepi8_epi16(both), _mm_cvtepi8_epi16(_mm_srli_si128::<8>(both))]
}
