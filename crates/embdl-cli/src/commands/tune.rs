//! `embdl tune`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use embdl_bench::{FileTuner, RuntimeChoice, Tune, TuneReport, chosen, stay_on_fast_cores, tune};
use embdl_compress::{EncodeOptions, encode};
use embdl_core::format::{self, Limits};
use embdl_graph::zoo;
use serde::Serialize;

use super::read;
use super::untrained::Precision;
use crate::{Outcome, text};

/// Networks that stand for others where no model is given: pointwise and depthwise layers, fire modules, plain windows, and
/// dense layers, small enough for a board.
const NETWORKS: [&str; 4] = ["lenet-300-100", "lenet-5", "squeezenet-1.1", "mobilenet-v2"];
/// In which precisions.
const PRECISIONS: [(&str, Precision); 3] =
    [("fp32", Precision::Fp32), ("int8", Precision::Int8), ("compressed", Precision::Compressed)];

/// Arguments of `embdl tune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl tune                                        (layers of four networks, for the best level of this machine)
  embdl tune my-cnn.embdl --threads 1,4             (the layers of a model; what is known is not measured again)
  embdl tune --isa sse41,avx2 mobilenet-v2.embdl
  embdl tune --again                                (forgets this machine and measures anew)

What was measured is kept in embdl/tuning.json in the user's cache, for each processor. `embdl run` and `embdl-runner bench`
use it: a layer that was measured runs on the kernel that was the fastest, another one on the kernel that estimates choose
when they are corrected by what was measured of kernels. Interrupted, the command goes on where it stopped. On a board,
`embdl-runner tune MODEL` does the same. Other load on the machine makes choices worse, never results.")]
pub(crate) struct Args {
    /// Models; without one, networks of the zoo with initial weights, in fp32, int8 and compressed.
    models: Vec<PathBuf>,
    /// Instruction set levels; without one, the best of this machine.
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    isa: Vec<String>,
    /// Numbers of threads to measure for; 0 for as many as there are fast cores.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1")]
    threads: Vec<usize>,
    /// Seconds for each of the two sessions, by estimates and by measurement, that are compared at the end.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Forget what is known of this machine first.
    #[arg(long)]
    again: bool,
}

/// What was found for one model at one level, on a number of threads.
#[derive(Serialize)]
struct Row {
    model: String,
    #[serde(flatten)]
    report: TuneReport,
}

/// A kernel whose estimates are corrected here.
#[derive(Serialize)]
struct Factor {
    kernel: String,
    factor: f32,
    problems: u32,
}

#[derive(Serialize)]
struct Found {
    file: Option<PathBuf>,
    models: Vec<Row>,
    factors: Vec<Factor>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    stay_on_fast_cores();
    if !(args.seconds.is_finite() && args.seconds > 0.0) {
        bail!("--seconds {} is no time", args.seconds);
    }
    let choices = choices(&args.isa)?;
    let tuner = Arc::new(FileTuner::of_this_machine(Tune::Measure));
    if args.again {
        tuner.forget();
    }
    let mut models = Vec::new();
    for path in &args.models {
        let bytes = read(path)?;
        models.extend(rows(&path.display().to_string(), &bytes, &choices, &tuner, args)?);
    }
    if args.models.is_empty() {
        for name in NETWORKS {
            for (precision, how) in PRECISIONS {
                let mut graph = zoo::by_name(name, 1).context("a network of the zoo")?;
                how.apply(&mut graph)?;
                let bytes = encode(&graph, EncodeOptions::default())
                    .with_context(|| format!("encoding {name}"))?
                    .bytes;
                models.extend(rows(
                    &format!("{name} {precision}"),
                    &bytes,
                    &choices,
                    &tuner,
                    args,
                )?);
            }
        }
    }
    let factors = tuner.factors().into_iter();
    let factors = factors.map(|(kernel, factor, problems)| Factor { kernel, factor, problems });
    let found = Found { file: FileTuner::file(), models, factors: factors.collect() };
    if json {
        text::json(&found)?;
    } else {
        found.print();
    }
    Ok(Outcome::Passed)
}

/// The best level of this machine, or those that are asked for.
fn choices(isas: &[String]) -> Result<Vec<RuntimeChoice>> {
    if isas.is_empty() {
        return Ok(chosen(Some("native"), None)?);
    }
    let mut choices = Vec::new();
    for isa in isas {
        choices.extend(chosen(Some("native"), Some(isa))?);
    }
    Ok(choices)
}

/// Tunes one model for each level and number of threads.
fn rows(
    name: &str,
    bytes: &[u8],
    choices: &[RuntimeChoice],
    tuner: &Arc<FileTuner>,
    args: &Args,
) -> Result<Vec<Row>> {
    let model =
        format::read(bytes, &Limits::default()).with_context(|| format!("reading {name}"))?;
    let mut rows = Vec::new();
    for choice in choices {
        for &threads in &args.threads {
            let report = tune(&model, choice, threads, tuner, args.seconds)
                .with_context(|| format!("tuning {name} for {}", choice.isa))?;
            rows.push(Row { model: name.to_owned(), report });
        }
    }
    Ok(rows)
}

impl Found {
    fn print(&self) {
        let cells: Vec<Vec<String>> = self.models.iter().map(Row::cells).collect();
        let head =
            ["model", "isa", "threads", "measured", "changed", "by estimate", "tuned", "gain"];
        print!("{}", text::columns(&head, &cells));
        for row in &self.models {
            for changed in &row.report.changed {
                let (from, to) = (&changed.estimated, &changed.tuned);
                println!("{} {}: {from} -> {to}", row.model, changed.node);
            }
        }
        let factor = |of: &Factor| {
            vec![of.kernel.clone(), format!("{:.2}", of.factor), of.problems.to_string()]
        };
        let cells: Vec<Vec<String>> = self.factors.iter().map(factor).collect();
        if !cells.is_empty() {
            print!("{}", text::columns(&["kernel", "time / estimate", "problems"], &cells));
        }
        match &self.file {
            Some(file) => println!("kept in {}", file.display()),
            None => println!("kept nowhere: there is no folder for the user's cache"),
        }
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let report = &self.report;
        vec![
            self.model.clone(),
            report.choice.isa.clone(),
            report.threads.to_string(),
            report.measured.to_string(),
            report.changed.len().to_string(),
            format!("{:.1} us", report.estimated_us),
            format!("{:.1} us", report.tuned_us),
            format!("{:.2}", report.estimated_us / report.tuned_us),
        ]
    }
}
