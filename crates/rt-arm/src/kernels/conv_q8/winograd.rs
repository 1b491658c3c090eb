//! Winograd F(4x4, 3x3) on integers, exact: four times fewer products than the convolution, in 16 bits (`smlal` by lane).
//!
//! ```text
//! for each band of tiles of 4x4 results
//!     for each tile: V[36] = B' d B of its 6x6 levels                            words
//!     for each panel of 8 output channels, for each of 36: M = V * U             i32, one matrix product each
//!         for each tile: results = A' M A / denominators                         i32
//! ```
//!
//! The transforms, why they are exact, and windows larger than 3x3: `embdl_core::kernels::conv::exact`. The bias is added
//! before the last transform: 36 times it at the point (1, 1), which is a constant of the tile. So it belongs to what must
//! stay below 2^25.
//!
//! V lies as products read it: `[place][8 tiles][k / 8][tile][8 words]`, and U as `[panel][place][k][8 channels]`.

use core::arch::aarch64::*;
use core::ops::Range;

use embdl_core::kernels::conv::exact::{INVERSE_OF_9, PLACES, Tiles, bias_less_zero_point, fits};
use embdl_core::kernels::parallel::{Shared, SharedOut};
use embdl_core::kernels::{ConvProblem, ConvQ8, ConvWeights, OutQ8, Parallel};

use crate::detect::Level;
use crate::kernels::output::Stage;
use crate::kernels::output::quad::{Levels, Quad, Sums};

mod products;

use products::{ROWS, products};

/// Channels of a panel.
const NR: usize = 8;
/// Words that a vector holds, and that k is rounded up to.
const WORDS: usize = 8;
/// Bytes of words and products that a band aims at: half of a small second-level cache.
const BAND_BYTES: usize = 256 * 1024;
/// Bytes of weights beyond which a layer is left to GEMM: they are eight times those of a 3x3 window, in memory that small
/// boards do not have.
const WEIGHT_BYTES: usize = 8 << 20;
/// Words between the places of a band, so that they do not fall into the same set of a cache.
const GAP: usize = 32;
/// Bytes to which parts of the scratch are aligned.
const ALIGNMENT: usize = 64;
/// i32 of the products of a tile: `[half of a panel][place][4 channels]`.
const TILE_PRODUCTS: usize = PLACES * NR;

/// A convolution packed for Winograd.
#[derive(Debug)]
pub(super) struct Winograd {
    plan: Plan,
    weights: Vec<i16>,
    /// 36 times the biases less the zero point's share, eight for each panel.
    bias: Vec<i32>,
    zero_point: u8,
}

/// What follows from the shapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    tiles: Tiles,
    /// Input channels of a group, rounded up to whole vectors.
    depth: usize,
    /// Tiles of a band, a multiple of [`ROWS`].
    band: usize,
}

impl Plan {
    /// The plan for `problem`, if it is one of strides and dilations of 1 with windows of 3x3 and more.
    pub(super) fn new(problem: &ConvProblem) -> Option<Self> {
        let tiles = Tiles::new(problem)?;
        let depth = tiles.channels.next_multiple_of(WORDS);
        let total = tiles.tile_count();
        if total == 0 || depth == 0 || problem.n == 0 {
            return None;
        }
        let tile = PLACES * (2 * depth * tiles.block_count() + 4 * NR);
        let fit = (BAND_BYTES / tile).max(2 * ROWS);
        // Bands of about equal size, in whole tiles of products.
        let band = total.div_ceil(total.div_ceil(fit)).next_multiple_of(ROWS);
        let plan = Self { tiles, depth, band };
        (plan.weight_bytes() <= WEIGHT_BYTES).then_some(plan)
    }

    /// Words of a row of a product.
    const fn k(&self) -> usize {
        self.depth * self.tiles.block_count()
    }

    const fn panels_of_group(&self) -> usize {
        self.tiles.panels_of_group(NR)
    }

