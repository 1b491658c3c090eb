//! Integer GEMM with rows put together in blocks: what `dotprod` and `i8mm` share.
//!
//! ```text
//! for each block of rows:
//!     lhs = the rows in halves of tiles, four rows each, as products read them     once, for all panels
//!     for each two panels of 4 channels, for each tile:                            the panels stay in L1
//!         tile[8][8] = bias + lhs · panels; output stage; store
//!     one panel that is left over: the same with tiles of 8 rows x 4 channels
//! ```
//!
//! Rows that fill no half of a tile are filled up with copies of the last one, but for a single row: that is read where it
//! stands, and so are rows too long for a block.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;
use core::ops::Range;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile as Layout};

use super::super::output::Sink;
use super::neon::flip;
use super::{PANEL, check, for_each_group, load_tail};

/// Rows of half a tile.
pub(super) const HALF: usize = 4;
/// Channels of a tile.
pub(super) const NR: usize = 2 * PANEL;
/// Bytes of half a tile for 16 steps of k.
const STEP: usize = 16 * HALF;
/// Bytes of a block of rows.
const BLOCK: usize = 32 * 1024;

/// Rows, packed.
pub(super) type Block = [MaybeUninit<i8>; BLOCK];

/// What a level with blocks of rows has of its own.
pub(super) trait Level {
    /// Layout of integer weights.
    const TILE: Layout;

    /// The first `rows` rows of a job, of which [`tiled_rows`] says how many there may be; the caller has checked its slices.
    ///
    /// # Safety
    /// The level's instructions must be there; so they must for the other.
    unsafe fn tiles(job: &GemmQ8<'_>, rows: usize, sink: &mut Sink<'_>);

    /// One row, whose last `k % 16` levels are in `tail`, times `NP` panels, to the results from `at` on: row and column.
    ///
    /// # Safety
    /// As above.
    unsafe fn row<const NP: usize>(
        job: &GemmQ8<'_>,
        lhs: &[u8],
        tail: uint8x16_t,
        at: [usize; 2],
        sink: &mut Sink<'_>,
    );
}

/// Integer GEMM of a level.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
///
/// # Safety
/// The level's instructions must be there.
#[target_feature(enable = "neon")]
pub(super) unsafe fn gemm_q8<L: Level>(job: &GemmQ8<'_>, out: OutQ8<'_>) {
    let weights = job.weights;
    assert!(weights.tile == L::TILE, "weights are packed as {:?}", weights.tile);
    let mut sink = Sink::new(out);
    let lens = ((job.lhs.len(), job.lhs_stride), (sink.len(), job.out_stride));
    check(job.m, weights.k, weights.n, lens.0, lens.1);
    let tiled = tiled_rows(job);
    // SAFETY: by the contract.
    unsafe { L::tiles(job, tiled, &mut sink) };
    for row in tiled..job.m {
        let lhs = &job.lhs[row * job.lhs_stride..][..weights.k];
        let tail = load_tail(lhs);
        for_each_group(weights.n, |column, panels| {
            let at = [row * job.out_stride, column];
            // SAFETY: by the contract.
            unsafe {
                if panels == 4 {
                    L::row::<4>(job, lhs, tail, at, &mut sink);
                } else {
                    L::row::<1>(job, lhs, tail, at, &mut sink);
                }
            }
        });
    }
}

/// How many of the first rows of a job go through tiles.
pub(super) fn tiled_rows(job: &GemmQ8<'_>) -> usize {
    let k = job.weights.k;
    if k == 0 || half_len(k) > BLOCK / 2 {
        0
    } else if job.m % HALF == 1 {
        job.m - 1
    } else {
        job.m
    }
}

/// Bytes of half a tile.
const fn half_len(k: usize) -> usize {
    k.div_ceil(16) * STEP
}

