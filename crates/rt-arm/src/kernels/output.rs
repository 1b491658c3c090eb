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

pub(super) mod quad;
pub(super) mod tiles;

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
    pub(super) short: bool,
    shift: int32x4_t,
    zero_point: int16x8_t,
    min: uint8x16_t,
    max: uint8x16_t,
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
                *vector = stage.multipliers(channel + 4 * panel);
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
        if lanes < 4 * NP {
            return self.store_part(at, lanes, sums, multipliers);
        }
        match self {
            Self::U8(stage, out) => {
                let out = &mut out[at..at + 4 * NP];
                if let [sums] = sums[..] {
                    let levels = stage.apply((sums, sums), (multipliers[0], multipliers[0]));
                    let bytes = vget_lane_u32::<0>(vreinterpret_u32_u8(levels)).to_le_bytes();
                    out.copy_from_slice(&bytes);
                } else {
                    let sums = sums.as_chunks::<2>().0.iter();
                    let multipliers = multipliers.as_chunks::<2>().0.iter();
                    let out = out.as_chunks_mut::<8>().0.iter_mut();
                    for ((out, s), m) in out.zip(sums).zip(multipliers) {
                        let levels = stage.apply((s[0], s[1]), (m[0], m[1]));
                        // SAFETY: a chunk has eight bytes.
                        unsafe { vst1_u8(out.as_mut_ptr(), levels) };
                    }
                }
            }
            Self::I32(out) => {
                let out = out[at..at + 4 * NP].as_chunks_mut::<4>().0;
                for (out, &sums) in out.iter_mut().zip(sums) {
                    // SAFETY: a chunk has four elements.
                    unsafe { vst1q_s32(out.as_mut_ptr(), sums) };
                }
            }
        }
    }

    /// The last channels, which fill no whole vectors.
    #[target_feature(enable = "neon")]
    #[inline(never)]
    fn store_part(
        &mut self,
        at: usize,
        lanes: usize,
        sums: &[int32x4_t],
        multipliers: &[int32x4_t],
    ) {
        let panels = sums.iter().zip(multipliers).enumerate();
        for (panel, (&sums, &multipliers)) in panels {
            let width = lanes.saturating_sub(4 * panel).min(4);
            match self {
                Self::U8(stage, out) => {
                    let levels = stage.apply((sums, sums), (multipliers, multipliers));
                    let levels = vget_lane_u32::<0>(vreinterpret_u32_u8(levels)).to_le_bytes();
                    let out = &mut out[at + 4 * panel..][..width];
                    out.copy_from_slice(&levels[..width]);
                }
                Self::I32(out) => {
                    let mut all = [0; 4];
                    // SAFETY: `all` has four elements.
                    unsafe { vst1q_s32(all.as_mut_ptr(), sums) };
                    out[at + 4 * panel..][..width].copy_from_slice(&all[..width]);
                }
            }
            if lanes <= 4 * (panel + 1) {
                break;
            }
        }
    }
}

impl<'a> Stage<'a> {
    #[target_feature(enable = "neon")]
    pub(super) fn new(requant: &'a Requant) -> Self {
        let short = requant.shift > 31;
        #[expect(clippy::cast_possible_wrap, reason = "a shift is at most 62")]
        let shift = if short { requant.shift - 31 } else { requant.shift } as i32;
        Self {
            multipliers: &requant.multipliers,
            short,
            shift: vdupq_n_s32(-shift),
            zero_point: vdupq_n_s16(i16::from(requant.zero_point)),
            min: vdupq_n_u8(requant.min),
            max: vdupq_n_u8(requant.max),
        }
    }

    /// The multipliers of the four channels from `channel` on; zero beyond the last channel.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(super) fn multipliers(&self, channel: usize) -> int32x4_t {
        match *self.multipliers {
            [one] => vdupq_n_s32(one),
            ref each => load_i32(each.get(channel..).unwrap_or_default()),
        }
    }

    /// Eight levels from eight accumulators.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(super) fn apply(
        &self,
        sums: (int32x4_t, int32x4_t),
        multipliers: (int32x4_t, int32x4_t),
    ) -> uint8x8_t {
        let (low, high) = if self.short {
            (
                scale_32(sums.0, multipliers.0, self.shift),
                scale_32(sums.1, multipliers.1, self.shift),
            )
        } else {
            (
                scale_64(sums.0, multipliers.0, self.shift),
                scale_64(sums.1, multipliers.1, self.shift),
            )
        };
        self.levels(low, high)
    }

    /// Eight levels from eight scaled accumulators.
    #[target_feature(enable = "neon")]
    #[inline]
    fn levels(&self, low: int32x4_t, high: int32x4_t) -> uint8x8_t {
        let scaled = vqmovn_high_s32(vqmovn_s32(low), high);
        let levels = vqmovun_s16(vqaddq_s16(scaled, self.zero_point));
        vmin_u8(vmax_u8(levels, vget_low_u8(self.min)), vget_low_u8(self.max))
    }
}

/// Four scaled accumulators by 32-bit products.
#[target_feature(enable = "neon")]
#[inline]
fn scale_32(sums: int32x4_t, multipliers: int32x4_t, shift: int32x4_t) -> int32x4_t {
    vrshlq_s32(vqdmulhq_s32(sums, multipliers), shift)
}

/// Four scaled accumulators by 64-bit products, saturated to i32.
#[target_feature(enable = "neon")]
fn scale_64(sums: int32x4_t, multipliers: int32x4_t, shift: int32x4_t) -> int32x4_t {
    let shift = vmovl_s32(vget_low_s32(shift));
    let low = vrshlq_s64(vmull_s32(vget_low_s32(sums), vget_low_s32(multipliers)), shift);
    let high = vrshlq_s64(vmull_high_s32(sums, multipliers), shift);
    vqmovn_high_s64(vqmovn_s64(low), high)
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
