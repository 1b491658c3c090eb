//! `embdl run`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use embdl_bench::{classify, nanoseconds, open};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::{LoadOptions, Runtime};
use serde::Serialize;

use super::read;
use crate::data::{self, DataArgs};
use crate::{Outcome, text};

/// Arguments of `embdl run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl run lenet-5.embdl --index 7
  embdl run lenet-5.embdl --dataset mnist --index 0 --profile
  embdl run lenet-5.embdl --runtime atom --isa sse41 --json")]
pub(crate) struct Args {
    /// The file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Which test image.
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Runtime: reference, atom, arm, or native for the fastest one.
    #[arg(long, default_value = "native")]
    runtime: String,
    /// Instruction set level instead of the best one.
    #[arg(long)]
    isa: Option<String>,
    /// Print the time of each node.
    #[arg(long)]
    profile: bool,
}

#[derive(Serialize)]
struct Classified {
    runtime: String,
    label: String,
    class: String,
    scores: Vec<(String, f32)>,
    nodes: Vec<NodeTime>,
}

#[derive(Serialize)]
struct NodeTime {
    node: String,
    kernel: String,
    nanoseconds: u64,
    macs: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let bytes = read(&args.model)?;
    let path = args.model.display();
    let model =
        format::read(&bytes, &Limits::default()).with_context(|| format!("reading {path}"))?;
    let split = data::load(&args.data, 0)?;
    let test = split.test.for_report();
    if args.index >= test.len() {
        bail!("there is no test image {}; there are {}", args.index, test.len());
    }
    let runtime = open(&args.runtime)?;
    let options =
        LoadOptions { isa: args.isa.clone(), clock: Some(nanoseconds), ..LoadOptions::default() };
    let mut session = runtime.load(&model, &options)?;
    let prediction = classify(session.as_mut(), test, args.index)?;
    let nodes = session.profile().map(|profile| profile.nodes.clone()).unwrap_or_default();
    let mut scores: Vec<(String, f32)> =
        test.classes().iter().cloned().zip(prediction.scores.iter().copied()).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let result = Classified {
        runtime: runtime.name().into(),
        label: test.classes()[usize::from(test.label(args.index))].clone(),
        class: test.classes()[prediction.class].clone(),
        scores,
        nodes: nodes
            .into_iter()
            .map(|node| NodeTime {
                node: node.name,
                kernel: node.kernel.into(),
                nanoseconds: node.nanoseconds,
                macs: node.macs,
                bytes: node.bytes,
            })
            .collect(),
    };
    if json {
        text::json(&result)?;
        return Ok(Outcome::Passed);
    }
    println!("test image {}: {} (labelled {})", args.index, result.class, result.label);
    let rows: Vec<Vec<String>> = result
        .scores
        .iter()
        .take(5)
        .map(|(class, score)| vec![class.clone(), format!("{score:.3}")])
        .collect();
    print!("{}", text::columns(&["class", "score"], &rows));
    if args.profile {
        let rows: Vec<Vec<String>> = result
            .nodes
            .iter()
            .map(|node| {
                #[expect(clippy::cast_precision_loss, reason = "a duration")]
                let microseconds = node.nanoseconds as f64 / 1e3;
                let cells =
                    [format!("{microseconds:.1}"), node.macs.to_string(), node.bytes.to_string()];
                [vec![node.node.clone()], cells.to_vec(), vec![node.kernel.clone()]].concat()
            })
            .collect();
        print!("\n{}", text::columns(&["node", "us", "MACs", "bytes", "kernel"], &rows));
    }
    Ok(Outcome::Passed)
}
