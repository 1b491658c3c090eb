//! The seam between the interpreter and a device: every operator with its gradient, on a backend of Burn.
//!
//! Each has a default made of Burn's own operations, so a device needs nothing but its backend. The CPU replaces them by
//! kernels of our own. Activations are `[n, h, w, c]` or `[n, features]`; Burn's NCHW lives within one operator.

mod burn;
mod convolution;
mod elementwise;
mod normalization;
mod pooling;
mod resampling;

use std::borrow::Cow;

use burn_autodiff::Autodiff;
use burn_backend::backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Backend, BackendTypes, TensorData, TensorMetadata};
use burn_flex::FlexTensor;
use burn_std::reader::try_read_sync;
use embdl_core::op::{Activation, BatchNorm, Conv2d, Lrn, Pad, Pool, Resize, Transpose, Unary};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;

pub(crate) use self::burn::{constant, dims, leaf, shape_of};
pub(crate) use self::normalization::estimate;
use crate::error::TrainError;
use crate::storage::{elements, flat};

/// A tensor of a backend, without gradient.
pub(crate) type Primitive<B> = <B as BackendTypes>::FloatTensorPrimitive;

/// A tensor on the tape over a backend.
pub(crate) type Tensor<B> = <Autodiff<B> as BackendTypes>::FloatTensorPrimitive;

/// Weight and bias of a layer.
#[derive(Debug)]
pub(crate) struct Weights<'a, B: Backend> {
    /// Convolutions `[co, kh, kw, ci / groups]`, dense layers `[out, in]`.
    pub(crate) weight: &'a Tensor<B>,
    /// `[co]` or `[out]`.
    pub(crate) bias: Option<&'a Tensor<B>>,
}

/// Mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    /// Mean.
    pub(crate) mean: Vec<f32>,
    /// Variance: of a population where it normalizes, of a sample where it is an estimate.
    pub(crate) variance: Vec<f32>,
}

/// Factor, bias and fixed statistics of batch normalization.
#[derive(Debug)]
pub(crate) struct Norm<'a, B: Backend> {
    /// Attributes.
    pub(crate) norm: BatchNorm,
    /// Factor of each channel.
    pub(crate) weight: &'a Tensor<B>,
    /// Added to each channel.
    pub(crate) bias: &'a Tensor<B>,
    /// Statistics to normalize with; `None` where those of the batch are.
    pub(crate) running: Option<Statistics>,
}

/// All operators on one device.
pub(crate) trait Operators: Sync {
    /// The backend below the tape.
    type Burn: Backend;

    /// Where tensors lie.
    fn device(&self) -> &<Self::Burn as BackendTypes>::Device;

    /// Host values as a tensor of `shape`.
    fn upload(&self, values: &FlexTensor, shape: Shape) -> Primitive<Self::Burn> {
        let data = TensorData::new(elements(values).to_vec(), dims(shape));
        Self::Burn::float_from_data(data, self.device())
    }

