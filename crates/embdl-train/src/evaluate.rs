//! Running a network in training arithmetic: accuracy, logits, activations.

use burn_flex::FlexTensor;
use embdl_data::Dataset;
use embdl_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;
use crate::device::{Device, Task};
use crate::error::TrainError;
use crate::kernels::loss::{Targets, argmax, loss};
use crate::network::{Network, Observe, logits_value};
use crate::operators::{Operators, Tensor, constant};
use crate::storage::flat;

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

/// Accuracy, loss and confusion of `graph` on `dataset`, computed by the CPU.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn evaluate(graph: &Graph, dataset: &Dataset) -> Result<Evaluation, TrainError> {
    evaluate_on(Device::Cpu, graph, dataset)
}

/// Accuracy, loss and confusion of `graph` on `dataset`, computed by `device`.
///
/// # Errors
/// If graph and data set do not fit, a node cannot be run, or the device cannot.
pub fn evaluate_on(
    device: Device,
    graph: &Graph,
    dataset: &Dataset,
) -> Result<Evaluation, TrainError> {
    struct Evaluate<'a>(&'a Graph, &'a Dataset);
    impl Task for Evaluate<'_> {
        type Output = Evaluation;
        fn run<E: Operators>(self, on: &E) -> Result<Evaluation, TrainError> {
            evaluation(on, self.0, self.1)
        }
    }
    device.run(Evaluate(graph, dataset))
}

/// As [`evaluate_on`], on the operators of a device.
pub(crate) fn evaluation<E: Operators>(
    on: &E,
    graph: &Graph,
    dataset: &Dataset,
) -> Result<Evaluation, TrainError> {
    let classes = check(graph, dataset)?;
    let (mut correct, mut sum) = (0, 0.0);
    let mut confusion = vec![vec![0; classes]; classes];
    each_batch(on, graph, dataset, None, &mut |indices, logits| {
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

/// The logits of all images, one row an image, computed by the CPU.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn logits(graph: &Graph, dataset: &Dataset) -> Result<Vec<f32>, TrainError> {
    let mut all = Vec::new();
    each_batch(&Cpu::default(), graph, dataset, None, &mut |_, logits| {
        all.extend_from_slice(logits);
    })?;
    Ok(all)
}

/// Shows `observe` every value of the network for all images, batch by batch, computed by the CPU: what calibration
/// looks at.
///
/// # Errors
/// If graph and data set do not fit, or a node cannot be run.
pub fn activations(
    graph: &Graph,
    dataset: &Dataset,
    observe: &mut dyn FnMut(ValueId, &[f32]),
) -> Result<(), TrainError> {
    each_batch(&Cpu::default(), graph, dataset, Some(observe), &mut |_, _| ())
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

fn each_batch<E: Operators>(
    on: &E,
    graph: &Graph,
    dataset: &Dataset,
    mut observe: Option<Observe<'_>>,
    take: &mut dyn FnMut(&[usize], &[f32]),
) -> Result<(), TrainError> {
    check(graph, dataset)?;
    let params: Vec<Tensor<E::Burn>> = graph
        .params
        .iter()
        .zip(constants(graph))
        .map(|(param, values)| constant(on.upload(&values, param.shape)))
        .collect();
    let order: Vec<usize> = (0..dataset.len()).collect();
    for indices in order.chunks(together(graph)) {
        let mut images = vec![0.0; indices.len() * dataset.image_len()];
        dataset.fill_batch(indices, &mut images);
        let shape = graph.values[graph.inputs[0]].shape.with_batch(indices.len());
        let image = constant(on.upload(&flat(images), shape));
        let network = Network { graph, params: &params, batch: indices.len(), is_training: false };
        let observe = observe.as_mut().map(|observe| &mut **observe as Observe<'_>);
        let logits = network.forward(on, image, observe)?.logits;
        take(indices, &on.download(logits.primitive())?);
    }
    Ok(())
}

/// Images that run together: up to 250, fewer where the largest value of so many would take more than 64 MiB.
fn together(graph: &Graph) -> usize {
    const MOST: usize = 250;
    let largest = graph.values.iter().map(|value| value.shape.len()).max().unwrap_or(1);
    ((1 << 24) / largest.max(1)).clamp(1, MOST)
}
