//! Running a network in training arithmetic: accuracy, logits, activations.

use burn_flex::FlexTensor;
use embdl_data::Dataset;
use embdl_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::kernels::loss::{Targets, argmax, loss};
use crate::network::{forward, logits_value};
use crate::tape::{Tensor, constant, flat, values};

/// Images that run together.
const BATCH: usize = 250;

/// How well a network does on a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of images whose largest logit is that of the true class, the first of equals; 0 to 1.
    pub accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Images by true class (row) and predicted class (column).
    pub confusion: Vec<Vec<u64>>,
}

/// Accuracy, loss and confusion of `graph` on `dataset`.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn evaluate(graph: &Graph, dataset: &Dataset) -> Result<Evaluation, TrainError> {
    let classes = check(graph, dataset)?;
    let (mut correct, mut sum) = (0, 0.0);
    let mut confusion = vec![vec![0; classes]; classes];
    each_batch(graph, dataset, &mut |_, _| (), &mut |indices, logits| {
        let labels: Vec<u8> = dataset.batch_labels(indices).collect();
        let found =
            loss(logits, classes, Targets { labels: &labels, smoothing: 0.0, teacher: None });
        #[expect(clippy::cast_precision_loss, reason = "a count of images")]
        {
            sum += found.mean * indices.len() as f64;
        }
        correct += found.correct;
        for (row, &label) in logits.chunks_exact(classes).zip(&labels) {
            confusion[usize::from(label)][argmax(row)] += 1;
        }
    })?;
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    let (images, correct) = (dataset.len() as f64, correct as f64);
    Ok(Evaluation { accuracy: correct / images, loss: sum / images, confusion })
}

/// The logits of all images, one row an image.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn logits(graph: &Graph, dataset: &Dataset) -> Result<Vec<f32>, TrainError> {
    let mut all = Vec::new();
    each_batch(graph, dataset, &mut |_, _| (), &mut |_, logits| all.extend_from_slice(logits))?;
    Ok(all)
}

/// Shows `observe` every value of the network for all images, batch by batch: what calibration looks at.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn activations(
    graph: &Graph,
    dataset: &Dataset,
    observe: &mut dyn FnMut(ValueId, &[f32]),
) -> Result<(), TrainError> {
    each_batch(graph, dataset, observe, &mut |_, _| ())
}

/// Checks that a graph takes a data set's images; the number of classes it tells apart.
pub(crate) fn check(graph: &Graph, dataset: &Dataset) -> Result<usize, TrainError> {
    let outputs = graph.values[logits_value(graph)?].shape.len();
    let expected = graph.values[graph.inputs[0]].shape.len();
    let named = |name: &str| (graph.name.clone(), name.to_owned());
    if dataset.is_empty() {
        return Err(TrainError::NoImages { dataset: dataset.name().into() });
    }
    if expected != dataset.image_len() {
        let ((graph, dataset), found) = (named(dataset.name()), dataset.image_len());
        return Err(TrainError::Image { graph, expected, dataset, found });
    }
    if outputs < dataset.class_count() {
        let ((graph, dataset), classes) = (named(dataset.name()), dataset.class_count());
        return Err(TrainError::Classes { graph, outputs, dataset, classes });
    }
    Ok(outputs)
}

/// Parameters without gradients.
pub(crate) fn constants(graph: &Graph) -> Vec<FlexTensor> {
    graph.params.iter().map(|param| flat(param.effective())).collect()
}

fn each_batch(
    graph: &Graph,
    dataset: &Dataset,
    observe: &mut dyn FnMut(ValueId, &[f32]),
    take: &mut dyn FnMut(&[usize], &[f32]),
) -> Result<(), TrainError> {
    check(graph, dataset)?;
    let params: Vec<Tensor> = constants(graph).into_iter().map(constant).collect();
    let order: Vec<usize> = (0..dataset.len()).collect();
    for indices in order.chunks(BATCH) {
        let mut images = vec![0.0; indices.len() * dataset.image_len()];
        dataset.fill_batch(indices, &mut images);
        let logits = forward(graph, &params, constant(flat(images)), indices.len(), observe)?;
        take(indices, values(&logits));
    }
    Ok(())
}
