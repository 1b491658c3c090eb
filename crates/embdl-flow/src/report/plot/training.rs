//! Validation accuracy by epoch, over all steps that train.

use super::super::format::{percent, shortened};
use super::super::svg::{Anchor, Scale, Svg, linear_domain, text_width};
use super::{Area, accuracy_axis};
use crate::record::EpochRecord;

const SIZE: (f64, f64) = (760.0, 330.0);
const AREA: Area = Area { left: 64.0, top: 56.0, right: 750.0, bottom: 286.0 };

/// One curve for each step, side by side in the order of the pipeline, each labelled with where it ended.
#[expect(clippy::cast_precision_loss, reason = "they become positions")]
pub(in super::super) fn training(epochs: &[EpochRecord]) -> String {
    let steps: Vec<&[EpochRecord]> = epochs.chunk_by(|lhs, rhs| lhs.step == rhs.step).collect();
    let y = Scale::linear(
        linear_domain(epochs.iter().map(|epoch| epoch.validation_accuracy), 0.01, (0.0, 1.0)),
        (AREA.bottom, AREA.top),
    );
    let x = Scale::linear((0.5, epochs.len().max(1) as f64 + 0.5), (AREA.left, AREA.right));

    let description: Vec<String> = steps
        .iter()
        .filter_map(|step| step.last())
        .map(|last| {
            let accuracy = percent(last.validation_accuracy);
            format!("{}: {accuracy} after {} epochs", last.step, last.epoch)
        })
        .collect();
    let mut svg = Svg::new(SIZE.0, SIZE.1, "Validation accuracy by epoch", &description.join("; "));
    let mut start = 0;
    for (i, step) in steps.iter().enumerate() {
        let (left, right) = (x.at(start as f64 + 0.5), x.at((start + step.len()) as f64 + 0.5));
        if i % 2 == 1 {
            svg.rect(
                (left, AREA.top - 34.0),
                (right - left, AREA.bottom - AREA.top + 34.0),
                "band",
            );
        }
        start += step.len();
    }
    accuracy_axis(&mut svg, AREA, &y, 6, "");
    svg.text((0.0, 14.0), "Validation accuracy", Anchor::Start, "axis-label");
    svg.line((AREA.left, AREA.bottom), (AREA.right, AREA.bottom), "axis");
    epoch_axis(&mut svg, &x, epochs.len());
    let mut start = 0;
    for step in &steps {
        let points: Vec<(f64, f64)> = step
            .iter()
            .enumerate()
            .filter(|(_, epoch)| epoch.validation_accuracy.is_finite())
            .map(|(i, epoch)| (x.at((start + i + 1) as f64), y.at(epoch.validation_accuracy)))
            .collect();
        svg.polyline(&points, "main");
        for (epoch, &point) in step.iter().zip(&points) {
            let title = format!(
                "{} epoch {}: {}",
                epoch.step,
                epoch.epoch,
                percent(epoch.validation_accuracy)
            );
            svg.dot(point, if epochs.len() > 60 { 1.5 } else { 3.0 }, "main-dot", &title);
        }
        let (left, right) = (x.at(start as f64 + 0.5), x.at((start + step.len()) as f64 + 0.5));
        head(&mut svg, left, right, step);
        start += step.len();
    }
    svg.finish()
}

/// Name and last accuracy of a step above its curve, as far as there is room.
fn head(svg: &mut Svg, left: f64, right: f64, step: &[EpochRecord]) {
    let Some(last) = step.last() else { return };
    let room = right - left - 6.0;
    let name = shortened(&last.step, 20);
    let accuracy = percent(last.validation_accuracy);
    if text_width(&name, 13.0) <= room {
        svg.text((left + 6.0, AREA.top - 18.0), &name, Anchor::Start, "strong");
    }
    if text_width(&accuracy, 12.0) <= room {
        svg.text((left + 6.0, AREA.top - 3.0), &accuracy, Anchor::Start, "tick");
    }
}

#[expect(clippy::cast_precision_loss, reason = "they become positions")]
fn epoch_axis(svg: &mut Svg, x: &Scale, epochs: usize) {
    let every = [1, 2, 5, 10, 20, 50, 100, 200, 500]
        .into_iter()
        .find(|every| epochs / every <= 16)
        .unwrap_or(1000);
    for epoch in (1..=epochs).filter(|epoch| epoch.is_multiple_of(every)) {
        let at = x.at(epoch as f64);
        svg.line((at, AREA.bottom), (at, AREA.bottom + 4.0), "axis");
        svg.text((at, AREA.bottom + 18.0), &epoch.to_string(), Anchor::Middle, "tick");
    }
    svg.text((AREA.right, AREA.bottom + 38.0), "Epoch, all steps", Anchor::End, "axis-label");
}
