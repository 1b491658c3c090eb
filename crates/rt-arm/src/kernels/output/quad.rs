//! The output stage of tiles of four by four: four pixels or rows, each of up to four channels.

use core::arch::aarch64::*;

use super::Stage;

/// Where the accumulators of up to four channels go.
pub(in super::super) trait Quad {
    /// Writes the first `count` of four results (all, if there are more) from `at` on, `stride` elements apart.
    ///
    /// # Safety
    /// They must be in the slice that the quad was made for, with all of its channels, and no one else's. NEON must be there.
    unsafe fn store(&self, at: usize, stride: usize, count: usize, sums: [int32x4_t; 4]);
}

/// Runs what follows `|to|` with the [`Quad`] of a [`Sink`](super::Sink): of so many channels from one on. Compiled for each kind,
/// since the functions it is for have features that a closure would not have.
macro_rules! with_quad {
    ($sink:expr, $channel:expr, $channels:expr, |$to:ident| $run:expr) => {
        match $sink {
            $crate::kernels::output::Sink::U8(stage, out) if stage.short => {
                let $to = $crate::kernels::output::quad::Levels::<true>::new(
                    stage,
                    $channel,
                    $channels,
                    out.as_mut_ptr(),
                );
                $run
            }
            $crate::kernels::output::Sink::U8(stage, out) => {
                let $to = $crate::kernels::output::quad::Levels::<false>::new(
                    stage,
                    $channel,
                    $channels,
                    out.as_mut_ptr(),
                );
                $run
            }
            $crate::kernels::output::Sink::I32(out) => {
                let $to = $crate::kernels::output::quad::Sums::new($channels, out.as_mut_ptr());
                $run
            }
        }
    };
}
pub(in super::super) use with_quad;

/// Requantized; in the 32-bit way of [`Stage`] if `SHORT`.
#[derive(Debug)]
pub(in super::super) struct Levels<const SHORT: bool> {
    multipliers: int32x4_t,
    shift: int32x4_t,
    zero_point: int16x8_t,
    min: uint8x16_t,
    max: uint8x16_t,
    channels: usize,
    out: *mut u8,
}

impl<const SHORT: bool> Levels<SHORT> {
    /// `channels` channels from `channel` on, of a stage that is short or not.
    #[target_feature(enable = "neon")]
    pub(in super::super) fn new(
        stage: &Stage<'_>,
        channel: usize,
        channels: usize,
        out: *mut u8,
    ) -> Self {
        assert!(stage.short == SHORT);
        Self {
            multipliers: stage.multipliers(channel),
            shift: stage.shift,
            zero_point: stage.zero_point,
            min: stage.min,
            max: stage.max,
            channels,
            out,
        }
    }

    #[target_feature(enable = "neon")]
    #[inline]
    fn scale(&self, sums: int32x4_t) -> int32x4_t {
        if SHORT {
            super::scale_32(sums, self.multipliers, self.shift)
        } else {
            super::scale_64(sums, self.multipliers, self.shift)
        }
    }
}

impl<const SHORT: bool> Quad for Levels<SHORT> {
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn store(&self, at: usize, stride: usize, count: usize, sums: [int32x4_t; 4]) {
        let low = vqmovn_high_s32(vqmovn_s32(self.scale(sums[0])), self.scale(sums[1]));
        let high = vqmovn_high_s32(vqmovn_s32(self.scale(sums[2])), self.scale(sums[3]));
        let low = vqmovun_s16(vqaddq_s16(low, self.zero_point));
        let levels = vqmovun_high_s16(low, vqaddq_s16(high, self.zero_point));
        let levels = vreinterpretq_u32_u8(vminq_u8(vmaxq_u8(levels, self.min), self.max));
        let to = self.out.wrapping_add(at);
        if count < 4 || self.channels < 4 {
            // SAFETY: by the contract.
            return unsafe { store_part(to, stride, [count.min(4), self.channels], levels) };
        }
        // SAFETY: by the contract; u32 are written without alignment.
        unsafe {
            vst1q_lane_u32::<0>(to.cast(), levels);
            vst1q_lane_u32::<1>(to.wrapping_add(stride).cast(), levels);
            vst1q_lane_u32::<2>(to.wrapping_add(2 * stride).cast(), levels);
            vst1q_lane_u32::<3>(to.wrapping_add(3 * stride).cast(), levels);
        }
    }
}

/// Writes `count` results of `channels` channels.
///
/// # Safety
/// As many bytes at each.
#[target_feature(enable = "neon")]
#[inline(never)]
unsafe fn store_part(
    to: *mut u8,
    stride: usize,
    [count, channels]: [usize; 2],
    levels: uint32x4_t,
) {
    let mut all = [0_u32; 4];
    // SAFETY: four elements.
    unsafe { vst1q_u32(all.as_mut_ptr(), levels) };
    for (i, levels) in all.iter().take(count).enumerate() {
        let to = to.wrapping_add(i * stride);
        // SAFETY: by the contract; u32 are written without alignment.
        unsafe {
            if channels == 4 {
                to.cast::<u32>().write_unaligned(*levels);
            } else {
                core::ptr::copy_nonoverlapping(levels.to_ne_bytes().as_ptr(), to, channels);
            }
        }
    }
}

/// As they are.
#[derive(Debug)]
pub(in super::super) struct Sums {
    channels: usize,
    out: *mut i32,
}

impl Sums {
    /// So many channels.
    pub(in super::super) const fn new(channels: usize, out: *mut i32) -> Self {
        Self { channels, out }
    }
}

impl Quad for Sums {
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn store(&self, at: usize, stride: usize, count: usize, sums: [int32x4_t; 4]) {
        for (i, &sums) in sums.iter().take(count).enumerate() {
            let to = self.out.wrapping_add(at + i * stride);
            let mut all = [0_i32; 4];
            // SAFETY: four elements; and by the contract.
            unsafe {
                if self.channels == 4 {
                    vst1q_s32(to, sums);
                } else {
                    vst1q_s32(all.as_mut_ptr(), sums);
                    core::ptr::copy_nonoverlapping(all.as_ptr(), to, self.channels);
                }
            }
        }
    }
}
