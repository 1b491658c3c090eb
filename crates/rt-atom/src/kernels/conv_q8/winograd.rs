//! Winograd F(4x4, 3x3) on integers, exact: four times fewer products than the convolution, in 16 bits (`pmaddwd`).
//!
//! ```text
//! for each band of tiles of 4x4 results
//!     for each tile: V[36] = B' d B of its 6x6 levels                       words
//!     for each panel of output channels, for each of 36: M = V * U          i32, one matrix product each
//!         for each tile: results = A' M A / denominators + bias             i32
//! ```
//!
//! The transforms, why they are exact (`pmaddwd` is, as only -2^15 in all four places would wrap), and windows larger than
//! 3x3: `embdl_core::kernels::conv::exact`.
//!
//! Registers: a tile of products of `MR_WORDS` rows and two vectors of channels; see `simd/words.rs`. The words of a band
//! stay in a second-level cache while panel after panel of weights passes by.

use core::ops::Range;

use embdl_core::kernels::conv::exact::{
    INVERSE_OF_9, PLACES, SHIFTS, Tiles, bias_less_zero_point, fits,
};
use embdl_core::kernels::parallel::{Shared, SharedOut};
use embdl_core::kernels::{ConvProblem, ConvQ8, ConvWeights, OutQ8, Parallel};

use super::Compiled;
use crate::kernels::output::{Block, Stage, store};
use crate::simd::words::{WORD_STEP, Words, word_position};

/// Bytes of words that a band aims at.
const BAND_BYTES: usize = 384 * 1024;
/// Tiles that a band has at least, so that weights are not read again for every few tiles.
const BAND_TILES: usize = 16;
/// Words between the places of a band, so that they do not fall into the same set of a cache.
const GAP: usize = 32;
/// Tiles of a task of the first transform.
const TASK_TILES: usize = 8;
/// Bytes to which parts of the scratch are aligned.
const ALIGNMENT: usize = 64;

/// A convolution packed for Winograd.
#[derive(Debug)]
pub(crate) struct Winograd<S> {
    level: S,
    plan: Plan,
    /// Panels of all groups: `[panel][place]`, each `2 * LANES` channels by `k` words.
    weights: Vec<i16>,
    /// Biases less the zero point's share, a panel's lanes for each panel.
    bias: Vec<i32>,
    zero_point: u8,
}

/// What follows from the shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    tiles: Tiles,
    /// Channels of a panel.
    nr: usize,
    /// Input channels of a group, rounded up to whole steps.
    depth: usize,
    /// Tiles of a band.
    band: usize,
}

impl Plan {
    /// The plan for `problem`, if it is one of strides and dilations of 1 with windows of 3x3 and more.
    pub(crate) fn new<S: Words>(problem: &ConvProblem) -> Option<Self> {
        let tiles = Tiles::new(problem)?;
        let depth = tiles.channels.next_multiple_of(WORD_STEP);
        let (k, total) = (depth * tiles.block_count(), tiles.tile_count());
        let fit = (BAND_BYTES / (2 * PLACES * k.max(1))).max(BAND_TILES);
        // Bands of about equal size, in whole tiles of products.
        let bands = total.div_ceil(fit).max(1);
        let band = total.div_ceil(bands).next_multiple_of(S::MR_WORDS).max(1);
        Some(Self { tiles, nr: 2 * S::LANES, depth, band })
    }

    /// Words of a row of a product.
    const fn k(&self) -> usize {
        self.depth * self.tiles.block_count()
    }

    const fn panels_of_group(&self) -> usize {
        self.tiles.panels_of_group(self.nr)
    }

    /// Words from one place to the next.
    const fn place_stride(&self) -> usize {
        self.band * self.k() + GAP
    }

    /// Bytes of a patch: the levels of a tile, and what a vector reads beyond them.
    const fn patch_bytes(&self) -> usize {
        (PLACES * self.tiles.channels + 4 * self.nr).next_multiple_of(ALIGNMENT)
    }

    /// i32 of the products of a band with a panel.
    const fn product_len(&self) -> usize {
        self.band * PLACES * self.nr
    }

