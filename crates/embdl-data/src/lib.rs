//! Data sets: idx files, fetching with checksums, splits, augmentation. Never touches a test set when it splits.
//!
//! | subject | module |
//! |---|---|
//! | what is there, where it lies, what it must hash to | [`catalog`] |
//! | images with labels in memory | [`Dataset`], [`Normalization`] |
//! | training, validation and test part | [`Split`], [`TestSet`] |
//! | order of an epoch, normalized batches | [`batch`] |
//! | seeded distortion of training images | [`augment`] |
//! | data that needs no files | [`synthetic`] |
//! | the idx file format | [`idx`] |
//! | the binary files of CIFAR-10 and CIFAR-100 | [`cifar`] |
//! | a folder of pictures for each class (feature `pictures`) | `folder` |
//! | pictures: JPEG, PNG, resampling | [`image`] |
//! | from a picture to a network's input | [`preprocess`] |
//!
//! Everything random is a function of its seed alone: the same seed gives the same split, order and distortion on
//! every run, however many threads share the work.
//!
//! ```
//! use embdl_data::augment::{Augmentation, Augmenter};
//! use embdl_data::{batch, synthetic};
//!
//! let split = synthetic::split(synthetic::Lengths { train: 200, validation: 50, test: 50 }, 1);
//! let augmenter = Augmenter::new(Augmentation::fashion(), 1)?;
//! let mut images = vec![0.0; 32 * split.train.image_len()];
//! for indices in batch::epoch_order(split.train.len(), 1, 0).chunks_exact(32) {
//!     augmenter.fill_batch(&split.train, 0, indices, &mut images);
//!     let labels: Vec<u8> = split.train.batch_labels(indices).collect();
//!     assert_eq!(labels.len(), 32);
//! }
//! # Ok::<(), embdl_data::augment::AugmentationError>(())
//! ```
#![forbid(unsafe_code)]

pub mod atomic;
pub mod augment;
pub mod batch;
pub mod cache;
pub mod catalog;
pub mod cifar;
mod dataset;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "pictures")]
pub mod folder;
pub mod idx;
pub mod image;
pub mod preprocess;
mod random;
mod split;
pub mod synthetic;

pub use dataset::{Dataset, DatasetError, DatasetParts, Normalization, NormalizationError};
pub use split::{DEFAULT_VALIDATION_LEN, Split, SplitError, TestSet};
