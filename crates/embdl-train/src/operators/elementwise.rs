//! Element-wise operators by Burn's operations.

use burn_autodiff::Autodiff;
use burn_backend::Backend;
use burn_backend::TensorMetadata;
use burn_backend::ops::{ActivationOps, FloatTensorOps};
use embdl_core::op::{Activation, Unary};
use embdl_core::quant::Quant;

use super::Tensor;
use super::burn::{clamp, constant, indicator, over_channels, plus, scaled, where_negative};

pub(super) fn activation<B: Backend>(activation: Activation, x: Tensor<B>) -> Tensor<B> {
    let (low, high) = activation.bounds();
    clamp::<B>(x, low, high)
}

pub(super) fn add<B: Backend>(then: Activation, lhs: &Tensor<B>, rhs: &Tensor<B>) -> Tensor<B> {
    activation::<B>(then, Autodiff::<B>::float_add(lhs.clone(), rhs.clone()))
}

pub(super) fn multiply<B: Backend>(lhs: &Tensor<B>, rhs: &Tensor<B>) -> Tensor<B> {
    Autodiff::<B>::float_mul(lhs.clone(), rhs.clone())
}

pub(super) fn prelu<B: Backend>(x: &Tensor<B>, slope: &Tensor<B>) -> Tensor<B> {
    let slope = over_channels::<B>(slope.clone(), x.shape().num_dims());
    where_negative::<B>(x.clone(), Autodiff::<B>::float_mul(x.clone(), slope))
}

pub(super) fn unary<B: Backend>(unary: Unary, x: &Tensor<B>) -> Tensor<B> {
    let x = x.clone();
    match unary {
        Unary::Sigmoid => Autodiff::<B>::sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => {
            clamp::<B>(plus::<B>(scaled::<B>(x, alpha), beta), 0.0, 1.0)
        }
        Unary::HardSwish => {
            let gate = clamp::<B>(plus::<B>(scaled::<B>(x.clone(), 1.0 / 6.0), 0.5), 0.0, 1.0);
            Autodiff::<B>::float_mul(x, gate)
        }
        Unary::Silu => Autodiff::<B>::float_mul(x.clone(), Autodiff::<B>::sigmoid(x)),
        Unary::Tanh => Autodiff::<B>::float_tanh(x),
        Unary::LeakyRelu { alpha } => where_negative::<B>(x.clone(), scaled::<B>(x, alpha)),
        Unary::Elu { alpha } => {
            // Without the clamp, the side that is not taken would bring infinity times zero into the gradient.
            let low = clamp::<B>(x.clone(), f32::NEG_INFINITY, 0.0);
            let low = scaled::<B>(plus::<B>(Autodiff::<B>::float_exp(low), -1.0), alpha);
            where_negative::<B>(x, low)
        }
        Unary::Clip { min, max } => clamp::<B>(x, min, max),
    }
}

/// As `quant.dequantize(quant.quantize(x))`; the gradient is passed on where the level is one of a u8.
pub(super) fn hold_to_levels<B: Backend>(quant: Quant, x: &Tensor<B>) -> Tensor<B> {
    let zero = f32::from(quant.zero_point);
    let level = B::float_div_scalar(x.primitive().clone(), quant.scale.into());
    let level = B::float_floor(B::float_add_scalar(level, 0.5_f32.into()));
    let level = B::float_add_scalar(level, zero.into());
    let held = B::float_clamp(level.clone(), 0.0_f32.into(), 255.0_f32.into());
    let inside = constant::<B>(indicator::<B>(level, held.clone()));
    let y = B::float_sub_scalar(held, zero.into());
    let y = constant::<B>(B::float_mul_scalar(y, quant.scale.into()));
    // What the tape sees is x where the gradient passes; taken away again, only the gradient is left of it.
    let passing = Autodiff::<B>::float_mul(x.clone(), inside);
    let itself = constant::<B>(passing.primitive().clone());
    Autodiff::<B>::float_add(Autodiff::<B>::float_sub(passing, itself), y)
}
