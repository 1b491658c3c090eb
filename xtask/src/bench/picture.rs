//! The ratios as a picture: a bar for each model, to the right of the line at 1 where ours takes less than the best peer.
use super::models::{Precision, ZOO};
use super::peers::geometric_mean;
use crate::process::say;
use anyhow::{Context, Result};
use core::fmt::Write as _;
use std::path::Path;

/// Sizes in pixels: names of models, one column of bars, one row, the head, what follows a bar, a border.
const NAMES: f64 = 112.0;
const COLUMN: f64 = 330.0;
const ROW: f64 = 19.0;
const HEAD: f64 = 58.0;
const WORDS: f64 = 108.0;
const BORDER: f64 = 12.0;
const STYLE: &str = "text{font:12px sans-serif;fill:#222}.s{font-size:10.5px;fill:#555}.h{font-weight:bold}\
                     .g{stroke:#ddd}.one{stroke:#222;stroke-width:1.5}.win{fill:#3a78b5}.loss{fill:#d9822b}";

/// What a picture shows of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio<'a> {
    pub(super) model: &'a str,
    pub(super) precision: &'a str,
    pub(super) isa: &'a str,
    pub(super) threads: usize,
    /// What the best peer takes over what ours takes; absent where no peer ran.
    pub(super) ratio: Option<f64>,
    /// The best peer.
    pub(super) best: &'a str,
}

/// Rows of one precision: a name, and for each column of bars what is drawn there.
struct Group {
    precision: Precision,
    rows: Vec<(String, Vec<Option<Bar>>)>,
}

struct Bar {
    ratio: f64,
    words: String,
}

/// Writes the picture of [`draw`] to a file.
pub(super) fn write(file: &Path, title: &str, ratios: &[Ratio<'_>]) -> Result<()> {
    std::fs::write(file, draw(title, ratios))
        .with_context(|| format!("writing {}", file.display()))?;
    say(format!("wrote {}", file.display()));
    Ok(())
}

/// Draws the newest of each model, precision and level, on one thread, as SVG that needs nothing else.
fn draw(title: &str, ratios: &[Ratio<'_>]) -> String {
    let newest = newest(ratios);
    let mut isas: Vec<&str> = Vec::new();
    for ratio in &newest {
        if !isas.contains(&ratio.isa) {
            isas.push(ratio.isa);
        }
    }
    let groups: Vec<Group> =
        Precision::ALL.iter().filter_map(|&precision| group(&newest, precision, &isas)).collect();
    let ratios = newest.iter().filter_map(|record| record.ratio);
    let (low, high) =
        ratios.fold((0.5, 2.0), |(low, high): (f64, f64), r| (low.min(r), high.max(r)));
    let scale = Scale { low: low.log2().floor(), high: high.log2().ceil() };
    let rows: usize = groups.iter().map(|group| group.rows.len() + 2).sum();
    let height = ROW.mul_add(real(rows), HEAD + BORDER);
    let width = COLUMN.mul_add(real(isas.len()), NAMES + 2.0 * BORDER);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, [BORDER, 20.0], "h", title);
    for (at, isa) in isas.iter().enumerate() {
        let left = column(at);
        text(&mut svg, [left, 40.0], "h", isa);
        scale.grid(&mut svg, left, height - BORDER);
    }
    let mut top = HEAD;
    for group in &groups {
        top += ROW;
        text(&mut svg, [BORDER, top + 13.0], "h", group.precision.name());
        top += ROW;
        for (name, bars) in &group.rows {
            text(&mut svg, [BORDER, top + 13.0], "", name);
            for (at, bar) in bars.iter().enumerate() {
                if let Some(bar) = bar {
                    scale.bar(&mut svg, column(at), top, bar);
                }
            }
            top += ROW;
        }
    }
    svg + "</svg>\n"
}

/// Powers of two along one column.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn at(&self, left: f64, ratio: f64) -> f64 {
        let share = (ratio.log2() - self.low) / (self.high - self.low);
        (COLUMN - WORDS).mul_add(share, left)
    }

    fn grid(&self, svg: &mut String, left: f64, bottom: f64) {
        let mut power = self.low;
        while power <= self.high {
            let x = self.at(left, power.exp2());
            let class = if power == 0.0 { "one" } else { "g" };
            _ = writeln!(
                svg,
                "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{HEAD}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
            );
            text(svg, [x - 6.0, HEAD - 4.0], "s", &format!("{}", power.exp2()));
            power += 1.0;
        }
    }

    fn bar(&self, svg: &mut String, left: f64, top: f64, bar: &Bar) {
        let (one, end) = (self.at(left, 1.0), self.at(left, bar.ratio));
        let class = if bar.ratio >= 1.0 { "win" } else { "loss" };
        let (x, width) = (one.min(end), (end - one).abs().max(1.0));
        _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            top + 3.0,
            ROW - 6.0
        );
        text(svg, [one.max(end) + 4.0, top + 13.0], "s", &bar.words);
    }
}

