//! The tiles of the integer GEMM on Armv8.0-A NEON: 4 rows x 4 channels.
//!
//! ```text
//! for each block of rows:
//!     lhs = the rows, flipped to i8, in tiles of four: [k / 16][4 rows][16]      once, for all panels
//!     for each panel of 4 channels, for each tile:                               the panel stays in L1
//!         16 vectors of partial sums = lhs · panel; add lanes; output stage; store
//! ```
//!
//! Rows and weights have the same layout, so that one `ld1` each loads 16 steps of k of a tile: 16 accumulators + 4 rows + 4
//! weights + 8 products are the 32 registers, and 52 instructions do 256 products, 48 of them `smull`, `smlal2` and `sadalp`.
//! The first step starts the sums, by `saddlp`. Where k leaves at most eight steps, they take half of the instructions.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use embdl_core::kernels::GemmQ8;

use super::super::super::output::quad::{Quad, with_quad};
use super::super::super::output::{self, Sink};
use super::super::{PANEL, load_tail};
use super::flip;

/// Rows of a tile.
const MR: usize = 4;
/// Bytes of a tile for 16 steps of k.
const STEP: usize = 16 * MR;
/// Bytes of a block of rows.
const BLOCK: usize = 32 * 1024;

/// Whether a tile of rows of `k` fits a block.
pub(super) const fn fits(k: usize) -> bool {
    k > 0 && k.div_ceil(16) * STEP <= BLOCK
}

/// The first `rows` rows of a job, which [`fits`]; the caller has checked its slices. `PRODUCTS`, 1, 2, 4 or 8,
/// fit 16 bits.
#[target_feature(enable = "neon")]
pub(super) fn gemm_q8<const PRODUCTS: usize>(job: &GemmQ8<'_>, rows: usize, sink: &mut Sink<'_>) {
    if rows == 0 {
        return;
    }
    let tile = job.weights.k.div_ceil(16) * STEP;
    let mut block = [const { MaybeUninit::<i8>::uninit() }; BLOCK];
    let together = BLOCK / tile * MR;
    for first in (0..rows).step_by(together) {
        let rows = first..rows.min(first + together);
        for (tile, row) in block.chunks_exact_mut(tile).zip(rows.clone().step_by(MR)) {
            pack(job, row, rows.end - 1, tile);
        }
        panels::<PRODUCTS>(job, rows, &block, sink);
    }
}

/// Puts four rows from `first` on together, `last` again for those beyond it.
#[target_feature(enable = "neon")]
fn pack(job: &GemmQ8<'_>, first: usize, last: usize, tile: &mut [MaybeUninit<i8>]) {
    let k = job.weights.k;
    assert!(tile.len() == k.div_ceil(16) * STEP);
    let row = |i: usize| &job.lhs[(first + i).min(last) * job.lhs_stride..];
    let rows = [row(0), row(1), row(2), row(3)];
    assert!(rows.iter().all(|row| row.len() >= k), "rows end before {k}");
    let (whole, rest) = tile.split_at_mut(k / 16 * STEP);
    for (step, to) in whole.chunks_exact_mut(STEP).enumerate() {
        // SAFETY: rows have k bytes, of which each of these k / 16 steps takes sixteen.
        let x = rows.map(|row| flip(unsafe { vld1q_u8(row.as_ptr().add(16 * step)) }));
        // SAFETY: a step has room for four vectors.
        unsafe { vst1q_s8_x4(to.as_mut_ptr().cast(), int8x16x4_t(x[0], x[1], x[2], x[3])) };
    }
    if !rest.is_empty() {
        // What stands beyond k is multiplied by zeros.
        let x = rows.map(|row| match row[k / 16 * 16..].first_chunk::<16>() {
            // SAFETY: sixteen bytes.
            Some(x) => flip(unsafe { vld1q_u8(x.as_ptr()) }),
            None => flip(load_tail(&row[..k])),
        });
        // SAFETY: what is left has room for a step.
        unsafe { vst1q_s8_x4(rest.as_mut_ptr().cast(), int8x16x4_t(x[0], x[1], x[2], x[3])) };
    }
}

/// All panels for the rows of a block.
#[target_feature(enable = "neon")]
fn panels<const PRODUCTS: usize>(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    block: &[MaybeUninit<i8>; BLOCK],
    sink: &mut Sink<'_>,
) {
    let weights = job.weights;
    let steps = weights.k.div_ceil(16);
    assert!(weights.data.len() == weights.n.next_multiple_of(PANEL) * 16 * steps);
    let panels = weights.data.chunks_exact(steps * STEP);
    for (column, panel) in (0..weights.n).step_by(PANEL).zip(panels) {
        let lanes = PANEL.min(weights.n - column);
        // SAFETY: the caller checked that there are `n` results in each of the job's rows.
        unsafe {
            with_quad!(sink, column, lanes, |to| tiles::<PRODUCTS, _>(
                job,
                rows.clone(),
                (column, panel),
                block,
                &to
            ));
        }
    }
}

