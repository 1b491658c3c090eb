//! Vectors of 16-bit words: what integer Winograd and the products of bytes that are summed in words need beside [`Simd`].

use core::arch::x86_64::*;

use super::Simd;
use crate::detect::{Avx2, Avx512, Avx512Vnni, AvxVnni, Sse41};
use crate::kernels::gemm::q8::{multiply_bytes, multiply_steps};
use crate::kernels::gemm::{OCTS, QUADS};

/// Vectors of `2 * LANES` i16.
pub(crate) trait Words: Simd {
    /// Rows of a tile of products.
    const MR_WORDS: usize;
    /// Words of a row that one load brings to all lanes.
    const KR_WORDS: usize;
    /// Rows of a tile of products of bytes.
    const MR_BYTES: usize = Self::MR_Q8;
    /// Bytes of a row that one load brings to all lanes.
    const KR_BYTES: usize = 4;
    /// Parts of a panel of `2 * LANES` channels whose weights in bytes lie apart.
    const BYTE_PARTS: usize = 1;

    /// `2 * LANES` unsigned bytes, widened.
    ///
    /// # Safety
    /// They must be readable at `at`.
    unsafe fn widen(self, at: *const u8) -> Self::I32;
    /// Difference of words; wraps.
    fn sub_words(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Four times the words; wraps.
    fn quadruple_words(self, a: Self::I32) -> Self::I32;
    /// Difference of i32; wraps.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Four times the i32; wraps.
    fn quadruple_i32(self, a: Self::I32) -> Self::I32;
    /// Low halves of the products of i32.
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Arithmetic right shift of i32.
    fn sra_i32(self, a: Self::I32, by: i32) -> Self::I32;

    /// Adds to `sums` the products of `M` rows with `2 * LANES` channels. A row is segments of `k` words, each so far from
    /// its start; weights are packed by [`word_position`], the whole row as one.
    ///
    /// # Safety
    /// `k` must be a multiple of [`WORD_STEP`]; each row must have `k` words at each segment, and there must be
    /// `2 * LANES * k` weights for each.
    unsafe fn multiply_words<const M: usize>(
        self,
        sums: &mut [[Self::I32; 2]; M],
        rows: [*const i16; M],
        segments: &[usize],
        k: usize,
        weights: *const i16,
    );

    /// Adds to `sums` the products of `M` rows of bytes with the first `NV` vectors of channels, summed in 16 bits as
    /// `PRODUCTS` says. A row is segments of `k` bytes, each so far from its start; weights are packed by
    /// [`byte_position`], the whole row as one.
    ///
    /// # Safety
    /// `k` must be a multiple of `KR_BYTES`; each row must have `k` bytes at each segment, and there must be
    /// `2 * LANES * k` weights for each.
    #[inline(always)]
    unsafe fn multiply_chains<const M: usize, const NV: usize, const PRODUCTS: u8>(
        self,
        sums: &mut [[Self::I32; NV]; M],
        rows: [*const u8; M],
        segments: &[usize],
        k: usize,
        weights: *const u8,
    ) {
        let mut weights = weights;
        for &segment in segments {
            // SAFETY: by the contract.
            unsafe {
                let rows = rows.map(|row| row.add(segment));
                multiply_bytes::<Self, M, NV, PRODUCTS>(self, sums, rows, k / 4, weights);
                weights = weights.add(k * 2 * Self::LANES);
            }
        }
    }

    /// Adds to `sums` the products of steps of `KR_BYTES` bytes, which lie at `levels` of each row, with weights of a part
    /// of a panel.
    ///
    /// # Safety
    /// Each row must have the bytes, and there must be weights for each step, of which two products fit 16 bits.
    #[inline(always)]
    unsafe fn multiply_spilled<const M: usize, const NV: usize>(
        self,
        sums: &mut [[Self::I32; NV]; M],
        rows: [*const u8; M],
        part: usize,
        levels: &[u32],
        weights: *const u8,
    ) {
        debug_assert!(part < Self::BYTE_PARTS);
        // SAFETY: by the contract.
        unsafe { multiply_steps(self, sums, rows, levels, weights) };
    }
}

/// What the length of rows of words is rounded up to.
pub(crate) const WORD_STEP: usize = 4;

/// Where the weight of element `p` of a row and of `channel` stands in a panel of `2 * LANES` channels with rows of `k`.
///
/// ```text
/// KR_WORDS 2:  panel[p / 2][channel][p % 2]
/// KR_WORDS 4:  panel[channel / 4][p / 4][channel % 4 / 2][channel % 2][p % 4]
/// ```
pub(crate) const fn word_position<S: Words>(k: usize, p: usize, channel: usize) -> usize {
    if S::KR_WORDS == 2 {
        return (p / 2 * 2 * S::LANES + channel) * 2 + p % 2;
    }
    channel / 4 * 4 * k + (p / 4 * 4 + channel % 4) * 4 + p % 4
}

/// Where the weight of element `p` of a row and of `channel` stands in a panel of `2 * LANES` channels with rows of `k`
/// bytes.
///
/// ```text
/// KR_BYTES 4:  panel[p / 4][channel][p % 4]
/// KR_BYTES 8:  panel[channel / 4][p / 8][channel % 4][p % 8]
/// ```
pub(crate) const fn byte_position<S: Words>(k: usize, p: usize, channel: usize) -> usize {
    if S::KR_BYTES == 4 {
        return (p / 4 * 2 * S::LANES + channel) * 4 + p % 4;
    }
    channel / 4 * 4 * k + (p / 8 * 4 + channel % 4) * 8 + p % 8
}

impl Words for Sse41 {
    const MR_WORDS: usize = 6;
    const KR_WORDS: usize = 4;
    const MR_BYTES: usize = 6;
    const KR_BYTES: usize = 8;
    const BYTE_PARTS: usize = 2;

