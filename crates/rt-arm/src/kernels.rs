//! Which vector code each job of a level runs on. The only calls from ordinary code into `#[target_feature]` functions.

use embdl_core::kernels::conv::{
    prepare_f32, prepare_sparse_f32, prepare_sparse_q8, sparse_ways_f32, sparse_ways_q8, ways_f32,
};
use embdl_core::kernels::gemm::{Lines, Runs};
use embdl_core::kernels::{
    BlocksF32, BlocksQ8, CodebookQ8, ConvProblem, ConvWay, ConvWeights, DepthwiseF32, DepthwiseQ8,
    EllQ8, EllTile, GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, PackedF32, Pointwise,
    PointwiseKind, PreparedF32, PreparedQ8, RowsF32, RowsForm, RowsProblem, RowsQ8, SparseF32,
    SparseQ8, Tile, WindowGeometry,
};

use embdl_core::quant::AddRequant;

use crate::detect::{self, Fp16, Level};

mod blocks;
mod codebook;
mod conv;
mod conv_q8;
mod cost;
mod depthwise;
mod ell;
mod gemm;
mod output;
mod pointwise;
mod pool;
mod sparse;
mod window;

/// The kernels of one level; holding one proves that the level runs here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArmKernels {
    level: Level,
    /// Where float layers are wanted in halves.
    halves: Option<Fp16>,
}

impl ArmKernels {
    pub(crate) fn new(level: Level, halves: Option<Fp16>) -> Self {
        Self { level, halves }
    }
}

impl Pointwise for ArmKernels {
    fn pointwise_name(&self, kind: PointwiseKind) -> &'static str {
        match kind {
            PointwiseKind::AddU8 => "add_qu8_qu8_1x16__neon",
            _ => kind.scalar_name(),
        }
    }

    fn add_u8(&self, data: &mut [u8], rhs: &[u8], requant: &AddRequant) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { pointwise::add_u8(data, rhs, requant) }
    }
}

