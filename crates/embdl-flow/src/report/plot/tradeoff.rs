//! Accuracy against file size along the steps of the pipeline.

use super::super::format::{bytes, percent};
use super::super::svg::{Anchor, Scale, Svg, bold_width, linear_domain, log_domain, text_width};
use super::{Area, accuracy_axis};
use crate::record::{NetworkRecord, StepRecord};

const SIZE: (f64, f64) = (760.0, 430.0);
const AREA: Area = Area { left: 64.0, top: 38.0, right: 736.0, bottom: 376.0 };
const FONT: f64 = 13.0;
const LEADING: f64 = 16.0;
/// A label farther than this from its point gets a line to it.
const FAR: f64 = 14.0;
/// Room for labels at both ends of the axis.
const INSET: f64 = 36.0;
/// A range of accuracies below this is noise blown up.
const LEAST_RANGE: f64 = 0.01;

/// The first network's steps, connected; those of the others (further seeds) as light points.
/// `error` is the standard error of one accuracy on the test set.
pub(in super::super) fn tradeoff(networks: &[&NetworkRecord], error: Option<f64>) -> String {
    let Some(network) = networks.first() else { return String::new() };
    let baseline = network.fp32.accuracy;
    let all = || networks.iter().flat_map(|network| &network.steps);
    let accuracies = all().map(|step| step.test_accuracy).chain([baseline]);
    let band = error.map(|error| [baseline - error, baseline + error]).into_iter().flatten();
    let y = Scale::linear(
        linear_domain(accuracies.chain(band), LEAST_RANGE, (0.0, 1.0)),
        (AREA.bottom, AREA.top),
    );
    #[expect(clippy::cast_precision_loss, reason = "it becomes a position")]
    let size = |step: &StepRecord| step.file_bytes as f64;
    let x =
        Scale::logarithmic(log_domain(all().map(size)), (AREA.left + INSET, AREA.right - INSET));

    let mut svg = Svg::new(
        SIZE.0,
        SIZE.1,
        "Test accuracy against file size, step by step",
        &description(network),
    );
    if let Some(error) = error {
        let (top, bottom) = (y.at(baseline + error), y.at(baseline - error));
        svg.rect((AREA.left, top), (AREA.right - AREA.left, bottom - top), "band");
    }
    accuracy_axis(&mut svg, AREA, &y, 6, "Test accuracy");
    for tick in x.ticks(8) {
        let at = x.at(tick);
        svg.line((at, AREA.bottom), (at, AREA.bottom + 5.0), "axis");
        #[expect(clippy::cast_possible_truncation, reason = "a file size")]
        #[expect(clippy::cast_sign_loss, reason = "logarithmic ticks are positive")]
        let text = short_bytes(tick.round() as u64);
        svg.text((at, AREA.bottom + 20.0), &text, Anchor::Middle, "tick");
    }
    svg.line((AREA.left, AREA.bottom), (AREA.right, AREA.bottom), "axis");
    svg.text(
        (AREA.right, AREA.bottom + 42.0),
        "File size, logarithmic: smaller is to the left",
        Anchor::End,
        "axis-label",
    );

    let base = y.at(baseline);
    svg.line((AREA.left, base), (AREA.right, base), "baseline");
    let mut labels = Labels::default();
    let text = format!("fp32 {}", percent(baseline));
    let above = if base - AREA.top > 24.0 { base - 7.0 } else { base + 17.0 };
    svg.text((AREA.left + 6.0, above), &text, Anchor::Start, "muted");
    let width = text_width(&text, FONT);
    labels.taken.push(Bounds::of(AREA.left + 6.0, above, width, Anchor::Start, 1.0));

    for other in networks.iter().skip(1) {
        for step in other.steps.iter().filter(|step| step.test_accuracy.is_finite()) {
            let title = format!("seed {}: {}", other.seed, label(step).join(" "));
            let point = (x.at(size(step)), y.at(step.test_accuracy));
            svg.dot(point, 4.0, "further", &title);
            labels.others.push(point);
        }
    }
    let shown: Vec<&StepRecord> =
        network.steps.iter().filter(|step| step.test_accuracy.is_finite()).collect();
    let points: Vec<(f64, f64)> =
        shown.iter().map(|step| (x.at(size(step)), y.at(step.test_accuracy))).collect();
    svg.polyline(&points, "main");
    labels.points.clone_from(&points);
    for (step, &point) in shown.iter().zip(&points) {
        svg.dot(point, 5.5, "main-dot", &step.what);
    }
    for (step, &point) in shown.iter().zip(&points) {
        labels.place(&mut svg, point, &label(step));
    }
    svg.finish()
}

fn label(step: &StepRecord) -> [String; 2] {
    [step.step.clone(), format!("{} · {}", percent(step.test_accuracy), bytes(step.file_bytes))]
}

