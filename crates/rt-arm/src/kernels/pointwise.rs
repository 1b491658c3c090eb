//! Sums of levels, sixteen at a time. Contract and reference: `embdl_core::kernels::elementwise`; the rule is `AddRequant`.
//!
//! A sum is `x * mx + y * my - (zx * mx + zy * my)`, then shifted, rounded and narrowed: 41 instructions for 16 results. Products
//! are below 2^29 and all of it fits 32 bits. In intrinsics and not left to the compiler, which makes vectors of the reference at
//! some levels of optimization only.

use core::arch::aarch64::*;

use embdl_core::kernels::elementwise;
use embdl_core::quant::AddRequant;

/// Replaces the left-hand levels `data` by the sum with the right-hand levels `rhs`.
///
/// # Panics
/// If the slices differ in length.
#[target_feature(enable = "neon")]
pub(super) fn add_u8(data: &mut [u8], rhs: &[u8], requant: &AddRequant) {
    assert!(data.len() == rhs.len(), "sums of {} and {} elements", data.len(), rhs.len());
    let multipliers = [requant.lhs_multiplier, requant.rhs_multiplier];
    // What `AddRequant::new` gives; its fields are public.
    let fits = multipliers.iter().all(|multiplier| (0..=1 << 21).contains(multiplier));
    if !fits || !(1..=30).contains(&requant.shift) {
        return elementwise::add_u8(data, rhs, requant);
    }
    let sum = Sum::new(requant);
    let (data, last) = data.as_chunks_mut::<16>();
    let (rhs, last_rhs) = rhs.as_chunks::<16>();
    for (x, y) in data.iter_mut().zip(rhs) {
        // SAFETY: sixteen bytes each.
        unsafe { vst1q_u8(x.as_mut_ptr(), sum.of(vld1q_u8(x.as_ptr()), vld1q_u8(y.as_ptr()))) };
    }
    elementwise::add_u8(last, last_rhs, requant);
}

/// Constants of a sum.
struct Sum {
    /// What the zero points come to, negative.
    start: uint32x4_t,
    multipliers: [uint32x4_t; 2],
    /// To the right, so negative.
    shift: int32x4_t,
    zero_point: int16x8_t,
    bounds: [uint8x16_t; 2],
}

impl Sum {
    #[target_feature(enable = "neon")]
    #[expect(clippy::cast_possible_wrap, reason = "a shift is at most 30")]
    fn new(requant: &AddRequant) -> Self {
        let (mx, my) = (requant.lhs_multiplier, requant.rhs_multiplier);
        let zeros = i32::from(requant.lhs_zero_point) * mx + i32::from(requant.rhs_zero_point) * my;
        Self {
            start: vreinterpretq_u32_s32(vdupq_n_s32(-zeros)),
            multipliers: [mx, my].map(|m| vreinterpretq_u32_s32(vdupq_n_s32(m))),
            shift: vdupq_n_s32(-(requant.shift as i32)),
            zero_point: vdupq_n_s16(i16::from(requant.zero_point)),
            bounds: [vdupq_n_u8(requant.min), vdupq_n_u8(requant.max)],
        }
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn of(&self, x: uint8x16_t, y: uint8x16_t) -> uint8x16_t {
        let low = self.half(vmovl_u8(vget_low_u8(x)), vmovl_u8(vget_low_u8(y)));
        let high = self.half(vmovl_high_u8(x), vmovl_high_u8(y));
        let levels = vqmovun_high_s16(vqmovun_s16(low), high);
        vminq_u8(vmaxq_u8(levels, self.bounds[0]), self.bounds[1])
    }

    /// Eight results, not within the bounds yet.
    #[target_feature(enable = "neon")]
    #[inline]
    fn half(&self, x: uint16x8_t, y: uint16x8_t) -> int16x8_t {
        let low = self.quarter(vmovl_u16(vget_low_u16(x)), vmovl_u16(vget_low_u16(y)));
        let high = self.quarter(vmovl_high_u16(x), vmovl_high_u16(y));
        vqaddq_s16(vqmovn_high_s32(vqmovn_s32(low), high), self.zero_point)
    }

    /// Four shifted sums.
    #[target_feature(enable = "neon")]
    #[inline]
    fn quarter(&self, x: uint32x4_t, y: uint32x4_t) -> int32x4_t {
        let [mx, my] = self.multipliers;
        let sums = vmlaq_u32(vmlaq_u32(self.start, x, mx), y, my);
        vrshlq_s32(vreinterpretq_s32_u32(sums), self.shift)
    }
}
