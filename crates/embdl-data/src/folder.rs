//! Image folders: one folder for each class, JPEG and PNG files in it.
//!
//! Opening one lists names and reads no picture. Pictures are decoded when they are asked for, one at a time on each
//! thread, and prepared as a network's file says, or else scaled so that they cover its input and cut to it around their
//! middle.
//!
//! ```no_run
//! use embdl_data::folder::{Folder, FolderLimits};
//!
//! let folder = Folder::open("photos/train".as_ref(), &FolderLimits::default())?;
//! for part in folder.parts([96, 96], 256) {
//!     println!("{} images of {:?}", part?.len(), folder.classes());
//! }
//! # Ok::<(), embdl_data::folder::FolderError>(())
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use embdl_core::metadata::{Filter, Preprocess};

use crate::image::{Image, ImageError, ImageLimits, Rect};
use crate::preprocess::prepare;
use crate::{Dataset, DatasetError, DatasetParts, Normalization};

/// Its name where a name of the catalog is asked for.
pub const NAME: &str = "folder";

/// Classes that a label of one byte can tell apart.
const MAX_CLASSES: usize = 256;

/// How much a folder may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderLimits {
    /// What one picture may ask for.
    pub image: ImageLimits,
    /// Files in all.
    pub max_files: usize,
    /// Bytes of all pixels that a [`Dataset`] may hold, after scaling.
    pub max_data_bytes: usize,
}

impl Default for FolderLimits {
    /// Any photograph, ten million files, 2 GiB of pixels.
    fn default() -> Self {
        Self { image: ImageLimits::default(), max_files: 10_000_000, max_data_bytes: 2 << 30 }
    }
}

/// The pictures below a folder, by name.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    classes: Vec<String>,
    /// Path and label, in the order of class and name.
    files: Vec<(PathBuf, u8)>,
    limits: FolderLimits,
}

