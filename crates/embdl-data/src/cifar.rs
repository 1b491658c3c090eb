//! The binary files of CIFAR-10 and CIFAR-100; what is read is not trusted.
//!
//! A file is records and nothing else. A record is the label (one byte in CIFAR-10, a coarse and a fine one in
//! CIFAR-100, of which the fine one counts), then 1024 bytes of red, of green and of blue, rows from top to bottom.
//! Source: A. Krizhevsky's page on both data sets, "Binary version".
//!
//! ```
//! use embdl_data::cifar::{LabelBytes, Limits, decode};
//!
//! let mut file = vec![7];
//! file.extend([255; 1024]);
//! file.extend([0; 2048]);
//! let images = decode(&file, LabelBytes::One, 10, &Limits::default())?;
//! assert_eq!(images.labels, [7]);
//! assert_eq!(images.pixels[..6], [255, 0, 0, 255, 0, 0]);
//! # Ok::<(), embdl_data::cifar::CifarError>(())
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Rows and columns of every image.
pub const SIDE: usize = 32;
/// Red, green, blue.
pub const CHANNELS: usize = 3;
const PLANE: usize = SIDE * SIDE;

/// How a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelBytes {
    /// The class: CIFAR-10.
    One,
    /// The superclass, then the class: CIFAR-100.
    CoarseAndFine,
}

impl LabelBytes {
    /// Length of a record. Unit: bytes.
    #[must_use]
    pub const fn record_bytes(self) -> usize {
        self.count() + CHANNELS * PLANE
    }

    const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::CoarseAndFine => 2,
        }
    }
}

/// How much a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most records of a file.
    pub max_images: usize,
}

impl Default for Limits {
    /// 50,000: the largest file of either data set.
    fn default() -> Self {
        Self { max_images: 50_000 }
    }
}

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// One class number an image.
    pub labels: Vec<u8>,
    /// N·H·W·C.
    pub pixels: Vec<u8>,
}

/// Why bytes are not a CIFAR file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CifarError {
    /// The length is not that of whole records.
    #[error("{len_bytes} bytes are not one or more records of {record_bytes} bytes")]
    Length {
        /// Bytes of the file.
        len_bytes: usize,
        /// Bytes of a record.
        record_bytes: usize,
    },
    /// There are more records than allowed.
    #[error("more than {max_images} images")]
    TooMany {
        /// The limit.
        max_images: usize,
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

/// Why a file could not be read as a CIFAR file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = .path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: ReadErrorReason,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadErrorReason {
    /// The system does not open or read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its content is not a CIFAR file.
    #[error(transparent)]
    Cifar(#[from] CifarError),
}

/// Reads a file of images of `classes` classes.
///
/// # Errors
/// [`ReadError`], which names the file. No more than the limit and one byte are read.
pub fn read(
    path: &Path,
    labels: LabelBytes,
    classes: usize,
    limits: &Limits,
) -> Result<Images, ReadError> {
    read_unnamed(path, labels, classes, limits)
        .map_err(|reason| ReadError { path: path.to_owned(), reason })
}

fn read_unnamed(
    path: &Path,
    labels: LabelBytes,
    classes: usize,
    limits: &Limits,
) -> Result<Images, ReadErrorReason> {
    let most = limits.max_images.saturating_mul(labels.record_bytes()) as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(decode(&bytes, labels, classes, limits)?)
}

/// Takes the bytes of a file apart; planes become pixels.
///
/// # Errors
/// [`CifarError`]: all that is not whole records with labels below `classes`, at least one and no more than allowed.
pub fn decode(
    bytes: &[u8],
    labels: LabelBytes,
    classes: usize,
    limits: &Limits,
) -> Result<Images, CifarError> {
    let record_bytes = labels.record_bytes();
    if bytes.len() / record_bytes > limits.max_images
        || (bytes.len() > limits.max_images.saturating_mul(record_bytes))
    {
        return Err(CifarError::TooMany { max_images: limits.max_images });
    }
    if bytes.is_empty() || !bytes.len().is_multiple_of(record_bytes) {
        return Err(CifarError::Length { len_bytes: bytes.len(), record_bytes });
    }
    let count = bytes.len() / record_bytes;
    let mut images = Images {
        labels: Vec::with_capacity(count),
        pixels: Vec::with_capacity(count * CHANNELS * PLANE),
    };
    for (index, record) in bytes.chunks_exact(record_bytes).enumerate() {
        let (head, planes) = record.split_at(labels.count());
        let label = head[labels.count() - 1];
        if usize::from(label) >= classes {
            return Err(CifarError::Label { index, label, classes });
        }
        images.labels.push(label);
        let (red, others) = planes.split_at(PLANE);
        let (green, blue) = others.split_at(PLANE);
        for ((&red, &green), &blue) in red.iter().zip(green).zip(blue) {
            images.pixels.extend([red, green, blue]);
        }
    }
    Ok(images)
}
