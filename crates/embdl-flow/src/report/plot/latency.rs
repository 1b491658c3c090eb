//! Time for one image, by runtime and instruction set.

use super::super::format::{microseconds, shortened};
use super::super::svg::{Anchor, Scale, Svg, bold_width};
use super::file_class;
use crate::record::Latency;

const WIDTH: f64 = 760.0;
const TOP: f64 = 30.0;
const BAR: f64 = 16.0;
const EMULATED: &str = "emulated: says nothing about a device's time";

/// Bars for those latencies that are (or are not) emulated: the two never share an axis. Emulated ones are hatched.
/// Nothing if there are none.
#[expect(clippy::cast_precision_loss, reason = "they become positions")]
pub(in super::super) fn latency(latencies: &[Latency], emulated: bool) -> String {
    let shown: Vec<&Latency> =
        latencies.iter().filter(|latency| latency.emulated == emulated).collect();
    if shown.is_empty() {
        return String::new();
    }
    let mut rows: Vec<(String, Vec<&Latency>)> = Vec::new();
    for latency in shown {
        let name = shortened(&format!("{} · {}", latency.runtime, latency.isa), 26);
        match rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, bars)) => bars.push(latency),
            None => rows.push((name, vec![latency])),
        }
    }
    let gutter = rows.iter().map(|(name, _)| bold_width(name, 13.0)).fold(60.0, f64::max) + 14.0;
    let slowest = rows
        .iter()
        .flat_map(|(_, bars)| bars.iter().map(|latency| latency.median_us))
        .filter(|time| time.is_finite())
        .fold(0.0, f64::max);
    let x =
        Scale::linear((0.0, if slowest > 0.0 { slowest } else { 1.0 }), (gutter, WIDTH - 180.0));
    let bars: usize = rows.iter().map(|(_, bars)| bars.len()).sum();
    let height = TOP + bars as f64 * (BAR + 2.0) + rows.len() as f64 * 14.0;

    let title = if emulated { EMULATED } else { "Median time for one image on this machine" };
    let description: Vec<String> = rows
        .iter()
        .flat_map(|(name, bars)| {
            bars.iter().map(move |latency| {
                format!("{name} {}: {}", latency.file, microseconds(latency.median_us))
            })
        })
        .collect();
    let mut svg = Svg::new(WIDTH, height, title, &description.join(", "));
    legend(&mut svg, gutter, emulated);
    let mut y = TOP;
    for (name, bars) in &rows {
        let middle = y + bars.len() as f64 * (BAR + 2.0) / 2.0 + 4.0;
        svg.text((gutter - 12.0, middle), name, Anchor::End, "strong");
        for latency in bars {
            let end = x.at(latency.median_us);
            let class = format!("{}{}", file_class(&latency.file), suffix(emulated));
            svg.rect((gutter, y), ((end - gutter).max(1.0), BAR), &class);
            let fastest = format!("fastest {}", microseconds(latency.min_us));
            let median = microseconds(latency.median_us);
            svg.text((end + 6.0, y + 12.5), &median, Anchor::Start, "value");
            svg.text((WIDTH - 4.0, y + 12.5), &fastest, Anchor::End, "tick");
            y += BAR + 2.0;
        }
        y += 14.0;
    }
    svg.line((gutter, TOP - 4.0), (gutter, height - 8.0), "axis");
    svg.finish()
}

fn legend(svg: &mut Svg, left: f64, emulated: bool) {
    let suffix = suffix(emulated);
    for (x, class, text) in
        [(left, "before", "fp32 file"), (left + 96.0, "after", "compressed file")]
    {
        svg.rect((x, 2.0), (12.0, 12.0), &format!("{class}{suffix}"));
        svg.text((x + 18.0, 13.0), text, Anchor::Start, "tick");
    }
    if emulated {
        svg.text((WIDTH - 4.0, 13.0), EMULATED, Anchor::End, "axis-label");
    }
}

fn suffix(emulated: bool) -> &'static str {
    if emulated { " hatched" } else { "" }
}
