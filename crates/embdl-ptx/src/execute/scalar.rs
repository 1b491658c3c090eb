//! Functions of one thread's values.

use core::cmp::Ordering;

use half::f16;

use crate::instruction::Compare;

/// Whether numbers of this order compare so; `None` is the order of what is no number.
pub(super) fn compare(how: Compare, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        // Only `ne` of the ordered ones would be true for integers, which always have an order.
        return matches!(
            how,
            Compare::EqualUnordered
                | Compare::NotEqualUnordered
                | Compare::LessUnordered
                | Compare::LessOrEqualUnordered
                | Compare::GreaterUnordered
                | Compare::GreaterOrEqualUnordered
        );
    };
    match how {
        Compare::Equal | Compare::EqualUnordered => order.is_eq(),
        Compare::NotEqual | Compare::NotEqualUnordered => order.is_ne(),
        Compare::Less | Compare::LessUnordered => order.is_lt(),
        Compare::LessOrEqual | Compare::LessOrEqualUnordered => order.is_le(),
        Compare::Greater | Compare::GreaterUnordered => order.is_gt(),
        Compare::GreaterOrEqual | Compare::GreaterOrEqualUnordered => order.is_ge(),
    }
}

pub(super) fn shift_left(a: u32, by: u32) -> u32 {
    a.checked_shl(by).unwrap_or(0)
}

pub(super) fn shift_right_u32(a: u32, by: u32) -> u32 {
    a.checked_shr(by).unwrap_or(0)
}

pub(super) fn shift_right_s32(a: u32, by: u32) -> u32 {
    (a.cast_signed() >> by.min(31)).cast_unsigned()
}

/// `len` bits from bit `at` on.
pub(super) fn extract_u32(a: u32, at: u32, len: u32) -> u32 {
    let (at, len) = (at & 255, len & 255);
    let mask = if len >= 32 { u32::MAX } else { (1 << len) - 1 };
    shift_right_u32(a, at) & mask
}

/// The same with the sign of the last of them, or of the whole where they reach beyond it.
pub(super) fn extract_s32(a: u32, at: u32, len: u32) -> u32 {
    let (at, len) = (at & 255, len & 255);
    if len == 0 {
        return 0;
    }
    let sign = shift_right_u32(a, (at + len - 1).min(31)) & 1;
    let bits = extract_u32(a, at, len);
    let kept = len.min(32u32.saturating_sub(at));
    let above = if kept >= 32 { 0 } else { u32::MAX << kept };
    if sign == 1 { bits | above } else { bits & !above }
}

/// Bytes of `a`, then `b`, by the nibbles of a selector; a nibble's highest bit spreads the byte's sign.
pub(super) fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let all = u64::from(b) << 32 | u64::from(a);
    let mut result = 0;
    for at in 0..4 {
        let nibble = selector >> (4 * at) & 15;
        let mut byte = (all >> (8 * (nibble & 7))) & 255;
        if nibble & 8 != 0 {
            byte = if byte & 128 != 0 { 255 } else { 0 };
        }
        result |= byte << (8 * at);
    }
    // Four bytes.
    #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
    {
        result as u32
    }
}

/// Products of four bytes each, which may be signed, and a sum.
pub(super) fn dot([a, b]: [u32; 2], [a_signed, b_signed]: [bool; 2], sum: u32) -> u32 {
    let byte = |word: u32, at: u32, is_signed: bool| {
        let shifted = word << (24 - 8 * at);
        if is_signed { shifted.cast_signed() >> 24 } else { (shifted >> 24).cast_signed() }
    };
    let products = (0..4).map(|at| byte(a, at, a_signed) * byte(b, at, b_signed));
    sum.wrapping_add(products.sum::<i32>().cast_unsigned())
}

