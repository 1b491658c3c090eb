// Exponentials as embdl_core::kernels::exp has them, whose polynomials are from Cephes: the chip's own promise less, and are
// not the same on all chips.
#pragma once
#include "embdl.h"

INLINE float power_of_two(i32 n) { return bits<float>((u32)(n + 127) << 23); }

// exp(x) - 1 where |x| <= ln 2 / 2.
INLINE float exponential_m1_near_zero(float x) {
    float y = 1.9875692e-4f * x + 1.3982e-3f;
    y = y * x + 8.333452e-3f;
    y = y * x + 4.1665796e-2f;
    y = y * x + 1.6666666e-1f;
    y = y * x + 0.5f;
    return y * (x * x) + x;
}

INLINE float exponential(float value) {
    // Adding it leaves no bits for a fraction: the sum is rounded to an integer, which stands in its lowest bits.
    const float round = 12582912.0f;
    // Zero and infinity beyond these bounds.
    const float x = bound(value, -104.0f, 89.0f);
    const float shifted = x * 1.44269504f + round;
    const float steps = shifted - round;
    // The first part of ln 2 has few bits, so that its product is exact.
    const float rest = x - steps * 0.693359375f - steps * -2.1219444e-4f;
    const i32 n = (i32)(bits<u32>(shifted) - bits<u32>(round));
    // In two factors, because 2^n alone may be no normal number where the product is one.
    const i32 half = n >> 1;
    return (1.0f + exponential_m1_near_zero(rest)) * power_of_two(half) * power_of_two(n - half);
}

INLINE float exponential_m1(float x) { return x > -0.34f ? exponential_m1_near_zero(x) : exponential(x) - 1.0f; }

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE float hyperbolic_tangent(float x) {
    // Near zero the other form would be the difference of two numbers that are almost the same.
    const float square = x * x;
    float near = -5.7049887e-3f * square + 2.063909e-2f;
    near = near * square - 5.3739716e-2f;
    near = near * square + 1.3331442e-1f;
    near = near * square - 3.333328e-1f;
    near = x + x * square * near;
    const float far = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
    return __builtin_fabsf(x) < 0.625f ? near : far;
}

// `base` to the power of `exponent`, for positive bases: the chip's logarithm and exponential, to about 2^-21.
INLINE float power(float base, float exponent) { return exp2_approx(exponent * log2_approx(base)); }
