//! Collects what failed, so that one run shows all of it.

use core::fmt::{self, Debug};

/// Failures of one family of problems.
#[derive(Debug, Default)]
pub struct Report {
    checked: usize,
    failures: Vec<String>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares integers, which must be equal. `case` says what was computed, with seed and shapes.
    pub fn equal<T: PartialEq + Debug>(&mut self, case: &dyn fmt::Display, got: &[T], want: &[T]) {
        self.compare(case, got, want, |_, got, want| got == want);
    }

    /// Compares floats: each may differ from `want` by its `allowed`; NaN matches NaN, infinities match by sign.
    pub fn close(&mut self, case: &dyn fmt::Display, got: &[f32], want: &[f64], allowed: &[f64]) {
        self.compare(case, got, want, |at, &got, &want| {
            is_close(f64::from(got), want, allowed[at])
        });
    }

    /// Compares floats, which must have the same bits; any NaN is the same as any other.
    pub fn same_bits(&mut self, case: &dyn fmt::Display, got: &[f32], want: &[f32]) {
        self.compare(case, got, want, |_, got, want| {
            got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan()
        });
    }

    /// Notes a failure that is not a difference.
    pub fn fail(&mut self, case: &dyn fmt::Display, reason: &dyn fmt::Display) {
        self.checked += 1;
        self.failures.push(format!("{case}: {reason}"));
    }

    /// Whether nothing failed so far.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// Ends the family.
    ///
    /// # Panics
    /// If something failed, with the first failures, or nothing was checked.
    pub fn finish(self, family: &str) {
        assert!(self.checked > 0, "{family}: nothing was checked");
        let shown = self.failures.iter().take(12).map(String::as_str).collect::<Vec<_>>();
        assert!(
            self.failures.is_empty(),
            "{family}: {} of {} cases failed\n{}",
            self.failures.len(),
            self.checked,
            shown.join("\n")
        );
    }

    fn compare<G: Debug, W: Debug>(
        &mut self,
        case: &dyn fmt::Display,
        got: &[G],
        want: &[W],
        same: impl Fn(usize, &G, &W) -> bool,
    ) {
        self.checked += 1;
        if got.len() != want.len() {
            self.failures.push(format!("{case}: {} results, not {}", got.len(), want.len()));
            return;
        }
        let wrong: Vec<usize> =
            (0..got.len()).filter(|&at| !same(at, &got[at], &want[at])).collect();
        if let Some(&first) = wrong.first() {
            self.failures.push(format!(
                "{case}: {} of {} differ, first at {first}: {:?} instead of {:?}",
                wrong.len(),
                got.len(),
                got[first],
                want[first]
            ));
        }
    }
}

fn is_close(got: f64, want: f64, allowed: f64) -> bool {
    if want.is_nan() || want.is_infinite() {
        // Infinities are compared by sign, NaN with NaN.
        return got.is_nan() == want.is_nan() && (want.is_nan() || got == want);
    }
    (got - want).abs() <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_match_only_themselves() {
        assert!(is_close(f64::NAN, f64::NAN, 0.0));
        assert!(is_close(f64::INFINITY, f64::INFINITY, 0.0));
        assert!(!is_close(f64::INFINITY, f64::NEG_INFINITY, 1e9));
        assert!(!is_close(f64::NAN, 1.0, 1e9));
        assert!(!is_close(1.0, f64::NAN, 1e9));
        assert!(is_close(1.0, 1.5, 0.5) && !is_close(1.0, 1.5, 0.25));
    }

    #[test]
    #[should_panic(expected = "1 of 2 cases failed")]
    fn differences_are_counted() {
        let mut report = Report::new();
        report.equal(&"same", &[1, 2], &[1, 2]);
        report.equal(&"other", &[1, 2], &[1, 3]);
        report.finish("numbers");
    }

    #[test]
    #[should_panic(expected = "nothing was checked")]
    fn an_empty_family_fails() {
        Report::new().finish("nothing");
    }
}