    /// Bytes that a worker has for itself: products or a patch.
    const fn worker_bytes(&self) -> usize {
        let (patch, products) = (self.patch_bytes(), 4 * self.product_len());
        (if patch > products { patch } else { products }).next_multiple_of(ALIGNMENT)
    }

    /// Words of a band.
    const fn band_len(&self) -> usize {
        (self.place_stride() * PLACES).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of scratch.
    pub(crate) const fn scratch_bytes(&self) -> usize {
        ALIGNMENT + 2 * self.band_len() + self.tiles.problem.threads * self.worker_bytes()
    }

    /// Bytes of packed weights and biases.
    pub(crate) const fn weight_bytes(&self) -> usize {
        let panels = self.panels_of_group() * self.tiles.problem.groups;
        panels * self.nr * (2 * PLACES * self.k() + 4)
    }

    /// Time, in products of bytes by GEMM at the level. The factors are measured: a product of words, a value that is
    /// transformed before and after, and a byte of weights that comes from a cache or from memory. Weights pass by once a
    /// band. The first time they come from memory, because the rest of the network has run since, unless they are few.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn cost(&self, has_dot: bool) -> f32 {
        /// What stays in a second-level cache from run to run, and what stays in a cache from band to band.
        const KEPT: [usize; 2] = [1 << 20, 8 << 20];
        let [product, input, result, near, far] =
            if has_dot { [2.0, 60.0, 20.0, 2.0, 15.0] } else { [0.5, 8.0, 20.0, 0.2, 1.5] };
        let tiles = self.tiles.tile_count();
        let places = (tiles * PLACES) as f32;
        let products = places * (self.k() * self.tiles.problem.n) as f32;
        let inputs = places * (self.k() * self.tiles.problem.groups) as f32;
        let results = places * self.tiles.problem.n as f32;
        let [first, next] = KEPT.map(|kept| if self.weight_bytes() > kept { far } else { near });
        let passes = tiles.div_ceil(self.band).saturating_sub(1) as f32;
        let weights = self.weight_bytes() as f32 * (first + next * passes);
        product * products + input * inputs + result * results + weights
    }
}

impl<S: Compiled> Winograd<S> {
    /// Packs weights; `None` where an accumulator may be too large.
    pub(super) fn pack(
        level: S,
        plan: Plan,
        weights: ConvWeights<'_, i8, i32>,
        zero_point: u8,
    ) -> Option<Self> {
        let ConvProblem { groups, n, .. } = plan.tiles.problem;
        let row = plan.tiles.filter_len().max(1);
        if !weights.weights.chunks_exact(row).all(|filter| fits(filter, 0)) {
            return None;
        }
        let (k, nr, width) = (plan.k(), plan.nr, n / groups);
        let panels = plan.panels_of_group() * groups;
        let mut packed = vec![0_i16; panels * PLACES * k * nr];
        let mut bias = vec![0_i32; panels * nr];
        for (j, filter) in weights.weights.chunks_exact(row).enumerate() {
            let panel = j / width * plan.panels_of_group() + j % width / nr;
            let lane = j % width % nr;
            bias[panel * nr + lane] = bias_less_zero_point(weights, j, filter, zero_point);
            let panel = &mut packed[panel * PLACES * k * nr..][..PLACES * k * nr];
            plan.tiles.for_each_weight(filter, |[block, c], weights| {
                let at = word_position::<S>(k, block * plan.depth + c, lane);
                for (place, w) in weights.into_iter().enumerate() {
                    panel[place * k * nr + at] = w;
                }
            });
        }
        Some(Self { level, plan, weights: packed, bias, zero_point })
    }
}

impl<S: Compiled> ConvQ8 for Winograd<S> {
    fn weight_bytes(&self) -> usize {
        2 * self.weights.len() + 4 * self.bias.len()
    }

