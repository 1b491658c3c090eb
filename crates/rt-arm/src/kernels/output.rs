//! The output stages: i32 accumulators become u8 levels exactly as `embdl_core::quant` says, floats are clamped.
//!
//! The rule is `(acc * multiplier + 2^(shift - 1)) >> shift` in 64 bits. For shift > 31 two 32-bit instructions give
//! the same: `sqdmulh` is `floor(acc * multiplier / 2^31)`, and because nested floors of divisions by integers are one
//! floor, adding `2^(s - 1)` and shifting by `s = shift - 31` (`srshl`) rounds the exact product, once. `sqdmulh`
//! saturates only for two operands of -2^31, and multipliers are not negative. Smaller shifts (a layer whose largest
//! ratio is at least 1/2) take the 64-bit way: `smull`, `srshl`, `sqxtn`.
//! Narrowing saturates before the clamp to levels; clamps nest, so the level is the same.

use core::arch::aarch64::*;

use embdl_core::kernels::OutQ8;
use embdl_core::quant::Requant;

/// Where rows of a result go, with everything that does not change from row to row in vector registers.
#[derive(Debug)]
pub(super) enum Sink<'a> {
    /// Requantized to u8.
    U8(Stage<'a>, &'a mut [u8]),
    /// As they are.
    I32(&'a mut [i32]),
}

/// Vector form of a [`Requant`].
#[derive(Debug)]
pub(super) struct Stage<'a> {
    multipliers: &'a [i32],
    /// Whether the 32-bit way serves; then `shift` counts from 2^31.
    short: bool,
    shift: int32x4_t,
    zero_point: int16x8_t,
    min: uint8x8_t,
    max: uint8x8_t,
}

impl<'a> Sink<'a> {
    #[target_feature(enable = "neon")]
    pub(super) fn new(out: OutQ8<'a>) -> Self {
        match out {
            OutQ8::U8(requant, out) => Self::U8(Stage::new(requant), out),
            OutQ8::I32(out) => Self::I32(out),
        }
    }

    /// Elements that can be written.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(_, out) => out.len(),
            Self::I32(out) => out.len(),
        }
    }

    /// The multipliers of the channels from `channel` on, four to a vector; zero beyond the last channel.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(super) fn multipliers<const NP: usize>(&self, channel: usize) -> [int32x4_t; NP] {
        let mut vectors = [vdupq_n_s32(0); NP];
        if let Self::U8(stage, _) = self {
            for (panel, vector) in vectors.iter_mut().enumerate() {
                *vector = match *stage.multipliers {
                    [one] => vdupq_n_s32(one),
                    ref each => load_i32(each.get(channel + 4 * panel..).unwrap_or_default()),
                };
            }
        }
        vectors
    }

    /// Writes the first `lanes` of the accumulators to the result from `at` on.
    ///
    /// # Panics
    /// If they do not fit.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(super) fn store<const NP: usize>(
        &mut self,
        at: usize,
        lanes: usize,
        sums: &[int32x4_t; NP],
        multipliers: &[int32x4_t; NP],
    ) {
        match self {
            Self::U8(stage, out) => {
                let out = &mut out[at..at + lanes];
                let mut panel = 0;
                while panel < NP {
                    let next = if panel + 1 < NP { panel + 1 } else { panel };
                    let levels = stage
                        .apply((sums[panel], sums[next]), (multipliers[panel], multipliers[next]));
                    let rest = out.len().saturating_sub(4 * panel);
                    let width = if NP == 1 { rest.min(4) } else { rest.min(8) };
                    store_u8(&mut out[4 * panel..][..width], levels);
                    panel += 2;
                }
            }
            Self::I32(out) => {
                let out = &mut out[at..at + lanes];
                for (panel, &sums) in sums.iter().enumerate() {
                    let rest = out.len().saturating_sub(4 * panel);
                    store_i32(&mut out[4 * panel..][..rest.min(4)], sums);
                }
            }
        }
    }
}

impl<'a> Stage<'a> {
    #[target_feature(enable = "neon")]
    fn new(requant: &'a Requant) -> Self {
        let short = requant.shift > 31;
        #[expect(clippy::cast_possible_wrap, reason = "a shift is at most 62")]
        let shift = if short { requant.shift - 31 } else { requant.shift } as i32;
        Self {
            multipliers: &requant.multipliers,
            short,
            shift: vdupq_n_s32(-shift),
            zero_point: vdupq_n_s16(i16::from(requant.zero_point)),
            min: vdup_n_u8(requant.min),
            max: vdup_n_u8(requant.max),
        }
    }

