//! Reading a data set of the catalog: every file is checked against its pinned checksum, every time.

use std::path::Path;
use std::thread;

use super::search::path_of;
use super::{
    CatalogError, CifarFile, CifarFiles, Entry, Files, IdxFile, IdxFiles, SearchPath, find, locate,
};
use crate::cifar::{self, Images};
use crate::idx::{Idx, Limits};
use crate::{
    DEFAULT_VALIDATION_LEN, Dataset, DatasetParts, Normalization, Split, TestSet, synthetic,
};

/// How a data set is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where to look.
    pub search: SearchPath,
    /// Images to take from the training set for validation.
    pub validation_len: usize,
    /// Height and width that pictures of a folder are scaled to; other data sets have their own.
    pub size: [usize; 2],
    /// Chooses which; keep it fixed, so that results on the validation part can be compared.
    pub seed: u64,
}

impl Default for LoadOptions {
    /// The environment's places, [`DEFAULT_VALIDATION_LEN`] images, pictures of 32 pixels a side, seed 0.
    fn default() -> Self {
        let search = SearchPath::from_env(None);
        Self { search, validation_len: DEFAULT_VALIDATION_LEN, size: [32, 32], seed: 0 }
    }
}

/// Images that the synthetic data set has for training and validation together, and for the test.
const SYNTHETIC_LEN: (usize, usize) = (10_000, 1_000);
/// The same of its coloured form, which is for networks that take longer.
const COLOUR_LEN: (usize, usize) = (1_500, 300);

/// Loads a data set by name, from files that are on this machine; `synthetic` and `synthetic-colour` need none.
///
/// `folder` is whatever pictures lie in the folders `train` and `test` of the folder that is named, a folder for each
/// class (feature `pictures`).
///
/// # Errors
/// [`CatalogError`]: an unknown name, files that are not there, files that are not what the catalog pins.
pub fn load(name: &str, options: &LoadOptions) -> Result<Split, CatalogError> {
    let (training, test) = if name == synthetic::NAME {
        let (training, test) = SYNTHETIC_LEN;
        let lengths = synthetic::Lengths { train: training, validation: 0, test };
        let split = synthetic::split(lengths, 0);
        (split.train, split.test)
    } else if name == synthetic::COLOUR_NAME {
        let (training, test) = COLOUR_LEN;
        let lengths = synthetic::Lengths { train: training, validation: 0, test };
        let split = synthetic::colour_split(lengths, 0);
        (split.train, split.test)
    } else if cfg!(feature = "pictures") && name == "folder" {
        load_folder(options)?
    } else {
        let entry = find(name)?;
        load_from(entry, &locate(entry, &options.search)?)?
    };
    Ok(Split::from_training(&training, test, options.validation_len, options.seed)?)
}

/// The pictures below the folder that is named.
#[cfg(feature = "pictures")]
fn load_folder(options: &LoadOptions) -> Result<(Dataset, TestSet), CatalogError> {
    use crate::folder::{Folder, FolderLimits};
    let SearchPath { explicit, environment, .. } = &options.search;
    let root = explicit.as_ref().or(environment.as_ref()).ok_or(CatalogError::NoFolder)?;
    let [train, test] =
        ["train", "test"].map(|part| Folder::open(&root.join(part), &FolderLimits::default()));
    let (train, test) = (train?, test?);
    if train.classes() != test.classes() {
        let (train, test) = (train.classes().to_vec(), test.classes().to_vec());
        return Err(CatalogError::Classes { train, test });
    }
    let all = |folder: &Folder| folder.dataset(0..folder.len(), options.size);
    Ok((all(&train)?, TestSet::new(all(&test)?)))
}

#[cfg(not(feature = "pictures"))]
fn load_folder(_: &LoadOptions) -> Result<(Dataset, TestSet), CatalogError> {
    Err(CatalogError::NoFolder)
}

