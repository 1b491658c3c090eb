//! The level of 32-bit Arm: kernels in plain Rust, in blocks that the compiler turns into NEON for integers.
//!
//! Stable Rust has no NEON intrinsics for 32-bit Arm, and its floats there are not those of IEEE 754 (denormals count as zero),
//! so the compiler keeps floats in VFP, one at a time. What a block of rows saves is loading weights again for each row.

use std::sync::Arc;

use embdl_core::kernels::{
    GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, Pointwise, Tile, gemm as reference,
};
use embdl_core::runtime::RuntimeError;

mod gemm;

/// Environment variable that names a level to use.
const OVERRIDE: &str = "EMBDL_ISA";
/// The name of the level.
const LEVEL: &str = "armv7";

/// The only level: what the program was compiled for.
pub(crate) fn isas() -> Vec<&'static str> {
    vec![LEVEL]
}

/// The kernels of the level `isa`, or of the one that the environment names.
pub(crate) fn kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>, RuntimeError> {
    let from_environment = std::env::var(OVERRIDE).ok().filter(|name| !name.is_empty());
    match isa.or(from_environment.as_deref()) {
        None | Some(LEVEL) => Ok(Arc::new(Armv7)),
        Some(asked) => Err(RuntimeError::IsaUnavailable { asked: asked.into(), available: isas() }),
    }
}

/// The kernels.
#[derive(Clone, Copy, Debug)]
struct Armv7;

impl Pointwise for Armv7 {}

impl Kernels for Armv7 {
    fn isa(&self) -> &'static str {
        LEVEL
    }

    fn tile_f32(&self) -> Tile {
        reference::TILE_F32
    }

    fn tile_q8(&self) -> Tile {
        reference::TILE_Q8
    }

    fn kernel_name(&self, kind: KernelKind) -> &'static str {
        match kind {
            KernelKind::GemmF32 => "gemm_f32_f32_4x4__armv7",
            KernelKind::GemmQ8 => "gemm_qu8_qc8w_4x8__armv7",
            other => other.scalar_name(),
        }
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::gemm_f32(job, out);
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::gemm_q8(job, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_levels_are_refused_by_name() {
        assert_eq!(kernels(Some(LEVEL)).unwrap().isa(), LEVEL);
        let refusal = kernels(Some("neon")).err();
        let available = vec![LEVEL];
        assert_eq!(refusal, Some(RuntimeError::IsaUnavailable { asked: "neon".into(), available }));
    }
}
