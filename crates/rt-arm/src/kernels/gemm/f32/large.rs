//! The largest float tiles: five or six rows of up to four vectors of channels, from their first sums to the stores.
//!
//! In assembly, as compilers load the weights of several steps at once, for which there are no registers, and move sums about
//! beside the loop, where layers of few channels spend as much as in it. Sums of row `i` are in the registers from `8 + 4 * i`
//! on, weights of a step in 0 to 3, rows in 4 to 7.

use core::arch::asm;

/// Where a tile's operands and results are.
pub(super) struct Operands {
    /// `[steps][4 rows]`.
    pub(super) low: *const f32,
    /// `[steps][2 rows]`.
    pub(super) high: *const f32,
    /// `[steps][NR]`.
    pub(super) weights: *const f32,
    pub(super) steps: usize,
    /// What the first row's sums start with, and elements to that of the next: none where all start with the bias.
    pub(super) start: *const f32,
    pub(super) start_stride: usize,
    /// The first row's results, and elements to the next.
    pub(super) to: *mut f32,
    pub(super) stride: usize,
    /// Bounds of the results; infinite ones bound nothing.
    pub(super) clamp: (f32, f32),
}

/// `v8.4s, v9.4s`.
macro_rules! list {
    ([$one:literal]) => { concat!("v", $one, ".4s") };
    ([$one:literal $($more:literal)+]) => { concat!("v", $one, ".4s, ", list!([$($more)+])) };
}

/// Adds the products of a step's weights with an element to the sums of a row.
macro_rules! row {
    ([$($sum:literal)+], [$($w:literal)+], $x:literal, $lane:literal) => {
        concat!($("fmla v", $sum, ".4s, v", $w, ".4s, v", $x, ".s[", $lane, "]\n",)+)
    };
}

/// A step of k.
macro_rules! step {
    (
        [$load:literal, $w:tt], $low:literal, $high:literal $fourth:literal $fifth:literal,
        $a:tt $b:tt $c:tt $d:tt $e:tt $($f:tt)?
    ) => {
        concat!(
            $load,
            row!($a, $w, $low, "0"), row!($b, $w, $low, "1"),
            row!($c, $w, $low, "2"), row!($d, $w, $low, "3"),
            row!($e, $w, $high, $fourth), $(row!($f, $w, $high, $fifth),)?
        )
    };
}

/// An instruction with the register 0 for all sums of a row.
macro_rules! bound {
    ($op:literal, $([$($sum:literal)+])+) => {
        concat!($($($op, " v", $sum, ".4s, v", $sum, ".4s, v0.4s\n",)+)+)
    };
}

/// The whole tile of some rows; `$weights` is the instruction that loads a step's, and their registers.
macro_rules! tile {
    ($operands:expr, $weights:tt, $($rows:tt)+) => {
        tile!(@ $operands, $weights, [$($rows)+], $($rows)+)
    };
    (@ $operands:expr, $weights:tt, [$($all:tt)+], $($row:tt)+) => {{
        let operands: &Operands = $operands;
        let (low, high) = operands.clamp;
        asm!(
            $(concat!("ld1 {{", list!($row), "}}, [{start}], {start_stride}"),)+
            "cbz {quads}, 3f",
            "2:",
            "ldp q6, q7, [{high}], #32",
            "ldp q4, q5, [{low}], #32",
            step!($weights, "4", "6" "0" "1", $($all)+),
            "subs {quads}, {quads}, #1",
            step!($weights, "5", "6" "2" "3", $($all)+),
            "ldp q4, q5, [{low}], #32",
            step!($weights, "4", "7" "0" "1", $($all)+),
            step!($weights, "5", "7" "2" "3", $($all)+),
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr d6, [{high}], #8",
            "ldr q4, [{low}], #16",
            "subs {rest}, {rest}, #1",
            step!($weights, "4", "6" "0" "1", $($all)+),
            "b.ne 4b",
            "5:",
            "cbz {has_least:w}, 6f",
            "dup v0.4s, {least:w}",
            bound!("fmax", $($all)+),
            "6:",
            "cbz {has_most:w}, 7f",
            "dup v0.4s, {most:w}",
            bound!("fmin", $($all)+),
            "7:",
            $(concat!("st1 {{", list!($row), "}}, [{to}], {stride}"),)+
            low = inout(reg) operands.low => _, high = inout(reg) operands.high => _,
            weights = inout(reg) operands.weights => _,
            quads = inout(reg) operands.steps / 4 => _, rest = inout(reg) operands.steps % 4 => _,
            start = inout(reg) operands.start => _, start_stride = in(reg) 4 * operands.start_stride,
            to = inout(reg) operands.to => _, stride = in(reg) 4 * operands.stride,
            has_least = in(reg) u32::from(low > f32::NEG_INFINITY), least = in(reg) low.to_bits(),
            has_most = in(reg) u32::from(high < f32::INFINITY), most = in(reg) high.to_bits(),
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        )
    }};
}

