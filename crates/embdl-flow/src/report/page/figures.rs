//! The plots with their headings and what to see in them.

use core::fmt::Write as _;

use super::super::format::{bytes, escape, percent, points, thousands};
use super::super::plot::{self, Kind, MOST_CLASSES};
use super::super::seeds::Seeds;
use super::grid::{Column, Grid};
use super::test_images;
use crate::record::NetworkRecord;

/// A heading, the drawing in a box that scrolls where the screen is narrow, and a caption.
fn figure(out: &mut String, heading: &str, drawing: &str, caption: &str) {
    let _ = writeln!(
        out,
        "<h3>{}</h3>\n<figure><div class=\"scroll\">{drawing}</div><figcaption>{}</figcaption></figure>",
        escape(heading),
        escape(caption),
    );
}

pub(super) fn tradeoff(out: &mut String, group: &Seeds<'_>) {
    let network = group.first();
    if network.steps.is_empty() {
        return;
    }
    let error = test_images(network).map(|images| standard_error(network.fp32.accuracy, images));
    let mut caption = "Every point is a file that could be shipped after that step: its size, and the accuracy of \
                       the decoded file on the test set. The vertical axis does not start at zero."
        .to_string();
    if let (Some(error), Some(images)) = (error, test_images(network)) {
        let _ = write!(
            caption,
            " The shaded band is one standard error of an accuracy measured with {} images, ±{} points.",
            thousands(images),
            points(error),
        );
    }
    if group.all().len() > 1 {
        caption.push_str(" Light points are the other seeds.");
    }
    let drawing = plot::tradeoff(group.all(), error);
    figure(out, "Accuracy against size, step by step", &drawing, &caption);
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn standard_error(accuracy: f64, images: u64) -> f64 {
    (accuracy * (1.0 - accuracy) / images as f64).sqrt()
}

pub(super) fn layers(out: &mut String, network: &NetworkRecord) {
    if network.layers.is_empty() {
        return;
    }
    let in_layers: u64 = network.layers.iter().map(|layer| layer.file_bytes).sum();
    let rest = network.compressed.file_bytes.saturating_sub(in_layers);
    let caption = format!(
        "Weights and bias of each layer as fp32, and all that the file holds for it: descriptor, codebook, positions, \
         symbols, bias. Another {} of the file belong to no layer. The axis is logarithmic, so read the numbers, \
         not the lengths, for ratios.",
        bytes(rest),
    );
    figure(out, "Where the bytes went", &plot::layers(&network.layers), &caption);
}

pub(super) fn sensitivity(out: &mut String, network: &NetworkRecord) {
    let baseline = network.steps.first().map(|step| step.validation_accuracy);
    let pruned = plot::sensitivity(&network.sensitivity, Kind::Pruned, baseline);
    let shared = plot::sensitivity(&network.sensitivity, Kind::Shared, baseline);
    if pruned.is_empty() && shared.is_empty() {
        return;
    }
    out.push_str(
        "<h3>Which layers are sensitive</h3>\n<p>Validation accuracy when one layer alone is compressed, without \
         retraining: this ranks the layers, it does not predict the accuracy of the final file. Grey: the other \
         layers; dashed: the trained network.</p>\n",
    );
    for (heading, panels) in
        [("Pruned, by share of weights kept", pruned), ("Shared, by bits a weight", shared)]
    {
        if !panels.is_empty() {
            let _ = writeln!(
                out,
                "<h4>{heading}</h4>\n<figure class=\"panels\">{}</figure>",
                panels.concat()
            );
        }
    }
}

pub(super) fn confusion(out: &mut String, network: &NetworkRecord) {
    let matrix = &network.confusion;
    if matrix.is_empty() {
        return;
    }
    let images: u64 = matrix.iter().flatten().sum();
    if matrix.len() <= MOST_CLASSES {
        let worst = plot::confusions(matrix, &network.classes, 3);
        let worst: Vec<String> = worst
            .iter()
            .map(|mistake| {
                format!(
                    "{} of “{}” taken for “{}” ({})",
                    mistake.share, mistake.truth, mistake.guess, mistake.count
                )
            })
            .collect();
        let mut caption = format!(
            "{} test images through the final file. Mistakes are coloured, hits are not.",
            thousands(images)
        );
        if !worst.is_empty() {
            let _ = write!(caption, " Most frequent: {}.", worst.join("; "));
        }
        let drawing = plot::confusion(matrix, &network.classes);
        figure(out, "What it mistakes for what", &drawing, &caption);
        return;
    }
    let _ = writeln!(
        out,
        "<h3>What it mistakes for what</h3>\n<p>The most frequent of the mistakes in {} test images.</p>",
        thousands(images),
    );
    let mut grid = Grid::new(&[
        Column::text("Is"),
        Column::text("Was taken for"),
        Column::number("Images"),
        Column::number("Share of its class"),
    ]);
    for mistake in plot::confusions(matrix, &network.classes, 20) {
        grid.row(&[mistake.truth, mistake.guess, mistake.count, mistake.share]);
    }
    out.push_str(&grid.finish());
}

pub(super) fn latency(out: &mut String, network: &NetworkRecord, cpu: &str) {
    let host = plot::latency(&network.latencies, false);
    let emulated = plot::latency(&network.latencies, true);
    if !host.is_empty() {
        let cpu = if cpu.trim().is_empty() { "the host" } else { cpu };
        let caption = format!("Median time for one image, measured on {cpu}.");
        figure(out, "Time for one image", &host, &caption);
    }
    if !emulated.is_empty() {
        figure(
            out,
            "Time for one image, emulated",
            &emulated,
            "Emulated: says nothing about a device's time. What an emulator proves is that the outputs are right.",
        );
    }
}

pub(super) fn training(out: &mut String, network: &NetworkRecord) {
    if network.epochs.is_empty() {
        return;
    }
    let best = network
        .epochs
        .iter()
        .map(|epoch| epoch.validation_accuracy)
        .filter(|accuracy| accuracy.is_finite())
        .fold(f64::NEG_INFINITY, f64::max);
    let caption = format!(
        "Accuracy on the validation set after every epoch; above each step, where it ended. Best: {}. \
         Steps that do not train have no epochs. The vertical axis does not start at zero.",
        percent(best),
    );
    figure(out, "How it trained and retrained", &plot::training(&network.epochs), &caption);
}