    #[inline(always)]
    unsafe fn widen(self, at: *const u8) -> __m128i {
        // SAFETY: eight bytes by the contract; the token proves SSE4.1, here and below.
        unsafe { _mm_cvtepu8_epi16(_mm_loadl_epi64(at.cast())) }
    }

    #[inline(always)]
    fn sub_words(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn quadruple_words(self, a: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_slli_epi16::<2>(a) }
    }

    #[inline(always)]
    fn sub_i32(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn quadruple_i32(self, a: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_slli_epi32::<2>(a) }
    }

    #[inline(always)]
    fn mul_i32(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_mullo_epi32(a, b) }
    }

    #[inline(always)]
    fn sra_i32(self, a: __m128i, by: i32) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_sra_epi32(a, _mm_cvtsi32_si128(by)) }
    }

    /// SSE has no broadcasting load of two words, but `movddup` brings four to both halves without a shuffle. So a vector
    /// of weights holds four words of two channels, and a sum the two halves of each channel, which are added at the end.
    #[inline(always)]
    unsafe fn multiply_words<const M: usize>(
        self,
        sums: &mut [[__m128i; 2]; M],
        rows: [*const i16; M],
        segments: &[usize],
        k: usize,
        weights: *const i16,
    ) {
        for quad in 0..2 {
            // SAFETY: a panel has two parts of four channels, of which each has a group of four words for every step of
            // the rows; the token.
            unsafe {
                let mut weights = weights.add(quad * 4 * k * segments.len());
                let mut halves = [[_mm_setzero_si128(); 2]; M];
                for &segment in segments {
                    // One index for rows and weights, since the loop takes as long as issuing its instructions does.
                    let rows = rows.map(|row| row.add(segment));
                    let mut p = 0;
                    while p < k {
                        let w = [
                            _mm_loadu_si128(weights.add(4 * p).cast()),
                            _mm_loadu_si128(weights.add(4 * p + 8).cast()),
                        ];
                        for (halves, row) in halves.iter_mut().zip(rows) {
                            let x = row.add(p).cast::<f64>().read_unaligned();
                            let x = _mm_castpd_si128(_mm_set1_pd(x));
                            for (half, w) in halves.iter_mut().zip(w) {
                                *half = _mm_add_epi32(*half, _mm_madd_epi16(x, w));
                            }
                        }
                        p += 4;
                    }
                    weights = weights.add(4 * k);
                }
                add_halves(sums, &halves, quad);
            }
        }
    }

    /// As [`Words::multiply_words`]: a vector of weights holds eight bytes of two channels. Twelve sums of words stay in
    /// registers for as long as they fit 16 bits, so those of 32 bits can be in memory.
    #[inline(always)]
    unsafe fn multiply_chains<const M: usize, const NV: usize, const PRODUCTS: u8>(
        self,
        sums: &mut [[__m128i; NV]; M],
        rows: [*const u8; M],
        segments: &[usize],
        k: usize,
        weights: *const u8,
    ) {
        let chain = match PRODUCTS {
            OCTS => 4,
            QUADS => 2,
            _ => 1,
        };
        for quad in 0..NV {
            // SAFETY: a panel has two parts of four channels, of which each has a group of eight bytes for every step of
            // the rows; the token.
            unsafe {
                let mut weights = weights.add(quad * 4 * k * segments.len());
                let mut halves = [[_mm_setzero_si128(); 2]; M];
                for &segment in segments {
                    let mut steps = k / 8;
                    let mut at = segment;
                    while steps >= chain {
                        add_chain(&mut halves, rows, at, chain, weights);
                        at += 8 * chain;
                        weights = weights.add(32 * chain);
                        steps -= chain;
                    }
                    if steps > 0 {
                        add_chain(&mut halves, rows, at, steps, weights);
                        weights = weights.add(32 * steps);
                    }
                }
                add_halves(sums, &halves, quad);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply_spilled<const M: usize, const NV: usize>(
        self,
        sums: &mut [[__m128i; NV]; M],
        rows: [*const u8; M],
        part: usize,
        levels: &[u32],
        weights: *const u8,
    ) {
        // SAFETY: by the contract; the token.
        unsafe {
            let mut halves = [[_mm_setzero_si128(); 2]; M];
            for (step, &level) in levels.iter().enumerate() {
                add_chain(&mut halves, rows, level as usize, 1, weights.add(32 * step));
            }
            add_halves(sums, &halves, part);
        }
    }
}

/// Adds the products of `steps` times eight bytes from `at` on with four channels, summed in 16 bits.
///
/// # Safety
/// Each row must have the bytes, and `weights` 32 for each step; the CPU must have SSE4.1.
#[inline(always)]
unsafe fn add_chain<const M: usize>(
    halves: &mut [[__m128i; 2]; M],
    rows: [*const u8; M],
    at: usize,
    steps: usize,
    weights: *const u8,
) {
    // SAFETY: by the contract.
    unsafe {
        let mut words = [[_mm_setzero_si128(); 2]; M];
        for step in 0..steps {
            let w = [0, 16].map(|half| _mm_loadu_si128(weights.add(32 * step + half).cast()));
            for (words, row) in words.iter_mut().zip(rows) {
                let x = row.add(at + 8 * step).cast::<f64>().read_unaligned();
                let x = _mm_castpd_si128(_mm_set1_pd(x));
                for (word, w) in words.iter_mut().zip(w) {
                    *word = _mm_add_epi16(*word, _mm_maddubs_epi16(x, w));
                }
            }
        }
        for (halves, words) in halves.iter_mut().zip(words) {
            for (half, words) in halves.iter_mut().zip(words) {
                *half = _mm_add_epi32(*half, _mm_madd_epi16(words, _mm_set1_epi16(1)));
            }
        }
    }
}

/// Adds both halves of each channel's sum to the vector `quad` of each row's sums.
///
/// # Safety
/// The CPU must have SSE4.1.
#[inline(always)]
unsafe fn add_halves<const M: usize, const NV: usize>(
    sums: &mut [[__m128i; NV]; M],
    halves: &[[__m128i; 2]; M],
    quad: usize,
) {
    for (sums, halves) in sums.iter_mut().zip(halves) {
        // SAFETY: by the contract.
        unsafe {
            let whole = _mm_hadd_epi32(halves[0], halves[1]);
            sums[quad] = _mm_add_epi32(sums[quad], whole);
        }
    }
}

/// Implements the words of a level with broadcasting loads, by the names of its instructions; the last argument adds the
/// products of pairs of words.
macro_rules! words {
    (
        $level:ty, $vector:ty, rows $rows:literal, $widen:ident, $load:ident $part:ty,
        $sub16:ident $shl16:ident $sub32:ident $shl32:ident $mul32:ident $sra32:ident,
        |$sum:ident, $x:ident, $w:ident| $products:expr
    ) => {
        impl Words for $level {
            const MR_WORDS: usize = $rows;
            const KR_WORDS: usize = 2;

            #[inline(always)]
            unsafe fn widen(self, at: *const u8) -> $vector {
                // SAFETY: the bytes by the contract; the token proves the features, here and below.
                unsafe { $widen($load(at.cast::<$part>())) }
            }

            #[inline(always)]
            fn sub_words(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $sub16(a, b) }
            }

            #[inline(always)]
            fn quadruple_words(self, a: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $shl16::<2>(a) }
            }

            #[inline(always)]
            fn sub_i32(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $sub32(a, b) }
            }

            #[inline(always)]
            fn quadruple_i32(self, a: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $shl32::<2>(a) }
            }

            #[inline(always)]
            fn mul_i32(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token.
                unsafe { $mul32(a, b) }
            }

            #[inline(always)]
            fn sra_i32(self, a: $vector, by: i32) -> $vector {
                // SAFETY: the token.
                unsafe { $sra32(a, _mm_cvtsi32_si128(by)) }
            }

            #[inline(always)]
            unsafe fn multiply_words<const M: usize>(
                self,
                sums: &mut [[$vector; 2]; M],
                rows: [*const i16; M],
                segments: &[usize],
                k: usize,
                weights: *const i16,
            ) {
                // Sums in registers, whatever the caller does with them.
                let mut local = *sums;
                let mut weights = weights.cast::<u8>();
                for &segment in segments {
                    let mut p = segment;
                    while p < segment + k {
                        // SAFETY: two words of all channels of the panel are two vectors.
                        let w = unsafe {
                            let second = weights.add(4 * Self::LANES);
                            [self.load_bytes(weights), self.load_bytes(second)]
                        };
                        for (sums, row) in local.iter_mut().zip(rows) {
                            // SAFETY: a segment has k words.
                            let x = unsafe { row.add(p).cast::<i32>().read_unaligned() };
                            let $x = self.splat_i32(x);
                            for (slot, $w) in sums.iter_mut().zip(w) {
                                let $sum = *slot;
                                // SAFETY: the token.
                                *slot = unsafe { $products };
                            }
                        }
                        p += 2;
                        // SAFETY: two vectors were read.
                        weights = unsafe { weights.add(8 * Self::LANES) };
                    }
                }
                *sums = local;
            }
        }
    };
}

