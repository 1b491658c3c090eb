//! Layers with weights: convolution, depthwise convolution, dense.

use burn_flex::{Flex, FlexTensor};
use embdl_core::op::{Activation, Conv2d};
use embdl_core::tensor::Shape;

use super::tape::{Saved, Tensor, record, values};
use crate::kernels::conv::Convolution;
use crate::kernels::dense::Sizes;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::pointwise;
use crate::operators::{Weights, shape_of};
use crate::storage::{elements, flat};

pub(super) fn convolution(
    conv: &Conv2d,
    x: &Tensor,
    weights: &Weights<'_, Flex>,
    output: Shape,
) -> Tensor {
    let input = shape_of(x);
    let kernel = if Depthwise::fits(conv, input, output) {
        Kernel::Depthwise(Depthwise::new(conv, input, output))
    } else {
        Kernel::Convolution(Convolution::new(conv, input, output))
    };
    weighted(kernel, conv.activation, x, weights, output)
}

pub(super) fn dense(activation: Activation, x: &Tensor, weights: &Weights<'_, Flex>) -> Tensor {
    let (input, weight) = (shape_of(x), shape_of(weights.weight));
    let sizes = Sizes { batch: input.dim(0), inputs: input.dim(1), outputs: weight.dim(0) };
    let output = Shape::matrix(sizes.batch, sizes.outputs);
    weighted(Kernel::Dense(sizes), activation, x, weights, output)
}

fn weighted(
    kernel: Kernel,
    activation: Activation,
    x: &Tensor,
    weights: &Weights<'_, Flex>,
    output: Shape,
) -> Tensor {
    let Weights { weight: w, bias } = weights;
    let y = kernel.forward(values(x), values(w), bias.map(values), activation);
    let columns = bias.map_or(1, |bias| values(bias).len());
    let saved = |y: &FlexTensor| SavedLayer {
        kernel,
        columns,
        x: x.primitive().clone(),
        w: w.primitive().clone(),
        y: (activation != Activation::None).then(|| y.clone()),
        activation,
    };
    match bias {
        Some(bias) => record([x, w, bias], y, output, saved),
        None => record([x, w], y, output, saved),
    }
}

/// The products of a layer with weights.
#[derive(Clone, Debug)]
enum Kernel {
    Dense(Sizes),
    Convolution(Convolution),
    Depthwise(Depthwise),
}

impl Kernel {
    fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, then: Activation) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.forward(x, w, bias, then),
            Self::Convolution(conv) => conv.forward(x, w, bias, then),
            Self::Depthwise(conv) => conv.forward(x, w, bias, then),
        }
    }

    fn input_gradient(&self, dy: &[f32], w: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.input_gradient(dy, w),
            Self::Convolution(conv) => conv.input_gradient(dy, w),
            Self::Depthwise(conv) => conv.input_gradient(dy, w),
        }
    }

    fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        match self {
            Self::Dense(sizes) => sizes.weight_gradient(x, dy),
            Self::Convolution(conv) => conv.weight_gradient(x, dy),
            Self::Depthwise(conv) => conv.weight_gradient(x, dy),
        }
    }
}

#[derive(Clone, Debug)]
struct SavedLayer {
    kernel: Kernel,
    columns: usize,
    x: FlexTensor,
    w: FlexTensor,
    /// The result, where an activation decides which gradients pass.
    y: Option<FlexTensor>,
    activation: Activation,
}

impl SavedLayer {
    /// The gradient of what the activation was applied to.
    fn before_activation(&self, mut dy: FlexTensor) -> FlexTensor {
        if let Some(y) = &self.y {
            pointwise::through_activation(elements(y), self.activation, dy.storage_mut());
        }
        dy
    }

    fn input_and_weight(&self, dy: &[f32], x: bool, w: bool) -> [Option<FlexTensor>; 2] {
        [
            x.then(|| flat(self.kernel.input_gradient(dy, elements(&self.w)))),
            w.then(|| flat(self.kernel.weight_gradient(elements(&self.x), dy))),
        ]
    }
}

impl Saved<2> for SavedLayer {
    fn gradients(self, dy: FlexTensor, [x, w]: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let dy = self.before_activation(dy);
        self.input_and_weight(elements(&dy), x, w)
    }
}

impl Saved<3> for SavedLayer {
    fn gradients(self, dy: FlexTensor, [x, w, bias]: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let dy = self.before_activation(dy);
        let dy = elements(&dy);
        let [x, w] = self.input_and_weight(dy, x, w);
        [x, w, bias.then(|| flat(pointwise::column_sums(dy, self.columns)))]
    }
}
