//! Float convolutions 3x3 and 5x5 of stride 1 by Winograd's minimal filtering F(4x4, 3x3), F(6x6, 3x3) and F(4x4, 5x5).
//!
//! ```text
//! weights, once:  U[xi] = (G w G^T)[xi], one matrix [ci, n] for each of the 36 (64) positions xi of a tile
//! for each block of tiles
//!     for each tile:  V[tile][xi] = (B^T d B)[xi], vectors of channels      d: 6x6 (8x8) pixels, zeros in the pads
//!     for each xi:    M[xi] = V[.][xi] * U[xi]                              GEMM, a row a tile
//!     for each tile:  out = clamp(A^T M A + bias)                           4x4 (6x6) pixels
//! ```
//!
//! Instead of 9 products an output takes 36/16 = 2.25 (64/36 = 1.78), instead of 25 it takes 64/16 = 4, and the transforms. V
//! and M of a block of tiles live in scratch. A large block reads U less often, a small one keeps V and M in a nearer cache: [`Blocks::new`] weighs one
//! against the other. Rows of V are padded by a cache line, because
//! distances that are powers of two would put all rows of a tile of GEMM into the same few sets of the cache.
//!
//! Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", §4.

use alloc::vec;
use alloc::vec::Vec;

use super::transform::{InputTiles, OutputTiles, Size};
use super::{ConvF32, ConvLevel, ConvProblem, ConvWeights};
use crate::kernels::parallel::{Parallel, Shared, for_each_piece};
use crate::kernels::{GemmF32, PackedF32, Tile};

/// Floats between the rows of V beside the values.
const ROW_PAD: usize = 16;

/// What transforms and memory cost at a level, in products of GEMM an element; measured with `kernels_bench conv`.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// To make an element of V or to use one of M, with 6x6 and with 8x8 inputs.
    pub transform: [f32; 2],
    /// To read an element from beyond the second-level cache, and from beyond the third.
    pub read: [f32; 2],
}

/// Bytes that stay in a second-level cache, and in a third.
const CACHES: [usize; 2] = [768 * 1024, 16 * 1024 * 1024];

impl Costs {
    /// To read an element of something that has so many bytes.
    fn of_reading(&self, bytes: usize) -> f32 {
        match bytes {
            _ if bytes <= CACHES[0] => 0.0,
            _ if bytes <= CACHES[1] => self.read[0],
            _ => self.read[1],
        }
    }
}

/// Sizes of a problem in tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Size of a tile.
    size: Size,
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Tiles of a block.
    block: usize,
    /// Input channels of a group.
    ci: usize,
    /// Output channels of a group.
    n: usize,
    /// In the unit of `ConvWay::cost`.
    pub(super) cost: f32,
}

