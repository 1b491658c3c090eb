//! Validation accuracy by epoch, over all steps that train.

use super::super::format::{percent, shortened};
use super::super::svg::{Anchor, Scale, Svg, bold_width, linear_domain};
use super::{Area, accuracy_axis};
use crate::record::EpochRecord;

const SIZE: (f64, f64) = (760.0, 336.0);
const AREA: Area = Area { left: 64.0, top: 62.0, right: 756.0, bottom: 292.0 };

/// One curve for each training, side by side in the order of the pipeline, each labelled with where it ended.
pub(in super::super) fn training(epochs: &[EpochRecord]) -> String {
    let trainings: Vec<&[EpochRecord]> =
        epochs.chunk_by(|lhs, rhs| lhs.step == rhs.step && lhs.epoch < rhs.epoch).collect();
    let y = Scale::linear(
        linear_domain(epochs.iter().map(|epoch| epoch.validation_accuracy), 0.01, (0.0, 1.0)),
        (AREA.bottom, AREA.top),
    );
    let description: Vec<String> = trainings
        .iter()
        .filter_map(|training| training.last())
        .map(|last| {
            let accuracy = percent(last.validation_accuracy);
            format!("{}: {accuracy} after epoch {}", last.step, last.epoch)
        })
        .collect();
    let mut svg = Svg::new(SIZE.0, SIZE.1, "Validation accuracy by epoch", &description.join("; "));
    let widths = widths(&trainings);
    let mut left = AREA.left;
    for (i, width) in widths.iter().enumerate() {
        if i % 2 == 1 {
            let top = AREA.top - 38.0;
            svg.rect((left, top), (*width, AREA.bottom - top), "band");
        }
        left += width;
    }
    accuracy_axis(&mut svg, AREA, &y, 6, "");
    svg.text((0.0, 14.0), "Validation accuracy", Anchor::Start, "axis-label");
    svg.line((AREA.left, AREA.bottom), (AREA.right, AREA.bottom), "axis");
    svg.text((AREA.right, AREA.bottom + 38.0), "Epoch of the step", Anchor::End, "axis-label");
    let mut left = AREA.left;
    for (training, width) in trainings.iter().zip(&widths) {
        panel(&mut svg, training, (left, left + width), &y);
        left += width;
    }
    svg.finish()
}

/// Widths in proportion to the epochs, but no step narrower than its name as far as all fit.
#[expect(clippy::cast_precision_loss, reason = "they become positions")]
fn widths(trainings: &[&[EpochRecord]]) -> Vec<f64> {
    let all = AREA.right - AREA.left;
    let least: Vec<f64> = trainings
        .iter()
        .map(|training| {
            let name = training.first().map_or("", |epoch| epoch.step.as_str());
            bold_width(&shortened(name, 16), 13.0).max(54.0) + 12.0
        })
        .collect();
    let needed: f64 = least.iter().sum();
    let epochs: usize = trainings.iter().map(|training| training.len()).sum();
    let squeeze = (0.9 * all / needed).min(1.0);
    let spare = all - squeeze * needed;
    trainings
        .iter()
        .zip(&least)
        .map(|(training, least)| {
            squeeze * least + spare * training.len() as f64 / epochs.max(1) as f64
        })
        .collect()
}

/// One training between two positions.
#[expect(clippy::cast_precision_loss, reason = "they become positions")]
fn panel(svg: &mut Svg, training: &[EpochRecord], (left, right): (f64, f64), y: &Scale) {
    let (Some(first), Some(last)) = (training.first(), training.last()) else { return };
    let ends = (first.epoch as f64 - 0.5, last.epoch as f64 + 0.5);
    let x = Scale::linear(ends, (left + 4.0, right - 4.0));
    let shown: Vec<(&EpochRecord, (f64, f64))> = training
        .iter()
        .filter(|epoch| epoch.validation_accuracy.is_finite())
        .map(|epoch| (epoch, (x.at(epoch.epoch as f64), y.at(epoch.validation_accuracy))))
        .collect();
    let points: Vec<(f64, f64)> = shown.iter().map(|&(_, point)| point).collect();
    svg.polyline(&points, "main");
    let radius = if (right - left) / (training.len() as f64) < 7.0 { 1.5 } else { 3.0 };
    for (epoch, point) in shown {
        let accuracy = percent(epoch.validation_accuracy);
        let title = format!("{} epoch {}: {accuracy}", epoch.step, epoch.epoch);
        svg.dot(point, radius, "main-dot", &title);
    }

    let room = right - left - 8.0;
    let widest = (room / bold_width("m", 13.0)).floor().clamp(1.0, 40.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most 40")]
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    let name = shortened(&last.step, widest as usize);
    svg.text((left + 6.0, AREA.top - 22.0), &name, Anchor::Start, "strong");
    if room > 46.0 {
        let accuracy = percent(last.validation_accuracy);
        svg.text((left + 6.0, AREA.top - 7.0), &accuracy, Anchor::Start, "tick");
    }
    for tick in ticks(first.epoch, last.epoch, room) {
        let at = x.at(tick as f64);
        svg.line((at, AREA.bottom), (at, AREA.bottom + 4.0), "axis");
        svg.text((at, AREA.bottom + 18.0), &tick.to_string(), Anchor::Middle, "tick");
    }
}

/// Round epochs with room for their numbers; the last one if there is none.
fn ticks(first: usize, last: usize, room: f64) -> Vec<usize> {
    #[expect(clippy::cast_possible_truncation, reason = "a width on the page")]
    #[expect(clippy::cast_sign_loss, reason = "a negative room saturates to 0")]
    let most = ((room / 30.0) as usize).max(1);
    let span = last.saturating_sub(first) + 1;
    let every = (0..9)
        .flat_map(|power| [1, 2, 5].map(|factor| factor * 10_usize.pow(power)))
        .find(|every| span.div_ceil(*every) <= most)
        .unwrap_or(span);
    let mut ticks: Vec<usize> =
        (first..=last).filter(|epoch| epoch.is_multiple_of(every)).collect();
    if ticks.is_empty() {
        ticks.push(last);
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_never_missing() {
        assert_eq!(ticks(1, 12, 150.0), [5, 10]);
        assert_eq!(ticks(1, 3, 100.0), [1, 2, 3]);
        assert_eq!(ticks(3, 3, -5.0), [3]);
        assert_eq!(ticks(7, 9, 40.0), [9]);
    }

    #[test]
    fn every_training_gets_a_share() {
        let epoch = |step: &str, epoch| EpochRecord {
            step: step.into(),
            epoch,
            loss: 0.0,
            validation_accuracy: 0.5,
            images_per_second: 1.0,
        };
        let (long, short): (Vec<_>, Vec<_>) =
            ((1..100).map(|i| epoch("train", i)).collect(), vec![epoch("quantize", 1)]);
        let widths = widths(&[&long, &short]);
        assert!((widths.iter().sum::<f64>() - (AREA.right - AREA.left)).abs() < 1e-6);
        assert!(widths[1] > bold_width("quantize", 13.0), "{widths:?}");
    }
}
