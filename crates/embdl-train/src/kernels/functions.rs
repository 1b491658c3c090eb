//! Element-wise functions and their slopes.

use embdl_core::op::Unary;
use rayon::prelude::*;

use super::PART;

/// The function of every element, as `embdl_core` defines it.
pub(crate) fn apply(unary: Unary, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(PART)
        .zip(x.par_chunks(PART))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = unary.apply(x)));
    y
}

/// Turns the gradient of the function's result into that of its argument.
pub(crate) fn through(unary: Unary, x: &[f32], dy: &mut [f32]) {
    dy.par_chunks_mut(PART)
        .zip(x.par_chunks(PART))
        .for_each(|(dy, x)| dy.iter_mut().zip(x).for_each(|(dy, &x)| *dy *= slope(unary, x)));
}

/// Derivative at `x`; at a kink, that of the side on which the function is not constant, or the right one.
fn slope(unary: Unary, x: f32) -> f32 {
    let inside = |x: f32, low: f32, high: f32| if x > low && x < high { 1.0 } else { 0.0 };
    match unary {
        Unary::Sigmoid => {
            let y = unary.apply(x);
            y * (1.0 - y)
        }
        Unary::HardSigmoid { alpha, beta } => alpha * inside(alpha * x + beta, 0.0, 1.0),
        Unary::HardSwish => {
            let gate = x / 6.0 + 0.5;
            gate.clamp(0.0, 1.0) + x / 6.0 * inside(gate, 0.0, 1.0)
        }
        Unary::Silu => {
            let gate = Unary::Sigmoid.apply(x);
            gate + x * gate * (1.0 - gate)
        }
        Unary::Tanh => {
            let y = unary.apply(x);
            1.0 - y * y
        }
        Unary::LeakyRelu { alpha } => {
            if x < 0.0 {
                alpha
            } else {
                1.0
            }
        }
        Unary::Elu { alpha } => {
            if x < 0.0 {
                unary.apply(x) + alpha
            } else {
                1.0
            }
        }
        Unary::Clip { min, max } => inside(x, min, max),
    }
}
