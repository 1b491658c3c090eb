//! The small program that goes to a board: retests and times `.embdl` files there.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "results of a command-line program")]

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use embdl_bench::{
    Clock, FileTuner, Greeting, Input, Machine, RuntimeChoice, Tune, answer, check, chosen,
    install, nanoseconds, open, retest, roll_back, serve, stay_on_fast_cores, time, tune,
};
use embdl_core::format::{self, Limits};
use embdl_core::model::Model;
use embdl_core::runtime::{LoadOptions, Session, Tuner};
use embdl_data::{Dataset, catalog};
use embdl_file::ModelFile;

const HELP: &str = "\
Retests and times .embdl files where it runs.

Usage:
  embdl-runner list  [--runtime NAME]
  embdl-runner test  MODEL [--dataset NAME] [--data DIR] [--runtime NAME] [--isa LEVEL] [--images N] [--threads N]
  embdl-runner bench MODEL [--dataset NAME] [--data DIR] [--runtime NAME] [--isa LEVEL] [--seconds S] [--threads N]
                     [--batch N] [--tune | --untuned]
  embdl-runner serve MODEL [--runtime NAME] [--isa LEVEL] [--threads N] [--batch N] [--tune | --untuned]
  embdl-runner tune  MODEL [--runtime NAME] [--isa LEVEL] [--threads N] [--seconds S] [--again]
  embdl-runner answer MODEL [--runtime NAME] [--isa LEVEL]
  embdl-runner install|check|roll-back FOLDER

Without --runtime and --isa every runtime at every level that this machine has takes its turn. Each result is one line
of JSON. `serve` runs as often as each line of its input says and answers with the times: for benches in which
programs take turns. `answer` prints what the model
answers to a known input. `install` puts what arrived in FOLDER/incoming into the slot that is not in use and turns
FOLDER/current to it, if each model answers as the .answer beside it says; `check` tests the version in use, and
`roll-back` turns to the one before. A loss of power leaves one of the two. `tune` measures the kernels that each layer can
run on, once for a problem and a machine, and says what that changes; `bench` and `serve` use what is known, with --tune
measure what is not, and with --untuned choose by estimates. --batch N has a run take N samples. --threads 0 is as many as there are fast cores; the scalar reference has one. EMBDL_EMULATED=MODEL says that an emulator of that CPU runs this, and marks the results.

Examples:
  embdl-runner test lenet-5.embdl --dataset fashion-mnist
  qemu-aarch64 -cpu cortex-a57 embdl-runner test lenet-5.embdl --dataset fashion-mnist --isa neon
  embdl-runner bench lenet-5.embdl --runtime native --seconds 2
  embdl-runner tune lenet-5.embdl --runtime native --threads 0
  embdl-runner answer lenet-5.embdl > lenet-5.answer
  embdl-runner check embdl
";

/// A line of `list`.
#[derive(serde::Serialize)]
struct Listed {
    #[serde(flatten)]
    choice: RuntimeChoice,
    /// Of a GPU, which is another than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
}

#[derive(Default)]
struct Arguments {
    command: String,
    model: Option<PathBuf>,
    dataset: Option<String>,
    data: Option<PathBuf>,
    runtime: Option<String>,
    isa: Option<String>,
    images: Option<usize>,
    seconds: Option<f64>,
    threads: Option<usize>,
    batch: Option<usize>,
    tune: bool,
    untuned: bool,
    again: bool,
}

