//! Float GEMM with products in 16 bits, on Armv8.2-A with `FEAT_FP16`. Only who asks for the level `fp16` gets it.
//!
//! ```text
//! for each block of rows, for each CHAIN steps of k:
//!     lhs = the rows in tiles of up to 6, as those of floats, narrowed to halves    once, for all panels
//!     for each panel of 16 channels, for each tile:                                 the panel stays in L1
//!         sums[6][16] = lhs · panel, in halves
//!         out = clamp(start + sums), in floats                                      start: the bias, or what is in out
//! ```
//!
//! A `fmla` of halves does eight products: four steps of k take 56 instructions for 384 products, where floats take 105. Halves
//! have 11 bits and end at 65504, so sums of more than CHAIN products go on in floats; a row and channel of a chain then takes
//! 1.1 instructions for its 64 products beside them. Weights and rows are rounded to halves, once each.
//!
//! Intrinsics of halves are not stable, so all of this is in inline assembly.

use core::arch::asm;
use core::mem::MaybeUninit;

use embdl_core::kernels::gemm::{Lines, Runs};
use embdl_core::kernels::{GemmF32, PackedF32};

use super::f32::{BLOCK, LANES, MR, NR, check_lines, even, pack};

mod row;
mod tile;

use row::row;
use tile::{Operands, tile};

/// Steps of k that are summed up in halves.
const CHAIN: usize = 64;

/// Halves of a block of rows.
type Block = [MaybeUninit<u16>; BLOCK];

/// Narrows packed weights, which keep their layout.
#[target_feature(enable = "neon,fp16")]
pub(in super::super) fn narrow_weights(packed: &mut PackedF32) {
    let data = core::mem::take(&mut packed.data);
    packed.halves = vec![0; data.len()];
    // SAFETY: as many halves as floats.
    unsafe { narrow(data.as_ptr(), data.len(), packed.halves.as_mut_ptr()) };
}

/// GEMM with rows that are `runs` and stand in `lines`, and weights that [`narrow_weights`] made.
///
/// # Panics
/// If a slice is shorter than the job says, or the weights are packed for another tile or other runs.
#[target_feature(enable = "neon,fp16")]
pub(in super::super) fn gemm_lines(job: &GemmF32<'_>, runs: Runs, lines: Lines, out: &mut [f32]) {
    if !check_lines(job, runs, lines, job.weights.halves.len(), out.len()) {
        return;
    }
    let k = job.weights.k;
    if job.m == 1 && runs.count == 1 {
        return row(job, out);
    }
    let mut floats = [const { MaybeUninit::<f32>::uninit() }; BLOCK];
    let mut block = [const { MaybeUninit::<u16>::uninit() }; BLOCK];
    let steps = k.clamp(1, CHAIN);
    let together = BLOCK / (MR * steps) * MR;
    for first in (0..job.m).step_by(together) {
        let rows = together.min(job.m - first);
        let mut from = 0;
        loop {
            let steps = steps.min(k - from);
            pack(job, (runs, lines), [first, rows], [from, steps], &mut floats);
            narrow_block(&floats, rows, steps, &mut block);
            panels(job, [first, rows], [from, steps], &block, out);
            from += steps;
            if from >= k {
                break;
            }
        }
    }
}

/// Narrows the rows of a block that [`pack`] made.
#[target_feature(enable = "neon,fp16")]
fn narrow_block(floats: &[MaybeUninit<f32>; BLOCK], rows: usize, steps: usize, block: &mut Block) {
    let [tiles, each, more] = even(rows);
    let (len, low) = (MR * steps, LANES * steps);
    assert!(tiles * len <= BLOCK);
    for tile in 0..tiles {
        let rows = each + usize::from(tile < more);
        // What a tile has beyond four rows stands apart, and is not there in smaller ones.
        let len = if rows > LANES { len } else { low };
        let at = tile * MR * steps;
        let from = floats[at..at + len].as_ptr().cast();
        // SAFETY: `pack` wrote these floats; and as many halves.
        unsafe { narrow(from, len, block[at..at + len].as_mut_ptr().cast()) };
    }
}