/// Puts the first `rows` rows of a job together, a block at a time, and calls `panels` for the rows of each. `KR` steps of k
/// of a row stand together: 4, flipped to i8, or 8 as they are.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn for_each_block<const KR: usize>(
    job: &GemmQ8<'_>,
    rows: usize,
    mut panels: impl FnMut(Range<usize>, &Block),
) {
    if rows == 0 || job.weights.n == 0 {
        return;
    }
    let half = half_len(job.weights.k);
    let mut block = [const { MaybeUninit::<i8>::uninit() }; BLOCK];
    let together = BLOCK / (2 * half) * 2 * HALF;
    for first in (0..rows).step_by(together) {
        let rows = first..rows.min(first + together);
        for (half, row) in block.chunks_exact_mut(half).zip(rows.clone().step_by(HALF)) {
            pack::<KR>(job, row, rows.end - 1, half);
        }
        panels(rows, &block);
    }
}

/// Puts four rows from `first` on together, `last` again for those beyond it.
#[target_feature(enable = "neon")]
fn pack<const KR: usize>(
    job: &GemmQ8<'_>,
    first: usize,
    last: usize,
    half: &mut [MaybeUninit<i8>],
) {
    let k = job.weights.k;
    assert!(half.len() == half_len(k));
    let row = |i: usize| &job.lhs[(first + i).min(last) * job.lhs_stride..];
    let rows = [row(0), row(1), row(2), row(3)];
    assert!(rows.iter().all(|row| row.len() >= k), "rows end before {k}");
    let (whole, rest) = half.split_at_mut(k / 16 * STEP);
    for (step, to) in whole.chunks_exact_mut(STEP).enumerate() {
        // SAFETY: rows have k bytes, of which each of these k / 16 steps takes sixteen.
        let x = rows.map(|row| unsafe { vld1q_u8(row.as_ptr().add(16 * step)) });
        // SAFETY: a step has room for four vectors.
        unsafe { interleave::<KR>(x, to) };
    }
    if !rest.is_empty() {
        // What stands beyond k is multiplied by zeros, or not at all.
        let x = rows.map(|row| match row[k / 16 * 16..].first_chunk::<16>() {
            // SAFETY: sixteen bytes.
            Some(x) => unsafe { vld1q_u8(x.as_ptr()) },
            None => load_tail(&row[..k]),
        });
        // SAFETY: what is left has room for a step.
        unsafe { interleave::<KR>(x, rest) };
    }
}

/// `to[p / KR][row][p % KR] = x[row][p]`.
///
/// # Safety
/// Room for four vectors.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn interleave<const KR: usize>(x: [uint8x16_t; HALF], to: &mut [MaybeUninit<i8>]) {
    const { assert!(KR == 4 || KR == 8) };
    // SAFETY: by the contract.
    unsafe {
        if KR == 4 {
            let [a, b, c, d] = x.map(|x| vreinterpretq_s32_s8(flip(x)));
            vst4q_s32(to.as_mut_ptr().cast(), int32x4x4_t(a, b, c, d));
        } else {
            let [a, b, c, d] = x.map(|x| vreinterpretq_s64_u8(x));
            vst4q_s64(to.as_mut_ptr().cast(), int64x2x4_t(a, b, c, d));
        }
    }
}

/// Part of a block that a tile multiplies.
pub(super) struct Tile {
    /// First row of the job.
    pub(super) row: usize,
    /// Rows of the job that are left from there on in the block.
    pub(super) left: usize,
    /// The packed rows: one half or both.
    pub(super) halves: [*const i8; 2],
    pub(super) is_whole: bool,
}

/// The tiles of a block of `rows` of `k`, which [`for_each_block`] packed: whole ones, and half a one at the end if that is
/// enough.
#[inline]
pub(super) fn tiles(rows: Range<usize>, k: usize, block: &Block) -> impl Iterator<Item = Tile> {
    let half = half_len(k);
    assert!(rows.len().div_ceil(HALF) * half <= BLOCK);
    let mut lhs = block.as_ptr().cast::<i8>();
    let end = rows.end;
    rows.step_by(2 * HALF).map(move |row| {
        let halves = [lhs, lhs.wrapping_add(half)];
        lhs = lhs.wrapping_add(2 * half);
        Tile { row, left: end - row, halves, is_whole: end - row > HALF }
    })
}
