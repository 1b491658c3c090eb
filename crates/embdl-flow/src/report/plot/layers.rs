//! Bytes of every layer before and after.

use super::super::format::{ratio, shortened, thousands};
use super::super::svg::{Anchor, Scale, Svg, bold_width};
use crate::record::LayerRecord;

const WIDTH: f64 = 760.0;
const TOP: f64 = 34.0;
const ROW: f64 = 48.0;
const BAR: f64 = 15.0;

/// Two bars for each layer on a logarithmic axis, with numbers.
#[expect(clippy::cast_precision_loss, reason = "they become positions")]
pub(in super::super) fn layers(layers: &[LayerRecord]) -> String {
    let sizes = || layers.iter().flat_map(|layer| [layer.fp32_bytes, layer.file_bytes]);
    let smallest = sizes().filter(|&bytes| bytes > 0).min().unwrap_or(1) as f64;
    let largest = sizes().max().unwrap_or(1).max(1) as f64;
    let mut low = 10_f64.powf(smallest.log10().floor());
    if smallest < 2.0 * low && low >= 10.0 {
        low /= 10.0;
    }
    let names: Vec<String> = layers.iter().map(|layer| shortened(&layer.layer, 22)).collect();
    let gutter =
        names.iter().map(|name| bold_width(name, 13.0)).fold(60.0, f64::max).min(230.0) + 14.0;
    let right = WIDTH - 170.0;
    let height = TOP + ROW * layers.len() as f64 + 30.0;
    let x = Scale::logarithmic((low, (largest * 1.05).max(low * 10.0)), (gutter, right));

    let description: Vec<String> = layers
        .iter()
        .map(|layer| format!("{}: {} to {} bytes", layer.layer, layer.fp32_bytes, layer.file_bytes))
        .collect();
    let mut svg =
        Svg::new(WIDTH, height, "Bytes of every layer before and after", &description.join("; "));
    legend(&mut svg, gutter);
    let bottom = height - 30.0;
    for tick in x.ticks(6) {
        let at = x.at(tick);
        svg.line((at, TOP - 4.0), (at, bottom), "grid");
        #[expect(clippy::cast_possible_truncation, reason = "a layer's size")]
        #[expect(clippy::cast_sign_loss, reason = "logarithmic ticks are positive")]
        svg.text((at, bottom + 16.0), &thousands(tick.round() as u64), Anchor::Middle, "tick");
    }
    svg.text((right + 16.0, bottom + 16.0), "bytes, logarithmic", Anchor::Start, "axis-label");
    for (i, (layer, name)) in layers.iter().zip(&names).enumerate() {
        let y = TOP + ROW * i as f64 + 6.0;
        svg.text((gutter - 12.0, y + BAR + 5.0), name, Anchor::End, "strong");
        for (row, bytes, class) in
            [(0.0, layer.fp32_bytes, "before"), (1.0, layer.file_bytes, "after")]
        {
            let top = y + row * (BAR + 2.0);
            let end = x.at(bytes as f64);
            svg.rect((gutter, top), (end - gutter, BAR), class);
            svg.text((end + 6.0, top + 12.0), &thousands(bytes), Anchor::Start, "value");
        }
        let times = ratio(layer.fp32_bytes as f64 / layer.file_bytes as f64);
        svg.text((WIDTH - 4.0, y + BAR + 5.0), &times, Anchor::End, "strong");
    }
    svg.line((gutter, TOP - 4.0), (gutter, bottom), "axis");
    svg.finish()
}

fn legend(svg: &mut Svg, left: f64) {
    svg.rect((left, 4.0), (12.0, 12.0), "before");
    svg.text((left + 18.0, 15.0), "fp32", Anchor::Start, "tick");
    svg.rect((left + 66.0, 4.0), (12.0, 12.0), "after");
    svg.text((left + 84.0, 15.0), "in the final file", Anchor::Start, "tick");
    svg.text((WIDTH - 4.0, 15.0), "times smaller", Anchor::End, "tick");
}
