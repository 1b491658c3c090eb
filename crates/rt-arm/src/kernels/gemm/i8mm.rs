//! Integer GEMM on Armv8.6-A, or earlier with `FEAT_I8MM`.
//!
//! **u8 x i8, 8 rows x 8 channels.** `usmmla` multiplies two rows of eight unsigned levels with two channels of eight signed
//! weights: 32 products an instruction, twice those of `sdot`, and levels are not flipped. Rows go through tiles, but for a
//! single one: that is read where it stands and stands in for both rows, so that half of the products are done twice, as many
//! instructions as `sdot` takes.
//!
//! The intrinsics are not stable, so the instruction is in inline assembly.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::tiles::{lower_row, upper_row};
use super::super::output::{self, Sink};
use super::blocks::{self, Level};
use super::{PANEL, group};

mod tile;

/// Layout of integer weights.
pub(in super::super) const TILE_Q8: Tile = Tile { nr: PANEL, kr: 8 };

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,i8mm")]
pub(in super::super) fn gemm_q8(job: &GemmQ8<'_>, out: OutQ8<'_>) {
    // SAFETY: this function has the level's features.
    unsafe { blocks::gemm_q8::<I8mm>(job, out) }
}

/// The level.
struct I8mm;

impl Level for I8mm {
    const TILE: Tile = TILE_Q8;

    #[target_feature(enable = "neon,i8mm")]
    unsafe fn tiles(job: &GemmQ8<'_>, rows: usize, sink: &mut Sink<'_>) {
        tile::gemm_q8(job, rows, sink);
    }

    #[target_feature(enable = "neon,i8mm")]
    unsafe fn row<const NP: usize>(
        job: &GemmQ8<'_>,
        lhs: &[u8],
        tail: uint8x16_t,
        at: [usize; 2],
        sink: &mut Sink<'_>,
    ) {
        row_q8::<NP>(job, lhs, tail, at, sink);
    }
}

/// Four values as each of two rows has them that share vectors: two channels for both rows, then the other two.
#[target_feature(enable = "neon")]
#[inline]
fn for_pairs(x: int32x4_t) -> [int32x4_t; 2] {
    [upper_row(x, x), lower_row(x, x)]
}

/// What the sums of a panel start with, for two rows.
#[target_feature(enable = "neon")]
#[inline]
fn bias(job: &GemmQ8<'_>, column: usize) -> [int32x4_t; 2] {
    for_pairs(output::load_i32(&job.weights.bias[column..]))
}

/// One row, whose last `k % 16` levels are in `tail`, times `NP` panels: `[k / 8, 4, 8]` each.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn row_q8<const NP: usize>(
    job: &GemmQ8<'_>,
    lhs: &[u8],
    tail: uint8x16_t,
    [at, column]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    let len = lhs.len().next_multiple_of(TILE_Q8.kr) * PANEL;
    let panels = &job.weights.data[column / PANEL * len..][..NP * len];
    let panels = core::array::from_fn(|j| panels[j * len..].as_ptr());
    // SAFETY: a panel has 32 weights for each eight levels.
    let mut sums = unsafe { row_products::<NP>(lhs, tail, panels) };
    for (j, sums) in sums.iter_mut().enumerate() {
        *sums = vaddq_s32(*sums, output::load_i32(&job.weights.bias[column + j * PANEL..]));
    }
    let lanes = group(column, NP, job.weights.n).len();
    sink.store(at + column, lanes, &sums, &sink.multipliers::<NP>(column));
}

/// Eight levels in both halves of the register 0, and the next eight in those of 1, times 16 steps of panels.
macro_rules! sixteen {
    ($([$panel:literal $a:literal $b:literal])+) => {
        concat!($(
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{", $panel, "}], #64\n",
            "usmmla v", $a, ".4s, v0.16b, v4.16b\n",
            "usmmla v", $b, ".4s, v0.16b, v5.16b\n",
            "usmmla v", $a, ".4s, v1.16b, v6.16b\n",
            "usmmla v", $b, ".4s, v1.16b, v7.16b\n",
        )+)
    };
}

/// Eight levels in both halves of the register 0 times eight steps of panels.
macro_rules! eight {
    ($([$panel:literal $a:literal $b:literal])+) => {
        concat!($(
            "ld1 {{v4.16b, v5.16b}}, [{", $panel, "}], #32\n",
            "usmmla v", $a, ".4s, v0.16b, v4.16b\n",
            "usmmla v", $b, ".4s, v0.16b, v5.16b\n",
        )+)
    };
}

/// All steps of a row. In assembly, as compilers compute addresses in the loop: 24 instructions become 33.
macro_rules! row {
    ([$($panels:tt)+], $($operands:tt)*) => {
        asm!(
            "cbz {steps}, 3f",
            "2:",
            "ld1r {{v0.2d}}, [{x}], #8",
            "ld1r {{v1.2d}}, [{x}], #8",
            "subs {steps}, {steps}, #1",
            sixteen!($($panels)+),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "dup v0.2d, v2.d[0]",
            "subs {rest}, {rest}, #1",
            eight!($($panels)+),
            "ext v2.16b, v2.16b, v2.16b, #8",
            "b.ne 4b",
            "5:",
            $($operands)*
            out("v0") _, out("v1") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            options(readonly, nostack),
        )
    };
}

/// `lhs · panels`, where the last `k % 16` levels are in `tail`.
///
/// # Safety
/// Each panel has 32 bytes for each eight levels.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn row_products<const NP: usize>(
    lhs: &[u8],
    tail: uint8x16_t,
    panels: [*const i8; NP],
) -> [int32x4_t; NP] {
    let steps = lhs.len() / 16;
    let rest = (lhs.len() % 16).div_ceil(8);
    let mut sums = [[vdupq_n_s32(0); 2]; NP];
    // SAFETY: reads the row and what the caller vouches for, and changes the named registers only.
    unsafe {
        match (panels.as_slice(), sums.as_mut_slice()) {
            (&[p, q, r, s], [a, b, c, d]) => row!(
                [["p" "16" "17"] ["q" "18" "19"] ["r" "20" "21"] ["s" "22" "23"]],
                p = inout(reg) p => _, q = inout(reg) q => _, r = inout(reg) r => _, s = inout(reg) s => _,
                x = inout(reg) lhs.as_ptr() => _, steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v2") tail => _,
                inout("v16") a[0], inout("v17") a[1], inout("v18") b[0], inout("v19") b[1],
                inout("v20") c[0], inout("v21") c[1], inout("v22") d[0], inout("v23") d[1],
            ),
            (&[p], [a]) => row!(
                [["p" "16" "17"]],
                p = inout(reg) p => _,
                x = inout(reg) lhs.as_ptr() => _, steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                inout("v2") tail => _,
                inout("v16") a[0], inout("v17") a[1],
            ),
            _ => unreachable!("four panels or one"),
        }
    }
    // Both rows of each vector are the same.
    let mut all = [vdupq_n_s32(0); NP];
    for (all, [a, b]) in all.iter_mut().zip(sums) {
        *all = upper_row(a, b);
    }
    all
}
