//! Requantization of operators without weights, or with one number a channel: sums, products, slopes, functions.

use alloc::vec::Vec;

use super::{Quant, Requant, fixed_point, multiply_by_quantized};
use crate::op::Unary;

/// How two u8 activations become their sum: both differences from the zero point times their multiplier, one shared
/// rounding right shift (ties up), the zero point, and a clamp.
///
/// Everything fits i32: multipliers are at most 2^21, so that the two products stay below 2^30 in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddRequant {
    /// Multiplier of the first summand.
    pub lhs_multiplier: i32,
    /// Multiplier of the second summand.
    pub rhs_multiplier: i32,
    /// Zero point of the first summand.
    pub lhs_zero_point: u8,
    /// Zero point of the second summand.
    pub rhs_zero_point: u8,
    /// Right shift, 1 to 30.
    pub shift: u32,
    /// Zero point of the result.
    pub zero_point: u8,
    /// Smallest level of the result: the zero point after ReLU.
    pub min: u8,
    /// Largest level of the result.
    pub max: u8,
}

impl AddRequant {
    /// For levels of `lhs` and `rhs` with results of `output`, or `None` if a ratio of scales is not below 2^20.
    #[must_use]
    pub fn new(lhs: Quant, rhs: Quant, output: Quant, clamp: (u8, u8)) -> Option<Self> {
        let ratios = [lhs, rhs].map(|input| f64::from(input.scale) / f64::from(output.scale));
        let largest = ratios[0].max(ratios[1]);
        let valid = |ratio: &f64| ratio.is_finite() && *ratio > 0.0 && *ratio < 1_048_576.0;
        if !ratios.iter().all(valid) {
            return None;
        }
        // The shift that brings the larger ratio to 2^20 ..= 2^21.
        let mut shift = 0_u32;
        let mut scaled = largest;
        while scaled < 1_048_576.0 && shift < 30 {
            scaled *= 2.0;
            shift += 1;
        }
        let factor = f64::from(1_u32 << shift);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 2^21 by the choice of the shift"
        )]
        let [lhs_multiplier, rhs_multiplier] =
            ratios.map(|ratio| libm::floor(ratio * factor + 0.5) as i32);
        Some(Self {
            lhs_multiplier,
            rhs_multiplier,
            lhs_zero_point: lhs.zero_point,
            rhs_zero_point: rhs.zero_point,
            shift,
            zero_point: output.zero_point,
            min: clamp.0,
            max: clamp.1,
        })
    }

    /// The same with the summands exchanged.
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self {
            lhs_multiplier: self.rhs_multiplier,
            rhs_multiplier: self.lhs_multiplier,
            lhs_zero_point: self.rhs_zero_point,
            rhs_zero_point: self.lhs_zero_point,
            ..self
        }
    }

    /// The level of the sum.
    #[must_use]
    #[inline]
    pub fn apply(&self, lhs: u8, rhs: u8) -> u8 {
        let sum = (i32::from(lhs) - i32::from(self.lhs_zero_point)) * self.lhs_multiplier
            + (i32::from(rhs) - i32::from(self.rhs_zero_point)) * self.rhs_multiplier;
        let level = ((sum + (1 << (self.shift - 1))) >> self.shift) + i32::from(self.zero_point);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to u8 levels")]
        #[expect(clippy::cast_sign_loss, reason = "clamped to u8 levels")]
        {
            level.clamp(i32::from(self.min), i32::from(self.max)) as u8
        }
    }
}

/// How two u8 activations become their product: the product of both differences from the zero point is an accumulator
/// at the product of both scales, and goes through a [`Requant`] like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulRequant {
    /// Zero point of the first factor.
    pub lhs_zero_point: u8,
    /// Zero point of the second factor.
    pub rhs_zero_point: u8,
    /// What becomes of the product; has one multiplier.
    pub requant: Requant,
}

