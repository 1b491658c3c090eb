//! The quantization arithmetic, written down once: kernels match it bit for bit, training and compression simulate
//! through it.
//!
//! A quantized activation `q` (u8) stands for `scale * (q - zero_point)`; a quantized weight `w` (i8) for `scale * w`.
//! An accumulator is `sum((x - zero_point_x) * w) + bias` in i32, and stands for `scale_x * scale_w * accumulator`.
//! It becomes the next activation by [`Requant`]: a 64-bit product with the channel's multiplier, one rounding right
//! shift that the whole layer shares, the zero point, and a clamp. A layer-wide shift keeps the vector code free of
//! per-lane 64-bit shifts, which SSE4.1 lacks; the layer's largest multiplier uses all 31 bits, smaller channels
//! lose one bit for each factor of two they are below it.
//!
//! Source: Jacob et al. 2017, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference", §2.2; the rounding (half up, once) is the one that NEON calls `vrshl`.

use alloc::vec::Vec;

mod pointwise;
mod thresholds;

pub use pointwise::{AddRequant, MulRequant, PReluRequant, unary_table};
pub use thresholds::thresholds;

/// Scale and zero point of a quantized activation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quant {
    /// Real value of one step, positive and finite.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: u8,
}

impl Quant {
    /// The parameters that cover `[low, high]` (widened to contain zero) with 256 levels and represent zero exactly.
    ///
    /// A range that is empty or not finite gives a scale of one.
    #[must_use]
    pub fn from_range(low: f32, high: f32) -> Self {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = (high - low) / 255.0;
        if !scale.is_finite() || scale < f64::from(f32::MIN_POSITIVE) {
            return Self { scale: 1.0, zero_point: 0 };
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a quotient of two f32 ranges, clamped to 0..=255"
        )]
        #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
        let zero_point = libm::floor(-low / scale + 0.5).clamp(0.0, 255.0) as u8;
        #[expect(clippy::cast_possible_truncation, reason = "the scale is stored as f32")]
        let scale = scale as f32;
        Self { scale, zero_point }
    }

    /// Nearest level to `real`, ties up, saturating; NaN becomes the zero point.
    #[must_use]
    #[inline]
    pub fn quantize(self, real: f32) -> u8 {
        // Added to a small number, it leaves no bits for a fraction, and the integer stands in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        // Without a branch, a call and a conversion that saturates, so that loops over it become vectors: beyond these bounds all
        // levels are the same, and within them the floor is the nearest integer or one less.
        let steps = crate::kernels::clamp(real / self.scale + 0.5, (-512.0, 512.0));
        let shifted = steps + ROUND;
        let nearest = shifted.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
        let floor = nearest.wrapping_sub(i32::from(shifted - ROUND > steps));
        let floor = if steps.is_nan() { 0 } else { floor };
        #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
        {
            floor.wrapping_add(i32::from(self.zero_point)).clamp(0, 255) as u8
        }
    }

    /// What level `q` stands for.
    #[must_use]
    #[inline]
    pub fn dequantize(self, q: u8) -> f32 {
        self.scale * f32::from(i16::from(q) - i16::from(self.zero_point))
    }

    /// The levels that stand for `low ..= high`, for a clamp after requantization (ReLU is `0.0 ..= inf`).
    #[must_use]
    pub fn clamp_levels(self, low: f32, high: f32) -> (u8, u8) {
        (self.quantize(low), self.quantize(high))
    }
}

/// Nearest signed integer of at most `limit` to `real / scale`, ties up, saturating symmetrically; NaN becomes zero.
#[must_use]
pub fn quantize_symmetric(real: f32, scale: f32, limit: i32) -> i32 {
    let level = libm::floor(f64::from(real) / f64::from(scale) + 0.5);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and the clamp follows; NaN becomes 0"
    )]
    let level = level as i32;
    level.clamp(-limit, limit)
}

/// `round(accumulator * multiplier / 2^shift)`, ties up. The only rounding of the integer path.
///
/// Range: `shift` 1 to 62; the product of two i32 always fits.
#[must_use]
#[inline]
pub fn multiply_by_quantized(accumulator: i32, multiplier: i32, shift: u32) -> i64 {
    let product = i64::from(accumulator) * i64::from(multiplier);
    (product + (1_i64 << (shift - 1))) >> shift
}

/// How accumulators of one layer become u8 activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requant {
    /// One multiplier a channel, or a single one for all.
    pub multipliers: Vec<i32>,
    /// The layer's right shift, 1 to 62.
    pub shift: u32,
    /// Zero point of the result.
    pub zero_point: u8,
    /// Smallest level of the result: the zero point after ReLU.
    pub min: u8,
    /// Largest level of the result.
    pub max: u8,
}

impl Requant {
    /// The multipliers nearest to `ratios` (real: scale_x * scale_w / scale_y, one a channel) under one shift.
    ///
    /// Range: ratios positive and below 2^30. Ratios too small for the shared shift become multiplier zero.
    /// `None` if a ratio is not positive and finite, or out of range.
    #[must_use]
    pub fn new(ratios: &[f64], output: Quant, clamp: (u8, u8)) -> Option<Self> {
        if !ratios.iter().all(|ratio| *ratio > 0.0) {
            return None;
        }
        let (multipliers, shift) = fixed_point(ratios)?;
        Some(Self { multipliers, shift, zero_point: output.zero_point, min: clamp.0, max: clamp.1 })
    }

