//! One row of the float GEMM with products in halves: 1 row x 32 channels.
//!
//! Eight steps of k take a register of the row and 16 loads of weights: 51 instructions for 256 products, where floats take 83.
//! Even and odd steps are summed apart, to halve the chains of `fmla` that wait for each other.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::MaybeUninit;

use embdl_core::kernels::GemmF32;

use super::super::super::output::{load_f32, store_f32};
use super::{BLOCK, CHAIN, LANES, NR, narrow};

/// The only row of a job, whose slices were checked.
#[target_feature(enable = "neon,fp16")]
pub(super) fn row(job: &GemmF32<'_>, out: &mut [f32]) {
    let (n, k) = (job.weights.n, job.weights.k);
    let mut halves = [const { MaybeUninit::<u16>::uninit() }; BLOCK];
    let (low, high) = (vdupq_n_f32(job.clamp.0), vdupq_n_f32(job.clamp.1));
    let mut from = 0;
    loop {
        // Rows that are longer than the room for halves are summed up in `out`.
        let len = BLOCK.min(k - from);
        let is_last = from + len == k;
        let lhs = &job.lhs[from..][..len];
        // SAFETY: as many halves as floats.
        unsafe { narrow(lhs.as_ptr(), len, halves.as_mut_ptr().cast()) };
        for column in (0..n).step_by(2 * NR) {
            let count = (2 * NR).min(n - column);
            let second = if count > NR { column + NR } else { column };
            let panels =
                [column, second].map(|c| &job.weights.halves[c * k + from * NR..][..len * NR]);
            let mut sums = [vdupq_n_f32(0.0); 2 * NR / LANES];
            for (v, sum) in sums.iter_mut().enumerate().take(count.div_ceil(LANES)) {
                let at = column + LANES * v;
                *sum = if from == 0 {
                    load_f32(&job.weights.bias[at..])
                } else {
                    load_f32(&out[at..n.min(at + LANES)])
                };
            }
            let x = halves.as_ptr().cast::<u16>();
            for at in (0..len).step_by(CHAIN) {
                let steps = CHAIN.min(len - at);
                // SAFETY: these steps of the row and of both panels.
                unsafe {
                    chain(&mut sums, x.add(at), panels.map(|p| p[at * NR..].as_ptr()), steps)
                };
            }
            for (v, sum) in sums.into_iter().enumerate().take(count.div_ceil(LANES)) {
                let sum = if is_last { vminq_f32(vmaxq_f32(sum, low), high) } else { sum };
                let at = column + LANES * v;
                store_f32(&mut out[at..n.min(at + LANES)], sum);
            }
        }
        from += len;
        if is_last {
            break;
        }
    }
}

/// The element in a lane of the register 4 times a step of both panels.
macro_rules! step {
    ($lane:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "ldp q0, q1, [{p}], #32\n",
            "ldp q2, q3, [{q}], #32\n",
            "fmla v",
            $a,
            ".8h, v0.8h, v4.h[",
            $lane,
            "]\n",
            "fmla v",
            $b,
            ".8h, v1.8h, v4.h[",
            $lane,
            "]\n",
            "fmla v",
            $c,
            ".8h, v2.8h, v4.h[",
            $lane,
            "]\n",
            "fmla v",
            $d,
            ".8h, v3.8h, v4.h[",
            $lane,
            "]\n",
        )
    };
}

/// Adds even and odd sums, and both to floats.
macro_rules! widen {
    ($([$even:literal $odd:literal $low:literal $high:literal])+) => {
        concat!($(
            "fadd v", $even, ".8h, v", $even, ".8h, v", $odd, ".8h\n",
            "fcvtl v0.4s, v", $even, ".4h\n",
            "fcvtl2 v1.4s, v", $even, ".8h\n",
            "fadd v", $low, ".4s, v", $low, ".4s, v0.4s\n",
            "fadd v", $high, ".4s, v", $high, ".4s, v1.4s\n",
        )+)
    };
}

/// Adds the products of some steps, which are summed up in halves.
///
/// # Safety
/// As many halves at `x`, and 16 for each at both panels.
#[target_feature(enable = "neon,fp16")]
#[inline]
unsafe fn chain(sums: &mut [float32x4_t; 8], x: *const u16, [p, q]: [*const u16; 2], steps: usize) {
    let [a, b, c, d, e, f, g, h] = sums;
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        asm!(
            "movi v16.8h, #0", "movi v17.8h, #0", "movi v18.8h, #0", "movi v19.8h, #0",
            "movi v20.8h, #0", "movi v21.8h, #0", "movi v22.8h, #0", "movi v23.8h, #0",
            "cbz {eights}, 3f",
            "2:",
            "ldr q4, [{x}], #16",
            "subs {eights}, {eights}, #1",
            step!("0", "16" "17" "18" "19"), step!("1", "20" "21" "22" "23"),
            step!("2", "16" "17" "18" "19"), step!("3", "20" "21" "22" "23"),
            step!("4", "16" "17" "18" "19"), step!("5", "20" "21" "22" "23"),
            step!("6", "16" "17" "18" "19"), step!("7", "20" "21" "22" "23"),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr h4, [{x}], #2",
            "subs {rest}, {rest}, #1",
            step!("0", "16" "17" "18" "19"),
            "b.ne 4b",
            "5:",
            widen!(["16" "20" "24" "25"] ["17" "21" "26" "27"] ["18" "22" "28" "29"] ["19" "23" "30" "31"]),
            x = inout(reg) x => _, p = inout(reg) p => _, q = inout(reg) q => _,
            eights = inout(reg) steps / 8 => _, rest = inout(reg) steps % 8 => _,
            inout("v24") *a, inout("v25") *b, inout("v26") *c, inout("v27") *d,
            inout("v28") *e, inout("v29") *f, inout("v30") *g, inout("v31") *h,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            options(readonly, nostack),
        );
    }
}
