//! Convolution and dense layers by Burn's operations.

use burn_autodiff::Autodiff;
use burn_backend::Backend;
use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use embdl_core::op::{Activation, Conv2d};

use super::burn::{nchw, nhwc, over_channels};
use super::elementwise::activation;
use super::{Tensor, Weights};

pub(super) fn convolution<B: Backend>(
    conv: &Conv2d,
    x: &Tensor<B>,
    weights: &Weights<'_, B>,
) -> Tensor<B> {
    let size = |pair: [u32; 2]| pair.map(|value| value as usize);
    let [top, left, bottom, right] = conv.window.pads.map(|pad| pad as usize);
    let options = ConvOptions {
        stride: size(conv.window.stride),
        padding: [(top, bottom), (left, right)],
        dilation: size(conv.window.dilation),
        groups: conv.groups as usize,
    };
    let (x, weight) = (nchw::<B>(x.clone()), nchw::<B>(weights.weight.clone()));
    let y = Autodiff::<B>::conv2d(x, weight, weights.bias.cloned(), options);
    activation::<B>(conv.activation, nhwc::<B>(y))
}

pub(super) fn dense<B: Backend>(
    then: Activation,
    x: &Tensor<B>,
    weights: &Weights<'_, B>,
) -> Tensor<B> {
    let transposed = Autodiff::<B>::float_permute(weights.weight.clone(), &[1, 0]);
    let mut y = Autodiff::<B>::float_matmul(x.clone(), transposed);
    if let Some(bias) = weights.bias {
        y = Autodiff::<B>::float_add(y, over_channels::<B>(bias.clone(), 2));
    }
    activation::<B>(then, y)
}
