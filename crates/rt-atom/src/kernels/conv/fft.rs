//! Float convolutions of stride 1 with large windows by Fourier transforms of overlapping tiles (overlap-save).
//!
//! ```text
//! filters, once:  U[f] = conj(transform of the filter)[f]                complex, a matrix [ci, n] for each position f
//! for each block of tiles of N x N pixels
//!     for each tile:  V[f] = transform of its pixels, vectors of channels
//!     for each f:     M[f] = V[f] * U[f]                                 GEMM
//!     for each tile:  out = clamp(inverse transform of M + bias)         N - kh + 1 rows, N - kw + 1 columns
//! ```
//!
//! A product of complex matrices is one of real ones with twice the rows, so that U is stored once: for `U = P - i Q`,
//!
//! ```text
//! | Re M |   |  Re V   Im V |   | P |       rows of tiles, whose two parts GEMM reads as two runs: V has three planes,
//! | Im M | = |  Im V  -Re V | * | Q |       Re V, Im V and -Re V, one after the other
//! ```
//!
//! A tile takes about 2 N^2 products a pair of channels instead of `kh * kw` for each of its results, whatever the window.
//! Where one tile holds all of the input, it holds all of the result too: windows that wrap around read pads.
//!
//! Source: Mathieu, Henaff and LeCun 2014, "Fast Training of Convolutional Networks through FFTs"; Oppenheim and Schafer,
//! "Discrete-Time Signal Processing", §8.7.3 (overlap-save).

use embdl_core::kernels::conv::ConvLevel;
use embdl_core::kernels::gemm::Runs;
use embdl_core::kernels::parallel::{Parallel, Shared, for_each_piece};
use embdl_core::kernels::{
    ConvF32, ConvProblem, ConvWay, ConvWeights, GemmF32, PackedF32, PreparedF32, Tile,
};

use filter::Filters;
use tile::complex_positions;
pub(crate) use tile::{Forward, Inverse, forward, inverse};

mod filter;
mod line;
mod tile;

/// Rows and columns of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// 16.
    S16,
    /// 32.
    S32,
    /// 64.
    S64,
}

impl Size {
    /// All, with their index.
    const ALL: [Self; 3] = [Self::S16, Self::S32, Self::S64];

    const fn extent(self) -> usize {
        match self {
            Self::S16 => 16,
            Self::S32 => 32,
            Self::S64 => 64,
        }
    }
}

/// What transforms and memory cost at a level, in products of GEMM an element; measured with `kernels_bench conv`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// To make an element of V or to use one of M, by size of the tile.
    pub(crate) transform: [f32; 3],
    /// To read an element of U that comes from the second-level cache, from the third, and from where the third is shared.
    pub(crate) read: [f32; 3],
    /// For each product of matrices.
    pub(crate) call: f32,
}

/// What a level compiles for the transforms.
pub(crate) trait FftLevel: ConvLevel {
    /// Names of the ways by size, which profiles show.
    const FFT_NAMES: [&str; 3];
    /// What they cost beside products.
    const FFT_COSTS: Costs;

    /// A tile of the input into V.
    fn forward(self, size: Size, job: &Forward<'_>, v: &Shared<'_, f32>, rows: &mut [f32]);
    /// A tile of the result from its products.
    fn inverse(self, size: Size, job: &Inverse<'_>, out: &Shared<'_, f32>, rows: &mut [f32]);
}

/// The ways for a float convolution.
pub(crate) fn ways<K: FftLevel>(kernels: K, problem: &ConvProblem) -> Vec<ConvWay> {
    let likely = |blocks: &Blocks| blocks.cost < HOPELESS * problem.gemm_cost();
    Size::ALL
        .into_iter()
        .filter_map(|size| Blocks::new::<K>(problem, size))
        .filter(likely)
        .map(|blocks| ConvWay {
            name: K::FFT_NAMES[blocks.size as usize],
            cost: blocks.cost,
            weight_bytes: blocks.weight_bytes(problem.groups, kernels.tile()),
            scratch_bytes: blocks.scratch_bytes(problem.threads, K::LANES),
        })
        .collect()
}

/// Packs a float convolution for the way called `way`.
pub(crate) fn prepare<K: FftLevel>(
    kernels: K,
    way: &str,
    problem: &ConvProblem,
    weights: ConvWeights<'_, f32, f32>,
    clamp: (f32, f32),
) -> PreparedF32 {
    let size = Size::ALL.into_iter().find(|&size| K::FFT_NAMES[size as usize] == way)?;
    let blocks = Blocks::new::<K>(problem, size)?;
    Some(Box::new(FftConv::new(kernels, problem, blocks, weights, clamp)))
}

