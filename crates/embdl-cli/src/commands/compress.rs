//! `embdl compress`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_compress::{Encoded, lift};
use embdl_core::format::{self, Limits};
use embdl_flow::Target;
use embdl_flow::pipeline::{self, Job};
use embdl_flow::record::RunRecord;
use embdl_flow::report;

use super::post_training::PostTrainingArgs;
use super::{RecipeArgs, import_onnx, read, write};
use crate::data::{self, DataArgs};
use crate::progress::Bars;
use crate::{Outcome, text};

/// Arguments of `embdl compress`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl compress lenet-5.onnx --network lenet-5 --out lenet-5.embdl
  embdl compress lenet-5.onnx --recipe my.toml --out small.embdl
  embdl compress my-cnn.onnx --recipe my.toml --dataset mnist --out small.embdl --resume

  embdl compress mobilenet_v2.onnx --ptq --calibration photographs --preprocess imagenet
  embdl compress mobilenet_v2.onnx --ptq --calibration images.npy --exclude 'classifier*' --adaround

Without --ptq, the recipe says what is done; `embdl pipeline --print-recipe` prints one to start from.")]
pub(crate) struct Args {
    /// The trained network, as ONNX; with --ptq also as .embdl.
    model: PathBuf,
    /// Name of the network, for the built-in recipes.
    #[arg(long, default_value = "lenet-5")]
    network: String,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Seed of data order and augmentation while retraining.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The compressed file.
    #[arg(long, value_name = "FILE", default_value = "model.embdl")]
    out: PathBuf,
    /// Also write a report page.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Go on where an interrupted run stopped.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    post_training: PostTrainingArgs,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    if args.post_training.ptq {
        return super::post_training::run(&args.model, &args.post_training, &args.out, json);
    }
    let mut recipe = args.recipe.load(&args.network, args.data.dataset(&args.network))?;
    // The network is trained already; the first step only measures it.
    recipe.train.epochs = 0;
    let split = data::load_for(&recipe, &args.data)?;
    let start = import_onnx(&args.model)?;
    let before = start.fp32_bytes();
    let job = Job {
        device: embdl_train::Device::Cpu,
        seed: args.seed,
        out: args.out.with_extension("run"),
        resume: args.resume,
        start: Some(start),
        foreign: Vec::new(),
        data_dir: args.data.data.clone(),
        details: args.report.is_some(),
        recipe,
    };
    let begun = std::time::Instant::now();
    let mut network = pipeline::run(&job, &split, &Bars::new())?;
    let is_stick = args.recipe.target == Some(Target::MyriadMa2450);
    let said = is_stick
        .then(|| super::stick::finish(&mut network, split.test.for_report(), &Bars::new()))
        .transpose()?;
    let bytes = read(network.compressed.path.as_ref())?;
    let encoded = Encoded { bytes, fp32_bytes: before };
    let graph = lift(&format::read(&encoded.bytes, &Limits::default())?)?;
    // What is smaller for a stick is its graph, of 16-bit floats.
    if !is_stick {
        encoded.smaller_than(before, &graph).context("nothing was written")?;
    }
    write(&args.out, &encoded.bytes)?;
    let record = RunRecord {
        seconds: begun.elapsed().as_secs_f64(),
        command: super::pipeline::command_line(),
        provenance: super::pipeline::provenance(),
        networks: vec![network],
    };
    if let Some(path) = &args.report {
        write(path, report::html(&record).as_bytes())?;
    }
    if json {
        text::json(&record)?;
    } else {
        print!("{}", report::table(&record));
        println!("{}", args.out.display());
        said.iter().for_each(|line| println!("{line}"));
    }
    Ok(Outcome::Passed)
}
