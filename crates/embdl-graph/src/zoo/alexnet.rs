//! AlexNet, in Caffe's form with two groups and in the form with a single tower.

use embdl_core::op::{Activation, Conv2d, Lrn, Op, Window};

use super::Options;
use crate::builder::GraphBuilder;
use crate::graph::{Graph, ValueId};
use crate::validate::GraphError;

/// AlexNet as Caffe has it: 227 pixels, two groups in the second, fourth and fifth convolution, and local response
/// normalization (size 5, alpha 1e-4, beta 0.75, k 1) before the first two pools. 60,965,224 parameters, 724 M MACs.
///
/// For small images the first convolution has 3x3 taps, stride 2 and pads of 1, and pools are 2x2.
/// Dropout is not part of a graph.
///
/// Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks"; Caffe's
/// `models/bvlc_alexnet/deploy.prototxt`, the network that Han et al. 2015 compress.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn alexnet_caffe(options: &Options) -> Result<Graph, GraphError> {
    build(options, &CAFFE)
}

/// AlexNet as torchvision has it: 224 pixels, one tower, no normalization. 61,100,840 parameters, 714 M MACs.
///
/// For small images as [`alexnet_caffe`].
///
/// Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"; torchvision's `alexnet`.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn alexnet(options: &Options) -> Result<Graph, GraphError> {
    build(options, &SINGLE_TOWER)
}

struct Form {
    name: &'static str,
    resolution: usize,
    filters: [usize; 5],
    /// Of the first convolution.
    pad: u32,
    /// Of convolutions 2, 4 and 5.
    groups: u32,
    lrn: Option<Lrn>,
}

const CAFFE: Form = Form {
    name: "alexnet-caffe",
    resolution: 227,
    filters: [96, 256, 384, 384, 256],
    pad: 0,
    groups: 2,
    lrn: Some(Lrn { size: 5, alpha: 1e-4, beta: 0.75, bias: 1.0 }),
};

const SINGLE_TOWER: Form = Form {
    name: "alexnet",
    resolution: 224,
    filters: [64, 192, 384, 256, 256],
    pad: 2,
    groups: 1,
    lrn: None,
};

fn build(options: &Options, form: &Form) -> Result<Graph, GraphError> {
    let (mut b, image) = options.begin(form.name, form.resolution);
    let small = options.is_small();
    let pool = if small { Window::square(2, 2) } else { Window::square(3, 2) };
    let first =
        if small { Window::square(3, 2).padded(1) } else { Window::square(11, 4).padded(form.pad) };
    let second =
        if small { Window::square(3, 1).padded(1) } else { Window::square(5, 1).padded(2) };
    let same = Window::square(3, 1).padded(1);
    let layers =
        [(first, 1), (second, form.groups), (same, 1), (same, form.groups), (same, form.groups)];

    let mut x = image;
    for (at, (window, groups)) in layers.into_iter().enumerate() {
        let conv = Conv2d { window, groups, activation: Activation::Relu };
        x = b.conv2d(&format!("conv{}", at + 1), x, options.channels(form.filters[at]), conv)?;
        if let (0 | 1, Some(lrn)) = (at, form.lrn) {
            x = b.op(&format!("norm{}", at + 1), Op::Lrn(lrn), &[x])?;
        }
        if let 0 | 1 | 4 = at {
            x = b.max_pool(&format!("pool{}", at + 1), x, pool)?;
        }
    }
    let logits = classifier(&mut b, x, options)?;
    b.finish(&[logits])
}

/// Two hidden layers of 4096 and the classes, called as Caffe calls them.
fn classifier(b: &mut GraphBuilder, x: ValueId, options: &Options) -> Result<ValueId, GraphError> {
    let x = b.op("flatten", Op::Flatten, &[x])?;
    let x = b.dense("fc6", x, options.channels(4096), Activation::Relu)?;
    let x = b.dense("fc7", x, options.channels(4096), Activation::Relu)?;
    b.dense("fc8", x, options.classes, Activation::None)
}
