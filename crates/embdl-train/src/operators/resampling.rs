//! Resizing by Burn's operations: one axis after the other, each a weighted sum of selected neighbours.

use burn_autodiff::Autodiff;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Backend, BackendTypes, TensorData};
use burn_std::Shape as BurnShape;
use embdl_core::op::Resize;

use super::Tensor;
use super::burn::{constant, shape_of};
use crate::kernels::resize::{Neighbours, neighbours};

pub(super) fn resize<B: Backend>(
    resize: &Resize,
    x: &Tensor<B>,
    device: &<B as BackendTypes>::Device,
) -> Tensor<B> {
    let input = shape_of(x);
    let mut y = x.clone();
    for (axis, len) in [(1, resize.height), (2, resize.width)] {
        let along = neighbours(resize, input.dim(axis), len);
        y = weighted::<B>(&y, axis, &along, device);
    }
    y
}

fn weighted<B: Backend>(
    x: &Tensor<B>,
    axis: usize,
    along: &[Neighbours],
    device: &<B as BackendTypes>::Device,
) -> Tensor<B> {
    let side = |index: fn(&Neighbours) -> usize, weight: fn(&Neighbours) -> f32| {
        let indices: Vec<i64> = along
            .iter()
            .map(|at| i64::try_from(index(at)).expect("axes have at most 65,536 elements"))
            .collect();
        let indices = B::int_from_data(TensorData::new(indices, [along.len()]), device);
        let chosen = Autodiff::<B>::float_select(x.clone(), axis, indices);
        let mut shape = vec![1; 4];
        shape[axis] = along.len();
        let weights = TensorData::new(along.iter().map(weight).collect(), BurnShape::from(shape));
        Autodiff::<B>::float_mul(chosen, constant::<B>(B::float_from_data(weights, device)))
    };
    let low = side(|at| at.low, |at| 1.0 - at.share);
    if along.iter().all(|at| at.share == 0.0) {
        return low;
    }
    Autodiff::<B>::float_add(low, side(|at| at.high, |at| at.share))
}
