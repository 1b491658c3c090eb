//! Vectors of a level behind one trait, so that a kernel is written once. Every method takes the level's token, which
//! proves that the CPU has the instructions; every method is inlined into a function that has them enabled, or it would
//! cost a call an instruction.

use crate::kernels::gemm::{OCTS, PAIRS, QUADS, WIDENED};

pub(crate) mod blocks;
pub(crate) mod bytes;
mod sse41;
mod v256;
mod v512;
pub(crate) mod words;

/// Vectors of `LANES` 32-bit lanes, and what kernels do with them.
pub(crate) trait Simd: Copy {
    /// 32-bit lanes of a vector.
    const LANES: usize;
    /// Rows of the f32 tile of two vectors.
    const MR_F32: usize;
    /// Rows of the integer tile of two vectors.
    const MR_Q8: usize;
    /// Whether `dot` is one exact instruction for any weights.
    const HAS_DOT: bool;
    /// Whether broadcasting from memory costs a shuffle, so that one load for four broadcasts is cheaper.
    const SHUFFLES: bool;
    /// Columns that `pick_far` and `pick_near` pick from.
    const WINDOWS: [usize; 2];
    /// Below which density of weights `pick_far` is the faster of both.
    const FAR_BELOW: f32;
    /// A vector of floats.
    type F32: Copy;
    /// A vector of i32, or of four times as many bytes.
    type I32: Copy;
    /// Constants of a requantization.
    type Rounding: Copy;

