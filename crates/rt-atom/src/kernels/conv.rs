//! Convolutions in other ways than im2col and GEMM: which level offers which, and what they are expected to cost.

use core::fmt;

use embdl_core::kernels::parallel::Shared;
use embdl_core::kernels::{ConvProblem, ConvWay, ConvWeights, GemmF32, PreparedF32, Tile};

use super::gemm::Runs;

pub(crate) mod direct;
pub(crate) mod transform;
pub(crate) mod winograd;

use direct::{Bands, Direct};
use transform::{InputTiles, OutputTiles, Size};
pub(crate) use winograd::Costs;
use winograd::{Blocks, Winograd};

/// What a level compiles for the convolutions.
pub(crate) trait ConvKernels: fmt::Debug + Copy + Send + Sync + 'static {
    /// Names of the ways of the level.
    const NAMES: Names;
    /// Floats of a vector.
    const LANES: usize;
    /// Rows of GEMM's largest tile.
    const MR: usize;
    /// What Winograd costs beside products.
    const COSTS: Costs;

    /// Packing of GEMM's weights.
    fn tile(self) -> Tile;
    /// GEMM.
    fn gemm(self, job: &GemmF32<'_>, out: &mut [f32]);
    /// GEMM with rows that are runs.
    fn gemm_runs(self, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]);
    /// `B^T d B` of a tile.
    fn input(self, size: Size, job: &InputTiles<'_>, out: &mut [f32]);
    /// `A^T M A` of a tile.
    fn output(self, size: Size, job: &OutputTiles<'_>, out: &Shared<'_, f32>);
}

/// Names of the ways of a level, which profiles show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    /// Windows read in place.
    pub(crate) direct: &'static str,
    /// F(4x4, 3x3).
    pub(crate) winograd_f4: &'static str,
    /// F(6x6, 3x3).
    pub(crate) winograd_f6: &'static str,
}

/// The ways for a float convolution.
pub(crate) fn ways_f32<K: ConvKernels>(kernels: K, problem: &ConvProblem) -> Vec<ConvWay> {
    let winograd = |name, size| {
        suits_winograd::<K>(problem).then(|| {
            let blocks = Blocks::new(problem, size, K::MR, &K::COSTS);
            ConvWay {
                name,
                cost: blocks.cost,
                weight_bytes: blocks.weight_bytes(problem.groups, kernels.tile()),
                scratch_bytes: blocks.scratch_bytes(),
            }
        })
    };
    let direct = Bands::new(problem).map(|bands| ConvWay {
        name: K::NAMES.direct,
        cost: bands.cost(problem, K::MR),
        weight_bytes: bands.weight_bytes(problem.n, kernels.tile()),
        scratch_bytes: bands.scratch_bytes(problem.threads),
    });
    let ways = [
        winograd(K::NAMES.winograd_f4, Size::F4),
        winograd(K::NAMES.winograd_f6, Size::F6),
        direct,
    ];
    ways.into_iter().flatten().collect()
}

/// Packs a float convolution for the way called `way`.
pub(crate) fn prepare_f32<K: ConvKernels>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, f32, f32>,
    clamp: (f32, f32),
) -> PreparedF32 {
    let Names { direct, winograd_f4, winograd_f6 } = K::NAMES;
    if way == direct {
        let bands = Bands::new(problem)?;
        return Some(Box::new(Direct::new(kernels, problem, bands, weights, clamp)));
    }
    let size = match way {
        _ if way == winograd_f4 => Size::F4,
        _ if way == winograd_f6 => Size::F6,
        _ => return None,
    };
    Some(Box::new(Winograd::new(kernels, problem, size, weights, clamp)))
}

fn suits_winograd<K: ConvKernels>(problem: &ConvProblem) -> bool {
    let geometry = &problem.geometry;
    let (ci, n) = (geometry.input[2] / problem.groups, problem.n / problem.groups);
    geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && ci.min(n) >= K::LANES
}
