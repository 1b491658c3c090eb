//! Depthwise convolution: lanes are channels; where they are no multiple of a step, the last step overlaps the one before
//! and computes the same results again. Inputs with fewer channels than a step go to a lesser level, windows with very
//! many taps to the scalar reference. Contract and reference: `embdl_core::kernels::depthwise`.
//!
//! ```text
//! for each run of positions that see the same taps, for each step of two vectors of channels
//!     for each 4 neighbours: sums[4] = bias; for each tap: sums += input[pixel of each] * weights[tap]
//! ```
//!
//! f32: 4 neighbours x 2 vectors are 8 accumulators, enough chains for the latency of an addition, and the 2 vectors of
//! weights of a tap serve all 4 neighbours.
//!
//! q8: two taps are interleaved in bytes, widened to 16 bits and multiplied by `pmaddwd`, which adds both taps in the
//! channel's i32 lane. Interleaved weights and the zero point's share of the bias are the same for all positions of a run
//! and are made once for it. Windows of 3x3 go by columns (`columns.rs`).

use embdl_core::kernels::{DepthwiseF32, DepthwiseQ8, OutQ8, WindowGeometry};

use super::output::{Block, Stage, store};
use super::segment::{MAX_TAPS, Taps, segments};
use crate::simd::Simd;

mod columns;
pub(crate) mod dot;

/// Neighbours that are computed together.
const TX: usize = 4;
/// Most channels of a step.
const MAX_CHANNELS: usize = 32;

/// Whether the vector code of a level with so many lanes takes the job: enough channels, and not too many taps.
pub(crate) const fn takes(geometry: &WindowGeometry, lanes: usize) -> bool {
    geometry.input[2] >= 2 * lanes && geometry.kernel[0] * geometry.kernel[1] <= MAX_TAPS
}

/// Depthwise convolution, float; [`takes`] must hold.
///
/// # Panics
/// If a slice does not fit the geometry.
#[inline(always)]
pub(crate) fn depthwise_f32<S: Simd>(simd: S, job: &DepthwiseF32<'_>, out: &mut [f32]) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let (channels, step) = (geometry.input[2], 2 * S::LANES);
    let mut taps = Taps::new();
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        for channel in (0..channels).step_by(step) {
            let channel = channel.min(channels - step);
            let mut ox = segment.ox.start;
            while ox < segment.ox.end {
                let first = segment.pixel(geometry, ox) * channels;
                let at = geometry.output_index([segment.oy, ox]);
                if ox + TX <= segment.ox.end {
                    step_f32::<S, TX>(simd, job, &taps, [first, channel], &mut out[at..]);
                    ox += TX;
                } else {
                    step_f32::<S, 1>(simd, job, &taps, [first, channel], &mut out[at..]);
                    ox += 1;
                }
            }
        }
    }
}

/// `M` neighbours, of which the first one's first tap is the pixel that starts at `first`, times a step of channels.
#[inline(always)]
fn step_f32<S: Simd, const M: usize>(
    simd: S,
    job: &DepthwiseF32<'_>,
    taps: &Taps,
    [first, channel]: [usize; 2],
    out: &mut [f32],
) {
    let channels = job.geometry.input[2];
    let next = job.geometry.stride[1] * channels;
    let last = |taps: &[usize]| taps.last().map_or(0, |last| last + channel + 2 * S::LANES);
    assert!(first + (M - 1) * next + last(taps.inputs()) <= job.input.len());
    assert!(last(taps.kernel()) <= job.weights.len() && channel + 2 * S::LANES <= job.bias.len());
    assert!((M - 1) * channels + channel + 2 * S::LANES <= out.len());
    // SAFETY: two vectors of biases from `channel`.
    let bias = [0, S::LANES].map(|at| unsafe { simd.load(job.bias.as_ptr().add(channel + at)) });
    let mut sums = [bias; M];
    for (&tap, &weight) in taps.inputs().iter().zip(taps.kernel()) {
        for v in 0..2 {
            // SAFETY: taps ascend, and two vectors of weights and inputs of every neighbour follow those of the last tap.
            let w = unsafe { simd.load(job.weights.as_ptr().add(weight + channel + v * S::LANES)) };
            for (t, sums) in sums.iter_mut().enumerate() {
                let at = first + tap + channel + t * next + v * S::LANES;
                // SAFETY: as above.
                let x = unsafe { simd.load(job.input.as_ptr().add(at)) };
                sums[v] = simd.mul_add(x, w, sums[v]);
            }
        }
    }
    let (low, high) = (simd.splat(job.clamp.0), simd.splat(job.clamp.1));
    for (t, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // The sum stands second, because minps and maxps return that one where there is a NaN.
            let y = simd.min(high, simd.max(low, sum));
            // SAFETY: asserted above: two vectors of each neighbour's results.
            unsafe { simd.store(out.as_mut_ptr().add(t * channels + channel + v * S::LANES), y) };
        }
    }
}

