//! From values to positions, and where the ticks go.

/// Maps a domain of values to a range of positions, linearly or by the logarithm.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Scale {
    logarithmic: bool,
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    pub(in super::super) fn linear(domain: (f64, f64), range: (f64, f64)) -> Self {
        Self { logarithmic: false, domain, range }
    }

    /// The domain must be positive.
    pub(in super::super) fn logarithmic(domain: (f64, f64), range: (f64, f64)) -> Self {
        assert!(domain.0 > 0.0 && domain.1 > 0.0, "no logarithm of {domain:?}");
        Self { logarithmic: true, domain, range }
    }

    /// Position of a value; those outside of the domain stand at its end.
    pub(in super::super) fn at(&self, value: f64) -> f64 {
        let (low, high) = self.domain;
        let value = value.clamp(low, high);
        let share = if self.logarithmic {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        let share = if share.is_finite() { share } else { 0.0 };
        self.range.0 + share * (self.range.1 - self.range.0)
    }

    /// Round values within the domain, at most about `most` of them.
    pub(in super::super) fn ticks(&self, most: usize) -> Vec<f64> {
        if self.logarithmic {
            self.logarithmic_ticks(most)
        } else {
            let (low, high) = self.domain;
            let step = step(high - low, most);
            let first = (low / step - 1e-9).ceil();
            let count = (high / step + 1e-9).floor() - first;
            (0..=1000_u16)
                .map(f64::from)
                .take_while(|&i| i <= count)
                .map(|i| (first + i) * step)
                .collect()
        }
    }

    fn logarithmic_ticks(&self, most: usize) -> Vec<f64> {
        let (low, high) = (self.domain.0 * (1.0 - 1e-9), self.domain.1 * (1.0 + 1e-9));
        let grids: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let mut ticks = Vec::new();
        for factors in grids {
            ticks = (-18..=18)
                .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
                .filter(|tick| (low..=high).contains(tick))
                .collect();
            if ticks.len() <= most {
                break;
            }
        }
        ticks
    }
}

/// The domain that shows all finite values: at least `least` wide, with a little air, and ended at round values.
/// `limits` are never passed.
pub(in super::super) fn linear_domain(
    values: impl IntoIterator<Item = f64>,
    least: f64,
    limits: (f64, f64),
) -> (f64, f64) {
    let Some((low, high)) = extent(values) else { return (limits.0, limits.0 + least) };
    let missing = (least - (high - low)).max(0.0);
    let air = 0.06 * (high - low).max(least);
    let (low, high) = (low - air - missing / 2.0, high + air + missing / 2.0);
    let step = step(high - low, 6) / 2.0;
    let low = ((low / step).floor() * step).max(limits.0);
    let high = ((high / step).ceil() * step).min(limits.1);
    if high > low { (low, high) } else { (limits.0, limits.0 + least) }
}

/// The domain that shows all positive values on a logarithmic axis, ended at 1, 2 or 5 times a power of ten.
pub(in super::super) fn log_domain(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let Some((low, high)) = extent(values.into_iter().filter(|&value| value > 0.0)) else {
        return (1.0, 10.0);
    };
    let (low, high) = (low.max(1e-12) / 1.15, high.min(1e15) * 1.15);
    let grid: Vec<f64> = (-14..=17)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power)))
        .collect();
    let below = grid.iter().rev().find(|&&tick| tick <= low).copied().unwrap_or(low);
    let above = grid.iter().find(|&&tick| tick >= high).copied().unwrap_or(high);
    if above > below { (below, above) } else { (below, below * 10.0) }
}

fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |extent, value| {
        let (low, high): (f64, f64) = extent.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// The smallest of 1, 2 and 5 times a power of ten that divides `span` into at most `most` parts.
#[expect(clippy::cast_precision_loss, reason = "a number of ticks is small")]
fn step(span: f64, most: usize) -> f64 {
    let rough = (span / most.max(1) as f64).clamp(1e-12, 1e15);
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|&step| step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(lhs: &[f64], rhs: &[f64]) -> bool {
        lhs.len() == rhs.len() && lhs.iter().zip(rhs).all(|(l, r)| (l - r).abs() <= 1e-9 * r.abs())
    }

    #[test]
    fn linear_positions_and_ticks() {
        let scale = Scale::linear((0.9, 1.0), (100.0, 0.0));
        assert!((scale.at(0.95) - 50.0).abs() < 1e-9);
        assert!((scale.at(2.0) - 0.0).abs() < 1e-9);
        let ticks = scale.ticks(5);
        assert!(close(&ticks, &[0.9, 0.92, 0.94, 0.96, 0.98, 1.0]), "{ticks:?}");
    }

    #[test]
    fn logarithmic_positions_and_ticks() {
        let scale = Scale::logarithmic((10.0, 1000.0), (0.0, 2.0));
        assert!((scale.at(100.0) - 1.0).abs() < 1e-9);
        let ticks = scale.ticks(7);
        assert!(close(&ticks, &[10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]), "{ticks:?}");
        let ticks = scale.ticks(3);
        assert!(close(&ticks, &[10.0, 100.0, 1000.0]), "{ticks:?}");
    }

    #[test]
    fn domains_hold_all_values() {
        assert_eq!(linear_domain([], 0.1, (0.0, 1.0)), (0.0, 0.1));
        let (low, high) = linear_domain([0.5, 0.5, f64::NAN], 0.01, (0.0, 1.0));
        assert!(low < 0.5 && high > 0.5 && high - low < 0.05, "{low} {high}");
        assert_eq!(linear_domain([0.0, 1.0], 0.01, (0.0, 1.0)), (0.0, 1.0));
        assert_eq!(log_domain([0.0]), (1.0, 10.0));
        assert_eq!(log_domain([30.0, 900.0]), (20.0, 2000.0));
        let (low, high) = log_domain([5.0]);
        assert!(low < 5.0 && high > 5.0);
    }
}
