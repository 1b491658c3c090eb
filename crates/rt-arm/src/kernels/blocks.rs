//! Block-sparse weights. Contract and reference: `embdl_core::kernels::blocks`; the layout: `embdl_core::kernels::packed`.
//!
//! ```text
//! for each tile of rows                          flipped to i8, once for all panels
//!     for each four channels
//!         for each block: sums[rows] += activations of its columns * block
//!         out[rows, channels] = output stage(sums)
//! ```
//!
//! Integers on NEON: a block is eight columns of two channels, of which `smull` and `smlal` sum as many as fit 16 bits before
//! `sadalp` widens them. With `sdot` it is four columns of four channels, and a load (`ld1r`) brings four bytes to all lanes.
//! Floats: one column of four channels. Six or eight rows share what is read of a block.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{BlockPanel, BlocksF32, BlocksQ8, OutQ8, RowsF32, RowsQ8, Tile};

use super::ell::Row;
use super::output::{Sink, load_f32, load_i32, store_f32};

/// Blocks of floats.
pub(super) const TILE_F32: Tile = Tile { nr: 4, kr: 1 };
/// Blocks of integers for `smull`.
pub(super) const TILE_NEON: Tile = Tile { nr: 2, kr: 8 };
/// Blocks of integers for `sdot`.
pub(super) const TILE_DOTPROD: Tile = Tile { nr: 4, kr: 4 };

// Tiles have as many rows as fit the registers, or one: those between would take some kilobytes of a small program, and save
// instructions in the last rows of a layer only.

/// Rows of a tile of floats, and of integers by `sdot`.
const ROWS: usize = 8;
/// Rows of a tile by `smull`, whose sums take four registers a row.
const ROWS_NEON: usize = 6;

/// Block-sparse float weights.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon")]
pub(super) fn blocks_f32(job: &RowsF32<'_, BlocksF32>, out: &mut [f32]) {
    let (m, n, k) = (job.m, job.weights.n(), job.weights.k());
    assert!(job.weights.tile() == TILE_F32, "blocks of {:?}", job.weights.tile());
    assert!(job.lhs.len() >= m * k, "{} inputs are not {m} rows of {k}", job.lhs.len());
    assert!(out.len() >= m * n, "{} results are not {m} rows of {n}", out.len());
    let mut first = 0;
    while first < m {
        let lhs = &job.lhs[first * k..];
        let rows = if m - first < ROWS { 1 } else { ROWS };
        let (lhs, out) = (&lhs[..rows * k], &mut out[first * n..][..rows * n]);
        for panel in 0..job.weights.panels() {
            if rows == 1 {
                tile_f32::<1>(job, panel, lhs, out);
            } else {
                tile_f32::<ROWS>(job, panel, lhs, out);
            }
        }
        first += rows;
    }
}

/// `M` rows times a panel.
#[target_feature(enable = "neon")]
#[inline]
fn tile_f32<const M: usize>(
    job: &RowsF32<'_, BlocksF32>,
    index: usize,
    lhs: &[f32],
    out: &mut [f32],
) {
    let (n, k) = (job.weights.n(), job.weights.k());
    let BlockPanel { offsets, values } = job.weights.panel(index);
    assert!(values.len() == 4 * offsets.len() && lhs.len() == M * k);
    let rows: [*const f32; M] = core::array::from_fn(|r| lhs[r * k..].as_ptr());
    let mut sums = [load_f32(&job.weights.bias()[4 * index..]); M];
    for (w, &offset) in values.as_chunks::<4>().0.iter().zip(offsets) {
        // SAFETY: four floats.
        let w = unsafe { vld1q_f32(w.as_ptr()) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: a block's columns lie within the rows of k.
            *sum = vfmaq_n_f32(*sum, w, unsafe { *row.add(usize::from(offset)) });
        }
    }
    let (low, high) = (vdupq_n_f32(job.clamp.0), vdupq_n_f32(job.clamp.1));
    let count = (n - 4 * index).min(4);
    for (r, sum) in sums.into_iter().enumerate() {
        // Both keep NaN.
        let y = vminq_f32(vmaxq_f32(sum, low), high);
        store_f32(&mut out[r * n + 4 * index..][..count], y);
    }
}

