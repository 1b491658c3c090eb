//! Runs of the same network on the same data set that differ only by their seed.

use crate::record::{NetworkRecord, RunRecord};

/// One network on one data set, in the order of the record; never empty.
#[derive(Debug)]
pub(super) struct Seeds<'a>(Vec<&'a NetworkRecord>);

impl<'a> Seeds<'a> {
    /// The run that is shown in full.
    pub(super) fn first(&self) -> &'a NetworkRecord {
        self.0[0]
    }

    /// All of them.
    pub(super) fn all(&self) -> &[&'a NetworkRecord] {
        &self.0
    }

    /// Mean and standard deviation over the seeds.
    pub(super) fn spread(&self, value: impl Fn(&NetworkRecord) -> f64) -> Spread {
        let values: Vec<f64> = self.0.iter().map(|network| value(network)).collect();
        Spread::of(&values)
    }
}

/// Groups the networks of a run by name and data set.
pub(super) fn by_network(run: &RunRecord) -> Vec<Seeds<'_>> {
    let mut groups: Vec<Seeds<'_>> = Vec::new();
    for network in &run.networks {
        let same = groups.iter_mut().find(|group| {
            group.first().name == network.name && group.first().dataset == network.dataset
        });
        match same {
            Some(group) => group.0.push(network),
            None => groups.push(Seeds(vec![network])),
        }
    }
    groups
}

/// Mean and sample standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    /// Zero where there is one value only.
    pub(super) sd: f64,
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "a count of seeds is small")]
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        Self { mean, sd }
    }

    /// "mean ± sd", both written by `write`.
    pub(super) fn text(self, write: impl Fn(f64) -> String) -> String {
        format!("{} ± {}", write(self.mean), write(self.sd))
    }
}

/// How much accuracy compression cost.
pub(super) fn loss(network: &NetworkRecord) -> f64 {
    network.fp32.accuracy - network.compressed.accuracy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_that_of_a_sample() {
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { mean: 2.0, sd: 2.0_f64.sqrt() });
        assert_eq!(Spread::of(&[5.0]), Spread { mean: 5.0, sd: 0.0 });
    }
}