/// All tiles of a panel.
///
/// # Safety
/// `to` must have the panel's results of each of the rows.
#[target_feature(enable = "neon")]
unsafe fn tiles<const PRODUCTS: usize, Q: Quad>(
    job: &GemmQ8<'_>,
    rows: Range<usize>,
    (column, panel): (usize, &[i8]),
    block: &[MaybeUninit<i8>; BLOCK],
    to: &Q,
) {
    let weights = job.weights;
    let steps = weights.k.div_ceil(16);
    assert!(rows.len().div_ceil(MR) * steps * STEP <= BLOCK && panel.len() == steps * STEP);
    let is_half = steps > 1 && (1..=8).contains(&(weights.k % 16));
    let whole = steps - usize::from(is_half);
    let sums = output::load_i32(&weights.row_sums[column..]);
    let bias = output::load_i32(&weights.bias[column..]);
    let bias = vaddq_s32(bias, vshlq_n_s32::<7>(sums));
    let stride = job.out_stride;
    let mut lhs = block.as_ptr().cast::<i8>();
    let mut at = rows.start * stride + column;
    let mut left = rows.len();
    loop {
        // SAFETY: a panel has `steps` steps, and `pack` wrote as many of each tile; and by the contract.
        unsafe {
            let [a, b, c, d] = products::<PRODUCTS>(lhs, panel.as_ptr(), whole, is_half);
            let sums =
                [vaddq_s32(a, bias), vaddq_s32(b, bias), vaddq_s32(c, bias), vaddq_s32(d, bias)];
            to.store(at, stride, left, sums);
        }
        if left <= MR {
            break;
        }
        left -= MR;
        lhs = lhs.wrapping_add(steps * STEP);
        at += MR * stride;
    }
}

/// An instruction for the four channels of a row: of the lower or upper halves of rows and weights.
macro_rules! row {
    ($op:literal, $part:literal, $x:literal, [$($product:literal)+]) => {
        row!(@ $op, $part, $x, [$($product)+] ["4" "5" "6" "7"])
    };
    (@ $op:literal, $part:literal, $x:literal, [$($product:literal)+] [$($w:literal)+]) => {
        concat!($($op, " v", $product, ".8h, v", $x, $part, ", v", $w, $part, "\n",)+)
    };
}

/// An instruction that sums up products of pairs, for eight vectors.
macro_rules! sums {
    ($op:literal, [$($sum:literal)+]) => {
        sums!(@ $op, [$($sum)+] ["8" "9" "10" "11" "12" "13" "14" "15"])
    };
    (@ $op:literal, [$($sum:literal)+] [$($product:literal)+]) => {
        concat!($($op, " v", $sum, ".4s, v", $product, ".8h\n",)+)
    };
}

/// One of the halves of 16 steps of k, for two rows.
macro_rules! half {
    ($op:literal, $part:literal, $x:literal, $y:literal) => {
        concat!(
            row!($op, $part, $x, ["8" "9" "10" "11"]),
            row!($op, $part, $y, ["12" "13" "14" "15"]),
        )
    };
}

/// 16 steps of k for two rows, whose sums are in the registers named.
macro_rules! step {
    (paired, $first:literal, $x:literal, $y:literal, $sums:tt) => {
        concat!(
            half!("smull", ".8b", $x, $y),
            half!("smlal2", ".16b", $x, $y),
            sums!($first, $sums),
        )
    };
    (apart, $first:literal, $x:literal, $y:literal, $sums:tt) => {
        concat!(
            half!("smull", ".8b", $x, $y),
            sums!($first, $sums),
            half!("smull2", ".16b", $x, $y),
            sums!("sadalp", $sums),
        )
    };
}

/// Steps of 16, from their places in a tile, for two rows: all products of two steps or four in 16 bits.
macro_rules! deep {
    ($sum:literal, $sums:tt, $place:literal $($more:literal)+) => {
        concat!(
            "ldp q0, q1, [{lhs}, #", $place, "]\n",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{panel}], #64\n",
            half!("smull", ".8b", "0", "1"),
            half!("smlal2", ".16b", "0", "1"),
            $(
                "ldp q0, q1, [{lhs}, #", $more, "]\n",
                "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{panel}], #64\n",
                half!("smlal", ".8b", "0", "1"),
                half!("smlal2", ".16b", "0", "1"),
            )+
            sums!($sum, $sums),
        )
    };
}