    /// Words from one place to the next.
    const fn place_stride(&self) -> usize {
        self.band * self.k() + GAP
    }

    /// Words of a band.
    const fn band_len(&self) -> usize {
        self.place_stride() * PLACES
    }

    /// Bytes of a patch: the levels of a tile, and what a vector reads beyond them.
    const fn patch_bytes(&self) -> usize {
        PLACES * self.tiles.channels + WORDS
    }

    /// Bytes that a worker has for itself: products or a patch.
    fn worker_bytes(&self) -> usize {
        self.patch_bytes().max(4 * self.band * TILE_PRODUCTS).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of scratch.
    pub(super) fn scratch_bytes(&self) -> usize {
        ALIGNMENT
            + 2 * self.band_len()
            + self.tiles.problem.threads * self.worker_bytes()
            + ALIGNMENT
    }

    /// Bytes of packed weights and biases.
    pub(super) const fn weight_bytes(&self) -> usize {
        let panels = self.panels_of_group() * self.tiles.problem.groups;
        panels * NR * (2 * PLACES * self.k() + 4)
    }

    /// Instructions, in those of a product by GEMM at the level. The factors are counted: a product of words, a value that is
    /// transformed before, and one after, less what GEMM takes to store results.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn cost(&self, level: Level) -> f32 {
        let [product, input, result] = match level {
            Level::Neon(_) => [1.4, 8.0, 3.0],
            Level::Dotprod(_) => [3.9, 16.0, 25.0],
            Level::I8mm(_) => [7.2, 29.0, 46.0],
        };
        let tiles = self.tiles.tile_count();
        let rows = (tiles.next_multiple_of(ROWS / 2) * PLACES) as f32;
        let places = (tiles * PLACES) as f32;
        let width = (self.panels_of_group() * NR * self.tiles.problem.groups) as f32;
        let inputs = places * (self.k() * self.tiles.problem.groups) as f32;
        rows * product * self.k() as f32 * width + input * inputs + result * places * width
    }
}

