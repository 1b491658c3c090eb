//! Calibration: from observed activations to a scale and a zero point.

use embdl_core::quant::Quant;
use serde::{Deserialize, Serialize};

const BINS: usize = 2048;

/// How a range is chosen from what was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Calibration {
    /// The smallest and the largest value.
    MinMax,
    /// The range without a share of outliers in total, such as `0.001`.
    Percentile(f64),
    /// The range, of 64 shrunken ones, with the least mean squared error of quantization.
    #[default]
    Mse,
}

impl Calibration {
    /// As it is called in recipes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile(_) => "percentile",
            Self::Mse => "mse",
        }
    }
}

/// A histogram of one value's activations that widens as it sees more.
#[derive(Clone, Debug, PartialEq)]
pub struct Observer {
    low: f32,
    high: f32,
    bins: Vec<u64>,
    seen: u64,
}

impl Default for Observer {
    fn default() -> Self {
        Self { low: f32::MAX, high: f32::MIN, bins: vec![0; BINS], seen: 0 }
    }
}

impl Observer {
    /// Adds activations; those that are not finite are left out.
    pub fn observe(&mut self, activations: &[f32]) {
        let finite = || activations.iter().copied().filter(|x| x.is_finite());
        let (low, high) =
            finite().fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return;
        }
        self.widen(low, high);
        for x in finite() {
            let bin = self.bin(x);
            self.bins[bin] += 1;
            self.seen += 1;
        }
    }

    /// The range seen, if anything was.
    #[must_use]
    pub fn range(&self) -> Option<(f32, f32)> {
        (self.seen > 0).then_some((self.low, self.high))
    }

    /// Scale and zero point by `method`, if anything was observed.
    #[must_use]
    pub fn quant(&self, method: Calibration) -> Option<Quant> {
        let (low, high) = self.range()?;
        Some(match method {
            Calibration::MinMax => Quant::from_range(low, high),
            Calibration::Percentile(outliers) => self.percentile(outliers),
            Calibration::Mse => self.least_squares(),
        })
    }

    fn widen(&mut self, low: f32, high: f32) {
        if self.seen == 0 {
            // An empty range still needs a width for its bins.
            (self.low, self.high) =
                (low, if high > low { high } else { low + 1e-6_f32.max(low.abs() * 1e-6) });
            return;
        }
        if low >= self.low && high <= self.high {
            return;
        }
        let old = self.clone();
        (self.low, self.high) = (low.min(old.low), high.max(old.high));
        self.bins.fill(0);
        for (bin, &count) in old.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let into = self.bin(old.centre(bin));
            self.bins[into] += count;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the minimum follows")]
    #[expect(clippy::cast_sign_loss, reason = "x is at least low")]
    #[expect(clippy::cast_precision_loss, reason = "2048 bins")]
    fn bin(&self, x: f32) -> usize {
        (((x - self.low) / (self.high - self.low) * BINS as f32) as usize).min(BINS - 1)
    }

    #[expect(clippy::cast_precision_loss, reason = "2048 bins")]
    fn centre(&self, bin: usize) -> f32 {
        (self.high - self.low).mul_add((bin as f32 + 0.5) / BINS as f32, self.low)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of activations")]
    #[expect(clippy::cast_possible_truncation, reason = "a share of a count")]
    #[expect(clippy::cast_sign_loss, reason = "shares are not negative")]
    fn percentile(&self, outliers: f64) -> Quant {
        let skip = (self.seen as f64 * outliers.clamp(0.0, 1.0) / 2.0) as u64;
        let low = self.edge(0..BINS, skip).map_or(self.low, |bin| self.centre(bin));
        let high = self.edge((0..BINS).rev(), skip).map_or(self.high, |bin| self.centre(bin));
        Quant::from_range(low.max(self.low), high.min(self.high))
    }

    /// The bin in which more than `skip` activations have been passed.
    fn edge(&self, mut bins: impl Iterator<Item = usize>, skip: u64) -> Option<usize> {
        let mut passed = 0;
        bins.find(|&bin| {
            passed += self.bins[bin];
            passed > skip
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and 64 steps")]
    fn least_squares(&self) -> Quant {
        let candidates = (1..=64).map(|step| {
            let share = step as f32 / 64.0;
            Quant::from_range(self.low.min(0.0) * share, self.high.max(0.0) * share)
        });
        let error = |quant: &Quant| -> f64 {
            let occupied = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
            occupied
                .map(|(bin, &count)| {
                    let x = self.centre(bin);
                    let difference = f64::from(quant.dequantize(quant.quantize(x)) - x);
                    difference * difference * count as f64
                })
                .sum()
        };
        candidates
            .map(|quant| (error(&quant), quant))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or_else(|| Quant::from_range(self.low, self.high), |(_, quant)| quant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bulk in -1 ..= 1 and one outlier.
    fn observer(outlier: f32) -> Observer {
        let mut observer = Observer::default();
        let bulk: Vec<f32> = (0..10_000_i16).map(|i| f32::from(i) / 5000.0 - 1.0).collect();
        observer.observe(&bulk);
        observer.observe(&[outlier, f32::NAN]);
        observer
    }

    #[test]
    fn outliers_cost_what_the_method_says() {
        let seen = observer(50.0);
        let top = |method| {
            let quant = seen.quant(method).unwrap();
            quant.dequantize(255)
        };
        assert!(top(Calibration::MinMax) > 49.0);
        assert!(top(Calibration::Percentile(0.001)) < 1.2);
        // One sample of 10,001 at 50: clipping it costs 2401 / 10001 a sample, more than any rounding of the bulk.
        assert!(top(Calibration::Mse) > 40.0);
        let near = observer(1.5);
        assert!(near.quant(Calibration::Mse).unwrap().dequantize(255) <= 1.6);
    }

    #[test]
    fn nothing_observed_is_no_range() {
        assert_eq!(Observer::default().quant(Calibration::Mse), None);
        let mut nan = Observer::default();
        nan.observe(&[f32::NAN]);
        assert_eq!(nan.range(), None);
    }
}
