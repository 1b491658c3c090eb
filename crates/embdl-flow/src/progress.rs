//! What a run says while it works; the command line draws bars from it.

/// Listens to a run. All methods may be called from several threads.
pub trait Progress: Sync {
    /// A part of the run begins: "lenet-5 on fashion-mnist: prune".
    fn begin(&self, what: &str);

    /// The part of the run is done; `result` says in words what came out.
    fn end(&self, result: &str);

    /// Training moves on.
    fn training(&self, _state: &TrainingState) {}

    /// A retest or measurement moves on: `done` of `total` images.
    fn images(&self, _what: &str, _done: usize, _total: usize) {}
}

/// Where a training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingState {
    /// Optimizer steps done, over all epochs.
    pub step: usize,
    /// Optimizer steps in all.
    pub steps: usize,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Running mean of the training loss.
    pub loss: f64,
    /// Accuracy on the validation set after the last whole epoch, 0 to 1.
    pub validation_accuracy: Option<f64>,
    /// Images a second.
    pub images_per_second: f64,
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str) {}
    fn end(&self, _: &str) {}
}