/// Why a folder is not a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A folder cannot be listed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no class with a picture, or too many classes for a label.
    #[error("{path} has {classes} folders with pictures, expected 1 to {MAX_CLASSES}", path = .path.display())]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Folders below it that hold pictures.
        classes: usize,
    },
    /// The name of a class is not text.
    #[error("the name of the folder {path:?} is not UTF-8")]
    Name {
        /// The folder.
        path: PathBuf,
    },
    /// More files than allowed.
    #[error("{path} has more than {max_files} pictures", path = .path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The limit.
        max_files: usize,
    },
    /// More pixels than allowed.
    #[error(
        "{images} images of {height}x{width} take more than the limit of {max_data_bytes} bytes; \
         take them in parts"
    )]
    TooLarge {
        /// Images asked for.
        images: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The limit.
        max_data_bytes: usize,
    },
    /// A picture does not decode.
    #[error("{path}: {source}", path = .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
    /// The size asked for makes no data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl Folder {
    /// Lists the pictures below `root`: files called `*.jpg`, `*.jpeg` or `*.png`, in any case, in its folders. Folders
    /// without pictures and names that begin with a dot are passed over. Classes are numbered by name.
    ///
    /// # Errors
    /// If something cannot be listed, or there are no classes, or too many of anything.
    pub fn open(root: &Path, limits: &FolderLimits) -> Result<Self, FolderError> {
        let mut folder = Self {
            root: root.to_owned(),
            classes: Vec::new(),
            files: Vec::new(),
            limits: limits.clone(),
        };
        for path in list(root)?.into_iter().filter(|path| path.is_dir()) {
            let pictures: Vec<PathBuf> =
                list(&path)?.into_iter().filter(|path| is_picture(path)).collect();
            if pictures.is_empty() {
                continue;
            }
            let Some(class) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(FolderError::Name { path });
            };
            let Ok(label) = u8::try_from(folder.classes.len()) else {
                let (path, classes) = (root.to_owned(), MAX_CLASSES + 1);
                return Err(FolderError::Classes { path, classes });
            };
            folder.classes.push(class.to_owned());
            folder.files.extend(pictures.into_iter().map(|path| (path, label)));
            if folder.files.len() > limits.max_files {
                let (path, max_files) = (root.to_owned(), limits.max_files);
                return Err(FolderError::TooMany { path, max_files });
            }
        }
        if folder.classes.is_empty() {
            return Err(FolderError::Classes { path: root.to_owned(), classes: 0 });
        }
        Ok(folder)
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no picture; never true of what [`Folder::open`] gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Names of the classes, in the order of the labels.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// File of picture `index`.
    ///
    /// # Panics
    /// If there is no such picture.
    #[must_use]
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].0
    }

    /// Class of picture `index`.
    ///
    /// # Panics
    /// If there is no such picture.
    #[must_use]
    pub fn label(&self, index: usize) -> u8 {
        self.files[index].1
    }

    /// Decodes picture `index` to `height` times `width` pixels, H·W·C.
    ///
    /// # Errors
    /// If it does not decode, or exceeds the limits.
    ///
    /// # Panics
    /// If there is no such picture.
    pub fn image(&self, index: usize, size: [usize; 2]) -> Result<Vec<u8>, FolderError> {
        self.decode(index, |image| cover(image, size))
    }

    /// Decodes the pictures of `range` on all cores.
    ///
    /// # Errors
    /// The first picture that does not decode, or if they take more memory than the limit.
    ///
    /// # Panics
    /// If there are no such pictures.
    pub fn dataset(
        &self,
        range: core::ops::Range<usize>,
        size: [usize; 2],
    ) -> Result<Dataset, FolderError> {
        self.all(range, [size[0], size[1], 3], |image| cover(image, size))
    }

    /// [`dataset`](Self::dataset) of pictures that are [prepared](prepare) as `preprocess` says: bytes in the order of
    /// the network's channels, which become reals by `preprocess` and not by the normalization of the data set.
    ///
    /// # Errors
    /// Those of [`dataset`](Self::dataset), and pictures that are too small to be cropped.
    ///
    /// # Panics
    /// If there are no such pictures.
    pub fn prepared(
        &self,
        range: core::ops::Range<usize>,
        size: [usize; 2],
        preprocess: &Preprocess,
    ) -> Result<Dataset, FolderError> {
        let shape = [size[0], size[1], preprocess.channels.count()];
        self.all(range, shape, |image| prepare(preprocess, image, size))
    }

    /// Picture `index` as `form` gives it.
    fn decode(
        &self,
        index: usize,
        form: impl Fn(&Image) -> Result<Vec<u8>, ImageError>,
    ) -> Result<Vec<u8>, FolderError> {
        let path = self.path(index);
        let failed = |source| FolderError::Image { path: path.to_owned(), source };
        let image = Image::open(path, &self.limits.image).map_err(failed)?;
        form(&image).map_err(failed)
    }

    /// The pictures of `range` in images of `height`, `width` and `channels`, as `form` gives them.
    fn all(
        &self,
        range: core::ops::Range<usize>,
        [height, width, channels]: [usize; 3],
        form: impl Fn(&Image) -> Result<Vec<u8>, ImageError> + Sync,
    ) -> Result<Dataset, FolderError> {
        let files = &self.files[range.clone()];
        let image_len = height.checked_mul(width).and_then(|area| area.checked_mul(channels));
        let total = image_len.and_then(|len| len.checked_mul(files.len()));
        let (Some(image_len), Some(total)) =
            (image_len, total.filter(|total| *total <= self.limits.max_data_bytes))
        else {
            let (images, max_data_bytes) = (files.len(), self.limits.max_data_bytes);
            return Err(FolderError::TooLarge { images, height, width, max_data_bytes });
        };
        if image_len == 0 {
            return Err(DatasetError::ImageSize { height, width, channels }.into());
        }
        let mut images = vec![0; total];
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(threads).max(1);
        let fill = |first: usize, out: &mut [u8]| -> Result<(), FolderError> {
            for (index, out) in (first..).zip(out.chunks_exact_mut(image_len)) {
                out.copy_from_slice(&self.decode(index, &form)?);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let firsts = (range.start..).step_by(share);
            let workers: Vec<_> = firsts
                .zip(images.chunks_mut(share * image_len))
                .map(|(first, out)| scope.spawn(move || fill(first, out)))
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("decoding returns"))
        })?;
        Ok(Dataset::new(DatasetParts {
            name: NAME.to_owned(),
            images,
            labels: files.iter().map(|(_, label)| *label).collect(),
            height,
            width,
            channels,
            classes: self.classes.clone(),
            normalization: normalization(),
        })?)
    }

    /// All pictures in order, `images` at a time: no more than these are in memory at once.
    ///
    /// # Errors
    /// Each part for itself, as [`Folder::dataset`].
    pub fn parts(
        &self,
        size: [usize; 2],
        images: usize,
    ) -> impl Iterator<Item = Result<Dataset, FolderError>> + '_ {
        let images = images.max(1);
        (0..self.len())
            .step_by(images)
            .map(move |first| self.dataset(first..(first + images).min(self.len()), size))
    }

    /// The folder that was opened.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Mean and deviation of photographs over all channels: the means of ImageNet's three.
fn normalization() -> Normalization {
    Normalization::new(115, 0.226).expect("a positive deviation")
}

/// Names in a folder, sorted, without hidden ones.
fn list(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let failed = |source| FolderError::Io { path: path.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    known && path.is_file()
}

/// Scales a picture so that it just covers `height` times `width`, and takes the middle.
fn cover(image: &Image, [height, width]: [usize; 2]) -> Result<Vec<u8>, ImageError> {
    let (from_height, from_width) = (image.height(), image.width());
    // The side that is relatively shorter decides: h / H against w / W, in whole numbers.
    let scaled = if from_height * width <= from_width * height {
        [(from_width * height).div_ceil(from_height).max(width), height]
    } else {
        [width, (from_height * width).div_ceil(from_width).max(height)]
    };
    let crop = Rect { left: (scaled[0] - width) / 2, top: (scaled[1] - height) / 2, width, height };
    Ok(image.resize(scaled, crop, Filter::Bilinear)?.pixels().to_vec())
}