    fn run(&self, parallel: &dyn Parallel, input: &[u8], out: OutQ8<'_>, scratch: &mut [u8]) {
        let plan = &self.plan;
        assert!(input.len() == plan.tiles.problem.geometry.input_len(), "{} inputs", input.len());
        let out = SharedOut::new(out);
        let start = scratch.as_ptr().align_offset(ALIGNMENT);
        let (band, workers) = scratch[start..].split_at_mut(2 * plan.band_len());
        let words = as_words(band);
        let worker_bytes = workers.len() / parallel.threads() / ALIGNMENT * ALIGNMENT;
        assert!(worker_bytes >= plan.worker_bytes(), "{worker_bytes} bytes a worker");
        let workers = Shared::new(workers);
        // SAFETY: workers that run at the same time have different numbers below the number of threads.
        let own = |worker: usize| unsafe {
            workers.part(worker * worker_bytes..(worker + 1) * worker_bytes)
        };
        let total = plan.tiles.tile_count();
        for first in (0..total).step_by(plan.band) {
            let count = plan.band.min(total - first);
            for group in 0..plan.tiles.problem.groups {
                {
                    let words = Shared::new(&mut *words);
                    parallel.for_each(count.div_ceil(TASK_TILES), &|worker, task| {
                        let from = task * TASK_TILES;
                        let band = Band { group, first, tiles: from..count.min(from + TASK_TILES) };
                        self.level.winograd_input(self, input, &words, &band, own(worker));
                    });
                }
                let words = &*words;
                parallel.for_each(plan.panels_of_group(), &|worker, panel| {
                    let panel = group * plan.panels_of_group() + panel;
                    let band = Band { group, first, tiles: 0..count };
                    let products = as_integers(own(worker));
                    self.level.winograd_output(self, words, panel, &band, products, &out);
                });
            }
        }
    }
}

/// Tiles of a band that a task takes, for a group of channels.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    group: usize,
    /// First tile of the band.
    first: usize,
    /// Tiles within the band.
    tiles: Range<usize>,
}

/// Scratch as words.
fn as_words(bytes: &mut [u8]) -> &mut [i16] {
    // SAFETY: any bytes are words.
    unsafe { bytes.align_to_mut::<i16>().1 }
}

/// Scratch as i32.
fn as_integers(bytes: &mut [u8]) -> &mut [i32] {
    // SAFETY: any bytes are integers.
    unsafe { bytes.align_to_mut::<i32>().1 }
}

/// The words of tiles.
#[inline(always)]
pub(super) fn input_tiles<S: Words>(
    simd: S,
    conv: &Winograd<S>,
    input: &[u8],
    words: &Shared<'_, i16>,
    band: &Band,
    patch: &mut [u8],
) {
    let plan = &conv.plan;
    let channel = band.group * plan.tiles.channels;
    // What a vector reads from a pixel on.
    let reach = plan.depth.max(plan.nr);
    for tile in band.tiles.clone() {
        for block in 0..plan.tiles.block_count() {
            let (at, from) = ([band.first + tile, block], [channel, reach]);
            let (source, [pixel, line]) =
                plan.tiles.pixels(at, input, from, conv.zero_point, patch);
            assert!(source.len() >= 5 * (line + pixel) + reach);
            let at = tile * plan.k() + block * plan.depth;
            for step in (0..plan.depth).step_by(plan.nr) {
                let step = step.min(plan.depth.saturating_sub(plan.nr));
                // SAFETY: the last pixel is 5 lines and 5 pixels on, and from it a vector from each step is within reach.
                let v = unsafe { transform_input(simd, source.as_ptr().add(step), pixel, line) };
                for (place, &v) in v.as_flattened().iter().enumerate() {
                    let len = plan.nr.min(plan.depth);
                    let start = place * plan.place_stride() + at + step;
                    // SAFETY: tiles, blocks and places have different words, and each tile is of one task.
                    let target = unsafe { words.part(start..start + len) };
                    if len == plan.nr {
                        // SAFETY: `nr` words are a vector.
                        unsafe { simd.store_bytes(target.as_mut_ptr().cast(), v) };
                    } else {
                        let mut lanes = [0_i16; 32];
                        // SAFETY: at most 32 words are a vector.
                        unsafe { simd.store_bytes(lanes.as_mut_ptr().cast(), v) };
                        target.copy_from_slice(&lanes[..len]);
                    }
                }
            }
        }
    }
}

