//! Optimizers on slices: one fused pass over a parameter.

use serde::{Deserialize, Serialize};

use crate::config::OptimizerConfig;
use crate::kernels::vectorized;

/// What an optimizer remembers of one parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Momentum, or Adam's mean of gradients.
    pub first: Vec<f32>,
    /// Adam's mean of squared gradients; empty with SGD.
    pub second: Vec<f32>,
    /// Steps taken.
    pub steps: u32,
}

impl Moments {
    /// Moves `values` by one step against `gradients`.
    ///
    /// # Panics
    /// If `gradients` are not as many as `values`.
    pub fn step(
        &mut self,
        config: OptimizerConfig,
        learning_rate: f32,
        weight_decay: f32,
        values: &mut [f32],
        gradients: &[f32],
    ) {
        let rule = self.begin(config, learning_rate, weight_decay, values.len());
        rule.apply(values, &mut self.first, &mut self.second, gradients);
    }

    /// Starts a step of `len` values: counts it, makes room, and gives the rule to apply to all of them.
    pub(crate) fn begin(
        &mut self,
        config: OptimizerConfig,
        learning_rate: f32,
        weight_decay: f32,
        len: usize,
    ) -> Rule {
        self.first.resize(len, 0.0);
        self.steps = self.steps.saturating_add(1);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        match config {
            OptimizerConfig::Sgd { momentum, nesterov } => {
                Rule::Sgd { momentum, nesterov, learning_rate, weight_decay }
            }
            OptimizerConfig::Adam { beta1, beta2 } => {
                self.second.resize(len, 0.0);
                Rule::Adam {
                    betas: [beta1, beta2],
                    rate: learning_rate / (1.0 - beta1.powi(steps)),
                    unbias: 1.0 / (1.0 - beta2.powi(steps)),
                    shrink: 1.0 - learning_rate * weight_decay,
                }
            }
        }
    }
}

/// One step's arithmetic, the same for every element, so that parts of a parameter can take it on their own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Sgd { momentum: f32, nesterov: bool, learning_rate: f32, weight_decay: f32 },
    Adam { betas: [f32; 2], rate: f32, unbias: f32, shrink: f32 },
}

impl Rule {
    /// Moves `values` against `gradients`; `second` is not used by SGD.
    pub(crate) fn apply(
        self,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradients: &[f32],
    ) {
        assert!(
            values.len() == gradients.len(),
            "{} gradients for {} values",
            gradients.len(),
            values.len()
        );
        match self {
            Self::Sgd { momentum, nesterov, learning_rate, weight_decay } => {
                // Both forms are `g * own + m * memory`: (1, momentum) with Nesterov, (0, 1) without.
                let (own, memory) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
                let factors = [momentum, learning_rate, weight_decay, own, memory];
                sgd(values, first, gradients, factors);
            }
            Self::Adam { betas, rate, unbias, shrink } => {
                adam(values, first, second, gradients, [betas[0], betas[1], rate, unbias, shrink]);
            }
        }
    }
}

vectorized! {
    fn sgd<'a>(values: &'a mut [f32], first: &'a mut [f32], gradients: &'a [f32], factors: [f32; 5]) {
        let [momentum, learning_rate, weight_decay, own, memory] = factors;
        for ((w, m), g) in values.iter_mut().zip(first).zip(gradients) {
            let g = g + weight_decay * *w;
            *m = momentum * *m + g;
            *w -= learning_rate * (own * g + memory * *m);
        }
    }
}

vectorized! {
    fn adam<'a>(
        values: &'a mut [f32], first: &'a mut [f32], second: &'a mut [f32], gradients: &'a [f32], factors: [f32; 5],
    ) {
        let [beta1, beta2, rate, unbias, shrink] = factors;
        let moments = first.iter_mut().zip(second);
        for ((w, (m, v)), g) in values.iter_mut().zip(moments).zip(gradients) {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w = shrink * *w - rate * *m / ((*v * unbias).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minimizes `(x - 3)² / 2` from 0.
    fn minimum(config: OptimizerConfig, rate: f32, steps: usize) -> f32 {
        let (mut moments, mut x) = (Moments::default(), [0.0_f32]);
        for _ in 0..steps {
            let gradient = [x[0] - 3.0];
            moments.step(config, rate, 0.0, &mut x, &gradient);
        }
        x[0]
    }

    #[test]
    fn all_find_the_minimum() {
        for config in [
            OptimizerConfig::Sgd { momentum: 0.0, nesterov: false },
            OptimizerConfig::Sgd { momentum: 0.9, nesterov: false },
            OptimizerConfig::Sgd { momentum: 0.9, nesterov: true },
            OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999 },
        ] {
            let found = minimum(config, 0.05, 800);
            assert!((found - 3.0).abs() < 0.05, "{config:?}: {found}");
        }
    }

    #[test]
    fn first_steps_are_as_defined() {
        let step = |config| minimum(config, 0.1, 1);
        assert!((step(OptimizerConfig::Sgd { momentum: 0.9, nesterov: false }) - 0.3).abs() < 1e-6);
        assert!((step(OptimizerConfig::Sgd { momentum: 0.9, nesterov: true }) - 0.57).abs() < 1e-6);
        assert!((step(OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999 }) - 0.1).abs() < 1e-6);
    }
}
