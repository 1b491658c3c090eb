//! The x86 runtime: SSE4.1 to AVX-512 kernels behind embdl-core's Kernels trait. Never depends on another runtime.
#![cfg(target_arch = "x86_64")]

pub mod detect;
mod kernels;
mod pages;
mod simd;

use std::sync::Arc;

use embdl_core::exec::CpuRuntime;
use embdl_core::kernels::Kernels;
use embdl_core::runtime::{Capabilities, RuntimeError};

use detect::Level;
use kernels::LevelKernels;

/// The runtime "atom": every level of this CPU may be asked for at load; the default is what [`kernels()`] takes.
///
/// # Errors
/// As for [`kernels()`].
pub fn runtime() -> Result<CpuRuntime, RuntimeError> {
    let isa = Level::select(None)?.name();
    let isas = Level::available().into_iter().map(Level::name).collect();
    Ok(CpuRuntime::new("atom", Capabilities { isa, isas }, kernels)
        .with_threads(embdl_threads::threads))
}

/// The kernels of the level called `isa`, or of the one that the environment variable `EMBDL_ISA` names, or of the
/// best level of this CPU.
///
/// # Errors
/// If this CPU lacks the level, or has none of the levels.
pub fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    // Only what is named here is compiled.
    Ok(match Level::select(isa)? {
        Level::Sse41(token) => Arc::new(LevelKernels(token)),
        #[cfg(feature = "wide")]
        Level::Avx512Vnni(token) => Arc::new(LevelKernels(token)),
        #[cfg(feature = "wide")]
        Level::Avx512(token) => Arc::new(LevelKernels(token)),
        #[cfg(feature = "wide")]
        Level::AvxVnni(token) => Arc::new(LevelKernels(token)),
        #[cfg(feature = "wide")]
        Level::Avx2(token) => Arc::new(LevelKernels(token)),
        #[cfg(not(feature = "wide"))]
        _ => unreachable!("without the feature, only SSE4.1 is detected"),
    })
}
