//! Float convolutions by Winograd and with windows read in place: what embdl-core's drivers ask of NEON.

use core::arch::aarch64::*;

use embdl_core::kernels::conv::transform::{self, InputTiles, OutputTiles, Size};
use embdl_core::kernels::conv::{ConvLevel, Costs, Names, ways_f32};
use embdl_core::kernels::gemm::{Lines, Runs};
use embdl_core::kernels::lanes::Lanes;
use embdl_core::kernels::parallel::Shared;
use embdl_core::kernels::{ConvProblem, ConvWay, GemmF32, PackedF32, Tile};

use super::{ArmKernels, gemm};
use crate::detect::Fp16;

impl ConvLevel for ArmKernels {
    const NAMES: Names = Names {
        direct: "conv_f32_f32_6x16__neon",
        winograd: [
            "winograd_f32_f32_4x4__neon",
            "winograd_f32_f32_6x4__neon",
            "winograd5_f32_f32_4x4__neon",
        ],
    };
    const LANES: usize = 4;
    const MR: usize = gemm::f32::MR;
    // By instructions: `cargo xtask bench --count`.
    const COSTS: Costs = Costs { transform: [9.0, 13.0], read: [1.0, 3.0] };

    fn tile(self) -> Tile {
        gemm::f32::TILE
    }

    fn gemm(self, job: &GemmF32<'_>, out: &mut [f32]) {
        // SAFETY: every level implies NEON, and a level exists only where it was detected; so it is below.
        unsafe { gemm::f32::gemm(job, out) }
    }

    fn gemm_runs(self, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gemm::f32::gemm_runs(job, runs, out) }
    }

    const ACROSS_LINES: bool = true;

    fn gemm_lines(self, job: &GemmF32<'_>, runs: Runs, lines: Lines, out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gemm::f32::gemm_lines(job, runs, lines, out) }
    }

    fn input(self, size: Size, job: &InputTiles<'_>, out: &mut [f32]) {
        match size {
            // SAFETY: as above.
            Size::F4x3 => unsafe { input_6(job, out) },
            // SAFETY: as above.
            Size::F6x3 | Size::F4x5 => unsafe { input_8(job, out) },
        }
    }

    fn output(self, size: Size, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
        match size {
            // SAFETY: as above.
            Size::F4x3 => unsafe { output_4x3(job, out) },
            // SAFETY: as above.
            Size::F6x3 => unsafe { output_6x3(job, out) },
            // SAFETY: as above.
            Size::F4x5 => unsafe { output_4x5(job, out) },
        }
    }
}

/// Kernels that compute in halves what they can: windows read in place. Winograd's transforms would cost halves too many of
/// their bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfKernels {
    floats: ArmKernels,
    /// Proves that halves run here.
    _halves: Fp16,
}

impl HalfKernels {
    pub(super) const fn new(floats: ArmKernels, halves: Fp16) -> Self {
        Self { floats, _halves: halves }
    }
}

impl ConvLevel for HalfKernels {
    const NAMES: Names = Names {
        direct: "conv_f32_f16_6x16__fp16",
        // None of ours: those of floats are prepared by their own kernels.
        winograd: [""; 3],
    };
    const LANES: usize = ArmKernels::LANES;
    const MR: usize = ArmKernels::MR;
    const COSTS: Costs = ArmKernels::COSTS;

    fn tile(self) -> Tile {
        self.floats.tile()
    }

    fn finish(self, packed: &mut PackedF32) {
        // SAFETY: the token exists only where halves were detected; so it is below.
        unsafe { gemm::f16::narrow_weights(packed) }
    }

    fn gemm(self, job: &GemmF32<'_>, out: &mut [f32]) {
        self.gemm_lines(job, Runs::whole(job.weights.k), Lines::ONE, out);
    }

    fn gemm_runs(self, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
        self.gemm_lines(job, runs, Lines::ONE, out);
    }

    const ACROSS_LINES: bool = true;

    fn gemm_lines(self, job: &GemmF32<'_>, runs: Runs, lines: Lines, out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gemm::f16::gemm_lines(job, runs, lines, out) }
    }

    fn input(self, size: Size, job: &InputTiles<'_>, out: &mut [f32]) {
        self.floats.input(size, job, out);
    }

    fn output(self, size: Size, job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
        self.floats.output(size, job, out);
    }
}

/// The ways for a convolution where halves are wanted, those of `sparse` weights among them. Costs are in products of halves, of which there are nearly two for one
/// of floats.
pub(super) fn half_ways(
    floats: ArmKernels,
    halves: Fp16,
    problem: &ConvProblem,
    sparse: Vec<ConvWay>,
) -> Vec<ConvWay> {
    const PRODUCT: f32 = 1.9;
    let is_direct = |way: &ConvWay| way.name == HalfKernels::NAMES.direct;
    let mut ways = ways_f32(HalfKernels::new(floats, halves), problem);
    ways.retain(is_direct);
    for way in ways_f32(floats, problem).into_iter().chain(sparse) {
        if way.name != ArmKernels::NAMES.direct {
            ways.push(ConvWay { cost: PRODUCT * way.cost, ..way });
        }
    }
    ways
}

#[target_feature(enable = "neon")]
fn input_6(job: &InputTiles<'_>, out: &mut [f32]) {
    transform::input_6(Neon::new(), job, out);
}

#[target_feature(enable = "neon")]
fn input_8(job: &InputTiles<'_>, out: &mut [f32]) {
    transform::input_8(Neon::new(), job, out);
}

#[target_feature(enable = "neon")]
fn output_4x3(job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_4x3(Neon::new(), job, out);
}

#[target_feature(enable = "neon")]
fn output_6x3(job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_6x3(Neon::new(), job, out);
}

#[target_feature(enable = "neon")]
fn output_4x5(job: &OutputTiles<'_>, out: &Shared<'_, f32>) {
    transform::output_4x5(Neon::new(), job, out);
}

/// NEON's vectors; made only by functions that have the instructions enabled.
#[derive(Clone, Copy, Debug)]
struct Neon(());

impl Neon {
    #[target_feature(enable = "neon")]
    #[inline]
    fn new() -> Self {
        Self(())
    }
}

impl Lanes for Neon {
    const LANES: usize = 4;
    type F32 = float32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: a value of the type proves that NEON is there; so it is below.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> float32x4_t {
        // SAFETY: by the contract.
        unsafe { vld1q_f32(at) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, x: float32x4_t) {
        // SAFETY: by the contract.
        unsafe { vst1q_f32(at, x) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, sum: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sum, a, b) }
    }

    #[inline(always)]
    fn clamp(self, x: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vminq_f32(vmaxq_f32(x, low), high) }
    }
}