    /// Eight levels from eight accumulators.
    #[target_feature(enable = "neon")]
    #[inline]
    fn apply(
        &self,
        sums: (int32x4_t, int32x4_t),
        multipliers: (int32x4_t, int32x4_t),
    ) -> uint8x8_t {
        let (low, high) = if self.short {
            (
                vrshlq_s32(vqdmulhq_s32(sums.0, multipliers.0), self.shift),
                vrshlq_s32(vqdmulhq_s32(sums.1, multipliers.1), self.shift),
            )
        } else {
            (self.scale_64(sums.0, multipliers.0), self.scale_64(sums.1, multipliers.1))
        };
        let scaled = vqmovn_high_s32(vqmovn_s32(low), high);
        let levels = vqmovun_s16(vqaddq_s16(scaled, self.zero_point));
        vmin_u8(vmax_u8(levels, self.min), self.max)
    }

    /// Four scaled accumulators by 64-bit products, saturated to i32.
    #[target_feature(enable = "neon")]
    fn scale_64(&self, sums: int32x4_t, multipliers: int32x4_t) -> int32x4_t {
        let shift = vmovl_s32(vget_low_s32(self.shift));
        let low = vrshlq_s64(vmull_s32(vget_low_s32(sums), vget_low_s32(multipliers)), shift);
        let high = vrshlq_s64(vmull_high_s32(sums, multipliers), shift);
        vqmovn_high_s64(vqmovn_s64(low), high)
    }
}

/// Writes the first `out.len()` lanes, at most eight.
#[target_feature(enable = "neon")]
#[inline]
fn store_u8(out: &mut [u8], levels: uint8x8_t) {
    if out.len() == 8 {
        // SAFETY: eight bytes, checked above.
        unsafe { vst1_u8(out.as_mut_ptr(), levels) };
    } else if let Ok(four) = <&mut [u8; 4]>::try_from(&mut *out) {
        *four = vget_lane_u32::<0>(vreinterpret_u32_u8(levels)).to_le_bytes();
    } else {
        let mut all = [0; 8];
        // SAFETY: `all` has eight bytes.
        unsafe { vst1_u8(all.as_mut_ptr(), levels) };
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Writes the first `out.len()` lanes, at most four.
#[target_feature(enable = "neon")]
#[inline]
fn store_i32(out: &mut [i32], lanes: int32x4_t) {
    if out.len() == 4 {
        // SAFETY: four elements, checked above.
        unsafe { vst1q_s32(out.as_mut_ptr(), lanes) };
    } else {
        let mut all = [0; 4];
        // SAFETY: `all` has four elements.
        unsafe { vst1q_s32(all.as_mut_ptr(), lanes) };
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Writes the first `out.len()` lanes, at most four.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn store_f32(out: &mut [f32], lanes: float32x4_t) {
    if out.len() == 4 {
        // SAFETY: four elements, checked above.
        unsafe { vst1q_f32(out.as_mut_ptr(), lanes) };
    } else {
        let mut all = [0.0; 4];
        // SAFETY: `all` has four elements.
        unsafe { vst1q_f32(all.as_mut_ptr(), lanes) };
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// The first four elements; zeros where there are fewer.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load_i32(from: &[i32]) -> int32x4_t {
    if from.len() >= 4 {
        // SAFETY: four elements, checked above.
        unsafe { vld1q_s32(from.as_ptr()) }
    } else {
        let mut all = [0; 4];
        all[..from.len()].copy_from_slice(from);
        // SAFETY: `all` has four elements.
        unsafe { vld1q_s32(all.as_ptr()) }
    }
}

/// The first four elements; zeros where there are fewer.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn load_f32(from: &[f32]) -> float32x4_t {
    if from.len() >= 4 {
        // SAFETY: four elements, checked above.
        unsafe { vld1q_f32(from.as_ptr()) }
    } else {
        let mut all = [0.0; 4];
        all[..from.len()].copy_from_slice(from);
        // SAFETY: `all` has four elements.
        unsafe { vld1q_f32(all.as_ptr()) }
    }
}
