//! Fourier transforms of a line of 16, 32 or 64 complex values, each of which is two vectors of channels.
//!
//! ```text
//! N = A * B, n = B * n1 + n2, k = k1 + A * k2                             16 = 4 * 4, 32 = 4 * 8, 64 = 8 * 8
//! for each n2:  y[n2][k1] = (transform of z[B * n1 + n2] over n1)[k1] * w^(n2 * k1)          w = exp(-2 pi i / N)
//! for each k1:  Z[k1 + A * k2] = (transform of y[n2][k1] over n2)[k2]
//! ```
//!
//! Lines of 4 and 8 fit in registers. Values are read and written by what the caller passes, so that reordering, real
//! pairs and pads cost no pass of their own. These are no closures, because a closure that is not inlined would be
//! compiled without the level's instructions.
//!
//! Source: Cooley and Tukey 1965, "An Algorithm for the Machine Calculation of Complex Fourier Series".

use embdl_core::kernels::lanes::Lanes;

/// Complex values, one a lane: real parts and imaginary parts.
pub(super) type Complex<L> = [<L as Lanes>::F32; 2];

/// `cos(2 pi j / 64)` of a quarter.
const QUARTER: [f32; 17] = [
    1.0,
    0.995_184_7,
    0.980_785_25,
    0.956_940_35,
    0.923_879_5,
    0.881_921_3,
    0.831_469_6,
    0.773_010_43,
    core::f32::consts::FRAC_1_SQRT_2,
    0.634_393_3,
    0.555_570_24,
    0.471_396_74,
    0.382_683_43,
    0.290_284_7,
    0.195_090_32,
    0.098_017_14,
    0.0,
];

/// `exp(-2 pi i j / 64)` as cosine and sine of the turn.
const TURNS: [[f32; 2]; 64] = {
    let mut turns = [[0.0; 2]; 64];
    let mut j = 0;
    while j < 64 {
        let rest = j % 16;
        let (cos, sin) = (QUARTER[rest], QUARTER[16 - rest]);
        turns[j] = match j / 16 {
            0 => [cos, sin],
            1 => [-sin, cos],
            2 => [-cos, -sin],
            _ => [sin, -cos],
        };
        j += 1;
    }
    turns
};

/// The values that a line is made of.
pub(super) trait Source<L: Lanes> {
    /// The value at `n`.
    fn load(&self, lanes: L, n: usize) -> Complex<L>;
}

/// What becomes of the values of a transformed line.
pub(super) trait Sink<L: Lanes> {
    /// Takes the value at `k`.
    fn store(&mut self, lanes: L, k: usize, z: Complex<L>);
}

/// `sum over n of z[n] * exp(-2 pi i n k / N)` for each `k`.
#[inline(always)]
pub(super) fn forward<L: Lanes, const N: usize>(
    lanes: L,
    from: &impl Source<L>,
    to: &mut impl Sink<L>,
) {
    match N {
        16 => of_16(lanes, from, to),
        32 => of_32(lanes, from, to),
        64 => of_64(lanes, from, to),
        _ => unreachable!("lines of {N}"),
    }
}

/// `N` times the inverse: the same with real and imaginary parts swapped.
#[inline(always)]
pub(super) fn inverse<L: Lanes, const N: usize>(
    lanes: L,
    from: &impl Source<L>,
    to: &mut impl Sink<L>,
) {
    forward::<L, N>(lanes, &Swapped(from), &mut SwappedSink(to));
}

struct Swapped<'a, T>(&'a T);
struct SwappedSink<'a, T>(&'a mut T);

impl<L: Lanes, T: Source<L>> Source<L> for Swapped<'_, T> {
    #[inline(always)]
    fn load(&self, lanes: L, n: usize) -> Complex<L> {
        let [re, im] = self.0.load(lanes, n);
        [im, re]
    }
}

impl<L: Lanes, T: Sink<L>> Sink<L> for SwappedSink<'_, T> {
    #[inline(always)]
    fn store(&mut self, lanes: L, k: usize, [re, im]: Complex<L>) {
        self.0.store(lanes, k, [im, re]);
    }
}

impl<L: Lanes, const N: usize> Source<L> for [Complex<L>; N] {
    #[inline(always)]
    fn load(&self, _: L, n: usize) -> Complex<L> {
        self[n]
    }
}

impl<L: Lanes, const N: usize> Sink<L> for [Complex<L>; N] {
    #[inline(always)]
    fn store(&mut self, _: L, k: usize, z: Complex<L>) {
        self[k] = z;
    }
}

