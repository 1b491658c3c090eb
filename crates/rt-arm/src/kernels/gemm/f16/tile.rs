//! A tile of products in halves: up to six rows x 16 channels, from zero to the stores of floats.
//!
//! Sums of row `i` are in the registers 16 + 2 i and 17 + 2 i, weights of a step in 0 and 1 or 2 and 3, four steps of rows in
//! 4 to 6. `fmla` by a half takes it from one of the registers 0 to 15.

use core::arch::asm;

/// What a tile multiplies, and what becomes of it.
pub(super) struct Operands {
    /// `[steps][4 rows]`.
    pub(super) low: *const u16,
    /// `[steps][2 rows]`; not read for tiles of four rows and fewer.
    pub(super) high: *const u16,
    /// `[steps][16]`.
    pub(super) weights: *const u16,
    pub(super) steps: usize,
    /// Of 16 channels.
    pub(super) bias: *const f32,
    /// Bounds of the results; infinite ones bound nothing.
    pub(super) clamp: (f32, f32),
}

/// Adds the products of a step's weights with an element to the sums of a row.
macro_rules! row {
    ([$a:literal $b:literal], $v:literal $w:literal, $x:literal, $lane:literal) => {
        concat!(
            "fmla v", $a, ".8h, v", $v, ".8h, v", $x, ".h[", $lane, "]\n", "fmla v", $b, ".8h, v",
            $w, ".8h, v", $x, ".h[", $lane, "]\n",
        )
    };
}

/// A step of k: registers of weights; the register of the first four rows and their lanes; that of the others and theirs.
macro_rules! step {
    (
        $v:literal $w:literal, $low:literal $l:tt, $high:tt,
        $a:tt $b:tt $($c:tt $d:tt $($e:tt $f:tt)?)?
    ) => {
        concat!(
            "ldp q", $v, ", q", $w, ", [{weights}], #32\n",
            step!(@ $v $w, $low $l, $high, $a $b $($c $d $($e $f)?)?)
        )
    };
    (@ $v:literal $w:literal, $low:literal [$i:literal $j:literal $k:literal $l:literal], $high:tt, $a:tt $b:tt) => {
        concat!(row!($a, $v $w, $low, $i), row!($b, $v $w, $low, $j))
    };
    (
        @ $v:literal $w:literal, $low:literal [$i:literal $j:literal $k:literal $l:literal], $high:tt,
        $a:tt $b:tt $c:tt $d:tt
    ) => {
        concat!(
            row!($a, $v $w, $low, $i), row!($b, $v $w, $low, $j),
            row!($c, $v $w, $low, $k), row!($d, $v $w, $low, $l),
        )
    };
    (
        @ $v:literal $w:literal, $low:literal [$i:literal $j:literal $k:literal $l:literal],
        [$high:literal $m:literal $n:literal], $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt
    ) => {
        concat!(
            row!($a, $v $w, $low, $i), row!($b, $v $w, $low, $j),
            row!($c, $v $w, $low, $k), row!($d, $v $w, $low, $l),
            row!($e, $v $w, $high, $m), row!($f, $v $w, $high, $n),
        )
    };
}

/// Widens a row's sums, adds them to what it starts with, and writes it.
macro_rules! finish {
    ($([$a:literal $b:literal])+) => {
        concat!($(
            "ld1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{start}], {start_stride}\n",
            "fcvtl v0.4s, v", $a, ".4h\n",
            "fcvtl2 v1.4s, v", $a, ".8h\n",
            "fcvtl v2.4s, v", $b, ".4h\n",
            "fcvtl2 v3.4s, v", $b, ".8h\n",
            "fadd v8.4s, v8.4s, v0.4s\n",
            "fadd v9.4s, v9.4s, v1.4s\n",
            "fadd v10.4s, v10.4s, v2.4s\n",
            "fadd v11.4s, v11.4s, v3.4s\n",
            "fmax v8.4s, v8.4s, v12.4s\n",
            "fmax v9.4s, v9.4s, v12.4s\n",
            "fmax v10.4s, v10.4s, v12.4s\n",
            "fmax v11.4s, v11.4s, v12.4s\n",
            "fmin v8.4s, v8.4s, v13.4s\n",
            "fmin v9.4s, v9.4s, v13.4s\n",
            "fmin v10.4s, v10.4s, v13.4s\n",
            "fmin v11.4s, v11.4s, v13.4s\n",
            "st1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{to}], {stride}\n",
        )+)
    };
}

