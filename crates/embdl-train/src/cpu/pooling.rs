//! Max, average and global average pooling.

use burn_flex::FlexTensor;
use embdl_core::op::Pool;
use embdl_core::tensor::Shape;

use super::tape::{Saved, Tensor, record, values};
use crate::kernels::pool::{self, Pooling};
use crate::operators::shape_of;
use crate::storage::{elements, flat};

pub(super) fn pool(attributes: &Pool, x: &Tensor, output: Shape) -> Tensor {
    let pooling = Pooling::new(attributes, shape_of(x), output);
    let (y, winners) = pooling.forward(values(x));
    record([x], y, output, |_| SavedPool { pooling, winners })
}

#[derive(Clone, Debug)]
struct SavedPool {
    pooling: Pooling,
    winners: Vec<u32>,
}

impl Saved<1> for SavedPool {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(self.pooling.input_gradient(elements(&dy), &self.winners)))]
    }
}

pub(super) fn global_average(x: &Tensor) -> Tensor {
    let input = shape_of(x);
    let (pixels, channels) = (input.dim(1) * input.dim(2), input.dim(3));
    let y = pool::global_average(values(x), pixels, channels);
    let output = Shape::nhwc(input.dim(0), 1, 1, channels);
    record([x], y, output, |_| SavedMean { pixels, channels })
}

#[derive(Clone, Debug)]
struct SavedMean {
    pixels: usize,
    channels: usize,
}

impl Saved<1> for SavedMean {
    fn gradients(self, dy: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(flat(pool::global_average_gradient(elements(&dy), self.pixels, self.channels)))]
    }
}
