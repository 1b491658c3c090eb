//! GEMM: what the tiles of all levels share. Contract and reference: `embdl_core::kernels::gemm`.
//!
//! ```text
//! for each group of NP panels (4 * NP output channels):      weights stay in L1
//!     for each block of MR rows of the left-hand side:       streams
//!         tile[MR][NP] = bias; add lhs[MR, k] · panels[k, NP]; output stage; store
//! ```
//! Rows are read where they stand, MR streams at a time: im2col already made them contiguous, so packing them again
//! would cost as much as it saves at these sizes.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

mod blocks;
pub(super) mod dotprod;
pub(super) mod f16;
pub(super) mod f32;
pub(super) mod i8mm;
pub(super) mod neon;

/// Output channels of a panel: one vector of 32-bit accumulators.
const PANEL: usize = 4;

/// Asserts that a job's slices hold what its numbers say. `lhs` and `out` are length and row stride.
fn check(m: usize, k: usize, n: usize, lhs: (usize, usize), out: (usize, usize)) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(m == 1 || out.1 >= n, "rows of {n} results overlap at stride {}", out.1);
    assert!(lhs.0 >= (m - 1) * lhs.1 + k, "{} elements are not {m} rows of {k}", lhs.0);
    assert!(out.0 >= (m - 1) * out.1 + n, "{} results are not {m} rows of {n}", out.0);
}

/// The channels of the group of `panels` panels that starts at channel `first`.
fn group(first: usize, panels: usize, n: usize) -> Range<usize> {
    first..n.min(first + panels * PANEL)
}

/// Calls `visit(first channel, panels)` for groups of four panels, and for what is left one by one.
#[inline]
fn for_each_group(n: usize, mut visit: impl FnMut(usize, usize)) {
    let mut column = 0;
    while column < n {
        let panels = if n - column > 3 * PANEL { 4 } else { 1 };
        visit(column, panels);
        column += panels * PANEL;
    }
}

/// The last `row.len() % 16` bytes of a row in the low lanes, zeros above. Reads nothing outside the row.
#[target_feature(enable = "neon")]
#[inline]
fn load_tail(row: &[u8]) -> uint8x16_t {
    const LANES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let rest = row.len() % 16;
    if let Some(last) = row.last_chunk::<16>() {
        // Lanes beyond the vector's end come out of `tbl` as zeros.
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let by = vdupq_n_u8((16 - rest) as u8);
        // SAFETY: both arrays have sixteen bytes.
        let (bytes, lanes) = unsafe { (vld1q_u8(last.as_ptr()), vld1q_u8(LANES.as_ptr())) };
        vqtbl1q_u8(bytes, vaddq_u8(lanes, by))
    } else {
        let mut bytes = [0; 16];
        bytes[..rest].copy_from_slice(row);
        // SAFETY: `bytes` has sixteen bytes.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    }
}

/// The pointer itself, but a value of which the compiler knows nothing.
///
/// Without this it computes the addresses of neighbouring rows from the first one in every step of a loop: 12 additions among
/// the 16 `fmla` of a kernel.
#[expect(
    clippy::pointers_in_nomem_asm_block,
    reason = "nothing is read or written through the pointer"
)]
#[inline]
pub(super) fn opaque<T>(pointer: *const T) -> *const T {
    let mut same = pointer;
    // SAFETY: no instruction, so nothing is read, written or changed.
    unsafe {
        asm!("/* {0} */", inlateout(reg) same, options(pure, nomem, nostack, preserves_flags));
    }
    same
}
