//! The two levels as implementations of `Kernels`.

use embdl_core::kernels::{GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, Tile};

use crate::detect::{Avx2, Sse41};

mod gemm;
mod output;

/// Vector code of the level "sse41".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse41Kernels(pub(crate) Sse41);

/// Vector code of the level "avx2".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2Kernels(pub(crate) Avx2);

impl Kernels for Sse41Kernels {
    fn isa(&self) -> &'static str {
        "sse41"
    }

    fn tile_f32(&self) -> Tile {
        gemm::sse41::TILE_F32
    }

    fn tile_q8(&self) -> Tile {
        gemm::sse41::TILE_Q8
    }

    fn kernel_name(&self, kind: KernelKind) -> &'static str {
        match kind {
            KernelKind::GemmF32 => "gemm_f32_f32_4x4c2__sse41",
            KernelKind::GemmQ8 => "gemm_qu8_qc8w_4x8c4__sse41",
            _ => kind.scalar_name(),
        }
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::sse41::gemm_f32(self.0, job, out);
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::sse41::gemm_q8(self.0, job, out);
    }
}

impl Kernels for Avx2Kernels {
    fn isa(&self) -> &'static str {
        "avx2"
    }

    fn tile_f32(&self) -> Tile {
        gemm::avx2::TILE_F32
    }

    fn tile_q8(&self) -> Tile {
        gemm::avx2::TILE_Q8
    }

    fn kernel_name(&self, kind: KernelKind) -> &'static str {
        match kind {
            KernelKind::GemmF32 => "gemm_f32_f32_6x16__avx2",
            KernelKind::GemmQ8 => "gemm_qu8_qc8w_4x16c4__avx2",
            _ => kind.scalar_name(),
        }
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::avx2::gemm_f32(self.0, job, out);
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::avx2::gemm_q8(self.0, job, out);
    }
}
