//! The inner loop of the largest float tiles: four steps of k at a time.

use core::arch::aarch64::*;
use core::arch::asm;

/// The products of a row with a step's weights: `fmla` of four sums by the lane of a register.
macro_rules! row {
    ($sums:literal, $x:literal, $lane:literal) => {
        row!(@ $sums, $x, $lane, "0" "1" "2" "3")
    };
    (@ $sums:literal, $x:literal, $lane:literal, $($v:literal)+) => {
        concat!($("fmla {", $sums, $v, ":v}.4s, v", $v, ".4s, ", $x, ".s[", $lane, "]\n",)+)
    };
}

/// Two steps of k: five rows that the largest tiles have in common, and the sixth.
macro_rules! pair {
    ($high:literal, $($sixth:literal)?) => {
        concat!(
            "ldp q4, q5, [{low}], #32\n",
            "ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{weights}], #64\n",
            row!("a", "v4", "0"), row!("b", "v4", "1"), row!("c", "v4", "2"), row!("d", "v4", "3"),
            row!("e", $high, "0"), $(row!($sixth, $high, "1"),)?
            "ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{weights}], #64\n",
            row!("a", "v5", "0"), row!("b", "v5", "1"), row!("c", "v5", "2"), row!("d", "v5", "3"),
            row!("e", $high, "2"), $(row!($sixth, $high, "3"),)?
        )
    };
}

/// Four steps of k at a time.
macro_rules! quads {
    ([$($sixth:literal)?], $($operands:tt)*) => {
        asm!(
            "2:",
            "ldp q6, q7, [{high}], #32",
            pair!("v6", $($sixth)?),
            "subs {quads}, {quads}, #1",
            pair!("v7", $($sixth)?),
            "b.ne 2b",
            $($operands)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            options(readonly, nostack),
        )
    };
}

/// Four times `quads` steps of k of a tile of five or six rows and four vectors. In assembly, because compilers load the
/// weights of several steps at once, for which there are no registers. Inlined always, as the sums go through memory
/// otherwise: 96 instructions a tile.
///
/// # Safety
/// At least one; 16 floats each at `low`, eight at `high`, and four times `NR` at `weights`.
#[inline(always)]
pub(super) unsafe fn multiply_quads(
    sums: &mut [float32x4_t],
    low: *const f32,
    high: *const f32,
    weights: *const f32,
    quads: usize,
) {
    macro_rules! run {
        ([$($sixth:literal)?] $($name:ident = $sum:expr,)+) => {
            quads!([$($sixth)?],
                low = inout(reg) low => _, high = inout(reg) high => _,
                weights = inout(reg) weights => _, quads = inout(reg) quads => _,
                $($name = inlateout(vreg) $sum,)+
            )
        };
    }
    let (rows, rest) = sums.as_chunks_mut::<4>();
    assert!(rest.is_empty());
    // SAFETY: reads what the caller vouches for, and changes the named registers only.
    unsafe {
        match rows {
            [a, b, c, d, e] => run!([]
                a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3],
                c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3],
                e0 = e[0], e1 = e[1], e2 = e[2], e3 = e[3],
            ),
            [a, b, c, d, e, f] => run!(["f"]
                a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3],
                c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3],
                e0 = e[0], e1 = e[1], e2 = e[2], e3 = e[3], f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3],
            ),
            _ => unreachable!("five or six rows of four vectors"),
        }
    }
}
