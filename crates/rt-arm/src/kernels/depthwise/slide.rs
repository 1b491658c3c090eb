//! Float windows of 3x3 with stride 1, a column after the other: each column is read once, for the three windows that see it.
//!
//! 9 weights + bias + 2 bounds + 3 sums + 3 inputs. A result takes 16 instructions, 9 of them `fmla`: three loads, the bias, two
//! bounds, a store. In assembly, as compilers keep no sums from turn to turn in registers that change their meaning.

use core::arch::aarch64::*;
use core::arch::asm;

/// A row of results and what they are made of.
pub(super) struct Row<'a> {
    /// The first window's first column in three rows of the input.
    pub(super) input: [*const f32; 3],
    /// Weights by row and column of taps.
    pub(super) weights: &'a [[float32x4_t; 3]; 3],
    pub(super) bias: float32x4_t,
    /// Bounds of the results.
    pub(super) bounds: [float32x4_t; 2],
    pub(super) out: *mut f32,
    /// Elements from a pixel to the next, of input and results.
    pub(super) channels: usize,
    pub(super) count: usize,
}

/// Loads a column, and adds its products to a window that it is the last column of, the second, and the first.
macro_rules! column {
    ($last:literal, $second:literal, $first:literal) => {
        concat!(
            column!(@load),
            "mov v", $first, ".16b, v25.16b\n",
            column!(@add $last, "18" "21" "24"),
            column!(@add $second, "17" "20" "23"),
            column!(@add $first, "16" "19" "22"),
            "fmax v", $last, ".4s, v", $last, ".4s, v26.4s\n",
            "fmin v", $last, ".4s, v", $last, ".4s, v27.4s\n",
            "st1 {{v", $last, ".4s}}, [{out}], {step}\n",
        )
    };
    (@load) => {
        "ld1 {{v0.4s}}, [{a}], {step}\nld1 {{v1.4s}}, [{b}], {step}\nld1 {{v2.4s}}, [{c}], {step}\n"
    };
    (@add $sum:literal, $u:literal $v:literal $w:literal) => {
        concat!(
            "fmla v", $sum, ".4s, v0.4s, v", $u, ".4s\n",
            "fmla v", $sum, ".4s, v1.4s, v", $v, ".4s\n",
            "fmla v", $sum, ".4s, v2.4s, v", $w, ".4s\n",
        )
    };
}

/// Computes a row of results, of four channels.
///
/// # Safety
/// `count` is not zero; there are `count + 2` vectors, `channels` apart, in each row of the input, and `count` results.
#[target_feature(enable = "neon")]
#[inline]
pub(super) unsafe fn windows(row: &Row<'_>) {
    let [a, b, c] = row.input;
    let [u, v, w] = row.weights;
    // SAFETY: reads and writes what the caller vouches for, and changes the named registers only.
    unsafe {
        asm!(
            "mov v3.16b, v25.16b",
            column!(@load),
            column!(@add "3", "16" "19" "22"),
            "mov v4.16b, v25.16b",
            column!(@load),
            column!(@add "3", "17" "20" "23"),
            column!(@add "4", "16" "19" "22"),
            "cbz {threes}, 3f",
            "2:",
            "subs {threes}, {threes}, #1",
            column!("3", "4", "5"),
            column!("4", "5", "3"),
            column!("5", "3", "4"),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 4f",
            column!("3", "4", "5"),
            "subs {rest}, {rest}, #1",
            "b.eq 4f",
            column!("4", "5", "3"),
            "4:",
            a = inout(reg) a => _, b = inout(reg) b => _, c = inout(reg) c => _,
            out = inout(reg) row.out => _,
            step = in(reg) 4 * row.channels,
            threes = inout(reg) row.count / 3 => _, rest = inout(reg) row.count % 3 => _,
            in("v16") u[0], in("v17") u[1], in("v18") u[2],
            in("v19") v[0], in("v20") v[1], in("v21") v[2],
            in("v22") w[0], in("v23") w[1], in("v24") w[2],
            in("v25") row.bias, in("v26") row.bounds[0], in("v27") row.bounds[1],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            options(nostack),
        );
    }
}
