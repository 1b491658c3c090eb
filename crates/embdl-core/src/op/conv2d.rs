//! 2-D convolution and the sliding window it shares with pooling.

use super::{Activation, OpError};
use crate::tensor::Shape;

/// A window that slides over height and width. Pads are `[top, left, bottom, right]`, as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Window {
    /// Height and width of the window in taps.
    pub kernel: [u32; 2],
    /// Steps in height and width.
    pub stride: [u32; 2],
    /// Distance of neighbouring taps in height and width.
    pub dilation: [u32; 2],
    /// Rows and columns added: top, left, bottom, right.
    pub pads: [u32; 4],
}

impl Window {
    /// A square window with one stride, without pads and dilation.
    #[must_use]
    pub const fn square(kernel: u32, stride: u32) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pads: [0; 4] }
    }

    /// The same window with `pad` rows and columns on every side.
    #[must_use]
    pub const fn padded(mut self, pad: u32) -> Self {
        self.pads = [pad; 4];
        self
    }

    /// Extent in height (`axis` 0) or width (`axis` 1) of the result of sliding over `input` elements.
    ///
    /// With `ceil`, a last window may hang over the end as long as it starts inside the input or the leading pad
    /// (ONNX `ceil_mode`).
    ///
    /// # Errors
    /// If the window does not fit, or an attribute is zero or beyond 2^16.
    pub fn extent(
        &self,
        op: &'static str,
        axis: usize,
        input: usize,
        ceil: bool,
    ) -> Result<usize, OpError> {
        let attribute = |attribute, value: u32, minimum: u32| {
            if value < minimum || value > 65_536 {
                Err(OpError::Attribute { op, attribute, value: u64::from(value) })
            } else {
                Ok(value as usize)
            }
        };
        let kernel = attribute("kernel", self.kernel[axis], 1)?;
        let stride = attribute("stride", self.stride[axis], 1)?;
        let dilation = attribute("dilation", self.dilation[axis], 1)?;
        let before = attribute("pads", self.pads[axis], 0)?;
        let after = attribute("pads", self.pads[axis + 2], 0)?;
        let span = u64::from(self.dilation[axis]) * (kernel as u64 - 1) + 1;
        let padded = input as u64 + before as u64 + after as u64;
        debug_assert!(dilation >= 1);
        if span > padded {
            return Err(OpError::Attribute { op, attribute: "kernel", value: kernel as u64 });
        }
        let room = padded - span;
        let mut extent = if ceil { room.div_ceil(stride as u64) } else { room / stride as u64 } + 1;
        if ceil && (extent - 1) * stride as u64 >= (input + before) as u64 {
            extent -= 1;
        }
        usize::try_from(extent).map_err(|_| OpError::TooLarge { op })
    }
}

/// Attributes of a 2-D convolution. ONNX Conv.
///
/// Shapes: input `[n, h, w, ci]`, weight `[co, kh, kw, ci / groups]`, bias `[co]`, result `[n, oh, ow, co]`.
/// Output channel `o` belongs to group `o / (co / groups)`. `groups == ci` is a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Conv2d {
    /// The sliding window; its kernel equals the weight's height and width.
    pub window: Window,
    /// Number of groups that the channels are divided into.
    pub groups: u32,
    /// Applied to the result.
    pub activation: Activation,
}

impl Conv2d {
    pub(super) fn infer(&self, input: Shape, weight: Shape) -> Result<Shape, OpError> {
        let op = "conv2d";
        if input.rank() != 4 {
            return Err(OpError::InputShape { op, shape: input, reason: "it is not [n, h, w, c]" });
        }
        if weight.rank() != 4 || weight.is_empty() {
            return Err(OpError::WeightShape {
                op,
                shape: weight,
                reason: "it is not [co, kh, kw, ci]",
            });
        }
        let groups = self.groups as usize;
        if groups == 0
            || !input.dim(3).is_multiple_of(groups)
            || !weight.dim(0).is_multiple_of(groups)
        {
            return Err(OpError::Attribute {
                op,
                attribute: "groups",
                value: u64::from(self.groups),
            });
        }
        if weight.dim(3) != input.dim(3) / groups {
            return Err(OpError::WeightShape {
                op,
                shape: weight,
                reason: "its input channels are not those of the input divided by the groups",
            });
        }
        if [weight.dim(1), weight.dim(2)] != self.window.kernel.map(|taps| taps as usize) {
            return Err(OpError::WeightShape {
                op,
                shape: weight,
                reason: "it differs from the kernel attribute",
            });
        }
        let oh = self.window.extent(op, 0, input.dim(1), false)?;
        let ow = self.window.extent(op, 1, input.dim(2), false)?;
        Shape::new(&[input.dim(0), oh, ow, weight.dim(0)]).ok_or(OpError::TooLarge { op })
    }

    /// Whether every input channel has its own filters.
    #[must_use]
    pub const fn is_depthwise(&self, input_channels: usize) -> bool {
        self.groups as usize == input_channels && self.groups > 1
    }
}