/// A tile of `M` rows, five or six, and `V` vectors of channels.
///
/// # Safety
/// `steps` steps at `low`, `high` and `weights`, and `M` rows of `V` vectors at `start` and `to`.
#[target_feature(enable = "neon")]
#[inline]
pub(super) unsafe fn tile<const M: usize, const V: usize>(operands: &Operands) {
    assert!((M == 5 || M == 6) && V > 0 && V <= 4, "no large tile of {M} rows and {V} vectors");
    // SAFETY: reads and writes what the caller vouches for, and changes the named registers only.
    unsafe {
        match (M, V) {
            (6, 4) => tile!(
                operands,
                ["ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{weights}], #64\n", ["0" "1" "2" "3"]],
                ["8" "9" "10" "11"] ["12" "13" "14" "15"] ["16" "17" "18" "19"]
                ["20" "21" "22" "23"] ["24" "25" "26" "27"] ["28" "29" "30" "31"]
            ),
            (5, 4) => tile!(
                operands,
                ["ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{weights}], #64\n", ["0" "1" "2" "3"]],
                ["8" "9" "10" "11"] ["12" "13" "14" "15"] ["16" "17" "18" "19"]
                ["20" "21" "22" "23"] ["24" "25" "26" "27"]
            ),
            (6, 3) => tile!(
                operands,
                ["ldr q2, [{weights}, #32]\nldp q0, q1, [{weights}], #64\n", ["0" "1" "2"]],
                ["8" "9" "10"] ["12" "13" "14"] ["16" "17" "18"] ["20" "21" "22"]
                ["24" "25" "26"] ["28" "29" "30"]
            ),
            (5, 3) => tile!(
                operands,
                ["ldr q2, [{weights}, #32]\nldp q0, q1, [{weights}], #64\n", ["0" "1" "2"]],
                ["8" "9" "10"] ["12" "13" "14"] ["16" "17" "18"] ["20" "21" "22"] ["24" "25" "26"]
            ),
            (6, 2) => tile!(
                operands,
                ["ldp q0, q1, [{weights}], #64\n", ["0" "1"]],
                ["8" "9"] ["12" "13"] ["16" "17"] ["20" "21"] ["24" "25"] ["28" "29"]
            ),
            (5, 2) => tile!(
                operands,
                ["ldp q0, q1, [{weights}], #64\n", ["0" "1"]],
                ["8" "9"] ["12" "13"] ["16" "17"] ["20" "21"] ["24" "25"]
            ),
            (6, 1) => tile!(
                operands,
                ["ldr q0, [{weights}], #64\n", ["0"]],
                ["8"]["12"]["16"]["20"]["24"]["28"]
            ),
            _ => tile!(
                operands,
                ["ldr q0, [{weights}], #64\n", ["0"]],
                ["8"]["12"]["16"]["20"]["24"]
            ),
        }
    }
}