/// `B' d B` of a vector of channels.
///
/// # Safety
/// `2 * LANES` bytes must be readable at each of 6x6 pixels.
#[inline(always)]
unsafe fn transform_input<S: Words>(
    simd: S,
    source: *const u8,
    pixel: usize,
    line: usize,
) -> [[S::I32; 6]; 6] {
    let zero = simd.splat_i32(0);
    let mut columns = [[zero; 6]; 6];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut d = [zero; 6];
        for (y, d) in d.iter_mut().enumerate() {
            // SAFETY: by the contract.
            *d = unsafe { simd.widen(source.add(y * line + x * pixel)) };
        }
        *column = along_input(simd, d);
    }
    let mut rows = [[zero; 6]; 6];
    for (y, row) in rows.iter_mut().enumerate() {
        let mut d = [zero; 6];
        for (d, column) in d.iter_mut().zip(&columns) {
            *d = column[y];
        }
        *row = along_input(simd, d);
    }
    rows
}

/// `B'` times a column or row.
#[inline(always)]
fn along_input<S: Words>(simd: S, d: [S::I32; 6]) -> [S::I32; 6] {
    let even = simd.sub_words(d[4], simd.quadruple_words(d[2]));
    let odd = simd.sub_words(d[3], simd.quadruple_words(d[1]));
    let near = simd.sub_words(d[4], d[2]);
    let far = simd.sub_words(d[3], d[1]);
    let far = simd.add_words(far, far);
    let first = simd.quadruple_words(simd.sub_words(d[0], d[2]));
    let last = simd.sub_words(simd.sub_words(d[5], d[3]), simd.add_words(far, far));
    [
        simd.add_words(first, near),
        simd.add_words(even, odd),
        simd.sub_words(even, odd),
        simd.add_words(near, far),
        simd.sub_words(near, far),
        last,
    ]
}

/// The results of a band for a panel of channels.
#[inline(always)]
pub(super) fn output_tiles<S: Words>(
    simd: S,
    conv: &Winograd<S>,
    words: &[i16],
    panel: usize,
    band: &Band,
    products: &mut [i32],
    out: &SharedOut<'_>,
) {
    let plan = &conv.plan;
    let (k, nr) = (plan.k(), plan.nr);
    let count = band.tiles.len();
    let weights = &conv.weights[panel * PLACES * k * nr..][..PLACES * k * nr];
    assert!(products.len() >= count * PLACES * nr);
    for (place, weights) in weights.chunks_exact(k * nr).enumerate() {
        let rows = &words[place * plan.place_stride()..][..count * k];
        let products = &mut products[place * nr..];
        let mut tile = 0;
        while tile < count {
            let (rows, products) = (&rows[tile * k..], &mut products[tile * PLACES * nr..]);
            macro_rules! tile {
                ($m:literal) => {{
                    multiply::<S, $m>(simd, rows, k, weights, products);
                    $m
                }};
            }
            tile += match count - tile {
                8.. if S::MR_WORDS >= 8 => tile!(8),
                6.. if S::MR_WORDS == 6 => tile!(6),
                4.. => tile!(4),
                2.. => tile!(2),
                _ => tile!(1),
            };
        }
    }
    let (channel, channels) = plan.tiles.channels_of(panel, nr);
    // SAFETY: no elements.
    let stage = Stage::prepare(simd, &unsafe { out.part(0..0) }, channel);
    let [oh, ow] = plan.tiles.problem.geometry.output;
    let bias = &conv.bias[panel * nr..][..nr];
    for tile in 0..count {
        let [y, x] = plan.tiles.first_result(band.first + tile);
        let products = &products[tile * PLACES * nr..][..PLACES * nr];
        let results = [
            transform_output(simd, products, bias, 0),
            transform_output(simd, products, &bias[S::LANES..], 1),
        ];
        let [left, right] = &results;
        for (row, (left, right)) in left.iter().zip(right).take(oh - y).enumerate() {
            let pixel = (y + row) * ow + x;
            let columns = 4.min(ow - x);
            let mut column = 0;
            while column < columns {
                let start = (pixel + column) * plan.tiles.problem.out_stride + channel;
                let sums = [left[column], right[column]];
                // SAFETY: pixels and panels have different results, and each panel is of one task; here and below.
                let mut part = unsafe { out.part(start..start + channels) };
                column += 1;
                if let (OutQ8::U8(_, first), Some(stage)) = (&mut part, &stage)
                    && column < columns
                    && channels == nr
                {
                    let next = start + plan.tiles.problem.out_stride;
                    // SAFETY: as above.
                    let other = unsafe { out.part(next..next + channels) };
                    if let OutQ8::U8(_, second) = other {
                        let next = [left[column], right[column]];
                        stage.store_two(simd, [sums, next], [first, second]);
                    }
                    column += 1;
                    continue;
                }
                let block = Block { at: 0, stride: 0, channel, count: channels };
                store::<S, 1, 2>(simd, stage.as_ref(), &mut part, block, &[sums]);
            }
        }
    }
}

