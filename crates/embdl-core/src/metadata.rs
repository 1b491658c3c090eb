//! What a file says about pictures and classes beside the network: how a picture becomes the input, and labels.

use alloc::string::String;
use alloc::vec::Vec;

use crate::tensor::Shape;

/// What is recorded beside a network. Nothing of it changes what the network computes.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Metadata {
    /// How a picture becomes the first input, `[1, h, w, channels]`.
    pub preprocess: Option<Preprocess>,
    /// Names of the indices of the first output's last dimension; as many as it is long, or none.
    pub labels: Vec<String>,
}

/// How a picture of bytes becomes the network's first input, whose height and width it is cropped to in the middle.
///
/// An element is `(byte * scale - mean[channel]) / std[channel]`, all in f32.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Preprocess {
    /// How the picture comes to the size of the crop.
    pub fit: Fit,
    /// How it is resampled on the way.
    pub filter: Filter,
    /// What the input's channels are.
    pub channels: Channels,
    /// What a byte is multiplied by, usually 1/255; positive.
    pub scale: f32,
    /// What is subtracted, one for each channel in the input's order.
    pub mean: Vec<f32>,
    /// What is divided by, one for each channel in the input's order; positive.
    pub std: Vec<f32>,
}

/// How a picture comes to the size of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fit {
    /// Cropped as it is; it must be large enough.
    Crop,
    /// Scaled until its shorter side has this many pixels, no fewer than the crop's longer side, and cropped.
    ShorterSide(u32),
    /// Stretched to the size of the input.
    Stretch,
}

/// How a picture is resampled. Each is widened by the factor of reduction, so that reducing does not alias; Pillow
/// calls them by the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Filter {
    /// The nearest pixel; the only one that is not widened.
    Nearest,
    /// A triangle of radius 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, of radius 2.
    Bicubic,
}

/// What the channels of an input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Channels {
    /// One: luma by ITU-R BT.601.
    Gray,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV and Caffe have them.
    Bgr,
}

/// Why preprocessing or labels do not fit a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Labels are more or fewer than classes.
    #[error("there are {labels} labels for {classes} classes")]
    Labels {
        /// How many labels there are.
        labels: usize,
        /// Length of the output's last dimension.
        classes: usize,
    },
    /// The first input is not a picture of these channels.
    #[error("the input {input} is no picture of {channels} channels")]
    Input {
        /// Shape of the first input.
        input: Shape,
        /// Channels of the preprocessing.
        channels: usize,
    },
    /// There is not one mean and one deviation for each channel.
    #[error("there are {mean} means and {std} deviations for {channels} channels")]
    Vectors {
        /// How many means there are.
        mean: usize,
        /// How many deviations there are.
        std: usize,
        /// Channels of the preprocessing.
        channels: usize,
    },
    /// A scale, mean or deviation is not finite, or one that must be positive is not.
    #[error("the {what} of the preprocessing is {value}")]
    Number {
        /// "scale", "mean", "deviation".
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// The picture is scaled to fewer pixels than are cropped from it, or to more than 16384.
    #[error("the shorter side is scaled to {side} pixels, it must be {at_least} to {at_most}")]
    Side {
        /// Pixels of the shorter side.
        side: u32,
        /// The longer side of the crop.
        at_least: usize,
        /// The largest that is allowed.
        at_most: u32,
    },
}

/// Pixels of the shorter side that a picture may be scaled to.
const MAX_SIDE: u32 = 1 << 14;

impl Channels {
    /// How many they are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb | Self::Bgr => 3,
        }
    }
}

impl Metadata {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.preprocess.is_none() && self.labels.is_empty()
    }

    /// Whether it fits a network whose first input and first output have these shapes.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, input: Shape, output: Shape) -> Result<(), MetadataError> {
        let (labels, classes) = (self.labels.len(), output.iter().last().unwrap_or(0));
        if labels != 0 && labels != classes {
            return Err(MetadataError::Labels { labels, classes });
        }
        self.preprocess.as_ref().map_or(Ok(()), |preprocess| preprocess.check(input))
    }
}

