//! Normalization by Burn's operations.

use burn_autodiff::Autodiff;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Backend, TensorMetadata};
use burn_std::{PadMode, Shape as BurnShape};
use embdl_core::op::Lrn;
use embdl_core::tensor::Shape;

use super::burn::{constant, over_channels, plus, scaled, slice};
use super::{Norm, Operators, Statistics, Tensor};
use crate::error::TrainError;
use crate::storage::flat;

pub(super) fn lrn<B: Backend>(lrn: &Lrn, x: &Tensor<B>) -> Tensor<B> {
    let (shape, size) = (x.shape(), lrn.size as usize);
    let axis = shape.num_dims() - 1;
    let channels = shape[axis];
    // Neighbours beyond the channels are zeros; more of them than there are channels change nothing.
    let reach = |side: usize| side.min(channels);
    let (before, after) = (reach((size - 1) / 2), reach(size / 2));
    let squares = Autodiff::<B>::float_mul(x.clone(), x.clone());
    let mut pads = vec![(0, 0); axis + 1];
    pads[axis] = (before, after);
    let padded = Autodiff::<B>::float_pad(squares, &pads, PadMode::Constant(0.0));
    let mut sum = slice::<B>(padded.clone(), axis, 0, channels);
    for first in 1..=before + after {
        sum = Autodiff::<B>::float_add(sum, slice::<B>(padded.clone(), axis, first, channels));
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of channels")]
    let denominator = plus::<B>(scaled::<B>(sum, lrn.alpha / size as f32), lrn.bias);
    let factor = Autodiff::<B>::float_powf_scalar(denominator, (-lrn.beta).into());
    Autodiff::<B>::float_mul(x.clone(), factor)
}

pub(super) fn softmax<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let axis = x.shape().num_dims() - 1;
    let largest = constant::<B>(B::float_max_dim(x.primitive().clone(), axis));
    let e = Autodiff::<B>::float_exp(Autodiff::<B>::float_sub(x.clone(), largest));
    let sum = Autodiff::<B>::float_sum_dim(e.clone(), axis);
    Autodiff::<B>::float_div(e, sum)
}

pub(super) fn batch_norm<E: Operators + ?Sized>(
    on: &E,
    norm: &Norm<'_, E::Burn>,
    x: &Tensor<E::Burn>,
) -> Result<(Tensor<E::Burn>, Option<Statistics>), TrainError> {
    let shape = x.shape();
    let channels = shape[shape.num_dims() - 1];
    let count = shape.num_elements() / channels;
    let rows =
        Autodiff::<E::Burn>::float_reshape(x.clone(), BurnShape::from(vec![count, channels]));
    let (mean, variance, found) = match &norm.running {
        Some(Statistics { mean, variance }) => {
            let upload = |values: &[f32]| {
                constant::<E::Burn>(on.upload(&flat(values.to_vec()), Shape::matrix(1, channels)))
            };
            (upload(mean), upload(variance), None)
        }
        None => {
            let mean = Autodiff::<E::Burn>::float_mean_dim(rows.clone(), 0);
            let distance = Autodiff::<E::Burn>::float_sub(rows.clone(), mean.clone());
            let squares = Autodiff::<E::Burn>::float_mul(distance.clone(), distance);
            let variance = Autodiff::<E::Burn>::float_mean_dim(squares, 0);
            let mut found = Statistics {
                mean: on.download(mean.primitive())?.into_owned(),
                variance: on.download(variance.primitive())?.into_owned(),
            };
            found.variance.iter_mut().for_each(|variance| *variance *= estimate(count));
            (mean, variance, Some(found))
        }
    };
    let deviation = Autodiff::<E::Burn>::float_sqrt(plus::<E::Burn>(variance, norm.norm.epsilon));
    let y = Autodiff::<E::Burn>::float_div(Autodiff::<E::Burn>::float_sub(rows, mean), deviation);
    let weight = over_channels::<E::Burn>(norm.weight.clone(), 2);
    let bias = over_channels::<E::Burn>(norm.bias.clone(), 2);
    let y = Autodiff::<E::Burn>::float_add(Autodiff::<E::Burn>::float_mul(y, weight), bias);
    Ok((Autodiff::<E::Burn>::float_reshape(y, shape), found))
}

/// From the variance of `count` samples to the estimate of their population's.
#[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
pub(crate) fn estimate(count: usize) -> f32 {
    count as f32 / count.saturating_sub(1).max(1) as f32
}
