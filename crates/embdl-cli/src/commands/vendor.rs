//! `embdl export --for openvino` and `--for caffe`: files for the vendors' compilers, and what these make of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use embdl_graph::Graph;
use embdl_vendor::tools::{PATIENCE, Tool};
use embdl_vendor::{VendorError, caffe, ir};
use serde::Serialize;

use super::write;
use crate::{Outcome, text};

#[derive(Serialize)]
struct Exported {
    network: String,
    /// The layers.
    layers: PathBuf,
    /// The weights, under the same name.
    weights: PathBuf,
    weights_bytes: usize,
    /// What the vendor's compiler has made of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled: Option<PathBuf>,
}

/// Writes both files, and has the vendor's program compile them.
pub(crate) fn export(
    graph: &Graph,
    is_caffe: bool,
    compile: bool,
    out: &Path,
    json: bool,
) -> Result<Outcome> {
    let (layers, bytes, weights) = if is_caffe {
        let files = caffe::write(graph).context("writing the network for Caffe")?;
        (files.prototxt, files.caffemodel, out.with_extension("caffemodel"))
    } else {
        let files = ir::write(graph).context("writing the network for OpenVINO")?;
        (files.xml, files.bin, out.with_extension("bin"))
    };
    write(out, layers.as_bytes())?;
    write(&weights, &bytes)?;
    let compiled = compile.then(|| run(is_caffe, out, &weights)).transpose()?;
    let exported = Exported {
        network: graph.name.clone(),
        layers: out.to_owned(),
        weights_bytes: bytes.len(),
        weights,
        compiled,
    };
    if json {
        text::json(&exported)?;
        return Ok(Outcome::Passed);
    }
    let Exported { layers, weights, weights_bytes, compiled, .. } = &exported;
    let size = text::bytes(*weights_bytes as u64);
    println!("{} and {size} of weights in {}", layers.display(), weights.display());
    if let Some(compiled) = compiled {
        println!("compiled: {}; `embdl inspect` shows it", compiled.display());
    }
    Ok(Outcome::Passed)
}

fn run(is_caffe: bool, layers: &Path, weights: &Path) -> Result<PathBuf> {
    let (tools, extension): (&[Tool], _) = if is_caffe {
        (&[Tool::MvncCompile], "graph")
    } else {
        (&[Tool::MyriadCompile, Tool::CompileTool], "blob")
    };
    let found = tools.iter().map(|tool| Ok((*tool, tool.find()?)));
    let found: Vec<Result<_, VendorError>> = found.collect();
    let missing = "the files are written; the vendor's compiler is missing";
    let (tool, program) = found
        .into_iter()
        .reduce(|first, next| first.or(next))
        .context(missing)?
        .context(missing)?;
    let out = layers.with_extension(extension);
    tool.run(&program, [layers, weights, &out], PATIENCE)?;
    Ok(out)
}