/// Depthwise convolution, integer; [`takes`] must hold.
///
/// # Panics
/// If a slice does not fit the geometry.
#[inline(always)]
pub(crate) fn depthwise_q8<S: Simd>(simd: S, job: &DepthwiseQ8<'_>, mut out: OutQ8<'_>) {
    let geometry = &job.geometry;
    check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    if columns::takes(geometry) {
        return columns::depthwise_q8(simd, job, &mut out);
    }
    let (channels, step) = (geometry.input[2], 2 * S::LANES);
    let mut taps = Taps::new();
    let mut filter = Filter::new(simd);
    for segment in segments(geometry) {
        taps.fill(geometry, &segment);
        for channel in (0..channels).step_by(step) {
            let channel = channel.min(channels - step);
            filter.fill(simd, job, &taps, channel);
            let stage = Stage::prepare(simd, &out, channel);
            let mut ox = segment.ox.start;
            while ox < segment.ox.end {
                let first = segment.pixel(geometry, ox) * channels;
                let at = geometry.output_index([segment.oy, ox]) + channel;
                let block = Block { at, stride: channels, channel, count: step };
                if ox + TX <= segment.ox.end {
                    let sums = step_q8::<S, TX>(simd, job, &filter, first);
                    store(simd, stage.as_ref(), &mut out, block, &sums);
                    ox += TX;
                } else {
                    let sums = step_q8::<S, 1>(simd, job, &filter, first);
                    store(simd, stage.as_ref(), &mut out, block, &sums);
                    ox += 1;
                }
            }
        }
    }
}

/// The taps of a run of positions for a step of channels.
struct Filter<S: Simd> {
    /// The bias less the zero point times all weights of the run.
    bias: [S::I32; 2],
    /// Pairs of taps: where their inputs are, and their weights.
    pairs: [([usize; 2], [S::I32; 2]); MAX_TAPS / 2],
    /// Pairs that are there; the last may have the same tap twice, with weights of zero.
    len: usize,
    /// Where the inputs of the last tap end.
    end: usize,
}

impl<S: Simd> Filter<S> {
    /// No taps.
    #[inline(always)]
    fn new(simd: S) -> Self {
        let zeros = [simd.splat_i32(0); 2];
        Self { bias: zeros, pairs: [([0; 2], zeros); MAX_TAPS / 2], len: 0, end: 0 }
    }

    /// Takes the weights of `taps` for the channels from `channel`.
    #[inline(always)]
    fn fill(&mut self, simd: S, job: &DepthwiseQ8<'_>, taps: &Taps, channel: usize) {
        let step = 2 * S::LANES;
        let mut biases = [0_i32; MAX_CHANNELS];
        biases[..step].copy_from_slice(&job.bias[channel..][..step]);
        let zeros = [0_i8; MAX_CHANNELS];
        self.len = 0;
        let pairs = self.pairs.iter_mut().zip(taps.inputs().chunks(2));
        for ((pair, inputs), kernel) in pairs.zip(taps.kernel().chunks(2)) {
            let first = &job.weights[kernel[0] + channel..][..step];
            let second =
                kernel.get(1).map_or(&zeros[..step], |&tap| &job.weights[tap + channel..][..step]);
            for ((bias, &first), &second) in biases.iter_mut().zip(first).zip(second) {
                let both = i32::from(first) + i32::from(second);
                *bias = bias.wrapping_sub(i32::from(job.zero_point) * both);
            }
            let at = [inputs[0] + channel, inputs[inputs.len() - 1] + channel];
            // SAFETY: a step of weights each.
            *pair = (at, unsafe { simd.interleave_i8([first.as_ptr(), second.as_ptr()]) });
            self.len += 1;
        }
        // SAFETY: MAX_CHANNELS are two vectors at least.
        self.bias =
            [0, S::LANES].map(|at| unsafe { simd.load_bytes(biases.as_ptr().add(at).cast()) });
        self.end = taps.inputs().last().map_or(0, |last| last + channel + step);
    }
}

/// `M` neighbours, of which the first one's first tap is the pixel that starts at `first`.
#[inline(always)]
fn step_q8<S: Simd, const M: usize>(
    simd: S,
    job: &DepthwiseQ8<'_>,
    filter: &Filter<S>,
    first: usize,
) -> [[S::I32; 2]; M] {
    let next = job.geometry.stride[1] * job.geometry.input[2];
    assert!(first + (M - 1) * next + filter.end <= job.input.len());
    let mut sums = [filter.bias; M];
    for &(at, w) in &filter.pairs[..filter.len] {
        for (t, sums) in sums.iter_mut().enumerate() {
            let start = first + t * next;
            // SAFETY: taps ascend, and a step of inputs of every neighbour follows those of the last tap.
            let x = unsafe {
                let input = job.input.as_ptr();
                simd.interleave_u8([input.add(start + at[0]), input.add(start + at[1])])
            };
            for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                *sum = simd.madd(x, w, *sum);
            }
        }
    }
    sums
}

/// The three rows of the input that a row of results sees; none where one is in the pads.
#[inline(always)]
fn three_rows<'a>(job: &DepthwiseQ8<'a>, oy: usize) -> [Option<&'a [u8]>; 3] {
    let geometry = &job.geometry;
    let [height, width, channels] = geometry.input;
    let mut rows = [None; 3];
    for (ky, row) in rows.iter_mut().enumerate() {
        let y = (oy * geometry.stride[0] + ky).checked_sub(geometry.pad_before[0]);
        let y = y.filter(|&y| y < height);
        *row = y.map(|y| &job.input[y * width * channels..][..width * channels]);
    }
    rows
}

/// Asserts that the slices fit the geometry.
fn check(geometry: &WindowGeometry, input: usize, weights: usize, bias: usize, out: usize) {
    let channels = geometry.input[2];
    let taps = geometry.kernel[0] * geometry.kernel[1];
    assert!(input == geometry.input_len(), "{input} inputs do not fit {geometry:?}");
    assert!(weights == taps * channels, "{weights} weights do not fit {geometry:?}");
    assert!(bias == channels, "{bias} biases for {channels} channels");
    assert!(out >= geometry.output_len(), "{out} results do not fit {geometry:?}");
}
