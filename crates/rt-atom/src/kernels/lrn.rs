//! Local response normalization with AlexNet's exponent of 3/4, by square roots: lanes are channels. Other exponents, very
//! long rows and very wide windows go to the scalar reference. Contract: `embdl_core::kernels::lrn`.

use embdl_core::op::Lrn;

use crate::simd::Simd;

/// Most channels of a row.
const MAX_CHANNELS: usize = 1024;
/// Most channels that are summed over.
const MAX_SIZE: usize = 32;

/// Whether the vector code of a level with so many lanes takes the job.
pub(crate) fn takes(lrn: &Lrn, channels: usize, lanes: usize) -> bool {
    lrn.beta == 0.75 && lrn.size as usize <= MAX_SIZE && (lanes..=MAX_CHANNELS).contains(&channels)
}

/// Normalizes rows of `channels`; [`takes`] must hold.
///
/// # Panics
/// If the slices differ in length, or the job is not taken.
#[inline(always)]
pub(crate) fn lrn_f32<S: Simd>(
    simd: S,
    lrn: &Lrn,
    channels: usize,
    input: &[f32],
    out: &mut [f32],
) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    assert!(takes(lrn, channels, S::LANES), "{lrn:?} on {channels} channels");
    let size = lrn.size as usize;
    let before = (size - 1) / 2;
    #[expect(clippy::cast_precision_loss, reason = "the size is at most 32")]
    let factor = simd.splat(lrn.alpha / lrn.size as f32);
    let bias = simd.splat(lrn.bias);
    // Zeros before and behind a row, so that a sum over neighbours needs no bounds.
    let mut row = [0.0_f32; MAX_CHANNELS + 2 * MAX_SIZE];
    for (input, out) in input.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
        row[before..][..channels].copy_from_slice(input);
        for channel in (0..channels).step_by(S::LANES) {
            let channel = channel.min(channels - S::LANES);
            let mut squares = simd.splat(0.0);
            for neighbour in 0..size {
                // SAFETY: channel + LANES <= MAX_CHANNELS, and neighbour < MAX_SIZE.
                let x = unsafe { simd.load(row.as_ptr().add(channel + neighbour)) };
                squares = simd.mul_add(x, x, squares);
            }
            let root = simd.sqrt(simd.mul_add(factor, squares, bias));
            // SAFETY: a vector of channels from `channel`.
            let x = unsafe { simd.load(input.as_ptr().add(channel)) };
            let y = simd.div(x, simd.mul(root, simd.sqrt(root)));
            // SAFETY: as above; the last vector overlaps the one before and has the same results.
            unsafe { simd.store(out.as_mut_ptr().add(channel), y) };
        }
    }
}