/// `a * b + c` of two halves each, rounded once.
pub(super) fn fused_f16x2(a: u32, b: u32, c: u32) -> u32 {
    let half = |word: u32, at: u32| {
        // 16 bits.
        #[expect(clippy::cast_possible_truncation, reason = "16 bits of a word")]
        f64::from(f16::from_bits((word >> (16 * at)) as u16))
    };
    // Rounded to odd twice before the last rounding, which then is as if it were the only one.
    let fused = |at| f16::from_f32(narrowed(sum_to_odd(half(a, at) * half(b, at), half(c, at))));
    u32::from(fused(1).to_bits()) << 16 | u32::from(fused(0).to_bits())
}

/// A sum of which what is lost leaves its last bit set.
fn sum_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    // What was lost, by Knuth's two-sum.
    let back = sum - a;
    let lost = (a - (sum - back)) + (b - back);
    if lost == 0.0 || !sum.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let bits = sum.to_bits();
    f64::from_bits(if (lost > 0.0) == (sum > 0.0) { bits + 1 } else { bits - 1 })
}

/// A number of which what is lost leaves its last bit set.
fn narrowed(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
    let near = value as f32;
    let lost = value - f64::from(near);
    if lost == 0.0 || !near.is_finite() || near.to_bits() & 1 == 1 {
        return near;
    }
    let bits = near.to_bits();
    f32::from_bits(if (lost > 0.0) == (value > 0.0) { bits + 1 } else { bits - 1 })
}

/// Zero for what is below the normal numbers.
pub(super) fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_chosen_by_nibbles() {
        assert_eq!(permute(0x3322_1100, 0x7766_5544, 0x7410), 0x7744_1100);
        assert_eq!(permute(0x0000_ff00, 0, 0x9118), 0xffff_ff00);
        assert_eq!(permute(0x8000_0000, 0, 0xb000), 0xff00_0000);
    }

    #[test]
    fn bits_are_taken_out() {
        assert_eq!(extract_u32(0x1234_5678, 8, 8), 0x56);
        assert_eq!(extract_s32(0x1234_f678, 8, 8), 0xffff_fff6);
        assert_eq!(
            [extract_u32(0xf000_0000, 28, 8), extract_s32(0xf000_0000, 28, 8)],
            [15, u32::MAX]
        );
        assert_eq!([extract_u32(u32::MAX, 40, 3), extract_s32(1, 0, 0)], [0, 0]);
        assert_eq!([extract_u32(7, 0, 32), extract_s32(u32::MAX, 0, 32)], [7, u32::MAX]);
    }

    #[test]
    fn products_of_bytes_have_signs_where_asked() {
        let (a, b) = (0xff02_0001, 0xff03_0002);
        assert_eq!(dot([a, b], [false, true], 10).cast_signed(), 2 + 6 - 255 + 10);
        assert_eq!(dot([a, b], [true, true], 0), 2 + 6 + 1);
        assert_eq!(dot([a, b], [false, false], 0), 2 + 6 + 255 * 255);
    }

    #[test]
    fn halves_are_rounded_once() {
        let half = |x: f32| u32::from(f16::from_f32(x).to_bits());
        let both = |x: f32, y: f32| half(y) << 16 | half(x);
        let got = fused_f16x2(both(1.5, -2.0), both(2.0, 3.0), both(0.25, 1.0));
        assert_eq!(got, both(3.25, -5.0));
        // 2049 is a tie between 2048 and 2050; what little is added decides it.
        let tiny = f16::from_bits(1).to_f32();
        assert_eq!(fused_f16x2(half(683.0), half(3.0), 0), half(2048.0));
        assert_eq!(fused_f16x2(half(683.0), half(3.0), half(tiny)), half(2050.0));
        assert_eq!(fused_f16x2(half(683.0), half(3.0), half(-tiny)), half(2048.0));
        assert_eq!(fused_f16x2(half(60000.0), half(2.0), 0), half(f32::INFINITY));
    }

    #[test]
    fn what_is_no_number_compares_by_the_unordered_ones_only() {
        assert!(!compare(Compare::GreaterOrEqual, None) && compare(Compare::LessUnordered, None));
        assert!(!compare(Compare::NotEqual, None) && compare(Compare::NotEqualUnordered, None));
    }
}
