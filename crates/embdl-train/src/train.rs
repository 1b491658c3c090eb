//! The training loop.

use core::time::Duration;
use std::time::Instant;

use burn_autodiff::Autodiff;
use burn_backend::backend::AutodiffBackend;
use burn_flex::{Flex, FlexTensor};
use embdl_data::augment::Augmenter;
use embdl_data::{Dataset, batch};
use embdl_graph::Graph;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Best, Checkpoints, Content, Key, State, load, save};
use crate::config::TrainConfig;
use crate::constraint::trained_mut;
use crate::error::{CheckpointError, TrainError};
use crate::evaluate::{check, constants, evaluate};
use crate::hooks::{EpochReport, Progress, TrainHooks};
use crate::kernels::loss::{Loss, Targets, loss};
use crate::network::{end_in, forward};
use crate::tape::{Tensor, constant, flat, leaf, values};
use crate::update::{Slot, update};

/// What to train on, beside and with.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Images that weights are fitted to.
    pub train: &'a Dataset,
    /// Images that choose the best epoch.
    pub validation: &'a Dataset,
    /// The network that is distilled, where the settings ask for it.
    pub teacher: Option<&'a Graph>,
    /// Where the state is kept, if anywhere.
    pub checkpoints: Option<&'a Checkpoints>,
    /// Threads; left out, one for each core. Results do not depend on it.
    pub threads: Option<usize>,
}

/// What came of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Each epoch in order, those before a resumption included.
    pub epochs: Vec<EpochReport>,
    /// The epoch, from 1, with the best validation accuracy among settled ones.
    pub best_epoch: Option<usize>,
    /// The epoch that the training was resumed in, from 1.
    pub resumed_in: Option<usize>,
    /// Whether patience or a hook ended it early.
    pub stopped_early: bool,
}

/// Trains `graph` in place. The same inputs give the same weights bit for bit, on any number of threads, resumed or not.
///
/// # Errors
/// If settings, graph and data do not fit, the loss diverges, a hook fails, or a checkpoint cannot be used. The graph
/// is then left as far as training came.
pub fn train(
    graph: &mut Graph,
    run: &Run<'_>,
    config: &TrainConfig,
    hooks: &mut dyn TrainHooks,
) -> Result<TrainReport, TrainError> {
    config.validate()?;
    let augmenter = Augmenter::new(config.augmentation.clone(), config.seed)?;
    let classes = check(graph, run.train)?;
    check(graph, run.validation)?;
    let teacher = match (run.teacher, config.distill) {
        (Some(teacher), Some(_)) if check(teacher, run.train)? == classes => {
            Some((teacher, constants(teacher)))
        }
        (_, None) => None,
        _ => return Err(TrainError::NoTeacher),
    };
    let key = match run.checkpoints {
        Some(checkpoints) => {
            let key = Key::new(config, graph, run.teacher, [run.train, run.validation]);
            Some(key.map_err(|source| failed(checkpoints, source))?)
        }
        None => None,
    };
    let slots = graph.params.iter().map(Slot::new).collect();
    let steps_an_epoch = run.train.len().div_ceil(config.batch);
    let state = State::default();
    let mut training = Training {
        graph,
        run,
        config,
        hooks,
        augmenter,
        teacher,
        classes,
        key,
        slots,
        state,
        steps_an_epoch,
        saved: Instant::now(),
    };
    match run.threads {
        None => training.run(),
        Some(threads) => rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|source| TrainError::Threads { threads, source })?
            .install(|| training.run()),
    }
}

struct Training<'a> {
    graph: &'a mut Graph,
    run: &'a Run<'a>,
    config: &'a TrainConfig,
    hooks: &'a mut dyn TrainHooks,
    augmenter: Augmenter,
    teacher: Option<(&'a Graph, Vec<FlexTensor>)>,
    classes: usize,
    key: Option<Key>,
    slots: Vec<Slot>,
    state: State,
    steps_an_epoch: usize,
    saved: Instant,
}

