//! Optimizers on slices: one fused pass over a parameter.

use serde::{Deserialize, Serialize};

use crate::config::OptimizerConfig;

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
        assert!(
            values.len() == gradients.len(),
            "{} gradients for {} values",
            gradients.len(),
            values.len()
        );
        self.first.resize(values.len(), 0.0);
        self.steps = self.steps.saturating_add(1);
        match config {
            OptimizerConfig::Sgd { momentum, nesterov } => {
                for ((w, m), g) in values.iter_mut().zip(&mut self.first).zip(gradients) {
                    let g = g + weight_decay * *w;
                    *m = momentum * *m + g;
                    *w -= learning_rate * if nesterov { g + momentum * *m } else { *m };
                }
            }
            OptimizerConfig::Adam { beta1, beta2 } => {
                self.second.resize(values.len(), 0.0);
                let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
                let (unbias1, unbias2) = (1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps));
                let rate = learning_rate / unbias1;
                let shrink = 1.0 - learning_rate * weight_decay;
                let moments = self.first.iter_mut().zip(&mut self.second);
                for ((w, (m, v)), g) in values.iter_mut().zip(moments).zip(gradients) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *w = shrink * *w - rate * *m / ((*v / unbias2).sqrt() + 1e-8);
                }
            }
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
