//! Rows in slices on Armv8.0-A NEON: products of bytes in 16 bits, of two steps in one register, then `sadalp`.
//!
//! A 16-bit lane holds two products of a level and a value up to 127, which are those of two steps; `smull` takes the rows of
//! half a register. Two steps of 64 entries each take 64 instructions: 24 to pick, 24 for products, 7 loads, 9 for windows and
//! the loop. What is left over, and steps with values of -128, of which two overflow, go one at a time.

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

/// Picks the second step's activations of four rows, and adds the products of both steps.
macro_rules! both {
    ($columns:literal, $x:literal, $w:literal, $low:literal $high:literal) => {
        concat!(
            pick!("16", $columns),
            "ldr q19, [{slots}], #16\n",
            "smull v17.8h, v",
            $x,
            ".8b, v",
            $w,
            ".8b\n",
            "smlal v17.8h, v16.8b, v19.8b\n",
            "sadalp v",
            $low,
            ".4s, v17.8h\n",
            "smull2 v17.8h, v",
            $x,
            ".16b, v",
            $w,
            ".16b\n",
            "smlal2 v17.8h, v16.16b, v19.16b\n",
            "sadalp v",
            $high,
            ".4s, v17.8h\n",
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
            "cbz {pairs}, 3f",
            "2:",
            "ldr {both:w}, [{offsets}], #4",
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64",
            "add {at}, {row}, {both:w}, uxth",
            window!(),
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{slots}], #64",
            "subs {pairs}, {pairs}, #1",
            pick!("12", "8"), pick!("13", "9"), pick!("14", "10"), pick!("15", "11"),
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64",
            "add {at}, {row}, {both}, lsr #16",
            window!(),
            both!("8", "12", "20", "24" "25"),
            both!("9", "13", "21", "26" "27"),
            both!("10", "14", "22", "28" "29"),
            both!("11", "15", "23", "30" "31"),
            "b.ne 2b",
            "3:",
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
            pairs = inout(reg) pairs => _,
            single = inout(reg) steps - 2 * pairs => _,
            both = out(reg) _, at = out(reg) _,
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
