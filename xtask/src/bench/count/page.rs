//! The comparison of counts as a page of the book.
use super::record::{self, Outcome, Record, share};
use crate::bench::models::{Precision, ZOO};
use crate::bench::peers::geometric_mean;

/// What stands above the tables.
const HEAD: &str = "\
# Counted on AArch64

<!-- Made by `cargo xtask bench --target aarch64 --count --peers --markdown FILE`; do not edit. -->

Millions of instructions for one inference, on one thread, counted by an emulator ([how, and what that leaves
out](boards.md#peers)): these are no times. The ratio is the best peer's instructions over ours, so above 1 ours takes fewer;
what is compressed stands beside the peers' int8. The networks have initial weights.
";

/// The head of the table of dense layers.
const DENSE_LAYERS: &str = "
Dense layers of the compressed networks: a tenth of the weights, each one of 16 values, as sparse rows in slices. Bytes are those
that the session holds of a layer's weights and biases and reads once a run, with the layer's activations.

| dense layer | int8, instructions | compressed | ratio | fp32, bytes | compressed | ratio |
|---|---|---|---|---|---|---|
";

/// A table for each level and precision from the newest record of each model; what they come from stands above.
pub(super) fn page(records: &[Record]) -> String {
    let newest = newest(records);
    let mut text = String::from(HEAD);
    let mut places: Vec<(&str, &str)> = Vec::new();
    for record in &newest {
        let place = (record.isa.as_str(), record.circumstances.machine.cpu.as_str());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    for (isa, cpu) in places {
        let of: Vec<&Record> = newest
            .iter()
            .filter(|r| r.isa == isa && r.circumstances.machine.cpu == cpu)
            .copied()
            .collect();
        text += &format!("\n## Level `{isa}`, emulated `{cpu}`\n\n{}\n", source(&of));
        for precision in Precision::ALL {
            text += &table(&of, precision);
        }
        text += &dense_layers(&of);
        text += &failures(&of);
    }
    text
}

/// By what and when these were counted, and the versions of the peers.
fn source(records: &[&Record]) -> String {
    let mut versions: Vec<String> = Vec::new();
    let mut made: Vec<String> = Vec::new();
    for record in records {
        let (machine, of) = (&record.circumstances.machine, &record.circumstances.provenance);
        let day = of.date.split('T').next().unwrap_or_default();
        let line = format!("commit {}, {}, {}, {day}", of.commit, of.rustc, machine.system);
        if !made.contains(&line) {
            made.push(line);
        }
        for peer in &record.peers {
            if let Outcome::Ran(counted) = &peer.outcome {
                let version = format!("{} {}", shown(&peer.name), counted.version);
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
        }
    }
    format!("{}. {}.", made.join("; "), versions.join(", "))
}

/// One precision; nothing where it has no records.
fn table(records: &[&Record], precision: Precision) -> String {
    let is_it = |record: &&Record| record.precision == precision.name();
    let of: Vec<Record> = records.iter().filter(|r| is_it(r)).map(|r| (*r).clone()).collect();
    if of.is_empty() {
        return String::new();
    }
    let names = record::names(&of);
    let heads: String = names.iter().map(|name| format!(" {} |", shown(name))).collect();
    let mut text = format!("\n| {}, millions | ours |{heads} ratio |\n", precision.name());
    text += &format!("|{}\n", "---|".repeat(names.len() + 3));
    for record in &of {
        let peers = names.iter().map(|name| record.of_peer(name).map_or("–".into(), millions));
        let peers: String = peers.map(|cell| format!(" {cell} |")).collect();
        let ours = millions(record.instructions.all);
        let ratio = record.ratio_to_best_peer.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        text += &format!("| {} | {ours} |{peers} {ratio} |\n", record.model);
    }
    let ratios: Vec<f64> = of.iter().filter_map(|record| record.ratio_to_best_peer).collect();
    if ratios.len() > 1 {
        let empty = " |".repeat(names.len() + 1);
        text += &format!("| geometric mean |{empty} **{:.2}** |\n", geometric_mean(&ratios));
    }
    text
}

/// The dense layers that run as sparse slices, beside the same layers of the networks in 8 bits and in floats.
fn dense_layers(records: &[&Record]) -> String {
    let of = |model: &str, precision: Precision| {
        records.iter().find(|r| r.model == model && r.precision == precision.name())
    };
    let layer = |record: &Record, name: &str| {
        record.nodes.iter().find(|node| node.node == name && node.bytes > 0).cloned()
    };
    let mut rows = String::new();
    for compressed in records.iter().filter(|r| r.precision == Precision::Compressed.name()) {
        let others = [Precision::Int8, Precision::Fp32].map(|p| of(&compressed.model, p));
        let [Some(int8), Some(fp32)] = others else { continue };
        for node in compressed.nodes.iter().filter(|node| node.kernel.contains("_ellw_")) {
            let Some((int8, fp32)) = layer(int8, &node.node).zip(layer(fp32, &node.node)) else {
                continue;
            };
            rows += &format!(
                "| {}, {} | {} | {} | {:.3} | {} | {} | 1/{:.1} |\n",
                compressed.model,
                node.node,
                int8.instructions,
                node.instructions,
                share(node.instructions, int8.instructions),
                fp32.bytes,
                node.bytes,
                share(fp32.bytes, node.bytes),
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!("{DENSE_LAYERS}{rows}")
}

/// Who did not run, and why, each reason once.
fn failures(records: &[&Record]) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for record in records {
        for peer in &record.peers {
            let Outcome::Failed { reason } = &peer.outcome else { continue };
            let kind = if record.precision == "fp32" { "floats" } else { "integers" };
            let line = format!("{} in {kind}: {reason}", shown(&peer.name));
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, models)) if models.contains(&record.model.as_str()) => {}
                Some((_, models)) => models.push(&record.model),
                None => lines.push((line, vec![&record.model])),
            }
        }
    }
    let mut text = String::new();
    for (line, models) in lines {
        text += &format!("\nNot counted: {} ({})\n", line, models.join(", "));
    }
    text
}

fn newest(records: &[Record]) -> Vec<&Record> {
    let key = |record: &Record| {
        let cpu = record.circumstances.machine.cpu.clone();
        (record.model.clone(), record.precision.clone(), record.isa.clone(), cpu)
    };
    let mut newest: Vec<&Record> = Vec::new();
    for record in records.iter().filter(|record| !record.peers.is_empty()) {
        newest.retain(|other| key(other) != key(record));
        newest.push(record);
    }
    newest.sort_by_key(|record| {
        ZOO.iter().position(|name| *name == record.model).unwrap_or(ZOO.len())
    });
    newest
}

/// A peer as it calls itself.
fn shown(name: &str) -> &str {
    match name {
        "onnxruntime" => "ONNX Runtime",
        "openvino" => "OpenVINO",
        "mnn" => "MNN",
        "litert" => "LiteRT",
        other => other,
    }
}

/// Three digits that count.
#[expect(clippy::cast_precision_loss, reason = "counts of instructions are far below 2^52")]
fn millions(instructions: u64) -> String {
    let millions = instructions as f64 / 1e6;
    if millions < 10.0 {
        format!("{millions:.3}")
    } else if millions < 1000.0 {
        format!("{millions:.1}")
    } else {
        format!("{millions:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::pretend;
    use super::*;

    #[test]
    fn the_newest_of_each_model_is_a_row_and_nobody_is_dropped() {
        let records = [
            pretend(["vgg-16", "fp32"], 9_000_000_000, &[3_000_000_000]),
            pretend(["lenet-5", "fp32"], 900_000, &[1_800_000, 1_350_000]),
            pretend(["vgg-16", "fp32"], 4_000_000_000, &[3_000_000_000, 6_000_000_000]),
            pretend(["vgg-16", "int8"], 40_000_000, &[]),
        ];
        let text = page(&records);
        assert!(text.contains("| lenet-5 | 0.900 | 1.800 | 1.350 | 1.50 |"), "{text}");
        assert!(text.contains("| vgg-16 | 4000 | 3000 | 6000 | 0.75 |"), "{text}");
        assert!(text.contains("| geometric mean | | | | **1.06** |"), "{text}");
        assert!(text.contains("| vgg-16 | 40.0 | – |"), "{text}");
        assert!(text.contains("Not counted: MNN in integers: no int8 (vgg-16)"), "{text}");
        assert!(!text.contains("9000"), "{text}");
    }
}
