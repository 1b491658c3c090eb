//! A run as terminal tables of at most 100 columns.

use core::fmt::Write as _;

use super::format::{
    bytes, digest, microseconds, percent, points, quantity, ratio, seconds, shortened, thousands,
};
use super::seeds::{Seeds, by_network, loss};
use super::verdict;
use crate::record::{NetworkRecord, RunRecord};

const WIDTH: usize = 100;
const EMULATED: &str = "* emulated: says nothing about a device's time";

/// Summary, steps, retests and latencies of a run, for a terminal of 100 columns.
#[must_use]
pub fn table(run: &RunRecord) -> String {
    let groups = by_network(run);
    let mut out = summary(&groups);
    for network in &run.networks {
        let heading = format!(
            "{}: {} parameters, {} multiply-accumulates an image",
            heading(network),
            thousands(network.parameters),
            thousands(network.macs),
        );
        let _ = writeln!(out, "\n{}", wrapped(&heading, WIDTH - 2).join("\n  "));
        out.push_str(&steps(network));
        out.push_str(&retests(network));
        out.push_str(&latencies(network));
    }
    let _ = writeln!(out, "\ndone in {}", seconds(run.seconds));
    out
}

fn heading(network: &NetworkRecord) -> String {
    shortened(&format!("{} on {}, seed {}", network.name, network.dataset, network.seed), 50)
}

fn summary(groups: &[Seeds<'_>]) -> String {
    let mut grid = Grid::new(&[
        "<network",
        "<data set",
        ">seed",
        ">fp32",
        ">fp32 bytes",
        ">compressed",
        ">file bytes",
        ">ratio",
        ">loss",
    ]);
    for group in groups {
        for network in group.all() {
            grid.row([
                shortened(&network.name, 14),
                shortened(&network.dataset, 14),
                network.seed.to_string(),
                percent(network.fp32.accuracy),
                thousands(network.fp32.bytes),
                percent(network.compressed.accuracy),
                thousands(network.compressed.file_bytes),
                ratio(network.compressed.ratio),
                points(loss(network)),
            ]);
        }
    }
    let mut out = grid.text();
    for group in groups.iter().filter(|group| group.all().len() > 1) {
        let first = group.first();
        let _ = writeln!(
            out,
            "{} on {}, {} seeds, mean ± sd: fp32 {}, compressed {},\n  ratio {}, loss {} points",
            shortened(&first.name, 14),
            shortened(&first.dataset, 14),
            group.all().len(),
            group.spread(|network| network.fp32.accuracy).text(percent),
            group.spread(|network| network.compressed.accuracy).text(percent),
            group.spread(|network| network.compressed.ratio).text(ratio),
            group.spread(loss).text(points),
        );
    }
    out.push_str("(accuracy on the whole test set; ratio = fp32 bytes / bytes of the whole file; loss in points)\n");
    out
}

fn steps(network: &NetworkRecord) -> String {
    if network.steps.is_empty() {
        return String::new();
    }
    let mut grid =
        Grid::new(&["<step", ">file", ">ratio", ">validation", ">test", ">time", "<what"]);
    for step in &network.steps {
        grid.row([
            shortened(&step.step, 14),
            bytes(step.file_bytes),
            ratio(times_smaller(network.fp32.bytes, step.file_bytes)),
            percent(step.validation_accuracy),
            percent(step.test_accuracy),
            seconds(step.seconds),
            step.what.clone(),
        ]);
    }
    format!("\n{}", grid.text())
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn times_smaller(before: u64, after: u64) -> f64 {
    before as f64 / after as f64
}

fn retests(network: &NetworkRecord) -> String {
    if network.retests.is_empty() {
        return format!("\n{}\n", verdict(network));
    }
    let mut grid =
        Grid::new(&["<runtime", "<isa", ">accuracy", "<outputs sha256", ">images/s", "<machine"]);
    for retest in &network.retests {
        let (mark, machine) = if retest.emulated {
            ("*", format!("emulated: {}", retest.machine))
        } else {
            ("", retest.machine.clone())
        };
        grid.row([
            shortened(&retest.runtime, 14),
            shortened(&retest.isa, 14),
            percent(retest.accuracy),
            digest(&retest.outputs_sha256),
            format!("{}{mark}", quantity(retest.images_per_second)),
            machine,
        ]);
    }
    let mut out = format!("\n{}", grid.text());
    for line in wrapped(&verdict(network), WIDTH) {
        let _ = writeln!(out, "{line}");
    }
    if network.retests.iter().any(|retest| retest.emulated) {
        let _ = writeln!(out, "{EMULATED}");
    }
    out
}

fn latencies(network: &NetworkRecord) -> String {
    if network.latencies.is_empty() {
        return String::new();
    }
    let mut grid =
        Grid::new(&["<file", "<runtime", "<isa", ">median for one image", ">fastest", "<"]);
    for latency in &network.latencies {
        let mark = if latency.emulated { "*" } else { "" };
        grid.row([
            shortened(&latency.file, 14),
            shortened(&latency.runtime, 14),
            shortened(&latency.isa, 14),
            format!("{}{mark}", microseconds(latency.median_us)),
            format!("{}{mark}", microseconds(latency.min_us)),
            if latency.emulated { "emulated".into() } else { String::new() },
        ]);
    }
    let mut out = format!("\n{}", grid.text());
    if network.latencies.iter().any(|latency| latency.emulated) {
        let _ = writeln!(out, "{EMULATED}");
    }
    out
}

/// Columns of which the last wraps so that no line is longer than [`WIDTH`].
struct Grid<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Grid<N> {
    /// Heads begin with `<` (left) or `>` (right).
    fn new(heads: &[&'static str; N]) -> Self {
        Self { heads: *heads, rows: Vec::new() }
    }

    fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    fn text(&self) -> String {
        let mut widths = [0; N];
        let heads = self.heads.map(|head| head[1..].to_string());
        for row in core::iter::once(&heads).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let before: usize = widths[..N - 1].iter().map(|width| width + 2).sum();
        widths[N - 1] = widths[N - 1].min(WIDTH.saturating_sub(before).max(10));
        let mut out = String::new();
        self.line(&mut out, &heads, &widths);
        let rule = before + widths[N - 1];
        let _ = writeln!(out, "{}", "─".repeat(rule.min(WIDTH)));
        for row in &self.rows {
            self.line(&mut out, row, &widths);
        }
        out
    }

    fn line(&self, out: &mut String, row: &[String; N], widths: &[usize; N]) {
        let last = wrapped(&row[N - 1], widths[N - 1]);
        let mut line = String::new();
        for (i, text) in row[..N - 1].iter().enumerate() {
            let pad = " ".repeat(widths[i].saturating_sub(text.chars().count()));
            let right = self.heads[i].starts_with('>');
            let _ =
                if right { write!(line, "{pad}{text}  ") } else { write!(line, "{text}{pad}  ") };
        }
        let indent = line.chars().count();
        for (i, part) in last.iter().enumerate() {
            if i > 0 {
                line = " ".repeat(indent);
            }
            let pad = if self.heads[N - 1].starts_with('>') {
                " ".repeat(widths[N - 1].saturating_sub(part.chars().count()))
            } else {
                String::new()
            };
            let _ = writeln!(out, "{}", format!("{line}{pad}{part}").trim_end());
        }
    }
}

/// Breaks text between words into lines of at most `width` characters; longer words are cut. At least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word = shortened(word, width);
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            *line = word;
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}
