//! f32 GEMM on Armv8.0-A NEON.
//!
//! ```text
//! for each block of rows:
//!     lhs = the rows in tiles of up to 6, k by k: [k][4 rows], [k][2 rows]        once, for all panels
//!     for each panel of 16 channels, for each tile:                               the panel stays in L1
//!         tile[6][16] = bias; for p in 0..k: tile += lhs[p] (6) * panel[p] (16)
//!         out = clamp(tile)
//! ```
//!
//! A step of k takes 24 `fmla` by lane: 24 accumulators + 4 weights + 2 + 2 rows of four steps are the 32 registers, and 105
//! instructions do four steps. A tile of 8 rows x 12 channels takes as many, but channels are multiples of 16 far more often,
//! and tiles that read the rows where they stand need a register for each row, of which there are fewer.
//! Putting rows together costs 10 instructions for 32 elements, by `st4`: 1/n of the products' instructions and little more.
//! Rows that fill no whole number of tiles are shared out evenly. One row alone is read where it stands.

use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::MaybeUninit;

use embdl_core::kernels::gemm::Runs;
use embdl_core::kernels::{GemmF32, Tile};

use super::super::output::store_f32;
use super::check;

/// Rows of a tile.
pub(in super::super) const MR: usize = 6;
/// Channels of a vector.
const LANES: usize = 4;
/// Channels of a panel.
const NR: usize = 16;
/// Layout of weights.
pub(in super::super) const TILE: Tile = Tile { nr: NR, kr: 1 };

/// Floats that a block of rows may take: half of a small second-level cache has room for as much again of results.
const BLOCK: usize = 16 * 1024;
/// Steps of k that a block holds of each row; longer rows are summed up in `out`.
const MAX_K: usize = BLOCK / MR / 2;

/// GEMM.
///
/// # Panics
/// As [`gemm_runs`].
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm(job: &GemmF32<'_>, out: &mut [f32]) {
    gemm_runs(job, Runs::whole(job.weights.k), out);
}

/// GEMM with rows that are `runs`.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
#[target_feature(enable = "neon")]
pub(in super::super) fn gemm_runs(job: &GemmF32<'_>, runs: Runs, out: &mut [f32]) {
    let weights = job.weights;
    let k = runs.count * runs.len;
    assert!(weights.tile == TILE, "weights are packed as {:?}", weights.tile);
    assert!(weights.k == k, "weights of {} elements for {runs:?}", weights.k);
    assert!(
        weights.data.len() == weights.n.div_ceil(NR) * NR * k,
        "{} weights",
        weights.data.len()
    );
    assert!(weights.bias.len() == weights.n.div_ceil(NR) * NR, "{} biases", weights.bias.len());
    check(
        job.m,
        runs.span(),
        weights.n,
        (job.lhs.len(), job.lhs_stride),
        (out.len(), job.out_stride),
    );
    if job.m == 1 && runs.count == 1 {
        return vector(job, out);
    }
    let mut block = [const { MaybeUninit::<f32>::uninit() }; BLOCK];
    let steps = k.clamp(1, MAX_K);
    let rows = BLOCK / (MR * steps) * MR;
    let mut first = 0;
    while first < job.m {
        let rows = rows.min(job.m - first);
        let mut from = 0;
        loop {
            let steps = steps.min(k - from);
            pack(job, runs, [first, rows], [from, steps], &mut block);
            let piece = Piece { rows: [first, rows], from, steps, is_last: from + steps == k };
            panels(job, &piece, &block, out);
            from += steps;
            if from >= k {
                break;
            }
        }
        first += rows;
    }
}

/// A part of a job: some rows, some steps of k.
struct Piece {
    /// First row, and how many.
    rows: [usize; 2],
    /// First step of k; sums start from the bias at the first.
    from: usize,
    /// Steps.
    steps: usize,
    /// Whether the sums are complete, and clamped.
    is_last: bool,
}

/// Cuts `rows` into the fewest tiles of at most [`MR`] rows, as even as possible: how many, and how many rows they have; the
/// first ones have one more.
const fn even(rows: usize) -> [usize; 3] {
    let tiles = rows.div_ceil(MR);
    [tiles, rows / tiles, rows % tiles]
}

