//! Where accumulators go, as integer kernels take it.

use embdl_core::exec;
use embdl_core::quant::Requant;

use crate::params::{ACCUMULATORS, LEVELS, RELU_ACCUMULATORS, Stage};

/// The output stage of an integer layer, as parameters and constants.
#[derive(Clone)]
pub(super) struct Finish {
    pub(super) stage: Stage,
    /// One a channel, or one for all; none for accumulators.
    multipliers: Vec<i32>,
}

impl Finish {
    pub(super) fn new(stage: &exec::Stage) -> Self {
        match stage {
            exec::Stage::Accumulators { relu } => Self {
                stage: Stage {
                    kind: if *relu { RELU_ACCUMULATORS } else { ACCUMULATORS },
                    shift: 1,
                    ..Stage::default()
                },
                multipliers: Vec::new(),
            },
            exec::Stage::Levels(requant) => {
                Self { stage: levels(requant), multipliers: requant.multipliers.clone() }
            }
        }
    }

    /// Whether results are levels.
    pub(super) const fn is_levels(&self) -> bool {
        self.stage.kind == LEVELS
    }

    /// Bytes of the multipliers of so many channels, and the multipliers themselves into them.
    pub(super) const fn multiplier_bytes(&self, channels: usize) -> usize {
        if self.is_levels() { channels * 4 } else { 0 }
    }

    /// Writes the multiplier of each channel.
    pub(super) fn fill(&self, slots: &mut [i32]) {
        for (channel, slot) in slots.iter_mut().enumerate() {
            let at = if self.multipliers.len() == 1 { 0 } else { channel };
            *slot = self.multipliers.get(at).copied().unwrap_or(0);
        }
    }
}

/// Levels by the shift of a requantization.
pub(super) fn levels(requant: &Requant) -> Stage {
    of_levels(requant.shift, requant.zero_point, (requant.min, requant.max))
}

pub(super) fn of_levels(shift: u32, zero_point: u8, (min, max): (u8, u8)) -> Stage {
    Stage { kind: LEVELS, shift, zero_point: zero_point.into(), min: min.into(), max: max.into() }
}

/// What a bias becomes where levels are multiplied as they are: all products of a channel whose weights add up to `sum` have
/// `zero_point * sum` too much.
pub(super) fn folded_bias(bias: i32, zero_point: u8, sum: i32) -> i32 {
    bias.wrapping_sub(i32::from(zero_point).wrapping_mul(sum))
}
