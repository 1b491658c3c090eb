//! 512-bit vectors: AVX-512 F, BW, DQ and VL, the same with VNNI, and that with VBMI.

use core::arch::x86_64::*;

use super::Simd;
use crate::detect::{Avx512, Avx512Vbmi, Avx512Vnni};

/// Constants of a requantization.
#[derive(Clone, Copy)]
pub(crate) struct Rounding {
    /// Half of the divisor, and the zero point times the divisor.
    half: __m512i,
    /// The shift less 32.
    shift: __m128i,
}

/// Sixteen bytes of two taps as pairs of words. A function and no closure, since one that is not inlined costs a call an
/// instruction.
///
/// # Safety
/// Sixteen bytes must be readable at both; the CPU must have AVX-512.
#[inline(always)]
unsafe fn interleave_u8(a: *const u8, b: *const u8) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let a = _mm512_cvtepu8_epi32(_mm_loadu_si128(a.cast()));
        let b = _mm512_cvtepu8_epi32(_mm_loadu_si128(b.cast()));
        _mm512_or_si512(a, _mm512_slli_epi32::<16>(b))
    }
}

/// Like [`interleave_u8`], for signed bytes.
///
/// # Safety
/// Sixteen bytes must be readable at both; the CPU must have AVX-512.
#[inline(always)]
unsafe fn interleave_i8(a: *const i8, b: *const i8) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let a = _mm512_cvtepi8_epi32(_mm_loadu_si128(a.cast()));
        let b = _mm512_cvtepi8_epi32(_mm_loadu_si128(b.cast()));
        _mm512_mask_blend_epi16(0xaaaa_aaaa, a, _mm512_slli_epi32::<16>(b))
    }
}

