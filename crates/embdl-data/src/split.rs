//! Training, validation and test part. The test set never chooses anything.

use crate::Dataset;
use crate::random::{Draws, Purpose};

/// Images that the catalog takes from the training set for validation.
pub const DEFAULT_VALIDATION_LEN: usize = 5000;

/// A data set in three parts.
///
/// The validation part comes out of the training set: it chooses learning rates, sparsities, bit widths, the epoch to
/// stop at and the threshold to accept. The test set chooses nothing; it is measured once all choices are made.
#[derive(Clone, Debug)]
pub struct Split {
    /// What weights are fitted to, and what calibration sees.
    pub train: Dataset,
    /// What every choice is made by.
    pub validation: Dataset,
    /// What is reported.
    pub test: TestSet,
}

/// The test images. Not a [`Dataset`], so that no function that trains, tunes or calibrates takes one by accident.
#[derive(Clone, Debug)]
pub struct TestSet(Dataset);

/// Why a training set cannot be split.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// Nothing would be left to train on.
    #[error("{validation} images for validation leave none of {training} to train on")]
    TooMany {
        /// Images asked for.
        validation: usize,
        /// Images there are.
        training: usize,
    },
    /// The test images are of another kind than the training images.
    #[error(
        "test images are {test:?}, training images are {training:?}: height, width, channels, classes"
    )]
    Kind {
        /// Height, width, channels, classes of the test set.
        test: [usize; 4],
        /// Height, width, channels, classes of the training set.
        training: [usize; 4],
    },
}

impl TestSet {
    /// Sets a data set aside.
    pub fn new(dataset: Dataset) -> Self {
        Self(dataset)
    }

    /// The images, for an accuracy that will be reported. Whoever calls this must not choose by the result.
    pub fn for_report(&self) -> &Dataset {
        &self.0
    }
}

impl Split {
    /// Takes `validation_len` images out of `training`: at random by `seed`, of each class its share (largest remainders
    /// first), in their old order. The test set is only carried along.
    ///
    /// # Errors
    /// [`SplitError`].
    pub fn from_training(
        training: &Dataset,
        test: TestSet,
        validation_len: usize,
        seed: u64,
    ) -> Result<Self, SplitError> {
        if validation_len >= training.len() {
            let training = training.len();
            return Err(SplitError::TooMany { validation: validation_len, training });
        }
        if kind(&test.0) != kind(training) {
            return Err(SplitError::Kind { test: kind(&test.0), training: kind(training) });
        }
        let mut is_validation = vec![false; training.len()];
        for (class, count) in shares(&training.class_histogram(), validation_len).enumerate() {
            let mut members: Vec<usize> = (0..training.len())
                .filter(|&index| usize::from(training.label(index)) == class)
                .collect();
            Draws::new(Purpose::Split, seed, 0, class as u64).shuffle(&mut members);
            for &index in &members[..count] {
                is_validation[index] = true;
            }
        }
        let (validation, train): (Vec<usize>, Vec<usize>) =
            (0..training.len()).partition(|&index| is_validation[index]);
        let (train, validation) = (training.subset(&train), training.subset(&validation));
        Ok(Self { train, validation, test })
    }
}

fn kind(dataset: &Dataset) -> [usize; 4] {
    let [height, width, channels] = dataset.image_shape();
    [height, width, channels, dataset.class_count()]
}

/// `wanted` split in proportion to `histogram`, rounded by largest remainder, ties to the lower class. The sum is
/// `wanted`, and no class gives more than it has, since `wanted` is below their sum.
fn shares(histogram: &[usize], wanted: usize) -> impl Iterator<Item = usize> {
    let total: usize = histogram.iter().sum();
    let exact: Vec<u128> = histogram.iter().map(|&n| n as u128 * wanted as u128).collect();
    let mut counts: Vec<usize> = exact
        .iter()
        .map(|&n| usize::try_from(n / total as u128).expect("at most `wanted`"))
        .collect();
    let missing = wanted - counts.iter().sum::<usize>();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| core::cmp::Reverse(exact[class] % total as u128));
    for &class in &by_remainder[..missing] {
        counts[class] += 1;
    }
    counts.into_iter()
}