/// Block-sparse integer weights by `smull`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon")]
pub(super) fn blocks_q8_neon(job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
    assert!(job.weights.tile() == TILE_NEON, "blocks of {:?}", job.weights.tile());
    // 128 times the largest weight, as often as it fits 16 bits.
    match job.weights.max_abs() {
        0..=63 => run::<_, ROWS_NEON>(job, out, Quads::<4>),
        64..=127 => run::<_, ROWS_NEON>(job, out, Quads::<2>),
        // Symmetric weights have no -128; where one is, two products may exceed 16 bits.
        _ => embdl_core::kernels::blocks::blocks_q8(job, out),
    }
}

/// Block-sparse integer weights by `sdot`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn blocks_q8_dotprod(job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>) {
    assert!(job.weights.tile() == TILE_DOTPROD, "blocks of {:?}", job.weights.tile());
    run::<_, ROWS>(job, out, Dots);
}

/// How four channels are multiplied.
trait Products: Copy {
    /// The sums of `M` rows with the channels from `channel` on.
    ///
    /// # Safety
    /// Each row must have the weights' columns, and the CPU what the kernel is compiled for.
    unsafe fn sums<const M: usize>(
        self,
        weights: &BlocksQ8,
        channel: usize,
        rows: [*const i8; M],
    ) -> [int32x4_t; M];
}

/// Runs a job in tiles of `ROWS` rows.
#[target_feature(enable = "neon")]
#[inline]
fn run<P: Products, const ROWS: usize>(job: &RowsQ8<'_, BlocksQ8>, out: OutQ8<'_>, products: P) {
    let (m, n, k) = (job.m, job.weights.n(), job.weights.k());
    let mut sink = Sink::new(out);
    assert!(job.lhs.len() >= m * k, "{} inputs are not {m} rows of {k}", job.lhs.len());
    assert!(sink.len() >= m * n, "{} results are not {m} rows of {n}", sink.len());
    let mut flipped = Row::new();
    let most = if ROWS * k <= Row::MAX { ROWS } else { 1 };
    let mut first = 0;
    while first < m {
        let lhs = &job.lhs[first * k..];
        let at = first * n;
        let rows = if m - first < most { 1 } else { most };
        flipped.fill(&lhs[..rows * k]);
        if rows == 1 {
            tile_q8::<P, 1>(job.weights, &flipped, &mut sink, at, products);
        } else {
            tile_q8::<P, ROWS>(job.weights, &flipped, &mut sink, at, products);
        }
        first += rows;
    }
}

/// `M` flipped rows times all channels.
#[target_feature(enable = "neon")]
#[inline]
fn tile_q8<P: Products, const M: usize>(
    weights: &BlocksQ8,
    flipped: &Row,
    sink: &mut Sink<'_>,
    at: usize,
    products: P,
) {
    let (n, k) = (weights.n(), weights.k());
    // SAFETY: the caller filled M rows of k.
    let rows: [*const i8; M] = core::array::from_fn(|r| unsafe { flipped.as_ptr().add(r * k) });
    // Eight channels, because storing them takes hardly longer than storing four.
    for channel in (0..n).step_by(8) {
        let mut sums = [[vdupq_n_s32(0); 2]; M];
        for half in 0..(n - channel).div_ceil(4).min(2) {
            let channel = channel + 4 * half;
            // SAFETY: rows of k, of a job whose level was asserted by its tile.
            let of_half = unsafe { products.sums(weights, channel, rows) };
            let bias = whole(&weights.bias()[channel..]);
            let flips = vshlq_n_s32::<7>(whole(&weights.row_sums()[channel..]));
            let plus = vaddq_s32(bias, flips);
            for (sums, sum) in sums.iter_mut().zip(of_half) {
                sums[half] = vaddq_s32(sum, plus);
            }
        }
        let multipliers = sink.multipliers::<2>(channel);
        for (r, sums) in sums.into_iter().enumerate() {
            sink.store(at + r * n + channel, (n - channel).min(8), &sums, &multipliers);
        }
    }
}

