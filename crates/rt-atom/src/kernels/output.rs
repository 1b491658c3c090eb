//! Output stage of integer kernels: where accumulators go, and the requantization that matches `embdl_core::quant`.
//!
//! SSE and AVX2 have no arithmetic right shift of 64-bit lanes. A product of two i32 is at least -2^62, so adding 2^62
//! makes it non-negative; a logical shift follows, and 2^(62 - shift) is taken off again, which is exact because shifts
//! are at most 62. From shift 32 on, the shifted value has at most 32 bits and lands whole in a 32-bit lane. Smaller
//! shifts mean a ratio of at least one half, which layers do not have in practice; they take the scalar rule.

use embdl_core::quant::Requant;

pub(crate) mod avx2;
pub(crate) mod sse41;

/// Where a block of accumulators goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Index of the first result.
    pub(crate) at: usize,
    /// Results from one row to the next.
    pub(crate) stride: usize,
    /// Channel of the first result.
    pub(crate) channel: usize,
    /// Results a row.
    pub(crate) count: usize,
}

/// Multipliers of `N` channels from `channel`; zeros beyond the last.
#[inline]
fn multipliers<const N: usize>(requant: &Requant, channel: usize) -> [i32; N] {
    if let [multiplier] = requant.multipliers[..] {
        return [multiplier; N];
    }
    let rest = &requant.multipliers[channel..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut multipliers = [0; N];
        for (slot, &multiplier) in multipliers.iter_mut().zip(rest) {
            *slot = multiplier;
        }
        multipliers
    })
}

/// The scalar rule, for shifts that the vector code does not take.
#[cold]
fn requantize_by_rule(requant: &Requant, channel: usize, sums: &[i32], out: &mut [u8]) {
    for (c, (slot, &sum)) in out.iter_mut().zip(sums).enumerate() {
        *slot = requant.apply(sum, channel + c);
    }
}

/// Copies up to 16 elements; 4, 8 and 16 without a loop.
#[inline]
fn copy_lanes<T: Copy>(lanes: &[T], out: &mut [T]) {
    fn whole<const N: usize, T: Copy>(lanes: &[T], out: &mut [T]) -> bool {
        let (Ok(lanes), Ok(out)) = (<&[T; N]>::try_from(lanes), <&mut [T; N]>::try_from(out))
        else {
            return false;
        };
        *out = *lanes;
        true
    }
    if whole::<16, T>(lanes, out) || whole::<8, T>(lanes, out) || whole::<4, T>(lanes, out) {
        return;
    }
    for (slot, &lane) in out.iter_mut().zip(lanes) {
        *slot = lane;
    }
}