impl MulRequant {
    /// For levels of `lhs` and `rhs` with results of `output`, or `None` if the ratio of scales is out of range.
    #[must_use]
    pub fn new(lhs: Quant, rhs: Quant, output: Quant) -> Option<Self> {
        let ratio = f64::from(lhs.scale) * f64::from(rhs.scale) / f64::from(output.scale);
        let requant = Requant::new(&[ratio], output, (0, 255))?;
        Some(Self { lhs_zero_point: lhs.zero_point, rhs_zero_point: rhs.zero_point, requant })
    }

    /// The level of the product.
    #[must_use]
    #[inline]
    pub fn apply(&self, lhs: u8, rhs: u8) -> u8 {
        let product = (i32::from(lhs) - i32::from(self.lhs_zero_point))
            * (i32::from(rhs) - i32::from(self.rhs_zero_point));
        self.requant.apply(product, 0)
    }
}

/// How a u8 activation becomes another one with a slope below zero for each channel: its difference from the zero point
/// times the multiplier of its side, one rounding right shift (ties up) that all share, the zero point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PReluRequant {
    /// Zero point of the input.
    pub input_zero_point: u8,
    /// Multiplier of what is not negative.
    pub positive: i32,
    /// Multiplier of what is negative, one a channel; negative where the slope is.
    pub negative: Vec<i32>,
    /// Right shift, 1 to 62.
    pub shift: u32,
    /// Zero point of the result.
    pub zero_point: u8,
}

impl PReluRequant {
    /// For levels of `input` with results of `output`, or `None` if a slope or the ratio of scales is out of range.
    #[must_use]
    pub fn new(slopes: &[f32], input: Quant, output: Quant) -> Option<Self> {
        let ratio = f64::from(input.scale) / f64::from(output.scale);
        let ratios: Vec<f64> = slopes
            .iter()
            .map(|&slope| f64::from(slope) * ratio)
            .chain(core::iter::once(ratio))
            .collect();
        let (mut negative, shift) = fixed_point(&ratios)?;
        let positive = negative.pop()?;
        let (input_zero_point, zero_point) = (input.zero_point, output.zero_point);
        Some(Self { input_zero_point, positive, negative, shift, zero_point })
    }

    /// The level of the result in `channel`.
    #[must_use]
    #[inline]
    pub fn apply(&self, level: u8, channel: usize) -> u8 {
        let difference = i32::from(level) - i32::from(self.input_zero_point);
        let multiplier = if difference < 0 { self.negative[channel] } else { self.positive };
        let level =
            multiply_by_quantized(difference, multiplier, self.shift) + i64::from(self.zero_point);
        #[expect(clippy::cast_sign_loss, reason = "clamped to u8 levels")]
        {
            level.clamp(0, 255) as u8
        }
    }
}