impl Winograd {
    /// Packs weights; `None` where an accumulator may be too large.
    pub(super) fn pack(
        plan: Plan,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> Option<Self> {
        let ConvProblem { groups, n, .. } = plan.tiles.problem;
        let (k, width) = (plan.k(), n / groups);
        let panels = plan.panels_of_group() * groups;
        let mut packed = vec![0_i16; panels * PLACES * k * NR];
        let mut bias = vec![0_i32; panels * NR];
        for (j, filter) in weights.weights.chunks_exact(plan.tiles.filter_len()).enumerate() {
            let panel = j / width * plan.panels_of_group() + j % width / NR;
            let lane = j % width % NR;
            let own = bias_less_zero_point(weights, j, filter, zero_point);
            if !fits(filter, own.unsigned_abs()) {
                return None;
            }
            bias[panel * NR + lane] = own.wrapping_mul(36);
            let panel = &mut packed[panel * PLACES * k * NR..][..PLACES * k * NR];
            plan.tiles.for_each_weight(filter, |[block, c], weights| {
                let at = (block * plan.depth + c) * NR + lane;
                for (place, w) in weights.into_iter().enumerate() {
                    panel[place * k * NR + at] = w;
                }
            });
        }
        Some(Self { plan, weights: packed, bias, zero_point })
    }
}

impl ConvQ8 for Winograd {
    fn weight_bytes(&self) -> usize {
        2 * self.weights.len() + 4 * self.bias.len()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let plan = &self.plan;
        let ConvProblem { geometry, n, out_stride, groups, .. } = plan.tiles.problem;
        assert!(input.len() == geometry.input_len(), "{} inputs", input.len());
        let out = SharedOut::new(out);
        let pixels = geometry.output[0] * geometry.output[1];
        assert!(out_stride >= n && out.len() >= (pixels - 1) * out_stride + n, "{}", out.len());
        let start = scratch.as_ptr().align_offset(ALIGNMENT);
        let (band, workers) = scratch[start..].split_at_mut(2 * plan.band_len());
        // SAFETY: any bytes are words.
        let words = unsafe { band.align_to_mut::<i16>().1 };
        assert!(words.len() == plan.band_len());
        let start = workers.as_ptr().align_offset(ALIGNMENT);
        let workers = &mut workers[start..];
        let worker_bytes = plan.worker_bytes();
        assert!(workers.len() >= parallel.threads() * worker_bytes, "{} bytes", workers.len());
        let workers = Shared::new(workers);
        // SAFETY: workers that run at the same time have different numbers below the number of threads.
        let own = |worker: usize| unsafe {
            workers.part(worker * worker_bytes..(worker + 1) * worker_bytes)
        };
        let total = plan.tiles.tile_count();
        for first in (0..total).step_by(plan.band) {
            let count = plan.band.min(total - first);
            for group in 0..groups {
                {
                    let words = Shared::new(&mut *words);
                    parallel.for_each(count.div_ceil(ROWS), &|worker, task| {
                        let from = task * ROWS;
                        let band = Band { group, first, tiles: from..count.min(from + ROWS) };
                        // SAFETY: a convolution is packed only by levels, of which all imply NEON; and here tasks have
                        // different tiles.
                        unsafe { self.input_tiles(input, &words, &band, own(worker)) };
                    });
                }
                let words = &*words;
                parallel.for_each(plan.panels_of_group(), &|worker, panel| {
                    let panel = group * plan.panels_of_group() + panel;
                    let band = Band { group, first, tiles: 0..count };
                    // SAFETY: any bytes are integers.
                    let products = unsafe { own(worker).align_to_mut::<i32>().1 };
                    // SAFETY: as above, and tasks have different panels.
                    unsafe { self.output_tiles(words, panel, &band, products, &out) };
                });
            }
        }
    }
}

/// Tiles of a band that a task takes, for a group of channels.
#[derive(Clone, Debug)]
struct Band {
    group: usize,
    /// First tile of the band.
    first: usize,
    /// Tiles within the band.
    tiles: Range<usize>,
}

impl Winograd {
    /// The words of tiles.
    ///
    /// # Safety
    /// No other task may use the words of these tiles.
    #[target_feature(enable = "neon")]
    unsafe fn input_tiles(
        &self,
        input: &[u8],
        words: &Shared<'_, i16>,
        band: &Band,
        patch: &mut [u8],
    ) {
        let plan = &self.plan;
        let channel = band.group * plan.tiles.channels;
        let (k, stride) = (plan.k(), plan.place_stride());
        for tile in band.tiles.clone() {
            for block in 0..plan.tiles.block_count() {
                let (at, from) = ([band.first + tile, block], [channel, plan.depth]);
                let (source, [pixel, line]) =
                    plan.tiles.pixels(at, input, from, self.zero_point, patch);
                assert!(source.len() >= 5 * (line + pixel) + plan.depth);
                let row = tile / ROWS * ROWS * k + tile % ROWS * WORDS;
                for step in (0..plan.depth).step_by(WORDS) {
                    let at = row + (block * plan.depth + step) * ROWS;
                    assert!(at + (PLACES - 1) * stride + WORDS <= words.len());
                    // SAFETY: the last pixel is 5 lines and 5 pixels on, and `depth` bytes are there from it on; the last
                    // place is 35 strides on.
                    unsafe {
                        let v = transform_input(source.as_ptr().add(step), pixel, line);
                        let to = words.as_mut_ptr().add(at);
                        for (place, &v) in v.as_flattened().iter().enumerate() {
                            vst1q_s16(to.add(place * stride), v);
                        }
                    }
                }
            }
        }
    }

