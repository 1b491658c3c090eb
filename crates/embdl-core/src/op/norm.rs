//! Local response normalization.

use super::OpError;
use crate::tensor::Shape;

/// `y = x / (bias + alpha / size * sum of x² over `size` neighbouring channels) ^ beta`. ONNX LRN.
///
/// The neighbours of channel `c` are `c - (size - 1) / 2 ..= c + size / 2`, cut off at the ends.
/// Source: Krizhevsky et al. 2012, §3.3.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lrn {
    /// Number of channels summed over, at least 1.
    pub size: u32,
    /// Factor of the mean square.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Added to the mean square.
    pub bias: f32,
}

impl Lrn {
    pub(super) fn infer(&self, input: Shape) -> Result<Shape, OpError> {
        let op = "lrn";
        if input.rank() != 4 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
        }
        if self.size == 0 || self.size > 65_536 {
            return Err(OpError::Attribute { op, attribute: "size", value: u64::from(self.size) });
        }
        Ok(input)
    }
}