/// Puts rows together in tiles: for each tile `[steps][4 rows]`, and `[steps][2 rows]` where it has more than four. Rows that a
/// tile lacks are copies of its last one.
#[target_feature(enable = "neon")]
fn pack(
    job: &GemmF32<'_>,
    runs: Runs,
    [first, rows]: [usize; 2],
    [from, steps]: [usize; 2],
    block: &mut [MaybeUninit<f32>; BLOCK],
) {
    let [tiles, each, more] = even(rows);
    assert!(tiles * MR * steps <= BLOCK);
    if steps == 0 {
        return;
    }
    let mut row = 0;
    for (tile, block) in block.chunks_exact_mut(MR * steps).take(tiles).enumerate() {
        let end = row + each + usize::from(tile < more);
        let row_at = |at: usize| (first + (row + at).min(end - 1)) * job.lhs_stride;
        let start = |at: usize| job.lhs.as_ptr().wrapping_add(row_at(at));
        let (low, high) = block.split_at_mut(LANES * steps);
        pack_rows([start(0), start(1), start(2), start(3)], runs, [from, steps], low);
        if end - row > LANES {
            pack_rows([start(4), start(5)], runs, [from, steps], high);
        }
        row = end;
    }
}

/// `to[p][i] = rows[i][from + p]` for `steps` steps of rows that are `runs`, which the job's slice holds.
#[target_feature(enable = "neon")]
#[inline]
fn pack_rows<const N: usize>(
    rows: [*const f32; N],
    runs: Runs,
    [from, steps]: [usize; 2],
    to: &mut [MaybeUninit<f32>],
) {
    assert!(to.len() == N * steps);
    // The run that the first step is in, and where.
    let start = (from / runs.len, from % runs.len);
    let mut rows = rows.map(|row| row.wrapping_add(start.0 * runs.step + start.1));
    let mut to = to.as_mut_ptr().cast::<f32>();
    let (mut len, mut left) = ((runs.len - start.1).min(steps), steps);
    loop {
        // SAFETY: `gemm_runs` checked that `lhs` holds the span of each row; `len` elements are left of the run, and of the
        // steps, for which `to` has room.
        unsafe { interleave(rows, len, to) };
        left -= len;
        if left == 0 {
            break;
        }
        // From the end of what was done to the next run.
        let skip = if left + len == steps { runs.step - start.1 } else { runs.step };
        rows = rows.map(|row| row.wrapping_add(skip));
        to = to.wrapping_add(N * len);
        len = runs.len.min(left);
    }
}

/// `to[p][i] = rows[i][p]`, for four rows or two.
///
/// # Safety
/// `len` elements of each row, and room for those of all.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn interleave<const N: usize>(rows: [*const f32; N], len: usize, to: *mut f32) {
    if len < 4 {
        for p in 0..len {
            for (i, row) in rows.iter().enumerate() {
                // SAFETY: p < len.
                unsafe { *to.add(N * p + i) = *row.add(p) };
            }
        }
        return;
    }
    let four = |p: usize| {
        // SAFETY: called for p + 4 <= len.
        unsafe {
            let x = |i: usize| vld1q_f32(rows[i].add(p));
            if N == 4 {
                vst4q_f32(to.add(N * p), float32x4x4_t(x(0), x(1), x(2), x(3)));
            } else {
                vst2q_f32(to.add(N * p), float32x4x2_t(x(0), x(1)));
            }
        }
    };
    let last = len - 4;
    let mut p = 0;
    while p < last {
        four(p);
        p += 4;
    }
    // The last four elements are done again with those before them.
    four(last);
}

/// All panels for the rows of a block.
#[target_feature(enable = "neon")]
fn panels(job: &GemmF32<'_>, piece: &Piece, block: &[MaybeUninit<f32>; BLOCK], out: &mut [f32]) {
    let (n, k) = (job.weights.n, job.weights.k);
    let [first, rows] = piece.rows;
    let [tiles, each, more] = even(rows);
    assert!(tiles * MR * piece.steps <= BLOCK);
    for column in (0..n).step_by(NR) {
        let count = NR.min(n - column);
        let mut place = TilePlace {
            lhs: block.as_ptr().cast(),
            weights: job.weights.data[column * k + piece.from * NR..].as_ptr(),
            bias: job.weights.bias[column..].as_ptr(),
            out: out[first * job.out_stride + column..].as_mut_ptr(),
            count,
        };
        for tile in 0..tiles {
            let rows = each + usize::from(tile < more);
            macro_rules! tiles {
                ($($m:literal)+) => {
                    // SAFETY: `gemm_runs` checked weights, biases and results, and `pack` wrote the tile's rows.
                    unsafe {
                        match (rows, count.div_ceil(LANES)) {
                            $(($m, 1) => one_tile::<$m, 1>(job, piece, &place),
                            ($m, 2) => one_tile::<$m, 2>(job, piece, &place),
                            ($m, 3) => one_tile::<$m, 3>(job, piece, &place),
                            ($m, _) => one_tile::<$m, 4>(job, piece, &place),)+
                            _ => unreachable!("tiles of 1 to {MR} rows"),
                        }
                    }
                };
            }
            tiles!(6 5 4 3 2 1);
            place.lhs = place.lhs.wrapping_add(MR * piece.steps);
            place.out = place.out.wrapping_add(rows * job.out_stride);
        }
    }
}

