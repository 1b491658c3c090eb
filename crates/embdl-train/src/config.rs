//! How to train.

use embdl_data::augment::Augmentation;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::schedule::Schedule;

/// Settings of one training or retraining. What is left out of a recipe has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrainConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// What turns gradients into steps.
    pub optimizer: OptimizerConfig,
    /// Largest learning rate.
    pub learning_rate: f32,
    /// Course of the learning rate.
    pub schedule: Schedule,
    /// Decay of weights (not of biases, centroids, or factors of a channel), as a gradient of `weight_decay * w`; decoupled with Adam.
    pub weight_decay: f32,
    /// Largest Euclidean norm of the gradients of all parameters together; larger ones are scaled down to it. 0 for none.
    /// Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", §3.2.
    pub clip_norm: f32,
    /// Share of the target that goes to all classes alike.
    pub label_smoothing: f32,
    /// Distortion of training images.
    pub augmentation: Augmentation,
    /// Stop after so many epochs without a better validation accuracy; left out, all epochs are trained.
    pub patience: Option<usize>,
    /// Decay of an exponential moving average of the weights that is evaluated and kept in place of the last ones.
    pub ema: Option<f32>,
    /// Weight and temperature of distillation from a teacher, where the caller gives one.
    pub distill: Option<Distillation>,
    /// Keep the weights of the epoch with the best validation accuracy instead of the last ones.
    pub keep_best: bool,
    /// Seed of data order and augmentation.
    pub seed: u64,
}

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Momentum, 0 for none.
        momentum: f32,
        /// Nesterov's form of momentum.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019.
    Adam {
        /// Decay of the mean of gradients.
        beta1: f32,
        /// Decay of the mean of squared gradients.
        beta2: f32,
    },
}

/// Distillation. Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distillation {
    /// Share of the loss that comes from the teacher, 0 to 1.
    pub alpha: f32,
    /// Softens both distributions.
    pub temperature: f32,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Sgd { momentum: 0.9, nesterov: true }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            optimizer: OptimizerConfig::default(),
            learning_rate: 0.05,
            schedule: Schedule::default(),
            weight_decay: 5e-4,
            clip_norm: 5.0,
            label_smoothing: 0.0,
            augmentation: Augmentation::default(),
            patience: None,
            ema: None,
            distill: None,
            keep_best: false,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// Checks every setting's range; the augmentation checks its own.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that is outside.
    pub fn validate(&self) -> Result<(), TrainError> {
        let within = |setting, value: f32, low: f32, high: f32, range| {
            let is_inside = (low..=high).contains(&value);
            is_inside.then_some(()).ok_or(TrainError::Setting {
                setting,
                value: f64::from(value),
                range,
            })
        };
        if self.batch == 0 {
            return Err(TrainError::Setting { setting: "batch", value: 0.0, range: "at least 1" });
        }
        let positive = f32::MIN_POSITIVE;
        within("learning-rate", self.learning_rate, positive, f32::MAX, "positive")?;
        within("weight-decay", self.weight_decay, 0.0, f32::MAX, "0 or more")?;
        within("clip-norm", self.clip_norm, 0.0, f32::MAX, "0 or more")?;
        within("label-smoothing", self.label_smoothing, 0.0, 1.0, "0 to 1")?;
        within("ema", self.ema.unwrap_or(0.0), 0.0, 1.0, "0 to 1")?;
        if let Some(Distillation { alpha, temperature }) = self.distill {
            within("distill.alpha", alpha, 0.0, 1.0, "0 to 1")?;
            within("distill.temperature", temperature, positive, f32::MAX, "positive")?;
        }
        match self.optimizer {
            OptimizerConfig::Sgd { momentum, .. } => {
                within("momentum", momentum, 0.0, 1.0, "0 to 1")
            }
            OptimizerConfig::Adam { beta1, beta2 } => {
                let below = 1.0 - f32::EPSILON;
                within("beta1", beta1, 0.0, below, "at least 0 and below 1")?;
                within("beta2", beta2, 0.0, below, "at least 0 and below 1")
            }
        }
    }
}