impl Training<'_> {
    fn run(&mut self) -> Result<TrainReport, TrainError> {
        let is_resumed = self.resume()?;
        let resumed_in = is_resumed.then_some(self.state.epoch + 1);
        let begun = Instant::now();
        let first_step = self.step();
        while self.state.epoch < self.config.epochs && !self.state.stopped {
            self.epoch(begun, first_step)?;
            self.save()?;
        }
        self.finish();
        Ok(TrainReport {
            epochs: self.state.epochs.clone(),
            best_epoch: self.state.best.as_ref().map(|best| best.epoch),
            resumed_in,
            stopped_early: self.state.stopped,
        })
    }

    /// Steps done since the start of the training.
    fn step(&self) -> usize {
        self.state.epoch * self.steps_an_epoch + self.state.step
    }

    fn steps(&self) -> usize {
        self.config.epochs * self.steps_an_epoch
    }

    fn epoch(&mut self, begun: Instant, first_step: usize) -> Result<(), TrainError> {
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

    fn train_batch(&mut self, indices: &[usize], learning_rate: f32) -> Result<(), TrainError> {
        let images = self.images(indices);
        let labels: Vec<u8> = self.run.train.batch_labels(indices).collect();
        let gradients = {
            let params: Vec<Tensor> =
                self.slots.iter().map(|slot| leaf(slot.effective.clone())).collect();
            let image = constant(images.clone());
            let logits = forward(self.graph, &params, image, indices.len(), &mut |_, _| ())?;
            let found = self.loss(images, &labels, &logits)?;
            if !found.mean.is_finite() {
                return Err(self.diverged("loss", found.mean, learning_rate));
            }
            #[expect(clippy::cast_precision_loss, reason = "a batch of images")]
            {
                self.state.loss += found.mean * indices.len() as f64;
            }
            self.state.correct += found.correct;
            self.state.images += indices.len();
            let mut gradients = end_in(&logits, found).backward();
            let take = |param| Autodiff::<Flex>::grad_remove(param, &mut gradients);
            params.iter().map(take).collect::<Vec<_>>()
        };
        update(self.graph, &mut self.slots, &gradients, self.config, learning_rate)
            .map_err(|norm| self.diverged("norm of the gradients", norm, learning_rate))
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

    fn loss(&self, images: FlexTensor, labels: &[u8], logits: &Tensor) -> Result<Loss, TrainError> {
        let smoothing = self.config.label_smoothing;
        let Some(((teacher, params), distill)) = self.teacher.as_ref().zip(self.config.distill)
        else {
            let targets = Targets { labels, smoothing, teacher: None };
            return Ok(loss(values(logits), self.classes, targets));
        };
        let params: Vec<Tensor> = params.iter().cloned().map(constant).collect();
        let master = forward(teacher, &params, constant(images), labels.len(), &mut |_, _| ())?;
        let teacher = Some((values(&master), distill.alpha, distill.temperature));
        Ok(loss(values(logits), self.classes, Targets { labels, smoothing, teacher }))
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
        let found = evaluate(network, self.run.validation)?;
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
    fn averaged(&self) -> Option<Graph> {
        self.config.ema?;
        let mut graph = self.graph.clone();
        for (param, slot) in graph.params.iter_mut().zip(&self.slots) {
            if !slot.average.is_empty() {
                trained_mut(param).copy_from_slice(&slot.average);
            }
        }
        Some(graph)
    }

    /// Leaves the weights that are to be kept in the graph.
    fn finish(&mut self) {
        if let Some(averaged) = self.averaged() {
            self.graph.params = averaged.params;
        }
        if let (true, Some(best)) = (self.config.keep_best, &self.state.best) {
            self.graph.params.clone_from(&best.params);
        }
    }

    fn resume(&mut self) -> Result<bool, TrainError> {
        let (Some(checkpoints), Some(key)) = (self.run.checkpoints, self.key) else {
            return Ok(false);
        };
        if !checkpoints.resume {
            return Ok(false);
        }
        let content = load(&checkpoints.path, key).map_err(|source| failed(checkpoints, source))?;
        let Some(Content { state, params, values, moments, averages }) = content else {
            return Ok(false);
        };
        (self.state, self.graph.params, self.graph.values) = (state, params, values);
        self.graph.validate()?;
        self.slots = self
            .graph
            .params
            .iter()
            .zip(moments.into_iter().zip(averages))
            .map(|(param, (moments, average))| Slot { moments, average, ..Slot::new(param) })
            .collect();
        Ok(true)
    }

    fn save_if_due(&mut self) -> Result<(), TrainError> {
        match self.run.checkpoints {
            Some(checkpoints) if self.saved.elapsed() >= checkpoints.every => self.save(),
            _ => Ok(()),
        }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let (Some(checkpoints), Some(key)) = (self.run.checkpoints, self.key) else {
            return Ok(());
        };
        let content = Content {
            state: self.state.clone(),
            params: self.graph.params.clone(),
            values: self.graph.values.clone(),
            moments: self.slots.iter().map(|slot| slot.moments.clone()).collect(),
            averages: self.slots.iter().map(|slot| slot.average.clone()).collect(),
        };
        save(&checkpoints.path, key, &content).map_err(|source| failed(checkpoints, source))?;
        self.saved = Instant::now();
        Ok(())
    }
}

fn failed(checkpoints: &Checkpoints, source: CheckpointError) -> TrainError {
    TrainError::Checkpoint { path: checkpoints.path.clone(), source }
}

#[expect(clippy::cast_precision_loss, reason = "a count of images")]
fn per_second(images: usize, elapsed: Duration) -> f64 {
    images as f64 / elapsed.as_secs_f64().max(1e-9)
}