fn main() -> Result<()> {
    let arguments = parse()?;
    stay_on_fast_cores();
    match arguments.command.as_str() {
        "list" => {
            for choice in wanted(&arguments)? {
                let machine = choice.is_gpu().then(|| Machine::of(&choice));
                println!("{}", serde_json::to_string(&Listed { choice, machine })?);
            }
            Ok(())
        }
        "test" | "bench" => run(&arguments),
        "serve" => serve_requests(&arguments),
        "tune" => measure_kernels(&arguments),
        "answer" => record_answer(&arguments),
        "install" | "check" | "roll-back" => version(&arguments),
        other => bail!("no command {other:?}\n\n{HELP}"),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.model.as_ref().with_context(|| format!("no MODEL given\n\n{HELP}"))?;
    let file = ModelFile::open(path).with_context(|| format!("reading {}", path.display()))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {}", path.display()))?;
    file.release_all();
    // Latency needs no data, so noise will do where none is named.
    let is_bench = arguments.command == "bench";
    let wants_data = !is_bench || arguments.dataset.is_some();
    let dataset = wants_data.then(|| dataset(arguments)).transpose()?;
    for choice in wanted(arguments)? {
        // A GPU is timed without looking at its clock between nodes; their times come from runs of their own.
        let is_profiled = is_bench && !choice.is_gpu();
        let clock = is_profiled.then_some(nanoseconds as fn() -> u64);
        let mut session = load(&model, &file, &choice, clock, arguments)?;
        let line = match &dataset {
            Some(dataset) if !is_bench => {
                serde_json::to_string(&retest(session.as_mut(), &choice, dataset, None, |_| {})?)?
            }
            _ => {
                let input = input(session.as_ref(), dataset.as_ref(), arguments)?;
                let seconds = arguments.seconds.unwrap_or(1.0);
                let mut report = time(session.as_mut(), &choice, &input, seconds)?;
                if !is_profiled {
                    drop(session);
                    let mut session = load(&model, &file, &choice, Some(nanoseconds), arguments)?;
                    report.nodes = time(session.as_mut(), &choice, &input, seconds / 5.0)?.nodes;
                }
                serde_json::to_string(&report)?
            }
        };
        println!("{line}");
    }
    Ok(())
}

/// The first image of the data set for every sample, or noise.
fn input(session: &dyn Session, dataset: Option<&Dataset>, arguments: &Arguments) -> Result<Input> {
    let Some(dataset) = dataset else { return Ok(Input::random(session)?) };
    let mut input = Input::new(session, dataset, None)?;
    input.fill(dataset, &vec![0; arguments.batch.unwrap_or(1)]);
    Ok(input)
}

/// The first of the chosen runtimes answers requests.
fn serve_requests(arguments: &Arguments) -> Result<()> {
    let path = arguments.model.as_ref().with_context(|| format!("no MODEL given\n\n{HELP}"))?;
    let choice = wanted(arguments)?.swap_remove(0);
    // As peers do, loading begins with the file.
    let start = nanoseconds();
    let file = ModelFile::open(path).with_context(|| format!("reading {}", path.display()))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {}", path.display()))?;
    file.release_all();
    let mut session = load(&model, &file, &choice, None, arguments)?;
    let load_ns = nanoseconds().saturating_sub(start);
    drop(model);
    drop(file);
    let greeting = Greeting {
        name: format!("{} {}", choice.runtime, choice.isa),
        version: env!("CARGO_PKG_VERSION").into(),
        load_ns,
        peak_rss: 0,
    };
    let (stdin, stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    // While a GPU computes, the thread that waits for it need not have the core.
    let is_of_one_thread = arguments.threads.is_none_or(|threads| threads == 1);
    let clock = if is_of_one_thread && !choice.is_gpu() { Clock::OfOneThread } else { Clock::Wall };
    Ok(serve(session.as_mut(), greeting, clock, stdin, stdout)?)
}

/// Measures the kernels of each of the chosen runtimes but the scalar one, which has no choice.
fn measure_kernels(arguments: &Arguments) -> Result<()> {
    let path = arguments.model.as_ref().with_context(|| format!("no MODEL given\n\n{HELP}"))?;
    let file = ModelFile::open(path).with_context(|| format!("reading {}", path.display()))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {}", path.display()))?;
    let tuner = Arc::new(FileTuner::of_this_machine(Tune::Measure));
    if arguments.again {
        tuner.forget();
    }
    let seconds = arguments.seconds.unwrap_or(1.0);
    for choice in wanted(arguments)?.iter().filter(|choice| choice.runtime != "reference") {
        let report = tune(&model, choice, arguments.threads.unwrap_or(1), &tuner, seconds)
            .with_context(|| format!("tuning for {} at {}", choice.runtime, choice.isa))?;
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

/// What the first of the chosen runtimes answers, the scalar reference where none is named.
fn record_answer(arguments: &Arguments) -> Result<()> {
    let path = arguments.model.as_ref().with_context(|| format!("no MODEL given\n\n{HELP}"))?;
    let choice = wanted(arguments)?.swap_remove(0);
    let file = ModelFile::open(path).with_context(|| format!("reading {}", path.display()))?;
    let model = format::read(file.bytes(), &Limits::default())
        .with_context(|| format!("reading {}", path.display()))?;
    let mut session = load(&model, &file, &choice, None, arguments)?;
    println!("{}", serde_json::to_string(&answer(session.as_mut())?)?);
    Ok(())
}

/// Installs, checks or turns back a version of this program and its models.
fn version(arguments: &Arguments) -> Result<()> {
    let root = arguments.model.as_ref().with_context(|| format!("no FOLDER given\n\n{HELP}"))?;
    // Each step is printed when it is done, for those who cut the power in between.
    let version = match arguments.command.as_str() {
        "install" => install(root, |step| println!("{step}")),
        "check" => check(root),
        _ => roll_back(root),
    };
    println!("{}", serde_json::to_string(&version?)?);
    Ok(())
}

fn load(
    model: &Model<'_>,
    file: &ModelFile,
    choice: &RuntimeChoice,
    clock: Option<fn() -> u64>,
    arguments: &Arguments,
) -> Result<Box<dyn Session>> {
    // What is answered must not depend on what was measured.
    let is_timed = matches!(arguments.command.as_str(), "bench" | "serve") && !arguments.untuned;
    let how = if arguments.tune { Tune::Measure } else { Tune::Remember };
    let tuner = is_timed
        .then(|| FileTuner::of_this_machine(how))
        .map(|tuner| Arc::new(tuner) as Arc<dyn Tuner>);
    let isa = Some(choice.isa.clone());
    let threads = choice.threads(arguments.threads.unwrap_or(1));
    let release = Some(file.releaser());
    let batch = arguments.batch.unwrap_or(1);
    let options =
        LoadOptions { batch, isa, threads, clock, tuner, release, ..LoadOptions::default() };
    let loaded = open(&choice.runtime)?.load(model, &options);
    loaded.with_context(|| format!("loading onto {} at {}", choice.runtime, choice.isa))
}

/// The runtimes and levels that the arguments leave.
fn wanted(arguments: &Arguments) -> Result<Vec<RuntimeChoice>> {
    Ok(chosen(arguments.runtime.as_deref(), arguments.isa.as_deref())?)
}

fn dataset(arguments: &Arguments) -> Result<Dataset> {
    let name = arguments.dataset.as_deref().unwrap_or("fashion-mnist");
    let options = catalog::LoadOptions {
        search: catalog::SearchPath::from_env(arguments.data.clone()),
        ..catalog::LoadOptions::default()
    };
    let split = catalog::load(name, &options).with_context(|| format!("loading {name}"))?;
    let test = split.test.for_report();
    Ok(arguments.images.map_or_else(|| test.clone(), |images| test.head(images)))
}

fn parse() -> Result<Arguments> {
    use lexopt::prelude::*;
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                std::process::exit(0);
            }
            Long("dataset") => arguments.dataset = Some(parser.value()?.string()?),
            Long("data") => arguments.data = Some(parser.value()?.into()),
            Long("runtime") => arguments.runtime = Some(parser.value()?.string()?),
            Long("isa") => arguments.isa = Some(parser.value()?.string()?),
            Long("images") => arguments.images = Some(parser.value()?.parse()?),
            Long("threads") => arguments.threads = Some(parser.value()?.parse()?),
            Long("batch") => arguments.batch = Some(parser.value()?.parse()?),
            Long("tune") => arguments.tune = true,
            Long("untuned") => arguments.untuned = true,
            Long("again") => arguments.again = true,
            Long("seconds") => arguments.seconds = Some(parser.value()?.parse()?),
            Value(value) if arguments.command.is_empty() => arguments.command = value.string()?,
            Value(value) if arguments.model.is_none() => arguments.model = Some(value.into()),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if arguments.command.is_empty() {
        bail!("no command given\n\n{HELP}");
    }
    if arguments.batch.is_some() && !["bench", "serve"].contains(&&*arguments.command) {
        bail!("--batch is for bench and serve");
    }
    if arguments.tune && arguments.untuned {
        bail!("--tune and --untuned contradict each other");
    }
    Ok(arguments)
}
