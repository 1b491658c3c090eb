//! Depthwise convolution, AVX2 and FMA. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! f32: 4 neighbours x 2 vectors of channels are 8 accumulators, enough chains for the latency of an addition, and the
//! 2 vectors of weights of a tap serve all 4 neighbours.
//!
//! q8: two taps of sixteen channels are interleaved in bytes, widened to 16 bits and multiplied by `vpmaddwd`, which adds
//! both taps in the channel's i32 lane. 2 accumulators a pixel, 2 vectors of weights; the zero point's share is the same for
//! all positions of a run and is taken off the bias once.

use core::arch::x86_64::*;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8};

use super::{Taps, check};
use crate::detect::Avx2;
use crate::kernels::output::{self, Block};
use crate::kernels::segment::{Segment, segments};

/// Channels of a step; the accumulators of a step are two vectors.
const CHANNELS: usize = 16;
/// Neighbours that are computed together in f32.
const TX_F32: usize = 4;
/// Neighbours that are computed together in integers.
const TX_Q8: usize = 2;

/// Depthwise convolution, float.
pub(crate) fn depthwise_f32(token: Avx2, job: &DepthwiseF32<'_>, out: &mut [f32]) {
    if job.geometry.input[2] < CHANNELS {
        return super::sse41::depthwise_f32(token.into(), job, out);
    }
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { depthwise_f32_f32_4x16__avx2(job, out) }
}

/// Depthwise convolution, integer.
pub(crate) fn depthwise_q8(token: Avx2, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
    if job.geometry.input[2] < CHANNELS {
        return super::sse41::depthwise_q8(token.into(), job, out);
    }
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { depthwise_qu8_qc8w_2x16__avx2(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2,fma")]
fn depthwise_f32_f32_4x16__avx2(job: &DepthwiseF32<'_>, out: &mut [f32]) {
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
#[target_feature(enable = "avx2,fma")]
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
    let bias = unsafe { [_mm256_loadu_ps(bias.as_ptr()), _mm256_loadu_ps(bias.as_ptr().add(8))] };
    let mut sums = [bias; TX];
    for row in 0..taps.rows {
        for column in 0..taps.columns {
            let (input, weight) = taps.at(row, column);
            for (v, lane) in [0, 8].into_iter().enumerate() {
                // SAFETY: `fit` asserted that CHANNELS weights follow those of the last tap.
                let w = unsafe { _mm256_loadu_ps(job.weights.as_ptr().add(weight + lane)) };
                for (t, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `fit` asserted that CHANNELS inputs follow the last one of the last neighbour.
                    let x = unsafe {
                        _mm256_loadu_ps(job.input.as_ptr().add(input + t * taps.next + lane))
                    };
                    let sum = &mut sums[v];
                    *sum = _mm256_fmadd_ps(x, w, *sum);
                }
            }
        }
    }
    let (low, high) = (_mm256_set1_ps(job.clamp.0), _mm256_set1_ps(job.clamp.1));
    for (t, sums) in sums.iter().enumerate() {
        let at = job.geometry.output_index([segment.oy, ox + t]) + channel;
        let result: &mut [f32; CHANNELS] = out[at..].first_chunk_mut().expect("a whole result");
        for (&sum, result) in sums.iter().zip(result.as_chunks_mut::<8>().0) {
            // The sum stands second, because minps and maxps return that one where there is a NaN.
            let y = _mm256_min_ps(high, _mm256_max_ps(low, sum));
            // SAFETY: a vector of floats.
            unsafe { _mm256_storeu_ps(result.as_mut_ptr(), y) };
        }
    }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2")]
fn depthwise_qu8_qc8w_2x16__avx2(job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
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
#[target_feature(enable = "avx2")]
fn bias_of_run(job: &DepthwiseQ8<'_>, segment: &Segment, channel: usize) -> [__m256i; 2] {
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
    let biases = biases.as_chunks::<8>().0;
    // SAFETY: a vector of i32 each.
    unsafe {
        [
            _mm256_loadu_si256(biases[0].as_ptr().cast()),
            _mm256_loadu_si256(biases[1].as_ptr().cast()),
        ]
    }
}

/// `TX` neighbours from column `ox`, [`CHANNELS`] channels; conditions as for `step_f32`.
#[inline]
#[target_feature(enable = "avx2")]
fn step_q8<const TX: usize>(
    job: &DepthwiseQ8<'_>,
    segment: &Segment,
    [ox, channel]: [usize; 2],
    bias: [__m256i; 2],
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
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
                }
            }
        }
    }
    let channels = job.geometry.input[2];
    let at = job.geometry.output_index([segment.oy, ox]) + channel;
    output::avx2::store(out, Block { at, stride: channels, channel, count: CHANNELS }, &sums);
}

/// The bytes of sixteen channels of two taps, interleaved and widened to 16 bits: channels 0 to 7, channels 8 to 15.
///
/// # Safety
/// Sixteen bytes must be readable at both.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn levels(first: *const u8, second: *const u8) -> [__m256i; 2] {
    // SAFETY: sixteen bytes each, by the contract.
    let (first, second) =
        unsafe { (_mm_loadu_si128(first.cast()), _mm_loadu_si128(second.cast())) };
    let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
    [_mm256_cvtepu8_epi16(low), _mm256_cvtepu8_epi16(high)]
}

/// Like `levels`, for weights; without a second tap its weights are zeros.
///
/// # Safety
/// Sixteen weights must be readable at each.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn filter(first: *const i8, second: Option<*const i8>) -> [__m256i; 2] {
    // SAFETY: sixteen bytes each, by the contract.
    let (first, second) = unsafe {
        let second = second.map_or(_mm_setzero_si128(), |at| _mm_loadu_si128(at.cast()));
        (_mm_loadu_si128(first.cast()), second)
    };
    let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
    [_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high)]
}