/// Where a tile's operands and results start.
struct TilePlace {
    lhs: *const f32,
    weights: *const f32,
    bias: *const f32,
    out: *mut f32,
    /// Channels that are there.
    count: usize,
}

/// A tile of `M` rows and `V` vectors of channels.
///
/// # Safety
/// `piece.steps` steps of both parts at `lhs` (of the first where `M` is at most 4) and of the panel at `weights`, a panel of
/// biases, and `M` rows of `count` results, where `count` is in `4 * V - 3 ..= 4 * V`.
#[target_feature(enable = "neon")]
unsafe fn one_tile<const M: usize, const V: usize>(
    job: &GemmF32<'_>,
    piece: &Piece,
    at: &TilePlace,
) {
    let mut sums = [[vdupq_n_f32(0.0); V]; M];
    // Rows of results with fewer channels than vectors have go by here.
    let mut part = [const { MaybeUninit::<[f32; NR]>::uninit() }; M];
    let parts = part.as_mut_ptr().cast::<f32>();
    let is_whole = at.count == LANES * V;
    let (to, stride) = if is_whole { (at.out, job.out_stride) } else { (parts, NR) };
    if piece.from == 0 {
        for v in 0..V {
            // SAFETY: a panel of biases has at least V vectors.
            let bias = unsafe { vld1q_f32(at.bias.add(LANES * v)) };
            for sums in &mut sums {
                sums[v] = bias;
            }
        }
    } else {
        if !is_whole {
            for i in 0..M {
                // SAFETY: row i of the results has `count` elements, at most NR. The others are read, but not used.
                unsafe {
                    parts.add(i * NR).write_bytes(0, NR);
                    let row = at.out.add(i * job.out_stride);
                    core::ptr::copy_nonoverlapping(row, parts.add(i * NR), at.count);
                }
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: row i of the results, or of `part`, has V vectors.
                *sum = unsafe { vld1q_f32(to.add(i * stride + LANES * v)) };
            }
        }
    }
    let (mut low, mut weights) = (at.lhs, at.weights);
    let mut high = low.wrapping_add(LANES * piece.steps);
    let mut steps = piece.steps;
    if V == 4 && M >= 5 && steps >= 4 {
        // SAFETY: four times `steps / 4` of the steps that are there, at each of the pointers.
        unsafe { multiply_quads(sums.as_flattened_mut(), low, high, weights, steps / 4) };
        let done = steps / 4 * 4;
        low = low.wrapping_add(LANES * done);
        high = high.wrapping_add(2 * done);
        weights = weights.wrapping_add(NR * done);
        steps %= 4;
    }
    for _ in 0..steps / 2 {
        // SAFETY: two of the steps that are left, at each of the pointers.
        unsafe {
            let x = [vld1q_f32(low), vld1q_f32(low.add(4))];
            let pairs = if M > LANES { vld1q_f32(high) } else { x[0] };
            multiply(&mut sums, [x[0], pairs], weights);
            multiply(&mut sums, [x[1], vextq_f32::<2>(pairs, pairs)], weights.add(NR));
        }
        low = low.wrapping_add(2 * LANES);
        high = high.wrapping_add(4);
        weights = weights.wrapping_add(2 * NR);
    }
    if !steps.is_multiple_of(2) {
        // SAFETY: the last step.
        unsafe {
            let x = vld1q_f32(low);
            let pair = if M > LANES { vld1_f32(high) } else { vdup_n_f32(0.0) };
            multiply(&mut sums, [x, vcombine_f32(pair, pair)], weights);
        }
    }
    if piece.is_last {
        clamp(&mut sums, job.clamp);
    }
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: row i of the results, or of `part`, has V vectors.
            unsafe { vst1q_f32(to.add(i * stride + LANES * v), sum) };
        }
    }
    if !is_whole {
        for i in 0..M {
            // SAFETY: row i of the results has `count` elements, at most NR.
            unsafe {
                let row = at.out.add(i * job.out_stride);
                core::ptr::copy_nonoverlapping(parts.add(i * NR), row, at.count);
            }
        }
    }
}

