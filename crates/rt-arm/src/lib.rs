//! The Arm runtime: NEON, dotprod and i8mm kernels of AArch64, portable ones of 32-bit Arm. Never depends on another runtime.
#![cfg(any(target_arch = "aarch64", target_arch = "arm"))]

use std::sync::Arc;

use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::Kernels;
use embdl_core::runtime::{Capabilities, RuntimeError};

#[cfg(target_arch = "arm")]
mod armv7;
#[cfg(target_arch = "aarch64")]
mod detect;
#[cfg(target_arch = "aarch64")]
mod kernels;

#[cfg(target_arch = "arm")]
use armv7 as level;
#[cfg(target_arch = "aarch64")]
use level_of_aarch64 as level;

/// Instruction set levels that can be used here, best first: "i8mm" and "dotprod" where the CPU has them, "neon"; "armv7" on
/// 32 bits. They give the same integers, and floats to the same precision.
///
/// Beside them, "fp16" may be asked for by name where the CPU has it: float layers in halves, integers as at the best level.
#[must_use]
pub fn isas() -> Vec<&'static str> {
    level::isas()
}

/// The runtime "arm": every level of this CPU may be asked for at load; the default is what [`kernels`] takes.
///
/// # Errors
/// As for [`kernels`].
pub fn runtime() -> Result<CpuRuntime, RuntimeError> {
    let isa = level::kernels(None)?.isa();
    Ok(CpuRuntime::new("arm", Capabilities { isa, isas: isas() }, kernels)
        .with_threads(embdl_threads::threads))
}

/// The runtime with "fp16" as its only level, for those who want halves.
///
/// # Errors
/// If the CPU cannot compute with vectors of halves, or as for [`kernels`].
#[cfg(target_arch = "aarch64")]
pub fn halves() -> Result<CpuRuntime, RuntimeError> {
    let isa = level::kernels(Some(detect::FP16))?.isa();
    let select = |isa: Option<&str>| kernels(isa.or(Some(detect::FP16)));
    Ok(CpuRuntime::new("arm", Capabilities { isa, isas: vec![isa] }, select)
        .with_threads(embdl_threads::threads))
}

/// Kernels for the level `isa`, or for the one that the environment variable `EMBDL_ISA` names, or for the best one.
///
/// # Errors
/// If the level is unknown or absent here, or the CPU has no NEON.
pub fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    level::kernels(isa)
}

/// What `armv7` is on 32 bits.
#[cfg(target_arch = "aarch64")]
mod level_of_aarch64 {
    use super::{Arc, Kernels, RuntimeError, detect, kernels::ArmKernels};

    pub(crate) fn isas() -> Vec<&'static str> {
        detect::available().into_iter().map(detect::Level::name).collect()
    }

    pub(crate) fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
        let (level, halves) = detect::select(isa)?;
        Ok(Arc::new(ArmKernels::new(level, halves)))
    }
}
