//! A tile of the float GEMM: up to 6 rows x 16 channels.

use core::arch::aarch64::*;
use core::mem::MaybeUninit;

use embdl_core::kernels::GemmF32;

use super::quads::multiply_quads;
use super::{LANES, NR, Piece, clamp, fma_lane};

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