/// Adds one step of k to a tile: `x` holds its rows.
///
/// # Safety
/// `V` vectors at `weights`.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn multiply<const M: usize, const V: usize>(
    sums: &mut [[float32x4_t; V]; M],
    x: [float32x4_t; 2],
    weights: *const f32,
) {
    let mut w = [vdupq_n_f32(0.0); V];
    for (v, w) in w.iter_mut().enumerate() {
        // SAFETY: by the contract.
        *w = unsafe { vld1q_f32(weights.add(LANES * v)) };
    }
    for (i, sums) in sums.iter_mut().enumerate() {
        for (sum, &w) in sums.iter_mut().zip(&w) {
            *sum = fma_lane(*sum, w, x[i / LANES], i % LANES);
        }
    }
}

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
unsafe fn multiply_quads(
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

/// `sum + w * x[lane]`.
#[target_feature(enable = "neon")]
#[inline]
fn fma_lane(sum: float32x4_t, w: float32x4_t, x: float32x4_t, lane: usize) -> float32x4_t {
    match lane {
        0 => vfmaq_laneq_f32::<0>(sum, w, x),
        1 => vfmaq_laneq_f32::<1>(sum, w, x),
        2 => vfmaq_laneq_f32::<2>(sum, w, x),
        _ => vfmaq_laneq_f32::<3>(sum, w, x),
    }
}

/// Clamps what needs it: most layers have no upper bound, and many no lower one. NaN stays NaN.
#[target_feature(enable = "neon")]
#[inline]
fn clamp<const M: usize, const V: usize>(
    sums: &mut [[float32x4_t; V]; M],
    (low, high): (f32, f32),
) {
    if low > f32::NEG_INFINITY {
        let low = vdupq_n_f32(low);
        for sums in &mut *sums {
            for sum in sums {
                *sum = vmaxq_f32(*sum, low);
            }
        }
    }
    if high < f32::INFINITY {
        let high = vdupq_n_f32(high);
        for sums in sums {
            for sum in sums {
                *sum = vminq_f32(*sum, high);
            }
        }
    }
}

/// The only row of a job.
#[target_feature(enable = "neon")]
fn vector(job: &GemmF32<'_>, out: &mut [f32]) {
    let n = job.weights.n;
    let mut column = 0;
    while column < n {
        column += NR
            * if n - column > NR {
                vector_panels::<2, 8>(job, column, out)
            } else {
                vector_panels::<1, 4>(job, column, out)
            };
    }
}

/// The only row times `P` panels of together `V` vectors, even and odd steps of k summed apart to halve the chains of dependent
/// `fmla`. Gives the number of panels done.
#[target_feature(enable = "neon")]
#[inline]
fn vector_panels<const P: usize, const V: usize>(
    job: &GemmF32<'_>,
    column: usize,
    out: &mut [f32],
) -> usize {
    let k = job.weights.k;
    let panels = &job.weights.data[column * k..][..P * NR * k];
    let bias = &job.weights.bias[column..][..P * NR];
    let mut sums = [[vdupq_n_f32(0.0); V]; 2];
    for (v, sum) in sums[0].iter_mut().enumerate() {
        // SAFETY: V vectors of biases.
        *sum = unsafe { vld1q_f32(bias[LANES * v..][..LANES].as_ptr()) };
    }
    let mut weights = [panels.as_ptr(); P];
    for (j, weights) in weights.iter_mut().enumerate() {
        *weights = super::opaque(panels[j * NR * k..].as_ptr());
    }
    let (quads, rest) = job.lhs[..k].as_chunks::<4>();
    for x in quads {
        // SAFETY: a chunk has four floats.
        let x = unsafe { vld1q_f32(x.as_ptr()) };
        for (j, weights) in weights.iter_mut().enumerate() {
            for lane in 0..4 {
                // SAFETY: a panel has k times NR weights, of which each of these k / 4 steps takes four times NR.
                let w = unsafe { vld1q_f32_x4(weights.add(lane * NR)) };
                for (v, w) in [w.0, w.1, w.2, w.3].into_iter().enumerate() {
                    let sum = &mut sums[lane % 2][4 * j + v];
                    *sum = fma_lane(*sum, w, x, lane);
                }
            }
            *weights = weights.wrapping_add(4 * NR);
        }
    }
    for &x in rest {
        for (j, weights) in weights.iter_mut().enumerate() {
            // SAFETY: the quads left NR * (k % 4) weights of a panel, of which each of these steps takes NR.
            let w = unsafe { vld1q_f32_x4(*weights) };
            for (v, w) in [w.0, w.1, w.2, w.3].into_iter().enumerate() {
                sums[0][4 * j + v] = vfmaq_n_f32(sums[0][4 * j + v], w, x);
            }
            *weights = weights.wrapping_add(NR);
        }
    }
    let mut all = sums[0];
    for (sum, &odd) in all.iter_mut().zip(&sums[1]) {
        *sum = vaddq_f32(*sum, odd);
    }
    let mut all = [all];
    clamp(&mut all, job.clamp);
    let count = (P * NR).min(job.weights.n - column);
    for (out, &sum) in out[column..][..count].chunks_mut(LANES).zip(&all[0]) {
        store_f32(out, sum);
    }
    P
}
