//! Pooling by Burn's operations.

use burn_autodiff::Autodiff;
use burn_backend::ops::{ConvOptions, FloatTensorOps, ModuleOps};
use burn_backend::{Backend, BackendTypes, TensorData, TensorMetadata};
use embdl_core::op::{Pool, PoolKind};
use embdl_core::tensor::Shape;

use super::Tensor;
use super::burn::{constant, dims, nchw, nhwc, pad, shape_of};
use crate::kernels::pool::Taps;

pub(super) fn pool<B: Backend>(
    pool: &Pool,
    x: &Tensor<B>,
    output: Shape,
    device: &<B as BackendTypes>::Device,
) -> Tensor<B> {
    let size = |pair: [u32; 2]| pair.map(|value| value as usize);
    let window = &pool.window;
    let (kernel, stride, dilation) =
        (size(window.kernel), size(window.stride), size(window.dilation));
    let input = shape_of(x);
    // Burn pads alike on both sides and counts what hangs over in its own way, so pads are made here, as far as windows
    // reach.
    let sides = |axis: usize| {
        let before = window.pads[axis] as usize;
        let reached =
            (output.dim(axis + 1) - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
        (before, reached.saturating_sub(before + input.dim(axis + 1)))
    };
    let sides = [sides(0), sides(1)];
    let y = match pool.kind {
        PoolKind::Max => {
            let x = nchw::<B>(pad::<B>(x.clone(), sides, f32::MIN));
            nhwc::<B>(Autodiff::<B>::max_pool2d(x, kernel, stride, [0; 2], dilation, false))
        }
        PoolKind::Average { include_pads } => {
            let x = nchw::<B>(pad::<B>(x.clone(), sides, 0.0));
            let channels = input.dim(3);
            let ones = vec![1.0_f32; channels * kernel[0] * kernel[1]];
            let ones = TensorData::new(ones, [channels, 1, kernel[0], kernel[1]]);
            let ones = constant::<B>(B::float_from_data(ones, device));
            let options = ConvOptions { stride, padding: [(0, 0); 2], dilation, groups: channels };
            let sums = nhwc::<B>(Autodiff::<B>::conv2d(x, ones, None, options));
            let shares = Taps::new(window, input, output).shares(include_pads);
            let shape = Shape::nhwc(1, output.dim(1), output.dim(2), 1);
            let shares =
                constant::<B>(B::float_from_data(TensorData::new(shares, dims(shape)), device));
            Autodiff::<B>::float_mul(sums, shares)
        }
    };
    debug_assert_eq!(y.shape(), dims(output), "pooling of {input}");
    y
}

pub(super) fn global_average<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let rows = Autodiff::<B>::float_mean_dim(x.clone(), 1);
    Autodiff::<B>::float_mean_dim(rows, 2)
}
