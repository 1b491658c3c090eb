//! The scalar kernels as a CPU: what every other implementation of [`Kernels`] is compared with.

use super::{Kernels, Pointwise};

/// Runs every kernel in plain Rust, on any target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference;

impl Kernels for Reference {
    fn isa(&self) -> &'static str {
        "scalar"
    }
}

impl Pointwise for Reference {}
