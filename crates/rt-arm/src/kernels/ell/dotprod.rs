//! Rows in slices on Armv8.2-A with `FEAT_DotProd`: `sdot` adds the four entries of each of four rows.
//!
//! A step of 64 entries takes 24 instructions: 12 to pick, 4 products, 4 loads, 4 for the window and the loop.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{EllQ8, EllSlice, OutQ8, RowsQ8};

use super::{ROWS, Row, Sums, pick};

/// Dense layer with sparse integer weights in slices.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn ell_q8(job: &RowsQ8<'_, EllQ8>, out: OutQ8<'_>) {
    super::run(job, out, |slice, row, _| products(slice, row));
}

#[target_feature(enable = "neon,dotprod")]
fn products(slice: EllSlice<'_>, row: &Row) -> Sums {
    let mut sums = [vdupq_n_s32(0); ROWS / 4];
    let steps = slice.offsets.len();
    assert!(slice.slots.len() == steps * 8 * ROWS);
    if steps == 0 {
        return sums;
    }
    // SAFETY: reads as many offsets and slots as there are steps, and windows that lie within a row or what stands behind it;
    // changes the named registers only.
    unsafe {
        asm!(
            "movi v18.16b, #64",
            "2:",
            "ldrh {offset:w}, [{offsets}], #2",
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{slots}], #64",
            "add {offset}, {row}, {offset}",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{offset}], #64",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{offset}]",
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{slots}], #64",
            "subs {steps}, {steps}, #1",
            pick!("12", "8"), pick!("13", "9"), pick!("14", "10"), pick!("15", "11"),
            "sdot {a:v}.4s, v12.16b, v20.16b",
            "sdot {b:v}.4s, v13.16b, v21.16b",
            "sdot {c:v}.4s, v14.16b, v22.16b",
            "sdot {d:v}.4s, v15.16b, v23.16b",
            "b.ne 2b",
            offsets = inout(reg) slice.offsets.as_ptr() => _,
            slots = inout(reg) slice.slots.as_ptr() => _,
            row = in(reg) row.as_ptr(),
            steps = inout(reg) steps => _,
            offset = out(reg) _,
            a = inout(vreg) sums[0], b = inout(vreg) sums[1],
            c = inout(vreg) sums[2], d = inout(vreg) sums[3],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v18") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            options(readonly, nostack),
        );
    }
    sums
}