/// Reads the files in `dir`: the whole training set, and the test set.
///
/// # Errors
/// [`CatalogError`]: files that are not there or not what `entry` pins.
#[expect(
    clippy::missing_panics_doc,
    reason = "a panic of the reading thread is passed on, not made"
)]
pub fn load_from(entry: &Entry, dir: &Path) -> Result<(Dataset, TestSet), CatalogError> {
    let IdxFiles { train_images, train_labels, test_images, test_labels } = match &entry.files {
        Files::Idx(files) => files,
        Files::Cifar(files) => return load_cifar(entry, files, dir),
    };
    // Unpacking is most of the work; the test images need not wait for the training images.
    thread::scope(|scope| {
        let test = scope.spawn(|| read_part(entry, dir, test_images, test_labels));
        let training = read_part(entry, dir, train_images, train_labels);
        let test = test.join().expect("reading does not panic");
        Ok((training?, TestSet::new(test?)))
    })
}

fn load_cifar(
    entry: &Entry,
    files: &CifarFiles,
    dir: &Path,
) -> Result<(Dataset, TestSet), CatalogError> {
    let mut images = Images::default();
    for file in files.train {
        let part = read_cifar(entry, files, dir, file)?;
        images.labels.extend(part.labels);
        images.pixels.extend(part.pixels);
    }
    let training = colour_dataset(entry, images)?;
    let test = colour_dataset(entry, read_cifar(entry, files, dir, &files.test)?)?;
    Ok((training, TestSet::new(test)))
}

fn read_cifar(
    entry: &Entry,
    files: &CifarFiles,
    dir: &Path,
    file: &CifarFile,
) -> Result<Images, CatalogError> {
    let path = dir.join(file.name);
    let limits = cifar::Limits { max_images: file.images };
    let images = cifar::read(&path, files.labels, entry.classes.len(), &limits)?;
    let (expected, found) = (file.images, images.labels.len());
    let is_whole = found == expected;
    is_whole.then_some(images).ok_or(CatalogError::Images { path, expected, found })
}

fn colour_dataset(entry: &Entry, images: Images) -> Result<Dataset, CatalogError> {
    Ok(Dataset::new(DatasetParts {
        name: entry.name.to_owned(),
        images: images.pixels,
        labels: images.labels,
        height: cifar::SIDE,
        width: cifar::SIDE,
        channels: cifar::CHANNELS,
        classes: classes(entry),
        normalization: normalization(entry),
    })?)
}

fn classes(entry: &Entry) -> Vec<String> {
    entry.classes.iter().map(|&class| class.to_owned()).collect()
}

fn normalization(entry: &Entry) -> Normalization {
    Normalization::new(entry.zero_point, entry.std).expect("the catalog holds positive deviations")
}

fn read_part(
    entry: &Entry,
    dir: &Path,
    images: &IdxFile,
    labels: &IdxFile,
) -> Result<Dataset, CatalogError> {
    let labels = read(entry, dir, labels, 1)?;
    let images = read(entry, dir, images, 3)?;
    let (height, width) = (images.shape()[1], images.shape()[2]);
    Ok(Dataset::new(DatasetParts {
        name: entry.name.to_owned(),
        images: images.into_data(),
        labels: labels.into_data(),
        height,
        width,
        channels: 1,
        classes: classes(entry),
        normalization: normalization(entry),
    })?)
}

fn read(entry: &Entry, dir: &Path, file: &IdxFile, rank: usize) -> Result<Idx, CatalogError> {
    // Where it is gone since it was located, opening it gives the error.
    let path = path_of(file.name, dir).unwrap_or_else(|| dir.join(file.name));
    let idx = Idx::read(&path, &Limits { max_data_bytes: file.len_bytes })?;
    let found = idx.sha256_hex();
    if found != file.sha256 {
        let (name, expected) = (entry.name, file.sha256);
        return Err(CatalogError::Checksum { path, name, expected, found });
    }
    if idx.shape().len() != rank {
        return Err(CatalogError::Shape { path, shape: idx.shape().to_vec(), rank });
    }
    Ok(idx)
}
