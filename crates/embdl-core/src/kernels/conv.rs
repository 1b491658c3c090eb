//! Convolutions that a runtime computes in a way of its own: what there is to compute, and the ways that it offers.
//!
//! Every convolution can run as im2col and GEMM. Where a runtime knows a better way (Winograd, sparse, direct), it offers
//! that with its estimated cost; `load` takes the cheapest and lets the runtime pack the weights for it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::gemm::{Lines, Runs};
use super::parallel::{Parallel, Shared};
use super::{GemmF32, OutQ8, PackedF32, Tile, WindowGeometry};
use direct::{Bands, Direct};
use transform::{InputTiles, OutputTiles, Size};
use winograd::{Blocks, Winograd};

pub use sparse::{prepare_sparse_f32, prepare_sparse_q8, sparse_ways_f32, sparse_ways_q8};
pub use winograd::Costs;

mod direct;
pub mod exact;
mod sparse;
pub mod transform;
mod winograd;

/// A convolution of one sample, before its weights are decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvProblem {
    /// Where the window goes.
    pub geometry: WindowGeometry,
    /// Groups of channels; both channel numbers are multiples of it.
    pub groups: usize,
    /// Output channels of all groups.
    pub n: usize,
    /// Elements from one row of the result to the next: at least `n`.
    pub out_stride: usize,
    /// Share of weights that are not zero, as far as the file says.
    pub density: f32,
    /// Share of the blocks of [`super::Kernels::tile_blocks`] in which a weight is not zero, as far as a sample says.
    pub blocks: f32,
    /// Largest absolute weight of integers, as far as the file says: kernels sum products in fewer bits where it is small.
    pub max_abs: u8,
    /// Threads that it will run on.
    pub threads: usize,
}

impl ConvProblem {
    /// Elements of a window of one group: length of a row of the matrix product.
    #[must_use]
    pub const fn k(&self) -> usize {
        let [kh, kw] = self.geometry.kernel;
        kh * kw * self.geometry.input[2] / self.groups
    }

    /// Multiply-accumulates of a sample.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub const fn macs(&self) -> f32 {
        let [oh, ow] = self.geometry.output;
        (oh * ow * self.n) as f32 * self.k() as f32
    }

    /// Whether every window is one pixel and every pixel a window, so that the input is the matrix.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        let geometry = &self.geometry;
        geometry.kernel == [1, 1]
            && geometry.stride == [1, 1]
            && geometry.pad_before == [0, 0]
            && geometry.pad_after == [0, 0]
    }

    /// What im2col and GEMM cost, in the unit of [`ConvWay::cost`]: the products, and for each element that is copied as
    /// much as a few products.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn gemm_cost(&self) -> f32 {
        const COPY: f32 = 4.0;
        let [oh, ow] = self.geometry.output;
        let copied = if self.is_pointwise() { 0 } else { oh * ow * self.k() * self.groups };
        self.macs() + COPY * copied as f32
    }
}

/// A way to compute a convolution that a runtime offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvWay {
    /// Name of the kernel, which profiles show.
    pub name: &'static str,
    /// Time, in multiply-accumulates that GEMM does meanwhile.
    pub cost: f32,
    /// Bytes of the packed weights.
    pub weight_bytes: usize,
    /// Bytes of scratch that a run needs.
    pub scratch_bytes: usize,
}

/// A float convolution with its weights, packed by the runtime that offered the way.
pub trait ConvF32: fmt::Debug + Send + Sync {
    /// Bytes held.
    fn weight_bytes(&self) -> usize;

    /// Computes one sample: `input` has the geometry's elements, `out` rows of `out_stride` of which `n` are written,
    /// `scratch` what the way asked for.
    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]);
}

/// An integer convolution with its weights, packed by the runtime that offered the way.
pub trait ConvQ8: fmt::Debug + Send + Sync {
    /// Bytes held.
    fn weight_bytes(&self) -> usize;

    /// As [`ConvF32::run`], on levels. Accumulators are those of the matrix product, bit for bit.
    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]);
}

