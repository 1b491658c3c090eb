//! Training as a step of the pipeline: seeds, checkpoints, gradual pruning, progress.

use embdl_compress::Observer;
use embdl_compress::passes::{PruneMagnitude, Sparsity, cubic_density};
use embdl_data::{Dataset, Split};
use embdl_graph::Graph;
use embdl_train::{
    Checkpoints, Device, EpochReport, HookError, Run, TrainConfig, TrainHooks, activations,
    evaluate_on, train,
};

use crate::error::FlowError;
use crate::progress::{Progress, TrainingState};
use crate::recipe::PruneStep;
use crate::record::EpochRecord;
use crate::state::StateDir;

/// What all trainings of a job share.
#[derive(Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) split: &'a Split,
    pub(crate) state: &'a StateDir,
    pub(crate) seed: u64,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) device: Device,
}

impl Training<'_> {
    /// Trains `graph` under its constraints; with `prune`, masks grow on the way.
    pub(crate) fn run(
        &self,
        step: &str,
        graph: &mut Graph,
        config: &TrainConfig,
        prune: Option<&PruneStep>,
        teacher: Option<&Graph>,
    ) -> Result<Vec<EpochRecord>, FlowError> {
        if config.epochs == 0 {
            return Ok(Vec::new());
        }
        let config = TrainConfig { seed: self.seed, ..config.clone() };
        let path = self.state.checkpoint(step);
        if !self.state.resumes() {
            // A checkpoint of an earlier run must not be taken for one of this run; there may be none.
            let _ = std::fs::remove_file(&path);
        }
        let every = core::time::Duration::from_secs(60);
        let checkpoints = Checkpoints { path, every, resume: self.state.resumes() };
        let run = Run {
            train: &self.split.train,
            validation: &self.split.validation,
            teacher: teacher.filter(|_| config.distill.is_some()),
            checkpoints: Some(&checkpoints),
            threads: std::thread::available_parallelism().ok().map(usize::from),
            device: self.device,
        };
        let mut hooks = Hooks { prune, progress: self.progress, validation: None };
        let report = train(graph, &run, &config, &mut hooks)?;
        Ok(report.epochs.iter().map(|epoch| record(step, epoch)).collect())
    }

    /// Accuracy of the network in training arithmetic, 0 to 1.
    pub(crate) fn accuracy(&self, graph: &Graph, images: &Dataset) -> Result<f64, FlowError> {
        Ok(evaluate_on(self.device, graph, images)?.accuracy)
    }

    /// Observes all activations on the first `count` training images.
    pub(crate) fn observe(&self, graph: &Graph, count: usize) -> Result<Vec<Observer>, FlowError> {
        let mut observers = vec![Observer::default(); graph.values.len()];
        activations(graph, &self.split.train.head(count), &mut |value, seen| {
            observers[value].observe(seen)
        })?;
        Ok(observers)
    }
}

fn record(step: &str, epoch: &EpochReport) -> EpochRecord {
    EpochRecord {
        step: step.into(),
        epoch: epoch.epoch,
        loss: epoch.loss,
        validation_accuracy: epoch.validation_accuracy,
        images_per_second: epoch.images_per_second,
    }
}

struct Hooks<'a> {
    prune: Option<&'a PruneStep>,
    progress: &'a dyn Progress,
    validation: Option<f64>,
}

impl Hooks<'_> {
    /// Progress of the ramp at `step`: 1 where masks are final.
    #[expect(clippy::cast_precision_loss, reason = "shares of step counts")]
    fn ramp(prune: &PruneStep, step: usize, steps: usize) -> f64 {
        let length = (steps as f64 * prune.ramp.clamp(0.0, 1.0)).max(1.0);
        (step as f64 / length).min(1.0)
    }
}

impl TrainHooks for Hooks<'_> {
    fn on_step(&mut self, step: usize, steps: usize, graph: &mut Graph) -> Result<bool, HookError> {
        let Some(prune) = self.prune else { return Ok(false) };
        let ramp = Self::ramp(prune, step, steps);
        let last_change = step > 0 && ramp >= 1.0 && Self::ramp(prune, step - 1, steps) < 1.0;
        if !(last_change || (ramp < 1.0 && step.is_multiple_of(prune.every.max(1)))) {
            return Ok(false);
        }
        let sparsity = at(&prune.sparsity, ramp);
        PruneMagnitude::new(sparsity).by_blocks(prune.blocks).apply(graph)?;
        Ok(true)
    }

    fn is_settled(&self, step: usize, steps: usize) -> bool {
        self.prune.is_none_or(|prune| Self::ramp(prune, step, steps) >= 1.0)
    }

    fn on_progress(&mut self, at: &embdl_train::Progress) {
        self.progress.training(&TrainingState {
            step: at.step,
            steps: at.steps,
            epoch: at.epoch,
            epochs: at.epochs,
            loss: at.loss,
            validation_accuracy: self.validation,
            images_per_second: at.images_per_second,
        });
    }

    fn on_epoch(&mut self, report: &EpochReport) -> bool {
        self.validation = Some(report.validation_accuracy);
        true
    }
}

/// The sparsity after a share of the ramp.
fn at(last: &Sparsity, ramp: f64) -> Sparsity {
    match last {
        Sparsity::PerLayer(layers) => Sparsity::PerLayer(
            layers
                .iter()
                .map(|(layer, density)| (layer.clone(), cubic_density(*density, ramp)))
                .collect(),
        ),
        Sparsity::Lamp(density) => Sparsity::Lamp(cubic_density(*density, ramp)),
        Sparsity::Deviations(q) => Sparsity::Deviations(q * ramp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_grow_to_the_last_and_then_stay() {
        let prune = PruneStep {
            blocks: None,
            sparsity: Sparsity::Lamp(0.1),
            every: 10,
            ramp: 0.5,
            train: TrainConfig::default(),
        };
        let mut hooks =
            Hooks { prune: Some(&prune), progress: &crate::progress::Silent, validation: None };
        let mut graph = embdl_graph::zoo::lenet300(1);
        let mut densities = Vec::new();
        for step in 0..100 {
            if hooks.on_step(step, 100, &mut graph).unwrap() {
                let kept: f64 = graph.layers().map(|(_, w)| w.density() * w.len() as f64).sum();
                densities.push((step, kept / 266_200.0));
                assert!(!hooks.is_settled(step, 100) || step == 50);
            }
        }
        assert_eq!(
            densities.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
            [0, 10, 20, 30, 40, 50]
        );
        assert!(densities.windows(2).all(|pair| pair[1].1 < pair[0].1));
        assert!((densities[5].1 - 0.1).abs() < 1e-4, "{densities:?}");
    }
}
