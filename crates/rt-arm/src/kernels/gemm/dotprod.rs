//! Integer GEMM on Armv8.2-A with `FEAT_DotProd`.
//!
//! **u8 x i8, 8 rows x 8 channels.** `sdot` by lane adds four products to each of four channels; levels are flipped to i8
//! (`x - 128`, one `eor`) as on NEON, since `usdot` would need `FEAT_I8MM`. Rows go through tiles, but for a single one: that
//! is read where it stands, 16 levels at a time, for four panels.
//!
//! The intrinsics are not stable, so the two instructions are in inline assembly.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::{GemmQ8, OutQ8, Tile};

use super::super::output::{self, Sink};
use super::blocks::{self, Level};
use super::neon::flip;
use super::{PANEL, group};

mod tile;

/// Layout of integer weights.
pub(in super::super) const TILE_Q8: Tile = Tile { nr: PANEL, kr: 4 };

/// Integer GEMM.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn gemm_q8(job: &GemmQ8<'_>, out: OutQ8<'_>) {
    // SAFETY: this function has the level's features.
    unsafe { blocks::gemm_q8::<Dotprod>(job, out) }
}

/// The level.
struct Dotprod;

impl Level for Dotprod {
    const TILE: Tile = TILE_Q8;

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn tiles(job: &GemmQ8<'_>, rows: usize, sink: &mut Sink<'_>) {
        tile::gemm_q8(job, rows, sink);
    }

    #[target_feature(enable = "neon,dotprod")]
    unsafe fn row<const NP: usize>(
        job: &GemmQ8<'_>,
        lhs: &[u8],
        tail: uint8x16_t,
        at: [usize; 2],
        sink: &mut Sink<'_>,
    ) {
        row_q8::<NP>(job, lhs, flip(tail), at, sink);
    }
}

#[target_feature(enable = "neon")]
fn bias<const NP: usize>(job: &GemmQ8<'_>, column: usize) -> [int32x4_t; NP] {
    let mut bias = [vdupq_n_s32(0); NP];
    for (j, bias) in bias.iter_mut().enumerate() {
        let sums = output::load_i32(&job.weights.row_sums[column + j * PANEL..]);
        *bias = output::load_i32(&job.weights.bias[column + j * PANEL..]);
        *bias = vaddq_s32(*bias, vshlq_n_s32::<7>(sums));
    }
    bias
}

/// One row, whose last `k % 16` levels are in `tail`, times `NP` panels: `[k / 4, 4, 4]` each.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn row_q8<const NP: usize>(
    job: &GemmQ8<'_>,
    lhs: &[u8],
    tail: int8x16_t,
    [at, column]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    let len = lhs.len().next_multiple_of(TILE_Q8.kr) * PANEL;
    let panels = &job.weights.data[column / PANEL * len..][..NP * len];
    let panels = core::array::from_fn(|j| panels[j * len..].as_ptr());
    // SAFETY: a panel has 16 weights for each four levels.
    let sums = unsafe { row_products::<NP>(bias(job, column), lhs, tail, panels) };
    let lanes = group(column, NP, job.weights.n).len();
    sink.store(at + column, lanes, &sums, &sink.multipliers::<NP>(column));
}

/// 16 levels in the register 0 times 16 steps of panels.
macro_rules! sixteen {
    ($([$panel:literal $sum:literal])+) => {
        concat!($(
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{", $panel, "}], #64\n",
            "sdot v", $sum, ".4s, v4.16b, v0.4b[0]\n",
            "sdot v", $sum, ".4s, v5.16b, v0.4b[1]\n",
            "sdot v", $sum, ".4s, v6.16b, v0.4b[2]\n",
            "sdot v", $sum, ".4s, v7.16b, v0.4b[3]\n",
        )+)
    };
}

/// The first four levels in the register 0 times four steps of panels.
macro_rules! four {
    ($([$panel:literal $sum:literal])+) => {
        concat!($(
            "ldr q4, [{", $panel, "}], #16\n",
            "sdot v", $sum, ".4s, v4.16b, v0.4b[0]\n",
        )+)
    };
}

/// All steps of a row. In assembly, as compilers compute addresses in the loop: 24 instructions become 32.
macro_rules! row {
    ([$($panels:tt)+], $($operands:tt)*) => {
        asm!(
            "movi v1.16b, #128",
            "cbz {steps}, 3f",
            "2:",
            "ldr q0, [{x}], #16",
            "subs {steps}, {steps}, #1",
            "eor v0.16b, v0.16b, v1.16b",
            sixteen!($($panels)+),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "mov v0.16b, v2.16b",
            "4:",
            "subs {rest}, {rest}, #1",
            four!($($panels)+),
            "ext v0.16b, v0.16b, v0.16b, #4",
            "b.ne 4b",
            "5:",
            $($operands)*
            out("v0") _, out("v1") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            options(readonly, nostack),
        )
    };
}

/// `bias + (lhs - 128) · panels`, where the last `k % 16` levels are in `tail`, flipped.
///
/// # Safety
/// Each panel has 16 bytes for each four levels.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn row_products<const NP: usize>(
    bias: [int32x4_t; NP],
    lhs: &[u8],
    tail: int8x16_t,
    panels: [*const i8; NP],
) -> [int32x4_t; NP] {
    let steps = lhs.len() / 16;
    let rest = (lhs.len() % 16).div_ceil(4);
    let mut sums = bias;
    // SAFETY: reads the row and what the caller vouches for, and changes the named registers only.
    unsafe {
        match (panels.as_slice(), sums.as_mut_slice()) {
            (&[p, q, r, s], [a, b, c, d]) => row!(
                [["p" "16"] ["q" "17"] ["r" "18"] ["s" "19"]],
                p = inout(reg) p => _, q = inout(reg) q => _, r = inout(reg) r => _, s = inout(reg) s => _,
                x = inout(reg) lhs.as_ptr() => _, steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                in("v2") tail,
                inout("v16") *a, inout("v17") *b, inout("v18") *c, inout("v19") *d,
            ),
            (&[p], [a]) => row!(
                [["p" "16"]],
                p = inout(reg) p => _,
                x = inout(reg) lhs.as_ptr() => _, steps = inout(reg) steps => _, rest = inout(reg) rest => _,
                in("v2") tail,
                inout("v16") *a,
            ),
            _ => unreachable!("four panels or one"),
        }
    }
    sums
}

/// Adds the products of groups of four unsigned bytes.
#[target_feature(enable = "neon,dotprod")]
#[inline]
pub(in super::super) fn udot(mut sum: uint32x4_t, a: uint8x16_t, b: uint8x16_t) -> uint32x4_t {
    // SAFETY: `udot` exists as the function has the feature, and only reads and writes the named registers.
    unsafe {
        asm!(
            "udot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inlateout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
