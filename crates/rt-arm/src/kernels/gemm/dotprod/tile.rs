//! The tiles of the integer GEMM with `FEAT_DotProd`: 8 rows x 8 channels, 8 x 4 where channels are left over.
//!
//! Rows lie `[k / 16][4 steps of 4][4 rows][4]` in halves of tiles, flipped to i8, so that `sdot` by lane takes the row of a
//! lane. For 16 steps of k, two `ld1` bring eight registers of rows, and two more four registers of weights each: 16
//! accumulators + 8 rows + 4 weights = 28 registers, and 70 instructions do 1024 products, 64 of them `sdot`. Four rows alone
//! take half of that.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

use embdl_core::kernels::GemmQ8;

use super::super::super::output::Sink;
use super::super::super::output::quad::{Quad, with_quad};
use super::super::PANEL;
use super::super::blocks::{self, Block, HALF, NR};
use super::{TILE_Q8, bias};

/// The first `rows` rows of a job, of which [`blocks::tiled_rows`] says how many there may be; the caller has checked its
/// slices.
#[target_feature(enable = "neon,dotprod")]
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

/// The weights of `P` panels from a channel on, and how often there are 16 steps of k, and then four.
#[inline]
fn weights<const P: usize>(job: &GemmQ8<'_>, column: usize) -> ([*const i8; P], [usize; 2]) {
    let k = job.weights.k;
    let padded = k.next_multiple_of(TILE_Q8.kr);
    let weights = &job.weights.data[column * padded..][..P * PANEL * padded];
    let panels = core::array::from_fn(|panel| weights[panel * PANEL * padded..].as_ptr());
    (panels, [k / 16, (padded - k / 16 * 16) / 4])
}

/// Two panels for the rows of a block.
#[target_feature(enable = "neon,dotprod")]
fn two_panels(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    column: usize,
    block: &Block,
    sink: &mut Sink<'_>,
) {
    let (weights, steps) = weights::<2>(job, column);
    let bias = bias::<2>(job, column);
    let multipliers = sink.multipliers::<2>(column);
    for tile in blocks::tiles(rows, job.weights.k, block) {
        let at = [tile.row * job.out_stride + column, job.out_stride];
        // SAFETY: `steps` steps of rows were packed, and are in the panels.
        unsafe {
            if tile.is_whole {
                let sums = products::<{ 2 * HALF }>(bias, tile.halves, weights, steps);
                sink.store_rows(at, tile.left, &sums, multipliers);
            } else {
                let sums = products::<HALF>(bias, tile.halves, weights, steps);
                sink.store_rows(at, tile.left, &sums, multipliers);
            }
        }
    }
}

/// The panel that is left over for the rows of a block.
///
/// # Safety
/// `to` must have the panel's results of each of the rows.
#[target_feature(enable = "neon,dotprod")]
unsafe fn one_panel<Q: Quad>(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    column: usize,
    block: &Block,
    to: &Q,
) {
    let ([weights], steps) = weights::<1>(job, column);
    let [bias] = bias::<1>(job, column);
    let stride = job.out_stride;
    for tile in blocks::tiles(rows, job.weights.k, block) {
        let at = tile.row * stride + column;
        // SAFETY: `steps` steps of rows were packed, and are in the panel; and by the contract.
        unsafe {
            if tile.is_whole {
                let [a, b, c, d, e, f, g, h] =
                    products_of_one::<{ 2 * HALF }>(bias, tile.halves, weights, steps);
                to.store(at, stride, tile.left, [a, b, c, d]);
                to.store(at + HALF * stride, stride, tile.left - HALF, [e, f, g, h]);
            } else {
                let sums = products_of_one::<HALF>(bias, tile.halves, weights, steps);
                to.store(at, stride, tile.left, sums);
            }
        }
    }
}

/// A step of four products: of the rows of one register or two with the weights of one.
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

