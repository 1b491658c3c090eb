//! The levels as implementations of `Kernels`: each kernel is written once, over `Simd`, and compiled for each level here.

use embdl_core::kernels::conv::transform::{InputTiles, OutputTiles, Size};
use embdl_core::kernels::conv::{
    ConvLevel, Costs, Names, prepare_f32, prepare_sparse_f32, prepare_sparse_q8, sparse_ways_f32,
    sparse_ways_q8, ways_f32,
};
use embdl_core::kernels::parallel::Shared;
use embdl_core::kernels::{
    BlocksF32, BlocksQ8, CodebookQ8, ConvProblem, ConvWay, ConvWeights, DepthwiseF32, DepthwiseQ8,
    EllQ8, EllTile, GemmF32, GemmQ8, KernelKind, Kernels, OutQ8, PreparedF32, PreparedQ8, RowsF32,
    RowsForm, RowsProblem, RowsQ8, SparseF32, SparseQ8, Tile, WindowGeometry,
};

use embdl_core::op::Lrn;

use crate::detect::{Avx2, Avx512, Avx512Vbmi, Avx512Vnni, AvxVnni, Sse41};
use crate::pages;
use crate::simd::Simd;
use conv::fft::{self, FftLevel};
use depthwise::dot::DepthwiseDot;
use gemm::Runs;

mod arithmetic;
mod average;
mod blocks;
mod codebook;
mod conv;
mod conv_q8;
mod cost;
mod depthwise;
mod ell;
pub(crate) mod gemm;
mod lrn;
mod map;
mod output;
mod pointwise;
mod pool;
mod segment;
mod sparse;

/// Vector code of a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelKernels<S>(pub(crate) S);

