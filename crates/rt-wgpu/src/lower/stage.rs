//! Where accumulators go, as integer kernels take it.

use embdl_core::exec::Stage;

use crate::kernels::levels_word;

/// The output stage of an integer layer, as parameters and constants.
#[derive(Clone)]
pub(super) struct Finish {
    /// 0 for levels, 1 for accumulators, 2 for accumulators that are not negative.
    pub(super) stage: usize,
    pub(super) shift: usize,
    pub(super) levels: usize,
    /// One a channel, or one for all; none for accumulators.
    multipliers: Vec<i32>,
}

impl Finish {
    pub(super) fn new(stage: &Stage) -> Self {
        match stage {
            Stage::Accumulators { relu } => Self {
                stage: if *relu { 2 } else { 1 },
                shift: 1,
                levels: 0,
                multipliers: Vec::new(),
            },
            Stage::Levels(requant) => Self {
                stage: 0,
                shift: requant.shift as usize,
                levels: levels_word(requant.zero_point, requant.min, requant.max),
                multipliers: requant.multipliers.clone(),
            },
        }
    }

    /// Whether results are levels.
    pub(super) const fn is_levels(&self) -> bool {
        self.stage == 0
    }

    /// The multiplier of a channel.
    pub(super) fn multiplier(&self, channel: usize) -> u32 {
        let at = if self.multipliers.len() == 1 { 0 } else { channel };
        self.multipliers.get(at).map_or(0, |multiplier| multiplier.cast_unsigned())
    }
}

/// What a bias becomes where levels are multiplied as signed bytes, 128 below what they are: all products of a channel whose
/// weights add up to `sum` have `(zero_point - 128) * sum` too much.
pub(super) fn folded_bias(bias: i32, zero_point: u8, sum: i32) -> i32 {
    bias.wrapping_add((128 - i32::from(zero_point)).wrapping_mul(sum))
}

/// Four times the level that stands for zero, as a signed byte: what is outside of the input.
pub(super) fn outside_word(zero_point: u8) -> usize {
    u32::from_ne_bytes([zero_point ^ 0x80; 4]) as usize
}
