//! Local response normalization and batch normalization.

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

/// `y = weight * (x - mean) / sqrt(variance + epsilon) + bias`, each channel for itself. ONNX BatchNormalization.
///
/// Only graphs have it, for training: `mean` and `variance` are those of the batch while weights are trained, and
/// running statistics, which the graph keeps beside the weights, when the network is used. Then it is an affine map that
/// the layer before it takes in, so files and runtimes know nothing of it.
///
/// Shapes: input `[n, ..., c]`, weight, bias and both statistics `[c]`.
/// Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BatchNorm {
    /// Added to the variance; positive.
    pub epsilon: f32,
}

impl BatchNorm {
    #[expect(clippy::unused_self, reason = "the shape rules of all operators are called alike")]
    pub(super) fn infer(self, input: Shape, weight: Shape) -> Result<Shape, OpError> {
        let op = "batch-norm";
        if input.rank() < 2 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, ..., c]" });
        }
        if weight.rank() != 1 || weight.dim(0) != input.dim(input.rank() - 1) {
            let reason = "it does not have one element for each channel";
            return Err(OpError::WeightShape { op, shape: weight, reason });
        }
        Ok(input)
    }
}
