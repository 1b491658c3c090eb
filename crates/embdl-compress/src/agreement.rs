//! How far two networks agree on the same samples.

use embdl_core::model::Model;
use embdl_core::runtime::Runtime;
use embdl_graph::Graph;
use serde::{Deserialize, Serialize};

use crate::error::CompressError;
use crate::execute::{Buffer, Executor};
use crate::samples::Samples;

/// Agreement of a network with a reference, class by class and number by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Samples compared.
    pub samples: usize,
    /// Share whose largest score is that of the same class, the first of equals; 0 to 1.
    pub top1: f64,
    /// Share whose class by the reference is among the five largest scores; 0 to 1.
    pub top5: f64,
    /// Energy of the reference's scores over energy of the difference, in decibels; infinite where there is none.
    pub sqnr_db: f64,
}

impl Agreement {
    /// Of `found` with `reference`, one row of scores a sample.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    pub fn of(reference: &[Vec<f32>], found: &[Vec<f32>]) -> Self {
        let samples = reference.len().min(found.len());
        let (mut top1, mut top5) = (0_usize, 0_usize);
        let (mut energy, mut error) = (0.0_f64, 0.0_f64);
        for (reference, found) in reference.iter().zip(found) {
            let class = argmax(reference);
            // Its place among the found scores: how many are larger, and equal ones of earlier classes.
            let score = found.get(class).copied().unwrap_or(f32::NEG_INFINITY);
            let ahead =
                |(at, &other): (usize, &f32)| other > score || (other == score && at < class);
            let place = found.iter().enumerate().filter(|&one| ahead(one)).count();
            top1 += usize::from(place == 0);
            top5 += usize::from(place < 5);
            for (&x, &y) in reference.iter().zip(found) {
                energy += f64::from(x) * f64::from(x);
                error += (f64::from(x) - f64::from(y)).powi(2);
            }
        }
        let share = |count: usize| count as f64 / samples.max(1) as f64;
        Self { samples, top1: share(top1), top5: share(top5), sqnr_db: decibels(energy, error) }
    }
}

/// Scores that `graph` gives when it is encoded and run, one row a sample: the first output as floats.
///
/// # Errors
/// If the samples do not fit the graph, or it cannot be lowered or run.
pub fn scores(
    graph: &Graph,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<Vec<f32>>, CompressError> {
    samples.fit(graph)?;
    let input = |at: usize, _: usize| Buffer::F32(samples.get(at).to_vec());
    Executor { runtime }.run(graph, samples.len(), input, |_, mut outputs, specs| {
        outputs.remove(0).floats(specs[0].kind.quant)
    })
}

/// Scores that `model` gives, one row a sample: the first output as floats.
///
/// # Errors
/// If the samples do not fit the model, or `runtime` cannot run it.
pub fn model_scores(
    model: &Model<'_>,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<Vec<Vec<f32>>, CompressError> {
    let [input] = model.inputs[..] else {
        return Err(CompressError::Inputs { found: model.inputs.len() });
    };
    samples.fit_len(model.values[input].kind.shape.len())?;
    let executor = Executor { runtime };
    let input = |at: usize, _: usize| Buffer::F32(samples.get(at).to_vec());
    executor.run_model(model, samples.len(), input, |_, mut outputs, specs| {
        outputs.remove(0).floats(specs[0].kind.quant)
    })
}

/// `energy` over `error` in decibels.
pub(crate) fn decibels(energy: f64, error: f64) -> f64 {
    if error > 0.0 { 10.0 * (energy / error).log10() } else { f64::INFINITY }
}

fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_counts_places_and_decibels() {
        let reference = vec![vec![0.0, 1.0, 0.0], vec![3.0, 0.0, 0.0]];
        let same = Agreement::of(&reference, &reference);
        assert_eq!((same.top1, same.top5, same.sqnr_db), (1.0, 1.0, f64::INFINITY));
        // The second row's class ties with an earlier one in the first, and loses in the second.
        let found = vec![vec![1.0, 1.0, 0.0], vec![2.0, 0.0, 2.5]];
        let other = Agreement::of(&reference, &found);
        assert_eq!((other.samples, other.top1, other.top5), (2, 0.0, 1.0));
        assert!((other.sqnr_db - 10.0 * (10.0_f64 / 8.25).log10()).abs() < 1e-9);
    }
}
