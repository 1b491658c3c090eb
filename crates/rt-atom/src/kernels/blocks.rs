//! Block-sparse weights. Contract and reference: `embdl_core::kernels::blocks`; the layout: `embdl_core::kernels::packed`.
//!
//! ```text
//! for each block of rows                         that stays in the second-level cache
//!     for each two vectors of channels           whose weights stay in the first-level cache
//!         for each tile of rows
//!             for each block: sums[rows] += activations of its columns * block
//!             out[rows, channels] = output stage(sums)
//! ```
//!
//! A block is a vector of weights, and all of its channels meet the same activations: a load brings them to all lanes, and the
//! rest is what dense kernels do. Sums of words are chained over blocks as the largest weight allows. One row has several sums,
//! which do not wait for each other.

use embdl_core::kernels::{BlockPanel, BlocksF32, BlocksQ8, OutQ8, RowsF32, RowsQ8, Tile};

use super::gemm::{PAIRS, Products, QUADS, WIDENED, row_blocks};
use super::output::{Block, Stage, store};
use crate::simd::Simd;
use crate::simd::blocks::Blocks;

/// Rows and columns of a block.
pub(crate) const fn tile<S: Blocks>(quantized: bool) -> Tile {
    if quantized { S::BLOCK } else { Tile { nr: S::LANES, kr: 1 } }
}

/// Rows of a float tile: chains that do not wait for each other, and more where there are registers.
const fn rows_f32<S: Simd>() -> usize {
    if S::LANES > 8 { 12 } else { 8 }
}

/// Calls `$call` for tiles of `$most` rows, of four where that is twelve, and of one, until none of `$rows` (the first, how many)
/// is left.
macro_rules! for_tiles {
    ($rows:expr, $most:expr, |$first:ident, $m:ident| $call:expr) => {
        let (mut $first, end) = ($rows.0, $rows.0 + $rows.1);
        while $first < end {
            for_tiles!(@largest end, $most, $first, $m, $call, 12 8 6 4 1);
        }
    };
    (@largest $end:expr, $most:expr, $first:ident, $m:ident, $call:expr, $($count:literal)+) => {
        match $end - $first {
            $($count.. if $most == $count || $count == 1 || ($count == 4 && $most == 12) => {
                const $m: usize = $count;
                $call;
                $first += $m;
            })+
            _ => unreachable!("rows are left"),
        }
    };
}

/// Block-sparse float weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[inline(always)]
pub(crate) fn gemm_f32<S: Blocks>(simd: S, job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
    let (n, k) = (job.weights.n(), job.weights.k());
    assert!(job.weights.tile() == tile::<S>(false), "blocks of {:?}", job.weights.tile());
    super::sparse::check(job.m, k, n, job.lhs.len(), out.len());
    for rows in row_blocks(job.m, k, n, rows_f32::<S>()) {
        for index in 0..job.weights.panels() {
            for_tiles!(rows, rows_f32::<S>(), |first, M| {
                tile_f32::<S, M>(simd, job, index, first, out);
            });
        }
    }
}

/// `M` rows from `first` on times a panel.
#[inline(always)]
fn tile_f32<S: Blocks, const M: usize>(
    simd: S,
    job: &RowsF32<'_, BlocksF32>,
    index: usize,
    first: usize,
    out: &mut [f32],
) {
    let (n, k) = (job.weights.n(), job.weights.k());
    let BlockPanel { offsets, values } = job.weights.panel(index);
    let bias = &job.weights.bias()[index * S::LANES..][..S::LANES];
    let lhs = &job.lhs[first * k..][..M * k];
    assert!(values.len() == offsets.len() * S::LANES);
    // SAFETY: LANES biases.
    let bias = unsafe { simd.load(bias.as_ptr()) };
    let mut sums = [simd.splat(0.0); M];
    for (block, &offset) in offsets.iter().enumerate() {
        // SAFETY: a vector of values for each block, whose column lies within the rows of k.
        unsafe {
            let w = simd.load(values.as_ptr().add(block * S::LANES));
            let x = lhs.as_ptr().add(usize::from(offset));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add(simd.splat(*x.add(r * k)), w, *sum);
            }
        }
    }
    let (low, high) = (simd.splat(job.clamp.0), simd.splat(job.clamp.1));
    let count = S::LANES.min(n - index * S::LANES);
    for (r, &sum) in sums.iter().enumerate() {
        let out = &mut out[(first + r) * n + index * S::LANES..][..count];
        // The sum stands second, because minps and maxps return that one where there is a NaN.
        let y = simd.min(high, simd.max(low, simd.add(sum, bias)));
        if count == S::LANES {
            // SAFETY: a vector of results.
            unsafe { simd.store(out.as_mut_ptr(), y) };
        } else {
            // SAFETY: `count` results.
            unsafe { simd.store_first(out.as_mut_ptr(), y, count) };
        }
    }
}

