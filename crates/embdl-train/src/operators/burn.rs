//! Shapes, scalars and a few compositions that all default operators share.

use burn_autodiff::Autodiff;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Backend, BackendTypes, TensorMetadata, get_or_init_device_settings};
use burn_std::{BoolDType, PadMode, Scalar, Shape as BurnShape, Slice};
use embdl_core::tensor::Shape;

use super::{Primitive, Tensor};

/// The same shape in Burn's terms.
pub(crate) fn dims(shape: Shape) -> BurnShape {
    BurnShape::from(shape.iter().collect::<Vec<_>>())
}

/// The shape of a tensor.
pub(crate) fn shape_of(tensor: &impl TensorMetadata) -> Shape {
    let shape = tensor.shape();
    Shape::new(&shape.iter().copied().collect::<Vec<_>>())
        .expect("tensors have the shapes of a graph's values")
}

/// A tensor without gradient.
pub(crate) fn constant<B: Backend>(primitive: Primitive<B>) -> Tensor<B> {
    Tensor::<B>::new(primitive)
}

/// A tensor whose gradient is wanted.
pub(crate) fn leaf<B: Backend>(primitive: Primitive<B>) -> Tensor<B> {
    Tensor::<B>::new(primitive).require_grad()
}

/// The sum over all products of elements.
pub(super) fn sum_of_products<B: Backend>(lhs: Tensor<B>, rhs: Tensor<B>) -> Tensor<B> {
    Autodiff::<B>::float_sum(Autodiff::<B>::float_mul(lhs, rhs))
}

/// How the device of a tensor stores truth values.
pub(super) fn bool_type<B: Backend>(device: &<B as BackendTypes>::Device) -> BoolDType {
    get_or_init_device_settings::<B>(device).bool_dtype
}

/// `min(max(x, low), high)`; gradients stop at the bounds. Infinite bounds cost nothing.
pub(super) fn clamp<B: Backend>(x: Tensor<B>, low: f32, high: f32) -> Tensor<B> {
    let mut y = x;
    let bools = bool_type::<B>(&y.device());
    if low > f32::NEG_INFINITY {
        let mask = Autodiff::<B>::float_lower_equal_elem(y.clone(), low.into(), bools);
        y = Autodiff::<B>::float_mask_fill(y, mask, low.into());
    }
    if high < f32::INFINITY {
        let mask = Autodiff::<B>::float_greater_equal_elem(y.clone(), high.into(), bools);
        y = Autodiff::<B>::float_mask_fill(y, mask, high.into());
    }
    y
}

/// `otherwise` where `x` is negative, else `x`.
pub(super) fn where_negative<B: Backend>(x: Tensor<B>, otherwise: Tensor<B>) -> Tensor<B> {
    let bools = bool_type::<B>(&x.device());
    let mask = Autodiff::<B>::float_lower_elem(x.clone(), 0.0_f32.into(), bools);
    Autodiff::<B>::float_mask_where(x, mask, otherwise)
}

/// 1 where `x` equals `y`, else 0.
pub(super) fn indicator<B: Backend>(x: Primitive<B>, y: Primitive<B>) -> Primitive<B> {
    let (bools, float) = (bool_type::<B>(&x.device()), x.dtype().into());
    B::bool_into_float(B::float_equal(x, y, bools), float)
}

/// `[c]` as a factor of the last axis of a tensor of `rank`.
pub(super) fn over_channels<B: Backend>(x: Tensor<B>, rank: usize) -> Tensor<B> {
    let mut shape = vec![1; rank];
    shape[rank - 1] = x.shape().num_elements();
    Autodiff::<B>::float_reshape(x, BurnShape::from(shape))
}

/// `value` around height and width, `(before, after)` each.
pub(super) fn pad<B: Backend>(
    x: Tensor<B>,
    [rows, columns]: [(usize, usize); 2],
    value: f32,
) -> Tensor<B> {
    if rows == (0, 0) && columns == (0, 0) {
        return x;
    }
    Autodiff::<B>::float_pad(x, &[(0, 0), rows, columns, (0, 0)], PadMode::Constant(value))
}

/// Elements `first .. first + len` of `axis`.
pub(super) fn slice<B: Backend>(x: Tensor<B>, axis: usize, first: usize, len: usize) -> Tensor<B> {
    let shape = x.shape();
    let slices: Vec<Slice> =
        (0..shape.num_dims())
            .map(|at| {
                if at == axis { Slice::from(first..first + len) } else { Slice::from(0..shape[at]) }
            })
            .collect();
    Autodiff::<B>::float_slice(x, &slices)
}

pub(super) fn nchw<B: Backend>(x: Tensor<B>) -> Tensor<B> {
    Autodiff::<B>::float_permute(x, &[0, 3, 1, 2])
}

pub(super) fn nhwc<B: Backend>(x: Tensor<B>) -> Tensor<B> {
    Autodiff::<B>::float_permute(x, &[0, 2, 3, 1])
}

/// A factor for every element.
pub(super) fn scaled<B: Backend>(x: Tensor<B>, factor: f32) -> Tensor<B> {
    Autodiff::<B>::float_mul_scalar(x, Scalar::from(factor))
}

/// A term for every element.
pub(super) fn plus<B: Backend>(x: Tensor<B>, term: f32) -> Tensor<B> {
    Autodiff::<B>::float_add_scalar(x, Scalar::from(term))
}
