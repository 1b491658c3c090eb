//! Training: what it takes, what comes of it, and its course from the first epoch to the last.

mod epoch;
mod keep;
mod step;

use std::time::Instant;

use burn_flex::FlexTensor;
use embdl_data::Dataset;
use embdl_data::augment::Augmenter;
use embdl_graph::Graph;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoints, Key, State};
use crate::config::TrainConfig;
use crate::device::{Device, Task};
use crate::error::TrainError;
use crate::evaluate::{check, constants};
use crate::hooks::{EpochReport, TrainHooks};
use crate::operators::Operators;
use crate::update::Slot;

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
    /// Where operators run.
    pub device: Device,
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

/// Trains `graph` in place. On the CPU the same inputs give the same weights bit for bit, on any number of threads,
/// resumed or not.
///
/// # Errors
/// If settings, graph and data do not fit, the loss diverges, a hook fails, a checkpoint cannot be used, or the device
/// cannot. The graph is then left as far as training came.
pub fn train(
    graph: &mut Graph,
    run: &Run<'_>,
    config: &TrainConfig,
    hooks: &mut dyn TrainHooks,
) -> Result<TrainReport, TrainError> {
    run.device.run(Whole { graph, run, config, hooks })
}

/// A training on any device.
pub(crate) struct Whole<'a> {
    pub(crate) graph: &'a mut Graph,
    pub(crate) run: &'a Run<'a>,
    pub(crate) config: &'a TrainConfig,
    pub(crate) hooks: &'a mut dyn TrainHooks,
}

impl Task for Whole<'_> {
    type Output = TrainReport;

    fn run<E: Operators>(self, on: &E) -> Result<TrainReport, TrainError> {
        let Self { graph, run, config, hooks } = self;
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
                Some(key.map_err(|source| keep::failed(checkpoints, source))?)
            }
            None => None,
        };
        let slots = graph.params.iter().map(Slot::new).collect();
        let mut training = Training {
            on,
            graph,
            run,
            config,
            hooks,
            augmenter,
            teacher,
            classes,
            key,
            slots,
            state: State::default(),
            steps_an_epoch: run.train.len().div_ceil(config.batch),
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
}

struct Training<'a, E> {
    on: &'a E,
    graph: &'a mut Graph,
    run: &'a Run<'a>,
    config: &'a TrainConfig,
    hooks: &'a mut dyn TrainHooks,
    augmenter: Augmenter,
    /// The teacher and its effective parameters.
    teacher: Option<(&'a Graph, Vec<FlexTensor>)>,
    classes: usize,
    key: Option<Key>,
    slots: Vec<Slot>,
    state: State,
    steps_an_epoch: usize,
    saved: Instant,
}

impl<E: Operators> Training<'_, E> {
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

    /// Leaves the weights that are to be kept in the graph.
    fn finish(&mut self) {
        if let Some(averaged) = self.averaged() {
            self.graph.params = averaged.params;
        }
        if let (true, Some(best)) = (self.config.keep_best, &self.state.best) {
            self.graph.params.clone_from(&best.params);
        }
    }
}
