//! Accuracy when one layer alone is compressed: a small panel for each layer, the other layers' curves behind.

use embdl_compress::{Sensitivity, SensitivityPoint};

use super::super::format::{percent, shortened};
use super::super::svg::{Anchor, Scale, Svg, linear_domain, text_width};
use super::{Area, accuracy_axis};

const SIZE: (f64, f64) = (184.0, 176.0);
const AREA: Area = Area { left: 42.0, top: 30.0, right: 180.0, bottom: 136.0 };

/// What is done to the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Pruned to a density.
    Pruned,
    /// Shared with a number of bits.
    Shared,
}

impl Kind {
    fn points(self, layer: &Sensitivity) -> &[SensitivityPoint] {
        match self {
            Self::Pruned => &layer.pruned,
            Self::Shared => &layer.shared,
        }
    }

    fn setting(self, setting: f64) -> String {
        match self {
            Self::Pruned if setting < 0.00995 => format!("{:.1}%", 100.0 * setting),
            Self::Pruned => format!("{:.0}%", 100.0 * setting),
            Self::Shared => format!("{setting:.0}"),
        }
    }

    fn axis(self) -> &'static str {
        match self {
            Self::Pruned => "weights kept",
            Self::Shared => "bits a weight",
        }
    }
}

/// A panel for each layer, all with the same axes; `baseline` is the validation accuracy of the uncompressed network.
pub(in super::super) fn sensitivity(
    layers: &[Sensitivity],
    kind: Kind,
    baseline: Option<f64>,
) -> Vec<String> {
    let points = || layers.iter().flat_map(|layer| kind.points(layer));
    if points().next().is_none() {
        return Vec::new();
    }
    let y = Scale::linear(
        linear_domain(points().map(|point| point.accuracy).chain(baseline), 0.01, (0.0, 1.0)),
        (AREA.bottom, AREA.top),
    );
    let mut settings: Vec<f64> =
        points().map(|point| point.setting).filter(|setting| setting.is_finite()).collect();
    settings.sort_by(f64::total_cmp);
    settings.dedup();
    let x = horizontal(&settings);
    let curves: Vec<Curve> = layers.iter().map(|layer| curve(layer, kind, &x, &y)).collect();
    layers
        .iter()
        .enumerate()
        .map(|(i, layer)| {
            let mut svg = Svg::new(SIZE.0, SIZE.1, &layer.layer, &description(layer, kind));
            accuracy_axis(&mut svg, AREA, &y, 4, "");
            settings_axis(&mut svg, &x, &settings, kind);
            if let Some(baseline) = baseline.filter(|baseline| baseline.is_finite()) {
                let y = y.at(baseline);
                svg.line((AREA.left, y), (AREA.right, y), "baseline");
            }
            for (_, other) in curves.iter().enumerate().filter(|&(j, _)| j != i) {
                svg.polyline(&positions(other), "context");
            }
            svg.polyline(&positions(&curves[i]), "main");
            for (point, at) in &curves[i] {
                let title = format!("{}: {}", kind.setting(point.setting), percent(point.accuracy));
                svg.dot(*at, 3.0, "main-dot", &title);
            }
            svg.text((0.0, 14.0), &shortened(&layer.layer, 20), Anchor::Start, "strong");
            svg.finish()
        })
        .collect()
}

/// Points by rising setting, with their positions.
type Curve = Vec<(SensitivityPoint, (f64, f64))>;

fn curve(layer: &Sensitivity, kind: Kind, x: &Scale, y: &Scale) -> Curve {
    let mut curve: Curve = kind
        .points(layer)
        .iter()
        .filter(|point| point.setting.is_finite() && point.accuracy.is_finite())
        .map(|&point| (point, (x.at(point.setting), y.at(point.accuracy))))
        .collect();
    curve.sort_by(|(lhs, _), (rhs, _)| lhs.setting.total_cmp(&rhs.setting));
    curve
}

fn positions(curve: &Curve) -> Vec<(f64, f64)> {
    curve.iter().map(|&(_, at)| at).collect()
}

/// Logarithmic where the settings span much, as densities do.
fn horizontal(settings: &[f64]) -> Scale {
    let low = settings.first().copied().unwrap_or(0.0);
    let high = settings.last().copied().unwrap_or(1.0);
    let range = (AREA.left + 8.0, AREA.right - 10.0);
    if low > 0.0 && high >= 6.0 * low {
        Scale::logarithmic((low, high), range)
    } else if high > low {
        Scale::linear((low, high), range)
    } else {
        Scale::linear((low - 0.5, low + 0.5), range)
    }
}

/// A tick at every setting, a label where there is room.
fn settings_axis(svg: &mut Svg, x: &Scale, settings: &[f64], kind: Kind) {
    svg.line((AREA.left, AREA.bottom), (AREA.right, AREA.bottom), "axis");
    let mut free = f64::MAX;
    for &setting in settings.iter().rev() {
        let at = x.at(setting);
        svg.line((at, AREA.bottom), (at, AREA.bottom + 4.0), "axis");
        let text = kind.setting(setting);
        let half = text_width(&text, 12.0) / 2.0;
        if at + half < free {
            svg.text((at, AREA.bottom + 18.0), &text, Anchor::Middle, "tick");
            free = at - half - 9.0;
        }
    }
    svg.text((AREA.right, AREA.bottom + 35.0), kind.axis(), Anchor::End, "axis-label");
}

fn description(layer: &Sensitivity, kind: Kind) -> String {
    let points: Vec<String> = kind
        .points(layer)
        .iter()
        .map(|point| format!("{}: {}", kind.setting(point.setting), percent(point.accuracy)))
        .collect();
    format!("Validation accuracy by {}: {}", kind.axis(), points.join(", "))
}
