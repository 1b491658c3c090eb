//! One row of the integer GEMM on Armv8.0-A NEON, read where it stands: 1 row x 16 channels.
//!
//! For each group of four panels, 16 steps of k at a time: the levels once, and of each panel four registers of weights; 16
//! accumulators + 4 weights + 4 products + levels. 56 instructions do 256 products, 48 of them `smull`, `smlal2` and `sadalp`.
//! For weights of 7 and of 6 bits, two steps and four have their products in one register: 93 and 167 instructions for 512 and
//! 1024. In assembly, as compilers put sums onto the stack and compute addresses.

use core::arch::aarch64::*;
use core::arch::asm;

use embdl_core::kernels::GemmQ8;

use super::super::super::output::{self, Sink};
use super::super::{PANEL, for_each_group, group, load_tail};

/// A row of the job times all panels; the caller has checked its slices. `PRODUCTS`, 1, 2, 4 or 8, fit 16 bits.
#[target_feature(enable = "neon")]
pub(super) fn gemm_q8<const PRODUCTS: usize>(job: &GemmQ8<'_>, row: usize, sink: &mut Sink<'_>) {
    let weights = job.weights;
    let lhs = &job.lhs[row * job.lhs_stride..][..weights.k];
    let tail = load_tail(lhs);
    for_each_group(weights.n, |column, panels| {
        let at = [row * job.out_stride, column];
        if panels == 4 {
            panels_q8::<PRODUCTS, 4>(job, lhs, tail, at, sink);
        } else {
            panels_q8::<PRODUCTS, 1>(job, lhs, tail, at, sink);
        }
    });
}

/// `NP` panels, four or one, times the row, of which the last `k % 16` levels are in `tail`.
#[target_feature(enable = "neon")]
#[inline]
fn panels_q8<const PRODUCTS: usize, const NP: usize>(
    job: &GemmQ8<'_>,
    lhs: &[u8],
    tail: uint8x16_t,
    [at, column]: [usize; 2],
    sink: &mut Sink<'_>,
) {
    let weights = job.weights;
    let len = weights.k.next_multiple_of(16) * PANEL;
    let panels = &weights.data[column / PANEL * len..][..NP * len];
    let panels: [_; NP] = core::array::from_fn(|j| panels[j * len..].as_ptr());
    // SAFETY: each panel has the steps of the row and one for the tail, if there is one.
    let mut sums = unsafe { products::<PRODUCTS, NP>(lhs, tail, panels) };
    for (j, sums) in sums.iter_mut().enumerate() {
        let of_rows = output::load_i32(&weights.row_sums[column + j * PANEL..]);
        let bias = output::load_i32(&weights.bias[column + j * PANEL..]);
        *sums = vaddq_s32(vaddq_s32(*sums, bias), vshlq_n_s32::<7>(of_rows));
    }
    let lanes = group(column, NP, weights.n).len();
    sink.store(at + column, lanes, &sums, &sink.multipliers::<NP>(column));
}

/// The products of a register of levels with the weights of a step: of the lower halves, then of the upper ones.
macro_rules! multiply {
    ($op:literal, $part:literal, $x:literal) => {
        concat!(
            $op,
            " v8.8h, v",
            $x,
            $part,
            ", v4",
            $part,
            "\n",
            $op,
            " v9.8h, v",
            $x,
            $part,
            ", v5",
            $part,
            "\n",
            $op,
            " v10.8h, v",
            $x,
            $part,
            ", v6",
            $part,
            "\n",
            $op,
            " v11.8h, v",
            $x,
            $part,
            ", v7",
            $part,
            "\n",
        )
    };
}

/// Adds products to the sums of a panel's four channels.
macro_rules! sum {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "sadalp v",
            $a,
            ".4s, v8.8h\n",
            "sadalp v",
            $b,
            ".4s, v9.8h\n",
            "sadalp v",
            $c,
            ".4s, v10.8h\n",
            "sadalp v",
            $d,
            ".4s, v11.8h\n",
        )
    };
}

macro_rules! weights {
    ($panel:literal) => {
        concat!("ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{", $panel, "}], #64\n")
    };
}

/// The levels in the register 0, as i8, times a step of each panel.
macro_rules! single {
    (paired, $([$panel:literal $($sums:literal)+])+) => {
        concat!($(
            weights!($panel),
            multiply!("smull", ".8b", "0"), multiply!("smlal2", ".16b", "0"), sum!($($sums)+),
        )+)
    };
    (apart, $([$panel:literal $($sums:literal)+])+) => {
        concat!($(
            weights!($panel),
            multiply!("smull", ".8b", "0"), sum!($($sums)+),
            multiply!("smull2", ".16b", "0"), sum!($($sums)+),
        )+)
    };
}

/// The levels in the register 0 and in more times as many steps of each panel.
macro_rules! group {
    ($more:tt, $([$panel:literal $($sums:literal)+])+) => {
        concat!($(group!(@ $more, $panel, $($sums)+),)+)
    };
    (@ [$($x:literal)+], $panel:literal, $($sums:literal)+) => {
        concat!(
            weights!($panel),
            multiply!("smull", ".8b", "0"), multiply!("smlal2", ".16b", "0"),
            $(weights!($panel), multiply!("smlal", ".8b", $x), multiply!("smlal2", ".16b", $x),)+
            sum!($($sums)+),
        )
    };
}

