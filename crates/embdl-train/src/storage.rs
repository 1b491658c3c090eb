//! Values on the host: flat f32 storage that tensors, slots and the tape share without copies.

use burn_backend::DType;
use burn_flex::{FlexTensor, Layout};
use burn_std::{Bytes, Shape as BurnShape};

/// Flat storage for `values`, without a copy.
pub(crate) fn flat(values: Vec<f32>) -> FlexTensor {
    let shape = BurnShape::from(vec![values.len()]);
    shaped(values, shape)
}

/// Storage for `values` in row-major order, without a copy.
pub(crate) fn shaped(values: Vec<f32>, shape: BurnShape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// The elements, row-major.
pub(crate) fn elements(tensor: &FlexTensor) -> &[f32] {
    debug_assert!(tensor.is_contiguous(), "tensors on the CPU are in row-major order");
    tensor.storage()
}
