//! Local response normalization, softmax, batch normalization.

use burn_flex::{Flex, FlexTensor};
use embdl_core::op::Lrn;

use super::tape::{Saved, Tensor, record, values};
use crate::kernels::batch_norm::{self, Channels};
use crate::kernels::norm;
use crate::operators::{Norm, Statistics, estimate, shape_of};
use crate::storage::{elements, flat};

pub(super) fn lrn(lrn: &Lrn, x: &Tensor) -> Tensor {
    let shape = shape_of(x);
    let channels = shape.dim(shape.rank() - 1);
    let y = norm::lrn(lrn, values(x), channels);
    record([x], y, shape, |_| SavedLrn { lrn: *lrn, channels, x: x.primitive().clone() })
}

#[derive(Clone, Debug)]
struct SavedLrn {
    lrn: Lrn,
    channels: usize,
    x: FlexTensor,
}

impl Saved<1> for SavedLrn {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let x = elements(&self.x);
        [Some(flat(norm::lrn_gradient(&self.lrn, x, self.channels, elements(&dy))))]
    }
}

pub(super) fn softmax(x: &Tensor) -> Tensor {
    let shape = shape_of(x);
    let channels = shape.dim(shape.rank() - 1);
    let y = norm::softmax(values(x), channels);
    record([x], y, shape, |y| SavedSoftmax { channels, y: y.clone() })
}

#[derive(Clone, Debug)]
struct SavedSoftmax {
    channels: usize,
    y: FlexTensor,
}

impl Saved<1> for SavedSoftmax {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(norm::softmax_gradient(elements(&self.y), self.channels, elements(&dy))))]
    }
}

pub(super) fn batch_norm(norm: &Norm<'_, Flex>, x: &Tensor) -> (Tensor, Option<Statistics>) {
    let weight = values(norm.weight);
    let (is_of_batch, statistics) = match &norm.running {
        Some(running) => (false, running.clone()),
        None => (true, batch_norm::statistics(values(x), weight.len())),
    };
    let channels = Channels::new(&statistics, weight, norm.norm.epsilon);
    let y = batch_norm::normalize(values(x), &channels, values(norm.bias));
    let count = values(x).len() / weight.len();
    let found = is_of_batch.then(|| Statistics {
        variance: statistics.variance.iter().map(|v| v * estimate(count)).collect(),
        mean: statistics.mean,
    });
    let saved = |_: &FlexTensor| SavedNorm { channels, x: x.primitive().clone(), is_of_batch };
    (record([x, norm.weight, norm.bias], y, shape_of(x), saved), found)
}

#[derive(Clone, Debug)]
struct SavedNorm {
    channels: Channels,
    x: FlexTensor,
    is_of_batch: bool,
}

impl Saved<3> for SavedNorm {
    fn gradients(self, dy: FlexTensor, [x, weight, bias]: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let (values, dy) = (elements(&self.x), elements(&dy));
        let sums = batch_norm::gradient_sums(values, dy, &self.channels);
        let dx = x.then(|| {
            let through = self.is_of_batch.then_some(&sums);
            flat(batch_norm::input_gradient(values, dy, &self.channels, through))
        });
        [dx, weight.then(|| flat(sums.weight)), bias.then(|| flat(sums.bias))]
    }
}
