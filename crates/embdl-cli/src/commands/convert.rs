//! `embdl import` and `embdl export`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_compress::{EncodeOptions, encode, lift};
use embdl_core::format::{self, Limits};
use serde::Serialize;

use super::{import_onnx, read, write};
use crate::{Outcome, text};

/// Arguments of `embdl import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl import model.onnx --out model.embdl")]
pub(crate) struct ImportArgs {
    /// The ONNX file.
    model: PathBuf,
    /// The .embdl file; zeros may be skipped, floats stay as they are.
    #[arg(long, value_name = "FILE", default_value = "model.embdl")]
    out: PathBuf,
}

/// Arguments of `embdl export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl export lenet-5.embdl --out small.onnx             (fp32 ONNX with the compressed values)
  embdl export lenet-5.embdl --int8 --out small.onnx      (levels and 8-bit weights stay integers)")]
pub(crate) struct ExportArgs {
    /// The .embdl file.
    model: PathBuf,
    /// The ONNX file.
    #[arg(long, value_name = "FILE", default_value = "model.onnx")]
    out: PathBuf,
    /// Keep integers: levels between QuantizeLinear and DequantizeLinear, int8 weights. Without it everything is fp32.
    #[arg(long)]
    int8: bool,
}

#[derive(Serialize)]
struct Converted {
    network: String,
    parameters: usize,
    macs: u64,
    bytes: usize,
    out: PathBuf,
}

pub(crate) fn import(args: &ImportArgs, json: bool) -> Result<Outcome> {
    let graph = import_onnx(&args.model)?;
    let encoded = encode(&graph, EncodeOptions::default()).context("encoding the network")?;
    write(&args.out, &encoded.bytes)?;
    if !json {
        print!("{graph}");
    }
    say(&graph, encoded.bytes.len(), &args.out, json)
}

pub(crate) fn export(args: &ExportArgs, json: bool) -> Result<Outcome> {
    let bytes = read(&args.model)?;
    let path = args.model.display();
    let model =
        format::read(&bytes, &Limits::default()).with_context(|| format!("reading {path}"))?;
    let graph = lift(&model).with_context(|| format!("decoding {path}"))?;
    let mut options = embdl_onnx::ExportOptions::default();
    options.quantized = args.int8;
    let onnx = embdl_onnx::export_with(&graph, &options).context("exporting the network")?;
    write(&args.out, &onnx)?;
    say(&graph, onnx.len(), &args.out, json)
}

fn say(
    graph: &embdl_graph::Graph,
    bytes: usize,
    out: &std::path::Path,
    json: bool,
) -> Result<Outcome> {
    let converted = Converted {
        network: graph.name.clone(),
        parameters: graph.param_count(),
        macs: graph.macs(),
        bytes,
        out: out.to_owned(),
    };
    if json {
        text::json(&converted)?;
    } else {
        let size = text::bytes(bytes as u64);
        println!(
            "{} parameters, {} MACs, {size} in {}",
            converted.parameters,
            converted.macs,
            out.display()
        );
    }
    Ok(Outcome::Passed)
}
