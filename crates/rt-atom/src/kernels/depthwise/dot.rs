//! Depthwise 3x3 convolution of levels with byte dot products in 512 bits. Contract and reference:
//! `embdl_core::kernels::depthwise`.
//!
//! ```text
//! for each 64 channels, for each row of results
//!     for each column of the input: interleave the bytes of its three rows, four bytes a channel    once for 3 results
//!     for each result: sums = bias; for its three columns: sums += column * weights                 12 vpdpbusd
//! ```
//!
//! Interleaving works in quarters of a vector: of 64 channels, vector j of the four holds channels 16 q + 4 j to + 3 in
//! quarter q. Packing i32 to bytes works in quarters too and brings exactly that order back. Rows and columns in the pads
//! hold the zero point, so that its share of the bias is the same everywhere. 12 vectors of weights, 12 of columns and 4
//! sums are 28 of 32 registers.

use core::arch::x86_64::*;

use embdl_core::kernels::{DepthwiseQ8, OutQ8, WindowGeometry};
use embdl_core::quant::Requant;

use crate::detect::{Avx512Vnni, AvxVnni};
use crate::simd::Simd;

/// Channels of a step.
const STEP: usize = 64;

/// Levels with byte dot products, which may have kernels of their own.
pub(crate) trait DepthwiseDot {
    /// Computes the job, or gives `out` back where the level has no kernel of its own for it.
    fn depthwise_dot<'o>(self, job: &DepthwiseQ8<'_>, out: OutQ8<'o>) -> Option<OutQ8<'o>>;
}

impl DepthwiseDot for AvxVnni {
    fn depthwise_dot<'o>(self, _: &DepthwiseQ8<'_>, out: OutQ8<'o>) -> Option<OutQ8<'o>> {
        Some(out)
    }
}

impl DepthwiseDot for Avx512Vnni {
    fn depthwise_dot<'o>(self, job: &DepthwiseQ8<'_>, out: OutQ8<'o>) -> Option<OutQ8<'o>> {
        match out {
            OutQ8::U8(requant, out) if takes(&job.geometry, requant) => {
                // SAFETY: the token proves that the CPU has the features.
                unsafe { depthwise_q8(self, job, requant, out) };
                None
            }
            out => Some(out),
        }
    }
}

/// Whether the kernel takes the job.
fn takes(geometry: &WindowGeometry, requant: &Requant) -> bool {
    geometry.kernel == [3, 3]
        && geometry.dilation == [1, 1]
        && geometry.input[2] >= STEP
        && (32..=54).contains(&requant.shift)
}

/// Vectors of 64 channels, four bytes or an i32 each.
type Quads = [__m512i; 4];

/// The job; [`takes`] must hold.
///
/// # Panics
/// If a slice does not fit the geometry.
#[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn depthwise_q8(level: Avx512Vnni, job: &DepthwiseQ8<'_>, requant: &Requant, out: &mut [u8]) {
    let geometry = &job.geometry;
    super::check(geometry, job.input.len(), job.weights.len(), job.bias.len(), out.len());
    let channels = geometry.input[2];
    for first in (0..channels).step_by(STEP) {
        let step = Step::new(level, job, requant, first.min(channels - STEP));
        for oy in 0..geometry.output[0] {
            match geometry.stride[1] {
                1 => step.row::<1>(level, job, oy, out),
                2 => step.row::<2>(level, job, oy, out),
                _ => step.row::<0>(level, job, oy, out),
            }
        }
    }
}

/// What 64 channels have for all positions.
struct Step {
    /// The first channel.
    channel: usize,
    /// Weights of the three columns, the rows interleaved.
    weights: [Quads; 3],
    bias: Quads,
    multipliers: Quads,
    rounding: <Avx512Vnni as Simd>::Rounding,
    bounds: [__m512i; 2],
    zero_point: __m512i,
}

/// Channel of lane `lane` of vector `j`.
const fn channel_of(j: usize, lane: usize) -> usize {
    lane / 4 * 16 + 4 * j + lane % 4
}

/// 64 bytes.
#[target_feature(enable = "avx512f")]
fn load<T: Copy, const N: usize>(lanes: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == 64) };
    // SAFETY: 64 bytes of plain data.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

