//! Networks known by name, each built as its paper says.

mod lenet;

pub use lenet::{lenet5, lenet300};

use crate::graph::Graph;

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 2] = ["lenet-300-100", "lenet-5"];

/// The network called `name` with initial weights from `seed`.
#[must_use]
pub fn by_name(name: &str, seed: u64) -> Option<Graph> {
    match name {
        "lenet-300-100" => Some(lenet300(seed)),
        "lenet-5" => Some(lenet5(seed)),
        _ => None,
    }
}
