//! One step: a batch forwards and back, and the parameters moved.

use burn_flex::FlexTensor;
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, NodeId};
use rayon::prelude::*;

use super::Training;
use crate::error::TrainError;
use crate::kernels::loss::{Loss, Targets, loss};
use crate::network::{Network, Passed};
use crate::operators::{Operators, Statistics, Tensor, constant, leaf};
use crate::storage::flat;
use crate::update::update;

/// Weight of a batch in running statistics. Source: the default of PyTorch's `BatchNorm2d`.
const MOMENTUM: f32 = 0.1;

impl<E: Operators> Training<'_, E> {
    pub(super) fn train_batch(
        &mut self,
        indices: &[usize],
        learning_rate: f32,
    ) -> Result<(), TrainError> {
        let images = self.images(indices);
        let labels: Vec<u8> = self.run.train.batch_labels(indices).collect();
        let (gradients, statistics) = {
            let params = self.graph.params.iter().zip(&self.slots);
            let params: Vec<Tensor<E::Burn>> = params
                .map(|(param, slot)| leaf(self.on.upload(&slot.effective, param.shape)))
                .collect();
            let batch = indices.len();
            let network = Network { graph: self.graph, params: &params, batch, is_training: true };
            let image = self.image(self.graph, &images, batch);
            let Passed { logits, statistics } = network.forward(self.on, image, None)?;
            let found = self.loss(&images, &labels, &self.on.download(logits.primitive())?)?;
            if !found.mean.is_finite() {
                return Err(self.diverged("loss", found.mean, learning_rate));
            }
            #[expect(clippy::cast_precision_loss, reason = "a batch of images")]
            {
                self.state.loss += found.mean * batch as f64;
            }
            self.state.correct += found.correct;
            self.state.images += batch;
            (self.on.gradients(&logits, found.gradient, &params)?, statistics)
        };
        update(self.graph, &mut self.slots, &gradients, self.config, learning_rate)
            .map_err(|norm| self.diverged("norm of the gradients", norm, learning_rate))?;
        follow(self.graph, &statistics);
        Ok(())
    }

    fn diverged(&self, what: &'static str, value: f64, learning_rate: f32) -> TrainError {
        let (epoch, step) = (self.state.epoch + 1, self.step());
        let clip_norm = self.config.clip_norm;
        TrainError::Diverged { epoch, step, what, value, learning_rate, clip_norm }
    }

    /// The distorted images of a batch.
    fn images(&self, indices: &[usize]) -> FlexTensor {
        const TOGETHER: usize = 4;
        let (train, augmenter) = (self.run.train, &self.augmenter);
        let epoch = self.state.epoch as u64;
        let mut images = vec![0.0; indices.len() * train.image_len()];
        images
            .par_chunks_mut(TOGETHER * train.image_len())
            .zip(indices.par_chunks(TOGETHER))
            .for_each(|(out, indices)| augmenter.fill_batch(train, epoch, indices, out));
        flat(images)
    }

    /// Images on the device.
    fn image(&self, graph: &Graph, images: &FlexTensor, batch: usize) -> Tensor<E::Burn> {
        let shape: Shape = graph.values[graph.inputs[0]].shape.with_batch(batch);
        constant(self.on.upload(images, shape))
    }

    fn loss(&self, images: &FlexTensor, labels: &[u8], logits: &[f32]) -> Result<Loss, TrainError> {
        let smoothing = self.config.label_smoothing;
        let Some(((teacher, params), distill)) = self.teacher.as_ref().zip(self.config.distill)
        else {
            return Ok(loss(logits, self.classes, Targets { labels, smoothing, teacher: None }));
        };
        let params: Vec<Tensor<E::Burn>> = teacher
            .params
            .iter()
            .zip(params)
            .map(|(param, values)| constant(self.on.upload(values, param.shape)))
            .collect();
        let batch = labels.len();
        let network = Network { graph: teacher, params: &params, batch, is_training: false };
        let image = self.image(teacher, images, batch);
        let master = network.forward(self.on, image, None)?.logits;
        let master = self.on.download(master.primitive())?;
        let teacher = Some((&*master, distill.alpha, distill.temperature));
        Ok(loss(logits, self.classes, Targets { labels, smoothing, teacher }))
    }
}

/// Moves running statistics towards those of a batch.
fn follow(graph: &mut Graph, statistics: &[(NodeId, Statistics)]) {
    for (node, Statistics { mean, variance }) in statistics {
        let Some((running_mean, running_variance)) = graph.nodes[*node].stats else { continue };
        for (id, found) in [(running_mean, mean), (running_variance, variance)] {
            let running = graph.params[id].values_mut();
            for (running, found) in running.iter_mut().zip(found) {
                *running += MOMENTUM * (found - *running);
            }
        }
    }
}
