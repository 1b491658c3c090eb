//! Softmax over the last axis.

/// `out = exp(x - max) / sum of exp(x - max)` for each row of `features` elements.
///
/// # Panics
/// If the slices differ in length.
pub fn softmax_f32(features: usize, input: &[f32], out: &mut [f32]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    for (input, out) in input.chunks_exact(features).zip(out.chunks_exact_mut(features)) {
        let max = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (slot, &x) in out.iter_mut().zip(input) {
            *slot = libm::expf(x - max);
            sum += *slot;
        }
        for slot in out {
            *slot /= sum;
        }
    }
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