macro_rules! by_factors {
    ($name:ident: $a:literal by $first:ident, $b:literal by $second:ident) => {
        #[inline(always)]
        fn $name<L: Lanes>(lanes: L, from: &impl Source<L>, to: &mut impl Sink<L>) {
            let zero = [lanes.splat(0.0); 2];
            let mut y = [[zero; $a]; $b];
            for (n2, y) in y.iter_mut().enumerate() {
                let mut column = [zero; $a];
                for (n1, z) in column.iter_mut().enumerate() {
                    *z = from.load(lanes, $b * n1 + n2);
                }
                *y = $first(lanes, column);
                for (k1, z) in y.iter_mut().enumerate().skip(1) {
                    *z = turn(lanes, *z, n2 * k1 * (64 / ($a * $b)));
                }
            }
            for k1 in 0..$a {
                let mut row = [zero; $b];
                for (z, y) in row.iter_mut().zip(&y) {
                    *z = y[k1];
                }
                row = $second(lanes, row);
                for (k2, z) in row.iter().enumerate() {
                    to.store(lanes, k1 + $a * k2, *z);
                }
            }
        }
    };
}

by_factors!(of_16: 4 by four, 4 by four);
by_factors!(of_32: 4 by four, 8 by eight);
by_factors!(of_64: 8 by eight, 8 by eight);

/// Times `exp(-2 pi i j / 64)`.
#[inline(always)]
fn turn<L: Lanes>(lanes: L, [re, im]: Complex<L>, j: usize) -> Complex<L> {
    let [cos, sin] = TURNS[j];
    let (cos, sin, minus) = (lanes.splat(cos), lanes.splat(sin), lanes.splat(-sin));
    [lanes.mul_add(im, sin, lanes.mul(re, cos)), lanes.mul_add(re, minus, lanes.mul(im, cos))]
}

#[inline(always)]
fn four<L: Lanes>(l: L, z: [Complex<L>; 4]) -> [Complex<L>; 4] {
    let [a, b] = [plus(l, z[0], z[2]), minus(l, z[0], z[2])];
    let [c, d] = [plus(l, z[1], z[3]), minus(l, z[1], z[3])];
    [
        plus(l, a, c),
        [l.add(b[0], d[1]), l.sub(b[1], d[0])],
        minus(l, a, c),
        [l.sub(b[0], d[1]), l.add(b[1], d[0])],
    ]
}

#[inline(always)]
fn eight<L: Lanes>(l: L, z: [Complex<L>; 8]) -> [Complex<L>; 8] {
    let even = four(l, [z[0], z[2], z[4], z[6]]);
    let odd = four(l, [z[1], z[3], z[5], z[7]]);
    let half = l.splat(core::f32::consts::FRAC_1_SQRT_2);
    let (zero, [re, im]) = (l.splat(0.0), odd[1]);
    let first = [l.mul(half, l.add(re, im)), l.mul(half, l.sub(im, re))];
    let second = [odd[2][1], l.sub(zero, odd[2][0])];
    let [re, im] = odd[3];
    let third = [l.mul(half, l.sub(im, re)), l.sub(zero, l.mul(half, l.add(re, im)))];
    let odd = [odd[0], first, second, third];
    [
        plus(l, even[0], odd[0]),
        plus(l, even[1], odd[1]),
        plus(l, even[2], odd[2]),
        plus(l, even[3], odd[3]),
        minus(l, even[0], odd[0]),
        minus(l, even[1], odd[1]),
        minus(l, even[2], odd[2]),
        minus(l, even[3], odd[3]),
    ]
}

#[inline(always)]
fn plus<L: Lanes>(l: L, a: Complex<L>, b: Complex<L>) -> Complex<L> {
    [l.add(a[0], b[0]), l.add(a[1], b[1])]
}

#[inline(always)]
fn minus<L: Lanes>(l: L, a: Complex<L>, b: Complex<L>) -> Complex<L> {
    [l.sub(a[0], b[0]), l.sub(a[1], b[1])]
}

#[cfg(test)]
mod tests {
    use embdl_core::kernels::lanes::Scalar;
    use embdl_testkit::Random;
    use rustfft::FftPlannerScalar;
    use rustfft::num_complex::Complex64;

    use super::*;

    fn check<const N: usize>() {
        let mut random = Random::new(7);
        let z: [Complex<Scalar>; N] = core::array::from_fn(|_| {
            let z = random.floats(2);
            [z[0], z[1]]
        });
        let mut planner = FftPlannerScalar::new();
        for is_forward in [true, false] {
            let mut found = [[0.0; 2]; N];
            if is_forward {
                forward::<Scalar, N>(Scalar, &z, &mut found);
            } else {
                inverse::<Scalar, N>(Scalar, &z, &mut found);
            }
            let mut want: Vec<Complex64> =
                z.iter().map(|&[re, im]| Complex64::new(re.into(), im.into())).collect();
            let plan =
                if is_forward { planner.plan_fft_forward(N) } else { planner.plan_fft_inverse(N) };
            plan.process(&mut want);
            for (found, want) in found.iter().zip(&want) {
                let error = Complex64::new(found[0].into(), found[1].into()) - want;
                assert!(error.norm() < 1e-5, "{N}: {found:?}, {want}");
            }
        }
    }

    #[test]
    fn lines_are_those_of_rustfft() {
        check::<16>();
        check::<32>();
        check::<64>();
    }
}
