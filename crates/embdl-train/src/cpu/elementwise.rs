//! Element-wise operators: activations, functions, sums, products, slopes, levels.

use burn_flex::FlexTensor;
use embdl_core::op::{Activation, Unary};
use embdl_core::quant::Quant;

use super::tape::{Saved, Tensor, record, values};
use crate::kernels::{fake_quant, functions, pointwise, products};
use crate::operators::shape_of;
use crate::storage::{elements, flat};

pub(super) fn activation(activation: Activation, x: &Tensor) -> Tensor {
    let y = pointwise::activate(values(x), activation);
    summed([x], y, activation)
}

pub(super) fn add(activation: Activation, lhs: &Tensor, rhs: &Tensor) -> Tensor {
    let y = pointwise::add(values(lhs), values(rhs), activation);
    summed([lhs, rhs], y, activation)
}

fn summed<const N: usize>(inputs: [&Tensor; N], y: Vec<f32>, activation: Activation) -> Tensor {
    let is_bent = activation != Activation::None;
    let saved = |y: &FlexTensor| SavedSum { y: is_bent.then(|| y.clone()), activation };
    record(inputs, y, shape_of(inputs[0]), saved)
}

/// An activation of the sum of its inputs.
#[derive(Clone, Debug)]
struct SavedSum {
    /// The result, where the activation decides which gradients pass.
    y: Option<FlexTensor>,
    activation: Activation,
}

impl<const N: usize> Saved<N> for SavedSum {
    fn gradients(self, mut dy: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N] {
        if let Some(y) = &self.y {
            pointwise::through_activation(elements(y), self.activation, dy.storage_mut());
        }
        wanted.map(|wanted| wanted.then(|| dy.clone()))
    }
}

pub(super) fn unary(unary: Unary, x: &Tensor) -> Tensor {
    let y = functions::apply(unary, values(x));
    record([x], y, shape_of(x), |_| SavedFunction { unary, x: x.primitive().clone() })
}

#[derive(Clone, Debug)]
struct SavedFunction {
    unary: Unary,
    x: FlexTensor,
}

impl Saved<1> for SavedFunction {
    fn gradients(self, mut dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        functions::through(self.unary, elements(&self.x), dy.storage_mut());
        [Some(dy)]
    }
}

pub(super) fn multiply(lhs: &Tensor, rhs: &Tensor) -> Tensor {
    let (shape, factors) = (shape_of(lhs), shape_of(rhs));
    let pixels = shape.len() / factors.len();
    let channels = shape.dim(shape.rank() - 1);
    let y = products::multiply(values(lhs), values(rhs), pixels, channels);
    let saved = |_: &FlexTensor| SavedProduct {
        lhs: lhs.primitive().clone(),
        rhs: rhs.primitive().clone(),
        pixels,
        channels,
    };
    record([lhs, rhs], y, shape, saved)
}

#[derive(Clone, Debug)]
struct SavedProduct {
    lhs: FlexTensor,
    rhs: FlexTensor,
    /// Elements of the first factor that share one of the second.
    pixels: usize,
    channels: usize,
}

impl Saved<2> for SavedProduct {
    fn gradients(self, dy: FlexTensor, [lhs, rhs]: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let Self { pixels, channels, .. } = self;
        let (l, r) = (elements(&self.lhs), elements(&self.rhs));
        [
            lhs.then(|| flat(products::multiply(elements(&dy), r, pixels, channels))),
            rhs.then(|| flat(products::factor_gradient(l, elements(&dy), pixels, channels))),
        ]
    }
}

pub(super) fn prelu(x: &Tensor, slope: &Tensor) -> Tensor {
    let y = products::prelu(values(x), values(slope));
    let saved =
        |_: &FlexTensor| SavedSlope { x: x.primitive().clone(), slope: slope.primitive().clone() };
    record([x, slope], y, shape_of(x), saved)
}

#[derive(Clone, Debug)]
struct SavedSlope {
    x: FlexTensor,
    slope: FlexTensor,
}

impl Saved<2> for SavedSlope {
    fn gradients(self, dy: FlexTensor, [x, slope]: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (values, slopes) = (elements(&self.x), elements(&self.slope));
        let dy = elements(&dy);
        let of_slope = slope.then(|| flat(products::slope_gradient(values, dy, slopes.len())));
        [x.then(|| flat(products::through_prelu(values, slopes, dy))), of_slope]
    }
}

pub(super) fn hold_to_levels(quant: Quant, x: &Tensor) -> Tensor {
    let y = fake_quant::fake_quantize(values(x), quant);
    record([x], y, shape_of(x), |_| SavedLevels { x: x.primitive().clone(), quant })
}

#[derive(Clone, Debug)]
struct SavedLevels {
    x: FlexTensor,
    quant: Quant,
}

impl Saved<1> for SavedLevels {
    fn gradients(self, mut dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        fake_quant::through_levels(elements(&self.x), self.quant, dy.storage_mut());
        [Some(dy)]
    }
}
