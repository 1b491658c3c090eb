//! f32 GEMM on Armv8.0-A NEON.
//!
//! ```text
//! for each block of rows:
//!     lhs = the rows in tiles of up to 6, k by k: [k][4 rows], [k][2 rows]        once, for all panels
//!     for each panel of 16 channels, for each tile:                               the panel stays in L1
//!         tile[6][16] = bias; for p in 0..k: tile += lhs[p] (6) * panel[p] (16)
//!         out = clamp(tile)
//! ```
//!
//! A step of k takes 24 `fmla` by lane: 24 accumulators + 4 weights + 2 + 2 rows of four steps are the 32 registers, and 105
//! instructions do four steps. A tile of 8 rows x 12 channels takes as many, but channels are multiples of 16 far more often,
//! and tiles that read the rows where they stand need a register for each row, of which there are fewer.
//! Putting rows together costs 10 instructions for 32 elements, by `st4`: 1/n of the products' instructions and little more.
//! Windows that are one element apart lie together already: vectors of the input are copied.
//! Rows that fill no whole number of tiles are shared out evenly. One row alone is read where it stands.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;

use embdl_core::kernels::gemm::{Lines, Runs};
use embdl_core::kernels::{GemmF32, Tile};

use super::check;

mod large;
mod pack;
mod tile;
mod vector;

pub(super) use pack::pack;
use tile::{TilePlace, one_tile};
use vector::vector;

/// Rows of a tile.
pub(in super::super) const MR: usize = 6;
/// Channels of a vector.
pub(super) const LANES: usize = 4;
/// Channels of a panel.
pub(super) const NR: usize = 16;
/// Layout of weights.
pub(in super::super) const TILE: Tile = Tile { nr: NR, kr: 1 };

/// Floats that a block of rows may take: half of a small second-level cache has room for as much again of results.
pub(super) const BLOCK: usize = 16 * 1024;
/// Steps of k that a block holds of each row; longer rows are summed up in `out`.
const MAX_K: usize = BLOCK / MR / 2;

/// GEMM.
///
/// # Panics
/// As [`gemm_runs`].
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm(job: &GemmF32<'_>, out: &mut [f32]) {
    gemm_runs(job, Runs::whole(job.weights.k), out);
}

/// GEMM with rows that are `runs`.
///
/// # Panics
/// As [`gemm_lines`].
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm_runs(job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
    gemm_lines(job, runs, Lines::ONE, out);
}

/// GEMM with rows that are `runs` and stand in `lines`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm_lines(job: &GemmF32<'_>, runs: Runs, lines: Lines, out: &mut [f32]) {
    if !check_lines(job, runs, lines, job.weights.data.len(), out.len()) {
        return;
    }
    let k = job.weights.k;
    if job.m == 1 && runs.count == 1 {
        return vector(job, out);
    }
    let mut block = [const { MaybeUninit::<f32>::uninit() }; BLOCK];
    let steps = k.clamp(1, MAX_K);
    let rows = BLOCK / (MR * steps) * MR;
    let mut first = 0;
    while first < job.m {
        let rows = rows.min(job.m - first);
        let mut from = 0;
        loop {
            let steps = steps.min(k - from);
            pack(job, (runs, lines), [first, rows], [from, steps], &mut block);
            let piece = Piece { rows: [first, rows], from, steps, is_last: from + steps == k };
            panels(job, &piece, &block, out);
            from += steps;
            if from >= k {
                break;
            }
        }
        first += rows;
    }
}

