//! Our operators on Burn's tape: each records what its gradient needs, and Burn walks back through them.
//!
//! Tensors here are flat; shapes are the graph's. Burn supplies storage, the tape, and the sum of gradients where a
//! value is read more than once; our kernels supply the numbers.

use core::fmt::Debug;
use core::marker::PhantomData;

use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::DType;
use burn_flex::{Flex, FlexTensor, Layout};
use burn_std::{Bytes, Shape};

/// A differentiated tensor on the CPU.
pub(crate) type Tensor =
    <burn_autodiff::Autodiff<Flex> as burn_backend::BackendTypes>::FloatTensorPrimitive;

/// What an operator of `N` inputs saved for its gradient.
pub(crate) trait Saved<const N: usize>: Clone + Debug + Send + 'static {
    /// Gradients of the inputs that are wanted, given that of the result, which may be overwritten.
    fn gradients(self, result: &mut [f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N];
}

/// Flat storage for `values`, without a copy.
pub(crate) fn flat(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(vec![values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// A tensor without gradient.
pub(crate) fn constant(values: FlexTensor) -> Tensor {
    Tensor::new(values)
}

/// A tensor whose gradient is wanted.
pub(crate) fn leaf(values: FlexTensor) -> Tensor {
    Tensor::new(values).require_grad()
}

/// The elements.
pub(crate) fn values(tensor: &Tensor) -> &[f32] {
    tensor.primitive().storage()
}

/// Records an operator that computed `result` from `inputs`; `saved` is asked for only where a gradient is wanted.
pub(crate) fn record<const N: usize, T: Saved<N>>(
    inputs: [&Tensor; N],
    result: Vec<f32>,
    saved: impl FnOnce() -> T,
) -> Tensor {
    let step = Step::<N, T> { saved: PhantomData };
    let nodes = inputs.map(Tensor::node);
    match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved(), flat(result)),
        OpsKind::UnTracked(prepared) => prepared.finish(flat(result)),
    }
}

#[derive(Debug)]
struct Step<const N: usize, T> {
    saved: PhantomData<fn() -> T>,
}

impl<const N: usize, T: Saved<N>> Backward<Flex, N> for Step<N, T> {
    type State = T;

    fn backward(self, ops: Ops<T, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let mut result = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.gradients(result.storage_mut(), wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, flat(gradient));
            }
        }
    }
}