fn newest<'a>(ratios: &[Ratio<'a>]) -> Vec<Ratio<'a>> {
    let key = |ratio: &Ratio<'a>| (ratio.model, ratio.precision, ratio.isa);
    let mut newest: Vec<Ratio<'a>> = Vec::new();
    for ratio in ratios.iter().filter(|ratio| ratio.threads == 1) {
        newest.retain(|other| key(other) != key(ratio));
        newest.push(*ratio);
    }
    let place = |ratio: &Ratio<'a>| ZOO.iter().position(|name| *name == ratio.model);
    newest.sort_by_key(|ratio| place(ratio).unwrap_or(ZOO.len()));
    newest
}

/// The rows of a precision, and their geometric mean; nothing where it has none.
fn group(newest: &[Ratio<'_>], precision: Precision, isas: &[&str]) -> Option<Group> {
    let of: Vec<&Ratio<'_>> =
        newest.iter().filter(|record| record.precision == precision.name()).collect();
    let mut names: Vec<&str> = of.iter().map(|record| record.model).collect();
    names.dedup();
    let mut rows: Vec<(String, Vec<Option<Bar>>)> = names
        .iter()
        .map(|name| {
            let bar = |isa: &&str| {
                let record = of.iter().find(|r| r.model == *name && r.isa == *isa)?;
                let ratio = record.ratio?;
                Some(Bar { ratio, words: format!("{ratio:.2} {}", record.best) })
            };
            ((*name).to_owned(), isas.iter().map(bar).collect())
        })
        .collect();
    let means = isas.iter().map(|isa| {
        let of = of.iter().filter(|record| record.isa == *isa);
        let ratios: Vec<f64> = of.filter_map(|record| record.ratio).collect();
        let ratio = geometric_mean(&ratios);
        (ratios.len() > 1).then(|| Bar { ratio, words: format!("{ratio:.2}") })
    });
    let means = ("geometric mean".to_owned(), means.collect());
    rows.push(means);
    (!names.is_empty()).then_some(Group { precision, rows })
}

fn column(at: usize) -> f64 {
    COLUMN.mul_add(real(at), BORDER + NAMES)
}

#[expect(clippy::cast_precision_loss, reason = "a few rows and columns")]
fn real(count: usize) -> f64 {
    count as f64
}

fn text(svg: &mut String, [x, y]: [f64; 2], class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretend<'a>([model, precision, isa]: [&'a str; 3], ratio: f64) -> Ratio<'a> {
        Ratio { model, precision, isa, threads: 1, ratio: Some(ratio), best: "fast" }
    }

    #[test]
    fn the_newest_of_each_is_drawn_on_its_side_of_the_line() {
        let ratios = [
            pretend(["lenet-5", "fp32", "avx2"], 8.0),
            pretend(["lenet-5", "fp32", "avx2"], 1.5),
            Ratio { threads: 2, ..pretend(["lenet-5", "fp32", "avx2"], 4.0) },
            pretend(["vgg-16", "fp32", "avx2"], 1.0 / 1.5),
            pretend(["vgg-16", "int8", "sse41"], 1.0),
        ];
        let svg = draw("Ratios", &ratios);
        let count = |part: &str| svg.matches(part).count();
        // The geometric mean of 1.5 and 0.67 is 1.
        assert_eq!((count("class=\"win\""), count("class=\"loss\"")), (3, 1), "{svg}");
        assert!(svg.contains(">1.50 fast<") && !svg.contains(">8.00"), "{svg}");
        assert!(svg.contains(">sse41<") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(count("class=\"one\""), 2);
    }
}
