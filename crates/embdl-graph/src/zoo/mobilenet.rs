//! MobileNet v1 and v2.

use embdl_core::op::{Activation, Conv2d, Op, Window};

use super::{Options, make_divisible};
use crate::builder::GraphBuilder;
use crate::graph::{Graph, ValueId};
use crate::validate::GraphError;

/// MobileNet v1: a convolution, then 13 pairs of a depthwise and a pointwise convolution, batch normalization after
/// every one. 4,231,976 parameters, 569 M MACs at 224 pixels.
///
/// For small images the first convolution has stride 1.
///
/// Source: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
/// table 1; the stride of its last depthwise layer is 1, as in the authors' code.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn mobilenet_v1(options: &Options) -> Result<Graph, GraphError> {
    const PAIRS: [(usize, u32); 13] = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ];
    let (mut b, image) = options.begin("mobilenet-v1", 224);
    let stem = conv(3, if options.is_small() { 1 } else { 2 }, 1, Activation::Relu);
    let mut width = options.channels(32);
    let mut x = b.conv2d_norm("conv1", image, width, stem)?;
    for (at, (channels, stride)) in (2..).zip(PAIRS) {
        let depthwise = depthwise(width, stride, Activation::Relu);
        x = b.conv2d_norm(&format!("conv{at}.depthwise"), x, width, depthwise)?;
        width = options.channels(channels);
        let pointwise = conv(1, 1, 1, Activation::Relu);
        x = b.conv2d_norm(&format!("conv{at}.pointwise"), x, width, pointwise)?;
    }
    let logits = classifier(&mut b, x, options)?;
    b.finish(&[logits])
}

/// MobileNet v2: inverted residuals with linear bottlenecks. 3,504,872 parameters, 300 M MACs at 224 pixels.
///
/// The last convolution does not become narrower than 1280. For small images the first convolution and the first
/// residuals of 24 channels have stride 1.
///
/// Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.
///
/// # Errors
/// If the resolution leaves nothing to some layer.
pub fn mobilenet_v2(options: &Options) -> Result<Graph, GraphError> {
    /// Expansion, channels, blocks, stride of the first block.
    const STAGES: [(usize, usize, usize, u32); 7] = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    let (mut b, image) = options.begin("mobilenet-v2", 224);
    let small = options.is_small();
    let stem = conv(3, if small { 1 } else { 2 }, 1, Activation::Relu6);
    let mut width = options.channels(32);
    let mut x = b.conv2d_norm("conv1", image, width, stem)?;
    let mut at = 0;
    for (stage, (expansion, channels, blocks, stride)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            at += 1;
            let stride = if block == 0 && !(small && stage == 1) { stride } else { 1 };
            let residual = Residual {
                name: format!("block{at}"),
                from: width,
                hidden: width * expansion,
                to: options.channels(channels),
                stride,
            };
            x = residual.add(&mut b, x)?;
            width = residual.to;
        }
    }
    let last = make_divisible(1280.0 * options.width.max(1.0), 8);
    x = b.conv2d_norm("conv2", x, last, conv(1, 1, 1, Activation::Relu6))?;
    let logits = classifier(&mut b, x, options)?;
    b.finish(&[logits])
}

/// An inverted residual: expand, filter each channel, project; the input is added where shapes allow.
struct Residual {
    name: String,
    from: usize,
    hidden: usize,
    to: usize,
    stride: u32,
}

impl Residual {
    fn add(&self, b: &mut GraphBuilder, input: ValueId) -> Result<ValueId, GraphError> {
        let Self { name, from, hidden, to, stride } = self;
        let mut x = input;
        if hidden != from {
            let expand = conv(1, 1, 1, Activation::Relu6);
            x = b.conv2d_norm(&format!("{name}.expand"), x, *hidden, expand)?;
        }
        let filter = depthwise(*hidden, *stride, Activation::Relu6);
        x = b.conv2d_norm(&format!("{name}.depthwise"), x, *hidden, filter)?;
        x = b.conv2d_norm(&format!("{name}.project"), x, *to, conv(1, 1, 1, Activation::None))?;
        if *stride == 1 && from == to {
            x = b.op(&format!("{name}.add"), Op::Add(Activation::None), &[input, x])?;
        }
        Ok(x)
    }
}

fn conv(kernel: u32, stride: u32, groups: u32, activation: Activation) -> Conv2d {
    Conv2d { window: Window::square(kernel, stride).padded(kernel / 2), groups, activation }
}

fn depthwise(channels: usize, stride: u32, activation: Activation) -> Conv2d {
    let groups = u32::try_from(channels).expect("a number of channels");
    conv(3, stride, groups, activation)
}

/// The mean over the image and a dense layer.
fn classifier(b: &mut GraphBuilder, x: ValueId, options: &Options) -> Result<ValueId, GraphError> {
    let x = b.op("pool", Op::GlobalAveragePool, &[x])?;
    let x = b.op("flatten", Op::Flatten, &[x])?;
    b.dense("fc", x, options.classes, Activation::None)
}
