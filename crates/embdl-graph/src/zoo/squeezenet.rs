//! SqueezeNet 1.0 and 1.1.

use embdl_core::op::{Activation, Concat, Conv2d, Op, Pool, PoolKind, Window};

use super::Options;
use crate::builder::GraphBuilder;
use crate::graph::{Graph, ValueId};
use crate::validate::GraphError;

/// SqueezeNet 1.0: a convolution of 7x7, eight fire modules, a convolution of 1x1. 1,248,424 parameters, 819 M MACs at
/// 224 pixels.
///
/// For small images the first convolution has 3x3 taps, stride 1 and pads of 1, pools are 2x2, and the last convolution
/// has no ReLU: trained from scratch, a class whose scores are all below zero would never learn again. Dropout is not
/// part of a graph.
///
/// Source: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size",
/// table 1; pools reach over the end (Caffe's and torchvision's ceil mode).
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn squeezenet_1_0(options: &Options) -> Result<Graph, GraphError> {
    let form = Form { name: "squeezenet-1.0", filters: 96, kernel: 7, pools: [1, 4, 8] };
    build(options, &form)
}

/// SqueezeNet 1.1: a smaller first convolution and earlier pools. 1,235,496 parameters, 349 M MACs at 224 pixels.
///
/// For small images as [`squeezenet_1_0`].
///
/// Source: the authors' repository, SqueezeNet v1.1: 2.4 times less computation than 1.0 and no loss of accuracy.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn squeezenet_1_1(options: &Options) -> Result<Graph, GraphError> {
    let form = Form { name: "squeezenet-1.1", filters: 64, kernel: 3, pools: [1, 3, 5] };
    build(options, &form)
}

struct Form {
    name: &'static str,
    /// Of the first convolution.
    filters: usize,
    kernel: u32,
    /// Numbers of the layers that a pool follows; the first convolution is layer 1, fire modules are 2 to 9.
    pools: [usize; 3],
}

/// Squeezed and expanded channels of fire modules 2 to 9; both expansions have as many.
const FIRES: [(usize, usize); 8] =
    [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)];

fn build(options: &Options, form: &Form) -> Result<Graph, GraphError> {
    let (mut b, image) = options.begin(form.name, 224);
    let small = options.is_small();
    let (first, pool) = if small {
        (Window::square(3, 1).padded(1), Window::square(2, 2))
    } else {
        (Window::square(form.kernel, 2), Window::square(3, 2))
    };
    let mut x = b.conv2d("conv1", image, options.channels(form.filters), conv(first))?;
    for layer in 1..=9 {
        if layer > 1 {
            let (squeeze, expand) = FIRES[layer - 2];
            let widths = (options.channels(squeeze), options.channels(expand));
            x = fire(&mut b, &format!("fire{layer}"), x, widths)?;
        }
        if form.pools.contains(&layer) {
            let pool = Op::Pool(Pool { kind: PoolKind::Max, window: pool, ceil: true });
            x = b.op(&format!("pool{layer}"), pool, &[x])?;
        }
    }
    let activation = if small { Activation::None } else { Activation::Relu };
    let last = Conv2d { activation, ..conv(Window::square(1, 1)) };
    x = b.conv2d("conv10", x, options.classes, last)?;
    x = b.op("pool10", Op::GlobalAveragePool, &[x])?;
    let logits = b.op("flatten", Op::Flatten, &[x])?;
    b.finish(&[logits])
}

/// A fire module: squeeze to few channels, expand them by 1x1 and by 3x3, join both.
fn fire(
    b: &mut GraphBuilder,
    name: &str,
    x: ValueId,
    (squeeze, expand): (usize, usize),
) -> Result<ValueId, GraphError> {
    let one = conv(Window::square(1, 1));
    let three = conv(Window::square(3, 1).padded(1));
    let x = b.conv2d(&format!("{name}.squeeze"), x, squeeze, one)?;
    let lhs = b.conv2d(&format!("{name}.expand1x1"), x, expand, one)?;
    let rhs = b.conv2d(&format!("{name}.expand3x3"), x, expand, three)?;
    b.op(&format!("{name}.concat"), Op::Concat(Concat { axis: 3 }), &[lhs, rhs])
}

const fn conv(window: Window) -> Conv2d {
    Conv2d { window, groups: 1, activation: Activation::Relu }
}