/// Compiles the kernels for a level: names of the functions, which profilers and profiles show, in the order of
/// [`KernelKind`]; what dense layers cost; the f32 GEMM with its tile; and the level (`=>`) that takes what has too few channels.
macro_rules! level {
    (
        $level:ident $isa:literal, features $features:literal,
        rows cost $costs:expr,
        gemm_f32 by $gemm_f32:path, $gemm_runs:path, $tile_f32:expr,
        winograd $transform:expr, $read:expr,
        fft $fft_costs:expr, [$($fft:ident)+],
        $(=> $lesser:ident,)?
        $gemm_f32_name:ident $gemm_q8_name:ident $sparse_f32_name:ident $sparse_q8_name:ident
        $ell_name:ident $blocks_f32_name:ident $blocks_q8_name:ident $codebook_name:ident $depthwise_f32_name:ident $depthwise_q8_name:ident
        $max_f32_name:ident $max_u8_name:ident $lrn_name:ident
        $direct:ident [$($winograd:ident)+]
    ) => {
        const _: () = {
            level!(@compile $features, $level, gemm_runs(job: &GemmF32<'_>, runs: Runs, out: &mut [f32]), $gemm_runs);
            level!(@compile $features, $level, input_6(job: &InputTiles<'_>, out: &mut [f32]), conv::input_6);
            level!(@compile $features, $level, input_8(job: &InputTiles<'_>, out: &mut [f32]), conv::input_8);
            level!(@compile $features, $level, output_4x3(job: &OutputTiles<'_>, out: &Shared<'_, f32>), conv::output_4x3);
            level!(@compile $features, $level, output_6x3(job: &OutputTiles<'_>, out: &Shared<'_, f32>), conv::output_6x3);
            level!(@compile $features, $level, output_4x5(job: &OutputTiles<'_>, out: &Shared<'_, f32>), conv::output_4x5);

            impl ConvLevel for LevelKernels<$level> {
                const NAMES: Names = Names {
                    direct: stringify!($direct),
                    winograd: [$(stringify!($winograd)),+],
                };
                const LANES: usize = <$level as Simd>::LANES;
                const MR: usize = <$level as Simd>::MR_F32;
                const COSTS: Costs = Costs { transform: $transform, read: $read };

                fn tile(self) -> Tile {
                    self.tile_f32()
                }

                fn gemm_runs(self, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
                    // SAFETY: the token proves that the CPU has the features, here and below.
                    unsafe { gemm_runs(self.0, job, runs, out) }
                }

                fn gemm(self, job: &GemmF32<'_>, out: &mut [f32]) {
                    self.gemm_f32(job, out);
                }

                fn input(self, size: Size, job: &InputTiles<'_>, out: &mut [f32]) {
                    match size {
                        // SAFETY: the token.
                        Size::F4x3 => unsafe { input_6(self.0, job, out) },
                        // SAFETY: the token.
                        Size::F6x3 | Size::F4x5 => unsafe { input_8(self.0, job, out) },
                    }
                }

                fn output(self, size: Size, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
                    match size {
                        // SAFETY: the token.
                        Size::F4x3 => unsafe { output_4x3(self.0, job, out) },
                        // SAFETY: the token.
                        Size::F6x3 => unsafe { output_6x3(self.0, job, out) },
                        // SAFETY: the token.
                        Size::F4x5 => unsafe { output_4x5(self.0, job, out) },
                    }
                }
            }

            level!(@compile $features, $level, forward_16(job: &fft::Forward<'_>, v: &Shared<'_, f32>, rows: &mut [f32]), conv::forward::<_, 16>);
            level!(@compile $features, $level, forward_32(job: &fft::Forward<'_>, v: &Shared<'_, f32>, rows: &mut [f32]), conv::forward::<_, 32>);
            level!(@compile $features, $level, forward_64(job: &fft::Forward<'_>, v: &Shared<'_, f32>, rows: &mut [f32]), conv::forward::<_, 64>);
            level!(@compile $features, $level, inverse_16(job: &fft::Inverse<'_>, out: &Shared<'_, f32>, rows: &mut [f32]), conv::inverse::<_, 16>);
            level!(@compile $features, $level, inverse_32(job: &fft::Inverse<'_>, out: &Shared<'_, f32>, rows: &mut [f32]), conv::inverse::<_, 32>);
            level!(@compile $features, $level, inverse_64(job: &fft::Inverse<'_>, out: &Shared<'_, f32>, rows: &mut [f32]), conv::inverse::<_, 64>);

            impl FftLevel for LevelKernels<$level> {
                const FFT_NAMES: [&str; 3] = [$(stringify!($fft)),+];
                const FFT_COSTS: fft::Costs = $fft_costs;

                fn forward(self, size: fft::Size, job: &fft::Forward<'_>, v: &Shared<'_, f32>, rows: &mut [f32]) {
                    match size {
                        // SAFETY: the token.
                        fft::Size::S16 => unsafe { forward_16(self.0, job, v, rows) },
                        // SAFETY: the token.
                        fft::Size::S32 => unsafe { forward_32(self.0, job, v, rows) },
                        // SAFETY: the token.
                        fft::Size::S64 => unsafe { forward_64(self.0, job, v, rows) },
                    }
                }

                fn inverse(self, size: fft::Size, job: &fft::Inverse<'_>, out: &Shared<'_, f32>, rows: &mut [f32]) {
                    match size {
                        // SAFETY: the token.
                        fft::Size::S16 => unsafe { inverse_16(self.0, job, out, rows) },
                        // SAFETY: the token.
                        fft::Size::S32 => unsafe { inverse_32(self.0, job, out, rows) },
                        // SAFETY: the token.
                        fft::Size::S64 => unsafe { inverse_64(self.0, job, out, rows) },
                    }
                }
            }

            level!(@compile $features, $level, $gemm_f32_name(job: &GemmF32<'_>, out: &mut [f32]), $gemm_f32);
            level!(@compile $features, $level, $gemm_q8_name(job: &GemmQ8<'_>, out: OutQ8<'_>), gemm::q8::gemm);
            level!(@compile $features, $level, $sparse_f32_name(job: &RowsF32<'_, SparseF32>, out: &mut [f32]), sparse::gemm_f32);
            level!(@compile $features, $level, $sparse_q8_name(job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>), sparse::gemm_q8);
            level!(@compile $features, $level, $ell_name(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>), ell::gemm);
            level!(@compile $features, $level, $blocks_f32_name(job: &RowsF32<'_, BlocksF32>, out: &mut [f32]), blocks::gemm_f32);
            level!(@compile $features, $level, $blocks_q8_name(job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>), blocks::gemm_q8);
            level!(@compile $features, $level, $codebook_name(job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>), codebook::gemm);
            level!(@compile $features, $level, $depthwise_f32_name(job: &DepthwiseF32<'_>, out: &mut [f32]), depthwise::depthwise_f32);
            level!(@compile $features, $level, $depthwise_q8_name(job: &DepthwiseQ8<'_>, out: OutQ8<'_>), depthwise::depthwise_q8);
            level!(@compile $features, $level, $lrn_name(lrn: &Lrn, channels: usize, input: &[f32], out: &mut [f32]), lrn::lrn_f32);
            level!(@compile $features, $level, $max_f32_name(geometry: &WindowGeometry, input: &[f32], out: &mut [f32]), pool::max_f32);
            level!(@compile $features, $level, $max_u8_name(geometry: &WindowGeometry, input: &[u8], out: &mut [u8]), pool::max_u8);

            impl Kernels for LevelKernels<$level> {
                fn isa(&self) -> &'static str {
                    $isa
                }

                fn tile_f32(&self) -> Tile {
                    $tile_f32
                }

                fn tile_q8(&self) -> Tile {
                    gemm::q8::tile::<$level>()
                }

                fn kernel_name(&self, kind: KernelKind) -> &'static str {
                    match kind {
                        KernelKind::GemmF32 => stringify!($gemm_f32_name),
                        KernelKind::GemmQ8 => stringify!($gemm_q8_name),
                        KernelKind::SparseF32 => stringify!($sparse_f32_name),
                        KernelKind::SparseQ8 => stringify!($sparse_q8_name),
                        KernelKind::EllQ8 => stringify!($ell_name),
                        KernelKind::BlocksF32 => stringify!($blocks_f32_name),
                        KernelKind::BlocksQ8 => stringify!($blocks_q8_name),
                        KernelKind::CodebookQ8 => stringify!($codebook_name),
                        KernelKind::DepthwiseF32 => stringify!($depthwise_f32_name),
                        KernelKind::DepthwiseQ8 => stringify!($depthwise_q8_name),
                        KernelKind::LrnF32 => stringify!($lrn_name),
                        KernelKind::MaxPoolF32 => stringify!($max_f32_name),
                        KernelKind::MaxPoolU8 => stringify!($max_u8_name),
                    }
                }

                fn advise(&self, memory: &mut [u8]) {
                    pages::prefer_large(memory);
                }

                fn rows_cost(&self, problem: &RowsProblem, form: RowsForm) -> Option<f32> {
                    let tile = self.tile_ell(problem.density);
                    cost::rows(&$costs, problem, form, tile, self.tile_blocks(problem.quantized))
                }

                fn tile_ell(&self, density: f32) -> EllTile {
                    ell::tile::<$level>(density)
                }

                fn tile_blocks(&self, quantized: bool) -> Tile {
                    blocks::tile::<$level>(quantized)
                }

                fn conv_f32_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
                    let mut ways = ways_f32(*self, problem);
                    ways.extend(fft::ways(*self, problem));
                    ways.extend(sparse_ways_f32(self, problem));
                    ways
                }

                fn conv_f32(
                    &self,
                    way: &str,
                    problem: &ConvProblem,
                    weights: ConvWeights<'_, f32, f32>,
                    clamp: (f32, f32),
                ) -> PreparedF32 {
                    fft::prepare(*self, way, problem, weights, clamp)
                        .or_else(|| prepare_sparse_f32(*self, way, problem, weights, clamp))
                        .or_else(|| prepare_f32(*self, way, problem, weights, clamp))
                }

                fn conv_q8_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
                    let mut ways = conv_q8::ways::<$level>(problem);
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
                        .or_else(|| conv_q8::prepare(self.0, way, problem, weights, zero_point))
                }

                fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
                    // SAFETY: the token.
                    unsafe { $gemm_f32_name(self.0, job, out) }
                }

                fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $gemm_q8_name(self.0, job, out) }
                }

                fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
                    // SAFETY: the token.
                    unsafe { $sparse_f32_name(self.0, job, out) }
                }

                fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $sparse_q8_name(self.0, job, out) }
                }

                fn ell_q8(&self, job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $ell_name(self.0, job, out) }
                }

                fn blocks_f32(&self, job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
                    // SAFETY: the token.
                    unsafe { $blocks_f32_name(self.0, job, out) }
                }

                fn blocks_q8(&self, job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $blocks_q8_name(self.0, job, out) }
                }

                fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $codebook_name(self.0, job, out) }
                }

                fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
                    if !depthwise::takes(&job.geometry, <$level as Simd>::LANES) {
                        $(return LevelKernels($lesser::from(self.0)).depthwise_f32(job, out);)?
                        #[allow(unreachable_code, reason = "where there is a lesser level")]
                        return embdl_core::kernels::depthwise::depthwise_f32(job, out);
                    }
                    // SAFETY: the token.
                    unsafe { $depthwise_f32_name(self.0, job, out) }
                }

                fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
                    if !depthwise::takes(&job.geometry, <$level as Simd>::LANES) {
                        $(return LevelKernels($lesser::from(self.0)).depthwise_q8(job, out);)?
                        #[allow(unreachable_code, reason = "where there is a lesser level")]
                        return embdl_core::kernels::depthwise::depthwise_q8(job, out);
                    }
                    // SAFETY: the token.
                    unsafe { $depthwise_q8_name(self.0, job, out) }
                }

                fn lrn_f32(&self, job: &Lrn, channels: usize, input: &[f32], out: &mut [f32]) {
                    if !lrn::takes(job, channels, <$level as Simd>::LANES) {
                        return embdl_core::kernels::lrn::lrn_f32(job, channels, input, out);
                    }
                    // SAFETY: the token.
                    unsafe { $lrn_name(self.0, job, channels, input, out) }
                }

                fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
                    if !pool::takes(geometry, <$level as Simd>::LANES) {
                        $(return LevelKernels($lesser::from(self.0)).max_pool_f32(geometry, input, out);)?
                        #[allow(unreachable_code, reason = "where there is a lesser level")]
                        return embdl_core::kernels::pool::max_pool_f32(geometry, input, out);
                    }
                    // SAFETY: the token.
                    unsafe { $max_f32_name(self.0, geometry, input, out) }
                }

                fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
                    if !pool::takes(geometry, 4 * <$level as Simd>::LANES) {
                        $(return LevelKernels($lesser::from(self.0)).max_pool_u8(geometry, input, out);)?
                        #[allow(unreachable_code, reason = "where there is a lesser level")]
                        return embdl_core::kernels::pool::max_pool_u8(geometry, input, out);
                    }
                    // SAFETY: the token.
                    unsafe { $max_u8_name(self.0, geometry, input, out) }
                }
            }
        };
    };
    (@compile $features:literal, $level:ident, $name:ident($($arg:ident: $type:ty),+), $kernel:path) => {
        #[allow(non_snake_case, reason = "the grammar of kernel names; not all functions have such")]
        #[target_feature(enable = $features)]
        fn $name(level: $level, $($arg: $type),+) {
            $kernel(level, $($arg),+);
        }
    };
}