/// `movi` for the sums of rows.
macro_rules! zero {
    ($([$a:literal $b:literal])+) => {
        concat!($("movi v", $a, ".8h, #0\nmovi v", $b, ".8h, #0\n",)+)
    };
}

/// The whole tile of some rows: what loads the last rows' four steps, and one.
macro_rules! tile {
    ($operands:expr, $start:expr, $to:expr, $four:literal $one:literal, $($rows:tt)+) => {{
        let operands: &Operands = $operands;
        let (low, high) = operands.clamp;
        asm!(
            zero!($($rows)+),
            "cbz {quads}, 3f",
            "2:",
            "ldp q4, q5, [{low}], #32",
            $four,
            step!("0" "1", "4" ["0" "1" "2" "3"], ["6" "0" "1"], $($rows)+),
            "subs {quads}, {quads}, #1",
            step!("2" "3", "4" ["4" "5" "6" "7"], ["6" "2" "3"], $($rows)+),
            step!("0" "1", "5" ["0" "1" "2" "3"], ["6" "4" "5"], $($rows)+),
            step!("2" "3", "5" ["4" "5" "6" "7"], ["6" "6" "7"], $($rows)+),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr d4, [{low}], #8",
            $one,
            "subs {rest}, {rest}, #1",
            step!("0" "1", "4" ["0" "1" "2" "3"], ["6" "0" "1"], $($rows)+),
            "b.ne 4b",
            "5:",
            "dup v12.4s, {least:w}",
            "dup v13.4s, {most:w}",
            finish!($($rows)+),
            low = inout(reg) operands.low => _, high = inout(reg) operands.high => _,
            weights = inout(reg) operands.weights => _,
            quads = inout(reg) operands.steps / 4 => _, rest = inout(reg) operands.steps % 4 => _,
            start = inout(reg) $start.0 => _, start_stride = in(reg) 4 * $start.1,
            to = inout(reg) $to.0 => _, stride = in(reg) 4 * $to.1,
            least = in(reg) low.to_bits(), most = in(reg) high.to_bits(),
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            options(nostack),
        )
    }};
}

/// A tile of `M` rows, two, four or six. `start` is what the first row's sums are added to, and elements to that of the next
/// row: none where all are added to the bias. `to` is where the first row's results go, and elements to the next.
///
/// # Safety
/// `steps` steps at `low`, `high` and `weights`, and `M` rows of 16 floats at `start` and `to`.
#[target_feature(enable = "neon,fp16")]
#[inline]
pub(super) unsafe fn tile<const M: usize>(
    operands: &Operands,
    start: (*const f32, usize),
    to: (*mut f32, usize),
) {
    const { assert!(M == 2 || M == 4 || M == 6) };
    // SAFETY: reads and writes what the caller vouches for, and changes the named registers only.
    unsafe {
        match M {
            6 => tile!(
                operands, start, to, "ldr q6, [{high}], #16" "ldr s6, [{high}], #4",
                ["16" "17"] ["18" "19"] ["20" "21"] ["22" "23"] ["24" "25"] ["26" "27"]
            ),
            4 => tile!(
                operands, start, to, "/* {high} */" "",
                ["16" "17"] ["18" "19"] ["20" "21"] ["22" "23"]
            ),
            _ => tile!(operands, start, to, "/* {high} */" "", ["16" "17"] ["18" "19"]),
        }
    }
}