/// Four numbers, zeros where there are less.
#[target_feature(enable = "neon")]
#[inline]
fn whole(numbers: &[i32]) -> int32x4_t {
    if let Some(four) = numbers.first_chunk::<4>() {
        return load_i32(four);
    }
    let mut padded = [0; 4];
    padded[..numbers.len()].copy_from_slice(numbers);
    load_i32(&padded)
}

/// By `smull` and `smlal`, `CHAIN` blocks in 16 bits.
#[derive(Clone, Copy)]
struct Quads<const CHAIN: usize>;

impl<const CHAIN: usize> Products for Quads<CHAIN> {
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn sums<const M: usize>(
        self,
        weights: &BlocksQ8,
        channel: usize,
        rows: [*const i8; M],
    ) -> [int32x4_t; M] {
        let mut halves = [[vdupq_n_s32(0); 2]; M];
        for (half, panel) in (channel / 2..weights.panels()).take(2).enumerate() {
            // SAFETY: by the contract.
            let of_panel = unsafe { pairs::<M, CHAIN>(weights.panel(panel), rows) };
            for (halves, [a, b]) in halves.iter_mut().zip(of_panel) {
                halves[half] = vpaddq_s32(a, b);
            }
        }
        halves.map(|[first, second]| vpaddq_s32(first, second))
    }
}

/// Four partial sums for each of two channels.
///
/// # Safety
/// Each row must have the columns of the panel.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn pairs<const M: usize, const CHAIN: usize>(
    panel: BlockPanel<'_, i8>,
    rows: [*const i8; M],
) -> [[int32x4_t; 2]; M] {
    let BlockPanel { offsets, values } = panel;
    let mut sums = [[vdupq_n_s32(0); 2]; M];
    let blocks = values.as_chunks::<16>().0;
    assert!(blocks.len() == offsets.len());
    let ((chains, blocks), (offsets_of_chains, offsets)) =
        (blocks.as_chunks::<CHAIN>(), offsets.as_chunks::<CHAIN>());
    for (blocks, offsets) in chains.iter().zip(offsets_of_chains) {
        // SAFETY: columns within the rows by the contract.
        unsafe { chain(&mut sums, blocks, offsets, rows) };
    }
    // SAFETY: as above.
    unsafe { chain(&mut sums, blocks, offsets, rows) };
    sums
}

/// Adds blocks whose sums fit 16 bits.
///
/// # Safety
/// Each row must have the columns.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn chain<const M: usize>(
    sums: &mut [[int32x4_t; 2]; M],
    blocks: &[[i8; 16]],
    offsets: &[u16],
    rows: [*const i8; M],
) {
    let mut words = [[vdupq_n_s16(0); 2]; M];
    for (block, &offset) in blocks.iter().zip(offsets) {
        // SAFETY: sixteen weights; columns within the rows by the contract.
        unsafe {
            let w = [vld1_s8(block.as_ptr()), vld1_s8(block[8..].as_ptr())];
            for (words, row) in words.iter_mut().zip(rows) {
                let x = vld1_s8(row.add(usize::from(offset)));
                for (word, w) in words.iter_mut().zip(w) {
                    *word = vmlal_s8(*word, x, w);
                }
            }
        }
    }
    for (sums, words) in sums.iter_mut().zip(words) {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = vpadalq_s16(*sum, word);
        }
    }
}

/// By `sdot`.
#[derive(Clone, Copy)]
struct Dots;

impl Products for Dots {
    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    unsafe fn sums<const M: usize>(
        self,
        weights: &BlocksQ8,
        channel: usize,
        rows: [*const i8; M],
    ) -> [int32x4_t; M] {
        let BlockPanel { offsets, values } = weights.panel(channel / 4);
        let mut sums = [vdupq_n_s32(0); M];
        let blocks = values.as_chunks::<16>().0;
        assert!(blocks.len() == offsets.len());
        for (block, &offset) in blocks.iter().zip(offsets) {
            // SAFETY: sixteen weights; columns within the rows by the contract, which any alignment suits.
            unsafe {
                let w = vld1q_s8(block.as_ptr());
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let x = vld1q_dup_s32(row.add(usize::from(offset)).cast());
                    // The intrinsic is not stable.
                    asm!(
                        "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                        sum = inout(vreg) *sum,
                        w = in(vreg) w,
                        x = in(vreg) x,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        sums
    }
}