level! {
    Sse41 "sse41", features "sse4.1,ssse3",
    rows cost cost::SSE41,
    gemm_f32 by gemm::pairs::gemm, gemm::pairs::gemm_runs, gemm::pairs::TILE,
    winograd [14.0, 18.0], [2.0, 8.0],
    fft fft::Costs { transform: [20.0, 28.0, 35.0], read: [0.1, 0.5, 3.0], call: 4e3 },
    [fft_f32_f32_16x4__sse41 fft_f32_f32_32x4__sse41 fft_f32_f32_64x4__sse41],
    gemm_f32_f32_6x4c2__sse41 gemm_qu8_qc8w_4x8c4__sse41 gemm_f32_bsrw_8x1__sse41
    gemm_qu8_bsrw_8x1__sse41 gemm_qu8_ellw_4x8c32__sse41 gemm_f32_blkw_8x4__sse41 gemm_qu8_blkw_6x2c8__sse41 gemm_qu8_cb4w_1x4c32__sse41 depthwise_f32_f32_4x8__sse41
    depthwise_qu8_qc8w_4x8__sse41 maxpool_f32_f32_1x4__sse41 maxpool_qu8_qu8_1x16__sse41 lrn_f32_f32_1x4__sse41
    conv_f32_f32_6x4c2__sse41 [winograd_f32_f32_4x4__sse41 winograd_f32_f32_6x4__sse41 winograd5_f32_f32_4x4__sse41]
}