/// Block-sparse integer weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[inline(always)]
pub(crate) fn gemm_q8<S: Blocks>(simd: S, job: &RowsQ8<'_, BlocksQ8>, mut out: OutQ8<'_>) {
    let (n, k) = (job.weights.n(), job.weights.k());
    assert!(job.weights.tile() == S::BLOCK, "blocks of {:?}", job.weights.tile());
    super::sparse::check(job.m, k, n, job.lhs.len(), out.len());
    if S::HAS_DOT {
        return tiles_q8::<S, PAIRS>(simd, job, &mut out);
    }
    match Products::for_weights(job.weights.max_abs()) {
        Products::Widened => tiles_q8::<S, WIDENED>(simd, job, &mut out),
        Products::Pairs => tiles_q8::<S, PAIRS>(simd, job, &mut out),
        // Sums of eight would save one instruction in seven for the smallest weights, and take a fifth more code.
        Products::Quads | Products::Octs => tiles_q8::<S, QUADS>(simd, job, &mut out),
    }
}

#[inline(always)]
fn tiles_q8<S: Blocks, const PRODUCTS: u8>(
    simd: S,
    job: &RowsQ8<'_, BlocksQ8>,
    out: &mut OutQ8<'_>,
) {
    let (n, k) = (job.weights.n(), job.weights.k());
    for rows in row_blocks(job.m, k / 4, n / 4, S::ROWS) {
        for channel in (0..n).step_by(2 * S::LANES) {
            let stage = Stage::prepare(simd, out, channel);
            for_tiles!(rows, S::ROWS, |first, M| {
                tile_q8::<S, M, PRODUCTS>(simd, job, [first, channel], stage.as_ref(), out);
            });
        }
    }
}

/// `M` rows from `first` on times two vectors of channels.
#[inline(always)]
fn tile_q8<S: Blocks, const M: usize, const PRODUCTS: u8>(
    simd: S,
    job: &RowsQ8<'_, BlocksQ8>,
    [first, channel]: [usize; 2],
    stage: Option<&Stage<S>>,
    out: &mut OutQ8<'_>,
) {
    let (weights, n, k) = (job.weights, job.weights.n(), job.weights.k());
    let lhs = &job.lhs[first * k..][..M * k];
    // The number of panels is not known to the compiler, which leaves one loop for all of them.
    let panel = channel / S::BLOCK.nr;
    let mut panels = [[simd.splat_i32(0); M]; 4];
    let held = panels.iter_mut().take(2 * S::PARTS).zip(panel..weights.panels());
    for (sums, panel) in held {
        *sums = panel_q8::<S, M, PRODUCTS>(simd, weights.panel(panel), lhs, k);
    }
    let mut sums = [[simd.splat_i32(0); 2]; M];
    for (r, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            let first = v * S::PARTS;
            *sum = simd.join([panels[first][r], panels[first + S::PARTS - 1][r]]);
        }
    }
    let mut bias = [0_i32; 32];
    let count = (n - channel).min(2 * S::LANES);
    bias[..count].copy_from_slice(&weights.bias()[channel..][..count]);
    for v in 0..2 {
        // SAFETY: two vectors are at most 32.
        let bias = unsafe { simd.load_bytes(bias.as_ptr().add(v * S::LANES).cast()) };
        for sums in &mut sums {
            sums[v] = simd.add_i32(sums[v], bias);
        }
    }
    let block = Block { at: first * n + channel, stride: n, channel, count };
    store(simd, stage, out, block, &sums);
}

/// The sums of `M` rows of `k` with a panel.
#[inline(always)]
fn panel_q8<S: Blocks, const M: usize, const PRODUCTS: u8>(
    simd: S,
    panel: BlockPanel<'_, i8>,
    lhs: &[u8],
    k: usize,
) -> [S::I32; M] {
    let BlockPanel { offsets, values } = panel;
    assert!(values.len() == offsets.len() * 4 * S::LANES && lhs.len() == M * k);
    let values = values.as_ptr().cast::<u8>();
    let weights = |block: usize| {
        // SAFETY: a vector of values for each block.
        unsafe { simd.load_bytes(values.add(block * 4 * S::LANES)) }
    };
    let columns = |block: usize, r: usize| {
        // SAFETY: blocks that are asked for are there, and their columns lie within the rows of k.
        unsafe {
            simd.columns(lhs.as_ptr().add(r * k + usize::from(*offsets.get_unchecked(block))))
        }
    };
    let mut sums = [simd.splat_i32(0); M];
    let mut others = [simd.splat_i32(0); 3];
    let mut block = 0;
    let chained = !S::HAS_DOT && PRODUCTS >= QUADS;
    while chained && block + 2 <= offsets.len() {
        let w = [weights(block), weights(block + 1)];
        for (r, sum) in sums.iter_mut().enumerate() {
            let x = [columns(block, r), columns(block + 1, r)];
            *sum = simd.dot_both::<PRODUCTS>(*sum, x, w);
        }
        block += 2;
    }
    while M == 1 && block + 4 <= offsets.len() {
        sums[0] = simd.dot::<PRODUCTS>(sums[0], columns(block, 0), weights(block));
        for (sum, step) in others.iter_mut().zip(block + 1..) {
            *sum = simd.dot::<PRODUCTS>(*sum, columns(step, 0), weights(step));
        }
        block += 4;
    }
    while block < offsets.len() {
        let w = weights(block);
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = simd.dot::<PRODUCTS>(*sum, columns(block, r), w);
        }
        block += 1;
    }
    if M == 1 {
        sums[0] = others.into_iter().fold(sums[0], |sum, other| simd.add_i32(sum, other));
    }
    sums
}
