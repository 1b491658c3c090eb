//! Samples that a network is calibrated and compared on.

use embdl_core::tensor::Shape;
use embdl_graph::Graph;

use crate::error::CompressError;

/// Inputs of one network, preprocessed: floats in the network's layout, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    len_one: usize,
    values: Vec<f32>,
}

impl Samples {
    /// Samples of `shape` (batch 1) from their values.
    ///
    /// # Errors
    /// If there is none, or the values are not a whole number of samples.
    pub fn new(shape: Shape, values: Vec<f32>) -> Result<Self, CompressError> {
        let len_one = shape.len();
        if len_one == 0 || values.is_empty() || !values.len().is_multiple_of(len_one) {
            return Err(CompressError::Samples { expected: len_one, found: values.len() });
        }
        Ok(Self { len_one, values })
    }

    /// Number of samples, at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.len_one
    }

    /// Never: samples that are none cannot be made.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The sample at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &[f32] {
        &self.values[index * self.len_one..(index + 1) * self.len_one]
    }

    /// At most `count` samples, spread evenly over all, at least 1.
    #[must_use]
    pub fn spread(&self, count: usize) -> Self {
        let (all, count) = (self.len(), count.clamp(1, self.len()));
        let values = (0..count).flat_map(|at| self.get(at * all / count)).copied().collect();
        Self { len_one: self.len_one, values }
    }

    /// Checks that `graph` takes these samples.
    pub(crate) fn fit(&self, graph: &Graph) -> Result<(), CompressError> {
        let [input] = graph.inputs[..] else {
            return Err(CompressError::Inputs { found: graph.inputs.len() });
        };
        self.fit_len(graph.values[input].shape.len())
    }

    /// Checks that samples have `expected` values each.
    pub(crate) fn fit_len(&self, expected: usize) -> Result<(), CompressError> {
        if expected == self.len_one {
            Ok(())
        } else {
            Err(CompressError::Samples { expected, found: self.len_one })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_whole_and_spread_evenly() {
        let shape = Shape::matrix(1, 2);
        assert!(Samples::new(shape, vec![]).is_err());
        assert!(Samples::new(shape, vec![1.0; 3]).is_err());
        let samples = Samples::new(shape, (0..12_u8).map(f32::from).collect()).unwrap();
        assert_eq!((samples.len(), samples.get(2)), (6, &[4.0, 5.0][..]));
        let some = samples.spread(3);
        assert_eq!(some.values, [0.0, 1.0, 4.0, 5.0, 8.0, 9.0]);
        assert_eq!(samples.spread(99), samples);
    }
}
