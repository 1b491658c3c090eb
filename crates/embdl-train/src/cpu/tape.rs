//! Our operators on Burn's tape: each records what its gradient needs, and Burn walks back through them.
//!
//! Burn supplies storage, the tape, and the sum of gradients where a value is read more than once; our kernels supply the
//! numbers.

use core::fmt::Debug;
use core::marker::PhantomData;

use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::TensorMetadata;
use burn_flex::{Flex, FlexTensor};
use burn_std::Shape as BurnShape;
use embdl_core::tensor::Shape;

use crate::operators::{self, dims};
use crate::storage::{elements, shaped};

/// A tensor on the CPU, on the tape.
pub(crate) type Tensor = operators::Tensor<Flex>;

/// What an operator of `N` inputs saved for its gradient.
pub(crate) trait Saved<const N: usize>: Clone + Debug + Send + 'static {
    /// Gradients of the inputs that are wanted, row-major in any shape, given that of the result, which may be
    /// overwritten and passed on.
    fn gradients(self, result: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// The elements.
pub(crate) fn values(tensor: &Tensor) -> &[f32] {
    elements(tensor.primitive())
}

/// Records an operator that computed `result` from `inputs`; `saved` is asked for only where a gradient is wanted, and may
/// keep the result.
pub(crate) fn record<const N: usize, T: Saved<N>>(
    inputs: [&Tensor; N],
    result: Vec<f32>,
    shape: Shape,
    saved: impl FnOnce(&FlexTensor) -> T,
) -> Tensor {
    let step = Step::<N, T> { saved: PhantomData };
    let nodes = inputs.map(Tensor::node);
    let result = shaped(result, dims(shape));
    match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let state = (saved(&result), inputs.map(|input| input.shape()));
            prepared.finish(state, result)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    }
}

#[derive(Debug)]
struct Step<const N: usize, T> {
    saved: PhantomData<fn() -> T>,
}

impl<const N: usize, T: Saved<N>> Backward<Flex, N> for Step<N, T> {
    type State = (T, [BurnShape; N]);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let result = gradients.consume::<Flex>(&ops.node);
        let result = if result.is_contiguous() { result } else { result.to_contiguous() };
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let (saved, shapes) = ops.state;
        let found = saved.gradients(result, wanted);
        for ((parent, gradient), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient.reshape(shape));
            }
        }
    }
}
