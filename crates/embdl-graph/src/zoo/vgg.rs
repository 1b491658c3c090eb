//! VGG-16, with and without batch normalization.

use embdl_core::op::{Activation, Conv2d, Op, Window};

use super::Options;
use crate::graph::Graph;
use crate::validate::GraphError;

/// Filters of each block; a 2x2 pool ends it.
const BLOCKS: [&[usize]; 5] =
    [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

/// VGG-16, configuration D: 138,357,544 parameters, 15.5 G MACs at 224 pixels.
///
/// For small images the convolutions and pools stay, and one hidden layer of 512 stands for the two of 4096: 15.0 M
/// parameters and 313 M MACs with ten classes, as in Li et al. 2017, "Pruning Filters for Efficient ConvNets", table 1.
/// Dropout is not part of a graph.
///
/// Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", table 1.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn vgg16(options: &Options) -> Result<Graph, GraphError> {
    build(options, "vgg-16", false)
}

/// VGG-16 with batch normalization after every convolution, as torchvision's `vgg16_bn`: 138,365,992 parameters.
///
/// Source: [`vgg16`], and Ioffe and Szegedy 2015, "Batch Normalization".
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn vgg16_bn(options: &Options) -> Result<Graph, GraphError> {
    build(options, "vgg-16-bn", true)
}

fn build(options: &Options, name: &str, has_norm: bool) -> Result<Graph, GraphError> {
    let (mut b, mut x) = options.begin(name, 224);
    let activation = if has_norm { Activation::None } else { Activation::Relu };
    let conv = Conv2d { window: Window::square(3, 1).padded(1), groups: 1, activation };
    for (block, filters) in (1..).zip(BLOCKS) {
        for (at, &filters) in (1..).zip(filters) {
            let name = format!("conv{block}_{at}");
            x = b.conv2d(&name, x, options.channels(filters), conv)?;
            if has_norm {
                x = b.batch_norm(&format!("{name}.norm"), x, 1e-5)?;
                x = b.op(&format!("{name}.relu"), Op::Activation(Activation::Relu), &[x])?;
            }
        }
        x = b.max_pool(&format!("pool{block}"), x, Window::square(2, 2))?;
    }
    x = b.op("flatten", Op::Flatten, &[x])?;
    let hidden: &[usize] = if options.is_small() { &[512] } else { &[4096, 4096] };
    for (at, &units) in (6..).zip(hidden) {
        x = b.dense(&format!("fc{at}"), x, options.channels(units), Activation::Relu)?;
    }
    let logits = b.dense("fc8", x, options.classes, Activation::None)?;
    b.finish(&[logits])
}
