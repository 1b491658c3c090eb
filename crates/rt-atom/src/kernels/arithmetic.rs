//! Sums and products of levels, a vector of bytes at a time. Contract and reference: `embdl_core::kernels::{elementwise,
//! product}`; the rules are `AddRequant` and `MulRequant`.
//!
//! A sum is `(x - zx) * mx + (y - zy) * my` with multipliers of up to 21 bits, which `pmulld` takes whole but slowly (on Atoms
//! one in several cycles). Here they are cut at 7 bits, so that both summands fit `pmaddwd`:
//!
//! ```text
//! (128 x, 128 y) . (mx / 128, my / 128)  +  (x, y) . (mx % 128, my % 128)  -  zx mx - zy my
//! ```
//!
//! All of this is arithmetic modulo 2^32, and what it comes to fits 32 bits, so no bit is lost on the way.

use embdl_core::kernels::elementwise;
use embdl_core::kernels::product::{self, Rows};
use embdl_core::quant::{AddRequant, MulRequant};

use crate::simd::bytes::Bytes;

/// Bytes of the largest vector.
const MAX_BYTES: usize = 64;

/// Replaces the left-hand levels `data` by the sum with the right-hand levels `rhs`.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub(crate) fn add_u8<S: Bytes>(simd: S, data: &mut [u8], rhs: &[u8], requant: &AddRequant) {
    let multipliers = [requant.lhs_multiplier, requant.rhs_multiplier];
    // What `AddRequant::new` gives; its fields are public.
    if !multipliers.iter().all(|multiplier| (0..=1 << 21).contains(multiplier)) {
        return elementwise::add_u8(data, rhs, requant);
    }
    let sum = Sum::new(simd, requant);
    for_each_vector(simd, data, rhs, &sum);
}

/// Replaces the levels `data` by the product with the levels `rhs`.
///
/// # Panics
/// If the slices do not fit `rows`.
#[inline(always)]
pub(crate) fn mul_u8<S: Bytes>(
    simd: S,
    rows: Rows,
    data: &mut [u8],
    rhs: &[u8],
    requant: &MulRequant,
) {
    let MulRequant { lhs_zero_point, rhs_zero_point, requant: after } = requant;
    let [multiplier] = after.multipliers[..] else {
        return product::mul_u8(rows, data, rhs, requant);
    };
    if !(32..=54).contains(&after.shift) {
        return product::mul_u8(rows, data, rhs, requant);
    }
    let product = Product {
        zero_points: [*lhs_zero_point, *rhs_zero_point]
            .map(|level| simd.splat_i32(i32::from(level))),
        multiplier: simd.splat_i32(multiplier),
        rounding: simd.rounding(after.shift, after.zero_point),
        bounds: [after.min, after.max],
    };
    rows.for_each(data, rhs, |row, factors| for_each_vector(simd, row, factors, &product));
}

/// What becomes of two vectors of levels.
trait Pair<S: Bytes> {
    fn apply(&self, simd: S, x: S::I32, y: S::I32) -> S::I32;
}

/// Constants of a sum.
struct Sum<S: Bytes> {
    /// Multipliers as two words of a lane: what is left of them, and their 128th parts.
    multipliers: [S::I32; 2],
    /// Half of the divisor, less what the zero points come to.
    start: S::I32,
    shift: i32,
    zero_point: i16,
    bounds: [u8; 2],
}

impl<S: Bytes> Sum<S> {
    #[inline(always)]
    fn new(simd: S, requant: &AddRequant) -> Self {
        let AddRequant { lhs_multiplier, rhs_multiplier, shift, .. } = *requant;
        let lower = (lhs_multiplier & 127) | (rhs_multiplier & 127) << 16;
        let upper = (lhs_multiplier >> 7) | (rhs_multiplier >> 7) << 16;
        let start = (1_i32 << (shift - 1))
            .wrapping_sub(i32::from(requant.lhs_zero_point) * lhs_multiplier)
            .wrapping_sub(i32::from(requant.rhs_zero_point) * rhs_multiplier);
        Self {
            multipliers: [simd.splat_i32(lower), simd.splat_i32(upper)],
            start: simd.splat_i32(start),
            shift: shift.cast_signed(),
            zero_point: i16::from(requant.zero_point),
            bounds: [requant.min, requant.max],
        }
    }
}

