//! What the builders of the larger networks have in common.

use embdl_core::tensor::Shape;

use crate::builder::GraphBuilder;
use crate::graph::ValueId;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Seed of the initial weights; without one they are all zero, to be filled from a file.
    pub seed: Option<u64>,
    /// Photographs or small images.
    pub images: Images,
    /// Classes told apart, at least one.
    pub classes: usize,
    /// Factor on the channels of every layer but the last; 1 is the published network. Range: positive.
    pub width: f64,
    /// Height and width of the input; left out, those that the network was published for.
    pub resolution: Option<usize>,
}

/// The kind of images, which decides on strides and pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// ImageNet's photographs, 224 or 227 pixels a side.
    Photographs,
    /// CIFAR's images of 32 pixels a side: the same layers, with strides and pools reduced so that an image is not used
    /// up half way through. Each builder says how.
    Small,
}

impl Options {
    /// The published network for ImageNet's 1000 classes.
    #[must_use]
    pub const fn imagenet(seed: u64) -> Self {
        let images = Images::Photographs;
        Self { seed: Some(seed), images, classes: 1000, width: 1.0, resolution: None }
    }

    /// The form for small images of 10 or 100 classes.
    #[must_use]
    pub const fn cifar(classes: usize, seed: u64) -> Self {
        Self { images: Images::Small, classes, ..Self::imagenet(seed) }
    }

    /// The same with another width.
    #[must_use]
    pub const fn with_width(self, width: f64) -> Self {
        Self { width, ..self }
    }

    /// The same with another resolution.
    #[must_use]
    pub const fn with_resolution(self, pixels: usize) -> Self {
        Self { resolution: Some(pixels), ..self }
    }

    pub(super) fn is_small(&self) -> bool {
        self.images == Images::Small
    }

    /// A builder with a colour image of this resolution, or of `photograph` pixels, or of 32.
    pub(super) fn begin(&self, name: &str, photograph: usize) -> (GraphBuilder, ValueId) {
        let mut builder = match self.seed {
            Some(seed) => GraphBuilder::new(name, seed),
            None => GraphBuilder::zeroed(name),
        };
        let side = self.resolution.unwrap_or(if self.is_small() { 32 } else { photograph });
        let image = builder.input("image", Shape::nhwc(1, side, side, 3));
        (builder, image)
    }

    /// `channels` at this width, a multiple of 8; untouched at width 1.
    #[expect(clippy::float_cmp, reason = "exactly the published network")]
    #[expect(clippy::cast_precision_loss, reason = "a number of channels")]
    pub(super) fn channels(&self, channels: usize) -> usize {
        if self.width == 1.0 { channels } else { make_divisible(channels as f64 * self.width, 8) }
    }
}

/// `value` rounded to a multiple of `divisor`, at least one of them, and not below 90 % of `value`.
///
/// Source: Sandler et al. 2018, "MobileNetV2", in the authors' TensorFlow-Slim code.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
#[expect(clippy::cast_precision_loss, reason = "a number of channels")]
pub fn make_divisible(value: f64, divisor: usize) -> usize {
    let divisor = divisor.max(1);
    let nearest = ((value + divisor as f64 / 2.0) as usize / divisor * divisor).max(divisor);
    if (nearest as f64) < 0.9 * value { nearest + divisor } else { nearest }
}
