//! Vectors of block-sparse weights: what a block is at each level, and how a row of activations meets it.

use core::arch::x86_64::*;

use embdl_core::kernels::Tile;

use super::Simd;
use crate::detect::{Avx2, Avx512, Avx512Vnni, AvxVnni, Sse41};

/// A block of integer weights is a vector.
pub(crate) trait Blocks: Simd {
    /// Channels and columns of a block.
    const BLOCK: Tile = Tile { nr: Self::LANES, kr: 4 };
    /// Panels whose channels fill a vector together.
    const PARTS: usize = 1;
    /// Rows of a tile.
    const ROWS: usize;

    /// As many bytes as a block has columns, for each of its channels.
    ///
    /// # Safety
    /// They must be readable.
    #[inline(always)]
    unsafe fn columns(self, at: *const u8) -> Self::I32 {
        // SAFETY: by the contract.
        self.splat_i32(unsafe { at.cast::<i32>().read_unaligned() })
    }

    /// The sums of the channels of [`Self::PARTS`] panels; of others, any.
    #[inline(always)]
    fn join(self, parts: [Self::I32; 2]) -> Self::I32 {
        parts[0]
    }
}

/// Eight bytes come to both channels by one load (`movddup`), where four would take a load and a shuffle.
impl Blocks for Sse41 {
    const BLOCK: Tile = Tile { nr: 2, kr: 8 };
    const PARTS: usize = 2;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn columns(self, at: *const u8) -> __m128i {
        // SAFETY: eight bytes by the contract; the token proves SSE4.1.
        unsafe { _mm_castpd_si128(_mm_set1_pd(at.cast::<f64>().read_unaligned())) }
    }

    #[inline(always)]
    fn join(self, parts: [__m128i; 2]) -> __m128i {
        // SAFETY: the token.
        unsafe { _mm_hadd_epi32(parts[0], parts[1]) }
    }
}

impl Blocks for Avx2 {
    const ROWS: usize = 6;
}

impl Blocks for AvxVnni {
    const ROWS: usize = 12;
}

impl Blocks for Avx512 {
    const ROWS: usize = 12;
}

impl Blocks for Avx512Vnni {
    const ROWS: usize = 12;
}
