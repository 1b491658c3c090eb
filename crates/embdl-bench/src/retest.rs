//! The retest: a complete data set through a decoded file, on one runtime.

use std::time::Instant;

use embdl_core::format::FormatError;
use embdl_core::metadata::{MetadataError, Preprocess};
use embdl_core::runtime::{RuntimeError, Session};
use embdl_core::tensor::Shape;
use embdl_data::Dataset;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::Input;
use crate::machine::Machine;
use crate::output::Output;
use crate::runtimes::RuntimeChoice;

/// Why a retest or a measurement fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The model has not exactly one input.
    #[error("the model has {found} inputs; a data set of images feeds one")]
    InputCount {
        /// How many it has.
        found: usize,
    },
    /// The model takes other images.
    #[error(
        "the model takes {model}, the data set has images of {data:?} (height, width, channels)"
    )]
    InputShape {
        /// Of the model.
        model: Shape,
        /// Of the data set.
        data: [usize; 3],
    },
    /// The model's outputs are not one score a class.
    #[error("the model gives {found} scores, the data set has {classes} classes")]
    OutputCount {
        /// Scores.
        found: usize,
        /// Classes.
        classes: usize,
    },
    /// A request to a serving runner is not a number of runs.
    #[error("{request:?} is no number of runs, 1 to {}", crate::serve::MAX_RUNS)]
    Request {
        /// What was asked for.
        request: String,
    },
    /// Reading requests or writing answers failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The preprocessing does not fit the model's input.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A picture is not as large as the model's input, or a raw file has neither its bytes nor its floats.
    #[error("{found} bytes; the input takes {bytes} bytes of a picture, or {floats} bytes of f32")]
    InputLength {
        /// Bytes that were given.
        found: usize,
        /// Bytes of a picture of the input's size.
        bytes: usize,
        /// Bytes of the input as floats.
        floats: usize,
    },
    /// A picture cannot become the input without a preprocessing that says how.
    #[error("the model does not say how a picture becomes its input")]
    NoPreprocess,
    /// The file is not a model.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What a retest found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetestReport {
    /// Runtime and instruction set.
    #[serde(flatten)]
    pub choice: RuntimeChoice,
    /// Where it ran.
    pub machine: Machine,
    /// Images.
    pub images: usize,
    /// Share of images whose largest score is their class's; of equal scores the first counts.
    pub accuracy: f64,
    /// SHA-256 over all scores in order, as little-endian i32, u8 or f32.
    pub outputs_sha256: String,
    /// Images by true class (row) and predicted class (column).
    pub confusion: Vec<Vec<u64>>,
    /// Images a second, loading not counted.
    pub images_per_second: f64,
}

/// The scores of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Class with the largest score; of equal scores the first.
    pub class: usize,
    /// Scores as reals: levels times their scale.
    pub scores: Vec<f32>,
}

/// Runs all images of `dataset`, whose bytes become reals by `preprocess`, or else by the data set's normalization, and
/// counts.
///
/// # Errors
/// If the model does not take these images or a run fails.
pub fn retest(
    session: &mut dyn Session,
    choice: &RuntimeChoice,
    dataset: &Dataset,
    preprocess: Option<&Preprocess>,
    mut progress: impl FnMut(usize),
) -> Result<RetestReport, BenchError> {
    let classes = dataset.class_count();
    let mut output = output(session, Some(classes))?;
    let mut input = Input::new(session, dataset, preprocess)?;
    let batch = session.inputs()[0].kind.shape.dim(0);
    let mut confusion = vec![vec![0_u64; classes]; classes];
    let mut hash = Sha256::new();
    let start = Instant::now();
    let order: Vec<usize> = (0..dataset.len()).collect();
    for indices in order.chunks(batch) {
        input.fill(dataset, indices);
        session.run(&[input.tensor()], &mut [output.tensor()])?;
        for (row, &index) in indices.iter().enumerate() {
            output.digest(row, &mut hash);
            confusion[usize::from(dataset.label(index))][output.class(row)] += 1;
        }
        progress(indices.len());
    }
    let seconds = start.elapsed().as_secs_f64();
    let correct: u64 = (0..classes).map(|class| confusion[class][class]).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    let (accuracy, images_per_second) =
        (correct as f64 / dataset.len().max(1) as f64, dataset.len() as f64 / seconds.max(1e-9));
    Ok(RetestReport {
        choice: choice.clone(),
        machine: Machine::of(choice),
        images: dataset.len(),
        accuracy,
        outputs_sha256: hex(&hash.finalize()),
        confusion,
        images_per_second,
    })
}

/// The scores of the image at `index`, with `preprocess` as in [`retest`].
///
/// # Errors
/// If the model does not take the image or the run fails.
pub fn classify(
    session: &mut dyn Session,
    dataset: &Dataset,
    preprocess: Option<&Preprocess>,
    index: usize,
) -> Result<Prediction, BenchError> {
    let mut output = output(session, Some(dataset.class_count()))?;
    let mut input = Input::new(session, dataset, preprocess)?;
    input.fill(dataset, &[index]);
    session.run(&[input.tensor()], &mut [output.tensor()])?;
    Ok(Prediction { class: output.class(0), scores: output.reals(0) })
}

/// The scores for an input that is filled.
///
/// # Errors
/// If the model has more than one output or the run fails.
pub fn predict(session: &mut dyn Session, input: &Input) -> Result<Prediction, BenchError> {
    let mut output = output(session, None)?;
    session.run(&[input.tensor()], &mut [output.tensor()])?;
    Ok(Prediction { class: output.class(0), scores: output.reals(0) })
}

/// The only output of a session: a row of scores for each sample, one a class where their number is known.
fn output(session: &dyn Session, classes: Option<usize>) -> Result<Output, BenchError> {
    let specs = session.outputs();
    let found = specs.first().map_or(0, |spec| spec.kind.shape.iter().skip(1).product());
    match specs {
        [spec] if classes.is_none_or(|classes| classes == found) => Ok(Output::new(spec.kind)),
        _ => Err(BenchError::OutputCount { found, classes: classes.unwrap_or(found) }),
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
