//! A run as one HTML page that needs nothing else: no scripts, no requests, fit for paper and for a phone.

mod figures;
mod grid;
mod provenance;
mod tables;

use core::fmt::Write as _;

use super::format::{
    bytes, escape, loss_in_words, microseconds, percent, points, ratio, thousands,
};
use super::seeds::{Seeds, by_network, loss};
use super::{differing, verdict};
use crate::record::{NetworkRecord, RunRecord};
use grid::{Column, Grid};

const STYLE: &str = include_str!("style.css");

/// Fills of emulated measurements. Referred to by the style sheet.
const PATTERNS: &str = "<svg width=\"0\" height=\"0\" class=\"patterns\" aria-hidden=\"true\"><defs>\
<pattern id=\"hatch-before\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"before\" width=\"2\" height=\"6\"/></pattern>\
<pattern id=\"hatch-after\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"after\" width=\"2\" height=\"6\"/></pattern></defs></svg>\n";

/// The whole run as one self-contained page.
#[must_use]
pub fn html(run: &RunRecord) -> String {
    let groups = by_network(run);
    let title = match groups.as_slice() {
        [only] => headline(only),
        all => format!("{} networks compressed", all.len()),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"embeddedDL {}\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{PATTERNS}<header>\n\
         <p class=\"kicker\">embeddedDL report</p>\n",
        escape(&run.provenance.version),
        escape(&title),
    );
    if groups.len() == 1 {
        let _ = writeln!(out, "<h1>{}</h1>", escape(&title));
    } else {
        let _ = writeln!(out, "<h1>{}</h1>", escape(&title));
        nav(&mut out, &groups);
        overview(&mut out, &groups);
    }
    out.push_str("</header>\n<main>\n");
    for (i, group) in groups.iter().enumerate() {
        let _ = writeln!(out, "<section class=\"network\" id=\"network-{i}\">");
        if groups.len() > 1 {
            let _ = writeln!(out, "<h2 class=\"big\">{}</h2>", escape(&headline(group)));
        }
        section(&mut out, group, &run.provenance.cpu);
        out.push_str("</section>\n");
    }
    provenance::provenance(&mut out, run);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// "lenet-5 on fashion-mnist: 43.0× smaller, 0.10 points less accurate".
fn headline(group: &Seeds<'_>) -> String {
    let network = group.first();
    format!(
        "{} on {}: {}\u{a0}smaller, {}",
        network.name,
        network.dataset,
        ratio(network.compressed.ratio),
        loss_in_words(loss(network)).replacen(" points", "\u{a0}points", 1),
    )
}

fn nav(out: &mut String, groups: &[Seeds<'_>]) {
    out.push_str("<nav aria-label=\"Networks\"><ul>\n");
    for (i, group) in groups.iter().enumerate() {
        let network = group.first();
        let _ = writeln!(
            out,
            "<li><a href=\"#network-{i}\">{} on {}</a></li>",
            escape(&network.name),
            escape(&network.dataset),
        );
    }
    out.push_str("<li><a href=\"#how\">How this was made</a></li>\n</ul></nav>\n");
}

fn overview(out: &mut String, groups: &[Seeds<'_>]) {
    let mut grid = Grid::new(&[
        Column::text("Network"),
        Column::text("Data set"),
        Column::number("Seeds"),
        Column::number("fp32 accuracy"),
        Column::number("Compressed"),
        Column::number("Loss, points"),
        Column::number("fp32 bytes"),
        Column::number("File bytes"),
        Column::number("Ratio"),
    ]);
    for group in groups {
        let network = group.first();
        grid.row(&[
            network.name.clone(),
            network.dataset.clone(),
            group.all().len().to_string(),
            percent(network.fp32.accuracy),
            percent(network.compressed.accuracy),
            typeset(&points(loss(network))),
            thousands(network.fp32.bytes),
            thousands(network.compressed.file_bytes),
            ratio(network.compressed.ratio),
        ]);
    }
    out.push_str(&grid.finish());
}

fn section(out: &mut String, group: &Seeds<'_>, cpu: &str) {
    let network = group.first();
    let _ = writeln!(
        out,
        "<p class=\"lead\">{} parameters and {} multiply-accumulates an image; seed {}. \
         Accuracies are those of the complete test set{}.</p>",
        thousands(network.parameters),
        thousands(network.macs),
        network.seed,
        test_images(network)
            .map(|images| format!(", {} images", thousands(images)))
            .unwrap_or_default(),
    );
    cards(out, network);
    tables::seeds(out, group);
    figures::tradeoff(out, group);
    tables::steps(out, network);
    figures::layers(out, network);
    tables::layers(out, network);
    figures::sensitivity(out, network);
    figures::confusion(out, network);
    tables::retests(out, network);
    figures::latency(out, network, cpu);
    figures::training(out, network);
}

fn cards(out: &mut String, network: &NetworkRecord) {
    let (fp32, compressed) = (&network.fp32, &network.compressed);
    let differing = differing(network).len();
    let retests = match (network.retests.len(), differing) {
        (0, _) => ("none".into(), "no retest was run".into()),
        (n, 0) => (format!("{n} of {n}"), "retests gave the same outputs, bit for bit".into()),
        (n, d) => (format!("{d} of {n}"), format!("retests differ: {}", verdict(network))),
    };
    let mut cards: Vec<(String, String, bool)> = vec![
        (
            ratio(compressed.ratio),
            format!("smaller: {} instead of {}", bytes(compressed.file_bytes), bytes(fp32.bytes)),
            false,
        ),
        (
            percent(compressed.accuracy),
            format!("accurate, {}: {} in fp32", change(loss(network)), percent(fp32.accuracy)),
            false,
        ),
        (retests.0, retests.1, differing > 0),
    ];
    if let Some(fastest) = network
        .latencies
        .iter()
        .filter(|latency| !latency.emulated && latency.file != "fp32")
        .min_by(|lhs, rhs| lhs.median_us.total_cmp(&rhs.median_us))
    {
        cards.push((
            microseconds(fastest.median_us),
            format!("for one image on the host, runtime {}, {}", fastest.runtime, fastest.isa),
            false,
        ));
    }
    out.push_str("<ul class=\"cards\">\n");
    for (number, text, bad) in cards {
        let class = if bad { " class=\"bad\"" } else { "" };
        let _ = writeln!(
            out,
            "<li{class}><strong>{}</strong> <span>{}</span></li>",
            escape(&number),
            escape(&text)
        );
    }
    out.push_str("</ul>\n");
}

fn change(loss: f64) -> String {
    match points(loss).as_str() {
        "0.00" => "no change".into(),
        text => match text.strip_prefix('-') {
            Some(gain) => format!("+{gain} points"),
            None => format!("−{text} points"),
        },
    }
}

/// With a true minus sign.
fn typeset(number: &str) -> String {
    number.replace('-', "−")
}

/// How many images the confusion matrix counts.
fn test_images(network: &NetworkRecord) -> Option<u64> {
    let images: u64 = network.confusion.iter().flatten().sum();
    (images > 0).then_some(images)
}