/// Four steps with a panel: of one half of a tile or two, each with its registers of rows and its sums.
macro_rules! panel {
    ($([$x0:literal $x1:literal $x2:literal $x3:literal, $($sums:literal)+])+) => {
        panel!(@ $([$x0, $($sums)+])+; $([$x1, $($sums)+])+; $([$x2, $($sums)+])+; $([$x3, $($sums)+])+)
    };
    (
        @ $([$x0:literal, $($a:literal)+])+; $([$x1:literal, $($b:literal)+])+;
        $([$x2:literal, $($c:literal)+])+; $([$x3:literal, $($d:literal)+])+
    ) => {
        concat!(
            step!("8", $([$x0 $($a)+])+), step!("9", $([$x1 $($b)+])+),
            step!("10", $([$x2 $($c)+])+), step!("11", $([$x3 $($d)+])+),
        )
    };
}

/// One step with a panel.
macro_rules! single {
    ($w:literal, $([$x0:literal $x1:literal $x2:literal $x3:literal, $($sums:literal)+])+) => {
        step!($w, $([$x0 $($sums)+])+)
    };
}

/// All steps of a tile: loads of 16 steps and of four for its upper half, then the halves of each panel.
macro_rules! tile {
    ($load:literal, $load_one:literal, [$($first:tt)+] $([$($second:tt)+])?, $($operands:tt)*) => {
        asm!(
            "cbz {steps}, 3f",
            "2:",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{low}], #64",
            $load,
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{first}], #64",
            "subs {steps}, {steps}, #1",
            panel!($($first)+),
            $(
                "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{second}], #64",
                panel!($($second)+),
            )?
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr q0, [{low}], #16",
            $load_one,
            "ldr q8, [{first}], #16",
            "subs {rest}, {rest}, #1",
            single!("8", $($first)+),
            $("ldr q9, [{second}], #16", single!("9", $($second)+),)?
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
            [a, b, c, d] => tile!("", "",
                [["0" "1" "2" "3", "16" "18" "20" "22"]] [["0" "1" "2" "3", "17" "19" "21" "23"]],
                low = inout(reg) low => _, first = inout(reg) first => _, second = inout(reg) second => _,
                steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
                inout("v20") c[0], inout("v21") c[1], inout("v22") d[0], inout("v23") d[1],
            ),
            [a, b, c, d, e, f, g, h] => tile!(
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{high}], #64", "ldr q4, [{high}], #16",
                [["0" "1" "2" "3", "16" "18" "20" "22"] ["4" "5" "6" "7", "24" "26" "28" "30"]]
                [["0" "1" "2" "3", "17" "19" "21" "23"] ["4" "5" "6" "7", "25" "27" "29" "31"]],
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

/// That for one panel.
///
/// # Safety
/// As for [`products`].
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn products_of_one<const M: usize>(
    bias: int32x4_t,
    [low, high]: [*const i8; 2],
    panel: *const i8,
    [steps, rest]: [usize; 2],
) -> [int32x4_t; M] {
    let mut sums = [bias; M];
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        match sums.as_mut_slice() {
            [a, b, c, d] => tile!("", "", [["0" "1" "2" "3", "16" "17" "18" "19"]],
                low = inout(reg) low => _, first = inout(reg) panel => _,
                steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v16") *a, inout("v17") *b, inout("v18") *c, inout("v19") *d,
            ),
            [a, b, c, d, e, f, g, h] => tile!(
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{high}], #64", "ldr q4, [{high}], #16",
                [["0" "1" "2" "3", "16" "17" "18" "19"] ["4" "5" "6" "7", "20" "21" "22" "23"]],
                low = inout(reg) low => _, high = inout(reg) high => _, first = inout(reg) panel => _,
                steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v16") *a, inout("v17") *b, inout("v18") *c, inout("v19") *d,
                inout("v20") *e, inout("v21") *f, inout("v22") *g, inout("v23") *h,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            ),
            _ => unreachable!("tiles of four or eight rows"),
        }
    }
    sums
}
