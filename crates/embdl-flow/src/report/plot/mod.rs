//! The plots of the page, each from the records it shows to an SVG element.

mod confusion;
mod latency;
mod layers;
mod sensitivity;
mod tradeoff;
mod training;

pub(super) use confusion::{MOST_CLASSES, confusion, confusions};
pub(super) use latency::latency;
pub(super) use layers::layers;
pub(super) use sensitivity::{Kind, sensitivity};
pub(super) use tradeoff::tradeoff;
pub(super) use training::training;

use super::svg::{Anchor, Scale, Svg};

/// The four edges of the area that data fills.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

/// Horizontal grid lines with accuracies as their labels, and what the axis shows above them.
fn accuracy_axis(svg: &mut Svg, area: Area, scale: &Scale, most: usize, label: &str) {
    let ticks = scale.ticks(most);
    let decimals = decimals(&ticks);
    for &tick in &ticks {
        let y = scale.at(tick);
        svg.line((area.left, y), (area.right, y), "grid");
        let text = format!("{:.decimals$}%", 100.0 * tick);
        svg.text((area.left - 8.0, y + 4.0), &text, Anchor::End, "tick");
    }
    if !label.is_empty() {
        svg.text((0.0, area.top - 14.0), label, Anchor::Start, "axis-label");
    }
}

/// As many decimals as neighbouring ticks need to differ, in percent.
fn decimals(ticks: &[f64]) -> usize {
    let step = ticks.windows(2).map(|pair| 100.0 * (pair[1] - pair[0])).fold(f64::MAX, f64::min);
    match step {
        step if step > 0.95 => 0,
        step if step > 0.095 => 1,
        _ => 2,
    }
}

/// A class for each series that differs in colour and, where lines are drawn, in the place of its label.
fn file_class(file: &str) -> &'static str {
    if file == "fp32" { "before" } else { "after" }
}
