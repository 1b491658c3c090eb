//! Float convolutions 3x3 of stride 1 by Winograd's minimal filtering F(4x4, 3x3) and F(6x6, 3x3).
//!
//! ```text
//! weights, once:  U[xi] = (G w G^T)[xi], one matrix [ci, n] for each of the 36 (64) positions xi of a tile
//! for each block of tiles
//!     for each tile:  V[tile][xi] = (B^T d B)[xi], vectors of channels      d: 6x6 (8x8) pixels, zeros in the pads
//!     for each xi:    M[xi] = V[.][xi] * U[xi]                              GEMM, a row a tile
//!     for each tile:  out = clamp(A^T M A + bias)                           4x4 (6x6) pixels
//! ```
//!
//! Instead of 9 products an output takes 36/16 = 2.25 (64/36 = 1.78), and the transforms. A block has as many tiles as
//! make the reading of U worth while; V and M of a block live in scratch. Rows of V are padded by a cache line, because
//! distances that are powers of two would put all rows of a tile of GEMM into the same few sets of the cache.
//!
//! Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", §4.

use embdl_core::kernels::parallel::{Shared, for_each_piece};
use embdl_core::kernels::{ConvF32, ConvProblem, ConvWeights, GemmF32, PackedF32, Parallel, Tile};

use super::ConvKernels;
use super::transform::{InputTiles, OutputTiles, Size};

/// Tiles that a block has at least: rows enough for U to be worth reading.
const MIN_TILES: usize = 24;
/// Floats between the rows of V beside the values.
const ROW_PAD: usize = 16;

/// Sizes of a problem in tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    /// Size of a tile.
    pub(crate) size: Size,
    /// Tiles down and across.
    pub(crate) tiles: [usize; 2],
    /// Rows of tiles in a block.
    pub(crate) rows: usize,
    /// Input channels of a group.
    pub(crate) ci: usize,
    /// Output channels of a group.
    pub(crate) n: usize,
}

impl Blocks {
    /// The blocks of a problem.
    pub(crate) fn new(problem: &ConvProblem, size: Size) -> Self {
        let tiles = problem.geometry.output.map(|extent| extent.div_ceil(size.out()));
        let rows = MIN_TILES.div_ceil(tiles[1].max(1)).clamp(1, tiles[0].max(1));
        let (ci, n) = (problem.geometry.input[2] / problem.groups, problem.n / problem.groups);
        Self { size, tiles, rows, ci, n }
    }

    /// Tiles of a whole block.
    const fn block(&self) -> usize {
        self.rows * self.tiles[1]
    }

    /// Floats from one row of V to the next.
    const fn v_stride(&self) -> usize {
        self.size.positions() * self.ci + ROW_PAD
    }

    /// Bytes of V and M.
    pub(crate) const fn scratch_bytes(&self) -> usize {
        4 * self.block() * (self.v_stride() + self.size.positions() * self.n)
    }

    /// Bytes of U, biases and the line of zeros, packed by `tile`.
    pub(crate) const fn weight_bytes(&self, groups: usize, tile: Tile) -> usize {
        let n = self.n.next_multiple_of(tile.nr);
        let packed = n * self.ci.next_multiple_of(tile.kr) + n;
        4 * (groups * self.size.positions() * packed + groups * self.n + self.ci)
    }

    /// Products that take as long: those of GEMM, the transforms, and the reading of U for every block.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn cost(&self, groups: usize) -> f32 {
        const TRANSFORM: f32 = 10.0;
        const READ: f32 = 8.0;
        let positions = self.size.positions() as f32;
        let (ci, n) = (self.ci as f32, self.n as f32);
        let tiles = (self.tiles[0] * self.tiles[1]) as f32;
        let blocks = self.tiles[0].div_ceil(self.rows) as f32;
        let of_tiles = tiles * (ci * n + TRANSFORM * (ci + n));
        groups as f32 * positions * (of_tiles + READ * blocks * ci * n)
    }
}

/// A convolution with transformed weights.
#[derive(Debug)]
pub(crate) struct Winograd<K> {
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

impl<K: ConvKernels> Winograd<K> {
    /// Transforms the weights.
    pub(crate) fn new(
        kernels: K,
        problem: &ConvProblem,
        size: Size,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> Self {
        let blocks = Blocks::new(problem, size);
        let Blocks { ci, n, .. } = blocks;
        let tile = kernels.tile();
        let positions = size.positions();
        let mut packed: Vec<PackedF32> =
            (0..problem.groups * positions).map(|_| PackedF32::zeros(&[], n, ci, tile)).collect();
        let mut transformed = vec![0.0; positions * ci];
        for (channel, filter) in weights.weights.chunks_exact(9 * ci).enumerate() {
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

    /// One group of one block of rows of tiles.
    fn run_block(
        &self,
        parallel: &dyn Parallel,
        [group, first_row]: [usize; 2],
        input: &[f32],
        out: &Shared<'_, f32>,
        scratch: &mut [f32],
    ) {
        let Blocks { size, tiles: [tile_rows, tiles_across], rows, ci, n } = self.blocks;
        let count = rows.min(tile_rows - first_row) * tiles_across;
        let first = first_row * tiles_across;
        let (positions, v_stride) = (size.positions(), self.blocks.v_stride());
        let (v, rest) = scratch.split_at_mut(count * v_stride);
        let m = &mut rest[..positions * count * n];
        for_each_piece(parallel, v, v_stride, &mut [(); 0], |tile, v, _| {
            let job = InputTiles {
                geometry: &self.problem.geometry,
                tiles_across,
                tile: first + tile,
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

impl<K: ConvKernels> ConvF32 for Winograd<K> {
    fn weight_bytes(&self) -> usize {
        let weights: usize = self.weights.iter().map(PackedF32::size_bytes).sum();
        weights + 4 * (self.bias.len() + self.zeros.len())
    }

    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        assert!(input.len() == self.problem.geometry.input_len(), "{} inputs", input.len());
        let out = Shared::new(out);
        for group in 0..self.problem.groups {
            for first_row in (0..self.blocks.tiles[0]).step_by(self.blocks.rows) {
                self.run_block(parallel, [group, first_row], input, &out, scratch);
            }
        }
    }
}
