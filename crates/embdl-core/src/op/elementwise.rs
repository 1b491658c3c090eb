//! Element-wise operators: activations, sums, products, slopes.

use super::OpError;
use crate::tensor::Shape;

/// A nonlinearity, alone or as the epilogue of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`. ONNX Relu.
    Relu,
    /// `min(max(x, 0), 6)`. ONNX Clip with 0 and 6.
    Relu6,
}

impl Activation {
    /// The interval that results are clamped to.
    #[must_use]
    pub const fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }

    /// Applies the nonlinearity to one element; NaN stays NaN.
    #[must_use]
    #[inline]
    pub fn apply(self, x: f32) -> f32 {
        let (low, high) = self.bounds();
        if x < low {
            low
        } else if x > high {
            high
        } else {
            x
        }
    }
}

pub(super) fn infer_add(lhs: Shape, rhs: Shape) -> Result<Shape, OpError> {
    if lhs == rhs {
        Ok(lhs)
    } else {
        Err(OpError::InputShape {
            op: "add",
            shape: rhs,
            reason: "it differs from the first input's",
        })
    }
}

/// The second factor has the first's shape, or one element for each sample and channel: `[n, 1, 1, c]`.
pub(super) fn infer_mul(lhs: Shape, rhs: Shape) -> Result<Shape, OpError> {
    let a_channel = lhs.rank() == 4
        && rhs.rank() == 4
        && [rhs.dim(1), rhs.dim(2)] == [1, 1]
        && [rhs.dim(0), rhs.dim(3)] == [lhs.dim(0), lhs.dim(3)];
    if lhs == rhs || a_channel {
        Ok(lhs)
    } else {
        Err(OpError::InputShape {
            op: "mul",
            shape: rhs,
            reason: "it has neither the first input's shape nor one element a channel",
        })
    }
}

/// The weight has one slope for each element of the last axis.
pub(super) fn infer_prelu(input: Shape, weight: Shape) -> Result<Shape, OpError> {
    if weight == Shape::vector(input.dim(input.rank() - 1)) {
        Ok(input)
    } else {
        Err(OpError::WeightShape {
            op: "prelu",
            shape: weight,
            reason: "it is not one slope for each channel",
        })
    }
}
