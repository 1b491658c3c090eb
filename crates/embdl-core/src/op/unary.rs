//! Functions of one element that are more than a clamp.

use super::OpError;
use crate::tensor::Shape;

/// An element-wise function on its own. Floats are computed in f32, exponentials by `kernels::exp`; levels go through a table
/// of [`Unary::apply`] that is made when a model is loaded. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Unary {
    /// `1 / (1 + exp(-x))`. ONNX Sigmoid.
    Sigmoid,
    /// `min(max(alpha * x + beta, 0), 1)`. ONNX HardSigmoid.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 0.5, 0), 1)`. ONNX HardSwish.
    HardSwish,
    /// `x / (1 + exp(-x))`, also called swish. ONNX Mul of x and its Sigmoid.
    Silu,
    /// Hyperbolic tangent. ONNX Tanh.
    Tanh,
    /// `x` where it is not negative, `alpha * x` elsewhere. ONNX LeakyRelu.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` where it is not negative, `alpha * (exp(x) - 1)` elsewhere. ONNX Elu.
    Elu {
        /// Negative of the limit towards minus infinity.
        alpha: f32,
    },
    /// `min(max(x, min), max)`. ONNX Clip.
    Clip {
        /// Lower bound; may be minus infinity.
        min: f32,
        /// Upper bound, not below `min`; may be infinity.
        max: f32,
    },
}

impl Unary {
    /// Lower-case name, as printed in tables and errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard-sigmoid",
            Self::HardSwish => "hard-swish",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::Elu { .. } => "elu",
            Self::Clip { .. } => "clip",
        }
    }

    /// The function in f32, exponentials by `libm`, which gives the same bits on every CPU.
    #[must_use]
    #[inline]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid { alpha, beta } => between(alpha * x + beta, 0.0, 1.0),
            Self::HardSwish => x * between(x / 6.0 + 0.5, 0.0, 1.0),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => libm::tanhf(x),
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * libm::expm1f(x)
                } else {
                    x
                }
            }
            Self::Clip { min, max } => between(x, min, max),
        }
    }

    pub(super) fn infer(self, input: Shape) -> Result<Shape, OpError> {
        let bad = |attribute, value| {
            Err(OpError::RealAttribute { op: self.name(), attribute, value: Real(value) })
        };
        match self {
            Self::HardSigmoid { alpha, .. } | Self::LeakyRelu { alpha } | Self::Elu { alpha }
                if !alpha.is_finite() =>
            {
                bad("alpha", alpha)
            }
            Self::HardSigmoid { beta, .. } if !beta.is_finite() => bad("beta", beta),
            Self::Clip { min, .. } if min.is_nan() => bad("min", min),
            Self::Clip { min, max } if max.is_nan() || max < min => bad("max", max),
            _ => Ok(input),
        }
    }
}

/// An attribute in an error; equal where the bits are, so that errors with NaN can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f32);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl core::fmt::Display for Real {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

/// Without overflow on either side: `exp` of something large would be infinity, and of something small is zero.
fn sigmoid(x: f32) -> f32 {
    if x < 0.0 {
        let e = libm::expf(x);
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + libm::expf(-x))
    }
}

#[inline]
fn between(x: f32, low: f32, high: f32) -> f32 {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_by_hand() {
        let near = |op: Unary, x: f32, expected: f32| {
            let got = op.apply(x);
            assert!(
                (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{op:?}({x}) = {got}"
            );
        };
        for (op, x, expected) in [
            (Unary::Sigmoid, 0.0, 0.5),
            (Unary::Sigmoid, 1.0, 0.731_058_6),
            (Unary::Sigmoid, -1.0, 0.268_941_43),
            (Unary::Sigmoid, 200.0, 1.0),
            (Unary::Sigmoid, -200.0, 0.0),
            (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, 1.0, 0.7),
            (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, -3.0, 0.0),
            (Unary::HardSwish, -3.0, 0.0),
            (Unary::HardSwish, 1.0, 2.0 / 3.0),
            (Unary::HardSwish, 5.0, 5.0),
            (Unary::Silu, 1.0, 0.731_058_6),
            (Unary::Silu, -200.0, 0.0),
            (Unary::Tanh, 0.5, 0.462_117_16),
            (Unary::LeakyRelu { alpha: 0.1 }, -2.0, -0.2),
            (Unary::LeakyRelu { alpha: 0.1 }, 2.0, 2.0),
            (Unary::Elu { alpha: 2.0 }, -1.0, -1.264_241_1),
            (Unary::Elu { alpha: 2.0 }, 1.0, 1.0),
            (Unary::Clip { min: -1.0, max: f32::INFINITY }, -2.0, -1.0),
            (Unary::Clip { min: -1.0, max: f32::INFINITY }, 2e9, 2e9),
        ] {
            near(op, x, expected);
        }
    }

    #[test]
    fn nan_stays_nan() {
        for op in [
            Unary::Sigmoid,
            Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Unary::HardSwish,
            Unary::Silu,
            Unary::Tanh,
            Unary::LeakyRelu { alpha: 0.1 },
            Unary::Elu { alpha: 1.0 },
            Unary::Clip { min: 0.0, max: 1.0 },
        ] {
            assert!(op.apply(f32::NAN).is_nan(), "{op:?}");
        }
    }

    #[test]
    fn attributes_that_are_no_numbers_are_refused() {
        let shape = Shape::matrix(1, 3);
        for op in [
            Unary::HardSigmoid { alpha: f32::NAN, beta: 0.5 },
            Unary::HardSigmoid { alpha: 0.2, beta: f32::INFINITY },
            Unary::LeakyRelu { alpha: f32::INFINITY },
            Unary::Elu { alpha: f32::NAN },
            Unary::Clip { min: f32::NAN, max: 1.0 },
            Unary::Clip { min: 2.0, max: 1.0 },
        ] {
            assert!(matches!(op.infer(shape), Err(OpError::RealAttribute { .. })), "{op:?}");
        }
        assert_eq!(Unary::Clip { min: f32::NEG_INFINITY, max: 1.0 }.infer(shape), Ok(shape));
    }
}
