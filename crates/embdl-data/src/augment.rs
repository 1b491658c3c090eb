//! Seeded distortion of training images: a function of (seed, epoch, index), whoever computes it and in whatever order.
//!
//! ```
//! use embdl_data::augment::{Augmentation, Augmenter};
//!
//! let shapes = embdl_data::synthetic::shapes(10, 1);
//! let augmenter = Augmenter::new(Augmentation::mnist(), 42)?;
//! let (mut whole, mut half) = (vec![0.0; 10 * 784], vec![0.0; 5 * 784]);
//! augmenter.fill_batch(&shapes, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &mut whole);
//! augmenter.fill_batch(&shapes, 3, &[5, 6, 7, 8, 9], &mut half);   // as another thread would
//! assert_eq!(whole[5 * 784..], half);
//! # Ok::<(), embdl_data::augment::AugmentationError>(())
//! ```

mod warp;

use serde::{Deserialize, Serialize};

use crate::Dataset;
use crate::batch::{check_len, normalize};
use crate::random::{Draws, Purpose};
use warp::{Affine, Frame};

/// What may happen to a training image. The default is nothing. What comes into the frame from outside is black (0).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Augmentation {
    /// Mirror left and right, every second image.
    pub mirror: bool,
    /// Shift by up to this many whole pixels, either way, in each direction.
    pub shift_px: u16,
    /// Turn by up to this angle, either way. Range: 0 to 180 degrees.
    pub rotate_degrees: f32,
    /// Scale by a factor in `1 - scale ..= 1 + scale`. Range: 0 to 0.9.
    pub scale: f32,
    /// Shear rows by up to this many pixels per row, either way. Range: 0 to 1.
    pub shear: f32,
    /// Side of a square set to the mean, its centre anywhere in the image; 0 for none. Source: DeVries and Taylor 2017,
    /// "Improved Regularization of Convolutional Neural Networks with Cutout", §3.
    pub cutout_px: u16,
    /// A rectangle of random bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
}

/// Random erasing. Source: Zhong et al. 2017, "Random Erasing Data Augmentation", algorithm 1; its aspect ratio is 0.3
/// to 1 / 0.3, as there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Share of images it happens to. Range: 0 to 1.
    pub probability: f32,
    /// Smallest area, as a share of the image. Range: above 0, at most `max_area`.
    pub min_area: f32,
    /// Largest area, as a share of the image. Range: at most 1.
    pub max_area: f32,
}

/// Why an augmentation makes no sense.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum AugmentationError {
    /// A value is outside its range, or not a number.
    #[error("augmentation {field} = {value} is not in {low}..={high}")]
    Range {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: f32,
        /// Smallest value allowed.
        low: f32,
        /// Largest value allowed.
        high: f32,
    },
}

impl Augmentation {
    /// For Fashion-MNIST: mirrored clothes are clothes; shift by up to 2.
    pub fn fashion() -> Self {
        Self { mirror: true, shift_px: 2, ..Self::default() }
    }

    /// For MNIST: shift by up to 2, turn by up to 10 degrees, scale by up to 10 %. Mirrored digits are not digits.
    pub fn mnist() -> Self {
        Self { shift_px: 2, rotate_degrees: 10.0, scale: 0.1, ..Self::default() }
    }

    /// For CIFAR: a crop of the image with 4 black pixels around it, which is a shift by up to 4, and mirroring.
    ///
    /// Source: He et al. 2016, "Deep Residual Learning for Image Recognition", §4.2.
    pub fn cifar() -> Self {
        Self { mirror: true, shift_px: 4, ..Self::default() }
    }

    /// The preset of a data set of the catalog; nothing for one without a preset.
    pub fn preset(dataset: &str) -> Self {
        match dataset {
            "fashion-mnist" => Self::fashion(),
            "mnist" => Self::mnist(),
            "cifar-10" | "cifar-100" => Self::cifar(),
            _ => Self::default(),
        }
    }

    /// Whether nothing happens to any image.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every field's range.
    ///
    /// # Errors
    /// [`AugmentationError::Range`] for the first that is outside.
    pub fn validate(&self) -> Result<(), AugmentationError> {
        check_range("rotate_degrees", self.rotate_degrees, 0.0, 180.0)?;
        check_range("scale", self.scale, 0.0, 0.9)?;
        check_range("shear", self.shear, 0.0, 1.0)?;
        if let Some(erase) = self.erase {
            check_range("erase.probability", erase.probability, 0.0, 1.0)?;
            check_range("erase.max_area", erase.max_area, f32::MIN_POSITIVE, 1.0)?;
            check_range("erase.min_area", erase.min_area, f32::MIN_POSITIVE, erase.max_area)?;
        }
        Ok(())
    }

    fn is_affine(&self) -> bool {
        self.rotate_degrees > 0.0 || self.scale > 0.0 || self.shear > 0.0
    }
}

