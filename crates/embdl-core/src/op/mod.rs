//! The closed set of operators: attributes, shape rules, and cost. What an operator means is said here and only here.

mod conv2d;
mod dense;
mod elementwise;
mod layout;
mod norm;
mod pool;
mod resize;
mod unary;

pub use conv2d::{Conv2d, Window};
pub use dense::Dense;
pub use elementwise::Activation;
pub use layout::{Concat, Pad, Reshape, Transpose};
pub use norm::{BatchNorm, Lrn};
pub use pool::{Pool, PoolKind};
pub use resize::{Coordinates, Resize, ResizeMode};
pub use unary::{Real, Unary};

use crate::tensor::{DType, Shape};

/// An operator with its attributes. Weights and biases hang on the node, not here.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Op {
    /// 2-D convolution, grouped and depthwise included; takes a weight, and a bias if there is one.
    Conv2d(Conv2d),
    /// Fully connected layer; takes a weight, and a bias if there is one.
    Dense(Dense),
    /// Max or average pooling.
    Pool(Pool),
    /// Mean over height and width: `[n, h, w, c]` to `[n, 1, 1, c]`. ONNX GlobalAveragePool.
    GlobalAveragePool,
    /// Element-wise nonlinearity on its own, where no layer took it in as its epilogue.
    Activation(Activation),
    /// Element-wise sum of two values of one shape, then the activation. ONNX Add without broadcasting.
    Add(Activation),
    /// Joins values along one axis.
    Concat(Concat),
    /// Local response normalization across channels.
    Lrn(Lrn),
    /// Batch normalization, in graphs that are trained only: models and files refuse it, it is folded before.
    BatchNorm(BatchNorm),
    /// Softmax over the last axis. ONNX Softmax.
    Softmax,
    /// `[n, ...]` to `[n, product]`, in NHWC order. ONNX Flatten with axis 1.
    Flatten,
    /// The same elements under another shape; the batch stays.
    Reshape(Reshape),
    /// Float to u8 levels of the output's scale and zero point. ONNX QuantizeLinear, ties up.
    Quantize,
    /// u8 levels or i32 accumulators to float. ONNX DequantizeLinear.
    Dequantize,
    /// Element-wise function that is more than a clamp.
    Unary(Unary),
    /// Element-wise product of two values of one shape, or of a map and one factor for each sample and channel,
    /// `[n, 1, 1, c]`, as squeeze-and-excitation has it. ONNX Mul.
    Mul,
    /// `x` where it is not negative, elsewhere `x` times the slope of its channel; takes a weight `[c]`. ONNX PRelu.
    PRelu,
    /// Another height and width by interpolation.
    Resize(Resize),
    /// Another order of axes.
    Transpose(Transpose),
    /// Zeros around height and width.
    Pad(Pad),
}

/// Why an operator cannot take its inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// Wrong number of inputs.
    #[error("{op} takes {expected} inputs, not {found}")]
    InputCount {
        /// Operator.
        op: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many it got.
        found: usize,
    },
    /// An input has the wrong number of dimensions or a dimension that does not fit.
    #[error("{op} cannot take an input of shape {shape}: {reason}")]
    InputShape {
        /// Operator.
        op: &'static str,
        /// Shape of the input.
        shape: Shape,
        /// What does not fit.
        reason: &'static str,
    },
    /// The weight is missing or does not fit the attributes.
    #[error("{op} cannot take a weight of shape {shape}: {reason}")]
    WeightShape {
        /// Operator.
        op: &'static str,
        /// Shape of the weight.
        shape: Shape,
        /// What does not fit.
        reason: &'static str,
    },
    /// A weight is missing where one is needed, or given where none is taken.
    #[error("{op} {}", if *.needed { "needs a weight" } else { "takes no weight" })]
    WeightPresence {
        /// Operator.
        op: &'static str,
        /// Whether it needs one.
        needed: bool,
    },
    /// An attribute is outside of what the operator means.
    #[error("{op} cannot have {attribute} = {value}")]
    Attribute {
        /// Operator.
        op: &'static str,
        /// Attribute.
        attribute: &'static str,
        /// Its value.
        value: u64,
    },
    /// An attribute that is a real number is outside of what the operator means.
    #[error("{op} cannot have {attribute} = {value}")]
    RealAttribute {
        /// Operator.
        op: &'static str,
        /// Attribute.
        attribute: &'static str,
        /// Its value.
        value: Real,
    },
    /// The operator does not compute on this element type.
    #[error("{op} does not compute on {dtype}")]
    ElementType {
        /// Operator.
        op: &'static str,
        /// Element type of an input.
        dtype: DType,
    },
    /// The result would have more elements than can be counted.
    #[error("the result of {op} is too large")]
    TooLarge {
        /// Operator.
        op: &'static str,
    },
}