    /// The results of a band for a panel of channels.
    ///
    /// # Safety
    /// No other task may use these results.
    #[target_feature(enable = "neon")]
    unsafe fn output_tiles(
        &self,
        words: &[i16],
        panel: usize,
        band: &Band,
        m: &mut [i32],
        out: &SharedOut<'_>,
    ) {
        let plan = &self.plan;
        let k = plan.k();
        let count = band.tiles.len();
        let weights = &self.weights[panel * PLACES * k * NR..][..PLACES * k * NR];
        assert!(m.len() >= count.next_multiple_of(ROWS) * TILE_PRODUCTS);
        for (place, weights) in weights.chunks_exact(k * NR).enumerate() {
            let rows = &words[place * plan.place_stride()..][..plan.band * k];
            for (tile, rows) in (0..count).step_by(ROWS).zip(rows.chunks_exact(ROWS * k)) {
                let m = &mut m[tile * TILE_PRODUCTS + place * 4..];
                products(rows, weights, count - tile, m);
            }
        }
        let (channel, channels) = plan.tiles.channels_of(panel, NR);
        for half in 0..channels.div_ceil(4) {
            let (channel, channels) = (channel + 4 * half, 4.min(channels - 4 * half));
            let bias = self.bias[panel * NR + 4 * half..].first_chunk().expect("a panel's biases");
            let m = &m[half * PLACES * 4..];
            let band = (band.first, count);
            // SAFETY: `run` checked that all results are there; pixels and panels have different ones, and each panel is of one
            // task.
            unsafe {
                match out {
                    SharedOut::U8(requant, out) => {
                        let (stage, out) = (Stage::new(requant), out.as_mut_ptr());
                        if stage.short {
                            let to = Levels::<true>::new(&stage, channel, channels, out);
                            self.results(&to, m, bias, band, channel);
                        } else {
                            let to = Levels::<false>::new(&stage, channel, channels, out);
                            self.results(&to, m, bias, band, channel);
                        }
                    }
                    SharedOut::I32(out) => {
                        let to = Sums::new(channels, out.as_mut_ptr());
                        self.results(&to, m, bias, band, channel);
                    }
                }
            }
        }
    }

    /// The results of `count` tiles from `first` on, for the channels of a quad.
    ///
    /// # Safety
    /// As for [`Quad::store`].
    #[target_feature(enable = "neon")]
    unsafe fn results<Q: Quad>(
        &self,
        to: &Q,
        m: &[i32],
        bias: &[i32; 4],
        (first, count): (usize, usize),
        channel: usize,
    ) {
        let plan = &self.plan;
        let [oh, ow] = plan.tiles.problem.geometry.output;
        let stride = plan.tiles.problem.out_stride;
        // SAFETY: four biases.
        let bias = unsafe { vld1q_s32(bias.as_ptr()) };
        let mut at = plan.tiles.first_result(first);
        for m in m.chunks(TILE_PRODUCTS).take(count) {
            let [y, x] = at;
            let m = m.first_chunk().expect("a tile has all places");
            let place = [(y * ow + x) * stride + channel, ow * stride, stride];
            // SAFETY: by the contract.
            unsafe { transform_output(to, m, bias, place, [oh - y, ow - x]) };
            at[1] += 4;
            if at[1] >= ow {
                at = [y + 4, 0];
            }
        }
    }
}

/// `B' d B` of eight channels.
///
/// # Safety
/// Eight bytes must be readable at each of 6x6 pixels.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn transform_input(source: *const u8, pixel: usize, line: usize) -> [[int16x8_t; 6]; 6] {
    let zero = vdupq_n_s16(0);
    let mut columns = [[zero; 6]; 6];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut d = [zero; 6];
        for (y, d) in d.iter_mut().enumerate() {
            // SAFETY: by the contract.
            let bytes = unsafe { vld1_u8(source.add(y * line + x * pixel)) };
            *d = vreinterpretq_s16_u16(vmovl_u8(bytes));
        }
        *column = along_input(d);
    }
    let mut rows = [[zero; 6]; 6];
    for (y, row) in rows.iter_mut().enumerate() {
        *row = along_input(columns.map(|column| column[y]));
    }
    rows
}

