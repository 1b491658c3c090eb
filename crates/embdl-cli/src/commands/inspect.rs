//! `embdl inspect`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_core::format::{self, Limits};
use embdl_core::model::Model;
use embdl_flow::layers;
use embdl_flow::record::LayerRecord;
use serde::Serialize;

use super::read;
use crate::{Outcome, text};

/// Arguments of `embdl inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl inspect lenet-5.embdl
  embdl inspect lenet-5.embdl --json | jq '.layers[].bits_per_weight'")]
pub(crate) struct Args {
    /// The file.
    model: PathBuf,
}

#[derive(Serialize)]
struct Inspection {
    name: String,
    file_bytes: usize,
    header_bytes: usize,
    graph_bytes: usize,
    name_bytes: usize,
    parameters: u64,
    fp32_bytes: u64,
    ratio: f64,
    layers: Vec<LayerRecord>,
    nodes: Vec<NodeLine>,
}

#[derive(Serialize)]
struct NodeLine {
    node: String,
    op: &'static str,
    output: String,
    dtype: String,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let bytes = read(&args.model)?;
    let inspection =
        inspect(&bytes).with_context(|| format!("reading {}", args.model.display()))?;
    if json {
        text::json(&inspection)?
    } else {
        print!("{}", describe(&inspection))
    }
    Ok(Outcome::Passed)
}

fn inspect(bytes: &[u8]) -> Result<Inspection> {
    let model = format::read(bytes, &Limits::default())?;
    let layout = format::layout(bytes, &Limits::default())?;
    let parameters: u64 = model.tensors.iter().map(|tensor| tensor.shape.len() as u64).sum();
    #[expect(clippy::cast_precision_loss, reason = "byte counts")]
    let ratio = parameters as f64 * 4.0 / bytes.len() as f64;
    Ok(Inspection {
        name: model.name.clone(),
        file_bytes: bytes.len(),
        header_bytes: layout.header_bytes,
        graph_bytes: layout.graph_bytes,
        name_bytes: layout.name_bytes,
        parameters,
        fp32_bytes: parameters * 4,
        ratio,
        layers: layers::of_file(bytes)?,
        nodes: nodes(&model),
    })
}

fn nodes(model: &Model<'_>) -> Vec<NodeLine> {
    let line = |node: &embdl_core::model::Node| {
        let kind = model.values[node.output].kind;
        NodeLine {
            node: node.name.clone(),
            op: node.op.name(),
            output: kind.shape.to_string(),
            dtype: kind.dtype.to_string(),
        }
    };
    model.nodes.iter().map(line).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shares of byte counts")]
fn describe(file: &Inspection) -> String {
    let share = |bytes: u64| format!("{:.1} %", bytes as f64 / file.file_bytes as f64 * 100.0);
    let mut rows: Vec<Vec<String>> = file
        .layers
        .iter()
        .map(|layer| {
            vec![
                layer.layer.clone(),
                layer.shape.clone(),
                layer.weights.to_string(),
                format!("{:.1} %", layer.nonzero as f64 / layer.weights.max(1) as f64 * 100.0),
                format!("{:.2}", layer.bits_per_weight),
                layer.file_bytes.to_string(),
                share(layer.file_bytes),
                layer.encoding.clone(),
            ]
        })
        .collect();
    let other =
        file.file_bytes as u64 - file.layers.iter().map(|layer| layer.file_bytes).sum::<u64>();
    let blank = String::new;
    rows.push(vec![
        "(structure)".into(),
        blank(),
        blank(),
        blank(),
        blank(),
        other.to_string(),
        share(other),
        blank(),
    ]);
    let path: Vec<String> = file
        .nodes
        .iter()
        .map(|node| format!("{} {} {}", node.op, node.output, node.dtype))
        .collect();
    format!(
        "{}: {} ({} bytes), {} parameters, {:.1}x smaller than fp32\n{}\n\n{}",
        if file.name.is_empty() { "(no name)" } else { &file.name },
        text::bytes(file.file_bytes as u64),
        file.file_bytes,
        file.parameters,
        file.ratio,
        path.join(" > "),
        text::columns(
            &["layer", "shape", "weights", "non-zero", "bits/weight", "bytes", "share", "encoding"],
            &rows
        )
    )
}