/// Implements the vectors for a level that has AVX-512: the body of its `dot4`, and functions for `pick_far` and `pick_near`.
macro_rules! vectors_of_512_bits {
    (
        $level:ty, dot $has_dot:literal, |$self:ident, $sum:ident, $x:ident, $w:ident| $dot4:expr,
        windows $windows:expr, far below $far_below:literal, $pick_far:path, $pick_near:path
    ) => {
        impl Simd for $level {
            const LANES: usize = 16;
            const MR_F32: usize = 14;
            const MR_Q8: usize = 12;
            const HAS_DOT: bool = $has_dot;
            const SHUFFLES: bool = false;
            const WINDOWS: [usize; 2] = $windows;
            const FAR_BELOW: f32 = $far_below;
            type F32 = __m512;
            type I32 = __m512i;
            type Rounding = Rounding;

            #[inline(always)]
            fn splat(self, x: f32) -> __m512 {
                // SAFETY: the token proves AVX-512, here and below.
                unsafe { _mm512_set1_ps(x) }
            }

            #[inline(always)]
            unsafe fn load(self, at: *const f32) -> __m512 {
                // SAFETY: by the contract.
                unsafe { _mm512_loadu_ps(at) }
            }

            #[inline(always)]
            unsafe fn store(self, at: *mut f32, x: __m512) {
                // SAFETY: by the contract.
                unsafe { _mm512_storeu_ps(at, x) }
            }

            #[inline(always)]
            unsafe fn store_first(self, at: *mut f32, x: __m512, count: usize) {
                assert!(count <= 16);
                // SAFETY: only the lanes of the mask are written, which are writable by the contract.
                unsafe { _mm512_mask_storeu_ps(at, _cvtu32_mask16((1 << count) - 1), x) };
            }

            #[inline(always)]
            fn add(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_add_ps(a, b) }
            }

            #[inline(always)]
            fn sub(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_sub_ps(a, b) }
            }

            #[inline(always)]
            fn div(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_div_ps(a, b) }
            }

            #[inline(always)]
            fn sqrt(self, x: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_sqrt_ps(x) }
            }

            #[inline(always)]
            fn mul(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_mul_ps(a, b) }
            }

            #[inline(always)]
            fn mul_add(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_fmadd_ps(a, b, sum) }
            }

            #[inline(always)]
            fn max(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_max_ps(a, b) }
            }

            #[inline(always)]
            fn min(self, a: __m512, b: __m512) -> __m512 {
                // SAFETY: the token.
                unsafe { _mm512_min_ps(a, b) }
            }

            #[inline(always)]
            fn splat_i32(self, x: i32) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_set1_epi32(x) }
            }

            #[inline(always)]
            unsafe fn load_bytes(self, at: *const u8) -> __m512i {
                // SAFETY: by the contract.
                unsafe { _mm512_loadu_si512(at.cast()) }
            }

            #[inline(always)]
            unsafe fn store_bytes(self, at: *mut u8, x: __m512i) {
                // SAFETY: by the contract.
                unsafe { _mm512_storeu_si512(at.cast(), x) }
            }

            #[inline(always)]
            fn max_bytes(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_max_epu8(a, b) }
            }

            #[inline(always)]
            fn madd(self, a: __m512i, b: __m512i, sum: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) }
            }

            #[inline(always)]
            fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_add_epi32(a, b) }
            }

            #[inline(always)]
            unsafe fn pick_far(self, at: *const u8, indices: __m512i) -> __m512i {
                // SAFETY: by the contract, and the token.
                unsafe { $pick_far(at, indices) }
            }

            #[inline(always)]
            unsafe fn pick_near(self, at: *const u8, indices: __m512i) -> __m512i {
                // SAFETY: by the contract, and the token.
                unsafe { $pick_near(at, indices) }
            }

            #[inline(always)]
            fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_add_epi16(a, b) }
            }


            #[inline(always)]
            fn pairs(self, x: __m512i, w: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_maddubs_epi16(x, w) }
            }

            #[inline(always)]
            fn add_pairs(self, sum: __m512i, pairs: __m512i) -> __m512i {
                // SAFETY: the token.
                unsafe { _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1))) }
            }

            #[inline(always)]
    fn nibbles(self, x: __m512i) -> [__m512i; 2] {
        // SAFETY: the token.
        unsafe {
            let bits = _mm512_set1_epi8(15);
            [_mm512_and_si512(x, bits), _mm512_and_si512(_mm512_srli_epi16::<4>(x), bits)]
        }
    }

    #[inline(always)]
            fn widen_u8(self, x: __m512i) -> [__m512i; 2] {
                // SAFETY: the token.
                unsafe {
                    [_mm512_and_si512(x, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(x)]
                }
            }

            #[inline(always)]
            fn widen_i8(self, w: __m512i) -> [__m512i; 2] {
                // SAFETY: the token.
                unsafe {
                    let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(w));
                    [even, _mm512_srai_epi16::<8>(w)]
                }
            }

            #[inline(always)]
            fn dot4($self, $sum: __m512i, $x: __m512i, $w: __m512i) -> __m512i {
                $dot4
            }

            #[inline(always)]
            unsafe fn broadcasts(self, at: *const u8) -> [__m512i; 4] {
                // SAFETY: sixteen bytes by the contract.
                [0, 4, 8, 12].map(|byte| unsafe {
                    _mm512_set1_epi32(at.add(byte).cast::<i32>().read_unaligned())
                })
            }

            #[inline(always)]
            unsafe fn interleave_u8(self, taps: [*const u8; 2]) -> [__m512i; 2] {
                let [a, b] = taps;
                // SAFETY: 32 bytes each by the contract, and the token.
                unsafe { [interleave_u8(a, b), interleave_u8(a.add(16), b.add(16))] }
            }

            #[inline(always)]
            unsafe fn interleave_i8(self, taps: [*const i8; 2]) -> [__m512i; 2] {
                let [a, b] = taps;
                // SAFETY: 32 bytes each by the contract, and the token.
                unsafe { [interleave_i8(a, b), interleave_i8(a.add(16), b.add(16))] }
            }

            #[inline(always)]
            fn table(self, bytes: &[i8; 16]) -> __m512i {
                // SAFETY: sixteen bytes.
                unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
            }

            #[inline(always)]
            fn look_up(self, table: __m512i, indices: __m512i) -> [__m512i; 2] {
                // SAFETY: the token.
                unsafe {
                    let nibbles = _mm512_set1_epi8(15);
                    let even = _mm512_shuffle_epi8(table, _mm512_and_si512(indices, nibbles));
                    let odd = _mm512_and_si512(_mm512_srli_epi16::<4>(indices), nibbles);
                    let odd = _mm512_shuffle_epi8(table, odd);
                    [_mm512_unpacklo_epi8(even, odd), _mm512_unpackhi_epi8(even, odd)]
                }
            }

            /// Looking up works in each quarter, so the weights come as the even and the odd sixteens of columns.
            #[inline(always)]
            unsafe fn load_for_table(self, at: *const u8) -> [__m512i; 2] {
                // SAFETY: 128 bytes by the contract, and the token.
                unsafe {
                    let a = _mm512_loadu_si512(at.cast());
                    let b = _mm512_loadu_si512(at.add(64).cast());
                    let first = _mm512_shuffle_i64x2::<0x88>(a, b);
                    [first, _mm512_shuffle_i64x2::<0xdd>(a, b)]
                }
            }

            #[inline(always)]
            fn sums(self, x: [__m512i; 4]) -> [i32; 4] {
                // SAFETY: the token.
                x.map(|x| unsafe { _mm512_reduce_add_epi32(x) })
            }

            #[inline(always)]
            fn rounding(self, shift: u32, zero_point: u8) -> Rounding {
                // SAFETY: the token.
                unsafe {
                    Rounding {
                        half: _mm512_set1_epi64(
                            (1_i64 << (shift - 1)) + (i64::from(zero_point) << shift),
                        ),
                        shift: _mm_cvtsi32_si128(shift.cast_signed() - 32),
                    }
                }
            }

            #[inline(always)]
            fn requantize(self, sum: __m512i, multiplier: __m512i, rounding: Rounding) -> __m512i {
                let Rounding { half, shift } = rounding;
                // SAFETY: the token.
                unsafe {
                    let even = _mm512_add_epi64(_mm512_mul_epi32(sum, multiplier), half);
                    let odd = _mm512_mul_epi32(
                        _mm512_srli_epi64::<32>(sum),
                        _mm512_srli_epi64::<32>(multiplier),
                    );
                    let odd = _mm512_add_epi64(odd, half);
                    // The upper halves of the even products into the even lanes of the odd ones.
                    let both = _mm512_mask_shuffle_epi32::<0xf5>(odd, 0x5555, even);
                    _mm512_sra_epi32(both, shift)
                }
            }

            #[inline(always)]
            unsafe fn store_two_levels(
                self,
                at: [*mut u8; 2],
                words: [[__m512i; 2]; 2],
                bounds: [u8; 2],
            ) {
                // SAFETY: 32 bytes each by the contract, and the token. Packing works in each quarter, after which the
                // fours of a row stand four apart and those of its vectors next to each other. Both packs saturate, and
                // the bounds lie inside what they saturate to.
                unsafe {
                    let first = _mm512_packs_epi32(words[0][0], words[0][1]);
                    let second = _mm512_packs_epi32(words[1][0], words[1][1]);
                    let levels = _mm512_packus_epi16(first, second);
                    let order = _mm512_setr_epi32(
                        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                    );
                    let levels = _mm512_permutexvar_epi32(order, levels);
                    let [low, high] = bounds.map(|bound| _mm512_set1_epi8(bound.cast_signed()));
                    let levels = _mm512_min_epu8(_mm512_max_epu8(levels, low), high);
                    _mm256_storeu_si256(at[0].cast(), _mm512_castsi512_si256(levels));
                    _mm256_storeu_si256(at[1].cast(), _mm512_extracti64x4_epi64::<1>(levels));
                }
            }

            #[inline(always)]
            unsafe fn store_levels(self, at: *mut u8, words: [__m512i; 2], bounds: [u8; 2]) {
                // SAFETY: 32 bytes by the contract, and the token. The bounds lie inside what the narrowing saturates to.
                unsafe {
                    let [low, high] = bounds.map(|bound| _mm_set1_epi8(bound.cast_signed()));
                    for (half, word) in words.into_iter().enumerate() {
                        let word = _mm512_max_epi32(word, _mm512_setzero_si512());
                        let levels = _mm512_cvtusepi32_epi8(word);
                        let levels = _mm_min_epu8(_mm_max_epu8(levels, low), high);
                        _mm_storeu_si128(at.add(16 * half).cast(), levels);
                    }
                }
            }
        }
    };
}

