//! `embdl inspect`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use embdl_core::format::{self, Limits};
use embdl_core::metadata::Preprocess;
use embdl_core::model::Model;
use embdl_flow::layers;
use embdl_flow::record::LayerRecord;
use embdl_graph::{Graph, Node, Param};
use rt_myriad::blob::{NcsdkGraph, NcsdkStage};
use rt_myriad::{blob, emulator};
use serde::Serialize;

use super::{import_onnx, read};
use crate::{Outcome, text};

/// Arguments of `embdl inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl inspect lenet-5.embdl
  embdl inspect model.onnx
  embdl inspect model.blob                              (a compiled graph of a Neural Compute Stick, stage by stage)
  embdl inspect model.graph                             (one that mvNCCompile of NCSDK 2 has made)
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
    metadata_bytes: usize,
    parameters: u64,
    fp32_bytes: u64,
    ratio: f64,
    layers: Vec<LayerRecord>,
    nodes: Vec<NodeLine>,
    /// How a picture becomes the input.
    preprocess: Option<Preprocess>,
    labels: Vec<String>,
}

#[derive(Serialize)]
struct NodeLine {
    node: String,
    op: &'static str,
    output: String,
    dtype: String,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let path = &args.model;
    let is_compiled = |extension: &std::ffi::OsStr| {
        ["blob", "graph"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    if path.extension().is_some_and(is_compiled) {
        return inspect_blob(path, json);
    }
    let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    let inspection = if is_onnx {
        let file_bytes =
            std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
        inspect_graph(&import_onnx(path)?, usize::try_from(file_bytes)?)
    } else {
        inspect(&read(path)?).with_context(|| format!("reading {}", path.display()))?
    };
    if json {
        text::json(&inspection)?
    } else {
        print!("{}", describe(&inspection))
    }
    Ok(Outcome::Passed)
}

#[derive(Serialize)]
struct BlobInspection {
    file_bytes: usize,
    constants_bytes: usize,
    bss_bytes: u32,
    shaves: u32,
    stages: Vec<StageLine>,
}

#[derive(Serialize)]
struct StageLine {
    stage: String,
    parameters: String,
    tensors: Vec<String>,
    modelled_ms: f64,
}

/// A graph of NCSDK 2, whose stages are told in a line each.
#[derive(Serialize)]
struct NcsdkInspection {
    file_bytes: usize,
    constants_bytes: usize,
    work_bytes: usize,
    shaves: u32,
    input_elements: u32,
    output_elements: u32,
    stages: Vec<String>,
}

fn inspect_blob(path: &Path, json: bool) -> Result<Outcome> {
    let bytes = read(path)?;
    let reading = || format!("reading {}", path.display());
    if NcsdkGraph::is(&bytes) {
        let graph = NcsdkGraph::read(&bytes).with_context(reading)?;
        if json {
            let stage = |stage: &NcsdkStage| stage.to_string();
            text::json(&NcsdkInspection {
                file_bytes: bytes.len(),
                constants_bytes: graph.constants.len(),
                work_bytes: graph.work_bytes(),
                shaves: graph.shaves,
                input_elements: graph.input_elements,
                output_elements: graph.output_elements,
                stages: graph.stages.iter().map(stage).collect(),
            })?;
        } else {
            print!("{graph}");
        }
        return Ok(Outcome::Passed);
    }
    let blob = blob::read(&bytes).with_context(reading)?;
    let model = emulator::CostModel::default();
    if json {
        let costs = emulator::costs(&blob, &model);
        let line = |(stage, cost): (&blob::Stage, &emulator::Cost)| StageLine {
            stage: stage.kind.to_string(),
            parameters: stage.params.to_string(),
            tensors: stage.buffers.iter().map(ToString::to_string).collect(),
            modelled_ms: 1e3 * cost.seconds,
        };
        text::json(&BlobInspection {
            file_bytes: bytes.len(),
            constants_bytes: blob.constants.len(),
            bss_bytes: blob.bss_bytes,
            shaves: blob.shaves,
            stages: blob.stages.iter().zip(&costs).map(line).collect(),
        })?;
    } else {
        let cost = emulator::total(&blob, &model);
        print!("{}", blob::Description(&blob));
        println!("modelled, not measured: {:.1} ms, {:.2} W", 1e3 * cost.seconds, cost.watts());
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
        metadata_bytes: layout.metadata_bytes,
        parameters,
        fp32_bytes: parameters * 4,
        ratio,
        layers: layers::of_file(bytes)?,
        nodes: nodes(&model),
        preprocess: model.metadata.preprocess,
        labels: model.metadata.labels,
    })
}

/// The same of a graph: what it would be as plain floats.
fn inspect_graph(graph: &Graph, file_bytes: usize) -> Inspection {
    let layer = |(node, weight): (&Node, &Param)| {
        let bias = node.bias.map_or(0, |id| graph.params[id].len());
        let fp32_bytes = (weight.len() + bias) as u64 * 4;
        LayerRecord {
            layer: node.name.clone(),
            shape: weight.shape.to_string(),
            encoding: "f32".into(),
            weights: weight.len() as u64,
            nonzero: weight.effective().iter().filter(|&&w| w != 0.0).count() as u64,
            fp32_bytes,
            file_bytes: fp32_bytes,
            bits_per_weight: 32.0,
        }
    };
    let line = |node: &Node| NodeLine {
        node: node.name.clone(),
        op: node.op.name(),
        output: graph.values[node.output].shape.to_string(),
        dtype: if graph.values[node.output].quant.is_some() { "u8" } else { "f32" }.into(),
    };
    let layers: Vec<LayerRecord> = graph.layers().map(layer).collect();
    let weights: u64 = layers.iter().map(|layer| layer.file_bytes).sum();
    #[expect(clippy::cast_precision_loss, reason = "byte counts")]
    let ratio = graph.fp32_bytes() as f64 / file_bytes.max(1) as f64;
    Inspection {
        name: graph.name.clone(),
        file_bytes,
        header_bytes: 0,
        graph_bytes: usize::try_from(weights)
            .map_or(0, |weights| file_bytes.saturating_sub(weights)),
        name_bytes: 0,
        metadata_bytes: 0,
        parameters: graph.param_count() as u64,
        fp32_bytes: graph.fp32_bytes(),
        ratio,
        layers,
        nodes: graph.nodes.iter().map(line).collect(),
        preprocess: graph.metadata.preprocess.clone(),
        labels: graph.metadata.labels.clone(),
    }
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
    let layers: u64 = file.layers.iter().map(|layer| layer.file_bytes).sum();
    let metadata = file.metadata_bytes as u64;
    // Of an ONNX file the layers may be counted in more bytes than it stores them in.
    let other = (file.file_bytes as u64).saturating_sub(layers + metadata);
    let mut rest = |what: &str, bytes: u64| {
        let blank = String::new;
        let size = [bytes.to_string(), share(bytes)];
        rows.push(
            [vec![what.into(), blank(), blank(), blank(), blank()], size.into(), vec![blank()]]
                .concat(),
        );
    };
    if metadata > 0 {
        rest("(metadata)", metadata);
    }
    rest("(structure)", other);
    let path: Vec<String> = file
        .nodes
        .iter()
        .map(|node| format!("{} {} {}", node.op, node.output, node.dtype))
        .collect();
    let mut pictures = String::new();
    if let Some(preprocess) = &file.preprocess {
        pictures += &format!("pictures: {preprocess}\n");
    }
    if let [first, .., last] = &file.labels[..] {
        pictures += &format!("{} labels: {first} ... {last}\n", file.labels.len());
    }
    format!(
        "{}: {} ({} bytes), {} parameters, {:.1}x smaller than fp32\n{}\n{pictures}\n{}",
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
