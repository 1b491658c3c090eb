//! `embdl zoo`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_compress::{EncodeOptions, encode};
use embdl_graph::{Graph, zoo};
use serde::Serialize;

use super::untrained::Precision;
use super::{stick, write};
use crate::{Outcome, text};

/// Networks that devices are modelled with.
const DEPLOYED: [&str; 9] = [
    "lenet-300-100",
    "lenet-5",
    "squeezenet-1.0",
    "squeezenet-1.1",
    "mobilenet-v1",
    "mobilenet-v2",
    "alexnet",
    "alexnet-caffe",
    "vgg-16",
];

/// Arguments of `embdl zoo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl zoo                                          (what there is)
  embdl zoo mobilenet-v2 --out mobilenet-v2.embdl    (normal noise for weights: for sizes and latencies, not for answers)
  embdl zoo mobilenet-v2 --out mobilenet-v2.onnx
  embdl zoo --stick --ambient 60                     (modelled times, power and heat on a Neural Compute Stick)
  embdl zoo --tx2 --precision compressed             (modelled times on a Jetson TX2, in builds with the feature jetson)
  embdl zoo mobilenet-v2 --precision int8 --out mobilenet-v2-int8.embdl")]
pub(crate) struct Args {
    /// A network; without one, all are listed.
    network: Option<String>,
    /// Write it with normally distributed weights and batch normalization folded: .embdl, or .onnx.
    #[arg(long, value_name = "FILE", requires = "network")]
    out: Option<PathBuf>,
    /// What is done to the weights; ranges of activations are of noise.
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    precision: Precision,
    /// Say what they would take on a Neural Compute Stick 1 by a model of its time, power and heat, beside what others have published.
    #[arg(long, conflicts_with = "out")]
    stick: bool,
    /// Degrees Celsius around the stick.
    #[arg(long, default_value_t = 25.0, requires = "stick", value_parser = stick::ambient)]
    ambient: f64,
    /// Say what they would take on a Jetson TX2 by a model of its rates, beside what others have published; in --precision, and fp32
    /// also in 16 bits.
    #[cfg(feature = "jetson")]
    #[arg(long, conflicts_with_all = ["out", "stick"])]
    tx2: bool,
    /// Seed of the weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct Row {
    network: String,
    /// Height, width, channels.
    input: Vec<usize>,
    parameters: usize,
    macs: u64,
    fp32_bytes: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let names: Vec<&str> = match &args.network {
        Some(name) => vec![name],
        None => DEPLOYED.to_vec(),
    };
    if args.stick {
        return stick::table(&names, args.ambient, json);
    }
    #[cfg(feature = "jetson")]
    if args.tx2 {
        return super::tx2::table(&names, args.precision, json);
    }
    let rows = match &args.network {
        Some(name) => vec![row(name)?],
        None => zoo::NAMES.iter().map(|name| row(name)).collect::<Result<_>>()?,
    };
    if let (Some(name), Some(out)) = (&args.network, &args.out) {
        let mut graph = zoo::by_name(name, args.seed).with_context(|| unknown(name))?;
        args.precision.apply(&mut graph)?;
        let bytes = if out.extension().is_some_and(|extension| extension == "onnx") {
            embdl_onnx::export(&graph).context("exporting the network")?
        } else {
            encode(&graph, EncodeOptions::default()).context("encoding the network")?.bytes
        };
        write(out, &bytes)?;
    }
    if json {
        text::json(&rows)?;
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
        let head = ["network", "input", "parameters", "MACs", "fp32"];
        print!("{}", text::columns(&head, &cells));
    }
    Ok(Outcome::Passed)
}

fn unknown(name: &str) -> String {
    format!("no network is called {name}; `embdl zoo` lists them")
}

fn row(name: &str) -> Result<Row> {
    let graph: Graph =
        zoo::zeroed(name).or_else(|| zoo::by_name(name, 0)).with_context(|| unknown(name))?;
    let input = graph.values[graph.inputs[0]].shape.iter().skip(1).collect();
    Ok(Row {
        network: name.to_owned(),
        input,
        parameters: graph.param_count(),
        macs: graph.macs(),
        fp32_bytes: graph.fp32_bytes(),
    })
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let input: Vec<String> = self.input.iter().map(ToString::to_string).collect();
        vec![
            self.network.clone(),
            input.join("x"),
            self.parameters.to_string(),
            self.macs.to_string(),
            text::bytes(self.fp32_bytes),
        ]
    }
}
