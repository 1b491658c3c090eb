//! The loss: cross-entropy with smoothed labels, mixed with distillation, together with its gradient.

use super::norm::softmax;

/// What a batch is to learn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets<'a> {
    /// True class of each sample.
    pub(crate) labels: &'a [u8],
    /// Share of the target that goes to all classes alike.
    pub(crate) smoothing: f32,
    /// A teacher's logits, the share of the loss that comes from them, and the temperature.
    pub(crate) teacher: Option<(&'a [f32], f32, f32)>,
}

/// The loss of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loss {
    /// Mean over the samples.
    pub(crate) mean: f64,
    /// Gradient of the mean for each logit.
    pub(crate) gradient: Vec<f32>,
    /// Samples whose largest logit is that of the true class.
    pub(crate) correct: usize,
}

/// Index of the largest element; the first of equals.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}

/// The loss of `logits`, `classes` for each sample.
pub(crate) fn loss(logits: &[f32], classes: usize, targets: Targets<'_>) -> Loss {
    let samples = logits.len() / classes;
    #[expect(clippy::cast_precision_loss, reason = "counts of samples and classes")]
    let (share, each) = (1.0 / samples.max(1) as f32, targets.smoothing / classes as f32);
    let hard = targets.teacher.map_or(1.0, |(_, alpha, _)| 1.0 - alpha);
    let mut gradient = softmax(logits, classes);
    let (mut sum, mut correct) = (0.0_f64, 0);
    for (n, (row, p)) in
        logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes)).enumerate()
    {
        let label = usize::from(targets.labels[n]);
        correct += usize::from(argmax(row) == label);
        let log_sum = log_sum_exp(row, 1.0);
        for (c, (p, &logit)) in p.iter_mut().zip(row).enumerate() {
            let target = each + if c == label { 1.0 - targets.smoothing } else { 0.0 };
            sum += f64::from(hard) * f64::from(target) * (log_sum - f64::from(logit));
            *p = (*p - target) * share * hard;
        }
    }
    if let Some((teacher, alpha, temperature)) = targets.teacher {
        sum += distill(logits, teacher, classes, (alpha, temperature), share, &mut gradient);
    }
    Loss { mean: sum * f64::from(share), gradient, correct }
}

/// Adds `alpha · T² · KL(teacher / T, student / T)`: its sum is returned, its gradient added.
/// Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", §2.
fn distill(
    logits: &[f32],
    teacher: &[f32],
    classes: usize,
    (alpha, temperature): (f32, f32),
    share: f32,
    gradient: &mut [f32],
) -> f64 {
    let soften = |logits: &[f32]| -> Vec<f32> { logits.iter().map(|x| x / temperature).collect() };
    let targets = softmax(&soften(teacher), classes);
    let softened = softmax(&soften(logits), classes);
    let mut sum = 0.0;
    for n in 0..logits.len() / classes {
        let row = n * classes..(n + 1) * classes;
        let student = log_sum_exp(&logits[row.clone()], temperature);
        let master = log_sum_exp(&teacher[row.clone()], temperature);
        for at in row {
            let log_student = f64::from(logits[at] / temperature) - student;
            let log_master = f64::from(teacher[at] / temperature) - master;
            sum += f64::from(targets[at]) * (log_master - log_student);
            gradient[at] += alpha * temperature * share * (softened[at] - targets[at]);
        }
    }
    sum * f64::from(alpha * temperature * temperature)
}

fn log_sum_exp(row: &[f32], temperature: f32) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max) / temperature);
    let sum: f64 = row.iter().map(|&x| (f64::from(x / temperature) - largest).exp()).sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_is_the_slope() {
        let logits = [0.3, -1.2, 2.0, 0.1, 0.7, -0.4];
        let teacher = [1.0, 0.0, 3.0, -1.0, 0.5, 0.2];
        for targets in [
            Targets { labels: &[2, 0], smoothing: 0.0, teacher: None },
            Targets { labels: &[2, 0], smoothing: 0.1, teacher: None },
            Targets { labels: &[1, 1], smoothing: 0.1, teacher: Some((&teacher, 0.7, 4.0)) },
        ] {
            let Loss { gradient, .. } = loss(&logits, 3, targets);
            for at in 0..6 {
                let shifted = |by: f32| {
                    let mut logits = logits;
                    logits[at] += by;
                    loss(&logits, 3, targets).mean
                };
                let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
                assert!((slope - f64::from(gradient[at])).abs() < 1e-4, "{targets:?} at {at}");
            }
        }
    }

    #[test]
    fn known_values() {
        let even = loss(&[0.0; 4], 4, Targets { labels: &[3], smoothing: 0.0, teacher: None });
        assert!((even.mean - 4.0_f64.ln()).abs() < 1e-6 && even.correct == 0);
        let teacher = Some((&[5.0, 1.0][..], 1.0, 2.0));
        let same = loss(&[5.0, 1.0], 2, Targets { labels: &[0], smoothing: 0.0, teacher });
        assert!(same.mean.abs() < 1e-9 && same.correct == 1);
        assert!(same.gradient.iter().all(|g| g.abs() < 1e-7));
    }
}