/// Asserts that the slices of a job hold what its numbers say, for so many packed weights and results. Gives whether there is
/// something to do.
pub(super) fn check_lines(
    job: &GemmF32<'_>,
    runs: Runs,
    lines: Lines,
    weights_len: usize,
    out_len: usize,
) -> bool {
    let weights = job.weights;
    let k = runs.count * runs.len;
    let panels = weights.n.div_ceil(NR) * NR;
    assert!(weights.tile == TILE, "weights are packed as {:?}", weights.tile);
    assert!(weights.k == k, "weights of {} elements for {runs:?}", weights.k);
    assert!(weights_len == panels * k, "{weights_len} weights");
    assert!(weights.bias.len() == panels, "{} biases", weights.bias.len());
    if job.m == 0 || weights.n == 0 {
        return false;
    }
    // No row ends behind the last row of its line, and no line behind the last one.
    let last = job.m.min(lines.rows) - 1;
    let end = (job.m - 1) / lines.rows * lines.step + last * job.lhs_stride + runs.span();
    assert!(job.lhs.len() >= end, "{} elements are not {} rows of {k}", job.lhs.len(), job.m);
    check(job.m, 0, weights.n, (end, 0), (out_len, job.out_stride));
    true
}

/// A part of a job: some rows, some steps of k.
struct Piece {
    /// First row, and how many.
    rows: [usize; 2],
    /// First step of k; sums start from the bias at the first.
    from: usize,
    /// Steps.
    steps: usize,
    /// Whether the sums are complete, and clamped.
    is_last: bool,
}

/// Cuts `rows` into the fewest tiles of at most [`MR`] rows, as even as possible: how many, and how many rows they have; the
/// first ones have one more.
pub(super) const fn even(rows: usize) -> [usize; 3] {
    let tiles = rows.div_ceil(MR);
    [tiles, rows / tiles, rows % tiles]
}

/// All panels for the rows of a block.
#[target_feature(enable = "neon")]
fn panels(job: &GemmF32<'_>, piece: &Piece, block: &[MaybeUninit<f32>; BLOCK], out: &mut [f32]) {
    let (n, k) = (job.weights.n, job.weights.k);
    let [first, rows] = piece.rows;
    let [tiles, each, more] = even(rows);
    assert!(tiles * MR * piece.steps <= BLOCK);
    for column in (0..n).step_by(NR) {
        let count = NR.min(n - column);
        let mut place = TilePlace {
            lhs: block.as_ptr().cast(),
            weights: job.weights.data[column * k + piece.from * NR..].as_ptr(),
            bias: job.weights.bias[column..].as_ptr(),
            out: out[first * job.out_stride + column..].as_mut_ptr(),
            count,
        };
        for tile in 0..tiles {
            let rows = each + usize::from(tile < more);
            macro_rules! tiles {
                ($($m:literal)+) => {
                    // SAFETY: `gemm_lines` checked weights, biases and results, and `pack` wrote the tile's rows.
                    unsafe {
                        match (rows, count.div_ceil(LANES)) {
                            $(($m, 1) => one_tile::<$m, 1>(job, piece, &place),
                            ($m, 2) => one_tile::<$m, 2>(job, piece, &place),
                            ($m, 3) => one_tile::<$m, 3>(job, piece, &place),
                            ($m, _) => one_tile::<$m, 4>(job, piece, &place),)+
                            _ => unreachable!("tiles of 1 to {MR} rows"),
                        }
                    }
                };
            }
            tiles!(6 5 4 3 2 1);
            place.lhs = place.lhs.wrapping_add(MR * piece.steps);
            place.out = place.out.wrapping_add(rows * job.out_stride);
        }
    }
}

/// Clamps what needs it: most layers have no upper bound, and many no lower one. NaN stays NaN.
#[target_feature(enable = "neon")]
#[inline]
fn bound<const M: usize, const V: usize>(
    sums: &mut [[float32x4_t; V]; M],
    (low, high): (f32, f32),
) {
    if low > f32::NEG_INFINITY {
        let low = vdupq_n_f32(low);
        for sums in &mut *sums {
            for sum in sums {
                *sum = vmaxq_f32(*sum, low);
            }
        }
    }
    if high < f32::INFINITY {
        let high = vdupq_n_f32(high);
        for sums in sums {
            for sum in sums {
                *sum = vminq_f32(*sum, high);
            }
        }
    }
}
