//! Pooling.

use super::{OpError, Window};
use crate::tensor::Shape;

/// What a pooling window computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PoolKind {
    /// The largest element; pads never win. ONNX MaxPool.
    Max,
    /// The mean. ONNX AveragePool.
    Average {
        /// Whether pads count as zeros; elements that hang over the end in ceil mode never count.
        include_pads: bool,
    },
}

/// Attributes of a pooling layer. Shapes: `[n, h, w, c]` to `[n, oh, ow, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pool {
    /// What is computed.
    pub kind: PoolKind,
    /// The sliding window; pads smaller than the kernel.
    pub window: Window,
    /// Whether a last window may hang over the end.
    pub ceil: bool,
}

impl Pool {
    pub(super) fn infer(&self, input: Shape) -> Result<Shape, OpError> {
        let op = if self.kind == PoolKind::Max { "max-pool" } else { "average-pool" };
        if input.rank() != 4 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
        }
        for axis in 0..2 {
            let span = u64::from(self.window.dilation[axis])
                * u64::from(self.window.kernel[axis].saturating_sub(1))
                + 1;
            for side in [axis, axis + 2] {
                let pads = u64::from(self.window.pads[side]);
                // A window that sees nothing but pads has no maximum and no mean.
                if pads >= span {
                    return Err(OpError::Attribute { op, attribute: "pads", value: pads });
                }
            }
        }
        let oh = self.window.extent(op, 0, input.dim(1), self.ceil)?;
        let ow = self.window.extent(op, 1, input.dim(2), self.ceil)?;
        Shape::new(&[input.dim(0), oh, ow, input.dim(3)]).ok_or(OpError::TooLarge { op })
    }
}

pub(super) fn infer_global(input: Shape) -> Result<Shape, OpError> {
    let op = "global-average-pool";
    if input.rank() != 4 {
        return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
    }
    Shape::new(&[input.dim(0), 1, 1, input.dim(3)]).ok_or(OpError::TooLarge { op })
}
