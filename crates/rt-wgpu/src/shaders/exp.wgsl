// Exponentials as embdl_core::kernels::exp has them, whose polynomials are from Cephes: the built-in ones promise less.

fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>((n + 127) << 23u);
}

// exp(x) - 1 where |x| <= ln 2 / 2.
fn exp_m1_near_zero(x: f32) -> f32 {
    var y = 1.9875692e-4 * x + 1.3982e-3;
    y = y * x + 8.333452e-3;
    y = y * x + 4.1665796e-2;
    y = y * x + 1.6666666e-1;
    y = y * x + 0.5;
    return y * (x * x) + x;
}

fn exponential(value: f32) -> f32 {
    let x = bound(value, -104.0, 89.0);
    let steps = round(x * 1.442695);
    // The first part of ln 2 has few bits, so that its product is exact.
    let rest = x - steps * 0.693359375 - steps * -2.1219444e-4;
    let n = i32(steps);
    let half = n >> 1u;
    return (1.0 + exp_m1_near_zero(rest)) * power_of_two(half) * power_of_two(n - half);
}

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exponential(-x));
}

fn hyperbolic_tangent(x: f32) -> f32 {
    let square = x * x;
    var near = -5.7049887e-3 * square + 2.063909e-2;
    near = near * square - 5.3739714e-2;
    near = near * square + 1.3331442e-1;
    near = near * square - 3.333328e-1;
    near = x + x * square * near;
    let far = 1.0 - 2.0 / (exponential(2.0 * x) + 1.0);
    return select(far, near, abs(x) < 0.625);
}
