//! The AArch64 runtime: NEON, dotprod and i8mm kernels behind embdl-core's Kernels trait. Never depends on another runtime.
#![cfg(target_arch = "aarch64")]

use std::sync::Arc;

use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::Kernels;
use embdl_core::runtime::{Capabilities, RuntimeError};

mod detect;
mod kernels;

/// Instruction set levels that can be used here, best first: "i8mm" and "dotprod" where the CPU has them, "neon".
#[must_use]
pub fn isas() -> Vec<&'static str> {
    detect::available().into_iter().map(detect::Level::name).collect()
}

/// The runtime "arm": every level of this CPU may be asked for at load; the default is what [`kernels`] takes.
///
/// # Errors
/// As for [`kernels`].
pub fn runtime() -> Result<CpuRuntime, RuntimeError> {
    let isa = detect::select(None)?.name();
    Ok(CpuRuntime::new("arm", Capabilities { isa, isas: isas() }, kernels)
        .with_threads(embdl_threads::threads))
}

/// Kernels for the level `isa`, or for the one that the environment variable `EMBDL_ISA` names, or for the best one.
///
/// # Errors
/// If the level is unknown or absent here, or the CPU has no NEON.
pub fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    Ok(Arc::new(kernels::ArmKernels::new(detect::select(isa)?)))
}