fn check_range(
    field: &'static str,
    value: f32,
    low: f32,
    high: f32,
) -> Result<(), AugmentationError> {
    let inside = (low..=high).contains(&value);
    inside.then_some(()).ok_or(AugmentationError::Range { field, value, low, high })
}

/// A checked [`Augmentation`] with its seed.
#[derive(Clone, Debug)]
pub struct Augmenter {
    augmentation: Augmentation,
    seed: u64,
}

impl Augmenter {
    /// Checks the augmentation.
    ///
    /// # Errors
    /// [`AugmentationError::Range`].
    pub fn new(augmentation: Augmentation, seed: u64) -> Result<Self, AugmentationError> {
        augmentation.validate()?;
        Ok(Self { augmentation, seed })
    }

    /// What it does.
    pub fn augmentation(&self) -> &Augmentation {
        &self.augmentation
    }

    /// Writes the distorted, normalized images of `indices`, N·H·W·C. Threads may share a batch by cutting it in parts.
    ///
    /// # Panics
    /// If there is no such image, or `out` is not `indices.len() · image_len()` long.
    pub fn fill_batch(&self, dataset: &Dataset, epoch: u64, indices: &[usize], out: &mut [f32]) {
        if self.augmentation.is_none() {
            return dataset.fill_batch(indices, out);
        }
        let image_len = dataset.image_len();
        check_len(indices.len(), image_len, out.len());
        let table = dataset.normalization().table();
        let mut bytes = vec![0; image_len];
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(image_len)) {
            self.distort(dataset, epoch, index, &mut bytes);
            normalize(&table, &bytes, out);
        }
    }

    /// Writes the distorted raw image `index`, H·W·C.
    ///
    /// # Panics
    /// If there is no such image, or `out` is not `image_len()` long.
    pub fn distort(&self, dataset: &Dataset, epoch: u64, index: usize, out: &mut [u8]) {
        check_len(1, dataset.image_len(), out.len());
        let Augmentation { mirror, shift_px, rotate_degrees, scale, shear, cutout_px, erase } =
            self.augmentation;
        let [height, width, channels] = dataset.image_shape();
        let frame = Frame { height, width, channels };
        let image = dataset.image(index);
        let mut draws = Draws::new(Purpose::Augment, self.seed, epoch, index as u64);

        let mirror = mirror && draws.chance(0.5);
        let mut shift = || {
            let span = 2 * usize::from(shift_px) + 1;
            draws.below(span) as isize - isize::try_from(shift_px).unwrap_or(isize::MAX)
        };
        let (dy, dx) = (shift(), shift());
        if self.augmentation.is_affine() {
            let angle = draws.range(-rotate_degrees, rotate_degrees).to_radians();
            let factor = draws.range(1.0 - scale, 1.0 + scale);
            let shear = draws.range(-shear, shear);
            let affine = Affine { mirror, angle, factor, shear, dy, dx };
            warp::affine(frame, image, &affine, out);
        } else {
            warp::shift(frame, image, mirror, (dy, dx), out);
        }
        if cutout_px > 0 {
            cut_out(
                frame,
                usize::from(cutout_px),
                dataset.normalization().input_zero_point(),
                &mut draws,
                out,
            );
        }
        if let Some(erase) = erase {
            erase_rectangle(frame, erase, &mut draws, out);
        }
    }
}

fn cut_out(frame: Frame, side: usize, fill: u8, draws: &mut Draws, image: &mut [u8]) {
    let (y, x) = (draws.below(frame.height), draws.below(frame.width));
    // Centre anywhere, so that a part may lie outside: rows y - side/2 .. y - side/2 + side, cut off at the frame.
    let span = |centre: usize, limit: usize| {
        let end = (centre + side - side / 2).min(limit);
        centre.saturating_sub(side / 2)..end
    };
    let columns = span(x, frame.width);
    for y in span(y, frame.height) {
        frame.row_mut(image, y)[columns.start * frame.channels..columns.end * frame.channels]
            .fill(fill);
    }
}

/// Tries a few rectangles until one fits, as the paper does; an image none fits stays whole.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of an image are small and positive; a float cast saturates"
)]
fn erase_rectangle(frame: Frame, erase: Erase, draws: &mut Draws, image: &mut [u8]) {
    const ATTEMPTS: usize = 20;
    if !draws.chance(erase.probability) {
        return;
    }
    let whole = (frame.height * frame.width) as f32;
    for _ in 0..ATTEMPTS {
        let area = whole * draws.range(erase.min_area, erase.max_area);
        let aspect = draws.range(0.3, 1.0 / 0.3);
        let height = (area * aspect).sqrt().round().max(1.0) as usize;
        let width = (area / aspect).sqrt().round().max(1.0) as usize;
        if height <= frame.height && width <= frame.width {
            let top = draws.between(0, frame.height - height);
            let left = draws.between(0, frame.width - width);
            for y in top..top + height {
                let row = frame.row_mut(image, y);
                draws.fill(&mut row[left * frame.channels..(left + width) * frame.channels]);
            }
            return;
        }
    }
}