impl Step {
    #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn new(level: Avx512Vnni, job: &DepthwiseQ8<'_>, requant: &Requant, channel: usize) -> Self {
        let channels = job.geometry.input[2];
        let mut weights = [[[0_i8; STEP]; 4]; 3];
        let mut bias = [[0_i32; 16]; 4];
        let mut multipliers = [[0_i32; 16]; 4];
        for j in 0..4 {
            for lane in 0..16 {
                let c = channel + channel_of(j, lane);
                let mut sum = 0;
                for (kx, weights) in weights.iter_mut().enumerate() {
                    for ky in 0..3 {
                        let w = job.weights[(ky * 3 + kx) * channels + c];
                        weights[j][4 * lane + ky] = w;
                        sum += i32::from(w);
                    }
                }
                bias[j][lane] = job.bias[c].wrapping_sub(i32::from(job.zero_point) * sum);
                let all = requant.multipliers.len() == 1;
                multipliers[j][lane] = requant.multipliers[if all { 0 } else { c }];
            }
        }
        Self {
            channel,
            weights: weights.map(|quads| quads.map(|bytes| load(&bytes))),
            bias: bias.map(|lanes| load(&lanes)),
            multipliers: multipliers.map(|lanes| load(&lanes)),
            rounding: level.rounding(requant.shift, requant.zero_point),
            bounds: [requant.min, requant.max].map(|bound| _mm512_set1_epi8(bound.cast_signed())),
            zero_point: _mm512_set1_epi8(job.zero_point.cast_signed()),
        }
    }

    /// A row of results. `STRIDE` 0 stands for strides above 2, which share no columns.
    #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn row<const STRIDE: usize>(
        &self,
        level: Avx512Vnni,
        job: &DepthwiseQ8<'_>,
        oy: usize,
        out: &mut [u8],
    ) {
        let geometry = &job.geometry;
        let ([_, width, channels], stride) = (geometry.input, geometry.stride[1]);
        let rows = super::three_rows(job, oy);
        let column = |x: usize| match x.checked_sub(geometry.pad_before[1]) {
            Some(x) if x < width => self.column(&rows, x * channels + self.channel),
            _ => [self.zero_point; 4],
        };
        let mut columns = [column(0), column(1), column(2)];
        for ox in 0..geometry.output[1] {
            let mut sums = self.bias;
            for (column, weights) in columns.iter().zip(&self.weights) {
                for j in 0..4 {
                    sums[j] = _mm512_dpbusd_epi32(sums[j], column[j], weights[j]);
                }
            }
            // Columns that this result did not see. Registers have no numbers: each stride has its code.
            let next = (ox + 1) * stride;
            columns = match STRIDE {
                1 => [columns[1], columns[2], column(next + 2)],
                2 => [columns[2], column(next + 1), column(next + 2)],
                _ => [column(next), column(next + 1), column(next + 2)],
            };
            for (sum, multiplier) in sums.iter_mut().zip(self.multipliers) {
                *sum = level.requantize(*sum, multiplier, self.rounding);
            }
            let low = _mm512_packs_epi32(sums[0], sums[1]);
            let levels = _mm512_packus_epi16(low, _mm512_packs_epi32(sums[2], sums[3]));
            let levels = _mm512_min_epu8(_mm512_max_epu8(levels, self.bounds[0]), self.bounds[1]);
            let at = geometry.output_index([oy, ox]) + self.channel;
            let out: &mut [u8; STEP] = out[at..].first_chunk_mut().expect("64 channels");
            // SAFETY: 64 bytes.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), levels) };
        }
    }

    /// The bytes of three rows at `at`, interleaved; the fourth meets weights of zero.
    #[inline]
    #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn column(&self, rows: &[Option<&[u8]>; 3], at: usize) -> Quads {
        let mut x = [self.zero_point; 3];
        for (x, row) in x.iter_mut().zip(rows) {
            if let Some(row) = row {
                let bytes: &[u8; STEP] = row[at..].first_chunk().expect("64 channels");
                // SAFETY: 64 bytes.
                *x = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            }
        }
        let low = [_mm512_unpacklo_epi8(x[0], x[1]), _mm512_unpacklo_epi8(x[2], x[2])];
        let high = [_mm512_unpackhi_epi8(x[0], x[1]), _mm512_unpackhi_epi8(x[2], x[2])];
        [
            _mm512_unpacklo_epi16(low[0], low[1]),
            _mm512_unpackhi_epi16(low[0], low[1]),
            _mm512_unpacklo_epi16(high[0], high[1]),
            _mm512_unpackhi_epi16(high[0], high[1]),
        ]
    }
}