level! {
    Avx2 "avx2", features "avx2,fma",
    rows cost cost::AVX2,
    gemm_f32 by gemm::f32::gemm, gemm::f32::gemm_runs, gemm::f32::tile::<Avx2>(),
    winograd [20.0, 30.0], [4.0, 10.0],
    fft fft::Costs { transform: [24.0, 38.0, 55.0], read: [0.3, 1.5, 6.5], call: 10e3 },
    [fft_f32_f32_16x8__avx2 fft_f32_f32_32x8__avx2 fft_f32_f32_64x8__avx2],
    => Sse41,
    gemm_f32_f32_6x16__avx2 gemm_qu8_qc8w_4x16c4__avx2 gemm_f32_bsrw_16x1__avx2
    gemm_qu8_bsrw_16x1__avx2 gemm_qu8_ellw_4x16c32__avx2 gemm_f32_blkw_8x8__avx2 gemm_qu8_blkw_6x8c4__avx2 gemm_qu8_cb4w_1x4c64__avx2 depthwise_f32_f32_4x16__avx2
    depthwise_qu8_qc8w_4x16__avx2 maxpool_f32_f32_1x8__avx2 maxpool_qu8_qu8_1x32__avx2 lrn_f32_f32_1x8__avx2
    conv_f32_f32_6x16__avx2 [winograd_f32_f32_4x8__avx2 winograd_f32_f32_6x8__avx2 winograd5_f32_f32_4x8__avx2]
}

