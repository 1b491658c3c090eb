//! The exponential function and what is made of it, in f32, without calls and branches: loops over them become vectors, and
//! give the same bits on every CPU.
//!
//! `exp(x) = 2^n * exp(r)` with `n` the integer nearest to `x / ln 2` and `|r| <= ln 2 / 2`; `exp(r)` is a polynomial. Source
//! of the polynomials: Moshier, Cephes, `expf.c` and `tanhf.c`.

use super::clamp;

/// `exp(x)`, off by at most 2 units in the last place, and exact at 0 and at infinities; NaN stays NaN.
#[must_use]
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding it leaves no bits for a fraction: the sum is rounded to an integer, which stands in its lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Zero and infinity beyond these bounds.
    let x = clamp(x, (-104.0, 89.0));
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let steps = shifted - ROUND;
    // The first part of ln 2 has few bits, so that its product is exact.
    let rest = x - steps * (355.0 / 512.0) - steps * -2.121_944_4e-4;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    // In two factors, because 2^n alone may be no normal number where the product is a number.
    let half = n >> 1;
    (1.0 + exp_m1_near_zero(rest)) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `exp(x) - 1` for `x <= 0`, off by at most 1e-7 and 1e-6 of the value; NaN stays NaN.
#[must_use]
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    if x > -0.34 { exp_m1_near_zero(x) } else { exp(x) - 1.0 }
}

/// `1 / (1 + exp(-x))`, off by at most 3e-7 of the value where that is a normal number; NaN stays NaN.
#[must_use]
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, off by at most 5e-7 of the value; NaN stays NaN.
#[must_use]
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Near zero the other form would be the difference of two numbers that are almost the same.
    let square = x * x;
    let near = -5.704_988_7e-3 * square + 2.063_909e-2;
    let near = near * square - 5.373_971_6e-2;
    let near = near * square + 1.333_144_2e-1;
    let near = near * square - 3.333_328e-1;
    let near = x + x * square * near;
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if x.abs() < 0.625 { near } else { far }
}

/// `exp(x) - 1` where `|x| <= ln 2 / 2`.
#[inline(always)]
fn exp_m1_near_zero(x: f32) -> f32 {
    let p = 1.987_569_2e-4 * x + 1.398_2e-3;
    let p = p * x + 8.333_452e-3;
    let p = p * x + 4.166_579_6e-2;
    let p = p * x + 1.666_666_6e-1;
    let p = p * x + 0.5;
    p * (x * x) + x
}

/// `2^n` for `n` from -126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All floats of `step` apart in their bits, both signs.
    fn every(step: usize) -> impl Iterator<Item = f32> {
        let positive = (0..=f32::INFINITY.to_bits()).step_by(step).map(f32::from_bits);
        positive.flat_map(|x| [x, -x]).chain([f32::INFINITY, f32::NEG_INFINITY])
    }

    fn check(of: &str, got: f32, x: f32, want: f64, relative: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "to see overflow")]
        let overflows = (want as f32).is_infinite();
        let allowed = relative * want.abs() + f64::from(f32::MIN_POSITIVE) * 1e-6;
        let close = (f64::from(got) - want).abs() <= allowed;
        assert!(close || overflows && got > 3.4e38, "{of}({x:e}): {got:e}, not {want:e}");
    }

    #[test]
    fn errors_are_within_bounds_on_floats_of_all_sizes() {
        let ulp = f64::from(f32::EPSILON);
        for x in every(1 << 11) {
            let exact = f64::from(x);
            let small = f64::from(f32::MIN_POSITIVE);
            // Below the normal numbers half of the smallest number counts.
            let want = libm::exp(exact);
            if want >= small || want == 0.0 {
                check("exp", exp(x), x, want, 2.0 * ulp);
            } else {
                assert!((f64::from(exp(x)) - want).abs() < 2e-45, "exp({x:e}): {:e}", exp(x));
            }
            if x <= 0.0 {
                check("exp_m1", exp_m1(x), x, libm::expm1(exact), 1e-6);
            }
            let want = 1.0 / (1.0 + libm::exp(-exact));
            if want >= small {
                check("sigmoid", sigmoid(x), x, want, 3e-7);
            } else {
                assert!(sigmoid(x) <= f32::MIN_POSITIVE);
            }
            check("tanh", tanh(x), x, libm::tanh(exact), 5e-7);
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(f32::NEG_INFINITY), exp(-200.0)],
            [1.0, 1.0, 0.0, 0.0]
        );
        assert_eq!([exp(f32::INFINITY), exp(89.0), exp(88.8)], [f32::INFINITY; 3]);
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)], [1.0, -1.0, 0.0]);
        assert_eq!([sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)], [1.0, 0.0]);
        assert_eq!(exp_m1(f32::NEG_INFINITY), -1.0);
        assert!([exp, exp_m1, sigmoid, tanh].iter().all(|f| f(f32::NAN).is_nan()));
    }
}
