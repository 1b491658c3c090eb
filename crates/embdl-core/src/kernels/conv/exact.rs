//! Winograd F(4x4, 3x3) on integers, exact: the arithmetic that the runtimes share.
//!
//! The transforms are those of Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks", for the points
//! 0, 1, -1, 2, -2. `B` is integer. The rows of `G` are scaled to integers: (6, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4),
//! (1, -2, 4), (0, 0, 6) are 24, -6, -6, 24, 24 and 6 times it, and what they are too large by moves into `A`:
//!
//! ```text
//! 24 y0 = m0 - 4 (m1 + m2) + (m3 + m4)        6 y2 = (m3 + m4) - (m1 + m2)
//! 12 y1 = 2 (m2 - m1) + (m3 - m4)             6 y3 = (m2 - m1) + 2 (m3 - m4) + m5
//! ```
//!
//! Why that is exact:
//! - `V = B' d B` fits 16 bits: absolute values of a row of `B` sum to 10 at most, so those of both directions to 100, and
//!   100 * 255 = 25,500. `U = G g G'` fits: 7 * 7 * 128 = 6,272.
//! - Everything after `V` and `U` is i32 arithmetic modulo 2^32: products of two words fit i32, and sums, doubling and
//!   differences are the same modulo 2^32 whatever their order.
//! - So the result of the transforms is `9 * 2^s * t` modulo 2^32, where t is the convolution's accumulator and s is 2 to
//!   6, by the place in the tile. 9 has an inverse modulo 2^32; multiplied by it, `2^s * t` modulo 2^32 is left. That is
//!   `2^s * t` as a signed number if `|t| < 2^25`, and an arithmetic shift gives t.
//! - `t = sum of x * w` with levels 0 to 255 (zero points are folded into the bias) is below 2^25 if 255 times the sum of
//!   the positive weights is, and so for the negative ones. [`fits`] says so; 4608 weights may have a mean of 57 on each
//!   side. Layers beyond run as matrix products.
//!
//! Windows larger than 3x3 are cut into blocks of 3x3 taps, filled up with zeros: their products add up before the
//! results are transformed, as if there were more input channels. 5x5 takes 4 * 36 products for 16 results instead of 400.

use crate::kernels::{ConvProblem, ConvWeights};

/// Products of a tile.
pub const PLACES: usize = 36;
/// Inverse of 9 modulo 2^32.
pub const INVERSE_OF_9: i32 = 0x38e3_8e39;
/// Powers of two in the denominators of a row or column of results.
pub const SHIFTS: [i32; 4] = [3, 2, 1, 1];

/// Whether accumulators of `weights` times levels, with up to `more` added to them, stay below 2^25.
#[must_use]
pub fn fits(weights: &[i8], more: u32) -> bool {
    let (mut positive, mut negative) = (0_u64, 0_u64);
    for &w in weights {
        *(if w > 0 { &mut positive } else { &mut negative }) += u64::from(w.unsigned_abs());
    }
    positive.max(negative) * 255 + u64::from(more) < 1 << 25
}

/// `G g G'` by the scaled rows: the weights of the 36 places.
fn transform_weights(g: [[i32; 3]; 3]) -> [[i32; 6]; 6] {
    let along = |[a, b, c]: [i32; 3]| {
        let (ends, wide) = (a + c, a + 4 * c);
        [6 * a, ends + b, ends - b, wide + 2 * b, wide - 2 * b, 6 * c]
    };
    let columns = [0, 1, 2].map(|x| along([g[0][x], g[1][x], g[2][x]]));
    [0, 1, 2, 3, 4, 5].map(|y| along([columns[0][y], columns[1][y], columns[2][y]]))
}

/// A convolution cut into tiles of 4x4 results, and its windows into blocks of 3x3 taps.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    /// The convolution.
    pub problem: ConvProblem,
    /// Input channels of a group.
    pub channels: usize,
    /// Blocks of 3x3 taps in height and width.
    pub blocks: [usize; 2],
    /// Tiles in height and width.
    pub tiles: [usize; 2],
}

impl Tiles {
    /// The tiles of `problem`, if it is one of strides and dilations of 1 with windows of 3x3 and more.
    #[must_use]
    pub fn new(problem: &ConvProblem) -> Option<Self> {
        let geometry = &problem.geometry;
        let is_dense = geometry.stride == [1, 1] && geometry.dilation == [1, 1];
        if !is_dense || geometry.kernel.iter().any(|&taps| taps < 3) {
            return None;
        }
        let channels = geometry.input[2] / problem.groups;
        let blocks = geometry.kernel.map(|taps| taps.div_ceil(3));
        let tiles = geometry.output.map(|size| size.div_ceil(4));
        Some(Self { problem: *problem, channels, blocks, tiles })
    }