/// That for the four rows of a tile, of so many bytes.
macro_rules! group {
    ($sum:literal, $bytes:literal, [$($low:literal)+] [$($high:literal)+]) => {
        concat!(
            deep!($sum, ["16" "17" "18" "19" "20" "21" "22" "23"], $($low)+),
            "sub {panel}, {panel}, #", $bytes, "\n",
            deep!($sum, ["24" "25" "26" "27" "28" "29" "30" "31"], $($high)+),
            "add {lhs}, {lhs}, #", $bytes, "\n",
        )
    };
}

/// Adds neighbouring lanes of pairs of registers: the first gets both.
macro_rules! lanes {
    ($($a:literal $b:literal)+) => {
        concat!($("addp v", $a, ".4s, v", $a, ".4s, v", $b, ".4s\n",)+)
    };
}

/// 16 steps of k for the four rows of a tile.
macro_rules! single {
    ($how:ident, $first:literal) => {
        concat!(
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{lhs}], #64\n",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{panel}], #64\n",
            step!($how, $first, "0", "1", ["16" "17" "18" "19" "20" "21" "22" "23"]),
            step!($how, $first, "2", "3", ["24" "25" "26" "27" "28" "29" "30" "31"]),
        )
    };
}

/// All steps of a tile that are left after `$start`, and the lanes added. In assembly, as compilers have no registers left for
/// it, and add lanes by shuffles.
macro_rules! tile {
    ($how:ident, [$($start:expr,)+], $($operands:tt)*) => {
        asm!(
            $($start,)+
            "cbz {steps}, 3f",
            "2:",
            "subs {steps}, {steps}, #1",
            single!($how, "sadalp"),
            "b.ne 2b",
            "3:",
            "cbz {half:w}, 4f",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{lhs}], #64\n",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{panel}], #64\n",
            half!("smull", ".8b", "0", "1"),
            sums!("sadalp", ["16" "17" "18" "19" "20" "21" "22" "23"]),
            half!("smull", ".8b", "2", "3"),
            sums!("sadalp", ["24" "25" "26" "27" "28" "29" "30" "31"]),
            "4:",
            lanes!("16" "17" "18" "19" "20" "21" "22" "23" "24" "25" "26" "27" "28" "29" "30" "31"),
            lanes!("16" "18" "20" "22" "24" "26" "28" "30"),
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            options(readonly, nostack),
        )
    };
}

/// Groups of steps whose products are summed in 16 bits, then the steps that are left.
macro_rules! groups {
    ($bytes:literal $low:tt $high:tt, $($operands:tt)*) => {
        tile!(paired, [
            group!("saddlp", $bytes, $low $high),
            "subs {groups}, {groups}, #1",
            "b.eq 6f",
            "5:",
            "subs {groups}, {groups}, #1",
            group!("sadalp", $bytes, $low $high),
            "b.ne 5b",
            "6:",
        ], $($operands)*)
    };
}

/// The sums of a tile: of `steps` times 16 steps of k, and eight more where there is half a step.
///
/// # Safety
/// At least one step, and at each of the pointers all of them, 64 bytes each.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn products<const PRODUCTS: usize>(
    lhs: *const i8,
    panel: *const i8,
    steps: usize,
    is_half: bool,
) -> [int32x4_t; MR] {
    let mut sums = [vdupq_n_s32(0); MR];
    let [a, b, c, d] = &mut sums;
    macro_rules! run {
        ($tile:ident, [$($start:tt)+], $($operands:tt)*) => {
            $tile!($($start)+,
                $($operands)*
                lhs = inout(reg) lhs => _, panel = inout(reg) panel => _,
                half = in(reg) u32::from(is_half),
                out("v16") *a, out("v17") _, out("v18") _, out("v19") _,
                out("v20") *b, out("v21") _, out("v22") _, out("v23") _,
                out("v24") *c, out("v25") _, out("v26") _, out("v27") _,
                out("v28") *d, out("v29") _, out("v30") _, out("v31") _,
            )
        };
    }
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        if PRODUCTS == 4 && steps >= 2 {
            run!(groups, ["128" ["0" "64"] ["32" "96"]],
                groups = inout(reg) steps / 2 => _, steps = inout(reg) steps % 2 => _,);
        } else if PRODUCTS == 8 && steps >= 4 {
            run!(groups, ["256" ["0" "64" "128" "192"] ["32" "96" "160" "224"]],
                groups = inout(reg) steps / 4 => _, steps = inout(reg) steps % 4 => _,);
        } else if PRODUCTS == 1 {
            run!(tile, [apart, [single!(apart, "saddlp"),]], steps = inout(reg) steps - 1 => _,);
        } else {
            run!(tile, [paired, [single!(paired, "saddlp"),]], steps = inout(reg) steps - 1 => _,);
        }
    }
    sums
}
