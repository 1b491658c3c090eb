//! What a model answers to a known input: recorded where a model is made ready, and compared on the board before it is used.

use embdl_core::runtime::Session;
use embdl_core::tensor::DType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::Input;
use crate::output::Output;
use crate::retest::{BenchError, hex};

/// How far floats may be apart, as a share of the largest: kernels round differently, and a broken one is far off.
const TOLERANCE: f32 = 1e-3;
/// The most values that are kept; the checksum is over all.
const KEPT: usize = 1000;

/// The outputs for the noise of [`Input::random`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// SHA-256 over all outputs in order, little-endian.
    pub outputs_sha256: String,
    /// Whether all outputs are integers, which are the same on every runtime.
    pub is_integer: bool,
    /// The first outputs as reals.
    pub values: Vec<f32>,
}

/// Why an answer is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongAnswer {
    /// Integers differ.
    #[error("the outputs have the checksum {found}, expected {expected}")]
    Checksum {
        /// What came out.
        found: String,
        /// What should.
        expected: String,
    },
    /// Floats are too far apart.
    #[error("output {index} is {found}, expected {expected} within {tolerance}")]
    Value {
        /// Which output.
        index: usize,
        /// What came out.
        found: f32,
        /// What should.
        expected: f32,
        /// How far they may be apart.
        tolerance: f32,
    },
    /// Another number of outputs.
    #[error("{found} outputs, expected {expected}")]
    Count {
        /// What came out.
        found: usize,
        /// What should.
        expected: usize,
    },
}

/// Runs `session` once on the known input.
///
/// # Errors
/// If the model has more than one input, or the run fails.
pub fn answer(session: &mut dyn Session) -> Result<Answer, BenchError> {
    let input = Input::random(session)?;
    let kinds: Vec<_> = session.outputs().iter().map(|spec| spec.kind).collect();
    let mut outputs: Vec<Output> = kinds.iter().map(|&kind| Output::new(kind)).collect();
    let mut views: Vec<_> = outputs.iter_mut().map(Output::tensor).collect();
    session.run(&[input.tensor()], &mut views)?;
    let (mut hash, mut values) = (Sha256::new(), Vec::new());
    for (output, kind) in outputs.iter().zip(&kinds) {
        for row in 0..kind.shape.dim(0) {
            output.digest(row, &mut hash);
            values.extend(output.reals(row));
        }
    }
    values.truncate(KEPT);
    let is_integer = kinds.iter().all(|kind| kind.dtype != DType::F32);
    Ok(Answer { outputs_sha256: hex(&hash.finalize()), is_integer, values })
}

impl Answer {
    /// Compares what another run found with this: integers bit for bit, floats within a thousandth of the largest.
    ///
    /// # Errors
    /// If they are not the same.
    pub fn compare(&self, found: &Self) -> Result<(), WrongAnswer> {
        if self.is_integer {
            if self.outputs_sha256 == found.outputs_sha256 {
                return Ok(());
            }
            let [found, expected] = [found, self].map(|answer| answer.outputs_sha256.clone());
            return Err(WrongAnswer::Checksum { found, expected });
        }
        let [expected, count] = [self, found].map(|answer| answer.values.len());
        if count != expected {
            return Err(WrongAnswer::Count { found: count, expected });
        }
        let largest = self.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let tolerance = TOLERANCE * largest;
        for (index, (&found, &expected)) in found.values.iter().zip(&self.values).enumerate() {
            // What is no number is apart from everything.
            let is_near = (found - expected).abs() <= tolerance;
            if !is_near {
                return Err(WrongAnswer::Value { index, found, expected, tolerance });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32], is_integer: bool) -> Answer {
        Answer { outputs_sha256: format!("{values:?}"), is_integer, values: values.to_vec() }
    }

    #[test]
    fn integers_are_equal_and_floats_near() {
        let expected = of(&[1.0, -200.0], false);
        assert_eq!(expected.compare(&of(&[1.1, -200.1], false)), Ok(()));
        let error = expected.compare(&of(&[1.3, -200.0], false)).unwrap_err();
        assert!(matches!(error, WrongAnswer::Value { index: 0, .. }), "{error}");
        assert!(expected.compare(&of(&[f32::NAN, -200.0], false)).is_err());
        assert!(expected.compare(&of(&[1.0], false)).is_err());
        assert_eq!(of(&[1.0], true).compare(&of(&[1.0], true)), Ok(()));
        assert!(of(&[1.0], true).compare(&of(&[1.000_01], true)).is_err());
    }
}