impl Preprocess {
    /// Whether it fits an input of this shape.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, input: Shape) -> Result<(), MetadataError> {
        let channels = self.channels.count();
        if input.rank() != 4 || input.dim(3) != channels {
            return Err(MetadataError::Input { input, channels });
        }
        let (mean, std) = (self.mean.len(), self.std.len());
        if mean != channels || std != channels {
            return Err(MetadataError::Vectors { mean, std, channels });
        }
        let is_positive = |value: f32| value.is_finite() && value > 0.0;
        let scale = (!is_positive(self.scale)).then_some(("scale", self.scale));
        let mean = self.mean.iter().find(|mean| !mean.is_finite()).map(|&mean| ("mean", mean));
        let std = self.std.iter().find(|std| !is_positive(**std)).map(|&std| ("deviation", std));
        if let Some((what, value)) = scale.or(mean).or(std) {
            return Err(MetadataError::Number { what, value });
        }
        let at_least = input.dim(1).max(input.dim(2));
        match self.fit {
            Fit::ShorterSide(side) if side > MAX_SIDE || (side as usize) < at_least => {
                Err(MetadataError::Side { side, at_least, at_most: MAX_SIDE })
            }
            _ => Ok(()),
        }
    }

    /// As the ImageNet weights of torchvision want it: RGB, shorter side 256, bilinear, mean and deviation of ImageNet.
    ///
    /// Source: torchvision's `ImageClassification` preset.
    #[must_use]
    pub fn imagenet() -> Self {
        Self {
            fit: Fit::ShorterSide(256),
            filter: Filter::Bilinear,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406].into(),
            std: [0.229, 0.224, 0.225].into(),
        }
    }

    /// As many of the Keras models want it: RGB, stretched, from -1 to 1.
    ///
    /// Source: `imagenet_utils.preprocess_input` of Keras, mode "tf".
    #[must_use]
    pub fn symmetric() -> Self {
        Self {
            fit: Fit::Stretch,
            filter: Filter::Bilinear,
            channels: Channels::Rgb,
            scale: 1.0 / 127.5,
            mean: [1.0; 3].into(),
            std: [1.0; 3].into(),
        }
    }

    /// As Caffe's models want it: BGR from 0 to 255 less the mean, shorter side 256.
    ///
    /// Source: mean of Simonyan and Zisserman 2014, "Very Deep Convolutional Networks", as in their model's description.
    #[must_use]
    pub fn caffe() -> Self {
        Self {
            fit: Fit::ShorterSide(256),
            filter: Filter::Bilinear,
            channels: Channels::Bgr,
            scale: 1.0,
            mean: [103.939, 116.779, 123.68].into(),
            std: [1.0; 3].into(),
        }
    }

    /// Bytes as reals from 0 to 1, stretched.
    #[must_use]
    pub fn unit(channels: Channels) -> Self {
        let count = channels.count();
        Self {
            fit: Fit::Stretch,
            filter: Filter::Bilinear,
            channels,
            scale: 1.0 / 255.0,
            mean: alloc::vec![0.0; count],
            std: alloc::vec![1.0; count],
        }
    }
}

impl core::fmt::Display for Preprocess {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let filter = match self.filter {
            Filter::Nearest => "nearest",
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "bicubic",
        };
        let channels = match self.channels {
            Channels::Gray => "gray",
            Channels::Rgb => "RGB",
            Channels::Bgr => "BGR",
        };
        match self.fit {
            Fit::Crop => write!(f, "crop")?,
            Fit::ShorterSide(pixels) => write!(f, "shorter side {pixels} ({filter}), crop")?,
            Fit::Stretch => write!(f, "stretch ({filter})")?,
        }
        let (scale, mean, std) = (self.scale, &self.mean, &self.std);
        write!(f, ", {channels}, (byte * {scale} - {mean:?}) / {std:?}")
    }
}
