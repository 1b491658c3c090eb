//! The passes, one file each.

mod prune;
mod quantize;
mod share;

pub use prune::{PruneMagnitude, Sparsity, cubic_density};
pub use quantize::{QuantizeActivations, QuantizeWeights};
pub use share::{ShareWeights, snap_centroids};
