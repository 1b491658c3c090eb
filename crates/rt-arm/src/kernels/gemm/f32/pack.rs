//! Puts rows of floats together in tiles.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;

use embdl_core::kernels::GemmF32;
use embdl_core::kernels::gemm::{Lines, Runs};

use super::{BLOCK, LANES, MR, even};

/// Puts rows together in tiles: for each tile `[steps][4 rows]`, and `[steps][2 rows]` where it has more than four. Rows that a
/// tile lacks are copies of its last one.
#[target_feature(enable = "neon")]
pub(in super::super) fn pack(
    job: &GemmF32<'_>,
    (runs, lines): (Runs, Lines),
    [first, rows]: [usize; 2],
    [from, steps]: [usize; 2],
    block: &mut [MaybeUninit<f32>; BLOCK],
) {
    let [tiles, each, more] = even(rows);
    assert!(tiles * MR * steps <= BLOCK);
    if steps == 0 {
        return;
    }
    // Divisions cost as much as half a small tile's copies.
    let is_one_line = first + rows <= lines.rows;
    let mut row = 0;
    for (tile, block) in block.chunks_exact_mut(MR * steps).take(tiles).enumerate() {
        let end = row + each + usize::from(tile < more);
        let row_at = |at: usize| {
            let row = first + (row + at).min(end - 1);
            if is_one_line { row * job.lhs_stride } else { lines.start(row, job.lhs_stride) }
        };
        let start = |at: usize| job.lhs.as_ptr().wrapping_add(row_at(at));
        let (low, high) = block.split_at_mut(LANES * steps);
        let in_line = job.lhs_stride == 1 && row_at(MR - 1) == row_at(0) + MR - 1;
        if in_line && end - row == MR && from == 0 {
            pack_windows(start(0), runs, steps, low, high);
            row = end;
            continue;
        }
        pack_rows([start(0), start(1), start(2), start(3)], runs, [from, steps], low);
        if end - row > LANES {
            pack_rows([start(4), start(5)], runs, [from, steps], high);
        }
        row = end;
    }
}

/// `to[p][i] = rows[i][from + p]` for `steps` steps of rows that are `runs`, which the job's slice holds.
#[target_feature(enable = "neon")]
#[inline]
fn pack_rows<const N: usize>(
    rows: [*const f32; N],
    runs: Runs,
    [from, steps]: [usize; 2],
    to: &mut [MaybeUninit<f32>],
) {
    assert!(to.len() == N * steps);
    // The run that the first step is in, and where.
    let start = (from / runs.len, from % runs.len);
    let mut rows = rows.map(|row| row.wrapping_add(start.0 * runs.step + start.1));
    let mut to = to.as_mut_ptr().cast::<f32>();
    let (mut len, mut left) = ((runs.len - start.1).min(steps), steps);
    loop {
        // SAFETY: `gemm_lines` checked that `lhs` holds the span of each row; `len` elements are left of the run, and of the
        // steps, for which `to` has room.
        unsafe { interleave(rows, len, to) };
        left -= len;
        if left == 0 {
            break;
        }
        // From the end of what was done to the next run.
        let skip = if left + len == steps { runs.step - start.1 } else { runs.step };
        rows = rows.map(|row| row.wrapping_add(skip));
        to = to.wrapping_add(N * len);
        len = runs.len.min(left);
    }
}

/// `to[p][i] = rows[i][p]`, for four rows or two.
///
/// # Safety
/// `len` elements of each row, and room for those of all.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn interleave<const N: usize>(rows: [*const f32; N], len: usize, to: *mut f32) {
    if len < 4 {
        for p in 0..len {
            for (i, row) in rows.iter().enumerate() {
                // SAFETY: p < len.
                unsafe { *to.add(N * p + i) = *row.add(p) };
            }
        }
        return;
    }
    let four = |p: usize| {
        // SAFETY: called for p + 4 <= len.
        unsafe {
            let x = |i: usize| vld1q_f32(rows[i].add(p));
            if N == 4 {
                vst4q_f32(to.add(N * p), float32x4x4_t(x(0), x(1), x(2), x(3)));
            } else {
                vst2q_f32(to.add(N * p), float32x4x2_t(x(0), x(1)));
            }
        }
    };
    let last = len - 4;
    let mut p = 0;
    while p < last {
        four(p);
        p += 4;
    }
    // The last four elements are done again with those before them.
    four(last);
}

/// The first `steps` steps of six rows that are windows of one, an element apart: `low[p][i] = row[p + i]` and
/// `high[p][i] = row[p + 4 + i]`, within each run.
#[target_feature(enable = "neon")]
fn pack_windows(
    row: *const f32,
    runs: Runs,
    steps: usize,
    low: &mut [MaybeUninit<f32>],
    high: &mut [MaybeUninit<f32>],
) {
    assert!(low.len() == LANES * steps && high.len() >= (MR - LANES) * steps && runs.len > 0);
    let mut row = row;
    let (mut low, mut high) = (low.as_mut_ptr().cast::<f32>(), high.as_mut_ptr().cast::<f32>());
    let mut left = steps;
    while left > 0 {
        let len = runs.len.min(left);
        let mut p = 0;
        // SAFETY: `gemm_lines` checked that `lhs` holds the span of each row, and the last window has `len` elements from five
        // behind the first one's on; `low` and `high` have room for what is left.
        unsafe {
            while p + 4 <= len {
                let x = |i: usize| vld1q_f32(row.add(p + i));
                vst1q_f32_x4(low, float32x4x4_t(x(0), x(1), x(2), x(3)));
                let [a, b] = [x(4), x(5)];
                vst1q_f32_x2(high, float32x4x2_t(vzip1q_f32(a, b), vzip2q_f32(a, b)));
                (low, high) = (low.add(16), high.add(8));
                p += 4;
            }
            while p < len {
                vst1q_f32(low, vld1q_f32(row.add(p)));
                vst1_f32(high, vld1_f32(row.add(p + 4)));
                (low, high) = (low.add(4), high.add(2));
                p += 1;
            }
        }
        left -= len;
        row = row.wrapping_add(runs.step);
    }
}