level! {
    Avx512 "avx512", features "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    rows cost cost::AVX512,
    gemm_f32 by gemm::f32::gemm, gemm::f32::gemm_runs, gemm::f32::tile::<Avx512>(),
    winograd [35.0, 60.0], [4.0, 14.0],
    fft fft::Costs { transform: [35.0, 85.0, 110.0], read: [1.0, 5.0, 14.0], call: 20e3 },
    [fft_f32_f32_16x16__avx512 fft_f32_f32_32x16__avx512 fft_f32_f32_64x16__avx512],
    => Avx2,
    gemm_f32_f32_14x32__avx512 gemm_qu8_qc8w_12x32c4__avx512 gemm_f32_bsrw_32x1__avx512
    gemm_qu8_bsrw_32x1__avx512 gemm_qu8_ellw_4x32c32__avx512 gemm_f32_blkw_12x16__avx512 gemm_qu8_blkw_12x16c4__avx512 gemm_qu8_cb4w_1x4c128__avx512 depthwise_f32_f32_4x32__avx512
    depthwise_qu8_qc8w_4x32__avx512 maxpool_f32_f32_1x16__avx512 maxpool_qu8_qu8_1x64__avx512 lrn_f32_f32_1x16__avx512
    conv_f32_f32_14x32__avx512 [winograd_f32_f32_4x16__avx512 winograd_f32_f32_6x16__avx512 winograd5_f32_f32_4x16__avx512]
}

