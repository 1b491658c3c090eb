//! Problems of single kernels, on slices that end at unreadable pages.

mod blocks;
mod convolution_f32;
mod convolution_q8;
mod convolutions;
mod depthwise;
mod gemm;
mod pointwise;
mod pool;
mod rows;

pub use blocks::{blocks_f32, blocks_q8};
pub use convolution_f32::{convolution_f32, convolution_f32_threads};
pub use convolution_q8::{
    convolution_q8, convolution_q8_range, convolution_q8_sparse, convolution_q8_threads,
};
pub use depthwise::{depthwise_f32, depthwise_q8};
pub use gemm::{gemm_f32, gemm_q8};
pub use pointwise::{
    arithmetic_f32, arithmetic_u8, average_pool_f32, average_pool_u8, conversions, softmax_f32,
    unary_f32,
};
pub use pool::{max_pool_f32, max_pool_u8};
pub use rows::{codebook_q8, ell_q8, sparse_f32, sparse_q8};

use embdl_core::kernels::OutQ8;
use embdl_core::quant::Requant;
use embdl_testkit::{Guarded, Random};

use crate::report::Report;

/// What results are filled with beforehand, to see which were written.
const POISON_U8: u8 = 0xa5;
const POISON_I32: i32 = 0x5a5a_5a5a;
const POISON_F32: f32 = 12_345.678;

/// Requantizations that reach every corner: shifts from 1 to 62, zero points and clamps at both ends.
fn requants(random: &mut Random, channels: usize) -> Vec<Requant> {
    let mut all = Vec::new();
    for (index, shift) in [1, 15, 31, 32, 33, 38, 47, 62].into_iter().enumerate() {
        let multiplier = |random: &mut Random| match random.integer(0, 9) {
            0 => 0,
            1 => i32::MAX,
            2 => 1,
            _ => random.integer(1 << 24, i32::MAX),
        };
        let count = if index % 3 == 2 { 1 } else { channels.max(1) };
        let zero_point = [0, 128, 255, 7][index % 4];
        let (min, max) = [(0, 255), (zero_point, 255), (zero_point.min(200), 200)][index % 3];
        all.push(Requant {
            multipliers: (0..count).map(|_| multiplier(random)).collect(),
            shift,
            zero_point,
            min,
            max,
        });
    }
    // A usual one: about a hundredth of an accumulator a level.
    let multipliers = (0..channels.max(1)).map(|_| random.integer(1 << 30, i32::MAX)).collect();
    all.push(Requant { multipliers, shift: 37, zero_point: 13, min: 13, max: 255 });
    all
}

/// Runs an integer kernel into accumulators and into levels, and compares both with `want`: `m` rows of `n` accumulators.
/// Results stand `stride` apart.
fn check_q8(
    report: &mut Report,
    case: &str,
    want: &[i64],
    [m, n, stride]: [usize; 3],
    requants: &[Requant],
    kernel: impl Fn(OutQ8<'_>),
) {
    let len = if m == 0 { 0 } else { (m - 1) * stride + n };
    let mut want_i32 = vec![POISON_I32; len];
    for (index, &sum) in want.iter().enumerate() {
        want_i32[index / n * stride + index % n] = i32::try_from(sum).expect("sums fit");
    }
    let mut got = Guarded::new(&vec![POISON_I32; len]);
    kernel(OutQ8::I32(&mut got));
    report.equal(&case, &got, &want_i32);
    for requant in requants {
        let mut want_u8 = vec![POISON_U8; len];
        for (index, &sum) in want.iter().enumerate() {
            let level = requant.apply(i32::try_from(sum).expect("sums fit"), index % n);
            want_u8[index / n * stride + index % n] = level;
        }
        let mut got = Guarded::new(&vec![POISON_U8; len]);
        kernel(OutQ8::U8(requant, &mut got));
        let case = format!(
            "{case} shift {} zero point {} clamp {}..={} {} multipliers",
            requant.shift,
            requant.zero_point,
            requant.min,
            requant.max,
            requant.multipliers.len()
        );
        report.equal(&case, &got, &want_u8);
    }
}

/// The level whose products of floats have halves as operands and, in chains of up to 64, as sums.
pub(crate) const HALVES: &str = "fp16";

/// As [`dot_tolerance`] of a GEMM at a level. Halves have 11 bits: both operands of a product are rounded to them, and so is each
/// sum of a chain. What is too small for a normal half is rounded to a multiple of 2^-24: operands up to 8 then change a product
/// by 2^-22 at most.
fn gemm_tolerance(isa: &str, terms: usize, magnitude: f64) -> f64 {
    const CHAIN: usize = 64;
    if isa != HALVES {
        return dot_tolerance(terms, magnitude);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let [all, summed] = [terms, terms.min(CHAIN) + 3].map(|count| count as f64);
    let unit = f64::from(2.0_f32.powi(-11));
    dot_tolerance(terms, magnitude) + summed * unit * magnitude + all * f64::from(2.0_f32.powi(-22))
}

/// What a float sum of `terms` products may be off by, where `magnitude` is the sum of their absolute values: each of
/// the additions and products rounds once. Any order of summation and fused products stay below it.
fn dot_tolerance(terms: usize, magnitude: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let terms = (terms + 2) as f64;
    terms * f64::from(f32::EPSILON) * magnitude + f64::from(f32::MIN_POSITIVE)
}

/// Clamps like the kernels do: NaN stays NaN.
fn clamp_f64(x: f64, (low, high): (f32, f32)) -> f64 {
    if x.is_nan() { x } else { x.clamp(f64::from(low), f64::from(high)) }
}

/// Bounds that epilogues have.
const CLAMPS: [(f32, f32); 3] =
    [(f32::NEG_INFINITY, f32::INFINITY), (0.0, f32::INFINITY), (0.0, 0.75)];