impl<S: Bytes> Pair<S> for Sum<S> {
    #[inline(always)]
    fn apply(&self, simd: S, x: S::I32, y: S::I32) -> S::I32 {
        let zero = simd.splat_i32(0);
        let (first, last) = (simd.first_bytes(x, y), simd.last_bytes(x, y));
        let mut sums = [
            simd.first_bytes(first, zero),
            simd.last_bytes(first, zero),
            simd.first_bytes(last, zero),
            simd.last_bytes(last, zero),
        ];
        for words in &mut sums {
            let sum = simd.madd(*words, self.multipliers[0], self.start);
            let sum = simd.madd(simd.words_times_128(*words), self.multipliers[1], sum);
            *words = simd.sra_i32(sum, self.shift);
        }
        simd.levels(sums, self.zero_point, self.bounds)
    }
}

/// Constants of a product.
struct Product<S: Bytes> {
    /// In the lower words of all lanes.
    zero_points: [S::I32; 2],
    multiplier: S::I32,
    rounding: S::Rounding,
    bounds: [u8; 2],
}

impl<S: Bytes> Pair<S> for Product<S> {
    #[inline(always)]
    fn apply(&self, simd: S, x: S::I32, y: S::I32) -> S::I32 {
        let zero = simd.splat_i32(0);
        let (x, y) = (widen(simd, x), widen(simd, y));
        let mut products = [zero; 4];
        for ((product, x), y) in products.iter_mut().zip(x).zip(y) {
            // Upper words stay zero, so that there is one product in a lane.
            let x = simd.sub_words(x, self.zero_points[0]);
            let y = simd.sub_words(y, self.zero_points[1]);
            *product = simd.requantize(simd.madd(x, y, zero), self.multiplier, self.rounding);
        }
        simd.levels(products, 0, self.bounds)
    }
}

/// Bytes as i32, in the order of [`Bytes::levels`].
#[inline(always)]
fn widen<S: Bytes>(simd: S, x: S::I32) -> [S::I32; 4] {
    let zero = simd.splat_i32(0);
    let (first, last) = (simd.first_bytes(x, zero), simd.last_bytes(x, zero));
    [
        simd.first_bytes(first, zero),
        simd.last_bytes(first, zero),
        simd.first_bytes(last, zero),
        simd.last_bytes(last, zero),
    ]
}

/// Replaces `data` by `pair` of its vectors and those of `rhs`; what is left over goes through vectors of its own.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
fn for_each_vector<S: Bytes>(simd: S, data: &mut [u8], rhs: &[u8], pair: &impl Pair<S>) {
    assert!(data.len() == rhs.len(), "{} and {} elements", data.len(), rhs.len());
    let len = 4 * S::LANES;
    let mut steps = data.chunks_exact_mut(len);
    let mut others = rhs.chunks_exact(len);
    for (x, y) in steps.by_ref().zip(others.by_ref()) {
        // SAFETY: both are a vector.
        unsafe {
            let result = pair.apply(simd, simd.load_bytes(x.as_ptr()), simd.load_bytes(y.as_ptr()));
            simd.store_bytes(x.as_mut_ptr(), result);
        }
    }
    let rest = steps.into_remainder();
    if rest.is_empty() {
        return;
    }
    let mut x = [0; MAX_BYTES];
    let mut y = [0; MAX_BYTES];
    x[..rest.len()].copy_from_slice(rest);
    y[..rest.len()].copy_from_slice(others.remainder());
    // SAFETY: both hold the largest vector.
    unsafe {
        let result = pair.apply(simd, simd.load_bytes(x.as_ptr()), simd.load_bytes(y.as_ptr()));
        simd.store_bytes(x.as_mut_ptr(), result);
    }
    rest.copy_from_slice(&x[..rest.len()]);
}
