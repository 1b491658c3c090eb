//! A picture in memory: RGB bytes, and the size it may have.

#[cfg(feature = "pictures")]
mod decode;
mod resample;

use embdl_core::metadata::Filter;

/// A picture: rows of red, green and blue bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What a picture file may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of the file.
    pub max_file_bytes: u64,
    /// Pixels of width and of height.
    pub max_side: usize,
    /// Pixels in all; decoding takes up to 8 bytes for each, and twice that where the picture must be turned.
    pub max_pixels: usize,
}

impl Default for ImageLimits {
    /// 64 MiB of file, 64 million pixels: any camera's photograph.
    fn default() -> Self {
        Self { max_file_bytes: 64 << 20, max_side: 1 << 15, max_pixels: 1 << 26 }
    }
}

/// Why a picture cannot be read or prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than the limits allow.
    #[error("the file is larger than the {allowed} bytes that are allowed")]
    FileTooLarge {
        /// How many bytes are allowed.
        allowed: u64,
    },
    /// The picture is larger than the limits allow, or empty.
    #[error(
        "a picture of {width}x{height} pixels; allowed are 1 to {max_side} a side, {max_pixels} in all"
    )]
    Size {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Pixels of a side that are allowed.
        max_side: usize,
        /// Pixels in all that are allowed.
        max_pixels: usize,
    },
    /// The bytes are not as many as the pixels need.
    #[error("{found} bytes for {width}x{height} pixels of three")]
    Length {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The file is neither JPEG nor PNG.
    #[error("neither JPEG nor PNG: starts with {start:02x?}")]
    UnknownFormat {
        /// The first bytes.
        start: Vec<u8>,
    },
    /// The file is damaged or of a kind that the decoder lacks.
    #[cfg(feature = "pictures")]
    #[error("does not decode: {0}")]
    Decode(#[from] ::image::ImageError),
    /// The picture is smaller than what is to be cropped from it.
    #[error("{width}x{height} pixels, of which {crop_width}x{crop_height} should be cropped")]
    TooSmall {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Columns of the crop.
        crop_width: usize,
        /// Rows of the crop.
        crop_height: usize,
    },
}

impl Image {
    /// A picture of rows of red, green and blue bytes.
    ///
    /// # Errors
    /// If it is empty or `pixels` are not three bytes for each.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, ImageError> {
        let expected = width.checked_mul(height).and_then(|count| count.checked_mul(3));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(ImageError::Length { width, height, found: pixels.len() });
        }
        Ok(Self { width, height, pixels })
    }

    /// Columns.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Rows of red, green and blue bytes.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The picture scaled to `width` by `height`, of which only the part `crop` is computed.
    ///
    /// # Errors
    /// If the crop is empty or not inside.
    pub fn resize(
        &self,
        [width, height]: [usize; 2],
        crop: Rect,
        filter: Filter,
    ) -> Result<Self, ImageError> {
        let is_inside = |first: usize, count: usize, all: usize| {
            count > 0 && first.checked_add(count).is_some_and(|end| end <= all)
        };
        if !is_inside(crop.left, crop.width, width) || !is_inside(crop.top, crop.height, height) {
            let (crop_width, crop_height) = (crop.width, crop.height);
            return Err(ImageError::TooSmall { width, height, crop_width, crop_height });
        }
        Ok(resample::resize(self, [width, height], crop, filter))
    }
}

impl core::fmt::Debug for Image {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Image").field("width", &self.width).field("height", &self.height).finish()
    }
}