impl Kernels for ArmKernels {
    fn isa(&self) -> &'static str {
        if self.halves.is_some() { detect::FP16 } else { self.level.name() }
    }

    fn tile_f32(&self) -> Tile {
        gemm::f32::TILE
    }

    fn finish_f32(&self, packed: &mut PackedF32) {
        if self.halves.is_some() {
            // SAFETY: the token exists only where halves were detected.
            unsafe { gemm::f16::narrow_weights(packed) }
        }
    }

    fn tile_q8(&self) -> Tile {
        match self.level {
            Level::Neon(_) => gemm::neon::TILE_Q8,
            Level::Dotprod(_) => gemm::dotprod::TILE_Q8,
            Level::I8mm(_) => gemm::i8mm::TILE_Q8,
        }
    }

    fn kernel_name(&self, kind: KernelKind) -> &'static str {
        match (kind, self.level) {
            (KernelKind::GemmF32, _) if self.halves.is_some() => "gemm_f32_f16_6x16__fp16",
            (KernelKind::GemmF32, _) => "gemm_f32_f32_6x16__neon",
            (KernelKind::GemmQ8, Level::Neon(_)) => "gemm_qu8_qc8w_4x4c16__neon",
            (KernelKind::GemmQ8, Level::Dotprod(_)) => "gemm_qu8_qc8w_8x8c4__dotprod",
            (KernelKind::GemmQ8, Level::I8mm(_)) => "gemm_qu8_qc8w_8x8c8__i8mm",
            (KernelKind::SparseF32, _) => "gemm_f32_bsrw_4x1__neon",
            (KernelKind::SparseQ8, _) => "gemm_qu8_bsrw_4x1__neon",
            (KernelKind::EllQ8, Level::Neon(_)) => "gemm_qu8_ellw_1x16c128__neon",
            (KernelKind::EllQ8, Level::Dotprod(_) | Level::I8mm(_)) => {
                "gemm_qu8_ellw_1x16c128__dotprod"
            }
            (KernelKind::BlocksF32, _) => "gemm_f32_blkw_8x4__neon",
            (KernelKind::BlocksQ8, Level::Neon(_)) => "gemm_qu8_blkw_6x2c8__neon",
            (KernelKind::BlocksQ8, Level::Dotprod(_) | Level::I8mm(_)) => {
                "gemm_qu8_blkw_8x4c4__dotprod"
            }
            (KernelKind::LrnF32, _) => kind.scalar_name(),
            (KernelKind::CodebookQ8, Level::Neon(_)) => "gemm_qu8_cb4w_1x4c32__neon",
            (KernelKind::CodebookQ8, Level::Dotprod(_) | Level::I8mm(_)) => {
                "gemm_qu8_cb4w_1x4c32__dotprod"
            }
            (KernelKind::DepthwiseF32, _) => "depthwise_f32_f32_4x8__neon",
            (KernelKind::DepthwiseQ8, _) => "depthwise_qu8_qc8w_4x8__neon",
            (KernelKind::MaxPoolF32, _) => "maxpool_f32_f32_4x4__neon",
            (KernelKind::MaxPoolU8, _) => "maxpool_qu8_qu8_4x16__neon",
        }
    }

    fn rows_cost(&self, problem: &RowsProblem, form: RowsForm) -> Option<f32> {
        cost::rows(self.level, problem, form)
    }

    fn tile_ell(&self, _density: f32) -> EllTile {
        ell::TILE
    }

    fn tile_blocks(&self, quantized: bool) -> Tile {
        match self.level {
            _ if !quantized => blocks::TILE_F32,
            Level::Neon(_) => blocks::TILE_NEON,
            Level::Dotprod(_) | Level::I8mm(_) => blocks::TILE_DOTPROD,
        }
    }

    fn conv_f32_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
        let sparse = sparse_ways_f32(self, problem);
        match self.halves {
            Some(halves) => conv::half_ways(*self, halves, problem, sparse),
            None => [ways_f32(*self, problem), sparse].concat(),
        }
    }

    fn conv_f32(
        &self,
        way: &str,
        problem: &ConvProblem,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> PreparedF32 {
        let in_halves = self.halves.and_then(|halves| {
            prepare_f32(conv::HalfKernels::new(*self, halves), way, problem, weights, clamp)
        });
        in_halves
            .or_else(|| prepare_sparse_f32(*self, way, problem, weights, clamp))
            .or_else(|| prepare_f32(*self, way, problem, weights, clamp))
    }

    fn conv_q8_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
        let mut ways = conv_q8::ways(self.level, problem);
        ways.extend(sparse_ways_q8(self, problem));
        ways
    }

    fn conv_q8(
        &self,
        way: &str,
        problem: &ConvProblem,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> PreparedQ8 {
        prepare_sparse_q8(*self, way, problem, weights, zero_point)
            .or_else(|| conv_q8::prepare(way, problem, weights, zero_point))
    }

    fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
        if self.halves.is_some() && !job.weights.halves.is_empty() {
            let runs = Runs::whole(job.weights.k);
            // SAFETY: the token exists only where halves were detected.
            return unsafe { gemm::f16::gemm_lines(job, runs, Lines::ONE, out) };
        }
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { gemm::f32::gemm(job, out) }
    }

    fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
        match self.level {
            // SAFETY: the token exists only where NEON was detected.
            Level::Neon(_) => unsafe { gemm::neon::gemm_q8(job, out) },
            // SAFETY: the token exists only where NEON and dotprod were detected.
            Level::Dotprod(_) => unsafe { gemm::dotprod::gemm_q8(job, out) },
            // SAFETY: the token exists only where NEON and i8mm were detected.
            Level::I8mm(_) => unsafe { gemm::i8mm::gemm_q8(job, out) },
        }
    }

    fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { sparse::sparse_f32(job, out) }
    }

    fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { sparse::sparse_q8(job, out) }
    }

    fn ell_q8(&self, job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
        match self.level {
            // SAFETY: the token exists only where NEON was detected.
            Level::Neon(_) => unsafe { ell::neon::ell_q8(job, out) },
            // SAFETY: the tokens exist only where NEON and dotprod were detected.
            Level::Dotprod(_) | Level::I8mm(_) => unsafe { ell::dotprod::ell_q8(job, out) },
        }
    }

    fn blocks_f32(&self, job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { blocks::blocks_f32(job, out) }
    }

    fn blocks_q8(&self, job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
        match self.level {
            // SAFETY: the token exists only where NEON was detected.
            Level::Neon(_) => unsafe { blocks::blocks_q8_neon(job, out) },
            // SAFETY: the tokens exist only where NEON and dotprod were detected.
            Level::Dotprod(_) | Level::I8mm(_) => unsafe { blocks::blocks_q8_dotprod(job, out) },
        }
    }

    fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
        match self.level {
            // SAFETY: the token exists only where NEON was detected.
            Level::Neon(_) => unsafe { codebook::neon::codebook_q8(job, out) },
            // SAFETY: the tokens exist only where NEON and dotprod were detected.
            Level::Dotprod(_) | Level::I8mm(_) => unsafe {
                codebook::dotprod::codebook_q8(job, out)
            },
        }
    }

    fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { depthwise::depthwise_f32(job, out) }
    }

    fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { depthwise::depthwise_q8(job, out) }
    }

    fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { pool::max_pool_f32(geometry, input, out) }
    }

    fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected.
        unsafe { pool::max_pool_u8(geometry, input, out) }
    }
}
