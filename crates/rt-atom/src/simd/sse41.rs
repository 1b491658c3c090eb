//! 128-bit vectors: SSE4.1.

use core::arch::x86_64::*;

use super::Simd;
use crate::detect::Sse41;

/// Constants of a requantization. SSE and AVX2 have no arithmetic right shift of 64-bit lanes, but from shift 32 on the
/// upper half of a product is enough: half of the divisor and the zero point are added to the whole product, which rounds
/// it, and the upper half is shifted by what is left. With shifts of at most 54 the sum fits: 2^62 + 2^53 + 255 * 2^54.
#[derive(Clone, Copy)]
pub(crate) struct Rounding {
    /// Half of the divisor, and the zero point times the divisor.
    half: __m128i,
    /// The shift less 32.
    shift: __m128i,
}

impl Simd for Sse41 {
    const LANES: usize = 4;
    const MR_F32: usize = 6;
    const MR_Q8: usize = 4;
    const HAS_DOT: bool = false;
    const SHUFFLES: bool = true;
    const WINDOWS: [usize; 2] = [32, 16];
    const FAR_BELOW: f32 = 0.2;
    type F32 = __m128;
    type I32 = __m128i;
    type Rounding = Rounding;

    #[inline(always)]
    fn splat(self, x: f32) -> __m128 {
        // SAFETY: the token proves SSE4.1, here and below.
        unsafe { _mm_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> __m128 {
        // SAFETY: by the contract.
        unsafe { _mm_loadu_ps(at) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, x: __m128) {
        // SAFETY: by the contract.
        unsafe { _mm_storeu_ps(at, x) }
    }

    #[inline(always)]
    fn add(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_sub_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_div_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, x: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_sqrt_ps(x) }
    }

    #[inline(always)]
    fn mul(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m128, b: __m128, sum: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_add_ps(sum, _mm_mul_ps(a, b)) }
    }

    #[inline(always)]
    fn max(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m128, b: __m128) -> __m128 {
        // SAFETY: the token.
        unsafe { _mm_min_ps(a, b) }
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, at: *const u8) -> __m128i {
        // SAFETY: by the contract.
        unsafe { _mm_loadu_si128(at.cast()) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, at: *mut u8, x: __m128i) {
        // SAFETY: by the contract.
        unsafe { _mm_storeu_si128(at.cast(), x) }
    }

    #[inline(always)]
    fn max_bytes(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_max_epu8(a, b) }
    }

    #[inline(always)]
    fn madd(self, a: __m128i, b: __m128i, sum: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_add_epi32(sum, _mm_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn add_i32(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_add_epi32(a, b) }
    }

    /// `pshufb` gives zero where the top bit of an index is set, and else looks at its four lowest bits.
    #[inline(always)]
    unsafe fn pick_far(self, at: *const u8, indices: __m128i) -> __m128i {
        // SAFETY: 32 bytes by the contract, and the token.
        unsafe {
            let (low, high) = (_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(16).cast()));
            let low = _mm_shuffle_epi8(low, _mm_add_epi8(indices, _mm_set1_epi8(0x70)));
            let high = _mm_shuffle_epi8(high, _mm_sub_epi8(indices, _mm_set1_epi8(16)));
            _mm_or_si128(low, high)
        }
    }

    #[inline(always)]
    unsafe fn pick_near(self, at: *const u8, indices: __m128i) -> __m128i {
        // SAFETY: sixteen bytes by the contract, and the token.
        unsafe { _mm_shuffle_epi8(_mm_loadu_si128(at.cast()), indices) }
    }

    #[inline(always)]
    fn add_words(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_add_epi16(a, b) }
    }

