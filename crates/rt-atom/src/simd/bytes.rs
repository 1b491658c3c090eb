//! Vectors of bytes and of the words and i32 that they become: what arithmetic on levels and tables need beside [`Simd`].

use core::arch::x86_64::*;

use super::words::Words;
use crate::detect::{Avx2, Avx512, Sse41};

/// Vectors of `4 * LANES` bytes.
pub(crate) trait Bytes: Words {
    /// In each sixteen bytes: those of `table` that the four lowest bits of the indices name; zero where the top bit is set.
    fn shuffle(self, table: Self::I32, indices: Self::I32) -> Self::I32;
    /// Difference of signed bytes, saturating.
    fn subtract_saturating(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Exclusive or.
    fn xor(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Minimum of unsigned bytes.
    fn min_bytes(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Sum of words, saturating.
    fn add_words_saturating(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The first eight bytes of each sixteen, those of `a` and of `b` by turns.
    fn first_bytes(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The last eight bytes of each sixteen, by turns.
    fn last_bytes(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The first four words of each eight, by turns.
    fn first_words(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The last four words of each eight, by turns.
    fn last_words(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Words of the i32 of each 128 bits, first of `a`, then of `b`; saturating.
    fn pack_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Unsigned bytes of the signed words of each 128 bits, first of `a`, then of `b`; saturating.
    fn pack_words(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Words times 128; wraps.
    fn words_times_128(self, a: Self::I32) -> Self::I32;

    /// The word in all lanes.
    #[inline(always)]
    fn splat_word(self, x: i16) -> Self::I32 {
        let [low, high] = x.to_ne_bytes();
        self.splat_i32(i32::from_ne_bytes([low, high, low, high]))
    }

    /// Clamps i32, in the order of `first_*` and `last_*`, to `bounds` as bytes. A number is added to them first, saturating
    /// in 16 bits.
    #[inline(always)]
    fn levels(self, sums: [Self::I32; 4], plus: i16, bounds: [u8; 2]) -> Self::I32 {
        let plus = self.splat_word(plus);
        let first = self.add_words_saturating(self.pack_i32(sums[0], sums[1]), plus);
        let last = self.add_words_saturating(self.pack_i32(sums[2], sums[3]), plus);
        let [low, high] = bounds.map(|bound| self.splat_i32(i32::from_ne_bytes([bound; 4])));
        self.min_bytes(self.max_bytes(self.pack_words(first, last), low), high)
    }
}

/// Implements the methods by the names of their instructions.
macro_rules! bytes {
    ($level:ty, $vector:ty, $shift:ident, $($method:ident $instruction:ident)+) => {
        impl Bytes for $level {
            $(
                #[inline(always)]
                fn $method(self, a: $vector, b: $vector) -> $vector {
                    // SAFETY: the token proves that the CPU has the instructions of the level.
                    unsafe { $instruction(a, b) }
                }
            )+

            #[inline(always)]
            fn words_times_128(self, a: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $shift::<7>(a) }
            }
        }
    };
}

bytes! {
    Sse41, __m128i, _mm_slli_epi16,
    shuffle _mm_shuffle_epi8 subtract_saturating _mm_subs_epi8 xor _mm_xor_si128
    min_bytes _mm_min_epu8 add_words_saturating _mm_adds_epi16
    first_bytes _mm_unpacklo_epi8 last_bytes _mm_unpackhi_epi8
    first_words _mm_unpacklo_epi16 last_words _mm_unpackhi_epi16
    pack_i32 _mm_packs_epi32 pack_words _mm_packus_epi16
}

bytes! {
    Avx2, __m256i, _mm256_slli_epi16,
    shuffle _mm256_shuffle_epi8 subtract_saturating _mm256_subs_epi8 xor _mm256_xor_si256
    min_bytes _mm256_min_epu8 add_words_saturating _mm256_adds_epi16
    first_bytes _mm256_unpacklo_epi8 last_bytes _mm256_unpackhi_epi8
    first_words _mm256_unpacklo_epi16 last_words _mm256_unpackhi_epi16
    pack_i32 _mm256_packs_epi32 pack_words _mm256_packus_epi16
}

bytes! {
    Avx512, __m512i, _mm512_slli_epi16,
    shuffle _mm512_shuffle_epi8 subtract_saturating _mm512_subs_epi8 xor _mm512_xor_si512
    min_bytes _mm512_min_epu8 add_words_saturating _mm512_adds_epi16
    first_bytes _mm512_unpacklo_epi8 last_bytes _mm512_unpackhi_epi8
    first_words _mm512_unpacklo_epi16 last_words _mm512_unpackhi_epi16
    pack_i32 _mm512_packs_epi32 pack_words _mm512_packus_epi16
}
