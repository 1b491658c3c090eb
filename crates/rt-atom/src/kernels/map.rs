//! Looking up levels in a table of 256, by `pshufb`. Contract and reference: `embdl_core::kernels::elementwise`.
//!
//! ```text
//! for each half of the levels, y = the levels from the start of the half (the other half's have their top bit set)
//!     for each sixteen entries of the half
//!         result ^= differences to the sixteen entries before [y]; y -= 16
//! ```
//!
//! A level meets the differences up to its own sixteen, which sum up to its entry; from then on `y` is negative, which
//! `pshufb` gives zero for, and stays so because the subtraction saturates. That is three instructions for sixteen entries
//! and a vector of levels, where a look-up that masks each sixteen takes four.

use embdl_core::kernels::elementwise;

use crate::simd::Simd;
use crate::simd::bytes::Bytes;

/// Replaces levels where they stand.
#[inline(always)]
pub(crate) fn map<S: Bytes>(simd: S, table: &[u8; 256], data: &mut [u8]) {
    let differences = differences(simd, table);
    let mut steps = data.chunks_exact_mut(4 * S::LANES);
    for step in &mut steps {
        // SAFETY: a step is a vector.
        unsafe {
            let x = simd.load_bytes(step.as_ptr());
            simd.store_bytes(step.as_mut_ptr(), look_up(simd, &differences, x));
        }
    }
    elementwise::map_u8(table, steps.into_remainder());
}

/// Copies rows of `row_len` levels into rows `out_stride` apart, and replaces them. Rows shorter than a vector go one level
/// after the other.
///
/// # Panics
/// If `out` is too short.
#[inline(always)]
pub(crate) fn map_rows<S: Bytes>(
    simd: S,
    table: &[u8; 256],
    input: &[u8],
    row_len: usize,
    out: &mut [u8],
    out_stride: usize,
) {
    let lanes = 4 * S::LANES;
    if row_len < lanes {
        return rows_one_by_one(simd, table, input, row_len, out, out_stride);
    }
    let differences = differences(simd, table);
    for (i, row) in input.chunks_exact(row_len).enumerate() {
        let out = &mut out[i * out_stride..][..row_len];
        for at in (0..row_len).step_by(lanes) {
            // The last vector overlaps the one before.
            let at = at.min(row_len - lanes);
            // SAFETY: a vector from `at` in both.
            unsafe {
                let x = simd.load_bytes(row.as_ptr().add(at));
                simd.store_bytes(out.as_mut_ptr().add(at), look_up(simd, &differences, x));
            }
        }
    }
}

/// Replaces levels one after the other: with 128 bits, three instructions for sixteen entries are more than two moves.
#[inline(always)]
pub(crate) fn one_by_one<S>(_: S, table: &[u8; 256], data: &mut [u8]) {
    elementwise::map_u8(table, data);
}

/// Copies rows like [`map_rows`].
///
/// # Panics
/// If `out` is too short.
#[inline(always)]
pub(crate) fn rows_one_by_one<S>(
    _: S,
    table: &[u8; 256],
    input: &[u8],
    row_len: usize,
    out: &mut [u8],
    out_stride: usize,
) {
    elementwise::map_rows_u8(table, input, row_len, out, out_stride);
}

/// Each sixteen entries as differences to the sixteen before, beginning anew in the middle.
#[inline(always)]
fn differences<S: Simd>(simd: S, table: &[u8; 256]) -> [S::I32; 16] {
    let (sixteens, _) = table.as_chunks::<16>();
    core::array::from_fn(|at| {
        let before = if at % 8 == 0 { [0; 16] } else { sixteens[at - 1] };
        let difference = |entry: usize| (sixteens[at][entry] ^ before[entry]).cast_signed();
        simd.table(&core::array::from_fn(difference))
    })
}

#[inline(always)]
fn look_up<S: Bytes>(simd: S, differences: &[S::I32; 16], levels: S::I32) -> S::I32 {
    let sixteen = simd.splat_i32(0x1010_1010);
    let mut low = levels;
    let mut high = simd.xor(levels, simd.splat_i32(i32::from_ne_bytes([0x80; 4])));
    let (first, second) = differences.split_at(8);
    let mut result = simd.splat_i32(0);
    for (&first, &second) in first.iter().zip(second) {
        let found = simd.xor(simd.shuffle(first, low), simd.shuffle(second, high));
        result = simd.xor(result, found);
        low = simd.subtract_saturating(low, sixteen);
        high = simd.subtract_saturating(high, sixteen);
    }
    result
}
