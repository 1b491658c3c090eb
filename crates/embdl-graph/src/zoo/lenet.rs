//! The two LeNets that Deep Compression reports.

use embdl_core::op::{Activation, Conv2d, Op, Window};
use embdl_core::tensor::Shape;

use crate::builder::GraphBuilder;
use crate::graph::Graph;
use crate::validate::GraphError;

/// LeNet-300-100: 784 inputs, two hidden layers of 300 and 100, ten classes. 266,610 parameters.
///
/// Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", §III.C.4, with ReLU for tanh
/// as in Han et al. 2015.
///
/// # Panics
/// Never: the shapes are constants that fit.
#[must_use]
pub fn lenet300(seed: u64) -> Graph {
    let build = || -> Result<Graph, GraphError> {
        let mut b = GraphBuilder::new("lenet-300-100", seed);
        let image = b.input("image", Shape::nhwc(1, 28, 28, 1));
        let pixels = b.op("flatten", Op::Flatten, &[image])?;
        let fc1 = b.dense("fc1", pixels, 300, Activation::Relu)?;
        let fc2 = b.dense("fc2", fc1, 100, Activation::Relu)?;
        let logits = b.dense("fc3", fc2, 10, Activation::None)?;
        b.finish(&[logits])
    };
    build().expect("constant shapes that fit")
}

/// LeNet-5 as Caffe has it: 20 and 50 filters of 5x5, each followed by 2x2 max pooling and no nonlinearity, then 500
/// and ten units. 431,080 parameters, 2,293,000 MACs.
///
/// Source: Caffe's `examples/mnist/lenet.prototxt`, the network that Han et al. 2015 compress.
///
/// # Panics
/// Never: the shapes are constants that fit.
#[must_use]
pub fn lenet5(seed: u64) -> Graph {
    let conv = Conv2d { window: Window::square(5, 1), groups: 1, activation: Activation::None };
    let build = || -> Result<Graph, GraphError> {
        let mut b = GraphBuilder::new("lenet-5", seed);
        let image = b.input("image", Shape::nhwc(1, 28, 28, 1));
        let conv1 = b.conv2d("conv1", image, 20, conv)?;
        let pool1 = b.max_pool("pool1", conv1, Window::square(2, 2))?;
        let conv2 = b.conv2d("conv2", pool1, 50, conv)?;
        let pool2 = b.max_pool("pool2", conv2, Window::square(2, 2))?;
        let features = b.op("flatten", Op::Flatten, &[pool2])?;
        let fc1 = b.dense("fc1", features, 500, Activation::Relu)?;
        let logits = b.dense("fc2", fc1, 10, Activation::None)?;
        b.finish(&[logits])
    };
    build().expect("constant shapes that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes() {
        let lenet300 = lenet300(1);
        assert_eq!((lenet300.param_count(), lenet300.fp32_bytes()), (266_610, 1_066_440));
        assert_eq!(lenet300.macs(), 266_200);
        let lenet5 = lenet5(1);
        assert_eq!((lenet5.param_count(), lenet5.fp32_bytes()), (431_080, 1_724_320));
        assert_eq!(lenet5.macs(), 2_293_000);
    }

    #[test]
    fn seeds_decide_the_weights() {
        assert_eq!(lenet5(7), lenet5(7));
        assert_ne!(lenet5(7).params[0].values(), lenet5(8).params[0].values());
    }

    #[test]
    fn dump_reads_well() {
        insta::assert_snapshot!(lenet5(1).to_string(), @r"
        lenet-5 (431080 parameters, 2293000 MACs)
          input image [1x28x28x1]
          conv1 = conv2d(image) [1x24x24x20], weight [20x5x5x1]
          pool1 = max-pool(conv1) [1x12x12x20]
          conv2 = conv2d(pool1) [1x8x8x50], weight [50x5x5x20]
          pool2 = max-pool(conv2) [1x4x4x50]
          flatten = flatten(pool2) [1x800]
          fc1 = dense(flatten) [1x500] then Relu, weight [500x800]
          fc2 = dense(fc1) [1x10], weight [10x500]
          output fc2
        ");
    }
}