    /// Number of blocks.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.blocks[0] * self.blocks[1]
    }

    /// Number of tiles.
    #[must_use]
    pub const fn tile_count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Panels of `nr` output channels that a group has.
    #[must_use]
    pub const fn panels_of_group(&self, nr: usize) -> usize {
        (self.problem.n / self.problem.groups).div_ceil(nr)
    }

    /// First channel of the result, and number of channels, of a panel of `nr`.
    #[must_use]
    pub fn channels_of(&self, panel: usize, nr: usize) -> (usize, usize) {
        let width = self.problem.n / self.problem.groups;
        let panels = self.panels_of_group(nr);
        let (group, index) = (panel / panels, panel % panels);
        (group * width + index * nr, nr.min(width - index * nr))
    }

    /// First row and column of the results of a tile.
    #[must_use]
    pub const fn first_result(&self, tile: usize) -> [usize; 2] {
        [tile / self.tiles[1] * 4, tile % self.tiles[1] * 4]
    }

    /// The 6x6 pixels that `block` of `tile` sees, from `channel` on: where they begin, and elements from one pixel and from
    /// one line to the next. From the last pixel on `reach` elements are there. Where the input does not have that, the
    /// pixels are copied to `patch`, zero points where there is none.
    ///
    /// # Panics
    /// If `patch` does not hold 36 pixels of a group and what is read beyond the last.
    #[inline]
    #[must_use]
    pub fn pixels<'a>(
        &self,
        [tile, block]: [usize; 2],
        input: &'a [u8],
        [channel, reach]: [usize; 2],
        zero_point: u8,
        patch: &'a mut [u8],
    ) -> (&'a [u8], [usize; 2]) {
        let [height, width, all] = self.problem.geometry.input;
        let pads = self.problem.geometry.pad_before;
        let [y, x] = self.first_result(tile);
        // The first pixel, with the pads before it.
        let (y, x) = (y + block / self.blocks[1] * 3, x + block % self.blocks[1] * 3);
        let is_inside =
            y >= pads[0] && x >= pads[1] && y + 6 <= pads[0] + height && x + 6 <= pads[1] + width;
        if is_inside {
            let first = ((y - pads[0]) * width + x - pads[1]) * all + channel;
            if first + (5 * width + 5) * all + reach <= input.len() {
                return (&input[first..], [all, width * all]);
            }
        }
        self.fill_patch(input, [y, x], channel, zero_point, patch);
        let (pixel, line) = (self.channels, 6 * self.channels);
        assert!(patch.len() >= 5 * (line + pixel) + reach, "a patch of {} bytes", patch.len());
        (patch, [pixel, line])
    }

    /// Copies the 6x6 pixels from `y`, `x` (counted from the pads).
    fn fill_patch(
        &self,
        input: &[u8],
        [y, x]: [usize; 2],
        channel: usize,
        zero_point: u8,
        patch: &mut [u8],
    ) {
        let [height, width, all] = self.problem.geometry.input;
        let pads = self.problem.geometry.pad_before;
        let channels = self.channels;
        patch[..PLACES * channels].fill(zero_point);
        // Columns of the patch that are in the input.
        let columns = pads[1].saturating_sub(x)..6.min((width + pads[1]).saturating_sub(x));
        if columns.is_empty() {
            return;
        }
        for row in 0..6 {
            let Some(iy) = (y + row).checked_sub(pads[0]).filter(|&iy| iy < height) else {
                continue;
            };
            let from = (iy * width + x + columns.start - pads[1]) * all + channel;
            let to = (row * 6 + columns.start) * channels;
            if channels == all {
                let len = columns.len() * channels;
                patch[to..][..len].copy_from_slice(&input[from..][..len]);
                continue;
            }
            for column in 0..columns.len() {
                let pixel = &input[from + column * all..][..channels];
                patch[to + column * channels..][..channels].copy_from_slice(pixel);
            }
        }
    }

    /// Elements of a filter.
    #[must_use]
    pub const fn filter_len(&self) -> usize {
        let [kh, kw] = self.problem.geometry.kernel;
        kh * kw * self.channels
    }

    /// Calls `each([block, channel], weights)` with the transformed weights of a filter.
    ///
    /// # Panics
    /// If it is shorter than [`Self::filter_len`].
    pub fn for_each_weight(&self, filter: &[i8], mut each: impl FnMut([usize; 2], [i16; PLACES])) {
        let [kh, kw] = self.problem.geometry.kernel;
        for block in 0..self.block_count() {
            let [y, x] = [block / self.blocks[1] * 3, block % self.blocks[1] * 3];
            for channel in 0..self.channels {
                let tap = |ky: usize, kx: usize| {
                    let is_there = ky < kh && kx < kw;
                    let at = (ky * kw + kx) * self.channels + channel;
                    if is_there { i32::from(filter[at]) } else { 0 }
                };
                let g = [0, 1, 2].map(|ky| [0, 1, 2].map(|kx| tap(y + ky, x + kx)));
                let transformed = transform_weights(g);
                let word = |place: usize| {
                    i16::try_from(transformed[place / 6][place % 6])
                        .expect("transformed weights are at most 6,272")
                };
                each([block, channel], core::array::from_fn(word));
            }
        }
    }
}

/// The bias of output channel `channel`, less what the zero point adds to every sum of the channel's `filter`.
#[must_use]
pub fn bias_less_zero_point(
    weights: ConvWeights<'_, i8, i32>,
    channel: usize,
    filter: &[i8],
    zero_point: u8,
) -> i32 {
    let sum = filter.iter().fold(0_i32, |sum, &w| sum.wrapping_add(i32::from(w)));
    let own = weights.bias.get(channel).copied().unwrap_or(0);
    own.wrapping_sub(i32::from(zero_point).wrapping_mul(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transformed_weights_fit_words() {
        for signs in 0..512_u32 {
            let sign = |at: u32| if signs >> at & 1 == 1 { -128 } else { 127 };
            let g = [0, 1, 2].map(|y| [0, 1, 2].map(|x| sign(y * 3 + x)));
            let largest = transform_weights(g).as_flattened().iter().map(|w| w.abs()).max();
            assert!(largest.is_some_and(|largest| largest <= 6272), "{largest:?}");
        }
    }

    #[test]
    fn nine_has_its_inverse() {
        assert_eq!(INVERSE_OF_9.wrapping_mul(9), 1);
    }

    #[test]
    fn accumulators_fit_below_2_to_25() {
        let weights = [127; 1036];
        assert!(fits(&weights, 3_571) && !fits(&weights, 3_572));
        assert!(fits(&[-128; 1028], 0) && !fits(&[-128; 1029], 0));
    }
}
