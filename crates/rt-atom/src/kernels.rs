//! The two levels as implementations of `Kernels`.

use embdl_core::kernels::{
    CodebookQ8, DepthwiseF32, DepthwiseQ8, GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, RowsF32,
    RowsQ8, SparseF32, SparseQ8, Tile, WindowGeometry,
};

use crate::detect::{Avx2, Sse41};

mod codebook;
mod depthwise;
mod gemm;
mod output;
mod pool;
mod segment;
mod sparse;

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
            KernelKind::SparseF32 => "gemm_f32_bsrw_8x1__sse41",
            KernelKind::SparseQ8 => "gemm_qu8_bsrw_8x1__sse41",
            KernelKind::CodebookQ8 => "gemm_qu8_cb4w_1x4c32__sse41",
            KernelKind::DepthwiseF32 => "depthwise_f32_f32_4x8__sse41",
            KernelKind::DepthwiseQ8 => "depthwise_qu8_qc8w_4x8__sse41",
            KernelKind::MaxPoolF32 => "maxpool_f32_f32_1x4__sse41",
            KernelKind::MaxPoolU8 => "maxpool_qu8_qu8_1x16__sse41",
        }
    }

    /// Break-even of one row against the dense kernel, both in the second-level cache: docs, "Sparse or dense".
    fn prefers_sparse(&self, density: f32, quantized: bool) -> bool {
        density < if quantized { 0.04 } else { 0.15 }
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::sse41::gemm_f32(self.0, job, out);
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::sse41::gemm_q8(self.0, job, out);
    }

    fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
        sparse::sse41::sparse_f32(self.0, job, out);
    }

    fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
        sparse::sse41::sparse_q8(self.0, job, out);
    }

    fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
        codebook::sse41::codebook_q8(self.0, job, out);
    }

    fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
        depthwise::sse41::depthwise_f32(self.0, job, out);
    }

    fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
        depthwise::sse41::depthwise_q8(self.0, job, out);
    }

    fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
        pool::sse41::max_pool_f32(self.0, geometry, input, out);
    }

    fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
        pool::sse41::max_pool_u8(self.0, geometry, input, out);
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
            KernelKind::SparseF32 => "gemm_f32_bsrw_8x1__avx2",
            KernelKind::SparseQ8 => "gemm_qu8_bsrw_8x1__avx2",
            KernelKind::CodebookQ8 => "gemm_qu8_cb4w_1x4c64__avx2",
            KernelKind::DepthwiseF32 => "depthwise_f32_f32_4x16__avx2",
            KernelKind::DepthwiseQ8 => "depthwise_qu8_qc8w_4x16__avx2",
            KernelKind::MaxPoolF32 => "maxpool_f32_f32_1x8__avx2",
            KernelKind::MaxPoolU8 => "maxpool_qu8_qu8_1x32__avx2",
        }
    }

    /// Break-even of one row against the dense kernel, both in the second-level cache: docs, "Sparse or dense".
    fn prefers_sparse(&self, density: f32, quantized: bool) -> bool {
        density < if quantized { 0.015 } else { 0.1 }
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        gemm::avx2::gemm_f32(self.0, job, out);
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        gemm::avx2::gemm_q8(self.0, job, out);
    }

    fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
        sparse::avx2::sparse_f32(self.0, job, out);
    }

    fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
        sparse::avx2::sparse_q8(self.0, job, out);
    }

    fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
        codebook::avx2::codebook_q8(self.0, job, out);
    }

    fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
        depthwise::avx2::depthwise_f32(self.0, job, out);
    }

    fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
        depthwise::avx2::depthwise_q8(self.0, job, out);
    }

    fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
        pool::avx2::max_pool_f32(self.0, geometry, input, out);
    }

    fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
        pool::avx2::max_pool_u8(self.0, geometry, input, out);
    }
}
