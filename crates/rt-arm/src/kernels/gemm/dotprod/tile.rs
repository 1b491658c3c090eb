//! The tiles of the integer GEMM with `FEAT_DotProd`: 8 rows x 8 channels.
//!
//! ```text
//! for each block of rows:
//!     lhs = the rows, flipped to i8, in halves of tiles: [k / 16][4 steps of 4][4 rows][4]    once, for all panels
//!     for each two panels of 4 channels, for each tile:                                       the panels stay in L1
//!         tile[8][8] = bias; add lhs · panels; output stage; store
//! ```
//!
//! `sdot` by lane takes the row of a lane. For 16 steps of k, two `ld1` bring eight registers of rows, and two more four
//! registers of weights each: 16 accumulators + 8 rows + 4 weights = 28 registers, and 70 instructions do 1024 products, 64
//! of them `sdot`. Rows are put together by `st4`. Four rows alone take half of that.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use embdl_core::kernels::GemmQ8;

use super::super::super::output::Sink;
use super::super::neon::flip;
use super::super::{PANEL, load_tail};
use super::{TILE_Q8, bias};

/// Rows of half a tile.
const HALF: usize = 4;
/// Bytes of half a tile for 16 steps of k.
const STEP: usize = 16 * HALF;
/// Bytes of a block of rows.
const BLOCK: usize = 32 * 1024;
/// Channels of a tile.
const NR: usize = 2 * PANEL;

/// How many of the first rows and channels of a job [`gemm_q8`] computes: whole halves of tiles, if they fit a block.
pub(super) fn share(job: &GemmQ8<'_>) -> [usize; 2] {
    let k = job.weights.k;
    if k == 0 || k.div_ceil(16) * STEP > BLOCK / 2 {
        return [0, 0];
    }
    [job.m / HALF * HALF, job.weights.n / NR * NR]
}

/// That share of a job; the caller has checked its slices.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn gemm_q8(job: &GemmQ8<'_>, sink: &mut Sink<'_>) {
    let [rows, channels] = share(job);
    if rows == 0 || channels == 0 {
        return;
    }
    let half = job.weights.k.div_ceil(16) * STEP;
    let mut block = [const { MaybeUninit::<i8>::uninit() }; BLOCK];
    let together = BLOCK / (2 * half) * 2 * HALF;
    for first in (0..rows).step_by(together) {
        let rows = first..rows.min(first + together);
        for (half, row) in block.chunks_exact_mut(half).zip(rows.clone().step_by(HALF)) {
            pack(job, row, half);
        }
        for column in (0..channels).step_by(NR) {
            panels(job, rows.clone(), column, &block, sink);
        }
    }
}

/// Puts four rows from `first` on together.
#[target_feature(enable = "neon")]
fn pack(job: &GemmQ8<'_>, first: usize, half: &mut [MaybeUninit<i8>]) {
    let k = job.weights.k;
    assert!(half.len() == k.div_ceil(16) * STEP);
    let row = |i: usize| &job.lhs[(first + i) * job.lhs_stride..];
    let rows = [row(0), row(1), row(2), row(3)];
    assert!(rows.iter().all(|row| row.len() >= k), "rows end before {k}");
    let (whole, rest) = half.split_at_mut(k / 16 * STEP);
    for (step, to) in whole.chunks_exact_mut(STEP).enumerate() {
        // SAFETY: rows have k bytes, of which each of these k / 16 steps takes sixteen.
        let x = rows.map(|row| flip(unsafe { vld1q_u8(row.as_ptr().add(16 * step)) }));
        // SAFETY: a step has room for four vectors.
        unsafe { interleave(x, to) };
    }
    if !rest.is_empty() {
        let x = rows.map(|row| flip(load_tail(&row[..k])));
        // SAFETY: what is left has room for a step.
        unsafe { interleave(x, rest) };
    }
}

/// `to[p / 4][row][p % 4] = x[row][p]`.
///
/// # Safety
/// Room for four vectors.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn interleave(x: [int8x16_t; HALF], to: &mut [MaybeUninit<i8>]) {
    let [a, b, c, d] = x.map(|x| vreinterpretq_s32_s8(x));
    // SAFETY: by the contract.
    unsafe { vst4q_s32(to.as_mut_ptr().cast(), int32x4x4_t(a, b, c, d)) };
}

/// Two panels for the rows of a block.
#[target_feature(enable = "neon,dotprod")]
fn panels(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    column: usize,
    block: &[MaybeUninit<i8>; BLOCK],
    sink: &mut Sink<'_>,
) {
    let k = job.weights.k;
    let (padded, half) = (k.next_multiple_of(TILE_Q8.kr), k.div_ceil(16) * STEP);
    assert!(rows.len() / HALF * half <= BLOCK && rows.len().is_multiple_of(HALF));
    let weights = &job.weights.data[column * padded..][..NR * padded];
    let weights = [weights.as_ptr(), weights[PANEL * padded..].as_ptr()];
    let steps = [k / 16, (padded - k / 16 * 16) / 4];
    let bias = bias::<2>(job, column);
    let multipliers = sink.multipliers::<2>(column);
    let mut lhs = block.as_ptr().cast::<i8>();
    let mut row = rows.start;
    while row + 2 * HALF <= rows.end {
        // SAFETY: `pack` wrote both halves, of `steps`, and the panels have as many.
        let sums = unsafe { products::<8>(bias, [lhs, lhs.wrapping_add(half)], weights, steps) };
        store(job, [row, column], &sums, multipliers, sink);
        lhs = lhs.wrapping_add(2 * half);
        row += 2 * HALF;
    }
    if row < rows.end {
        // SAFETY: as above, for one half.
        let sums = unsafe { products::<4>(bias, [lhs; 2], weights, steps) };
        store::<4>(job, [row, column], &sums, multipliers, sink);
    }
}

