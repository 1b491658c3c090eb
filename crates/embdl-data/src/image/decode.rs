//! JPEG and PNG files into pictures, upright, within limits.

use std::io::{Cursor, Read};
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::{Image, ImageError, ImageLimits};

impl Image {
    /// Reads a JPEG or PNG file.
    ///
    /// # Errors
    /// If it cannot be read, is neither, is damaged, or exceeds the limits.
    pub fn open(path: &Path, limits: &ImageLimits) -> Result<Self, ImageError> {
        Self::decode(&read_limited(path, limits)?, limits)
    }

    /// Decodes a JPEG or PNG file and turns it as its EXIF orientation says. Transparency is dropped, gray becomes
    /// RGB, 16 bits become 8.
    ///
    /// # Errors
    /// If it is neither, is damaged, or exceeds the limits.
    pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        let format = match bytes {
            [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
            [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
            _ => {
                return Err(ImageError::UnknownFormat {
                    start: bytes.iter().take(8).copied().collect(),
                });
            }
        };
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut allowed = ::image::Limits::default();
        allowed.max_image_width = u32::try_from(limits.max_side).ok();
        allowed.max_image_height = allowed.max_image_width;
        allowed.max_alloc = Some(limits.max_pixels as u64 * 8);
        reader.limits(allowed);
        let mut decoder = reader.into_decoder()?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        if width == 0
            || height == 0
            || width.max(height) > limits.max_side
            || width * height > limits.max_pixels
        {
            let ImageLimits { max_side, max_pixels, .. } = *limits;
            return Err(ImageError::Size { width, height, max_side, max_pixels });
        }
        // A picture whose EXIF is damaged is still a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut decoded = DynamicImage::from_decoder(decoder)?;
        decoded.apply_orientation(orientation);
        let rgb = decoded.into_rgb8();
        let (width, height) = rgb.dimensions();
        Self::new(width as usize, height as usize, rgb.into_raw())
    }
}

fn read_limited(path: &Path, limits: &ImageLimits) -> Result<Vec<u8>, ImageError> {
    let allowed = limits.max_file_bytes;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(allowed.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > allowed {
        return Err(ImageError::FileTooLarge { allowed });
    }
    Ok(bytes)
}