/// What `unary` makes of each level of `from`, as a level of `to`: the function of what the level stands for, in f32,
/// then the nearest level.
#[must_use]
pub fn unary_table(unary: Unary, from: Quant, to: Quant) -> [u8; 256] {
    core::array::from_fn(|level| {
        #[expect(clippy::cast_possible_truncation, reason = "indices of 256 levels")]
        to.quantize(unary.apply(from.dequantize(level as u8)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn quant(scale: f32, zero_point: u8) -> Quant {
        Quant { scale, zero_point }
    }

    #[test]
    fn sums_match_exact_arithmetic() {
        for (lhs, rhs, output) in [
            (quant(0.013, 128), quant(0.021, 3), quant(0.03, 100)),
            (quant(1.0, 0), quant(1e-4, 255), quant(0.9, 0)),
            (quant(1e-5, 7), quant(1e-6, 9), quant(0.5, 30)),
            (quant(3.0, 255), quant(2.0, 0), quant(1e-5, 128)),
        ] {
            let requant = AddRequant::new(lhs, rhs, output, (0, 255)).unwrap();
            for a in 0..=255 {
                for b in (0..=255).step_by(5) {
                    let real = (f64::from(a) - f64::from(lhs.zero_point)) * f64::from(lhs.scale)
                        + (f64::from(b) - f64::from(rhs.zero_point)) * f64::from(rhs.scale);
                    let exact = real / f64::from(output.scale) + f64::from(output.zero_point) + 0.5;
                    let expected = libm::floor(exact).clamp(0.0, 255.0);
                    let got = f64::from(requant.apply(a, b));
                    let near_tie = (exact - libm::floor(exact + 0.5)).abs() < 1e-3;
                    assert!(near_tie || got == expected, "{requant:?} {a} {b}: {got} {expected}");
                    assert_eq!(requant.swapped().apply(b, a), requant.apply(a, b));
                }
            }
        }
        assert_eq!(AddRequant::new(quant(2e6, 0), quant(1.0, 0), quant(1.0, 0), (0, 255)), None);
    }

    #[test]
    fn products_match_exact_arithmetic() {
        for (lhs, rhs, output) in [
            (quant(0.02, 128), quant(1.0 / 255.0, 0), quant(0.01, 120)),
            (quant(1.0, 3), quant(1.0, 250), quant(300.0, 7)),
            (quant(1e-3, 0), quant(2e-3, 9), quant(0.5, 30)),
        ] {
            let requant = MulRequant::new(lhs, rhs, output).unwrap();
            for a in 0..=255 {
                for b in (0..=255).step_by(3) {
                    let real = (f64::from(a) - f64::from(lhs.zero_point))
                        * f64::from(lhs.scale)
                        * ((f64::from(b) - f64::from(rhs.zero_point)) * f64::from(rhs.scale));
                    let exact = real / f64::from(output.scale) + f64::from(output.zero_point) + 0.5;
                    let expected = libm::floor(exact).clamp(0.0, 255.0);
                    let got = f64::from(requant.apply(a, b));
                    let near_tie = (exact - libm::floor(exact + 0.5)).abs() < 1e-3;
                    assert!(near_tie || got == expected, "{requant:?} {a} {b}: {got} {expected}");
                }
            }
        }
        assert_eq!(MulRequant::new(quant(1e5, 0), quant(1e5, 0), quant(1.0, 0)), None);
    }

    #[test]
    fn slopes_match_exact_arithmetic() {
        let (input, output) = (quant(0.05, 100), quant(0.04, 90));
        let slopes = [0.25, 0.0, -0.5, 3.0];
        let requant = PReluRequant::new(&slopes, input, output).unwrap();
        for level in 0..=255 {
            for (channel, &slope) in slopes.iter().enumerate() {
                let x = f64::from(input.scale) * (f64::from(level) - 100.0);
                let y = if x < 0.0 { x * f64::from(slope) } else { x };
                let exact = y / f64::from(output.scale) + 90.5;
                let expected = libm::floor(exact).clamp(0.0, 255.0);
                let got = f64::from(requant.apply(level, channel));
                let near_tie = (exact - libm::floor(exact + 0.5)).abs() < 1e-3;
                assert!(near_tie || got == expected, "{level} {slope}: {got} {expected}");
            }
        }
        for slope in [f32::NAN, f32::INFINITY, 2e9] {
            assert_eq!(PReluRequant::new(&[slope], input, output), None, "{slope}");
        }
    }

    #[test]
    fn functions_of_levels_round_once() {
        let table = unary_table(Unary::Sigmoid, quant(0.1, 128), quant(1.0 / 256.0, 0));
        assert_eq!([table[128], table[138], table[118], table[255]], [128, 187, 69, 255]);
        let table = unary_table(
            Unary::Clip { min: -1.0, max: f32::INFINITY },
            quant(0.5, 10),
            quant(0.5, 10),
        );
        assert_eq!([table[0], table[8], table[9], table[255]], [8, 8, 9, 255]);
    }
}
