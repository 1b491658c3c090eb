//! The passes, one file each.

mod correct_bias;
mod equalize;
mod learn_rounding;
mod prune;
mod quantize;
mod share;

pub use correct_bias::CorrectBias;
pub use equalize::{Balance, Clipping, EqualizeLayers};
pub use learn_rounding::LearnRounding;
pub use prune::{PruneMagnitude, Sparsity, cubic_density};
pub use quantize::{QuantizeActivations, QuantizeWeights};
pub use share::{ShareWeights, snap_centroids};
