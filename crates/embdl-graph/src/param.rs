//! Weights and biases, and the constraints under which they are trained.

use embdl_core::quant::quantize_symmetric;
use embdl_core::tensor::Shape;
use ndarray::{ArcArray, IxDyn};
use serde::{Deserialize, Serialize};

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamRole {
    /// Multiplied with activations.
    Weight,
    /// Added.
    Bias,
    /// Running mean or variance: observed, not trained by gradients.
    Statistic,
}

/// A weight or bias tensor with its constraints.
///
/// The network computes with [`Param::effective`], never with `latent`: a masked weight is zero, a shared weight is
/// its centroid, an integer weight is its nearest level. Training moves the latent values (and centroids) by the
/// gradient of the effective ones, so retraining what was compressed is the same code as training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Unique name.
    pub name: String,
    /// What it is to its layer.
    pub role: ParamRole,
    /// `[co, kh, kw, ci / groups]`, `[out, in]`, or `[co]`.
    pub shape: Shape,
    /// Values before constraints, row-major. Copies of a graph share them until one of them changes its own.
    pub latent: ArcArray<f32, IxDyn>,
    /// `false` where the weight is held at zero. As long as the tensor.
    pub mask: Option<Vec<bool>>,
    /// What values the weights may take.
    pub form: Form,
}

/// What values the weights of a tensor may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Form {
    /// Any float.
    Free,
    /// One of up to 256 centroids. Source: Han et al. 2015, "Deep Compression", §3.
    Shared {
        /// The centroids; what training moves.
        centroids: Vec<f32>,
        /// Centroid of each weight; ignored where the mask is `false`.
        codes: Vec<u8>,
        /// With a step, centroids count as the nearest multiple of it, at most 127 steps: integer kernels serve.
        step: Option<f32>,
    },
    /// An integer of `bits` bits times a scale, symmetric.
    Integer {
        /// 2 to 8; levels are `-(2^(bits-1) - 1) ..= 2^(bits-1) - 1`.
        bits: u8,
        /// One for the tensor, or one for each index of the first dimension.
        scales: Vec<f32>,
    },
}

impl Param {
    /// A free parameter.
    ///
    /// # Panics
    /// If `values` are not as many as the shape has elements.
    #[must_use]
    pub fn new(name: impl Into<String>, role: ParamRole, shape: Shape, values: Vec<f32>) -> Self {
        let dims: Vec<usize> = shape.iter().collect();
        let latent = ArcArray::from_shape_vec(IxDyn(&dims), values)
            .expect("as many values as the shape has elements");
        Self { name: name.into(), role, shape, latent, mask: None, form: Form::Free }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// Latent values, row-major.
    ///
    /// # Panics
    /// If somebody replaced `latent` by an array that is not in standard layout.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        self.latent.as_slice().expect("latent arrays are in standard layout")
    }

    /// Latent values, row-major, to change; where a copy shares them, this one gets its own.
    ///
    /// # Panics
    /// If somebody replaced `latent` by an array that is not in standard layout.
    #[must_use]
    pub fn values_mut(&mut self) -> &mut [f32] {
        self.latent.as_slice_mut().expect("latent arrays are in standard layout")
    }

    /// Takes other latent values, row-major, in the place of the present ones.
    ///
    /// # Panics
    /// If they are not as many.
    pub fn set_values(&mut self, values: Vec<f32>) {
        self.latent = ArcArray::from_shape_vec(self.latent.raw_dim(), values)
            .expect("as many values as the tensor has elements");
    }

    /// The integer levels of the weights where the form has a step or scales; zero where masked.
    #[must_use]
    pub fn levels(&self) -> Option<Vec<i32>> {
        let mut levels: Vec<i32> = match &self.form {
            Form::Free | Form::Shared { step: None, .. } => return None,
            Form::Shared { centroids, codes, step: Some(step) } => {
                let book: Vec<i32> =
                    centroids.iter().map(|&c| quantize_symmetric(c, *step, 127)).collect();
                codes.iter().map(|&code| book[usize::from(code)]).collect()
            }
            Form::Integer { bits, scales } => {
                let limit = (1 << (bits - 1)) - 1;
                let row = self.row_len(scales.len());
                let scale_of = |at: usize| scales[at / row];
                self.values()
                    .iter()
                    .enumerate()
                    .map(|(at, &w)| quantize_symmetric(w, scale_of(at), limit))
                    .collect()
            }
        };
        if let Some(mask) = &self.mask {
            levels
                .iter_mut()
                .zip(mask)
                .filter(|(_, keep)| !**keep)
                .for_each(|(level, _)| *level = 0);
        }
        Some(levels)
    }