words! {
    Avx2, __m256i, rows 4, _mm256_cvtepu8_epi16, _mm_loadu_si128 __m128i,
    _mm256_sub_epi16 _mm256_slli_epi16
    _mm256_sub_epi32 _mm256_slli_epi32 _mm256_mullo_epi32 _mm256_sra_epi32,
    |sum, x, w| _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
}

words! {
    AvxVnni, __m256i, rows 6, _mm256_cvtepu8_epi16, _mm_loadu_si128 __m128i,
    _mm256_sub_epi16 _mm256_slli_epi16
    _mm256_sub_epi32 _mm256_slli_epi32 _mm256_mullo_epi32 _mm256_sra_epi32,
    |sum, x, w| _mm256_dpwssd_avx_epi32(sum, x, w)
}

words! {
    Avx512, __m512i, rows 8, _mm512_cvtepu8_epi16, _mm256_loadu_si256 __m256i,
    _mm512_sub_epi16 _mm512_slli_epi16
    _mm512_sub_epi32 _mm512_slli_epi32 _mm512_mullo_epi32 _mm512_sra_epi32,
    |sum, x, w| _mm512_add_epi32(sum, _mm512_madd_epi16(x, w))
}

words! {
    Avx512Vnni, __m512i, rows 8, _mm512_cvtepu8_epi16, _mm256_loadu_si256 __m256i,
    _mm512_sub_epi16 _mm512_slli_epi16
    _mm512_sub_epi32 _mm512_slli_epi32 _mm512_mullo_epi32 _mm512_sra_epi32,
    |sum, x, w| _mm512_dpwssd_epi32(sum, x, w)
}
