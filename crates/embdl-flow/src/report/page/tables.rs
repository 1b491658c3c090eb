//! The tables of the page.

use core::fmt::Write as _;

use super::super::format::{
    bytes, digest, escape, percent, points, quantity, ratio, seconds, thousands,
};
use super::super::seeds::{Seeds, loss};
use super::super::{differing, verdict};
use super::grid::{Column, Grid};
use super::typeset;
use crate::record::NetworkRecord;

/// All seeds of a network, with mean and standard deviation; nothing for one seed.
pub(super) fn seeds(out: &mut String, group: &Seeds<'_>) {
    if group.all().len() < 2 {
        return;
    }
    let mut grid = Grid::new(&[
        Column::text("Seed"),
        Column::number("fp32 accuracy"),
        Column::number("Compressed"),
        Column::number("Loss, points"),
        Column::number("File bytes"),
        Column::number("Ratio"),
    ]);
    for network in group.all() {
        grid.row(&[
            network.seed.to_string(),
            percent(network.fp32.accuracy),
            percent(network.compressed.accuracy),
            typeset(&points(loss(network))),
            thousands(network.compressed.file_bytes),
            ratio(network.compressed.ratio),
        ]);
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean is shown in whole bytes")]
    let file_bytes = |network: &NetworkRecord| network.compressed.file_bytes as f64;
    grid.total(&[
        "mean ± sd".into(),
        group.spread(|network| network.fp32.accuracy).text(percent),
        group.spread(|network| network.compressed.accuracy).text(percent),
        typeset(&group.spread(loss).text(points)),
        group.spread(file_bytes).text(whole),
        group.spread(|network| network.compressed.ratio).text(ratio),
    ]);
    let _ = writeln!(
        out,
        "<h3>All seeds</h3>\n<p>What follows shows seed {}.</p>\n{}",
        group.first().seed,
        grid.finish()
    );
}

/// The pipeline's steps, and what every pass did to every layer.
pub(super) fn steps(out: &mut String, network: &NetworkRecord) {
    if network.steps.is_empty() {
        return;
    }
    let mut grid = Grid::new(&[
        Column::text("Step"),
        Column::words("What was done"),
        Column::number("File bytes"),
        Column::number("Validation"),
        Column::number("Test"),
        Column::number("Time"),
    ]);
    for step in &network.steps {
        grid.row(&[
            step.step.clone(),
            step.what.clone(),
            thousands(step.file_bytes),
            percent(step.validation_accuracy),
            percent(step.test_accuracy),
            seconds(step.seconds),
        ]);
    }
    out.push_str(&grid.finish());
    out.push_str(
        "<p class=\"note\">Validation: the network in training arithmetic, on images held back from training. \
         Test: the decoded file in a shipped runtime.</p>\n",
    );
    passes(out, network);
}

fn passes(out: &mut String, network: &NetworkRecord) {
    let mut grid = Grid::new(&[
        Column::text("Step"),
        Column::text("Pass"),
        Column::text("Layer"),
        Column::number("Weights kept"),
        Column::number("Share"),
        Column::number("Levels"),
        Column::number("Error added"),
    ]);
    let mut any = false;
    for step in &network.steps {
        for (pass, layer) in
            step.passes.iter().flat_map(|pass| pass.layers.iter().map(move |layer| (pass, layer)))
        {
            any = true;
            grid.row(&[
                step.step.clone(),
                pass.pass.clone(),
                layer.layer.clone(),
                thousands(layer.kept as u64),
                share(layer.kept as u64, layer.weights as u64),
                layer.levels.map_or("any".into(), |levels| levels.to_string()),
                if layer.error == 0.0 { "0".into() } else { format!("{:.1e}", layer.error) },
            ]);
        }
    }
    if any {
        let _ = writeln!(
            out,
            "<details><summary>What each pass did, layer by layer</summary>\n{}\
             <p class=\"note\">Error: squared change of the weights, relative to their squares, before retraining.\
             </p></details>",
            grid.finish(),
        );
    }
}

/// The final file, layer by layer.
pub(super) fn layers(out: &mut String, network: &NetworkRecord) {
    if network.layers.is_empty() {
        return;
    }
    let mut grid = Grid::new(&[
        Column::text("Layer"),
        Column::text("Shape"),
        Column::words("Encoding"),
        Column::number("Weights"),
        Column::number("Not zero"),
        Column::number("Bits a weight"),
        Column::number("Bytes"),
        Column::number("Share of file"),
    ]);
    let file = network.compressed.file_bytes;
    for layer in &network.layers {
        grid.row(&[
            layer.layer.clone(),
            layer.shape.clone(),
            layer.encoding.clone(),
            thousands(layer.weights),
            format!("{} ({})", thousands(layer.nonzero), share(layer.nonzero, layer.weights)),
            quantity(layer.bits_per_weight),
            thousands(layer.file_bytes),
            share(layer.file_bytes, file),
        ]);
    }
    let sum = |value: fn(&crate::record::LayerRecord) -> u64| -> u64 {
        network.layers.iter().map(value).sum()
    };
    let (weights, nonzero) = (sum(|layer| layer.weights), sum(|layer| layer.nonzero));
    let in_layers = sum(|layer| layer.file_bytes);
    if let Some(rest) = file.checked_sub(in_layers).filter(|&rest| rest > 0) {
        let text = ["all else", "", "", "", "", ""].map(String::from);
        let [a, b, c, d, e, f] = text;
        grid.row(&[a, b, c, d, e, f, thousands(rest), share(rest, file)]);
    }
    grid.total(&[
        "whole file".into(),
        String::new(),
        String::new(),
        thousands(weights),
        format!("{} ({})", thousands(nonzero), share(nonzero, weights)),
        bits(file, weights),
        thousands(file),
        share(file, file),
    ]);
    out.push_str("<h3>The final file</h3>\n");
    out.push_str(&grid.finish());
}

/// The complete test set through every runtime.
pub(super) fn retests(out: &mut String, network: &NetworkRecord) {
    let differing = differing(network);
    let class = if differing.is_empty() { "lead" } else { "lead bad" };
    let _ = writeln!(
        out,
        "<h3>Does it hold on every runtime?</h3>\n<p class=\"{class}\">{}.</p>",
        escape(&capitalized(&verdict(network)))
    );
    if network.retests.is_empty() {
        return;
    }
    let mut grid = Grid::new(&[
        Column::text("Runtime"),
        Column::text("Instruction set"),
        Column::words("Machine"),
        Column::number("Accuracy"),
        Column::code("SHA-256 of all outputs"),
        Column::number("Images a second"),
    ]);
    for retest in &network.retests {
        let machine = if retest.emulated {
            format!("{} (emulated)", retest.machine)
        } else {
            retest.machine.clone()
        };
        let speed = if retest.emulated {
            format!("{} (emulated)", quantity(retest.images_per_second))
        } else {
            quantity(retest.images_per_second)
        };
        let row = [
            retest.runtime.clone(),
            retest.isa.clone(),
            machine,
            percent(retest.accuracy),
            digest(&retest.outputs_sha256),
            speed,
        ];
        if differing.contains(&format!("{}/{}", retest.runtime, retest.isa)) {
            grid.bad(&row);
        } else {
            grid.row(&row);
        }
    }
    out.push_str(&grid.finish());
    let mut note = format!(
        "The complete test set through the decoded final file of {}. Equal digests (first 12 digits shown) mean that \
         every output of every image is the same integer.",
        bytes(network.compressed.file_bytes),
    );
    if network.retests.iter().any(|retest| retest.emulated) {
        note.push_str(" Emulated speeds say nothing about a device's.");
    }
    let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&note));
}

/// A mean of counts.
fn whole(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is fine for reading")]
    #[expect(clippy::cast_sign_loss, reason = "counts are not negative")]
    thousands(number.round() as u64)
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "–".into() } else { format!("{:.1}%", 100.0 * part as f64 / whole as f64) }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bits(bytes: u64, weights: u64) -> String {
    if weights == 0 { "–".into() } else { quantity(8.0 * bytes as f64 / weights as f64) }
}