/// All steps of a row, groups of them first.
macro_rules! row {
    ($how:ident, [$($panels:tt)+], [$($groups:tt)*], $($operands:tt)*) => {
        asm!(
            "movi v12.16b, #128",
            $($groups)*
            "cbz {steps}, 3f",
            "2:",
            "ldr q0, [{x}], #16",
            "subs {steps}, {steps}, #1",
            "eor v0.16b, v0.16b, v12.16b",
            single!($how, $($panels)+),
            "b.ne 2b",
            "3:",
            "cbz {rest:w}, 4f",
            "eor v0.16b, v13.16b, v12.16b",
            single!($how, $($panels)+),
            "4:",
            $($operands)*
            out("v0") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _,
            options(readonly, nostack),
        )
    };
}

/// The loop over groups, from the registers after the first and the instruction that loads all.
macro_rules! groups {
    ($how:ident, $panels:tt, [$load:literal, $more:tt, $($flip:literal)+], $($operands:tt)*) => {
        groups!(@ $how, $panels, $panels, [$load, $more, $($flip)+], $($operands)*)
    };
    (@ $how:ident, [$($panels:tt)+], $all:tt, [$load:literal, $more:tt, $($flip:literal)+], $($operands:tt)*) => {
        row!($how, $all, [
            "cbz {groups}, 6f",
            "5:",
            $load,
            "subs {groups}, {groups}, #1",
            $(concat!("eor v", $flip, ".16b, v", $flip, ".16b, v12.16b"),)+
            group!($more, $($panels)+),
            "b.ne 5b",
            "6:",
        ], $($operands)*)
    };
}

/// `(lhs - 128) · panels` of each channel.
///
/// # Safety
/// Each panel has 64 bytes for each 16 of `lhs`, and for those left over.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn products<const PRODUCTS: usize, const NP: usize>(
    lhs: &[u8],
    tail: uint8x16_t,
    panels: [*const i8; NP],
) -> [int32x4_t; NP] {
    let together = (PRODUCTS / 2).max(1);
    let steps = lhs.len() / 16;
    let (groups, steps) =
        if together > 1 { (steps / together, steps % together) } else { (0, steps) };
    let rest = u32::from(!lhs.len().is_multiple_of(16));
    let mut sums = [[vdupq_n_s32(0); PANEL]; NP];
    macro_rules! run {
        ($panels:tt, [$($named:tt)+], $($sums:tt)+) => {
            match PRODUCTS {
                1 => run!(@ row, apart, $panels, [], [$($named)+], [$($sums)+]),
                2 => run!(@ row, paired, $panels, [], [$($named)+], [$($sums)+]),
                4 => run!(@ groups, paired, $panels,
                    ["ld1 {{v0.16b, v1.16b}}, [{x}], #32", ["1"], "0" "1"],
                    [$($named)+ groups = inout(reg) groups => _,], [$($sums)+ out("v1") _,]),
                _ => run!(@ groups, paired, $panels,
                    ["ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{x}], #64", ["1" "2" "3"], "0" "1" "2" "3"],
                    [$($named)+ groups = inout(reg) groups => _,],
                    [$($sums)+ out("v1") _, out("v2") _, out("v3") _,]),
            }
        };
        (@ $loop:ident, $how:ident, $panels:tt, $first:tt, [$($named:tt)+], [$($sums:tt)+]) => {
            $loop!($how, $panels, $first,
                $($named)+
                x = inout(reg) lhs.as_ptr() => _, steps = inout(reg) steps => _, rest = in(reg) rest,
                in("v13") tail,
                $($sums)+
            )
        };
    }
    // SAFETY: reads the row and what the caller vouches for, and changes the named registers only.
    unsafe {
        match (panels.as_slice(), sums.as_mut_slice()) {
            (&[p, q, r, s], [a, b, c, d]) => run!(
                [["p" "16" "17" "18" "19"] ["q" "20" "21" "22" "23"]
                ["r" "24" "25" "26" "27"] ["s" "28" "29" "30" "31"]],
                [p = inout(reg) p => _, q = inout(reg) q => _, r = inout(reg) r => _, s = inout(reg) s => _,],
                inout("v16") a[0], inout("v17") a[1], inout("v18") a[2], inout("v19") a[3],
                inout("v20") b[0], inout("v21") b[1], inout("v22") b[2], inout("v23") b[3],
                inout("v24") c[0], inout("v25") c[1], inout("v26") c[2], inout("v27") c[3],
                inout("v28") d[0], inout("v29") d[1], inout("v30") d[2], inout("v31") d[3],
            ),
            (&[p], [a]) => run!(
                [["p" "16" "17" "18" "19"]],
                [p = inout(reg) p => _,],
                inout("v16") a[0], inout("v17") a[1], inout("v18") a[2], inout("v19") a[3],
            ),
            _ => unreachable!("four panels or one"),
        }
    }
    let mut all = [vdupq_n_s32(0); NP];
    for (all, [a, b, c, d]) in all.iter_mut().zip(sums) {
        *all = super::add_pairs(super::add_pairs(a, b), super::add_pairs(c, d));
    }
    all
}
