//! One row of the float GEMM, read where it stands: 1 row x 32 channels.
//!
//! For eight steps of k, two registers of the row and, of each of two panels, 32 of weights, four at a time: 83 instructions
//! for 256 products, 64 of them `fmla`. Even and odd steps are summed apart, to halve the chains of `fmla` that wait for each
//! other. In assembly, as compilers compute addresses in the loop: 83 instructions become 100.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::GemmF32;

use super::super::super::output::store_f32;
use super::{LANES, NR, bound};

/// The only row of a job.
#[target_feature(enable = "neon")]
pub(super) fn vector(job: &GemmF32<'_>, out: &mut [f32]) {
    let n = job.weights.n;
    let mut column = 0;
    while column < n {
        column += NR
            * if n - column > NR {
                panels::<2, 8>(job, column, out)
            } else {
                panels::<1, 4>(job, column, out)
            };
    }
}

/// The only row times `P` panels of together `V` vectors. Gives the number of panels done.
#[target_feature(enable = "neon")]
#[inline]
fn panels<const P: usize, const V: usize>(
    job: &GemmF32<'_>,
    column: usize,
    out: &mut [f32],
) -> usize {
    let k = job.weights.k;
    let panels = &job.weights.data[column * k..][..P * NR * k];
    let panels = core::array::from_fn(|j| panels[j * NR * k..].as_ptr());
    let bias = &job.weights.bias[column..][..P * NR];
    let mut sums = [[vdupq_n_f32(0.0); V]; 2];
    for (sum, bias) in sums[0].iter_mut().zip(bias.as_chunks::<LANES>().0) {
        // SAFETY: a vector of biases.
        *sum = unsafe { vld1q_f32(bias.as_ptr()) };
    }
    // SAFETY: a panel has NR weights for each of the row's elements.
    unsafe { products::<P, V>(&mut sums, &job.lhs[..k], panels) };
    let mut all = sums[0];
    for (sum, &odd) in all.iter_mut().zip(&sums[1]) {
        *sum = vaddq_f32(*sum, odd);
    }
    let mut all = [all];
    bound(&mut all, job.clamp);
    let count = (P * NR).min(job.weights.n - column);
    for (out, &sum) in out[column..][..count].chunks_mut(LANES).zip(&all[0]) {
        store_f32(out, sum);
    }
    P
}

/// The element in a lane of a register times a step of each panel.
macro_rules! step {
    ($x:literal, $lane:literal, $([$panel:literal $a:literal $b:literal $c:literal $d:literal])+) => {
        concat!($(
            "ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{", $panel, "}], #64\n",
            "fmla v", $a, ".4s, v0.4s, v", $x, ".s[", $lane, "]\n",
            "fmla v", $b, ".4s, v1.4s, v", $x, ".s[", $lane, "]\n",
            "fmla v", $c, ".4s, v2.4s, v", $x, ".s[", $lane, "]\n",
            "fmla v", $d, ".4s, v3.4s, v", $x, ".s[", $lane, "]\n",
        )+)
    };
}

/// All steps of a row, with the sums of even steps and those of odd ones.
macro_rules! row {
    ([$($even:tt)+], [$($odd:tt)+], $($operands:tt)*) => {
        asm!(
            "cbz {eights}, 3f",
            "2:",
            "ldp q4, q5, [{x}], #32",
            "subs {eights}, {eights}, #1",
            step!("4", "0", $($even)+), step!("4", "1", $($odd)+),
            step!("4", "2", $($even)+), step!("4", "3", $($odd)+),
            step!("5", "0", $($even)+), step!("5", "1", $($odd)+),
            step!("5", "2", $($even)+), step!("5", "3", $($odd)+),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr s4, [{x}], #4",
            "subs {rest}, {rest}, #1",
            step!("4", "0", $($even)+),
            "b.ne 4b",
            "5:",
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            options(readonly, nostack),
        )
    };
}

/// Adds the products of a row with two panels or one.
///
/// # Safety
/// `NR` weights of each panel for each of the row's elements.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn products<const P: usize, const V: usize>(
    sums: &mut [[float32x4_t; V]; 2],
    lhs: &[f32],
    panels: [*const f32; P],
) {
    let (eights, rest) = (lhs.len() / 8, lhs.len() % 8);
    let [even, odd] = sums;
    // SAFETY: reads the row and what the caller vouches for, and changes the named registers only.
    unsafe {
        match (panels.as_slice(), even.as_mut_slice(), odd.as_mut_slice()) {
            (&[p, q], [a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, r]) => row!(
                [["p" "16" "17" "18" "19"] ["q" "20" "21" "22" "23"]],
                [["p" "24" "25" "26" "27"] ["q" "28" "29" "30" "31"]],
                p = inout(reg) p => _, q = inout(reg) q => _, x = inout(reg) lhs.as_ptr() => _,
                eights = inout(reg) eights => _, rest = inout(reg) rest => _,
                inout("v16") *a, inout("v17") *b, inout("v18") *c, inout("v19") *d,
                inout("v20") *e, inout("v21") *f, inout("v22") *g, inout("v23") *h,
                inout("v24") *i, inout("v25") *j, inout("v26") *k, inout("v27") *l,
                inout("v28") *m, inout("v29") *n, inout("v30") *o, inout("v31") *r,
            ),
            (&[p], [a, b, c, d], [i, j, k, l]) => row!(
                [["p" "16" "17" "18" "19"]],
                [["p" "24" "25" "26" "27"]],
                p = inout(reg) p => _, x = inout(reg) lhs.as_ptr() => _,
                eights = inout(reg) eights => _, rest = inout(reg) rest => _,
                inout("v16") *a, inout("v17") *b, inout("v18") *c, inout("v19") *d,
                inout("v24") *i, inout("v25") *j, inout("v26") *k, inout("v27") *l,
            ),
            _ => unreachable!("two panels or one"),
        }
    }
}
