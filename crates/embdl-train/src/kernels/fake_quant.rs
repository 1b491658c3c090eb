//! Activations held to the u8 levels of the device, and weights to signed levels: the arithmetic of
//! `embdl_core::quant`, over slices.

use embdl_core::quant::Quant;
use rayon::prelude::*;

use super::{PART, vectorized};

/// What each element's nearest level stands for: `quant.dequantize(quant.quantize(x))`.
pub(crate) fn fake_quantize(x: &[f32], quant: Quant) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| nearest(x, quant, y));
    y
}

/// Stops the gradient of elements beyond the levels; rounding passes it straight through.
/// Source: Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons".
pub(crate) fn through_levels(x: &[f32], quant: Quant, dy: &mut [f32]) {
    dy.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(dy, x)| pass_inside(x, quant, dy));
}

vectorized! {
    fn nearest<'a>(x: &'a [f32], quant: Quant, y: &'a mut [f32]) {
        let zero = f32::from(quant.zero_point);
        for (y, &x) in y.iter_mut().zip(x) {
            let level = (x / quant.scale + 0.5).floor() + zero;
            // NaN fails both comparisons of the core's clamp too and then becomes the zero point.
            let level = if level >= 0.0 { level } else if level < 0.0 { 0.0 } else { zero };
            let level = if level > 255.0 { 255.0 } else { level };
            *y = quant.scale * (level - zero);
        }
    }
}

vectorized! {
    fn pass_inside<'a>(x: &'a [f32], quant: Quant, dy: &'a mut [f32]) {
        let zero = f32::from(quant.zero_point);
        for (dy, &x) in dy.iter_mut().zip(x) {
            let level = (x / quant.scale + 0.5).floor() + zero;
            *dy = if (0.0..=255.0).contains(&level) { *dy } else { 0.0 };
        }
    }
}

vectorized! {
    /// Writes `quantize_symmetric(x, scale, limit) * scale`.
    fn nearest_symmetric<'a>(x: &'a [f32], scale: f32, limit: f64, y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let level = (f64::from(x) / f64::from(scale) + 0.5).floor();
            let level = if level > limit { limit } else { level };
            let level = if level < -limit { -limit } else { level };
            #[expect(clippy::cast_possible_truncation, reason = "levels are at most 127")]
            let level = if level.is_nan() { 0.0 } else { level as f32 };
            *y = level * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use embdl_core::quant::quantize_symmetric;

    use super::*;

    fn values() -> Vec<f32> {
        let mut values: Vec<f32> = (-3000..3000_i16).map(|i| f32::from(i) / 611.0).collect();
        values.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.25, -0.25, 1e30]);
        values
    }

    #[test]
    fn activations_equal_the_core() {
        for quant in [
            Quant { scale: 0.0117, zero_point: 73 },
            Quant { scale: 0.5, zero_point: 0 },
            Quant { scale: 0.004, zero_point: 255 },
        ] {
            let found = fake_quantize(&values(), quant);
            for (x, found) in values().into_iter().zip(found) {
                let expected = quant.dequantize(quant.quantize(x));
                assert_eq!(found.to_bits(), (expected + 0.0).to_bits(), "{x} under {quant:?}");
            }
        }
    }

    #[test]
    fn gradients_stop_beyond_the_levels() {
        let quant = Quant { scale: 0.1, zero_point: 10 };
        let mut dy = vec![1.0; 5];
        through_levels(&[-1.04, -1.06, 0.0, 24.54, 24.56], quant, &mut dy);
        assert_eq!(dy, [1.0, 0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn weights_equal_the_core() {
        for (scale, limit) in [(0.03, 127), (0.5, 7), (1.0, 1)] {
            let mut found = vec![0.0; values().len()];
            nearest_symmetric(&values(), scale, f64::from(limit), &mut found);
            for (x, found) in values().into_iter().zip(found) {
                #[expect(clippy::cast_precision_loss, reason = "levels are at most 127")]
                let expected = quantize_symmetric(x, scale, limit) as f32 * scale;
                assert_eq!(found, expected, "{x} in steps of {scale}");
            }
        }
    }
}