    /// The float in all lanes.
    fn splat(self, x: f32) -> Self::F32;
    /// A vector of floats.
    ///
    /// # Safety
    /// `LANES` floats must be readable at `at`.
    unsafe fn load(self, at: *const f32) -> Self::F32;
    /// Writes a vector of floats.
    ///
    /// # Safety
    /// `LANES` floats must be writable at `at`.
    unsafe fn store(self, at: *mut f32, x: Self::F32);
    /// Writes the first `count` floats of a vector.
    ///
    /// # Safety
    /// `count` floats must be writable at `at`.
    #[inline(always)]
    unsafe fn store_first(self, at: *mut f32, x: Self::F32, count: usize) {
        let mut lanes = [0.0_f32; 16];
        assert!(count <= Self::LANES && Self::LANES <= 16);
        // SAFETY: sixteen floats are a vector at least.
        unsafe { self.store(lanes.as_mut_ptr(), x) };
        for (lane, x) in lanes[..count].iter().enumerate() {
            // SAFETY: by the contract.
            unsafe { *at.add(lane) = *x };
        }
    }
    /// Sum.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Difference.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Product.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Quotient.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Square root.
    fn sqrt(self, x: Self::F32) -> Self::F32;
    /// `a * b + sum`, fused where the level can.
    fn mul_add(self, a: Self::F32, b: Self::F32, sum: Self::F32) -> Self::F32;
    /// Maximum; `b` where there is a NaN, as `maxps` has it.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Minimum; `b` where there is a NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The integer in all lanes.
    fn splat_i32(self, x: i32) -> Self::I32;
    /// A vector of i32, or of bytes.
    ///
    /// # Safety
    /// `4 * LANES` bytes must be readable at `at`.
    unsafe fn load_bytes(self, at: *const u8) -> Self::I32;
    /// Writes a vector of i32, or of bytes.
    ///
    /// # Safety
    /// `4 * LANES` bytes must be writable at `at`.
    unsafe fn store_bytes(self, at: *mut u8, x: Self::I32);
    /// Maximum of unsigned bytes.
    fn max_bytes(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Adds to each i32 lane the two products of the lane's i16.
    fn madd(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32;

    /// Sum.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The bytes at `at` that the indices, below the first of `WINDOWS`, name.
    ///
    /// # Safety
    /// As many bytes must be readable.
    unsafe fn pick_far(self, at: *const u8, indices: Self::I32) -> Self::I32;
    /// The same for the second of `WINDOWS`.
    ///
    /// # Safety
    /// As many bytes must be readable.
    unsafe fn pick_near(self, at: *const u8, indices: Self::I32) -> Self::I32;

    /// Sum of 16-bit words; wraps.
    fn add_words(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `pmaddubsw`: products of unsigned and signed bytes, summed in pairs, saturating.
    fn pairs(self, x: Self::I32, w: Self::I32) -> Self::I32;
    /// Adds the two i16 of each lane to its i32.
    fn add_pairs(self, sum: Self::I32, pairs: Self::I32) -> Self::I32;
    /// Even and odd unsigned bytes, each in 16 bits.
    fn widen_u8(self, x: Self::I32) -> [Self::I32; 2];
    /// The low and the high four bits of each byte.
    fn nibbles(self, x: Self::I32) -> [Self::I32; 2];
    /// Even and odd signed bytes, each in 16 bits.
    fn widen_i8(self, w: Self::I32) -> [Self::I32; 2];
    /// Adds the four products of each lane's bytes: only where `HAS_DOT`.
    fn dot4(self, sum: Self::I32, x: Self::I32, w: Self::I32) -> Self::I32;
    /// Each four of sixteen bytes in all lanes.
    ///
    /// # Safety
    /// Sixteen bytes must be readable at `at`.
    unsafe fn broadcasts(self, at: *const u8) -> [Self::I32; 4];

    /// Bytes of `2 * LANES` channels of two taps as pairs of i16, one pair a lane: the first channels, then the others.
    ///
    /// # Safety
    /// `2 * LANES` bytes must be readable at both.
    unsafe fn interleave_u8(self, taps: [*const u8; 2]) -> [Self::I32; 2];
    /// Like `interleave_u8`, for signed bytes.
    ///
    /// # Safety
    /// `2 * LANES` bytes must be readable at both.
    unsafe fn interleave_i8(self, taps: [*const i8; 2]) -> [Self::I32; 2];

    /// Sixteen bytes in each 128 bits.
    fn table(self, bytes: &[i8; 16]) -> Self::I32;
    /// What the 4-bit indices stand for, in an order that `load_for_table` has too.
    fn look_up(self, table: Self::I32, indices: Self::I32) -> [Self::I32; 2];
    /// Two vectors of bytes in the order of `look_up`.
    ///
    /// # Safety
    /// `8 * LANES` bytes must be readable at `at`.
    unsafe fn load_for_table(self, at: *const u8) -> [Self::I32; 2];
    /// Sums of all lanes of each vector.
    fn sums(self, x: [Self::I32; 4]) -> [i32; 4];

    /// Constants for a right shift of 32 to 54, and a zero point.
    fn rounding(self, shift: u32, zero_point: u8) -> Self::Rounding;
    /// `(sum * multiplier + half) >> shift + zero_point` in each lane, not yet clamped.
    fn requantize(
        self,
        sum: Self::I32,
        multiplier: Self::I32,
        rounding: Self::Rounding,
    ) -> Self::I32;
    /// Clamps `2 * LANES` i32 to `bounds` and writes them as bytes.
    ///
    /// # Safety
    /// `2 * LANES` bytes must be writable at `at`.
    unsafe fn store_levels(self, at: *mut u8, words: [Self::I32; 2], bounds: [u8; 2]);

    /// As `store_levels`, for two rows.
    ///
    /// # Safety
    /// `2 * LANES` bytes must be writable at both.
    unsafe fn store_two_levels(self, at: [*mut u8; 2], words: [[Self::I32; 2]; 2], bounds: [u8; 2]);

    /// Adds, in each i32 lane, the four products of the lane's bytes in `x` (unsigned) and `w` (signed).
    #[inline(always)]
    fn dot<const PRODUCTS: u8>(self, sum: Self::I32, x: Self::I32, w: Self::I32) -> Self::I32 {
        if Self::HAS_DOT {
            self.dot4(sum, x, w)
        } else if PRODUCTS == WIDENED {
            self.dot_widened(sum, self.widen_u8(x), w)
        } else {
            const { assert!(PRODUCTS <= OCTS) };
            const { assert!(WIDENED < PAIRS && PAIRS < QUADS && QUADS < OCTS) };
            self.add_pairs(sum, self.pairs(x, w))
        }
    }

    /// The same for bytes of `x` that are widened already, and any weights.
    #[inline(always)]
    fn dot_widened(self, sum: Self::I32, x: [Self::I32; 2], w: Self::I32) -> Self::I32 {
        let w = self.widen_i8(w);
        self.madd(x[1], w[1], self.madd(x[0], w[0], sum))
    }

    /// The products of two vectors, summed in 16 bits first where the weights are small enough.
    #[inline(always)]
    fn dot_both<const PRODUCTS: u8>(
        self,
        sum: Self::I32,
        x: [Self::I32; 2],
        w: [Self::I32; 2],
    ) -> Self::I32 {
        if PRODUCTS >= QUADS && !Self::HAS_DOT {
            self.add_pairs(sum, self.pairs_of_both(x, w))
        } else {
            self.dot::<PRODUCTS>(self.dot::<PRODUCTS>(sum, x[0], w[0]), x[1], w[1])
        }
    }

    /// The products of four vectors, summed in 16 bits first as far as the weights are small enough.
    #[inline(always)]
    fn dot_four<const PRODUCTS: u8>(
        self,
        sum: Self::I32,
        x: [Self::I32; 4],
        w: [Self::I32; 4],
    ) -> Self::I32 {
        if PRODUCTS == OCTS && !Self::HAS_DOT {
            return self.add_pairs(sum, self.pairs_of_four(x, w));
        }
        let halves = [([x[0], x[1]], [w[0], w[1]]), ([x[2], x[3]], [w[2], w[3]])];
        halves.into_iter().fold(sum, |sum, (x, w)| self.dot_both::<PRODUCTS>(sum, x, w))
    }

    /// The products of four vectors for any weights, the levels in their low and their high four bits: sixteen products of four
    /// bits and eight bits fit 16 bits.
    #[inline(always)]
    fn dot_nibbles(
        self,
        sum: Self::I32,
        [low, high]: [[Self::I32; 4]; 2],
        w: [Self::I32; 4],
    ) -> Self::I32 {
        let sum = self.add_pairs(sum, self.pairs_of_four(low, w));
        // Pairs of 16 in 16 bits: what high parts are worth.
        self.madd(self.pairs_of_four(high, w), self.splat_i32(0x0010_0010), sum)
    }

    /// Four results of `pmaddubsw`, added in 16 bits.
    #[inline(always)]
    fn pairs_of_four(self, x: [Self::I32; 4], w: [Self::I32; 4]) -> Self::I32 {
        let first = self.pairs_of_both([x[0], x[1]], [w[0], w[1]]);
        self.add_words(first, self.pairs_of_both([x[2], x[3]], [w[2], w[3]]))
    }

    /// Two results of `pmaddubsw`, added in 16 bits.
    #[inline(always)]
    fn pairs_of_both(self, x: [Self::I32; 2], w: [Self::I32; 2]) -> Self::I32 {
        self.add_words(self.pairs(x[0], w[0]), self.pairs(x[1], w[1]))
    }
}
