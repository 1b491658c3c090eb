//! Functions, products and slopes, element by element.

use embdl_core::op::Unary;
use embdl_core::quant::{MulRequant, PReluRequant};
use embdl_core::tensor::{DType, ValueType};

use super::{Tensor, level};

/// The function of each element. Levels stand for an f32, whose function in f32 becomes the nearest level.
pub(super) fn apply(unary: Unary, input: &Tensor, to: ValueType) -> Vec<f64> {
    let (Some(from), Some(to)) = (input.kind.quant, to.quant) else {
        return input.data.iter().map(|&x| real(unary, x)).collect();
    };
    let function = |x: &f64| f64::from(to.quantize(unary.apply(from.dequantize(level(*x)))));
    input.data.iter().map(function).collect()
}

pub(crate) fn real(unary: Unary, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match unary {
        Unary::Sigmoid => sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Silu => x * sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
        Unary::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
        Unary::LeakyRelu { .. } | Unary::Elu { .. } => x,
        Unary::Clip { min, max } => super::clamp(x, min, max),
    }
}

/// The second factor has one element for each element, or for each sample and channel.
pub(super) fn product(lhs: &Tensor, rhs: &Tensor, to: ValueType) -> Vec<f64> {
    let shape = lhs.shape();
    let channels = shape.dim(shape.rank() - 1);
    let sample = lhs.data.len() / shape.dim(0);
    let factor = |at: usize| {
        if rhs.data.len() == lhs.data.len() {
            rhs.data[at]
        } else {
            rhs.data[at / sample * channels + at % channels]
        }
    };
    let pairs = lhs.data.iter().enumerate().map(|(at, &x)| (x, factor(at)));
    let (DType::U8, Some(quant)) = (to.dtype, to.quant) else {
        return pairs.map(|(x, y)| x * y).collect();
    };
    let [from, other] = [lhs, rhs].map(|side| side.kind.quant.expect("quantized"));
    let requant = MulRequant::new(from, other, quant).expect("a ratio in range");
    pairs.map(|(x, y)| f64::from(requant.apply(level(x), level(y)))).collect()
}

pub(super) fn slopes(slopes: &[f32], input: &Tensor, to: ValueType) -> Vec<f64> {
    let elements = input.data.iter().enumerate().map(|(at, &x)| (at % slopes.len(), x));
    let (Some(from), Some(to)) = (input.kind.quant, to.quant) else {
        let real = |(c, x): (usize, f64)| if x < 0.0 { x * f64::from(slopes[c]) } else { x };
        return elements.map(real).collect();
    };
    let requant = PReluRequant::new(slopes, from, to).expect("slopes in range");
    elements.map(|(c, x)| f64::from(requant.apply(level(x), c))).collect()
}
