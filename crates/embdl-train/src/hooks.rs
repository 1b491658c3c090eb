//! What a caller sees of a training and where it can step in.

use core::time::Duration;

use embdl_graph::Graph;
use serde::{Deserialize, Serialize};

/// Where a training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy on the (distorted) training images of the epoch so far, 0 to 1.
    pub accuracy: f64,
    /// Training images a second since the training began or was resumed.
    pub images_per_second: f64,
    /// Time until the last step at that rate.
    pub remaining: Duration,
}

/// One finished epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the (distorted) training images, 0 to 1.
    pub train_accuracy: f64,
    /// Mean cross-entropy on the validation images.
    pub validation_loss: f64,
    /// Accuracy on the validation images, 0 to 1.
    pub validation_accuracy: f64,
    /// Learning rate of the last step.
    pub learning_rate: f32,
    /// Training images a second, validation not counted.
    pub images_per_second: f64,
}

/// Why a hook failed.
pub type HookError = Box<dyn core::error::Error + Send + Sync>;

/// Called back by [`train`](crate::train). All methods may be left out; `()` does nothing.
///
/// What a hook does must follow from its arguments alone, so that a resumed training goes on as if never stopped.
pub trait TrainHooks: Send {
    /// Before step `step` of `steps` (from 0): may change masks, forms and latent values of parameters, and ranges of
    /// values. Returns whether it did.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the training.
    fn on_step(&mut self, step: usize, steps: usize, graph: &mut Graph) -> Result<bool, HookError> {
        let _ = (step, steps, graph);
        Ok(false)
    }

    /// Whether the network after `step` steps is of the kind that is wanted: while this is `false` (masks still grow),
    /// no epoch counts as the best and patience does not run out.
    fn is_settled(&self, step: usize, steps: usize) -> bool {
        let _ = (step, steps);
        true
    }

    /// After each step.
    fn on_progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// After each epoch; returns whether to go on.
    fn on_epoch(&mut self, report: &EpochReport) -> bool {
        let _ = report;
        true
    }
}

impl TrainHooks for () {}
