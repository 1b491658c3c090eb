//! The AArch64 runtime: NEON and dotprod kernels behind embdl-core's Kernels trait. Never depends on another runtime.
#![cfg(target_arch = "aarch64")]

use std::sync::Arc;

use embdl_core::kernels::Kernels;
use embdl_core::runtime::RuntimeError;

mod detect;
mod kernels;

/// Instruction set levels that can be used here, best first: "dotprod" where the CPU has it, "neon".
#[must_use]
pub fn isas() -> Vec<&'static str> {
    detect::available().into_iter().map(detect::Level::name).collect()
}

/// Kernels for the level `isa`, or for the one that the environment variable `EMBDL_ISA` names, or for the best one.
///
/// # Errors
/// If the level is unknown or absent here, or the CPU has no NEON.
pub fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    Ok(Arc::new(kernels::ArmKernels::new(detect::select(isa)?)))
}
