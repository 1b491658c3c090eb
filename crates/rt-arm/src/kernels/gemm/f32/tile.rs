//! A tile of the float GEMM: up to 6 rows x 16 channels.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;

use embdl_core::kernels::GemmF32;

use super::large::{Operands, tile};
use super::{LANES, NR, Piece, bound};

/// Where a tile's operands and results start.
pub(super) struct TilePlace {
    pub(super) lhs: *const f32,
    pub(super) weights: *const f32,
    pub(super) bias: *const f32,
    pub(super) out: *mut f32,
    /// Channels that are there.
    pub(super) count: usize,
}

/// A tile of `M` rows and `V` vectors of channels.
///
/// # Safety
/// `piece.steps` steps of both parts at `lhs` (of the first where `M` is at most 4) and of the panel at `weights`, a panel of
/// biases, and `M` rows of `count` results, where `count` is in `4 * V - 3 ..= 4 * V`.
#[target_feature(enable = "neon")]
pub(super) unsafe fn one_tile<const M: usize, const V: usize>(
    job: &GemmF32<'_>,
    piece: &Piece,
    at: &TilePlace,
) {
    if at.count == LANES * V {
        // SAFETY: by the contract.
        return unsafe { sum::<M, V>(job, piece, at, at.out, job.out_stride) };
    }
    // Rows of results with fewer channels than vectors have go by here.
    let mut part = [const { MaybeUninit::<[f32; NR]>::uninit() }; M];
    let parts = part.as_mut_ptr().cast::<f32>();
    // SAFETY: row i of the results has `count` elements, at most NR; of `part` it has NR. Others are read, but not used.
    unsafe {
        if piece.from > 0 {
            for i in 0..M {
                parts.add(i * NR).write_bytes(0, NR);
                let row = at.out.add(i * job.out_stride);
                core::ptr::copy_nonoverlapping(row, parts.add(i * NR), at.count);
            }
        }
        sum::<M, V>(job, piece, at, parts, NR);
        for i in 0..M {
            let row = at.out.add(i * job.out_stride);
            core::ptr::copy_nonoverlapping(parts.add(i * NR), row, at.count);
        }
    }
}

/// The tile, with its results `to` rows of `V` vectors, `stride` apart.
///
/// # Safety
/// As for [`one_tile`], and these.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sum<const M: usize, const V: usize>(
    job: &GemmF32<'_>,
    piece: &Piece,
    at: &TilePlace,
    to: *mut f32,
    stride: usize,
) {
    let is_first = piece.from == 0;
    let (start, start_stride) = if is_first { (at.bias, 0) } else { (to.cast_const(), stride) };
    let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
    let clamp = if piece.is_last { job.clamp } else { unbounded };
    if M >= 5 {
        let (low, weights, steps) = (at.lhs, at.weights, piece.steps);
        let high = low.wrapping_add(LANES * steps);
        let operands =
            Operands { low, high, weights, steps, start, start_stride, to, stride, clamp };
        // SAFETY: by the contract.
        return unsafe { tile::<M, V>(&operands) };
    }
    let mut sums = [[vdupq_n_f32(0.0); V]; M];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a panel of biases has at least V vectors, and so has row i of the results.
            *sum = unsafe { vld1q_f32(start.add(i * start_stride + LANES * v)) };
        }
    }
    for step in 0..piece.steps {
        // SAFETY: a step that is there, at each of the pointers.
        unsafe {
            let x = vld1q_f32(at.lhs.add(LANES * step));
            multiply(&mut sums, x, at.weights.add(NR * step));
        }
    }
    bound(&mut sums, clamp);
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: row i of the results has V vectors.
            unsafe { vst1q_f32(to.add(i * stride + LANES * v), sum) };
        }
    }
}

/// Adds one step of k to a tile: `x` holds its rows, at most four.
///
/// # Safety
/// `V` vectors at `weights`.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn multiply<const M: usize, const V: usize>(
    sums: &mut [[float32x4_t; V]; M],
    x: float32x4_t,
    weights: *const f32,
) {
    let mut w = [vdupq_n_f32(0.0); V];
    for (v, w) in w.iter_mut().enumerate() {
        // SAFETY: by the contract.
        *w = unsafe { vld1q_f32(weights.add(LANES * v)) };
    }
    for (i, sums) in sums.iter_mut().enumerate() {
        for (sum, &w) in sums.iter_mut().zip(&w) {
            *sum = match i {
                0 => vfmaq_laneq_f32::<0>(*sum, w, x),
                1 => vfmaq_laneq_f32::<1>(*sum, w, x),
                2 => vfmaq_laneq_f32::<2>(*sum, w, x),
                _ => vfmaq_laneq_f32::<3>(*sum, w, x),
            };
        }
    }
}
