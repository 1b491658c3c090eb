//! The course of the learning rate.

use core::f32::consts::PI;

use serde::{Deserialize, Serialize};

/// Course of the learning rate from the first step to the last, as factors of the largest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Schedule {
    /// Always the largest.
    Constant,
    /// Linear warm-up during a share of the steps, then half a cosine down to zero.
    /// Source: Loshchilov and Hutter 2017, "SGDR".
    Cosine {
        /// Share of the steps, 0 to 1.
        warm_up: f32,
    },
    /// Divided by ten at each of these shares of the steps.
    Step {
        /// Shares of the steps, ascending.
        at: Vec<f32>,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { warm_up: 0.1 }
    }
}

impl Schedule {
    /// Factor of the largest learning rate at `step` of `steps`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shares of step counts")]
    pub fn factor(&self, step: usize, steps: usize) -> f32 {
        let progress = (step as f32 / steps.max(1) as f32).clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Cosine { warm_up } => {
                let warm_up_steps = (warm_up.clamp(0.0, 1.0) * steps as f32).floor();
                if (step as f32) < warm_up_steps {
                    return (step as f32 + 1.0) / warm_up_steps;
                }
                let rest = (steps as f32 - warm_up_steps).max(1.0);
                f32::midpoint(1.0, (PI * (step as f32 - warm_up_steps) / rest).cos())
            }
            Self::Step { at } => {
                at.iter().filter(|&&share| progress >= share).fold(1.0, |factor, _| factor * 0.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_then_falls_to_zero() {
        let cosine = Schedule::Cosine { warm_up: 0.1 };
        let factors: Vec<f32> = (0..1000).map(|step| cosine.factor(step, 1000)).collect();
        assert!(factors[..100].is_sorted() && (factors[99] - 1.0).abs() < 1e-6);
        assert!(factors[100..].windows(2).all(|pair| pair[1] <= pair[0]) && factors[999] < 1e-4);
        assert!(Schedule::Cosine { warm_up: 0.0 }.factor(0, 10) > 0.999);
    }

    #[test]
    fn steps_divide_by_ten() {
        let step = Schedule::Step { at: vec![0.5, 0.75] };
        let factors = [0, 499, 500, 750].map(|at| step.factor(at, 1000));
        for (factor, expected) in factors.iter().zip([1.0, 1.0, 0.1, 0.01]) {
            assert!((factor - expected).abs() < 1e-6);
        }
    }
}
