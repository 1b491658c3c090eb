//! Labelled images in memory, as raw bytes, and the exact map from bytes to what a network sees.

/// Labelled images, N·H·W·C bytes. Consistent by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    name: String,
    images: Vec<u8>,
    labels: Vec<u8>,
    height: usize,
    width: usize,
    channels: usize,
    classes: Vec<String>,
    normalization: Normalization,
}

/// What a [`Dataset`] is made of.
#[derive(Clone, Debug)]
pub struct DatasetParts {
    /// Name in the catalog, or one of your own.
    pub name: String,
    /// Pixels, N·H·W·C.
    pub images: Vec<u8>,
    /// One class number per image.
    pub labels: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What the network sees of a byte.
    pub normalization: Normalization,
}

/// Why parts are not a data set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetError {
    /// An image without pixels, or a size beyond the address space.
    #[error("image size {height}x{width}x{channels} is empty or too large")]
    ImageSize {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// Images and labels do not match in number.
    #[error("{labels} labels for {image_bytes} bytes of images of {image_len} bytes each")]
    Length {
        /// Number of labels.
        labels: usize,
        /// Bytes of all images.
        image_bytes: usize,
        /// Bytes of one image.
        image_len: usize,
    },
    /// A label has no class.
    #[error("label {label} of image {index} has no class: there are {classes}")]
    Label {
        /// The image.
        index: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
}

impl Dataset {
    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn new(parts: DatasetParts) -> Result<Self, DatasetError> {
        let DatasetParts { name, images, labels, height, width, channels, classes, normalization } =
            parts;
        let image_len = height
            .checked_mul(width)
            .and_then(|area| area.checked_mul(channels))
            .filter(|&len| len > 0)
            .ok_or(DatasetError::ImageSize { height, width, channels })?;
        if labels.len().checked_mul(image_len) != Some(images.len()) {
            let (labels, image_bytes) = (labels.len(), images.len());
            return Err(DatasetError::Length { labels, image_bytes, image_len });
        }
        let wrong = labels.iter().position(|&label| usize::from(label) >= classes.len());
        if let Some(index) = wrong {
            let (label, classes) = (labels[index], classes.len());
            return Err(DatasetError::Label { index, label, classes });
        }
        Ok(Self { name, images, labels, height, width, channels, classes, normalization })
    }

    /// Name in the catalog.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows of an image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of an image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[height, width, channels]`.
    pub fn image_shape(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Bytes of one image, which is also the number of its elements.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// All raw pixels, N·H·W·C: what an integer network takes as it is.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// Raw pixels of one image, H·W·C.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.image_len()..][..self.image_len()]
    }

    /// All labels.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Label of one image.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// Names of the classes, in the order of the labels.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of classes.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// How many images each class has.
    pub fn class_histogram(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// What the network sees of a byte.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// A copy with only these images, in this order.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(indices.len() * self.image_len());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        Self {
            name: self.name.clone(),
            images,
            labels: self.batch_labels(indices).collect(),
            classes: self.classes.clone(),
            ..*self
        }
    }

    /// The same images with the classes in another order, which has all of their names once; otherwise nothing.
    #[must_use]
    pub fn with_class_order(&self, names: &[String]) -> Option<Self> {
        let place = |class: &String| names.iter().position(|name| name == class);
        let places: Vec<u8> = self
            .classes
            .iter()
            .map(|class| u8::try_from(place(class)?).ok())
            .collect::<Option<_>>()?;
        let mut seen = places.clone();
        seen.sort_unstable();
        seen.dedup();
        (seen.len() == names.len() && names.len() == self.classes.len()).then(|| Self {
            labels: self.labels.iter().map(|&label| places[usize::from(label)]).collect(),
            classes: names.to_vec(),
            ..self.clone()
        })
    }

    /// A copy with only the first `len` images, or all where there are fewer.
    #[must_use]
    pub fn head(&self, len: usize) -> Self {
        let len = len.min(self.len());
        Self {
            name: self.name.clone(),
            images: self.images[..len * self.image_len()].to_vec(),
            labels: self.labels[..len].to_vec(),
            classes: self.classes.clone(),
            ..*self
        }
    }
}

/// The map from a raw byte to a real number, `(byte / 255 - mean) / std`, where `mean · 255` is a whole number.
///
/// Being whole, it is the zero point of an integer network's input, and the network takes raw bytes with no rounding:
/// `real = (byte - zero_point) · scale` with `scale = 1 / (255 · std)`. One pair serves all channels, because an
/// activation is quantized per tensor.
///
/// ```
/// let fashion = embdl_data::Normalization::new(73, 0.3530)?;
/// assert_eq!(fashion.input_zero_point(), 73);
/// assert_eq!(fashion.real(73), 0.0);
/// assert_eq!(fashion.real(255), (255.0 - 73.0) * fashion.input_scale());
/// # Ok::<(), embdl_data::NormalizationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    zero_point: u8,
    std: f32,
}

/// Why a pair is not a normalization.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum NormalizationError {
    /// The standard deviation does not give a usable scale.
    #[error("standard deviation {std} is not a positive, normal number")]
    Std {
        /// The value.
        std: f32,
    },
}

impl Normalization {
    /// `zero_point` is the mean in units of 1/255, `std` the standard deviation in units of the full range.
    ///
    /// # Errors
    /// [`NormalizationError::Std`] unless `std` and the scale it gives are positive, normal numbers.
    pub fn new(zero_point: u8, std: f32) -> Result<Self, NormalizationError> {
        let this = Self { zero_point, std };
        let usable = std > 0.0 && std.is_normal() && this.input_scale().is_normal();
        usable.then_some(this).ok_or(NormalizationError::Std { std })
    }

    /// Mean that is taken away, in units of the full range.
    pub fn mean(self) -> f32 {
        f32::from(self.zero_point) / 255.0
    }

    /// Standard deviation that is divided by, in units of the full range.
    pub fn std(self) -> f32 {
        self.std
    }

    /// Scale of an integer network's input: `1 / (255 · std)`.
    pub fn input_scale(self) -> f32 {
        1.0 / (255.0 * self.std)
    }

    /// Zero point of an integer network's input: the byte that stands for 0.
    pub fn input_zero_point(self) -> u8 {
        self.zero_point
    }

    /// What the network sees of a byte: bit for bit the dequantization of that byte.
    pub fn real(self, byte: u8) -> f32 {
        (f32::from(byte) - f32::from(self.zero_point)) * self.input_scale()
    }

    /// [`Normalization::real`] of every byte.
    pub fn table(self) -> [f32; 256] {
        let mut table = [0.0; 256];
        for (real, byte) in table.iter_mut().zip(0..=u8::MAX) {
            *real = self.real(byte);
        }
        table
    }
}
