//! `embdl train`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_flow::pipeline::{self, Job};
use embdl_flow::recipe::Recipe;
use embdl_train::Device;
use serde::Serialize;

use super::{RecipeArgs, import_onnx, write};
use crate::data::{self, DataArgs};
use crate::progress::Bars;
use crate::{Outcome, text};

/// Arguments of `embdl train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl train --network lenet-5 --out lenet-5.onnx
  embdl train --network lenet-300-100 --dataset mnist --schedule full --seed 2 --out lenet.onnx
  embdl train --network lenet-5 --epochs 3 --learning-rate 0.02 --out quick.onnx
  embdl train --network lenet-5 --out lenet-5.onnx --resume      (goes on where it was stopped)")]
pub(crate) struct Args {
    /// Network of the zoo, such as lenet-5, vgg-16-bn-cifar10 or mobilenet-v2-0.35-cifar10.
    #[arg(long, default_value = "lenet-5")]
    network: String,
    /// Train on from this ONNX file instead of from scratch.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Passes over the data instead of the recipe's.
    #[arg(long)]
    epochs: Option<usize>,
    /// Largest learning rate instead of the recipe's.
    #[arg(long)]
    learning_rate: Option<f32>,
    /// Seed of initial weights, data order and augmentation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where training runs: cpu, cuda, cuda:N, wgpu. A GPU needs a program built with that feature.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// The trained network.
    #[arg(long, value_name = "FILE", default_value = "model.onnx")]
    out: PathBuf,
    /// Go on where an interrupted run stopped.
    #[arg(long)]
    resume: bool,
}

#[derive(Serialize)]
struct Trained {
    network: String,
    dataset: String,
    validation_accuracy: f64,
    test_accuracy: f64,
    fp32_bytes: u64,
    out: PathBuf,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let mut recipe: Recipe = args.recipe.load(&args.network, args.data.dataset(&args.network))?;
    recipe.train.epochs = args.epochs.unwrap_or(recipe.train.epochs);
    recipe.train.learning_rate = args.learning_rate.unwrap_or(recipe.train.learning_rate);
    let split = data::load_for(&recipe, &args.data)?;
    let job = Job {
        seed: args.seed,
        out: args.out.with_extension("run"),
        resume: args.resume,
        start: args.from.as_deref().map(import_onnx).transpose()?,
        foreign: Vec::new(),
        data_dir: args.data.data.clone(),
        device: args.device,
        details: false,
        recipe,
    };
    let (graph, step) = pipeline::train_only(&job, &split, &Bars::new())?;
    let bytes = embdl_onnx::export(&graph).context("exporting the trained network")?;
    write(&args.out, &bytes)?;
    let trained = Trained {
        network: job.recipe.network.clone(),
        dataset: job.recipe.dataset.clone(),
        validation_accuracy: step.validation_accuracy,
        test_accuracy: step.test_accuracy,
        fp32_bytes: graph.fp32_bytes(),
        out: args.out.clone(),
    };
    if json {
        text::json(&trained)?;
    } else {
        println!(
            "{} on {}: validation {:.2} %, test {:.2} %, {} as fp32, in {}",
            trained.network,
            trained.dataset,
            trained.validation_accuracy * 100.0,
            trained.test_accuracy * 100.0,
            text::bytes(trained.fp32_bytes),
            trained.out.display()
        );
    }
    Ok(Outcome::Passed)
}