/// Decoded weights of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvWeights<'a, W, B> {
    /// `[n, kh, kw, input channels of a group]`.
    pub weights: &'a [W],
    /// `n` biases, or none for zeros.
    pub bias: &'a [B],
}

/// A packed float convolution, if the runtime took the way.
pub type PreparedF32 = Option<Box<dyn ConvF32>>;
/// A packed integer convolution, if the runtime took the way.
pub type PreparedQ8 = Option<Box<dyn ConvQ8>>;

/// Those of `ways` that cost less than im2col and GEMM, the cheapest first.
#[must_use]
pub fn cheaper_than_gemm(mut ways: Vec<ConvWay>, problem: &ConvProblem) -> Vec<ConvWay> {
    ways.retain(|way| way.cost < problem.gemm_cost());
    ways.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    ways
}

/// What a level compiles for the convolutions.
pub trait ConvLevel: fmt::Debug + Copy + Send + Sync + 'static {
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
    /// As [`Kernels::finish_f32`](super::Kernels::finish_f32), for windows read in place.
    fn finish(self, _packed: &mut PackedF32) {}
    /// GEMM.
    fn gemm(self, job: &GemmF32<'_>, out: &mut [f32]);
    /// GEMM with rows that are runs.
    fn gemm_runs(self, job: &GemmF32<'_>, runs: Runs, out: &mut [f32]);
    /// Whether [`Self::gemm_lines`] has tiles across the ends of lines.
    const ACROSS_LINES: bool = false;
    /// GEMM with rows that are runs and stand in whole lines.
    fn gemm_lines(self, job: &GemmF32<'_>, runs: Runs, lines: Lines, out: &mut [f32]) {
        for (at, out) in out.chunks_mut(lines.rows * job.out_stride).enumerate() {
            let lhs = &job.lhs[at * lines.step..];
            self.gemm_runs(&GemmF32 { m: lines.rows, lhs, ..*job }, runs, out);
        }
    }
    /// `B^T d B` of a tile.
    fn input(self, size: Size, job: &InputTiles<'_>, out: &mut [f32]);
    /// `A^T M A` of a tile.
    fn output(self, size: Size, job: &OutputTiles<'_>, out: &Shared<'_, f32>);
}

/// Names of the ways of a level, which profiles show.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Windows read in place.
    pub direct: &'static str,
    /// Winograd's, by [`Size::ALL`].
    pub winograd: [&'static str; 3],
}

/// The ways for a float convolution.
pub fn ways_f32<K: ConvLevel>(kernels: K, problem: &ConvProblem) -> Vec<ConvWay> {
    let winograd = |(name, size)| {
        suits_winograd::<K>(problem, size).then(|| {
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
        cost: bands.cost(problem, if K::ACROSS_LINES { 1 } else { K::MR }),
        weight_bytes: bands.weight_bytes(problem.n, kernels.tile()),
        scratch_bytes: bands.scratch_bytes(problem.threads),
    });
    let winograd = K::NAMES.winograd.into_iter().zip(Size::ALL).map(winograd);
    winograd.chain([direct]).flatten().collect()
}

/// Packs a float convolution for the way called `way`.
pub fn prepare_f32<K: ConvLevel>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, f32, f32>,
    clamp: (f32, f32),
) -> PreparedF32 {
    let Names { direct, winograd } = K::NAMES;
    if way == direct {
        let bands = Bands::new(problem)?;
        return Some(Box::new(Direct::new(kernels, problem, bands, weights, clamp)));
    }
    let (_, size) = winograd.into_iter().zip(Size::ALL).find(|&(name, _)| name == way)?;
    Some(Box::new(Winograd::new(kernels, problem, size, weights, clamp)))
}

fn suits_winograd<K: ConvLevel>(problem: &ConvProblem, size: Size) -> bool {
    let geometry = &problem.geometry;
    let (ci, n) = (geometry.input[2] / problem.groups, problem.n / problem.groups);
    geometry.kernel == [size.taps(); 2]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && ci.min(n) >= K::LANES
}
