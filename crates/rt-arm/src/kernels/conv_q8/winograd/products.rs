//! Products of words, 8 tiles x 8 channels: the matrix products of exact Winograd.
//!
//! For eight steps of k, `ld1` brings eight words of four tiles in four registers, twice, and four steps of weights in four,
//! twice; then `smlal` and `smlal2` by lane: 16 accumulators + 8 rows + 4 weights = 28 registers, 128 products' instructions of
//! 134. Lanes of words are those of the registers 0 to 15. Up to four tiles take half of that.

use core::arch::aarch64::*;
use core::arch::asm;

use super::{NR, PLACES, TILE_PRODUCTS, WORDS};

/// Tiles of a row of products.
pub(super) const ROWS: usize = 8;

/// A step of k: the two halves of its weights times the lane of each tile's row.
macro_rules! step {
    ($op:literal, $w:literal, $lane:literal, $([$x:literal $low:literal $high:literal])+) => {
        concat!($(
            $op, " v", $low, ".4s, v", $w, ".4h, v", $x, ".h[", $lane, "]\n",
            $op, "2 v", $high, ".4s, v", $w, ".8h, v", $x, ".h[", $lane, "]\n",
        )+)
    };
}

/// Eight steps of k, of which the first starts the sums where that is wanted.
macro_rules! steps {
    ($first:literal, $rows:literal, $($tiles:tt)+) => {
        concat!(
            $rows,
            "ld1 {{v8.8h, v9.8h, v10.8h, v11.8h}}, [{weights}], #64\n",
            step!($first, "8", "0", $($tiles)+),
            step!("smlal", "9", "1", $($tiles)+),
            step!("smlal", "10", "2", $($tiles)+),
            step!("smlal", "11", "3", $($tiles)+),
            "ld1 {{v8.8h, v9.8h, v10.8h, v11.8h}}, [{weights}], #64\n",
            step!("smlal", "8", "4", $($tiles)+),
            step!("smlal", "9", "5", $($tiles)+),
            step!("smlal", "10", "6", $($tiles)+),
            step!("smlal", "11", "7", $($tiles)+),
        )
    };
}

/// All steps of k.
macro_rules! all {
    ([$rows:literal, $($tiles:tt)+], $($operands:tt)*) => {
        asm!(
            steps!("smull", $rows, $($tiles)+),
            "subs {steps}, {steps}, #1",
            "b.eq 3f",
            "2:",
            "subs {steps}, {steps}, #1",
            steps!("smlal", $rows, $($tiles)+),
            "b.ne 2b",
            "3:",
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            options(readonly, nostack),
        )
    };
}

/// The products of the first `count` tiles of `rows` (all, if there are more) with a panel's weights for a place, to `m`.
///
/// # Panics
/// If a slice is too short: `rows` 8 and `weights` 8 times the same k, a multiple of 8, and `m` up to the last tile's.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn products(rows: &[i16], weights: &[i16], count: usize, m: &mut [i32]) {
    let steps = rows.len() / (ROWS * WORDS);
    assert!(steps > 0 && rows.len() == steps * ROWS * WORDS && weights.len() == steps * NR * WORDS);
    assert!(m.len() > (ROWS - 1) * TILE_PRODUCTS + PLACES * 4 + 3, "{} products", m.len());
    let mut low = [vdupq_n_s32(0); ROWS];
    let mut high = low;
    let (x, w) = (rows.as_ptr(), weights.as_ptr());
    // SAFETY: reads the slices, whose lengths are asserted above, and changes the named registers only.
    unsafe {
        if count > 4 {
            all!(
                ["ld1 {{v0.8h, v1.8h, v2.8h, v3.8h}}, [{rows}], #64\nld1 {{v4.8h, v5.8h, v6.8h, v7.8h}}, [{rows}], #64\n",
                ["0" "16" "17"] ["1" "18" "19"] ["2" "20" "21"] ["3" "22" "23"]
                ["4" "24" "25"] ["5" "26" "27"] ["6" "28" "29"] ["7" "30" "31"]],
                rows = inout(reg) x => _, weights = inout(reg) w => _, steps = inout(reg) steps => _,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v16") low[0], out("v17") high[0], out("v18") low[1], out("v19") high[1],
                out("v20") low[2], out("v21") high[2], out("v22") low[3], out("v23") high[3],
                out("v24") low[4], out("v25") high[4], out("v26") low[5], out("v27") high[5],
                out("v28") low[6], out("v29") high[6], out("v30") low[7], out("v31") high[7],
            );
        } else {
            all!(
                ["ld1 {{v0.8h, v1.8h, v2.8h, v3.8h}}, [{rows}], {stride}\n",
                ["0" "16" "17"] ["1" "18" "19"] ["2" "20" "21"] ["3" "22" "23"]],
                rows = inout(reg) x => _, weights = inout(reg) w => _, steps = inout(reg) steps => _,
                stride = in(reg) 2 * ROWS * WORDS,
                out("v16") low[0], out("v17") high[0], out("v18") low[1], out("v19") high[1],
                out("v20") low[2], out("v21") high[2], out("v22") low[3], out("v23") high[3],
            );
        }
    }
    for (tile, (low, high)) in
        low.into_iter().zip(high).take(if count > 4 { 8 } else { 4 }).enumerate()
    {
        // SAFETY: asserted above: the second half of the last tile's place is `PLACES` vectors after the first.
        unsafe {
            let to = m.as_mut_ptr().add(tile * TILE_PRODUCTS);
            vst1q_s32(to, low);
            vst1q_s32(to.add(PLACES * 4), high);
        }
    }
}
