//! Rows in slices on Armv8.0-A NEON: products of bytes in 16 bits, of two steps in one register, then `sadalp`.
//!
//! A 16-bit lane holds two products of a level and a value up to 127, which are those of two steps; `smull` takes the rows of
//! half a register. Four steps of 64 entries each take 119 instructions: 48 to pick, 48 for products, 8 loads of columns and
//! values, 15 for windows and the loop. Picks of a second step take the registers of its columns one after the other, and its
//! values those of the window. What is left over, and steps with values of -128, of which two overflow, go by two and one.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{EllQ8, EllSlice, OutQ8, RowsQ8};

use super::{ROWS, Row, Sums, pick};

/// Dense layer with sparse integer weights in slices.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon")]
pub(in super::super) fn ell_q8(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
    super::run(job, out, |slice, row, max_abs| products(slice, row, max_abs < 128));
}

/// Loads a window from the address in a register.
macro_rules! window {
    () => {
        concat!(
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{at}], #64\n",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{at}]\n",
        )
    };
}

/// Picks the activations of the second of two steps, whose columns are in the registers 8 to 11, into 16 and 8 to 10.
macro_rules! second {
    () => {
        concat!(pick!("16", "8"), pick!("8", "9"), pick!("9", "10"), pick!("10", "11"))
    };
}

/// Adds the products of two steps for four rows: of the activations and values of each.
macro_rules! both {
    ($x:literal $w:literal, $y:literal $v:literal, $low:literal $high:literal) => {
        concat!(
            "smull v17.8h, v",
            $x,
            ".8b, v",
            $w,
            ".8b\n",
            "smull2 v19.8h, v",
            $x,
            ".16b, v",
            $w,
            ".16b\n",
            "smlal v17.8h, v",
            $y,
            ".8b, v",
            $v,
            ".8b\n",
            "smlal2 v19.8h, v",
            $y,
            ".16b, v",
            $v,
            ".16b\n",
            "sadalp v",
            $low,
            ".4s, v17.8h\n",
            "sadalp v",
            $high,
            ".4s, v19.8h\n",
        )
    };
}

/// Two steps, whose offsets stand in a register of 32 bits.
macro_rules! two {
    ($offsets:literal) => {
        concat!(
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64\n",
            "add {at}, {row}, {", $offsets, ":w}, uxth\n",
            window!(),
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{slots}], #64\n",
            pick!("12", "8"), pick!("13", "9"), pick!("14", "10"), pick!("15", "11"),
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64\n",
            "add {at}, {row}, {", $offsets, "}, lsr #16\n",
            window!(),
            second!(),
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{slots}], #64\n",
            both!("12" "20", "16" "0", "24" "25"),
            both!("13" "21", "8" "1", "26" "27"),
            both!("14" "22", "9" "2", "28" "29"),
            both!("15" "23", "10" "3", "30" "31"),
        )
    };
}

/// Adds the products of one step for four rows.
macro_rules! one {
    ($x:literal, $w:literal, $low:literal $high:literal) => {
        concat!(
            "smull v17.8h, v",
            $x,
            ".8b, v",
            $w,
            ".8b\n",
            "sadalp v",
            $low,
            ".4s, v17.8h\n",
            "smull2 v17.8h, v",
            $x,
            ".16b, v",
            $w,
            ".16b\n",
            "sadalp v",
            $high,
            ".4s, v17.8h\n",
        )
    };
}

#[target_feature(enable = "neon")]
fn products(slice: EllSlice<'_>, row: &Row, in_pairs: bool) -> Sums {
    let mut sums = [vdupq_n_s32(0); ROWS / 4];
    let steps = slice.offsets.len();
    assert!(slice.slots.len() == steps * 8 * ROWS);
    let pairs = if in_pairs { steps / 2 } else { 0 };
    let [a, b, c, d] = &mut sums;
    // SAFETY: reads as many offsets and slots as there are steps, and windows that lie within a row or what stands behind it;
    // changes the named registers only.
    unsafe {
        asm!(
            "movi v18.16b, #64",
            "movi v24.4s, #0", "movi v25.4s, #0", "movi v26.4s, #0", "movi v27.4s, #0",
            "movi v28.4s, #0", "movi v29.4s, #0", "movi v30.4s, #0", "movi v31.4s, #0",
            "cbz {fours}, 3f",
            "2:",
            "ldp {both:w}, {more:w}, [{offsets}], #8",
            "subs {fours}, {fours}, #1",
            two!("both"),
            two!("more"),
            "b.ne 2b",
            "3:",
            "cbz {pair:w}, 6f",
            "ldr {both:w}, [{offsets}], #4",
            two!("both"),
            "6:",
            "cbz {single}, 5f",
            "4:",
            "ldrh {both:w}, [{offsets}], #2",
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64",
            "add {at}, {row}, {both}",
            window!(),
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{slots}], #64",
            "subs {single}, {single}, #1",
            pick!("12", "8"), pick!("13", "9"), pick!("14", "10"), pick!("15", "11"),
            one!("12", "20", "24" "25"), one!("13", "21", "26" "27"),
            one!("14", "22", "28" "29"), one!("15", "23", "30" "31"),
            "b.ne 4b",
            "5:",
            "addp v24.4s, v24.4s, v25.4s", "addp v26.4s, v26.4s, v27.4s",
            "addp v28.4s, v28.4s, v29.4s", "addp v30.4s, v30.4s, v31.4s",
            offsets = inout(reg) slice.offsets.as_ptr() => _,
            slots = inout(reg) slice.slots.as_ptr() => _,
            row = in(reg) row.as_ptr(),
            fours = inout(reg) pairs / 2 => _,
            pair = in(reg) pairs % 2,
            single = inout(reg) steps - 2 * pairs => _,
            both = out(reg) _, more = out(reg) _, at = out(reg) _,
            out("v24") *a, out("v25") _, out("v26") *b, out("v27") _,
            out("v28") *c, out("v29") _, out("v30") *d, out("v31") _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            options(readonly, nostack),
        );
    }
    sums
}
