//! `embdl compare`: how far two networks agree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use embdl_bench::open;
use embdl_compress::{Agreement, model_scores, scores};
use embdl_core::format::{self, Limits};
use serde::Serialize;

use super::{load_graph, read};
use crate::samples::{self, PreprocessArgs};
use crate::{Outcome, text};

/// Arguments of `embdl compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl compare model.onnx model.embdl --images photographs --preprocess imagenet
  embdl compare float.embdl int8.embdl --images evaluation.npy --at-least 0.95")]
pub(crate) struct Args {
    /// The network that is right: ONNX or .embdl.
    reference: PathBuf,
    /// The network that is compared with it: ONNX or .embdl.
    model: PathBuf,
    /// What both are run on: a folder of pictures, or an .npy file of preprocessed ones, f32 [n, h, w, c].
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// Share of images that both must put into the same class, 0 to 1; below it the exit status is 3.
    #[arg(long, value_name = "SHARE")]
    at_least: Option<f64>,
    /// Runtime: reference, atom, arm, or native for the fastest one.
    #[arg(long, default_value = "native")]
    runtime: String,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

#[derive(Serialize)]
struct Compared {
    reference: PathBuf,
    model: PathBuf,
    runtime: String,
    agreement: Agreement,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let [wanted, found] = [&args.reference, &args.model].map(|path| one(path, args));
    let agreement = Agreement::of(&wanted?, &found?);
    let done = Compared {
        reference: args.reference.clone(),
        model: args.model.clone(),
        runtime: args.runtime.clone(),
        agreement,
    };
    if json {
        text::json(&done)?;
    } else {
        println!(
            "{} images: the same class for {:.2} %, among the first five for {:.2} %, SQNR of scores {:.2} dB",
            agreement.samples,
            agreement.top1 * 100.0,
            agreement.top5 * 100.0,
            agreement.sqnr_db
        );
    }
    let enough = args.at_least.is_none_or(|share| agreement.top1 >= share);
    Ok(if enough { Outcome::Passed } else { Outcome::CheckFailed })
}

/// The scores of one network on all images; a file is run as it is.
fn one(path: &Path, args: &Args) -> Result<Vec<Vec<f32>>> {
    let runtime = open(&args.runtime)?;
    let failed = || format!("running {}", path.display());
    if path.extension().is_some_and(|extension| extension == "embdl") {
        let bytes = read(path)?;
        let model = format::read(&bytes, &Limits::default())
            .with_context(|| format!("reading {}", path.display()))?;
        let preprocess = args.preprocess.or(model.metadata.preprocess.as_ref())?;
        let shape = model.values[model.inputs[0]].kind.shape;
        let images = samples::load(&args.images, shape, preprocess.as_ref())?;
        return model_scores(&model, &*runtime, &images).with_context(failed);
    }
    let graph = load_graph(path)?;
    let preprocess = args.preprocess.or(graph.metadata.preprocess.as_ref())?;
    let images =
        samples::load(&args.images, graph.values[graph.inputs[0]].shape, preprocess.as_ref())?;
    scores(&graph, &*runtime, &images).with_context(failed)
}
