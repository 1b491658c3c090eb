//! Weights in 16 bits.

use embdl_core::runtime::RuntimeError;
use half::f16;

use super::Lowering;

/// A weight in 16 bits as the half of a word that it has at position `at`; infinite where it does not fit.
pub(super) fn half(value: f32, at: usize) -> u32 {
    u32::from(f16::from_f32(value).to_bits()) << (at % 2 * 16)
}

/// Whether a weight is a number in 16 bits.
pub(super) fn fits(value: f32) -> bool {
    f16::from_f32(value).is_finite()
}

impl Lowering<'_, '_> {
    /// The error of a layer with a weight that 16 bits do not hold, if it has one.
    ///
    /// # Errors
    /// If not all fit.
    pub(super) fn need_halves(&self, all_fit: bool) -> Result<(), RuntimeError> {
        if all_fit {
            return Ok(());
        }
        Err(self.unsupported("a weight is beyond what 16 bits hold, which were asked for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_by_hand() {
        assert_eq!([half(1.0, 0), half(-2.0, 1), half(0.5, 2)], [0x3c00, 0xc000_0000, 0x3800]);
        // Ties to even, as everywhere: 1 + 2^-11 lies between 1 and 1 + 2^-10.
        assert_eq!(half(1.0 + 1.0 / 2048.0, 0), 0x3c00);
        assert!(fits(65_504.0) && fits(1e-30) && !fits(65_520.0) && !fits(-1e9));
    }
}