/// `B'` times a column or row.
#[target_feature(enable = "neon")]
#[inline]
fn along_input(d: [int16x8_t; 6]) -> [int16x8_t; 6] {
    let even = vsubq_s16(d[4], vshlq_n_s16::<2>(d[2]));
    let odd = vsubq_s16(d[3], vshlq_n_s16::<2>(d[1]));
    let near = vsubq_s16(d[4], d[2]);
    let far = vsubq_s16(d[3], d[1]);
    let twice = vaddq_s16(far, far);
    let first = vshlq_n_s16::<2>(vsubq_s16(d[0], d[2]));
    let last = vsubq_s16(vsubq_s16(d[5], d[3]), vshlq_n_s16::<2>(far));
    [
        vaddq_s16(first, near),
        vaddq_s16(even, odd),
        vsubq_s16(even, odd),
        vaddq_s16(near, twice),
        vsubq_s16(near, twice),
        last,
    ]
}

/// Writes the accumulators of a tile, for four channels, from `at` on: those of `left` rows and columns that are there. `bias`
/// is 36 times theirs.
///
/// # Safety
/// As for [`Quad::store`].
#[target_feature(enable = "neon")]
#[inline]
unsafe fn transform_output<Q: Quad>(
    to: &Q,
    m: &[i32; PLACES * 4],
    bias: int32x4_t,
    [at, row, column]: [usize; 3],
    left: [usize; 2],
) {
    let zero = vdupq_n_s32(0);
    let mut columns = [[zero; 4]; 6];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut d = [zero; 6];
        for (y, d) in d.iter_mut().enumerate() {
            // SAFETY: place y * 6 + x is below 36, and has a vector.
            *d = unsafe { vld1q_s32(m.as_ptr().add((y * 6 + x) * 4)) };
        }
        if x == 1 {
            d[1] = vaddq_s32(d[1], bias);
        }
        *column = along_output(d);
    }
    let inverse = vdupq_n_s32(INVERSE_OF_9);
    let [c0, c1, c2, c3, c4, c5] = columns;
    macro_rules! row {
        ($y:literal, $a:literal $b:literal $c:literal) => {
            if left[0] > $y {
                // `2^s` times the accumulators; s is the sum of `exact::SHIFTS` of row and column.
                let sums = along_output([c0[$y], c1[$y], c2[$y], c3[$y], c4[$y], c5[$y]]);
                let sums = [
                    vshrq_n_s32::<$a>(vmulq_s32(sums[0], inverse)),
                    vshrq_n_s32::<$b>(vmulq_s32(sums[1], inverse)),
                    vshrq_n_s32::<$c>(vmulq_s32(sums[2], inverse)),
                    vshrq_n_s32::<$c>(vmulq_s32(sums[3], inverse)),
                ];
                // SAFETY: by the contract.
                unsafe { to.store(at + $y * row, column, left[1], sums) };
            }
        };
    }
    row!(0, 6 5 4);
    row!(1, 5 4 3);
    row!(2, 4 3 2);
    row!(3, 4 3 2);
}

/// `A'` times a column or row, times 24, 12, 6 and 6.
#[target_feature(enable = "neon")]
#[inline]
fn along_output(m: [int32x4_t; 6]) -> [int32x4_t; 4] {
    let ones = vaddq_s32(m[1], m[2]);
    let ones_apart = vsubq_s32(m[2], m[1]);
    let twos = vaddq_s32(m[3], m[4]);
    let twos_apart = vsubq_s32(m[3], m[4]);
    let third = vaddq_s32(vaddq_s32(twos_apart, twos_apart), m[5]);
    [
        vaddq_s32(vsubq_s32(m[0], vshlq_n_s32::<2>(ones)), twos),
        vaddq_s32(vaddq_s32(ones_apart, ones_apart), twos_apart),
        vsubq_s32(twos, ones),
        vaddq_s32(ones_apart, third),
    ]
}