    /// The activation level for `accumulator` of `channel`.
    #[must_use]
    #[inline]
    pub fn apply(&self, accumulator: i32, channel: usize) -> u8 {
        let multiplier = self.multipliers[if self.multipliers.len() == 1 { 0 } else { channel }];
        let level =
            multiply_by_quantized(accumulator, multiplier, self.shift) + i64::from(self.zero_point);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to u8 levels")]
        #[expect(clippy::cast_sign_loss, reason = "clamped to u8 levels")]
        {
            level.clamp(i64::from(self.min), i64::from(self.max)) as u8
        }
    }
}

/// What each level of `from` is as a level of `to`, within `clamp`; `None` if the ratio of scales is out of range.
#[must_use]
pub fn rescale_table(from: Quant, to: Quant, clamp: (u8, u8)) -> Option<[u8; 256]> {
    let ratio = f64::from(from.scale) / f64::from(to.scale);
    let requant = Requant::new(&[ratio], to, clamp)?;
    let mut table = [0; 256];
    for (slot, level) in table.iter_mut().zip(0_i32..) {
        *slot = requant.apply(level - i32::from(from.zero_point), 0);
    }
    Some(table)
}

/// The multipliers nearest to `ratios` and the right shift that they share: the one at which the largest takes 31 bits.
///
/// `None` if a ratio is not finite or beyond 2^30 in either direction, or all are zero.
fn fixed_point(ratios: &[f64]) -> Option<(Vec<i32>, u32)> {
    let largest = ratios.iter().fold(0.0_f64, |largest, ratio| largest.max(ratio.abs()));
    let valid = |ratio: &f64| ratio.is_finite() && ratio.abs() < 1_073_741_824.0;
    if !ratios.iter().all(valid) || largest == 0.0 {
        return None;
    }
    // The shift that brings the largest ratio to 2^30 ..= 2^31 - 1.
    let mut shift = 0_u32;
    let mut scaled = largest;
    while scaled < 1_073_741_824.0 && shift < 62 {
        scaled *= 2.0;
        shift += 1;
    }
    if libm::floor(scaled + 0.5) >= 2_147_483_648.0 {
        shift -= 1;
    }
    if shift == 0 {
        return None;
    }
    let factor = libm::ldexp(1.0, i32::try_from(shift).ok()?);
    #[expect(clippy::cast_possible_truncation, reason = "below 2^31 by the choice of the shift")]
    let multipliers = ratios.iter().map(|ratio| libm::floor(ratio * factor + 0.5) as i32).collect();
    Some((multipliers, shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_in_every_range() {
        for (low, high) in [(-1.0, 1.0), (0.0, 6.0), (-0.3, 0.0), (0.5, 3.0), (-7.7, 0.01)] {
            let quant = Quant::from_range(low, high);
            assert_eq!(quant.dequantize(quant.quantize(0.0)), 0.0, "range {low}..{high}");
        }
    }

    #[test]
    fn quantization_is_the_clamped_floor_of_every_kind_of_float() {
        for (scale, zero_point) in [(1.0, 0), (0.037, 255), (1e-30, 7), (3e30, 128)] {
            let quant = Quant { scale, zero_point };
            for bits in (0..u32::MAX).step_by(9973).chain([0x7fc0_0000, 0xff80_0000, 1 << 31]) {
                let real = f32::from_bits(bits);
                let level = libm::floorf(real / scale + 0.5) + f32::from(zero_point);
                let expected = if level.is_nan() {
                    zero_point
                } else {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "clamped"
                    )]
                    {
                        level.clamp(0.0, 255.0) as u8
                    }
                };
                assert_eq!(quant.quantize(real), expected, "{real:e} by {quant:?}");
            }
        }
    }

    #[test]
    fn rounding_is_half_up() {
        let quant = Quant { scale: 1.0, zero_point: 10 };
        assert_eq!(quant.quantize(0.5), 11);
        assert_eq!(quant.quantize(-0.5), 10);
        assert_eq!(multiply_by_quantized(3, 1 << 30, 31), 2, "1.5 rounds up");
        assert_eq!(multiply_by_quantized(-3, 1 << 30, 31), -1, "-1.5 rounds up");
    }

    #[test]
    fn requant_matches_exact_arithmetic() {
        let ratios = [0.000_731, 0.012, 0.000_02];
        let requant = Requant::new(&ratios, Quant { scale: 0.1, zero_point: 3 }, (0, 255)).unwrap();
        for (channel, ratio) in ratios.iter().enumerate() {
            for accumulator in (-300_000..300_000).step_by(997) {
                let exact = f64::from(accumulator) * ratio + 3.0;
                let expected = libm::floor(exact + 0.5).clamp(0.0, 255.0);
                let got = f64::from(requant.apply(accumulator, channel));
                assert!((got - expected).abs() <= 1.0, "{accumulator} {channel}: {got} {expected}");
                let near_tie = ((exact + 0.5) - libm::floor(exact + 0.5)).min(1.0) < 1e-4;
                assert!(near_tie || got == expected, "{accumulator} {channel}: {got} {expected}");
            }
        }
    }

    #[test]
    fn impossible_ratios_are_refused() {
        let output = Quant { scale: 1.0, zero_point: 0 };
        for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e9] {
            assert_eq!(Requant::new(&[ratio], output, (0, 255)), None, "{ratio}");
        }
    }

    #[test]
    fn rescaling_to_the_same_levels_changes_nothing() {
        let quant = Quant { scale: 0.37, zero_point: 77 };
        let table = rescale_table(quant, quant, (0, 255)).unwrap();
        assert!(table.iter().zip(0..=255).all(|(&level, expected)| level == expected));
    }
}
