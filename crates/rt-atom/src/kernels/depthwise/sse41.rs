//! Depthwise convolution, SSE4.1. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! f32: 4 neighbours x 2 vectors of channels are 8 accumulators, enough chains for the latency of an addition, and the
//! 2 vectors of weights of a tap serve all 4 neighbours.
//!
//! q8: two taps of eight channels are interleaved in bytes, widened to 16 bits and multiplied by `pmaddwd`, which adds
//! both taps in the channel's i32 lane. 4 neighbours x 2 vectors are 8
//! accumulators. Interleaved weights and the zero point's share of the bias are the same for all positions of a run and
//! are made once for it.

use core::arch::x86_64::*;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8, depthwise};

use super::{check, taps};
use crate::detect::Sse41;
use crate::kernels::output::sse41::Stage;
use crate::kernels::output::{self, Block};
use crate::kernels::segment::{MAX_TAPS, Taps, segments};

/// Channels of a step; the accumulators of a step are two vectors.
const CHANNELS: usize = 8;
/// Neighbours that are computed together.
const TX: usize = 4;

/// Depthwise convolution, float.
pub(crate) fn depthwise_f32(_: Sse41, job: &DepthwiseF32<'_>, out: &mut [f32]) {
    if job.geometry.input[2] < CHANNELS || taps(&job.geometry) > MAX_TAPS {
        return depthwise::depthwise_f32(job, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { depthwise_f32_f32_4x8__sse41(job, out) }
}

/// Depthwise convolution, integer.
pub(crate) fn depthwise_q8(_: Sse41, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
    if job.geometry.input[2] < CHANNELS || taps(&job.geometry) > MAX_TAPS {
        return depthwise::depthwise_q8(job, out);
    }
    // SAFETY: the token proves that the CPU has SSE4.1.
    unsafe { depthwise_qu8_qc8w_4x8__sse41(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "sse4.1")]
fn depthwise_f32_f32_4x8__sse41(job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    let mut taps = Taps::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        for channel in (0..channels).step_by(CHANNELS) {
            let channel = channel.min(channels - CHANNELS);
            let mut ox = segment.ox.start;
            while ox < segment.ox.end {
                let first = segment.pixel(geometry, ox) * channels;
                let at = geometry.output_index([segment.oy, ox]);
                if ox + TX <= segment.ox.end {
                    step_f32::<TX>(job, &taps, [first, channel], &mut out[at..]);
                    ox += TX;
                } else {
                    step_f32::<1>(job, &taps, [first, channel], &mut out[at..]);
                    ox += 1;
                }
            }
        }
    }
}

/// `M` neighbours, of which the first one's first tap is the pixel that starts at `first`, times [`CHANNELS`] channels.
#[inline]
#[target_feature(enable = "sse4.1")]
fn step_f32<const M: usize>(
    job: &DepthwiseF32<'_>,
    taps: &Taps,
    [first, channel]: [usize; 2],
    out: &mut [f32],
) {
    let channels = job.geometry.input[2];
    let next = job.geometry.stride[1] * channels;
    let last = |taps: &[usize]| taps.last().map_or(0, |last| last + channel + CHANNELS);
    assert!(first + (M - 1) * next + last(taps.inputs()) <= job.input.len());
    assert!(last(taps.kernel()) <= job.weights.len());
    let bias: &[f32; CHANNELS] = job.bias[channel..].first_chunk().expect("channels to the end");
    // SAFETY: CHANNELS floats, two vectors.
    let bias = unsafe { [_mm_loadu_ps(bias.as_ptr()), _mm_loadu_ps(bias.as_ptr().add(4))] };
    let mut sums = [bias; M];
    for (&tap, &weight) in taps.inputs().iter().zip(taps.kernel()) {
        // SAFETY: taps ascend, and CHANNELS weights and inputs of every neighbour follow those of the last tap.
        let (x, w) = unsafe {
            (
                job.input.as_ptr().add(first + tap + channel),
                job.weights.as_ptr().add(weight + channel),
            )
        };
        for v in 0..2 {
            // SAFETY: as above; CHANNELS are two vectors.
            let w = unsafe { _mm_loadu_ps(w.add(4 * v)) };
            for (t, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { _mm_loadu_ps(x.add(t * next + 4 * v)) };
                let sum = &mut sums[v];
                *sum = _mm_add_ps(*sum, _mm_mul_ps(x, w));
            }
        }
    }
    let (low, high) = (_mm_set1_ps(job.clamp.0), _mm_set1_ps(job.clamp.1));
    for (t, sums) in sums.iter().enumerate() {
        let result: &mut [f32; CHANNELS] =
            out[t * channels + channel..].first_chunk_mut().expect("a whole result");
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
fn depthwise_qu8_qc8w_4x8__sse41(job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    let mut taps = Taps::new();
    let mut filter = Filter::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        for channel in (0..channels).step_by(CHANNELS) {
            let channel = channel.min(channels - CHANNELS);
            filter.fill(job, &taps, channel);
            let stage = Stage::prepare(&out, channel);
            let mut ox = segment.ox.start;
            while ox < segment.ox.end {
                let first = segment.pixel(geometry, ox) * channels;
                let at = geometry.output_index([segment.oy, ox]) + channel;
                let block = Block { at, stride: channels, channel, count: CHANNELS };
                if ox + TX <= segment.ox.end {
                    let sums = step_q8::<TX>(job, &filter, first);
                    output::sse41::store_prepared(stage.as_ref(), &mut out, block, &sums);
                    ox += TX;
                } else {
                    let sums = step_q8::<1>(job, &filter, first);
                    output::sse41::store_prepared(stage.as_ref(), &mut out, block, &sums);
                    ox += 1;
                }
            }
        }
    }
}

/// The taps of a run of positions for [`CHANNELS`] channels.
struct Filter {
    /// The bias less the zero point times all weights of the run.
    bias: [__m128i; 2],
    /// Pairs of taps: where their inputs are, and their weights.
    pairs: [([usize; 2], [__m128i; 2]); MAX_TAPS / 2],
    /// Pairs that are there; the last may have the same tap twice, with weights of zero.
    len: usize,
    /// Where the inputs of the last tap end.
    end: usize,
}

impl Filter {
    /// No taps.
    #[target_feature(enable = "sse4.1")]
    fn new() -> Self {
        let zeros = [_mm_setzero_si128(); 2];
        Self { bias: zeros, pairs: [([0; 2], zeros); MAX_TAPS / 2], len: 0, end: 0 }
    }

    /// Takes the weights of `taps` for the channels from `channel`.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn fill(&mut self, job: &DepthwiseQ8<'_>, taps: &Taps, channel: usize) {
        let mut biases: [i32; CHANNELS] =
            *job.bias[channel..].first_chunk().expect("channels to the end");
        let weights = |tap: usize| -> &[i8; CHANNELS] {
            job.weights[tap + channel..].first_chunk().expect("channels to the end")
        };
        let inputs = taps.inputs().chunks(2);
        self.len = 0;
        for ((pair, inputs), kernel) in
            self.pairs.iter_mut().zip(inputs).zip(taps.kernel().chunks(2))
        {
            let first = weights(kernel[0]);
            let second = kernel.get(1).map_or(&[0; CHANNELS], |&tap| weights(tap));
            for ((bias, &first), &second) in biases.iter_mut().zip(first).zip(second) {
                let both = i32::from(first) + i32::from(second);
                *bias = bias.wrapping_sub(i32::from(job.zero_point) * both);
            }
            let at = [inputs[0] + channel, inputs[inputs.len() - 1] + channel];
            *pair = (at, interleave(first, second));
            self.len += 1;
        }
        let biases = biases.as_chunks::<4>().0;
        // SAFETY: a vector of i32.
        let load = |at: &[i32; 4]| unsafe { _mm_loadu_si128(at.as_ptr().cast()) };
        self.bias = [load(&biases[0]), load(&biases[1])];
        self.end = taps.inputs().last().map_or(0, |last| last + channel + CHANNELS);
    }
}

/// `M` neighbours, of which the first one's first tap is the pixel that starts at `first`.
#[inline]
#[target_feature(enable = "sse4.1")]
fn step_q8<const M: usize>(
    job: &DepthwiseQ8<'_>,
    filter: &Filter,
    first: usize,
) -> [[__m128i; 2]; M] {
    let next = job.geometry.stride[1] * job.geometry.input[2];
    assert!(first + (M - 1) * next + filter.end <= job.input.len());
    let mut sums = [filter.bias; M];
    for &(at, w) in &filter.pairs[..filter.len] {
        for (t, sums) in sums.iter_mut().enumerate() {
            // SAFETY: taps ascend, and CHANNELS inputs of every neighbour follow those of the last tap.
            let x = unsafe { levels(at.map(|at| job.input.as_ptr().add(first + at + t * next))) };
            for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                *sum = _mm_add_epi32(*sum, _mm_madd_epi16(x, w));
            }
        }
    }
    sums
}

/// The bytes of eight channels of two taps, interleaved and widened to 16 bits: channels 0 to 3, channels 4 to 7.
///
/// # Safety
/// Eight bytes must be readable at both.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn levels(taps: [*const u8; 2]) -> [__m128i; 2] {
    // SAFETY: eight bytes each, by the contract.
    let both = unsafe {
        _mm_unpacklo_epi8(_mm_loadl_epi64(taps[0].cast()), _mm_loadl_epi64(taps[1].cast()))
    };
    [_mm_cvtepu8_epi16(both), _mm_unpackhi_epi8(both, _mm_setzero_si128())]
}

/// Like `levels`, for weights.
#[inline]
#[target_feature(enable = "sse4.1")]
fn interleave(first: &[i8; CHANNELS], second: &[i8; CHANNELS]) -> [__m128i; 2] {
    // SAFETY: eight bytes each.
    let both = unsafe {
        _mm_unpacklo_epi8(
            _mm_loadl_epi64(first.as_ptr().cast()),
            _mm_loadl_epi64(second.as_ptr().cast()),
        )
    };
    [_mm_cvtepi8_epi16(both), _mm_cvtepi8_epi16(_mm_srli_si128::<8>(both))]
}
