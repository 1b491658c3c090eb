//! Operators that move elements: concatenation, flatten, reshape.

use super::OpError;
use crate::tensor::Shape;

/// Joins values along `axis`, which is never the batch. ONNX Concat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Concat {
    /// Axis in NHWC order, at least 1.
    pub axis: u32,
}

impl Concat {
    pub(super) fn infer(self, inputs: &[Shape]) -> Result<Shape, OpError> {
        let op = "concat";
        let axis = self.axis as usize;
        let first = inputs[0];
        if axis == 0 || axis >= first.rank() {
            return Err(OpError::Attribute { op, attribute: "axis", value: u64::from(self.axis) });
        }
        let mut joined = 0_usize;
        for &shape in inputs {
            let fits = shape.rank() == first.rank()
                && (0..shape.rank())
                    .all(|other| other == axis || shape.dim(other) == first.dim(other));
            if !fits {
                return Err(OpError::InputShape {
                    op,
                    shape,
                    reason: "it differs from the first input beside the axis",
                });
            }
            joined = joined.checked_add(shape.dim(axis)).ok_or(OpError::TooLarge { op })?;
        }
        let mut dims = [1; crate::tensor::MAX_RANK];
        for (at, dim) in first.iter().enumerate() {
            dims[at] = if at == axis { joined } else { dim };
        }
        Shape::new(&dims[..first.rank()]).ok_or(OpError::TooLarge { op })
    }
}

/// The same elements in the same NHWC order under another shape. ONNX Reshape with a constant shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reshape {
    /// The new shape for a batch of one; its leading dimension is 1 and is replaced by the batch.
    pub shape: Shape,
}

impl Reshape {
    pub(super) fn infer(self, input: Shape) -> Result<Shape, OpError> {
        let op = "reshape";
        let leading = self.shape.rank() > 0 && self.shape.dim(0) == 1;
        let per_sample = |shape: Shape| shape.iter().skip(1).try_fold(1_usize, usize::checked_mul);
        if !leading || per_sample(self.shape) != per_sample(input) {
            return Err(OpError::InputShape {
                op,
                shape: input,
                reason: "it does not hold as many elements a sample",
            });
        }
        Ok(self.shape.with_batch(input.dim(0)))
    }
}

pub(super) fn infer_flatten(input: Shape) -> Result<Shape, OpError> {
    let op = "flatten";
    let features = input
        .iter()
        .skip(1)
        .try_fold(1_usize, usize::checked_mul)
        .ok_or(OpError::TooLarge { op })?;
    Shape::new(&[input.dim(0), features]).ok_or(OpError::TooLarge { op })
}
