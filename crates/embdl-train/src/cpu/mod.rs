//! The CPU: operators with kernels of our own instead of Burn's, on its tape and flex backend.

mod elementwise;
mod layers;
mod layout;
mod normalization;
mod pooling;
mod tape;

use std::borrow::Cow;

use burn_backend::BackendTypes;
use burn_flex::{Flex, FlexTensor};
use embdl_core::op::{Activation, Conv2d, Lrn, Pad, Pool, Resize, Transpose, Unary};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;

use crate::error::TrainError;
use crate::operators::{Norm, Operators, Statistics, Weights, dims};
use crate::storage::elements;
pub(crate) use tape::Tensor;

/// The CPU.
#[derive(Debug, Default)]
pub(crate) struct Cpu(<Flex as BackendTypes>::Device);

impl Operators for Cpu {
    type Burn = Flex;

    fn device(&self) -> &<Flex as BackendTypes>::Device {
        &self.0
    }

    fn upload(&self, values: &FlexTensor, shape: Shape) -> FlexTensor {
        values.clone().reshape(dims(shape))
    }

    fn download<'a>(&self, tensor: &'a FlexTensor) -> Result<Cow<'a, [f32]>, TrainError> {
        Ok(if tensor.is_contiguous() {
            Cow::Borrowed(elements(tensor))
        } else {
            Cow::Owned(elements(&tensor.to_contiguous()).to_vec())
        })
    }

    fn host(&self, tensor: FlexTensor) -> Result<FlexTensor, TrainError> {
        Ok(tensor.to_contiguous())
    }

    fn convolution(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        weights: &Weights<'_, Flex>,
        output: Shape,
    ) -> Tensor {
        layers::convolution(conv, x, weights, output)
    }

    fn dense(&self, activation: Activation, x: &Tensor, weights: &Weights<'_, Flex>) -> Tensor {
        layers::dense(activation, x, weights)
    }

    fn pool(&self, pool: &Pool, x: &Tensor, output: Shape) -> Tensor {
        pooling::pool(pool, x, output)
    }

    fn global_average(&self, x: &Tensor) -> Tensor {
        pooling::global_average(x)
    }

    fn activation(&self, activation: Activation, x: &Tensor) -> Tensor {
        elementwise::activation(activation, x)
    }

    fn unary(&self, unary: Unary, x: &Tensor) -> Tensor {
        elementwise::unary(unary, x)
    }

    fn add(&self, activation: Activation, lhs: &Tensor, rhs: &Tensor) -> Tensor {
        elementwise::add(activation, lhs, rhs)
    }

    fn multiply(&self, lhs: &Tensor, rhs: &Tensor) -> Tensor {
        elementwise::multiply(lhs, rhs)
    }

    fn prelu(&self, x: &Tensor, slope: &Tensor) -> Tensor {
        elementwise::prelu(x, slope)
    }

    fn concat(&self, inputs: &[&Tensor], axis: usize) -> Tensor {
        layout::concat(inputs, axis)
    }

    fn lrn(&self, lrn: &Lrn, x: &Tensor) -> Tensor {
        normalization::lrn(lrn, x)
    }

    fn softmax(&self, x: &Tensor) -> Tensor {
        normalization::softmax(x)
    }

    fn batch_norm(
        &self,
        norm: &Norm<'_, Flex>,
        x: &Tensor,
    ) -> Result<(Tensor, Option<Statistics>), TrainError> {
        Ok(normalization::batch_norm(norm, x))
    }

    fn transpose(&self, transpose: &Transpose, x: &Tensor) -> Tensor {
        layout::transpose(transpose, x)
    }

    fn pad(&self, pad: &Pad, x: &Tensor) -> Tensor {
        layout::pad(pad, x)
    }

    fn resize(&self, resize: &Resize, x: &Tensor) -> Tensor {
        layout::resize(resize, x)
    }

    fn hold_to_levels(&self, quant: Quant, x: &Tensor) -> Tensor {
        elementwise::hold_to_levels(quant, x)
    }
}
