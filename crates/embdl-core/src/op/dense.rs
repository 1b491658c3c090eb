//! Fully connected layers.

use super::{Activation, OpError};
use crate::tensor::Shape;

/// Attributes of a fully connected layer. ONNX Gemm with `transB = 1`, or MatMul.
///
/// Shapes: input `[n, in]`, weight `[out, in]`, bias `[out]`, result `[n, out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dense {
    /// Applied to the result.
    pub activation: Activation,
}

impl Dense {
    #[expect(clippy::unused_self, reason = "the shape rules of all operators are called alike")]
    pub(super) fn infer(self, input: Shape, weight: Shape) -> Result<Shape, OpError> {
        let op = "dense";
        if input.rank() != 2 {
            return Err(OpError::InputShape {
                op,
                shape: input,
                reason: "it is not [n, features]",
            });
        }
        if weight.rank() != 2 || weight.is_empty() || weight.dim(1) != input.dim(1) {
            return Err(OpError::WeightShape {
                op,
                shape: weight,
                reason: "it is not [out, in] for this input",
            });
        }
        Shape::new(&[input.dim(0), weight.dim(0)]).ok_or(OpError::TooLarge { op })
    }
}
