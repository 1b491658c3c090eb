//! Integer convolutions in ways of their own: exact Winograd.

use embdl_core::kernels::parallel::Shared;
use embdl_core::kernels::{ConvProblem, ConvWay, ConvWeights, OutQ8, PreparedQ8};
use embdl_core::quant::Requant;

use crate::detect::Level;

mod winograd;

use winograd::{Plan, Winograd};

const WINOGRAD: &str = "winograd_qu8_qc8w_4x8__neon";

/// The ways for `problem`.
pub(super) fn ways(level: Level, problem: &ConvProblem) -> Vec<ConvWay> {
    let way = |plan: Plan| ConvWay {
        name: WINOGRAD,
        cost: plan.cost(matches!(level, Level::Dotprod(_))),
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

/// Results that tasks share.
#[derive(Debug)]
enum SharedOut<'a> {
    U8(&'a Requant, Shared<'a, u8>),
    I32(Shared<'a, i32>),
}

impl<'a> SharedOut<'a> {
    fn new(out: OutQ8<'a>) -> Self {
        match out {
            OutQ8::U8(requant, out) => Self::U8(requant, Shared::new(out)),
            OutQ8::I32(out) => Self::I32(Shared::new(out)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::U8(_, out) => out.len(),
            Self::I32(out) => out.len(),
        }
    }
}
