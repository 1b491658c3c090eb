//! Softmax over the last axis.

use super::exp::exp;

/// Partial sums and maxima, in the same order on every CPU.
const LANES: usize = 16;

/// `out = exp(x - max) / sum of exp(x - max)` for each row of `features` elements, by the function of [`super::exp`].
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn softmax_f32(features: usize, input: &[f32], out: &mut [f32]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    for (input, out) in input.chunks_exact(features).zip(out.chunks_exact_mut(features)) {
        // NaN never wins.
        let larger = |best: f32, x: f32| if x > best { x } else { best };
        let max = reduce(input, f32::NEG_INFINITY, larger);
        for (slot, &x) in out.iter_mut().zip(input) {
            *slot = exp(x - max);
        }
        let sum = reduce(out, 0.0, |sum, x| sum + x);
        for slot in out {
            *slot /= sum;
        }
    }
}

/// All elements put together: each of `LANES` results of every `LANES`th element, then those, then what is left over.
#[inline(always)]
fn reduce(row: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (steps, rest) = row.as_chunks::<LANES>();
    for step in steps {
        for (lane, &x) in lanes.iter_mut().zip(step) {
            *lane = join(*lane, x);
        }
    }
    lanes.iter().chain(rest).fold(start, |all, &x| join(all, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_distributions() {
        let mut out = [0.0; 4];
        softmax_f32(2, &[0.0, core::f32::consts::LN_2, 1000.0, 1000.0], &mut out);
        for (got, expected) in out.iter().zip([1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5]) {
            assert!((got - expected).abs() < 1e-6, "{out:?}");
        }
    }
}