/// A level that is `$base` with byte dot products: only what multiplies bytes is compiled anew. A refinement of it (`=>`) takes
/// sparse rows where the CPU has it.
macro_rules! level_with_dot {
    (
        $level:ident $isa:literal, features $features:literal, $base:ident, rows cost $costs:expr,
        $gemm_q8_name:ident $ell_name:ident $blocks_q8_name:ident $codebook_name:ident
        $(=> $refined:ident by $refine:ident, features $refined_features:literal, rows cost $refined_costs:expr, $refined_ell_name:ident)?
    ) => {
        const _: () = {
            level!(@compile $features, $level, $gemm_q8_name(job: &GemmQ8<'_>, out: OutQ8<'_>), gemm::q8::gemm);
            level!(@compile $features, $level, $ell_name(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>), ell::gemm);
            $(level!(@compile $refined_features, $refined, $refined_ell_name(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>), ell::gemm);)?
            level!(@compile $features, $level, $blocks_q8_name(job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>), blocks::gemm_q8);
            level!(@compile $features, $level, $codebook_name(job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>), codebook::gemm);

            impl LevelKernels<$level> {
                fn base(&self) -> LevelKernels<$base> {
                    LevelKernels(self.0.into())
                }
            }

            impl Kernels for LevelKernels<$level> {
                fn isa(&self) -> &'static str {
                    $isa
                }

                fn tile_f32(&self) -> Tile {
                    self.base().tile_f32()
                }

                fn tile_q8(&self) -> Tile {
                    gemm::q8::tile::<$level>()
                }

                fn kernel_name(&self, kind: KernelKind) -> &'static str {
                    match kind {
                        KernelKind::GemmQ8 => stringify!($gemm_q8_name),
                        $(KernelKind::EllQ8 if self.0.$refine().is_some() => stringify!($refined_ell_name),)?
                        KernelKind::EllQ8 => stringify!($ell_name),
                        KernelKind::BlocksQ8 => stringify!($blocks_q8_name),
                        KernelKind::CodebookQ8 => stringify!($codebook_name),
                        kind => self.base().kernel_name(kind),
                    }
                }

                fn advise(&self, memory: &mut [u8]) {
                    pages::prefer_large(memory);
                }

                fn rows_cost(&self, problem: &RowsProblem, form: RowsForm) -> Option<f32> {
                    let tile = self.tile_ell(problem.density);
                    let blocks = self.tile_blocks(problem.quantized);
                    $(if self.0.$refine().is_some() {
                        return cost::rows(&$refined_costs, problem, form, tile, blocks);
                    })?
                    cost::rows(&$costs, problem, form, tile, blocks)
                }

                fn tile_ell(&self, density: f32) -> EllTile {
                    $(if self.0.$refine().is_some() {
                        return ell::tile::<$refined>(density);
                    })?
                    ell::tile::<$level>(density)
                }

                fn tile_blocks(&self, quantized: bool) -> Tile {
                    blocks::tile::<$level>(quantized)
                }

                fn conv_f32_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
                    self.base().conv_f32_ways(problem)
                }

                fn conv_f32(
                    &self,
                    way: &str,
                    problem: &ConvProblem,
                    weights: ConvWeights<'_, f32, f32>,
                    clamp: (f32, f32),
                ) -> PreparedF32 {
                    self.base().conv_f32(way, problem, weights, clamp)
                }

                fn conv_q8_ways(&self, problem: &ConvProblem) -> Vec<ConvWay> {
                    let mut ways = conv_q8::ways::<$level>(problem);
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
                        .or_else(|| conv_q8::prepare(self.0, way, problem, weights, zero_point))
                }

                fn gemm_f32(&self, job: &GemmF32<'_>, out: &mut [f32]) {
                    self.base().gemm_f32(job, out);
                }

                fn gemm_q8(&self, job: &GemmQ8<'_>, out: OutQ8<'_>) {
                    // SAFETY: the token proves that the CPU has the features, here and below.
                    unsafe { $gemm_q8_name(self.0, job, out) }
                }

                fn sparse_f32(&self, job: &RowsF32<'_, SparseF32>, out: &mut [f32]) {
                    self.base().sparse_f32(job, out);
                }

                fn sparse_q8(&self, job: &RowsQ8<'_, SparseQ8>, out: OutQ8<'_>) {
                    self.base().sparse_q8(job, out);
                }

                fn ell_q8(&self, job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
                    $(if let Some(refined) = self.0.$refine() {
                        // SAFETY: the token.
                        return unsafe { $refined_ell_name(refined, job, out) };
                    })?
                    // SAFETY: the token.
                    unsafe { $ell_name(self.0, job, out) }
                }

                fn blocks_f32(&self, job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
                    self.base().blocks_f32(job, out);
                }

                fn blocks_q8(&self, job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $blocks_q8_name(self.0, job, out) }
                }

                fn codebook_q8(&self, job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>) {
                    // SAFETY: the token.
                    unsafe { $codebook_name(self.0, job, out) }
                }

                fn depthwise_f32(&self, job: &DepthwiseF32<'_>, out: &mut [f32]) {
                    self.base().depthwise_f32(job, out);
                }

                fn depthwise_q8(&self, job: &DepthwiseQ8<'_>, out: OutQ8<'_>) {
                    if let Some(out) = self.0.depthwise_dot(job, out) {
                        self.base().depthwise_q8(job, out);
                    }
                }

                fn lrn_f32(&self, lrn: &Lrn, channels: usize, input: &[f32], out: &mut [f32]) {
                    self.base().lrn_f32(lrn, channels, input, out);
                }

                fn max_pool_f32(&self, geometry: &WindowGeometry, input: &[f32], out: &mut [f32]) {
                    self.base().max_pool_f32(geometry, input, out);
                }

                fn max_pool_u8(&self, geometry: &WindowGeometry, input: &[u8], out: &mut [u8]) {
                    self.base().max_pool_u8(geometry, input, out);
                }
            }
        };
    };
}

level_with_dot! {
    AvxVnni "avxvnni", features "avxvnni,avx2,fma", Avx2,
    rows cost cost::AVXVNNI,
    gemm_qu8_qc8w_6x16c4__avxvnni gemm_qu8_ellw_4x16c32__avxvnni gemm_qu8_blkw_12x8c4__avxvnni gemm_qu8_cb4w_1x4c64__avxvnni
}

level_with_dot! {
    Avx512Vnni "avx512vnni", features "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", Avx512,
    rows cost cost::AVX512VNNI,
    gemm_qu8_qc8w_12x32c4__avx512vnni gemm_qu8_ellw_4x32c32__avx512vnni gemm_qu8_blkw_12x16c4__avx512vnni gemm_qu8_cb4w_1x4c128__avx512vnni
    => Avx512Vbmi by with_vbmi, features "avx512vbmi,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
    rows cost cost::AVX512VBMI, gemm_qu8_ellw_4x32c128__avx512vbmi
}