impl Op {
    /// Lower-case name, as printed in tables and errors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::Dense(_) => "dense",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "max-pool",
            Self::Pool(Pool { kind: PoolKind::Average { .. }, .. }) => "average-pool",
            Self::GlobalAveragePool => "global-average-pool",
            Self::Activation(Activation::None) => "identity",
            Self::Activation(Activation::Relu) => "relu",
            Self::Activation(Activation::Relu6) => "relu6",
            Self::Add(_) => "add",
            Self::Concat(_) => "concat",
            Self::Lrn(_) => "lrn",
            Self::BatchNorm(_) => "batch-norm",
            Self::Softmax => "softmax",
            Self::Flatten => "flatten",
            Self::Reshape(_) => "reshape",
            Self::Quantize => "quantize",
            Self::Dequantize => "dequantize",
            Self::Unary(unary) => unary.name(),
            Self::Mul => "mul",
            Self::PRelu => "prelu",
            Self::Resize(_) => "resize",
            Self::Transpose(_) => "transpose",
            Self::Pad(_) => "pad",
        }
    }

    /// Whether the operator takes a weight.
    #[must_use]
    pub const fn takes_weight(&self) -> bool {
        self.is_layer() || matches!(self, Self::PRelu | Self::BatchNorm(_))
    }

    /// Whether the operator takes a bias beside its weight.
    #[must_use]
    pub const fn takes_bias(&self) -> bool {
        self.is_layer() || matches!(self, Self::BatchNorm(_))
    }

    /// Whether the operator multiplies with a matrix of weights: what compression works on.
    #[must_use]
    pub const fn is_layer(&self) -> bool {
        matches!(self, Self::Conv2d(_) | Self::Dense(_))
    }

    /// The shape of the result.
    ///
    /// # Errors
    /// If the inputs, the weight or the attributes do not fit each other.
    pub fn infer(&self, inputs: &[Shape], weight: Option<Shape>) -> Result<Shape, OpError> {
        let op = self.name();
        let expected = match self {
            Self::Add(_) | Self::Mul => 2,
            Self::Concat(_) => inputs.len().max(1),
            _ => 1,
        };
        if inputs.len() != expected {
            return Err(OpError::InputCount { op, expected, found: inputs.len() });
        }
        if self.takes_weight() != weight.is_some() {
            return Err(OpError::WeightPresence { op, needed: self.takes_weight() });
        }
        let input = inputs[0];
        if input.rank() == 0 || input.is_empty() {
            return Err(OpError::InputShape { op, shape: input, reason: "it has no elements" });
        }
        let shape = match (self, weight) {
            (Self::Conv2d(conv), Some(weight)) => conv.infer(input, weight)?,
            (Self::Dense(dense), Some(weight)) => dense.infer(input, weight)?,
            (Self::Pool(pool), _) => pool.infer(input)?,
            (Self::GlobalAveragePool, _) => pool::infer_global(input)?,
            (Self::Add(_), _) => elementwise::infer_add(input, inputs[1])?,
            (Self::Concat(concat), _) => concat.infer(inputs)?,
            (Self::Lrn(lrn), _) => lrn.infer(input)?,
            (Self::BatchNorm(norm), Some(weight)) => norm.infer(input, weight)?,
            (Self::Flatten, _) => layout::infer_flatten(input)?,
            (Self::Reshape(reshape), _) => reshape.infer(input)?,
            (Self::Unary(unary), _) => unary.infer(input)?,
            (Self::Mul, _) => elementwise::infer_mul(input, inputs[1])?,
            (Self::PRelu, Some(weight)) => elementwise::infer_prelu(input, weight)?,
            (Self::Resize(resize), _) => resize.infer(input)?,
            (Self::Transpose(transpose), _) => transpose.infer(input)?,
            (Self::Pad(pad), _) => pad.infer(input)?,
            _ => input,
        };
        shape.checked_len().filter(|&len| len > 0).ok_or(OpError::TooLarge { op })?;
        Ok(shape)
    }

    /// Multiply-accumulates for one result of shape `output` (batch included); zero for operators without weights.
    #[must_use]
    pub fn macs(&self, output: Shape, weight: Option<Shape>) -> u64 {
        match (self, weight) {
            (Self::Conv2d(_), Some(weight)) => {
                output.len() as u64 * weight.iter().skip(1).product::<usize>() as u64
            }
            (Self::Dense(_), Some(weight)) => output.len() as u64 * weight.dim(1) as u64,
            _ => 0,
        }
    }

    /// The activation that the operator applies to its result.
    #[must_use]
    pub const fn activation(&self) -> Activation {
        match self {
            Self::Conv2d(conv) => conv.activation,
            Self::Dense(dense) => dense.activation,
            Self::Activation(activation) | Self::Add(activation) => *activation,
            _ => Activation::None,
        }
    }
}
