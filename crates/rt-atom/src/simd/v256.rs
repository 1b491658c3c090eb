//! 256-bit vectors: AVX2 with FMA, and the same with AVX-VNNI.

use core::arch::x86_64::*;

use super::Simd;
use crate::detect::{Avx2, AvxVnni};

/// Constants of a requantization; why they are these is said at the 128-bit ones.
#[derive(Clone, Copy)]
pub(crate) struct Rounding {
    /// Half of the divisor, and the zero point times the divisor.
    half: __m256i,
    /// The shift less 32.
    shift: __m128i,
}

/// Implements the vectors for a level that has AVX2 and FMA; the last argument is the body of its `dot4`.
macro_rules! vectors_of_256_bits {
    ($level:ty, rows $mr_q8:literal, dot $has_dot:literal, |$self:ident, $sum:ident, $x:ident, $w:ident| $dot4:expr) => {
        impl Simd for $level {
            const LANES: usize = 8;
            const MR_F32: usize = 6;
            const MR_Q8: usize = $mr_q8;
            const HAS_DOT: bool = $has_dot;
            const SHUFFLES: bool = false;
            const WINDOWS: [usize; 2] = [32, 16];
            const FAR_BELOW: f32 = 0.2;
            type F32 = __m256;
            type I32 = __m256i;
            type Rounding = Rounding;

            #[inline(always)]
            fn splat(self, x: f32) -> __m256 {
                // SAFETY: the token proves AVX2 and FMA, here and below.
                unsafe { _mm256_set1_ps(x) }
            }

            #[inline(always)]
            unsafe fn load(self, at: *const f32) -> __m256 {
                // SAFETY: by the contract.
                unsafe { _mm256_loadu_ps(at) }
            }

            #[inline(always)]
            unsafe fn store(self, at: *mut f32, x: __m256) {
                // SAFETY: by the contract.
                unsafe { _mm256_storeu_ps(at, x) }
            }

            #[inline(always)]
            fn add(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_add_ps(a, b) }
            }

            #[inline(always)]
            fn sub(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_sub_ps(a, b) }
            }

            #[inline(always)]
            fn div(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_div_ps(a, b) }
            }

            #[inline(always)]
            fn sqrt(self, x: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_sqrt_ps(x) }
            }

            #[inline(always)]
            fn mul(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_mul_ps(a, b) }
            }

            #[inline(always)]
            fn mul_add(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_fmadd_ps(a, b, sum) }
            }

            #[inline(always)]
            fn max(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_max_ps(a, b) }
            }

            #[inline(always)]
            fn min(self, a: __m256, b: __m256) -> __m256 {
                // SAFETY: the token.
                unsafe { _mm256_min_ps(a, b) }
            }

            #[inline(always)]
            fn splat_i32(self, x: i32) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_set1_epi32(x) }
            }

            #[inline(always)]
            unsafe fn load_bytes(self, at: *const u8) -> __m256i {
                // SAFETY: by the contract.
                unsafe { _mm256_loadu_si256(at.cast()) }
            }

            #[inline(always)]
            unsafe fn store_bytes(self, at: *mut u8, x: __m256i) {
                // SAFETY: by the contract.
                unsafe { _mm256_storeu_si256(at.cast(), x) }
            }

            #[inline(always)]
            fn max_bytes(self, a: __m256i, b: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_max_epu8(a, b) }
            }

            #[inline(always)]
            fn madd(self, a: __m256i, b: __m256i, sum: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
            }

            #[inline(always)]
            fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_add_epi32(a, b) }
            }

            /// As with 128 bits: both halves pick from the same bytes.
            #[inline(always)]
            unsafe fn pick_far(self, at: *const u8, indices: __m256i) -> __m256i {
                // SAFETY: 32 bytes by the contract, and the token.
                unsafe {
                    let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
                    let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.add(16).cast()));
                    let index = _mm256_add_epi8(indices, _mm256_set1_epi8(0x70));
                    let low = _mm256_shuffle_epi8(low, index);
                    let index = _mm256_sub_epi8(indices, _mm256_set1_epi8(16));
                    _mm256_or_si256(low, _mm256_shuffle_epi8(high, index))
                }
            }

            #[inline(always)]
            unsafe fn pick_near(self, at: *const u8, indices: __m256i) -> __m256i {
                // SAFETY: sixteen bytes by the contract, and the token.
                unsafe {
                    let all = _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
                    _mm256_shuffle_epi8(all, indices)
                }
            }

            #[inline(always)]
            fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_add_epi16(a, b) }
            }


            #[inline(always)]
            fn pairs(self, x: __m256i, w: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_maddubs_epi16(x, w) }
            }

            #[inline(always)]
            fn add_pairs(self, sum: __m256i, pairs: __m256i) -> __m256i {
                // SAFETY: the token.
                unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))) }
            }

            #[inline(always)]
    fn nibbles(self, x: __m256i) -> [__m256i; 2] {
        // SAFETY: the token.
        unsafe {
            let bits = _mm256_set1_epi8(15);
            [_mm256_and_si256(x, bits), _mm256_and_si256(_mm256_srli_epi16::<4>(x), bits)]
        }
    }

    #[inline(always)]
            fn widen_u8(self, x: __m256i) -> [__m256i; 2] {
                // SAFETY: the token.
                unsafe {
                    [_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(x)]
                }
            }

            #[inline(always)]
            fn widen_i8(self, w: __m256i) -> [__m256i; 2] {
                // SAFETY: the token.
                unsafe {
                    let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w));
                    [even, _mm256_srai_epi16::<8>(w)]
                }
            }

            #[inline(always)]
            fn dot4($self, $sum: __m256i, $x: __m256i, $w: __m256i) -> __m256i {
                $dot4
            }

            #[inline(always)]
            unsafe fn broadcasts(self, at: *const u8) -> [__m256i; 4] {
                // SAFETY: sixteen bytes by the contract.
                [0, 4, 8, 12].map(|byte| unsafe {
                    _mm256_set1_epi32(at.add(byte).cast::<i32>().read_unaligned())
                })
            }

            #[inline(always)]
            unsafe fn interleave_u8(self, taps: [*const u8; 2]) -> [__m256i; 2] {
                // SAFETY: sixteen bytes each by the contract, and the token.
                unsafe {
                    let a = _mm_loadu_si128(taps[0].cast());
                    let b = _mm_loadu_si128(taps[1].cast());
                    let low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
                    [low, _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b))]
                }
            }

            #[inline(always)]
            unsafe fn interleave_i8(self, taps: [*const i8; 2]) -> [__m256i; 2] {
                // SAFETY: sixteen bytes each by the contract, and the token.
                unsafe {
                    let a = _mm_loadu_si128(taps[0].cast());
                    let b = _mm_loadu_si128(taps[1].cast());
                    let low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
                    [low, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b))]
                }
            }

            #[inline(always)]
            fn table(self, bytes: &[i8; 16]) -> __m256i {
                // SAFETY: sixteen bytes.
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
            }

            #[inline(always)]
            fn look_up(self, table: __m256i, indices: __m256i) -> [__m256i; 2] {
                // SAFETY: the token.
                unsafe {
                    let nibbles = _mm256_set1_epi8(15);
                    let even = _mm256_shuffle_epi8(table, _mm256_and_si256(indices, nibbles));
                    let odd = _mm256_and_si256(_mm256_srli_epi16::<4>(indices), nibbles);
                    let odd = _mm256_shuffle_epi8(table, odd);
                    [_mm256_unpacklo_epi8(even, odd), _mm256_unpackhi_epi8(even, odd)]
                }
            }

            /// Looking up works in each half, so the weights come as columns 0-15, 32-47 and 16-31, 48-63.
            #[inline(always)]
            unsafe fn load_for_table(self, at: *const u8) -> [__m256i; 2] {
                // SAFETY: 64 bytes by the contract, and the token.
                unsafe {
                    let a = _mm256_loadu_si256(at.cast());
                    let b = _mm256_loadu_si256(at.add(32).cast());
                    let first = _mm256_permute2x128_si256::<0x20>(a, b);
                    [first, _mm256_permute2x128_si256::<0x31>(a, b)]
                }
            }

            #[inline(always)]
            fn sums(self, x: [__m256i; 4]) -> [i32; 4] {
                let mut sums = [0; 4];
                // SAFETY: four i32, and the token.
                unsafe {
                    let low = _mm256_hadd_epi32(x[0], x[1]);
                    let all = _mm256_hadd_epi32(low, _mm256_hadd_epi32(x[2], x[3]));
                    let (low, high) =
                        (_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
                    _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_add_epi32(low, high));
                }
                sums
            }

            #[inline(always)]
            fn rounding(self, shift: u32, zero_point: u8) -> Rounding {
                // SAFETY: the token.
                unsafe {
                    Rounding {
                        half: _mm256_set1_epi64x(
                            (1_i64 << (shift - 1)) + (i64::from(zero_point) << shift),
                        ),
                        shift: _mm_cvtsi32_si128(shift.cast_signed() - 32),
                    }
                }
            }

            #[inline(always)]
            fn requantize(self, sum: __m256i, multiplier: __m256i, rounding: Rounding) -> __m256i {
                let Rounding { half, shift } = rounding;
                // SAFETY: the token.
                unsafe {
                    let even = _mm256_add_epi64(_mm256_mul_epi32(sum, multiplier), half);
                    // By shuffles: of shifts the compiler makes products of 64 bits.
                    let odd = [
                        _mm256_shuffle_epi32::<0xf5>(sum),
                        _mm256_shuffle_epi32::<0xf5>(multiplier),
                    ];
                    let odd = _mm256_add_epi64(_mm256_mul_epi32(odd[0], odd[1]), half);
                    let even = _mm256_srli_epi64::<32>(even);
                    _mm256_sra_epi32(_mm256_blend_epi32::<0xaa>(even, odd), shift)
                }
            }

            #[inline(always)]
            unsafe fn store_two_levels(
                self,
                at: [*mut u8; 2],
                words: [[__m256i; 2]; 2],
                bounds: [u8; 2],
            ) {
                // SAFETY: sixteen bytes each by the contract, and the token. Packing works in each half, after which the
                // fours of a row stand two apart and those of its vectors next to each other. Both packs saturate, and the
                // bounds lie inside what they saturate to.
                unsafe {
                    let first = _mm256_packs_epi32(words[0][0], words[0][1]);
                    let second = _mm256_packs_epi32(words[1][0], words[1][1]);
                    let levels = _mm256_packus_epi16(first, second);
                    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                    let levels = _mm256_permutevar8x32_epi32(levels, order);
                    let [low, high] = bounds.map(|bound| _mm256_set1_epi8(bound.cast_signed()));
                    let levels = _mm256_min_epu8(_mm256_max_epu8(levels, low), high);
                    _mm_storeu_si128(at[0].cast(), _mm256_castsi256_si128(levels));
                    _mm_storeu_si128(at[1].cast(), _mm256_extracti128_si256::<1>(levels));
                }
            }

            #[inline(always)]
            unsafe fn store_levels(self, at: *mut u8, words: [__m256i; 2], bounds: [u8; 2]) {
                // SAFETY: sixteen bytes by the contract, and the token. Packing works in each half; the permutation
                // brings the quarters 0, 2, 1, 3 back into order. Both packs saturate, and the bounds lie inside what
                // they saturate to.
                unsafe {
                    let words = _mm256_packs_epi32(words[0], words[1]);
                    let words = _mm256_permute4x64_epi64::<0xd8>(words);
                    let (low, high) =
                        (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                    let levels = _mm_packus_epi16(low, high);
                    let [low, high] = bounds.map(|bound| _mm_set1_epi8(bound.cast_signed()));
                    let levels = _mm_min_epu8(_mm_max_epu8(levels, low), high);
                    _mm_storeu_si128(at.cast(), levels);
                }
            }
        }
    };
}

vectors_of_256_bits!(Avx2, rows 4, dot false, |self, sum, x, w| {
    self.dot_widened(sum, self.widen_u8(x), w)
});
vectors_of_256_bits!(AvxVnni, rows 6, dot true, |self, sum, x, w| {
    // SAFETY: the token proves AVX-VNNI.
    unsafe { _mm256_dpbusd_avx_epi32(sum, x, w) }
});