/// Floats between the rows of V beside the values, against rows in the same few sets of the cache.
const ROW_PAD: usize = 16;
/// Bytes that stay in a first-level cache, in a second-level one, and in a third that others use too.
const CACHES: [usize; 3] = [32 * 1024, 768 * 1024, 6 * 1024 * 1024];
/// Times the cost of GEMM from which on a way is not offered, so that nobody packs it to measure it.
const HOPELESS: f32 = 4.0;
/// Bytes of U beyond which a way is not offered: for one layer that is too much on a small machine.
const MAX_WEIGHT_BYTES: usize = 64 * 1024 * 1024;
/// Time of GEMM's products against those of a long one: each position is a short product.
const SHORT_PRODUCTS: f32 = 1.15;
/// Times that an element of V and M is read from and written to the cache that holds a block.
const MOVES: f32 = 6.0;

/// Sizes of a problem in tiles.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    size: Size,
    /// Rows and columns of the result in a tile.
    out: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Tiles of a block.
    block: usize,
    /// Input channels of a group.
    ci: usize,
    /// Output channels of a group.
    n: usize,
    /// In the unit of `ConvWay::cost`.
    cost: f32,
}

impl Blocks {
    /// The cheapest blocks for a problem, if it suits transforms of tiles of this size at all.
    fn new<K: FftLevel>(problem: &ConvProblem, size: Size) -> Option<Self> {
        let geometry = &problem.geometry;
        let (ci, n) = (geometry.input[2] / problem.groups, problem.n / problem.groups);
        let [kh, kw] = geometry.kernel;
        let extent = size.extent();
        if geometry.stride != [1, 1]
            || geometry.dilation != [1, 1]
            || kh * kw <= 9
            || kh.max(kw) > extent
            || ci.min(n) < K::LANES
        {
            return None;
        }
        let [rows, columns] = [0, 1].map(|axis| tiles_of_axis(problem, axis, extent));
        let (tiles, out) = ([rows.0, columns.0], [rows.1, columns.1]);
        let count = tiles[0] * tiles[1];
        let cost = |block| cost::<K>(size, [count, block], [ci, n]) * to_f32(problem.groups);
        let candidates =
            (1..=16).map(|tiles| (tiles * K::MR / 2).min(count)).chain([count.min(512)]);
        let (block, cost) = candidates
            .map(|block| (block, cost(block)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are candidates");
        let u_bytes = 4 * extent * extent * ci * problem.n;
        (u_bytes <= MAX_WEIGHT_BYTES).then_some(Self { size, out, tiles, block, ci, n, cost })
    }

    /// Real numbers of a tile's spectrum.
    const fn positions(&self) -> usize {
        self.size.extent() * self.size.extent()
    }

    /// Floats from one row of V to the next.
    const fn v_stride(&self) -> usize {
        (complex_positions(self.size.extent()) + 4) * self.ci + ROW_PAD
    }

    /// Floats of V, of M and of a thread's rows.
    const fn scratch(&self, lanes: usize) -> [usize; 3] {
        [
            (3 * self.block * self.v_stride()).next_multiple_of(ROW_PAD),
            (self.block * self.positions() * self.n).next_multiple_of(ROW_PAD),
            self.positions() * lanes,
        ]
    }

    /// Bytes of V, M and the rows of all threads.
    const fn scratch_bytes(&self, threads: usize, lanes: usize) -> usize {
        let [v, m, rows] = self.scratch(lanes);
        4 * (v + m + rows * threads + ROW_PAD)
    }

    /// Bytes of U, biases and the line of zeros, packed by `tile`.
    const fn weight_bytes(&self, groups: usize, tile: Tile) -> usize {
        let n = self.n.next_multiple_of(tile.nr);
        let k = self.ci.next_multiple_of(tile.kr);
        let complex = complex_positions(self.size.extent());
        let packed = complex * (2 * k * n + n) + 4 * (k * n + n);
        4 * (groups * packed + groups * self.n + self.ci)
    }
}

/// Tiles along an axis, and the results of each.
fn tiles_of_axis(problem: &ConvProblem, axis: usize, extent: usize) -> (usize, usize) {
    let geometry = &problem.geometry;
    let (len, out) = (geometry.input[axis], geometry.output[axis]);
    let (kernel, pad) = (geometry.kernel[axis], geometry.pad_before[axis]);
    // All of the input in one tile, and what windows read beyond the tile's end are the pads at its start.
    if pad + len <= extent && out + kernel - 1 <= extent + pad && out <= extent {
        return (1, out);
    }
    let valid = extent - kernel + 1;
    (out.div_ceil(valid), valid)
}

/// What a group costs, in products of GEMM.
fn cost<K: FftLevel>(size: Size, [count, block]: [usize; 2], [ci, n]: [usize; 2]) -> f32 {
    let positions = size.extent() * size.extent();
    let blocks = count.div_ceil(block);
    let costs = &K::FFT_COSTS;
    let read = |bytes: usize| match CACHES.iter().position(|&cache| bytes <= cache) {
        Some(0) => 0.0,
        Some(level) => costs.read[level - 1],
        None => costs.read[2],
    };
    let u = positions * ci * n;
    let products = SHORT_PRODUCTS * to_f32(2 * count) * to_f32(u);
    let elements = to_f32(positions * count * (ci + n));
    let working_set = 4 * positions * block * (2 * ci + n);
    let transform = costs.transform[size as usize] + MOVES * read(working_set);
    let calls = costs.call * to_f32((complex_positions(size.extent()) + 4) * blocks);
    products + calls + transform * elements + read(4 * u) * to_f32(u * blocks)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
const fn to_f32(count: usize) -> f32 {
    count as f32
}

/// A convolution with transformed filters.
#[derive(Debug)]
struct FftConv<K> {
    kernels: K,
    problem: ConvProblem,
    blocks: Blocks,
    /// For each group the matrices of all complex positions, then of the real ones.
    weights: Vec<PackedF32>,
    bias: Vec<f32>,
    /// A pixel in the pads.
    zeros: Vec<f32>,
    clamp: (f32, f32),
}

impl<K: FftLevel> FftConv<K> {
    /// Transforms the filters.
    fn new(
        kernels: K,
        problem: &ConvProblem,
        blocks: Blocks,
        weights: ConvWeights<'_, f32, f32>,
        clamp: (f32, f32),
    ) -> Self {
        let Blocks { ci, n, size, .. } = blocks;
        let tile = kernels.tile();
        let complex = complex_positions(size.extent());
        let run = ci.next_multiple_of(tile.kr);
        let group = (0..complex).map(|_| 2 * run).chain([ci; 4]);
        let mut packed: Vec<PackedF32> = (0..problem.groups)
            .flat_map(|_| group.clone())
            .map(|k| PackedF32::zeros(&[], n, k, tile))
            .collect();
        let mut filters = Filters::new(size.extent());
        let mut transformed = vec![0.0; blocks.positions() * ci];
        for (channel, filter) in weights.weights.chunks_exact(problem.k()).enumerate() {
            filters.transform(filter, problem.geometry.kernel, ci, &mut transformed);
            let group = &mut packed[channel / n * (complex + 4)..][..complex + 4];
            let mut rows = transformed.chunks_exact(ci);
            for (at, packed) in group.iter_mut().enumerate() {
                packed.put(channel % n, 0, rows.next().expect("a row for each part"));
                if at < complex {
                    packed.put(channel % n, run, rows.next().expect("a row for each part"));
                }
            }
        }
        let mut bias = weights.bias.to_vec();
        bias.resize(problem.n, 0.0);
        let zeros = vec![0.0; ci];
        Self { kernels, problem: *problem, blocks, weights: packed, bias, zeros, clamp }
    }

    /// First row and column of the result in a tile.
    const fn start(&self, tile: usize) -> [usize; 2] {
        let across = self.blocks.tiles[1];
        [tile / across * self.blocks.out[0], tile % across * self.blocks.out[1]]
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
        let Blocks { size, tiles, block, ci, n, .. } = self.blocks;
        let count = block.min(tiles[0] * tiles[1] - first);
        let (v_stride, positions) = (self.blocks.v_stride(), self.blocks.positions());
        let complex = complex_positions(size.extent());
        let [v_len, m_len, rows_len] = self.blocks.scratch(K::LANES);
        let (v, rest) = scratch.split_at_mut(v_len);
        let (m, rows) = rest.split_at_mut(m_len);
        let rows = &Shared::new(rows);
        // SAFETY: workers that run at the same time have different numbers below the number of threads.
        let rows = |worker: usize| unsafe { rows.part(worker * rows_len..(worker + 1) * rows_len) };

        let plane = count * v_stride;
        let chunks = Chunks::new(ci, K::LANES, parallel.threads(), count);
        let shared = Shared::new(&mut *v);
        parallel.for_each(count * chunks.count, &|worker, task| {
            let tile = task / chunks.count;
            let job = Forward {
                geometry: &self.problem.geometry,
                start: self.start(first + tile),
                input,
                first_channel: group * ci,
                channels: chunks.channels(task % chunks.count),
                zeros: &self.zeros,
                at: tile * v_stride,
                plane,
            };
            self.kernels.forward(size, &job, &shared, rows(worker));
        });

        let v = &*v;
        let m = &mut m[..positions * count * n];
        let weights = &self.weights[group * (complex + 4)..][..complex + 4];
        for_each_piece(parallel, m, 2 * count * n, &mut [(); 0], |piece, m, _| {
            let job = |at: usize, m| GemmF32 {
                m,
                lhs: &v[at * ci..],
                lhs_stride: v_stride,
                weights: &weights[at],
                clamp: (f32::NEG_INFINITY, f32::INFINITY),
                out_stride: n,
            };
            if piece < complex {
                let runs = Runs { count: 2, len: ci, step: plane };
                self.kernels.gemm_runs(&job(piece, 2 * count), runs, m);
            } else {
                // A piece has room for two real positions.
                for (real, m) in m.chunks_exact_mut(count * n).enumerate() {
                    let at = complex + 2 * (piece - complex) + real;
                    self.kernels.gemm(&job(at, count), m);
                }
            }
        });

        let m = &*m;
        let chunks = Chunks::new(n, K::LANES, parallel.threads(), count);
        parallel.for_each(count * chunks.count, &|worker, task| {
            let tile = task / chunks.count;
            let start = self.start(first + tile);
            let output = self.problem.geometry.output;
            let len = [0, 1].map(|axis| self.blocks.out[axis].min(output[axis] - start[axis]));
            let job = Inverse {
                products: m,
                block: count,
                tile,
                start,
                len,
                width: output[1],
                bias: &self.bias[group * n..][..n],
                clamp: self.clamp,
                out_stride: self.problem.out_stride,
                first_channel: group * n,
                channels: chunks.channels(task % chunks.count),
            };
            self.kernels.inverse(size, &job, out, rows(worker));
        });
    }
}

impl<K: FftLevel> ConvF32 for FftConv<K> {
    fn weight_bytes(&self) -> usize {
        let weights: usize = self.weights.iter().map(PackedF32::size_bytes).sum();
        weights + 4 * (self.bias.len() + self.zeros.len())
    }

    fn run(&self, parallel: &dyn Parallel, input: &[f32], out: &mut [f32], scratch: &mut [f32]) {
        assert!(input.len() == self.problem.geometry.input_len(), "{} inputs", input.len());
        let out = Shared::new(out);
        // Vectors that cross no line of the cache.
        let start = scratch.as_ptr().align_offset(64);
        let scratch = if start <= ROW_PAD { &mut scratch[start..] } else { scratch };
        for group in 0..self.problem.groups {
            let [down, across] = self.blocks.tiles;
            for first in (0..down * across).step_by(self.blocks.block) {
                self.run_block(parallel, [group, first], input, &out, scratch);
            }
        }
    }
}

/// Channels of a tile, shared out to tasks.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    channels: usize,
    lanes: usize,
    count: usize,
}

impl Chunks {
    /// As many for each of `tiles` as the threads have use for.
    fn new(channels: usize, lanes: usize, threads: usize, tiles: usize) -> Self {
        let wanted = if threads == 1 { 1 } else { (4 * threads).div_ceil(tiles) };
        Self { channels, lanes, count: wanted.min(channels / lanes) }
    }

    /// The channels of a chunk. The last vector of all may overlap the one before, so the last chunk has both.
    const fn channels(&self, chunk: usize) -> core::ops::Range<usize> {
        let vectors = self.channels / self.lanes;
        let start = chunk * vectors / self.count * self.lanes;
        let end = if chunk + 1 == self.count {
            self.channels
        } else {
            (chunk + 1) * vectors / self.count * self.lanes
        };
        start..end
    }
}
