//! The tiles of the integer GEMM with `FEAT_I8MM`: 8 rows x 8 channels, 8 x 4 where channels are left over.
//!
//! Rows lie `[k / 8][4 rows][8]` in halves of tiles: a register holds eight steps of k of two rows, or of two channels. For 16
//! steps, four `ld1` bring eight registers of rows and eight of weights: with 16 accumulators these are all, and 38
//! instructions do 1024 products, 32 of them `usmmla`. An accumulator has two channels of two rows, which the output stage puts
//! in order when they are levels.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

use embdl_core::kernels::GemmQ8;

use super::super::super::output::Sink;
use super::super::super::output::quad::{Quad, with_quad};
use super::super::super::output::tiles::{lower_row, upper_row};
use super::super::PANEL;
use super::super::blocks::{self, Block, HALF, NR};
use super::{TILE_Q8, bias, for_pairs};

/// The first `rows` rows of a job, of which [`blocks::tiled_rows`] says how many there may be; the caller has checked its
/// slices.
#[target_feature(enable = "neon,i8mm")]
pub(super) fn gemm_q8(job: &GemmQ8<'_>, rows: usize, sink: &mut Sink<'_>) {
    let n = job.weights.n;
    blocks::for_each_block::<{ TILE_Q8.kr }>(job, rows, |rows, block| {
        for column in (0..n / NR * NR).step_by(NR) {
            two_panels(job, rows.clone(), column, block, sink);
        }
        for column in (n / NR * NR..n).step_by(PANEL) {
            let lanes = PANEL.min(n - column);
            // SAFETY: the caller checked that there are `n` results in each of the job's rows.
            unsafe {
                with_quad!(sink, column, lanes, |to| one_panel(
                    job,
                    rows.clone(),
                    column,
                    block,
                    &to
                ));
            }
        }
    });
}

/// The weights of `P` panels from a channel on, and how often there are 16 steps of k, and then eight.
#[inline]
fn weights<const P: usize>(job: &GemmQ8<'_>, column: usize) -> ([*const i8; P], [usize; 2]) {
    let padded = job.weights.k.next_multiple_of(TILE_Q8.kr);
    let weights = &job.weights.data[column * padded..][..P * PANEL * padded];
    let panels = core::array::from_fn(|panel| weights[panel * PANEL * padded..].as_ptr());
    (panels, [padded / 16, padded % 16 / 8])
}

/// Two panels for the rows of a block.
#[target_feature(enable = "neon,i8mm")]
fn two_panels(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    column: usize,
    block: &Block,
    sink: &mut Sink<'_>,
) {
    let (weights, steps) = weights::<2>(job, column);
    let bias = both(bias(job, column), bias(job, column + PANEL));
    let [low, high] = sink.multipliers::<2>(column);
    let multipliers = both(for_pairs(low), for_pairs(high));
    for tile in blocks::tiles(rows, job.weights.k, block) {
        let at = [tile.row * job.out_stride + column, job.out_stride];
        // SAFETY: `steps` steps of rows were packed, and are in the panels.
        unsafe {
            if tile.is_whole {
                let sums = products::<HALF>(bias, tile.halves, weights, steps);
                sink.store_pairs(at, tile.left, &sums, multipliers);
            } else {
                let sums = products::<{ HALF / 2 }>(bias, tile.halves, weights, steps);
                sink.store_pairs(at, tile.left, &sums, multipliers);
            }
        }
    }
}

const fn both([a, b]: [int32x4_t; 2], [c, d]: [int32x4_t; 2]) -> [int32x4_t; 4] {
    [a, b, c, d]
}

/// The panel that is left over for the rows of a block.
///
/// # Safety
/// `to` must have the panel's results of each of the rows.
#[target_feature(enable = "neon,i8mm")]
unsafe fn one_panel<Q: Quad>(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    column: usize,
    block: &Block,
    to: &Q,
) {
    let ([weights], steps) = weights::<1>(job, column);
    let bias = bias(job, column);
    let stride = job.out_stride;
    for tile in blocks::tiles(rows, job.weights.k, block) {
        let at = tile.row * stride + column;
        // SAFETY: `steps` steps of rows were packed, and are in the panel; and by the contract.
        unsafe {
            if tile.is_whole {
                let [a, b, c, d] = products_of_one::<HALF>(bias, tile.halves, weights, steps);
                to.store(at, stride, tile.left, rows_of([a, b]));
                to.store(at + HALF * stride, stride, tile.left - HALF, rows_of([c, d]));
            } else {
                let sums = products_of_one::<{ HALF / 2 }>(bias, tile.halves, weights, steps);
                to.store(at, stride, tile.left, rows_of(sums));
            }
        }
    }
}

/// Four rows of two pairs.
#[target_feature(enable = "neon")]
#[inline]
fn rows_of([[a, b], [c, d]]: [[int32x4_t; 2]; 2]) -> [int32x4_t; 4] {
    [upper_row(a, b), lower_row(a, b), upper_row(c, d), lower_row(c, d)]
}

/// Eight steps of some pairs of rows with two registers of weights.
macro_rules! eight {
    ($v:literal $w:literal, $([$x:literal, $a:literal $b:literal])+) => {
        concat!(
            $("usmmla v", $a, ".4s, v", $x, ".16b, v", $v, ".16b\n",)+
            $("usmmla v", $b, ".4s, v", $x, ".16b, v", $w, ".16b\n",)+
        )
    };
}