fn description(network: &NetworkRecord) -> String {
    let steps: Vec<String> = network
        .steps
        .iter()
        .map(|step| {
            format!("{}: {}, {}", step.step, bytes(step.file_bytes), percent(step.test_accuracy))
        })
        .collect();
    format!("fp32: {}. {}.", percent(network.fp32.accuracy), steps.join("; "))
}

/// "50 kB" rather than "50.0 kB".
fn short_bytes(number: u64) -> String {
    let text = bytes(number);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Where a label of two lines may start, the best place first.
fn candidates((x, y): (f64, f64)) -> Vec<(f64, f64, Anchor)> {
    let mut all = Vec::new();
    for distance in [0.0, 34.0, 68.0, 102.0] {
        let (above, below) = (y - 30.0 - distance, y + 24.0 + distance);
        for y in [above, below] {
            all.push((x, y, Anchor::Middle));
        }
        if distance == 0.0 {
            all.push((x + 12.0, y - 4.0, Anchor::Start));
            all.push((x - 12.0, y - 4.0, Anchor::End));
        }
        for y in [above, below] {
            for shift in [6.0, 24.0] {
                all.push((x + shift, y, Anchor::Start));
                all.push((x - shift, y, Anchor::End));
            }
        }
    }
    all
}

/// Where a text is, about.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Bounds {
    /// Of lines whose widest has `width`, the first with its baseline at `baseline`.
    fn of(x: f64, baseline: f64, width: f64, anchor: Anchor, lines: f64) -> Self {
        let left = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        let bottom = baseline + (lines - 1.0) * LEADING + 4.0;
        Self { left, top: baseline - FONT, right: left + width, bottom }
    }

    fn hits(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn holds(&self, point: (f64, f64), margin: f64) -> bool {
        (self.left - margin..=self.right + margin).contains(&point.0)
            && (self.top - margin..=self.bottom + margin).contains(&point.1)
    }
}

/// Puts labels of two lines beside points, where they hide least.
#[derive(Debug, Default)]
struct Labels {
    points: Vec<(f64, f64)>,
    others: Vec<(f64, f64)>,
    taken: Vec<Bounds>,
}

impl Labels {
    fn place(&mut self, svg: &mut Svg, point: (f64, f64), lines: &[String; 2]) {
        let (x, y) = point;
        let width = bold_width(&lines[0], FONT).max(text_width(&lines[1], FONT));
        let bounds = |&(x, y, anchor): &(f64, f64, Anchor)| Bounds::of(x, y, width, anchor, 2.0);
        let mut best = (x, y, Anchor::Middle);
        let mut least = f64::MAX;
        for (rank, candidate) in candidates(point).into_iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "there are few candidates")]
            let cost = self.cost(point, bounds(&candidate)) + rank as f64;
            if cost < least {
                (best, least) = (candidate, cost);
            }
        }
        let label = bounds(&best);
        if let Some(end) = leader(point, &label) {
            svg.line(point, end, "leader");
        }
        svg.text((best.0, best.1), &lines[0], best.2, "strong halo");
        svg.text((best.0, best.1 + LEADING), &lines[1], best.2, "value halo");
        self.taken.push(label);
    }

    fn cost(&self, point: (f64, f64), label: Bounds) -> f64 {
        let mut cost = 0.0;
        if label.left < AREA.left - 4.0
            || label.right > SIZE.0
            || label.top < AREA.top - 8.0
            || label.bottom > AREA.bottom - 2.0
        {
            cost += 500.0;
        }
        for taken in &self.taken {
            // Two texts on each other cannot be read; anything else can.
            cost += if label.hits(taken) { 400.0 } else { 0.0 };
        }
        for &point in &self.points {
            cost += if label.holds(point, 5.0) { 60.0 } else { 0.0 };
        }
        for &point in &self.others {
            cost += if label.holds(point, 4.0) { 30.0 } else { 0.0 };
        }
        if let Some(end) = leader(point, &label) {
            let crossed = |between| self.taken.iter().any(|taken| taken.holds(between, 1.0));
            cost += if along(point, end).any(crossed) { 80.0 } else { 0.0 };
        }
        for pair in self.points.windows(2) {
            let hidden = along(pair[0], pair[1]).filter(|&between| label.holds(between, 2.0));
            cost += hidden.map(|_| 4.0).sum::<f64>();
        }
        cost
    }
}

/// Where the line from a point to its label ends, if they are far from each other.
fn leader((x, y): (f64, f64), label: &Bounds) -> Option<(f64, f64)> {
    let far = (label.top - y).max(y - label.bottom) > FAR;
    let near = if label.top > y { label.top } else { label.bottom };
    let (left, right) = (label.left + 8.0, (label.right - 8.0).max(label.left + 8.0));
    far.then(|| (x.clamp(left, right), near))
}

/// Points between two.
fn along(from: (f64, f64), to: (f64, f64)) -> impl Iterator<Item = (f64, f64)> {
    (1..16).map(move |i| {
        let share = f64::from(i) / 16.0;
        (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
    })
}
