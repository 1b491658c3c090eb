//! `embdl import` and `embdl export`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use embdl_compress::{EncodeOptions, encode, lift};
use embdl_core::format::{self, Limits};
use embdl_core::model::Model;
use embdl_graph::{Graph, fold_batch_norm, fuse_activations, zoo};
use rt_myriad::blob::{self, SHAVES};
use rt_myriad::compile::{CompileOptions, FIFO_ELEMENTS, NOT_ON_SILICON, compile};
use rt_myriad::emulator;
use serde::Serialize;

use super::{import_onnx, read, vendor, write};
use crate::metadata::MetadataArgs;
use crate::{Outcome, text};

/// Arguments of `embdl import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl import model.onnx --out model.embdl
  embdl import model.onnx --preprocess imagenet --labels names.txt -o model.embdl
  embdl import mobilenet_v2-b0353104.pth --network mobilenet-v2 --preprocess imagenet --labels names.txt
  embdl import weights.safetensors --network squeezenet-1.1 -o squeezenet.embdl

Weights without a network (.pth, .pt, .safetensors) need --network; the names of their tensors are torchvision's.")]
pub(crate) struct ImportArgs {
    /// The ONNX file, or a .pth, .pt or .safetensors file with weights.
    model: PathBuf,
    /// The network that the weights are of, such as mobilenet-v2, vgg-16-bn, mobilenet-v2-0.5@160.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The .embdl file; zeros may be skipped, floats stay as they are.
    #[arg(short, long, value_name = "FILE", default_value = "model.embdl")]
    out: PathBuf,
}

/// Arguments of `embdl export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl export lenet-5.embdl --out small.onnx             (fp32 ONNX with the compressed values)
  embdl export lenet-5.embdl --int8 --out small.onnx      (levels and 8-bit weights stay integers)
  embdl export squeezenet.embdl --for myriad --out squeezenet.blob
  embdl export squeezenet.embdl --for openvino --out squeezenet.xml   (and squeezenet.bin; --compile runs myriad_compile)
  embdl export lenet-5.embdl --for caffe --out lenet-5.prototxt       (and lenet-5.caffemodel, for mvNCCompile)")]
pub(crate) struct ExportArgs {
    /// The .embdl file.
    model: PathBuf,
    /// What for: ONNX; a graph for the Movidius MA2450 (Neural Compute Stick 1) in 16-bit floats; or files for its vendors' compilers.
    #[arg(long = "for", value_enum, default_value_t = For::Onnx)]
    target: For,
    /// The file that is written; without it, model.onnx, model.blob, model.xml (and model.bin), model.prototxt (and model.caffemodel).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Cores of the MA2450 that the graph wants.
    #[arg(long, default_value_t = SHAVES, value_name = "1-12")]
    shaves: u32,
    /// For the MA2450, which computes in 16-bit floats: leave the 8-bit levels of activations away. Results then differ from the
    /// integer model's by the rounding that is not done.
    #[arg(long)]
    drop_levels: bool,
    /// Also run the vendor's compiler on it, where that is installed: `myriad_compile` or `compile_tool` of OpenVINO 2020.1 to 2020.3,
    /// `mvNCCompile` of NCSDK 2.
    #[arg(long)]
    compile: bool,
    /// Keep integers: levels between QuantizeLinear and DequantizeLinear, int8 weights. Without it everything is fp32.
    #[arg(long)]
    int8: bool,
}

/// What a model is exported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum For {
    Onnx,
    Myriad,
    Openvino,
    Caffe,
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
    let mut graph = match (&args.network, is_weights(&args.model)) {
        (Some(network), true) => import_weights(&args.model, network)?,
        (None, false) => import_onnx(&args.model)?,
        (None, true) => bail!(
            "{} has weights and no network: say which one with --network, such as mobilenet-v2",
            args.model.display()
        ),
        (Some(_), false) => bail!(
            "--network is for weights (.pth, .pt, .safetensors); {} brings its own network",
            args.model.display()
        ),
    };
    args.metadata.apply(&mut graph.metadata)?;
    graph.validate()?;
    let encoded = encode(&graph, EncodeOptions::default()).context("encoding the network")?;
    write(&args.out, &encoded.bytes)?;
    if !json {
        print!("{graph}");
    }
    say(&graph, encoded.bytes.len(), &args.out, json)
}