/// The first of 16 steps with a panel: of each pair of rows come the registers of both halves, and its sums.
macro_rules! first {
    ($v:literal $w:literal, $([$x:literal $y:literal, $a:literal $b:literal])+) => {
        eight!($v $w, $([$x, $a $b])+)
    };
}

/// The last of them.
macro_rules! last {
    ($v:literal $w:literal, $([$x:literal $y:literal, $a:literal $b:literal])+) => {
        eight!($v $w, $([$y, $a $b])+)
    };
}

/// All steps of a tile: loads of 16 steps and of eight for its upper half, then the pairs of each panel.
macro_rules! tile {
    ($load:literal, $load_one:literal, [$($first:tt)+] $([$($second:tt)+])?, $($operands:tt)*) => {
        asm!(
            "cbz {steps}, 3f",
            "2:",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{low}], #64",
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{first}], #64",
            $load,
            "subs {steps}, {steps}, #1",
            first!("8" "9", $($first)+),
            $(
                "ld1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [{second}], #64",
                first!("12" "13", $($second)+),
            )?
            last!("10" "11", $($first)+),
            $(last!("14" "15", $($second)+),)?
            "b.ne 2b",
            "3:",
            "cbz {rest:w}, 4f",
            "ldp q0, q1, [{low}]",
            $load_one,
            "ldp q8, q9, [{first}]",
            first!("8" "9", $($first)+),
            $(
                "ldp q12, q13, [{second}]",
                first!("12" "13", $($second)+),
            )?
            "4:",
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            options(readonly, nostack),
        )
    };
}

/// `bias + lhs · panels` for the two or four pairs of rows of a tile: 16 products for each of the first of `steps`, then
/// eight more if the second is not zero.
///
/// # Safety
/// All of them at each of the pointers: of the halves of a tile, of which the second is not read for two pairs, and of the
/// panels.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn products<const P: usize>(
    bias: [int32x4_t; 4],
    [low, high]: [*const i8; 2],
    [first, second]: [*const i8; 2],
    [steps, rest]: [usize; 2],
) -> [[int32x4_t; 4]; P] {
    let mut sums = [bias; P];
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        match sums.as_mut_slice() {
            [a, b] => tile!("", "",
                [["0" "2", "16" "17"] ["1" "3", "20" "21"]]
                [["0" "2", "18" "19"] ["1" "3", "22" "23"]],
                low = inout(reg) low => _, first = inout(reg) first => _, second = inout(reg) second => _,
                steps = inout(reg) steps => _, rest = in(reg) rest,
                inout("v16") a[0], inout("v17") a[1], inout("v18") a[2], inout("v19") a[3],
                inout("v20") b[0], inout("v21") b[1], inout("v22") b[2], inout("v23") b[3],
            ),
            [a, b, c, d] => tile!(
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{high}], #64", "ldp q4, q5, [{high}]",
                [["0" "2", "16" "17"] ["1" "3", "20" "21"] ["4" "6", "24" "25"] ["5" "7", "28" "29"]]
                [["0" "2", "18" "19"] ["1" "3", "22" "23"] ["4" "6", "26" "27"] ["5" "7", "30" "31"]],
                low = inout(reg) low => _, high = inout(reg) high => _,
                first = inout(reg) first => _, second = inout(reg) second => _,
                steps = inout(reg) steps => _, rest = in(reg) rest,
                inout("v16") a[0], inout("v17") a[1], inout("v18") a[2], inout("v19") a[3],
                inout("v20") b[0], inout("v21") b[1], inout("v22") b[2], inout("v23") b[3],
                inout("v24") c[0], inout("v25") c[1], inout("v26") c[2], inout("v27") c[3],
                inout("v28") d[0], inout("v29") d[1], inout("v30") d[2], inout("v31") d[3],
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            ),
            _ => unreachable!("tiles of two or four pairs of rows"),
        }
    }
    sums
}

/// That for one panel.
///
/// # Safety
/// As for [`products`].
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn products_of_one<const P: usize>(
    bias: [int32x4_t; 2],
    [low, high]: [*const i8; 2],
    panel: *const i8,
    [steps, rest]: [usize; 2],
) -> [[int32x4_t; 2]; P] {
    let mut sums = [bias; P];
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        match sums.as_mut_slice() {
            [a, b] => tile!("", "", [["0" "2", "16" "17"] ["1" "3", "18" "19"]],
                low = inout(reg) low => _, first = inout(reg) panel => _,
                steps = inout(reg) steps => _, rest = in(reg) rest,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
            ),
            [a, b, c, d] => tile!(
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{high}], #64", "ldp q4, q5, [{high}]",
                [["0" "2", "16" "17"] ["1" "3", "18" "19"] ["4" "6", "20" "21"] ["5" "7", "22" "23"]],
                low = inout(reg) low => _, high = inout(reg) high => _, first = inout(reg) panel => _,
                steps = inout(reg) steps => _, rest = in(reg) rest,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
                inout("v20") c[0], inout("v21") c[1], inout("v22") d[0], inout("v23") d[1],
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            ),
            _ => unreachable!("tiles of two or four pairs of rows"),
        }
    }
    sums
}
