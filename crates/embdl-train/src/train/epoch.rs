//! One epoch: its steps, its progress, its evaluation.

use core::time::Duration;
use std::time::Instant;

use embdl_data::batch;
use embdl_graph::Graph;

use super::Training;
use crate::checkpoint::Best;
use crate::constraint::trained_mut;
use crate::error::TrainError;
use crate::evaluate::evaluation;
use crate::hooks::{EpochReport, Progress};
use crate::operators::Operators;

impl<E: Operators> Training<'_, E> {
    /// What is left of the current epoch; `begun` and `first_step` are those of the whole run.
    pub(super) fn epoch(&mut self, begun: Instant, first_step: usize) -> Result<(), TrainError> {
        let epoch_begun = Instant::now();
        let images_before = self.state.images;
        let order =
            batch::epoch_order(self.run.train.len(), self.config.seed, self.state.epoch as u64);
        let mut learning_rate = 0.0;
        for indices in order.chunks(self.config.batch).skip(self.state.step) {
            let (step, steps) = (self.step(), self.steps());
            let changed = self
                .hooks
                .on_step(step, steps, self.graph)
                .map_err(|source| TrainError::Hook { step, source })?;
            if changed {
                self.graph.validate()?;
                self.slots
                    .iter_mut()
                    .zip(&self.graph.params)
                    .for_each(|(slot, param)| slot.refresh(param));
            }
            learning_rate = self.config.learning_rate * self.config.schedule.factor(step, steps);
            self.train_batch(indices, learning_rate)?;
            self.state.step += 1;
            let progress = self.progress(begun, first_step);
            self.hooks.on_progress(&progress);
            self.save_if_due()?;
        }
        let rate = per_second(self.state.images - images_before, epoch_begun.elapsed());
        self.end_epoch(learning_rate, rate)
    }

    fn progress(&self, begun: Instant, first_step: usize) -> Progress {
        let (step, steps) = (self.step(), self.steps());
        let elapsed = begun.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "counts of images and steps")]
        let (images, correct) = (self.state.images.max(1) as f64, self.state.correct as f64);
        #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
        let ahead = (steps - step) as f64 / (step - first_step).max(1) as f64;
        Progress {
            epoch: self.state.epoch + 1,
            epochs: self.config.epochs,
            step,
            steps,
            loss: self.state.loss / images,
            accuracy: correct / images,
            images_per_second: per_second((step - first_step) * self.config.batch, elapsed),
            remaining: Duration::try_from_secs_f64(elapsed.as_secs_f64() * ahead)
                .unwrap_or(Duration::MAX),
        }
    }

    fn end_epoch(&mut self, learning_rate: f32, images_per_second: f64) -> Result<(), TrainError> {
        let averaged = self.averaged();
        let network = averaged.as_ref().unwrap_or(self.graph);
        let found = evaluation(self.on, network, self.run.validation)?;
        self.state.epoch += 1;
        let epoch = self.state.epoch;
        #[expect(clippy::cast_precision_loss, reason = "counts of images")]
        let (images, correct) = (self.state.images.max(1) as f64, self.state.correct as f64);
        let report = EpochReport {
            epoch,
            loss: self.state.loss / images,
            train_accuracy: correct / images,
            validation_loss: found.loss,
            validation_accuracy: found.accuracy,
            learning_rate,
            images_per_second,
        };
        (self.state.step, self.state.images, self.state.correct, self.state.loss) = (0, 0, 0, 0.0);
        if !self.hooks.is_settled(epoch * self.steps_an_epoch, self.steps()) {
            (self.state.best, self.state.stale) = (None, 0);
        } else if self.state.best.as_ref().is_none_or(|best| found.accuracy > best.accuracy) {
            let params = if self.config.keep_best { network.params.clone() } else { Vec::new() };
            self.state.best = Some(Best { epoch, accuracy: found.accuracy, params });
            self.state.stale = 0;
        } else {
            self.state.stale += 1;
        }
        let is_patient = self.config.patience.is_none_or(|patience| self.state.stale < patience);
        let goes_on = self.hooks.on_epoch(&report);
        self.state.stopped = (!is_patient || !goes_on) && epoch < self.config.epochs;
        self.state.epochs.push(report);
        Ok(())
    }

    /// The graph with its moving averages, where they are kept.
    pub(super) fn averaged(&self) -> Option<Graph> {
        self.config.ema?;
        let mut graph = self.graph.clone();
        for (param, slot) in graph.params.iter_mut().zip(&self.slots) {
            if !slot.average.is_empty() {
                trained_mut(param).copy_from_slice(&slot.average);
            }
        }
        Some(graph)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of images")]
fn per_second(images: usize, elapsed: Duration) -> f64 {
    images as f64 / elapsed.as_secs_f64().max(1e-9)
}