    /// The elements of a tensor on the host, row-major.
    ///
    /// # Errors
    /// If the device fails.
    fn download<'a>(
        &self,
        tensor: &'a Primitive<Self::Burn>,
    ) -> Result<Cow<'a, [f32]>, TrainError> {
        let failed = |reason: String| TrainError::Device { reason };
        let data = try_read_sync(Self::Burn::float_into_data(tensor.clone()))
            .ok_or_else(|| failed("it cannot be read from synchronously".into()))?
            .map_err(|error| failed(format!("{error:?}")))?;
        let values = data.try_into_vec().map_err(|error| failed(format!("{error:?}")))?;
        Ok(Cow::Owned(values))
    }

    /// Gradients of `leaves`, given that of `result`; `None` where the result does not depend on one.
    ///
    /// # Errors
    /// If the device fails.
    fn gradients(
        &self,
        result: &Tensor<Self::Burn>,
        gradient: Vec<f32>,
        leaves: &[Tensor<Self::Burn>],
    ) -> Result<Vec<Option<FlexTensor>>, TrainError> {
        let gradient = constant(self.upload(&flat(gradient), shape_of(result)));
        // The tape ends in one number whose gradient for the result is the given one.
        let mut gradients = burn::sum_of_products(result.clone(), gradient).backward();
        let mut take = |leaf| {
            let gradient = Autodiff::<Self::Burn>::grad_remove(leaf, &mut gradients);
            gradient.map(|gradient| self.host(gradient)).transpose()
        };
        leaves.iter().map(&mut take).collect()
    }

    /// A tensor as host storage.
    ///
    /// # Errors
    /// If the device fails.
    fn host(&self, tensor: Primitive<Self::Burn>) -> Result<FlexTensor, TrainError> {
        Ok(flat(self.download(&tensor)?.into_owned()))
    }

    /// 2-D convolution, then its activation. Shape of the result: `output`.
    fn convolution(
        &self,
        conv: &Conv2d,
        x: &Tensor<Self::Burn>,
        weights: &Weights<'_, Self::Burn>,
        output: Shape,
    ) -> Tensor<Self::Burn> {
        let _ = output;
        convolution::convolution(conv, x, weights)
    }

    /// `x · wᵀ + b`, then the activation.
    fn dense(
        &self,
        activation: Activation,
        x: &Tensor<Self::Burn>,
        weights: &Weights<'_, Self::Burn>,
    ) -> Tensor<Self::Burn> {
        convolution::dense(activation, x, weights)
    }

    /// Max or average pooling. Shape of the result: `output`.
    fn pool(&self, pool: &Pool, x: &Tensor<Self::Burn>, output: Shape) -> Tensor<Self::Burn> {
        pooling::pool(pool, x, output, self.device())
    }

    /// `[n, h, w, c]` to `[n, 1, 1, c]`.
    fn global_average(&self, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        pooling::global_average(x)
    }

    /// The activation of every element.
    fn activation(&self, activation: Activation, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        elementwise::activation(activation, x.clone())
    }

    /// An element-wise function.
    fn unary(&self, unary: Unary, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        elementwise::unary(unary, x)
    }

    /// The activation of a sum.
    fn add(
        &self,
        activation: Activation,
        lhs: &Tensor<Self::Burn>,
        rhs: &Tensor<Self::Burn>,
    ) -> Tensor<Self::Burn> {
        elementwise::add(activation, lhs, rhs)
    }

    /// A product; the second factor may be `[n, 1, 1, c]`.
    fn multiply(&self, lhs: &Tensor<Self::Burn>, rhs: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        elementwise::multiply(lhs, rhs)
    }

    /// `x` where it is not negative, else times the slope of its channel.
    fn prelu(&self, x: &Tensor<Self::Burn>, slope: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        elementwise::prelu(x, slope)
    }

    /// Joins along an axis.
    fn concat(&self, inputs: &[&Tensor<Self::Burn>], axis: usize) -> Tensor<Self::Burn> {
        let inputs = inputs.iter().map(|&input| input.clone()).collect();
        Autodiff::<Self::Burn>::float_cat(inputs, axis)
    }

    /// Local response normalization.
    fn lrn(&self, lrn: &Lrn, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        normalization::lrn(lrn, x)
    }

    /// Softmax over the last axis.
    fn softmax(&self, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        normalization::softmax(x)
    }

    /// Batch normalization; also the statistics of the batch, the variance as an estimate, where it was normalized by
    /// them.
    ///
    /// # Errors
    /// If the device fails.
    fn batch_norm(
        &self,
        norm: &Norm<'_, Self::Burn>,
        x: &Tensor<Self::Burn>,
    ) -> Result<(Tensor<Self::Burn>, Option<Statistics>), TrainError> {
        normalization::batch_norm(self, norm, x)
    }

    /// The same elements under another shape.
    fn reshape(&self, x: &Tensor<Self::Burn>, shape: Shape) -> Tensor<Self::Burn> {
        Autodiff::<Self::Burn>::float_reshape(x.clone(), dims(shape))
    }

    /// Another order of axes.
    fn transpose(&self, transpose: &Transpose, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        let rank = x.shape().num_dims();
        let order: Vec<usize> = transpose.order[..rank].iter().map(|&axis| axis.into()).collect();
        Autodiff::<Self::Burn>::float_permute(x.clone(), &order)
    }

    /// Zeros around height and width.
    fn pad(&self, pad: &Pad, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        burn::pad(x.clone(), [(pad.top, pad.bottom), (pad.left, pad.right)], 0.0)
    }

    /// Another height and width.
    fn resize(&self, resize: &Resize, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        resampling::resize(resize, x, self.device())
    }

    /// Holds values to the levels of a u8; gradients pass straight through inside of their range.
    fn hold_to_levels(&self, quant: Quant, x: &Tensor<Self::Burn>) -> Tensor<Self::Burn> {
        elementwise::hold_to_levels(quant, x)
    }
}

/// A device of which nothing but Burn's backend is known.
#[cfg(any(test, feature = "cuda", feature = "wgpu"))]
#[derive(Debug)]
pub(crate) struct Plain<B: Backend>(pub(crate) B::Device);

#[cfg(any(test, feature = "cuda", feature = "wgpu"))]
impl<B: Backend> Operators for Plain<B> {
    type Burn = B;

    fn device(&self) -> &B::Device {
        &self.0
    }
}