/// Writes the first `M` rows of a tile.
#[target_feature(enable = "neon")]
#[inline]
fn store<const M: usize>(
    job: &GemmQ8<'_>,
    [row, column]: [usize; 2],
    sums: &[[int32x4_t; 2]; M],
    multipliers: [int32x4_t; 2],
    sink: &mut Sink<'_>,
) {
    let at = row * job.out_stride + column;
    assert!(at + (M - 1) * job.out_stride + NR <= sink.len());
    match sink {
        Sink::U8(stage, out) => {
            let mut to = out.as_mut_ptr().wrapping_add(at);
            for levels in stage.apply_rows(*sums, multipliers) {
                // SAFETY: asserted above.
                unsafe { vst1_u8(to, levels) };
                to = to.wrapping_add(job.out_stride);
            }
        }
        Sink::I32(_) => {
            for (i, sums) in sums.iter().enumerate() {
                sink.store(at + i * job.out_stride, NR, sums, &multipliers);
            }
        }
    }
}

/// A step of four products, by the rows of one register or two.
macro_rules! step {
    ($w:literal, $([$x:literal $a:literal $b:literal $c:literal $d:literal])+) => {
        concat!($(
            "sdot v", $a, ".4s, v", $w, ".16b, v", $x, ".4b[0]\n",
            "sdot v", $b, ".4s, v", $w, ".16b, v", $x, ".4b[1]\n",
            "sdot v", $c, ".4s, v", $w, ".16b, v", $x, ".4b[2]\n",
            "sdot v", $d, ".4s, v", $w, ".16b, v", $x, ".4b[3]\n",
        )+)
    };
}

/// All steps of a tile: `high` is what is done for its upper rows.
macro_rules! tile {
    (
        $load:literal, $load_one:literal,
        [$([$a0:tt $a1:tt $a2:tt $a3:tt])*] [$([$b0:tt $b1:tt $b2:tt $b3:tt])*], $($operands:tt)*
    ) => {
        asm!(
            "cbz {steps}, 3f",
            "2:",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{low}], #64",
            $load,
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{first}], #64",
            "subs {steps}, {steps}, #1",
            step!("8", ["0" "16" "18" "20" "22"] $(["4" $a0 $a1 $a2 $a3])*),
            step!("9", ["1" "16" "18" "20" "22"] $(["5" $a0 $a1 $a2 $a3])*),
            step!("10", ["2" "16" "18" "20" "22"] $(["6" $a0 $a1 $a2 $a3])*),
            step!("11", ["3" "16" "18" "20" "22"] $(["7" $a0 $a1 $a2 $a3])*),
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{second}], #64",
            step!("8", ["0" "17" "19" "21" "23"] $(["4" $b0 $b1 $b2 $b3])*),
            step!("9", ["1" "17" "19" "21" "23"] $(["5" $b0 $b1 $b2 $b3])*),
            step!("10", ["2" "17" "19" "21" "23"] $(["6" $b0 $b1 $b2 $b3])*),
            step!("11", ["3" "17" "19" "21" "23"] $(["7" $b0 $b1 $b2 $b3])*),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr q0, [{low}], #16",
            $load_one,
            "ldr q8, [{first}], #16",
            "ldr q9, [{second}], #16",
            "subs {rest}, {rest}, #1",
            step!("8", ["0" "16" "18" "20" "22"] $(["4" $a0 $a1 $a2 $a3])*),
            step!("9", ["0" "17" "19" "21" "23"] $(["4" $b0 $b1 $b2 $b3])*),
            "b.ne 4b",
            "5:",
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            options(readonly, nostack),
        )
    };
}

/// `bias + lhs · panels` for the four or eight rows of a tile: 16 products for each of the first of `steps`, then four for
/// each of the second.
///
/// # Safety
/// All of them at each of the pointers: of the halves of a tile, of which the second is not read for four rows, and of the
/// panels.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn products<const M: usize>(
    bias: [int32x4_t; 2],
    [low, high]: [*const i8; 2],
    [first, second]: [*const i8; 2],
    [steps, rest]: [usize; 2],
) -> [[int32x4_t; 2]; M] {
    let mut sums = [bias; M];
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        match sums.as_mut_slice() {
            [a, b, c, d] => tile!("", "", [] [],
                low = inout(reg) low => _, first = inout(reg) first => _, second = inout(reg) second => _,
                steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
                inout("v20") c[0], inout("v21") c[1], inout("v22") d[0], inout("v23") d[1],
            ),
            [a, b, c, d, e, f, g, h] => tile!(
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{high}], #64", "ldr q4, [{high}], #16",
                [["24" "26" "28" "30"]] [["25" "27" "29" "31"]],
                low = inout(reg) low => _, high = inout(reg) high => _,
                first = inout(reg) first => _, second = inout(reg) second => _,
                steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
                inout("v20") c[0], inout("v21") c[1], inout("v22") d[0], inout("v23") d[1],
                inout("v24") e[0], inout("v25") e[1], inout("v26") f[0], inout("v27") f[1],
                inout("v28") g[0], inout("v29") g[1], inout("v30") h[0], inout("v31") h[1],
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            ),
            _ => unreachable!("tiles of four or eight rows"),
        }
    }
    sums
}
