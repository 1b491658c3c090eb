//! Integer convolutions in ways of their own: exact Winograd.

use embdl_core::kernels::{ConvProblem, ConvWay, ConvWeights, PreparedQ8};

use crate::detect::Level;

mod winograd;

use winograd::{Plan, Winograd};

const WINOGRAD: &str = "winograd_qu8_qc8w_4x8__neon";

/// The ways for `problem`.
pub(super) fn ways(level: Level, problem: &ConvProblem) -> Vec<ConvWay> {
    let way = |plan: Plan| ConvWay {
        name: WINOGRAD,
        cost: plan.cost(level),
        weight_bytes: plan.weight_bytes(),
        scratch_bytes: plan.scratch_bytes(),
    };
    Plan::new(problem).map(way).into_iter().collect()
}

/// Packs a convolution for the way called `name`.
pub(super) fn prepare(
    name: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, i8, i32>,
    zero_point: u8,
) -> PreparedQ8 {
    if name != WINOGRAD {
        return None;
    }
    Some(Box::new(Winograd::pack(Plan::new(problem)?, weights, zero_point)?))
}