vectors_of_512_bits!(Avx512, dot false, |self, sum, x, w| {
    self.dot_widened(sum, self.widen_u8(x), w)
}, windows [32, 16], far below 0.2, pick_32, pick_16);
vectors_of_512_bits!(Avx512Vnni, dot true, |self, sum, x, w| {
    // SAFETY: the token proves AVX-512 VNNI.
    unsafe { _mm512_dpbusd_epi32(sum, x, w) }
}, windows [32, 16], far below 0.2, pick_32, pick_16);
vectors_of_512_bits!(Avx512Vbmi, dot true, |self, sum, x, w| {
    // SAFETY: the token proves AVX-512 VNNI.
    unsafe { _mm512_dpbusd_epi32(sum, x, w) }
}, windows [128, 64], far below 0.12, pick_128, pick_64);

/// As with 128 bits: all quarters pick from the same bytes.
///
/// # Safety
/// 32 bytes must be readable, and the CPU must have AVX-512 BW.
#[inline(always)]
unsafe fn pick_32(at: *const u8, indices: __m512i) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let low = _mm512_broadcast_i32x4(_mm_loadu_si128(at.cast()));
        let high = _mm512_broadcast_i32x4(_mm_loadu_si128(at.add(16).cast()));
        let low = _mm512_shuffle_epi8(low, _mm512_add_epi8(indices, _mm512_set1_epi8(0x70)));
        let high = _mm512_shuffle_epi8(high, _mm512_sub_epi8(indices, _mm512_set1_epi8(16)));
        _mm512_or_si512(low, high)
    }
}

/// # Safety
/// Sixteen bytes must be readable, and the CPU must have AVX-512 BW.
#[inline(always)]
unsafe fn pick_16(at: *const u8, indices: __m512i) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let all = _mm512_broadcast_i32x4(_mm_loadu_si128(at.cast()));
        _mm512_shuffle_epi8(all, indices)
    }
}

/// # Safety
/// 128 bytes must be readable, and the CPU must have AVX-512 VBMI.
#[inline(always)]
unsafe fn pick_128(at: *const u8, indices: __m512i) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let (low, high) = (_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(64).cast()));
        _mm512_permutex2var_epi8(low, indices, high)
    }
}

/// # Safety
/// 64 bytes must be readable, and the CPU must have AVX-512 VBMI.
#[inline(always)]
unsafe fn pick_64(at: *const u8, indices: __m512i) -> __m512i {
    // SAFETY: by the contract.
    unsafe { _mm512_permutexvar_epi8(indices, _mm512_loadu_si512(at.cast())) }
}
