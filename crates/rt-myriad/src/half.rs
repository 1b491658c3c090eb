//! 16-bit floats: the host's way to them, and the grid that the chip computes on.

use half::f16;

/// Largest finite half.
pub(crate) const MAX: f32 = 65504.0;
/// Smallest half that is not subnormal.
const MIN_NORMAL: f32 = 6.103_515_6e-5;

/// The bits of a float as the vendor's host makes them: nearest, halves away from zero, saturating at ±65504; below 2^-15
/// zero, and from there to 2^-14 just 2^-14. NaN stays NaN.
///
/// Source: behaviour of `OpenVINO` 2020.3, tabulated in the tests.
#[must_use]
pub fn from_f32(x: f32) -> u16 {
    if x.is_nan() {
        return f16::NAN.to_bits();
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let size = x.abs();
    let bits = if size < MIN_NORMAL / 2.0 {
        0
    } else if size < MIN_NORMAL {
        0x0400
    } else if size >= MAX {
        0x7bff
    } else {
        // Exponent and the upper ten bits of the fraction; what is cut off rounds away from zero from a half on.
        let bits = size.to_bits();
        let rounded = bits + 0x1000;
        let half = (rounded >> 13) - ((127 - 15) << 10);
        u16::try_from(half).map_or(0x7bff, |half| half.min(0x7bff))
    };
    sign | bits
}

/// What the bits of a half stand for; exact. Without a branch, so that loops over it become vectors.
#[must_use]
#[inline]
pub fn to_f32(bits: u16) -> f32 {
    // 2^112: the difference of the exponents' biases.
    const SCALE: f32 = f32::from_bits((254 - 15) << 23);
    let size = f32::from_bits((u32::from(bits) & 0x7fff) << 13) * SCALE;
    // What would be 65536 and more are infinity and NaN.
    let special = if size >= 65536.0 { 0x7f80_0000 } else { 0 };
    f32::from_bits(size.to_bits() | special | (u32::from(bits) & 0x8000) << 16)
}

/// The nearest half, ties to even, as a float: what the chip's units store.
#[must_use]
#[inline]
pub(crate) fn round(x: f32) -> f32 {
    // Added to this, a number below 2^-14 keeps no bit below 2^-24, which is the step of subnormals.
    const SUBNORMAL: f32 = 0.75;
    let size = x.abs();
    // Splits the upper 11 bits off.
    let scaled = x * 8193.0;
    let normal = scaled - (scaled - x);
    let rounded = if size < MIN_NORMAL { (x + SUBNORMAL) - SUBNORMAL } else { normal };
    if size >= 65520.0 { f32::INFINITY.copysign(x) } else { rounded }
}

/// Halves in little-endian bytes as floats.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|&half| to_f32(u16::from_le_bytes(half)))
}

/// The half nearest to a float, ties to even, in bytes.
#[must_use]
pub(crate) fn stored(x: f32) -> [u8; 2] {
    f16::from_f32(x).to_bits().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_rounding_is_the_vendors() {
        for (x, bits) in [
            (1.0 + 2.0_f32.powi(-11), 0x3c01),
            (1.0 + 3.0 * 2.0_f32.powi(-11), 0x3c02),
            (0.1, 0x2e66),
            (1.0 / 3.0, 0x3555),
            (65519.0, 0x7bff),
            (65520.0, 0x7bff),
            (1e6, 0x7bff),
            (f32::INFINITY, 0x7bff),
            (2.0_f32.powi(-15), 0x0400),
            (2.0_f32.powi(-16), 0),
            (2.0_f32.powi(-25), 0),
            (6.1e-5, 0x0400),
            (0.0, 0),
            (1.0, 0x3c00),
        ] {
            assert_eq!(from_f32(x), bits, "{x}");
            assert_eq!(from_f32(-x), bits | 0x8000, "-{x}");
        }
        assert!(to_f32(from_f32(f32::NAN)).is_nan());
    }

    #[test]
    fn rounding_is_that_of_the_type() {
        for bits in (0..=u32::MAX).step_by(7919) {
            let x = f32::from_bits(bits);
            let expected = f16::from_f32(x).to_f32();
            let got = round(x);
            let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
            assert!(same || got == 0.0 && expected == 0.0, "{x:e}: {got:e}, not {expected:e}");
        }
    }

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let x = to_f32(bits);
            let is_kept = x.is_nan()
                || x.is_infinite()
                || x != 0.0 && x.abs() < MIN_NORMAL
                || from_f32(x) == bits;
            assert!(is_kept, "{bits:#06x}");
            let expected = f16::from_bits(bits).to_f32();
            assert!(x.to_bits() == expected.to_bits() || x.is_nan() && expected.is_nan());
            if !x.is_nan() {
                assert_eq!(u16::from_le_bytes(stored(x)), bits);
            }
        }
    }
}