    #[inline(always)]
    fn pairs(self, x: __m128i, w: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_maddubs_epi16(x, w) }
    }

    #[inline(always)]
    fn add_pairs(self, sum: __m128i, pairs: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1))) }
    }

    #[inline(always)]
    fn nibbles(self, x: __m128i) -> [__m128i; 2] {
        // SAFETY: the token.
        unsafe {
            let bits = _mm_set1_epi8(15);
            [_mm_and_si128(x, bits), _mm_and_si128(_mm_srli_epi16::<4>(x), bits)]
        }
    }

    #[inline(always)]
    fn widen_u8(self, x: __m128i) -> [__m128i; 2] {
        // SAFETY: the token.
        unsafe { [_mm_and_si128(x, _mm_set1_epi16(0xff)), _mm_srli_epi16::<8>(x)] }
    }

    #[inline(always)]
    fn widen_i8(self, w: __m128i) -> [__m128i; 2] {
        // SAFETY: the token.
        unsafe { [_mm_srai_epi16::<8>(_mm_slli_epi16::<8>(w)), _mm_srai_epi16::<8>(w)] }
    }

    #[inline(always)]
    fn dot4(self, sum: __m128i, x: __m128i, w: __m128i) -> __m128i {
        self.dot_widened(sum, self.widen_u8(x), w)
    }

    #[inline(always)]
    unsafe fn broadcasts(self, at: *const u8) -> [__m128i; 4] {
        // SAFETY: by the contract, and the token.
        unsafe {
            let x = _mm_loadu_si128(at.cast());
            [
                _mm_shuffle_epi32::<0x00>(x),
                _mm_shuffle_epi32::<0x55>(x),
                _mm_shuffle_epi32::<0xaa>(x),
                _mm_shuffle_epi32::<0xff>(x),
            ]
        }
    }

    #[inline(always)]
    unsafe fn interleave_u8(self, taps: [*const u8; 2]) -> [__m128i; 2] {
        // SAFETY: eight bytes each by the contract, and the token.
        unsafe {
            let (a, b) = (_mm_loadl_epi64(taps[0].cast()), _mm_loadl_epi64(taps[1].cast()));
            let both = _mm_unpacklo_epi8(a, b);
            [_mm_cvtepu8_epi16(both), _mm_unpackhi_epi8(both, _mm_setzero_si128())]
        }
    }

    #[inline(always)]
    unsafe fn interleave_i8(self, taps: [*const i8; 2]) -> [__m128i; 2] {
        // SAFETY: eight bytes each by the contract, and the token.
        unsafe {
            let (a, b) = (_mm_loadl_epi64(taps[0].cast()), _mm_loadl_epi64(taps[1].cast()));
            let both = _mm_unpacklo_epi8(a, b);
            [_mm_cvtepi8_epi16(both), _mm_cvtepi8_epi16(_mm_srli_si128::<8>(both))]
        }
    }

    #[inline(always)]
    fn table(self, bytes: &[i8; 16]) -> __m128i {
        // SAFETY: sixteen bytes.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn look_up(self, table: __m128i, indices: __m128i) -> [__m128i; 2] {
        // SAFETY: the token.
        unsafe {
            let nibbles = _mm_set1_epi8(15);
            let even = _mm_shuffle_epi8(table, _mm_and_si128(indices, nibbles));
            let odd = _mm_and_si128(_mm_srli_epi16::<4>(indices), nibbles);
            let odd = _mm_shuffle_epi8(table, odd);
            [_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd)]
        }
    }

    #[inline(always)]
    unsafe fn load_for_table(self, at: *const u8) -> [__m128i; 2] {
        // SAFETY: 32 bytes by the contract.
        unsafe { [_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(16).cast())] }
    }

    #[inline(always)]
    fn sums(self, x: [__m128i; 4]) -> [i32; 4] {
        let mut sums = [0; 4];
        // SAFETY: four i32, and the token.
        unsafe {
            let all = _mm_hadd_epi32(_mm_hadd_epi32(x[0], x[1]), _mm_hadd_epi32(x[2], x[3]));
            _mm_storeu_si128(sums.as_mut_ptr().cast(), all);
        }
        sums
    }

    #[inline(always)]
    fn rounding(self, shift: u32, zero_point: u8) -> Rounding {
        // SAFETY: the token.
        unsafe {
            Rounding {
                half: _mm_set1_epi64x((1_i64 << (shift - 1)) + (i64::from(zero_point) << shift)),
                shift: _mm_cvtsi32_si128(shift.cast_signed() - 32),
            }
        }
    }

    #[inline(always)]
    fn requantize(self, sum: __m128i, multiplier: __m128i, rounding: Rounding) -> __m128i {
        let Rounding { half, shift } = rounding;
        // SAFETY: the token.
        unsafe {
            let even = _mm_add_epi64(_mm_mul_epi32(sum, multiplier), half);
            // By shuffles: of shifts the compiler makes products of 64 bits, which take three multiplications.
            let odd = [_mm_shuffle_epi32::<0xf5>(sum), _mm_shuffle_epi32::<0xf5>(multiplier)];
            let odd = _mm_add_epi64(_mm_mul_epi32(odd[0], odd[1]), half);
            _mm_sra_epi32(_mm_blend_epi16::<0xcc>(_mm_srli_epi64::<32>(even), odd), shift)
        }
    }

    #[inline(always)]
    unsafe fn store_two_levels(self, at: [*mut u8; 2], words: [[__m128i; 2]; 2], bounds: [u8; 2]) {
        // SAFETY: eight bytes each by the contract, and the token. Both packs saturate, and the bounds lie inside what they
        // saturate to.
        unsafe {
            let first = _mm_packs_epi32(words[0][0], words[0][1]);
            let second = _mm_packs_epi32(words[1][0], words[1][1]);
            let levels = _mm_packus_epi16(first, second);
            let [low, high] = bounds.map(|bound| _mm_set1_epi8(bound.cast_signed()));
            let levels = _mm_min_epu8(_mm_max_epu8(levels, low), high);
            _mm_storel_epi64(at[0].cast(), levels);
            _mm_storeh_pd(at[1].cast(), _mm_castsi128_pd(levels));
        }
    }

    #[inline(always)]
    unsafe fn store_levels(self, at: *mut u8, words: [__m128i; 2], bounds: [u8; 2]) {
        // SAFETY: eight bytes by the contract, and the token. Both packs saturate, and the bounds lie inside what they
        // saturate to.
        unsafe {
            let words = _mm_packs_epi32(words[0], words[1]);
            let levels = _mm_packus_epi16(words, words);
            let [low, high] = bounds.map(|bound| _mm_set1_epi8(bound.cast_signed()));
            _mm_storel_epi64(at.cast(), _mm_min_epu8(_mm_max_epu8(levels, low), high));
        }
    }
}
