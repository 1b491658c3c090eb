//! `embdl test`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use embdl_bench::{RetestReport, chosen, open, retest};
use embdl_core::format::{self, Limits};
use embdl_core::runtime::LoadOptions;
use embdl_file::ModelFile;
use embdl_flow::progress::Progress;

use crate::data::{self, DataArgs, TestImages};
use crate::progress::Bars;
use crate::{Outcome, text};

/// Arguments of `embdl test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl test lenet-5.embdl                                  (every runtime and instruction set of this machine)
  embdl test lenet-5.embdl --dataset mnist --runtime atom --isa sse41
  embdl test mobilenet.embdl --dataset folder --data pets   (pets/test/CLASS/*.jpg, prepared as the file says)
  embdl test lenet-5.embdl --min-accuracy 0.91 --json       (exit status 3 below)")]
pub(crate) struct Args {
    /// The file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Only this runtime: reference, atom, arm, or native for the fastest one.
    #[arg(long)]
    runtime: Option<String>,
    /// Only this instruction set level: scalar, sse41, avx2, neon, dotprod, i8mm.
    #[arg(long)]
    isa: Option<String>,
    /// Threads; 0 for as many as the machine has fast cores. The scalar reference runs on one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Only the first N test images.
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Exit with status 3 if an accuracy is lower (0 to 1).
    #[arg(long, value_name = "SHARE")]
    min_accuracy: Option<f64>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let path = args.model.display();
    let file = ModelFile::open(&args.model).with_context(|| format!("reading {path}"))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {path}"))?;
    file.release_all();
    let input = model.inputs.first().context("the model has no input")?;
    let shape = model.values[*input].kind.shape;
    let TestImages { dataset: test, preprocess } =
        data::load_test(&args.data, shape, &model.metadata)?;
    let test = args.images.map_or_else(|| test.clone(), |images| test.head(images));
    let wanted = chosen(args.runtime.as_deref(), args.isa.as_deref())?;
    let bars = Bars::new();
    let mut reports = Vec::new();
    for choice in wanted {
        let isa = Some(choice.isa.clone());
        let threads = choice.threads(args.threads);
        let release = Some(file.releaser());
        let options = LoadOptions { isa, threads, release, ..LoadOptions::default() };
        let mut session = open(&choice.runtime)?.load(&model, &options)?;
        let what = format!("{} {}", choice.runtime, choice.isa);
        bars.begin(&what);
        let mut done = 0;
        let report = retest(session.as_mut(), &choice, &test, preprocess.as_ref(), |images| {
            done += images;
            bars.images(&what, done, test.len());
        })?;
        bars.end(&format!("{:.2} % of {} images", report.accuracy * 100.0, report.images));
        reports.push(report);
    }
    if json {
        text::json(&reports)?
    } else {
        print!("{}", table(&reports))
    }
    let integer = model.outputs.iter().all(|&id| model.values[id].kind.quant.is_some());
    let same = reports.iter().all(|report| report.outputs_sha256 == reports[0].outputs_sha256);
    let good =
        args.min_accuracy.is_none_or(|least| reports.iter().all(|report| report.accuracy >= least));
    if integer && !same {
        eprintln!("embdl: integer outputs differ between runtimes, which they never may");
    }
    Ok(if good && (same || !integer) { Outcome::Passed } else { Outcome::CheckFailed })
}

fn table(reports: &[RetestReport]) -> String {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            vec![
                report.choice.runtime.clone(),
                report.choice.isa.clone(),
                format!("{:.2} %", report.accuracy * 100.0),
                report.images.to_string(),
                format!("{:.0}", report.images_per_second),
                report.outputs_sha256[..16].to_owned(),
            ]
        })
        .collect();
    text::columns(&["runtime", "isa", "accuracy", "images", "images/s", "outputs (sha256)"], &rows)
}
