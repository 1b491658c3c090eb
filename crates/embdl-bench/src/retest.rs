//! The retest: a complete data set through a decoded file, on one runtime.

use std::time::Instant;

use embdl_core::format::FormatError;
use embdl_core::runtime::{RuntimeError, Session};
use embdl_core::tensor::{DType, Shape, TensorMut};
use embdl_data::Dataset;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::Input;
use crate::machine::Machine;
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

/// Runs all images of `dataset` and counts.
///
/// # Errors
/// If the model does not take these images or a run fails.
pub fn retest(
    session: &mut dyn Session,
    choice: &RuntimeChoice,
    dataset: &Dataset,
    mut progress: impl FnMut(usize),
) -> Result<RetestReport, BenchError> {
    let classes = dataset.class_count();
    let mut outputs = Outputs::new(session, classes)?;
    let mut input = Input::new(session, dataset)?;
    let batch = session.inputs()[0].kind.shape.dim(0);
    let mut confusion = vec![vec![0_u64; classes]; classes];
    let mut hash = Sha256::new();
    let start = Instant::now();
    let order: Vec<usize> = (0..dataset.len()).collect();
    for indices in order.chunks(batch) {
        input.fill(dataset, indices);
        session.run(&[input.tensor()], &mut [outputs.tensor()])?;
        for (row, &index) in indices.iter().enumerate() {
            outputs.digest(row, &mut hash);
            confusion[usize::from(dataset.label(index))][outputs.class(row)] += 1;
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
        machine: Machine::detect(),
        images: dataset.len(),
        accuracy,
        outputs_sha256: hex(&hash.finalize()),
        confusion,
        images_per_second,
    })
}

/// The scores of the image at `index`.
///
/// # Errors
/// If the model does not take the image or the run fails.
pub fn classify(
    session: &mut dyn Session,
    dataset: &Dataset,
    index: usize,
) -> Result<Prediction, BenchError> {
    let mut outputs = Outputs::new(session, dataset.class_count())?;
    let mut input = Input::new(session, dataset)?;
    input.fill(dataset, &[index]);
    session.run(&[input.tensor()], &mut [outputs.tensor()])?;
    Ok(Prediction { class: outputs.class(0), scores: outputs.scores(0) })
}

/// The only output of a session: a row of scores for each image.
#[derive(Debug)]
struct Outputs {
    classes: usize,
    scale: f32,
    zero_point: i32,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I32(Vec<i32>),
}

impl Outputs {
    fn new(session: &dyn Session, classes: usize) -> Result<Self, BenchError> {
        let kind = session.outputs().first().map(|spec| spec.kind);
        let found = kind.map_or(0, |kind| kind.shape.iter().skip(1).product());
        let Some(kind) = kind.filter(|_| found == classes && session.outputs().len() == 1) else {
            return Err(BenchError::OutputCount { found, classes });
        };
        let len = kind.shape.len();
        let data = match kind.dtype {
            DType::U8 | DType::I8 => Data::U8(vec![0; len]),
            DType::I32 => Data::I32(vec![0; len]),
            DType::F32 => Data::F32(vec![0.0; len]),
        };
        let (scale, zero_point) =
            kind.quant.map_or((1.0, 0), |quant| (quant.scale, i32::from(quant.zero_point)));
        Ok(Self { classes, scale, zero_point, data })
    }

    fn tensor(&mut self) -> TensorMut<'_> {
        match &mut self.data {
            Data::F32(data) => TensorMut::F32(data),
            Data::U8(data) => TensorMut::U8(data),
            Data::I32(data) => TensorMut::I32(data),
        }
    }

    fn class(&self, row: usize) -> usize {
        let range = row * self.classes..(row + 1) * self.classes;
        match &self.data {
            Data::F32(data) => first_largest(&data[range], f32::total_cmp),
            Data::U8(data) => first_largest(&data[range], u8::cmp),
            Data::I32(data) => first_largest(&data[range], i32::cmp),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "scores for people")]
    fn scores(&self, row: usize) -> Vec<f32> {
        let range = row * self.classes..(row + 1) * self.classes;
        let real = |level: i32| (level - self.zero_point) as f32 * self.scale;
        match &self.data {
            Data::F32(data) => data[range].to_vec(),
            Data::U8(data) => data[range].iter().map(|&level| real(i32::from(level))).collect(),
            Data::I32(data) => data[range].iter().map(|&level| real(level)).collect(),
        }
    }

    fn digest(&self, row: usize, hash: &mut Sha256) {
        let range = row * self.classes..(row + 1) * self.classes;
        match &self.data {
            Data::F32(data) => {
                data[range].iter().for_each(|score| hash.update(score.to_le_bytes()))
            }
            Data::U8(data) => hash.update(&data[range]),
            Data::I32(data) => {
                data[range].iter().for_each(|score| hash.update(score.to_le_bytes()))
            }
        }
    }
}

fn first_largest<T>(row: &[T], order: impl Fn(&T, &T) -> core::cmp::Ordering) -> usize {
    let mut best = 0;
    for at in 1..row.len() {
        if order(&row[at], &row[best]).is_gt() {
            best = at;
        }
    }
    best
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