/// Whether the file's name says that it has weights alone.
fn is_weights(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["pth", "pt", "bin", "safetensors"].contains(&extension.to_ascii_lowercase().as_str())
}

/// The network of the zoo with weights from a file, batch normalization folded.
fn import_weights(path: &Path, network: &str) -> Result<Graph> {
    let graph = zoo::zeroed(network).or_else(|| zoo::by_name(network, 0));
    let mut graph = graph.with_context(|| {
        format!("no network is called {network:?}; there are {}", zoo::NAMES.join(", "))
    })?;
    embdl_weights::load(&mut graph, path)
        .with_context(|| format!("loading {} into {network}", path.display()))?;
    fold_batch_norm(&mut graph)?;
    fuse_activations(&mut graph)?;
    Ok(graph)
}

pub(crate) fn export(args: &ExportArgs, json: bool) -> Result<Outcome> {
    let bytes = read(&args.model)?;
    let path = args.model.display();
    let model =
        format::read(&bytes, &Limits::default()).with_context(|| format!("reading {path}"))?;
    let name = match args.target {
        For::Onnx => "model.onnx",
        For::Myriad => "model.blob",
        For::Openvino => "model.xml",
        For::Caffe => "model.prototxt",
    };
    let out = args.out.clone().unwrap_or_else(|| name.into());
    if args.target == For::Myriad {
        let options = CompileOptions {
            shaves: args.shaves,
            drop_levels: args.drop_levels,
            ..CompileOptions::default()
        };
        return export_blob(&model, &options, &out, json);
    }
    let graph = lift(&model).with_context(|| format!("decoding {path}"))?;
    if args.target != For::Onnx {
        let has_levels = graph.values.iter().any(|value| value.quant.is_some());
        if has_levels && !args.drop_levels {
            bail!(
                "{path} computes in integers, and the vendors' compilers in 16-bit floats: --drop-levels has real values computed"
            );
        }
        return vendor::export(&graph, args.target == For::Caffe, args.compile, &out, json);
    }
    let mut options = embdl_onnx::ExportOptions::default();
    options.quantized = args.int8;
    let onnx = embdl_onnx::export_with(&graph, &options).context("exporting the network")?;
    write(&out, &onnx)?;
    say(&graph, onnx.len(), &out, json)
}

#[derive(Serialize)]
struct ExportedBlob {
    network: String,
    stages: usize,
    bytes: usize,
    /// Memory of the chip: constants, intermediate tensors, FIFOs.
    ddr_bytes: usize,
    modelled_ms: f64,
    modelled_watts: f64,
    note: &'static str,
    out: PathBuf,
}

fn export_blob(
    model: &Model<'_>,
    options: &CompileOptions,
    out: &Path,
    json: bool,
) -> Result<Outcome> {
    let compiled = compile(model, options).context("compiling for the MA2450")?;
    let bytes = blob::write(&compiled.blob).context("writing the blob")?;
    write(out, &bytes)?;
    let cost = emulator::total(&compiled.blob, &emulator::CostModel::default());
    let exported = ExportedBlob {
        network: model.name.clone(),
        stages: compiled.blob.stages.len(),
        bytes: bytes.len(),
        ddr_bytes: compiled.blob.ddr_bytes(FIFO_ELEMENTS),
        modelled_ms: 1e3 * cost.seconds,
        modelled_watts: cost.watts(),
        note: NOT_ON_SILICON,
        out: out.to_owned(),
    };
    if json {
        text::json(&exported)?;
    } else {
        println!(
            "{} stages, {} in {}; {} of chip memory; modelled, not measured: {:.1} ms, {:.2} W on {} cores; native blob, {}",
            exported.stages,
            text::bytes(exported.bytes as u64),
            out.display(),
            text::bytes(exported.ddr_bytes as u64),
            exported.modelled_ms,
            exported.modelled_watts,
            options.shaves,
            exported.note
        );
    }
    Ok(Outcome::Passed)
}

fn say(graph: &Graph, bytes: usize, out: &Path, json: bool) -> Result<Outcome> {
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