/// Rounds `len` floats to halves.
///
/// # Safety
/// As many at each.
#[target_feature(enable = "neon,fp16")]
unsafe fn narrow(from: *const f32, len: usize, to: *mut u16) {
    // SAFETY: reads and writes what the caller vouches for, and changes the named registers only.
    unsafe {
        asm!(
            "cbz {eights}, 3f",
            "2:",
            "ldp q0, q1, [{from}], #32",
            "subs {eights}, {eights}, #1",
            "fcvtn v0.4h, v0.4s",
            "fcvtn2 v0.8h, v1.4s",
            "str q0, [{to}], #16",
            "b.ne 2b",
            "3:",
            "cbz {rest}, 5f",
            "4:",
            "ldr s0, [{from}], #4",
            "subs {rest}, {rest}, #1",
            "fcvt h0, s0",
            "str h0, [{to}], #2",
            "b.ne 4b",
            "5:",
            from = inout(reg) from => _, to = inout(reg) to => _,
            eights = inout(reg) len / 8 => _, rest = inout(reg) len % 8 => _,
            out("v0") _, out("v1") _,
            options(nostack),
        );
    }
}

/// All panels for some steps of the rows of a block.
#[target_feature(enable = "neon,fp16")]
fn panels(
    job: &GemmF32<'_>,
    [first, rows]: [usize; 2],
    [from, steps]: [usize; 2],
    block: &Block,
    out: &mut [f32],
) {
    let (n, k, stride) = (job.weights.n, job.weights.k, job.out_stride);
    let [tiles, each, more] = even(rows);
    assert!(tiles * MR * steps <= BLOCK);
    let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
    let clamp = if from + steps == k { job.clamp } else { unbounded };
    for column in (0..n).step_by(NR) {
        let count = NR.min(n - column);
        let weights = job.weights.halves[column * k + from * NR..][..steps * NR].as_ptr();
        let bias = job.weights.bias[column..][..NR].as_ptr();
        let mut at = first * stride + column;
        for index in 0..tiles {
            let rows = each + usize::from(index < more);
            let to = out[at..][..(rows - 1) * stride + count].as_mut_ptr();
            let low = block[index * MR * steps..].as_ptr().cast::<u16>();
            let high = low.wrapping_add(LANES * steps);
            let place = Place { rows, count, stride, to, is_first: from == 0 };
            let operands = Operands { low, high, weights, steps, bias, clamp };
            // SAFETY: `narrow_block` wrote the tile's rows; the weights, biases and results are sliced above.
            unsafe {
                match rows {
                    5 | 6 => place.run::<6>(&operands),
                    3 | 4 => place.run::<4>(&operands),
                    _ => place.run::<2>(&operands),
                }
            }
            at += rows * stride;
        }
    }
}

/// The results of a tile.
struct Place {
    rows: usize,
    /// Channels that are there.
    count: usize,
    stride: usize,
    to: *mut f32,
    /// Whether sums start with the bias, and not with what is there.
    is_first: bool,
}

impl Place {
    /// A tile of `M` rows, of which the last may not be among the results.
    ///
    /// # Safety
    /// What the operands name, and the results.
    #[target_feature(enable = "neon,fp16")]
    unsafe fn run<const M: usize>(&self, operands: &Operands) {
        let Self { rows, count, stride, to, is_first } = *self;
        if rows == M && count == NR {
            let start = if is_first { (operands.bias, 0) } else { (to.cast_const(), stride) };
            // SAFETY: by the contract.
            return unsafe { tile::<M>(operands, start, (to, stride)) };
        }
        // Rows of results with fewer channels than panels have, and fewer rows than tiles have, go by here.
        let mut part = [[0.0_f32; NR]; M];
        let parts = part.as_mut_ptr().cast::<f32>();
        // SAFETY: by the contract; row i of the results has `count` elements, at most NR.
        unsafe {
            if !is_first {
                for (i, part) in part.iter_mut().take(rows).enumerate() {
                    core::ptr::copy_nonoverlapping(to.add(i * stride), part.as_mut_ptr(), count);
                }
            }
            let start = if is_first { (operands.bias, 0) } else { (parts.cast_const(), NR) };
            tile::<M>(operands, start, (parts, NR));
            for (i, part) in part.iter().take(rows).enumerate() {
                core::ptr::copy_nonoverlapping(part.as_ptr(), to.add(i * stride), count);
            }
        }
    }
}
