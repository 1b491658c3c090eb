//! Depthwise convolution, AVX2 and FMA. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! f32: 4 neighbours x 2 vectors of channels are 8 accumulators, enough chains for the latency of an addition, and the
//! 2 vectors of weights of a tap serve all 4 neighbours.
//!
//! q8: two taps of sixteen channels are interleaved in bytes, widened to 16 bits and multiplied by `vpmaddwd`, which adds
//! both taps in the channel's i32 lane. 4 neighbours x 2 vectors are 8
//! accumulators. Interleaved weights and the zero point's share of the bias are the same for all positions of a run and
//! are made once for it.

use core::arch::x86_64::*;

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8};

use super::{check, taps};
use crate::detect::Avx2;
use crate::kernels::output::avx2::Stage;
use crate::kernels::output::{self, Block};
use crate::kernels::segment::{MAX_TAPS, Taps, segments};

/// Channels of a step; the accumulators of a step are two vectors.
const CHANNELS: usize = 16;
/// Neighbours that are computed together.
const TX: usize = 4;

/// Depthwise convolution, float.
pub(crate) fn depthwise_f32(token: Avx2, job: &DepthwiseF32<'_>, out: &mut [f32]) {
    if job.geometry.input[2] < CHANNELS || taps(&job.geometry) > MAX_TAPS {
        return super::sse41::depthwise_f32(token.into(), job, out);
    }
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { depthwise_f32_f32_4x16__avx2(job, out) }
}

/// Depthwise convolution, integer.
pub(crate) fn depthwise_q8(token: Avx2, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
    if job.geometry.input[2] < CHANNELS || taps(&job.geometry) > MAX_TAPS {
        return super::sse41::depthwise_q8(token.into(), job, out);
    }
    // SAFETY: the token proves that the CPU has AVX2 and FMA.
    unsafe { depthwise_qu8_qc8w_4x16__avx2(job, out) }
}

#[expect(non_snake_case, reason = "the grammar of kernel names")]
#[target_feature(enable = "avx2,fma")]
fn depthwise_f32_f32_4x16__avx2(job: &DepthwiseF32<'_>, out: &mut [f32]) {
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
#[target_feature(enable = "avx2,fma")]
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
    let bias = unsafe { [_mm256_loadu_ps(bias.as_ptr()), _mm256_loadu_ps(bias.as_ptr().add(8))] };
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
            let w = unsafe { _mm256_loadu_ps(w.add(8 * v)) };
            for (t, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { _mm256_loadu_ps(x.add(t * next + 8 * v)) };
                let sum = &mut sums[v];
                *sum = _mm256_fmadd_ps(x, w, *sum);
            }
        }
    }
    let (low, high) = (_mm256_set1_ps(job.clamp.0), _mm256_set1_ps(job.clamp.1));
    for (t, sums) in sums.iter().enumerate() {
        let result: &mut [f32; CHANNELS] =
            out[t * channels + channel..].first_chunk_mut().expect("a whole result");
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
fn depthwise_qu8_qc8w_4x16__avx2(job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
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
                    output::avx2::store_prepared(stage.as_ref(), &mut out, block, &sums);
                    ox += TX;
                } else {
                    let sums = step_q8::<1>(job, &filter, first);
                    output::avx2::store_prepared(stage.as_ref(), &mut out, block, &sums);
                    ox += 1;
                }
            }
        }
    }
}

/// The taps of a run of positions for [`CHANNELS`] channels.
struct Filter {
    /// The bias less the zero point times all weights of the run.
    bias: [__m256i; 2],
    /// Pairs of taps: where their inputs are, and their weights.
    pairs: [([usize; 2], [__m256i; 2]); MAX_TAPS / 2],
    /// Pairs that are there; the last may have the same tap twice, with weights of zero.
    len: usize,
    /// Where the inputs of the last tap end.
    end: usize,
}

impl Filter {
    /// No taps.
    #[target_feature(enable = "avx2")]
    fn new() -> Self {
        let zeros = [_mm256_setzero_si256(); 2];
        Self { bias: zeros, pairs: [([0; 2], zeros); MAX_TAPS / 2], len: 0, end: 0 }
    }

    /// Takes the weights of `taps` for the channels from `channel`.
    #[inline]
    #[target_feature(enable = "avx2")]
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
        let biases = biases.as_chunks::<8>().0;
        // SAFETY: a vector of i32.
        let load = |at: &[i32; 8]| unsafe { _mm256_loadu_si256(at.as_ptr().cast()) };
        self.bias = [load(&biases[0]), load(&biases[1])];
        self.end = taps.inputs().last().map_or(0, |last| last + channel + CHANNELS);
    }
}

/// `M` neighbours, of which the first one's first tap is the pixel that starts at `first`.
#[inline]
#[target_feature(enable = "avx2")]
fn step_q8<const M: usize>(
    job: &DepthwiseQ8<'_>,
    filter: &Filter,
    first: usize,
) -> [[__m256i; 2]; M] {
    let next = job.geometry.stride[1] * job.geometry.input[2];
    assert!(first + (M - 1) * next + filter.end <= job.input.len());
    let mut sums = [filter.bias; M];
    for &(at, w) in &filter.pairs[..filter.len] {
        for (t, sums) in sums.iter_mut().enumerate() {
            // SAFETY: taps ascend, and CHANNELS inputs of every neighbour follow those of the last tap.
            let x = unsafe { levels(at.map(|at| job.input.as_ptr().add(first + at + t * next))) };
            for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
            }
        }
    }
    sums
}

/// The bytes of sixteen channels of two taps, interleaved and widened to 16 bits: channels 0 to 7, channels 8 to 15.
///
/// # Safety
/// Sixteen bytes must be readable at both.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn levels(taps: [*const u8; 2]) -> [__m256i; 2] {
    // SAFETY: sixteen bytes each, by the contract.
    let (first, second) =
        unsafe { (_mm_loadu_si128(taps[0].cast()), _mm_loadu_si128(taps[1].cast())) };
    let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
    [_mm256_cvtepu8_epi16(low), _mm256_cvtepu8_epi16(high)]
}

/// Like `levels`, for weights.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(first: &[i8; CHANNELS], second: &[i8; CHANNELS]) -> [__m256i; 2] {
    // SAFETY: sixteen bytes each.
    let (first, second) = unsafe {
        (_mm_loadu_si128(first.as_ptr().cast()), _mm_loadu_si128(second.as_ptr().cast()))
    };
    let (low, high) = (_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second));
    [_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high)]
}