/// The products of `M` tiles in one place.
#[inline(always)]
fn multiply<S: Words, const M: usize>(
    simd: S,
    rows: &[i16],
    k: usize,
    weights: &[i16],
    products: &mut [i32],
) {
    let nr = 2 * S::LANES;
    assert!(rows.len() >= M * k && weights.len() == k * nr && k.is_multiple_of(WORD_STEP));
    assert!(products.len() >= (M - 1) * PLACES * nr + nr);
    let mut sums = [[simd.splat_i32(0); 2]; M];
    let mut starts = [rows.as_ptr(); M];
    for (r, start) in starts.iter_mut().enumerate() {
        // SAFETY: r < M, and there are M rows of k.
        *start = unsafe { rows.as_ptr().add(r * k) };
    }
    // SAFETY: k words a row and 2 * LANES * k weights, asserted above.
    unsafe { simd.multiply_words(&mut sums, starts, &[0], k, weights.as_ptr()) };
    for (r, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let at = r * PLACES * nr + v * S::LANES;
            // SAFETY: two vectors from r * PLACES * nr, asserted above.
            unsafe { simd.store_bytes(products.as_mut_ptr().add(at).cast(), sum) };
        }
    }
}

/// The accumulators of a tile for vector `v` of the panel's channels.
#[inline(always)]
fn transform_output<S: Words>(
    simd: S,
    products: &[i32],
    bias: &[i32],
    v: usize,
) -> [[S::I32; 4]; 4] {
    let nr = 2 * S::LANES;
    assert!(products.len() == PLACES * nr && bias.len() >= S::LANES && v < 2);
    let zero = simd.splat_i32(0);
    let mut columns = [[zero; 4]; 6];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut m = [zero; 6];
        for (y, m) in m.iter_mut().enumerate() {
            let at = (y * 6 + x) * nr + v * S::LANES;
            // SAFETY: place y * 6 + x is below 36, and has two vectors.
            *m = unsafe { simd.load_bytes(products.as_ptr().add(at).cast()) };
        }
        *column = along_output(simd, m);
    }
    let inverse = simd.splat_i32(INVERSE_OF_9);
    // SAFETY: a vector of biases.
    let bias = unsafe { simd.load_bytes(bias.as_ptr().cast()) };
    let mut results = [[bias; 4]; 4];
    for (y, results) in results.iter_mut().enumerate() {
        let mut m = [zero; 6];
        for (m, column) in m.iter_mut().zip(&columns) {
            *m = column[y];
        }
        let sums = along_output(simd, m);
        for (x, (result, sum)) in results.iter_mut().zip(sums).enumerate() {
            let exact = simd.sra_i32(simd.mul_i32(sum, inverse), SHIFTS[y] + SHIFTS[x]);
            *result = simd.add_i32(exact, bias);
        }
    }
    results
}

/// `A'` times a column or row, times 24, 12, 6 and 6.
#[inline(always)]
fn along_output<S: Words>(simd: S, m: [S::I32; 6]) -> [S::I32; 4] {
    let ones = simd.add_i32(m[1], m[2]);
    let ones_apart = simd.sub_i32(m[2], m[1]);
    let twos = simd.add_i32(m[3], m[4]);
    let twos_apart = simd.sub_i32(m[3], m[4]);
    let third = simd.add_i32(simd.add_i32(twos_apart, twos_apart), m[5]);
    [
        simd.add_i32(simd.sub_i32(m[0], simd.quadruple_i32(ones)), twos),
        simd.add_i32(simd.add_i32(ones_apart, ones_apart), twos_apart),
        simd.sub_i32(twos, ones),
        simd.add_i32(ones_apart, third),
    ]
}
