//! Resizing of maps.

use super::OpError;
use crate::tensor::Shape;

/// Another height and width by interpolation. ONNX Resize of height and width to given sizes.
///
/// Shapes: `[n, h, w, c]` to `[n, height, width, c]`. Positions are exact fractions; each axis is on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resize {
    /// Height of the result.
    pub height: usize,
    /// Width of the result.
    pub width: usize,
    /// What is made of the neighbours.
    pub mode: ResizeMode,
    /// Where a position of the result lies in the input.
    pub coordinates: Coordinates,
}

/// What [`Resize`] makes of the neighbours of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ResizeMode {
    /// The nearest element. Positions are rounded down for [`Coordinates::Asymmetric`] (ONNX `floor`), otherwise to the
    /// nearest, ties down (ONNX `round_prefer_floor`).
    Nearest,
    /// The mean of the two neighbours on each axis, weighted by how near they are; beyond the edge counts the edge.
    /// Levels take weights in steps of 1/4096, rounded half up, and round once, half up.
    Linear,
}

/// Where position `x` of `out` lies among the `in` elements of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Coordinates {
    /// `(x + 1/2) * in / out - 1/2`. ONNX `half_pixel`.
    HalfPixel,
    /// `x * (in - 1) / (out - 1)`, 0 for a single position. ONNX `align_corners`.
    AlignCorners,
    /// `x * in / out`. ONNX `asymmetric`.
    Asymmetric,
}

impl Coordinates {
    /// The position as a fraction `(numerator, denominator)`; the denominator is positive.
    ///
    /// Range: `input` and `output` up to 2^30.
    #[must_use]
    pub const fn position(self, x: usize, input: usize, output: usize) -> (i64, i64) {
        #[expect(clippy::cast_possible_wrap, reason = "extents are far below 2^63")]
        let [x, input, output] = [x as i64, input as i64, output as i64];
        match self {
            Self::HalfPixel => ((2 * x + 1) * input - output, 2 * output),
            Self::AlignCorners if output == 1 => (0, 1),
            Self::AlignCorners => (x * (input - 1), output - 1),
            Self::Asymmetric => (x * input, output),
        }
    }
}

impl Resize {
    /// Largest height and width.
    pub const MAX_EXTENT: usize = 65_536;

    pub(super) fn infer(&self, input: Shape) -> Result<Shape, OpError> {
        let op = "resize";
        if input.rank() != 4 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
        }
        if input.dim(1) > Self::MAX_EXTENT || input.dim(2) > Self::MAX_EXTENT {
            return Err(OpError::InputShape { op, shape: input, reason: "it is beyond 65,536" });
        }
        for (attribute, value) in [("height", self.height), ("width", self.width)] {
            if value == 0 || value > Self::MAX_EXTENT {
                return Err(OpError::Attribute { op, attribute, value: value as u64 });
            }
        }
        Shape::new(&[input.dim(0), self.height, self.width, input.dim(3)])
            .ok_or(OpError::TooLarge { op })
    }
}
