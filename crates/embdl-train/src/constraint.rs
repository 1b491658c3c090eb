//! From the gradient of effective weights to the gradient of what is trained: latent weights or centroids.
//!
//! The differentiated network sees only effective weights, as leaves. A constraint is a map from trained values to
//! effective ones, and here is its transpose: a mask multiplies, sharing sums by centroid, rounding passes straight
//! through inside its range (Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons").

use embdl_graph::{Form, Param};

/// The values that training moves: centroids of a shared parameter, latent values of any other.
#[must_use]
pub fn trained(param: &Param) -> &[f32] {
    match &param.form {
        Form::Shared { centroids, .. } => centroids,
        _ => param.values(),
    }
}

/// The values that training moves, to change.
#[must_use]
pub fn trained_mut(param: &mut Param) -> &mut [f32] {
    match param.form {
        Form::Shared { ref mut centroids, .. } => centroids,
        _ => param.values_mut(),
    }
}

/// Writes the gradient of the trained values, given that of the effective ones.
///
/// # Panics
/// If `effective` is not as long as the parameter.
pub fn pull_back(param: &Param, effective: &[f32], trained: &mut Vec<f32>) {
    assert!(
        effective.len() == param.len(),
        "{} gradients for {} weights",
        effective.len(),
        param.len()
    );
    trained.clear();
    match &param.form {
        Form::Free => {
            trained.extend_from_slice(effective);
            apply_mask(param, trained);
        }
        Form::Integer { bits, scales } => {
            #[expect(clippy::cast_precision_loss, reason = "levels are at most 127")]
            let limit = ((1_i32 << (bits - 1)) - 1) as f32 + 0.5;
            let row = (param.len() / scales.len().max(1)).max(1);
            let values = param.values().chunks(row).zip(effective.chunks(row)).zip(scales);
            for ((values, gradients), scale) in values {
                let bound = limit * scale;
                let inside = values
                    .iter()
                    .zip(gradients)
                    .map(|(w, g)| if w.abs() <= bound { *g } else { 0.0 });
                trained.extend(inside);
            }
            apply_mask(param, trained);
        }
        Form::Shared { centroids, codes, .. } => {
            trained.resize(centroids.len(), 0.0);
            match &param.mask {
                None => effective
                    .iter()
                    .zip(codes)
                    .for_each(|(g, &code)| trained[usize::from(code)] += g),
                Some(mask) => {
                    for ((g, &code), &keep) in effective.iter().zip(codes).zip(mask) {
                        trained[usize::from(code)] += if keep { *g } else { 0.0 };
                    }
                }
            }
        }
    }
}

fn apply_mask(param: &Param, gradients: &mut [f32]) {
    if let Some(mask) = &param.mask {
        gradients.iter_mut().zip(mask).for_each(|(g, &keep)| *g = if keep { *g } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use embdl_core::tensor::Shape;
    use embdl_graph::ParamRole;

    use super::*;

    fn param(form: Form, mask: Option<Vec<bool>>) -> Param {
        let values = vec![0.1, -0.9, 0.4, 5.0];
        Param { form, mask, ..Param::new("w", ParamRole::Weight, Shape::matrix(2, 2), values) }
    }

    fn gradient(param: &Param) -> Vec<f32> {
        let mut trained = Vec::new();
        pull_back(param, &[1.0, 2.0, 3.0, 4.0], &mut trained);
        trained
    }

    #[test]
    fn masks_stop_gradients() {
        let mask = Some(vec![true, false, true, false]);
        assert_eq!(gradient(&param(Form::Free, mask)), [1.0, 0.0, 3.0, 0.0]);
    }

    #[test]
    fn centroids_sum_over_their_members() {
        let form = Form::Shared { centroids: vec![0.0, 1.0], codes: vec![0, 1, 1, 0], step: None };
        assert_eq!(gradient(&param(form.clone(), None)), [5.0, 5.0]);
        assert_eq!(gradient(&param(form, Some(vec![true, true, false, false]))), [1.0, 2.0]);
    }

    #[test]
    fn rounding_passes_inside_its_range() {
        let form = Form::Integer { bits: 4, scales: vec![0.1, 0.5] };
        assert_eq!(
            gradient(&param(form, None)),
            [1.0, 0.0, 3.0, 0.0],
            "7.5 steps of 0.1 and of 0.5"
        );
    }
}