impl Blocks {
    /// The cheapest blocks for a problem, of which GEMM has tiles of up to `mr` rows.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn new(problem: &ConvProblem, size: Size, mr: usize, costs: &Costs) -> Self {
        let tiles = problem.geometry.output.map(|extent| extent.div_ceil(size.out()));
        let (ci, n) = (problem.geometry.input[2] / problem.groups, problem.n / problem.groups);
        let (count, positions) = (tiles[0] * tiles[1], size.positions());
        let cost = |block: usize| {
            let blocks = count.div_ceil(block);
            // The last tile of GEMM may have few rows, which take as long as half a tile.
            let rows = (block.min(count).next_multiple_of(mr) - mr / 2) * blocks;
            let products = (positions * rows.max(count)) as f32 * (ci * n) as f32;
            let u = (positions * ci * n) as f32;
            let elements = (positions * count * (ci + n)) as f32;
            let transform = costs.transform[usize::from(size.inputs() == 8)];
            let working_set = 4 * positions * block * (ci + n);
            let moved = costs.of_reading(4 * positions * ci * n) * u * blocks as f32
                + costs.of_reading(working_set) * elements;
            problem.groups as f32 * (products + transform * elements + moved)
        };
        let candidates = (1..=8).map(|tiles| (2 * tiles * mr).min(count)).chain([count.min(512)]);
        let (block, cost) = candidates
            .map(|block| (block, cost(block)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are candidates");
        Self { size, tiles, block, ci, n, cost }
    }

    /// Floats from one row of V to the next.
    const fn v_stride(&self) -> usize {
        self.size.positions() * self.ci + ROW_PAD
    }

    /// Bytes of V and M.
    pub(super) const fn scratch_bytes(&self) -> usize {
        4 * self.block * (self.v_stride() + self.size.positions() * self.n)
    }

    /// Bytes of U, biases and the line of zeros, packed by `tile`.
    pub(super) const fn weight_bytes(&self, groups: usize, tile: Tile) -> usize {
        let n = self.n.next_multiple_of(tile.nr);
        let packed = n * self.ci.next_multiple_of(tile.kr) + n;
        4 * (groups * self.size.positions() * packed + groups * self.n + self.ci)
    }
}

/// A convolution with transformed weights.
#[derive(Debug)]
pub(super) struct Winograd<K> {
    kernels: K,
    problem: ConvProblem,
    blocks: Blocks,
    /// For each group the matrices of all positions.
    weights: Vec<PackedF32>,
    bias: Vec<f32>,
    /// A pixel in the pads.
    zeros: Vec<f32>,
    clamp: (f32, f32),
}

impl<K: ConvLevel> Winograd<K> {
    /// Transforms the weights.
    pub(super) fn new(
        kernels: K,
        problem: &ConvProblem,
        size: Size,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> Self {
        let blocks = Blocks::new(problem, size, K::MR, &K::COSTS);
        let Blocks { ci, n, .. } = blocks;
        let tile = kernels.tile();
        let positions = size.positions();
        let mut packed: Vec<PackedF32> =
            (0..problem.groups * positions).map(|_| PackedF32::zeros(&[], n, ci, tile)).collect();
        let mut transformed = vec![0.0; positions * ci];
        for (channel, filter) in
            weights.weights.chunks_exact(size.taps() * size.taps() * ci).enumerate()
        {
            size.transform_filter(filter, &mut transformed);
            let group = &mut packed[channel / n * positions..][..positions];
            for (packed, row) in group.iter_mut().zip(transformed.chunks_exact(ci)) {
                packed.put(channel % n, 0, row);
            }
        }
        let mut bias = weights.bias.to_vec();
        bias.resize(problem.n, 0.0);
        Self {
            kernels,
            problem: *problem,
            blocks,
            weights: packed,
            bias,
            zeros: vec![0.0; ci],
            clamp,
        }
    }

    /// One group of the block of tiles from `first` on.
    fn run_block(
        &self,
        parallel: &dyn Parallel,
        [group, first]: [usize; 2],
        input: &[f32],
        out: &Shared<'_, f32>,
        scratch: &mut [f32],
    ) {
        let Blocks { size, tiles: [down, tiles_across], block, ci, n, .. } = self.blocks;
        let count = block.min(down * tiles_across - first);
        let (positions, v_stride) = (size.positions(), self.blocks.v_stride());
        let (v, rest) = scratch.split_at_mut(count * v_stride);
        let m = &mut rest[..positions * count * n];
        for_each_piece(parallel, v, v_stride, &mut [(); 0], |tile, v, _| {
            let job = InputTiles {
                geometry: &self.problem.geometry,
                tiles_across,
                tile: first + tile,
                step: size.out(),
                input,
                channels: group * ci..(group + 1) * ci,
                zeros: &self.zeros,
            };
            self.kernels.input(size, &job, v);
        });
        let v = &*v;
        for_each_piece(parallel, m, count * n, &mut [(); 0], |xi, m, _| {
            let job = GemmF32 {
                m: count,
                lhs: &v[xi * ci..],
                lhs_stride: v_stride,
                weights: &self.weights[group * positions + xi],
                clamp: (f32::NEG_INFINITY, f32::INFINITY),
                out_stride: n,
            };
            self.kernels.gemm(&job, m);
        });
        let m = &*m;
        parallel.for_each(count, &|_, tile| {
            let job = OutputTiles {
                output: self.problem.geometry.output,
                tiles_across,
                tile: first + tile,
                products: &m[tile * n..],
                position_stride: count * n,
                bias: &self.bias[group * n..][..n],
                clamp: self.clamp,
                out_stride: self.problem.out_stride,
                first_channel: group * n,
            };
            self.kernels.output(size, &job, out);
        });
    }
}

impl<K: ConvLevel> ConvF32 for Winograd<K> {
    fn weight_bytes(&self) -> usize {
        let weights: usize = self.weights.iter().map(PackedF32::size_bytes).sum();
        weights + 4 * (self.bias.len() + self.zeros.len())
    }

    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        assert!(input.len() == self.problem.geometry.input_len(), "{} inputs", input.len());
        let out = Shared::new(out);
        for group in 0..self.problem.groups {
            let [down, across] = self.blocks.tiles;
            for first in (0..down * across).step_by(self.blocks.block) {
                self.run_block(parallel, [group, first], input, &out, scratch);
            }
        }
    }
}