    /// Scales of [`Param::levels`]: one, or one for each index of the first dimension.
    #[must_use]
    pub fn scales(&self) -> Option<Vec<f32>> {
        match &self.form {
            Form::Free | Form::Shared { step: None, .. } => None,
            Form::Shared { step: Some(step), .. } => Some(vec![*step]),
            Form::Integer { scales, .. } => Some(scales.clone()),
        }
    }

    /// The values that the network computes with.
    #[must_use]
    pub fn effective(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.write_effective(&mut values);
        values
    }

    /// Writes the values that the network computes with.
    ///
    /// # Panics
    /// If `out` is not as long as the tensor.
    pub fn write_effective(&self, out: &mut [f32]) {
        assert!(out.len() == self.len(), "{} places for {} weights", out.len(), self.len());
        match &self.form {
            Form::Free => out.copy_from_slice(self.values()),
            Form::Shared { centroids, codes, step } => {
                let book: Vec<f32> = centroids
                    .iter()
                    .map(|&c| {
                        step.map_or(c, |step| {
                            #[expect(
                                clippy::cast_precision_loss,
                                reason = "levels are at most 127"
                            )]
                            let level = quantize_symmetric(c, step, 127) as f32;
                            level * step
                        })
                    })
                    .collect();
                for (out, &code) in out.iter_mut().zip(codes) {
                    *out = book[usize::from(code)];
                }
            }
            Form::Integer { bits, scales } => {
                let limit = (1 << (bits - 1)) - 1;
                let row = self.row_len(scales.len());
                let rows = out.chunks_mut(row).zip(self.values().chunks(row));
                for ((out, values), &scale) in rows.zip(scales) {
                    for (out, &w) in out.iter_mut().zip(values) {
                        #[expect(clippy::cast_precision_loss, reason = "levels are at most 127")]
                        let level = quantize_symmetric(w, scale, limit) as f32;
                        *out = level * scale;
                    }
                }
            }
        }
        if let Some(mask) = &self.mask {
            out.iter_mut().zip(mask).filter(|(_, keep)| !**keep).for_each(|(out, _)| *out = 0.0);
        }
    }

    /// Share of weights that are not held at zero.
    #[must_use]
    pub fn density(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
        self.mask.as_ref().map_or(1.0, |mask| {
            mask.iter().filter(|&&keep| keep).count() as f64 / mask.len().max(1) as f64
        })
    }

    fn row_len(&self, scales: usize) -> usize {
        (self.len() / scales.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(values: &[f32]) -> Param {
        Param::new("w", ParamRole::Weight, Shape::matrix(2, values.len() / 2), values.to_vec())
    }

    #[test]
    fn masks_hold_weights_at_zero_in_every_form() {
        let mask = Some(vec![true, false, true, false]);
        let forms = [
            Form::Free,
            Form::Shared { centroids: vec![0.5, -1.0], codes: vec![0, 1, 1, 0], step: Some(0.25) },
            Form::Integer { bits: 4, scales: vec![0.5] },
        ];
        for form in forms {
            let masked = Param { mask: mask.clone(), form, ..param(&[1.0, 2.0, -1.0, 3.0]) };
            let values = masked.effective();
            assert!(values[1] == 0.0 && values[3] == 0.0 && values[0] != 0.0, "{values:?}");
            if let (Some(levels), Some(scales)) = (masked.levels(), masked.scales()) {
                let again: Vec<f32> = levels.iter().map(|&l| l as f32 * scales[0]).collect();
                assert_eq!(again, values, "levels and effective values agree");
            }
        }
    }

    #[test]
    fn per_channel_scales_apply_to_rows() {
        let form = Form::Integer { bits: 3, scales: vec![1.0, 0.1] };
        let quantized = Param { form, ..param(&[1.4, -9.0, 0.14, -0.9]) };
        assert_eq!(quantized.levels(), Some(vec![1, -3, 1, -3]));
        assert_eq!(quantized.effective(), vec![1.0, -3.0, 0.1, -0.3_f32.mul_add(1.0, 0.0)]);
    }
}
