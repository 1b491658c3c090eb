//! Operators that move elements: concatenation, flatten, reshape, transpose, pad.

use super::OpError;
use crate::tensor::{MAX_RANK, Shape};

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
        let mut dims = [1; MAX_RANK];
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

/// Reorders axes; the batch stays first. ONNX Transpose.
///
/// Axis `i` of the result is axis `order[i]` of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transpose {
    /// A permutation that keeps 0, and what is beyond the input's rank, in place.
    pub order: [u8; MAX_RANK],
}

impl Transpose {
    /// From the input's axis for each axis of the result; `None` if that is no permutation that keeps the batch.
    #[must_use]
    pub fn new(order: &[usize]) -> Option<Self> {
        let mut own = [0, 1, 2, 3];
        for (slot, &axis) in own.get_mut(..order.len())?.iter_mut().zip(order) {
            *slot = u8::try_from(axis).ok()?;
        }
        Some(Self { order: own }).filter(|transpose| transpose.is_permutation(order.len()))
    }

    fn is_permutation(&self, rank: usize) -> bool {
        let mut seen = [false; MAX_RANK];
        for (at, &axis) in self.order.iter().enumerate() {
            let axis = usize::from(axis);
            if axis >= MAX_RANK || seen[axis] || ((at == 0 || at >= rank) && axis != at) {
                return false;
            }
            seen[axis] = true;
        }
        true
    }

    pub(super) fn infer(self, input: Shape) -> Result<Shape, OpError> {
        let op = "transpose";
        if !self.is_permutation(input.rank()) {
            let digits = self.order.iter().fold(0, |all, &axis| all * 10 + u64::from(axis));
            return Err(OpError::Attribute { op, attribute: "order", value: digits });
        }
        let mut dims = [1; MAX_RANK];
        for (slot, &axis) in dims.iter_mut().zip(&self.order[..input.rank()]) {
            *slot = input.dim(usize::from(axis));
        }
        Shape::new(&dims[..input.rank()]).ok_or(OpError::TooLarge { op })
    }
}

/// Adds zeros around height and width, where no window takes them in. ONNX Pad, constant mode, zero.
///
/// Shapes: `[n, h, w, c]` to `[n, top + h + bottom, left + w + right, c]`. Levels are padded with the zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pad {
    /// Rows before the first.
    pub top: usize,
    /// Columns before the first.
    pub left: usize,
    /// Rows after the last.
    pub bottom: usize,
    /// Columns after the last.
    pub right: usize,
}

impl Pad {
    pub(super) fn infer(self, input: Shape) -> Result<Shape, OpError> {
        let op = "pad";
        if input.rank() != 4 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
        }
        for (attribute, value) in
            [("top", self.top), ("left", self.left), ("bottom", self.bottom), ("right", self.right)]
        {
            if value > 65_536 {
                return Err(OpError::Attribute { op, attribute, value: value as u64 });
            }
        }
        let [h, w] = [self.top + input.dim(1) + self.bottom, self.left + input.dim(2) + self.right];
        Shape::new(&[input.dim(0), h, w, input.dim(3)]).ok_or(OpError::TooLarge { op })
    }
}
