//! Dense layers with 4-bit codebook indices, decoded in registers. Contract: `embdl_core::kernels::codebook`.
//!
//! ```text
//! shifted[c] = codebook[c] - min(codebook)                      u8, so that levels need no flip
//! for each row i of lhs, each group of four weight rows:
//!     for each 32 columns: x.even, x.odd = ld2(lhs)             once for the four rows
//!         w.even, w.odd = tbl(shifted, indices & 15), tbl(shifted, indices >> 4)
//!         sums += x.even * w.even + x.odd * w.odd               u32, exact modulo 2^32
//!     out = output stage(sums + min(codebook) * sum(x) + bias)
//! ```
//! Columns beyond `k` are multiplied by inputs of zero, whatever their indices say.

use core::arch::aarch64::*;

use embdl_core::kernels::{CodebookQ8, OutQ8, RowsQ8};

use super::output::{Sink, load_i32};

pub(super) mod dotprod;
pub(super) mod neon;

/// Columns of a block: what 16 bytes of indices hold.
const BLOCK: usize = 32;
/// Weight rows that share a block of the input.
const ROWS: usize = 4;

/// Sums of products of four weight rows with all blocks of an input row.
///
/// # Safety
/// The CPU must have the features of the level whose file the function is from.
type Dot = unsafe fn(&Four<'_>, &Input<'_>, uint8x16_t) -> [uint32x4_t; ROWS];

/// The indices of four weight rows, each of as many blocks as the input.
struct Four<'a> {
    rows: [&'a [u8]; ROWS],
}

/// A row of the left-hand side: whole blocks where they stand, and the rest padded with zeros.
struct Input<'a> {
    blocks: &'a [[u8; BLOCK]],
    rest: Option<[u8; BLOCK]>,
}

/// A codebook moved up to start at zero.
struct Shifted {
    table: uint8x16_t,
    min: i8,
    /// The largest entry of `table`.
    range: u8,
}

/// Runs a job with the vector code `choose` picks for the codebook's range.
///
/// # Safety
/// The CPU must have the features that the chosen function needs.
#[target_feature(enable = "neon")]
unsafe fn run(job: &RowsQ8<'_, CodebookQ8>, out: OutQ8<'_>, choose: impl Fn(u8) -> Dot) {
    let weights = job.weights;
    let (n, k, row_bytes) = (weights.n, weights.k, weights.row_bytes);
    let mut sink = Sink::new(out);
    assert!(job.lhs.len() >= job.m * k, "{} inputs are not {} rows of {k}", job.lhs.len(), job.m);
    assert!(sink.len() >= job.m * n, "{} results are not {} rows of {n}", sink.len(), job.m);
    assert!(row_bytes == CodebookQ8::row_bytes_for(k), "{row_bytes} bytes a row of {k} columns");
    let shifted = shift(&weights.codebook);
    let dot = choose(shifted.range);
    for i in 0..job.m {
        let lhs = &job.lhs[i * k..][..k];
        let input = Input::new(lhs);
        let sum: i32 = lhs.iter().map(|&x| i32::from(x)).fold(0, i32::wrapping_add);
        let base = vdupq_n_s32(i32::from(shifted.min).wrapping_mul(sum));
        let mut j = 0;
        while j < n {
            let four = Four {
                // Beyond the last row, that row again; its lanes are not stored.
                rows: core::array::from_fn(|r| {
                    &weights.indices[(j + r).min(n - 1) * row_bytes..][..row_bytes]
                }),
            };
            // SAFETY: the caller vouches for the features.
            let sums = unsafe { dot(&four, &input, shifted.table) };
            let sums = vpaddq_u32(vpaddq_u32(sums[0], sums[1]), vpaddq_u32(sums[2], sums[3]));
            let sums = vaddq_s32(vreinterpretq_s32_u32(sums), base);
            let sums = vaddq_s32(sums, load_i32(&weights.bias[j..]));
            sink.store(i * n + j, ROWS.min(n - j), &[sums], &sink.multipliers::<1>(j));
            j += ROWS;
        }
    }
}

impl<'a> Input<'a> {
    fn new(lhs: &'a [u8]) -> Self {
        let (blocks, last) = lhs.as_chunks::<BLOCK>();
        let rest = (!last.is_empty()).then(|| {
            let mut rest = [0; BLOCK];
            rest[..last.len()].copy_from_slice(last);
            rest
        });
        Self { blocks, rest }
    }
}

impl Four<'_> {
    /// The indices of a block of a row.
    ///
    /// # Safety
    /// `block` is below the number of blocks of the input that the rows were made for.
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(&self, row: usize, block: usize) -> uint8x16_t {
        // SAFETY: every row has as many blocks as the input.
        unsafe { vld1q_u8(self.rows[row].as_ptr().add(BLOCK / 2 * block)) }
    }
}

#[target_feature(enable = "neon")]
fn shift(codebook: &[i8; 16]) -> Shifted {
    // SAFETY: the codebook has sixteen bytes.
    let values = unsafe { vld1q_s8(codebook.as_ptr()) };
    let min = vminvq_s8(values);
    let table = vreinterpretq_u8_s8(vsubq_s8(values, vdupq_n_s8(min)));
    Shifted { table, min, range: vmaxvq_u8(table) }
}

/// The even and the odd elements of a block of the input.
#[target_feature(enable = "neon")]
#[inline]
fn split(block: &[u8; BLOCK]) -> uint8x16x2_t {
    // SAFETY: 32 bytes, by the type.
    unsafe { vld2q_u8(block.as_ptr()) }
}

/// The weights of the even and the odd columns of a block.
#[target_feature(enable = "neon")]
#[inline]
fn decode(indices: uint8x16_t, table: uint8x16_t) -> uint8x16x2_t {
    let low = vandq_u8(indices, vdupq_n_u8(15));
    uint8x16x2_t(vqtbl1q_u8(table, low), vqtbl1q_u8(table, vshrq_n_u8::<4>(indices)))
}
