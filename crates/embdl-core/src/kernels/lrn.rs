//! Local response normalization of rows of channels.

use crate::op::Lrn;

/// `out[c] = input[c] / (bias + alpha / size * sum of squares of the neighbours of c) ^ beta`, for each row of
/// `channels` elements.
///
/// # Panics
/// If the slices differ in length.
pub fn lrn_f32(lrn: &Lrn, channels: usize, input: &[f32], out: &mut [f32]) {
    assert!(input.len() == out.len(), "{} inputs, {} results", input.len(), out.len());
    let size = lrn.size as usize;
    let (before, after) = ((size - 1) / 2, size / 2);
    #[expect(clippy::cast_precision_loss, reason = "the size is at most 65,536")]
    let factor = lrn.alpha / lrn.size as f32;
    for (input, out) in input.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
        for (c, slot) in out.iter_mut().enumerate() {
            let neighbours = &input[c.saturating_sub(before)..channels.min(c + after + 1)];
            let squares: f32 = neighbours.iter().map(|x| x * x).sum();
            *slot = input[c] * inverse_power(lrn.bias + factor * squares, lrn.beta);
        }
    }
}

/// `base ^ -exponent`; AlexNet's exponent of 0.75 by square roots, which are much cheaper.
fn inverse_power(base: f32, exponent: f32) -> f32 {
    if exponent == 0.75 {
        let root = libm::sqrtf(base);
        1.0 / (root * libm::sqrtf(root))
    } else {
        libm::powf(base, -exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_cut_off_at_the_ends() {
        let lrn = Lrn { size: 3, alpha: 3.0, beta: 1.0, bias: 1.0 };
        let mut out = [0.0; 4];
        lrn_f32(&lrn, 4, &[1.0, 2.0, 0.0, 3.0], &mut out);
        assert_eq!(out, [1.0 / 6.0, 2.0 / 6.0, 0.0, 0.3]);
    }

    #[test]
    fn an_even_size_reaches_further_up() {
        let lrn = Lrn { size: 2, alpha: 2.0, beta: 1.0, bias: 0.0 };
        let mut out = [0.0; 3];
        lrn_f32(&lrn, 3, &[1.0, 1.0, 2.0], &mut out);
        assert_eq!(out, [0.5, 0.2, 0.5]);
    }

    #[test]
    fn three_quarters_is_the_same_by_roots_and_by_power() {
        for base in [0.01_f32, 1.0, 2.0, 37.5, 1e6] {
            let (roots, power) = (inverse_power(base, 0.75), libm::powf(base, -0.75));
            assert!((roots / power - 1.0).abs() < 1e-6, "{base}: {roots} {power}");
        }
    }
}
