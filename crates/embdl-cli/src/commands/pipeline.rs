//! `embdl pipeline`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use embdl_bench::Machine;
use embdl_flow::Target;
use embdl_flow::pipeline::{self, Job};
use embdl_flow::record::{Provenance, RunRecord};
use embdl_flow::report;
use embdl_flow::retest::Foreign;
use embdl_train::Device;

use super::{RecipeArgs, write};
use crate::data::{self, DataArgs};
use crate::progress::Bars;
use crate::{Outcome, text};

/// Arguments of `embdl pipeline`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  embdl pipeline --network lenet-300-100 --network lenet-5 --out out
  embdl pipeline --network lenet-5 --dataset mnist --schedule full --seed 1 --seed 2 --seed 3 --out out
  embdl pipeline --recipe my.toml --out out --resume
  embdl pipeline --network mobilenet-v2-cifar10 --data my-folder --schedule full --out out
  embdl pipeline --network lenet-5 --retest 'pi=ssh pi ./embdl-runner' --out out
  embdl pipeline --network lenet-5 --target myriad-ma2450 --out out   (also out/.../lenet-5.blob for a Neural Compute Stick)
  embdl pipeline --network lenet-5 --print-recipe > my.toml")]
pub(crate) struct Args {
    /// Network of the zoo; may be given several times.
    #[arg(long, default_value = "lenet-5")]
    network: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Seed; may be given several times, for a mean.
    #[arg(long, default_value = "1")]
    seed: Vec<u64>,
    /// Folder for files, state and the report.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Also write the summary as JSON here.
    #[arg(long = "summary", value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Also retest with this program, as LABEL=COMMAND; one that begins with qemu- counts as emulated.
    #[arg(long, value_name = "LABEL=COMMAND")]
    retest: Vec<String>,
    /// Where training runs: cpu, cuda, cuda:N, wgpu. A GPU needs a program built with that feature.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Go on where an interrupted run stopped.
    #[arg(long)]
    resume: bool,
    /// Print the recipe and stop.
    #[arg(long)]
    print_recipe: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<Outcome> {
    let mut foreign = Vec::new();
    for text in &args.retest {
        let Some(parsed) = Foreign::parse(text) else {
            bail!("--retest {text:?} is not LABEL=COMMAND")
        };
        foreign.push(parsed);
    }
    let begun = Instant::now();
    let mut networks = Vec::new();
    let mut said = Vec::new();
    let mut all_integer = true;
    let bars = Bars::new();
    for name in &args.network {
        let recipe = args.recipe.load(name, args.data.dataset(name))?;
        if args.print_recipe {
            print!("{}", recipe.to_toml()?);
            continue;
        }
        all_integer &= recipe.quantize.is_some();
        let split = data::load_for(&recipe, &args.data)?;
        for (at, &seed) in args.seed.iter().enumerate() {
            let job = Job {
                recipe: recipe.clone(),
                seed,
                out: args.out.clone(),
                resume: args.resume,
                start: None,
                foreign: foreign.clone(),
                data_dir: args.data.data.clone(),
                device: args.device,
                details: at == 0,
            };
            let mut network = pipeline::run(&job, &split, &bars)?;
            if args.recipe.target == Some(Target::MyriadMa2450) {
                said.push(super::stick::finish(&mut network, split.test.for_report(), &bars)?);
            }
            networks.push(network);
        }
    }
    if args.print_recipe {
        return Ok(Outcome::Passed);
    }
    let record = RunRecord {
        seconds: begun.elapsed().as_secs_f64(),
        command: command_line(),
        provenance: provenance(),
        networks,
    };
    let (page, full) = (args.out.join("report.html"), args.out.join("report.json"));
    write(&page, report::html(&record).as_bytes())?;
    write(&full, &serde_json::to_vec_pretty(&record).context("writing the record")?)?;
    if let Some(path) = &args.summary {
        write(
            path,
            &serde_json::to_vec_pretty(&report::summary_json(&record))
                .context("writing the summary")?,
        )?;
    }
    if json {
        text::json(&report::summary_json(&record))?;
    } else {
        print!("{}", report::table(&record));
        for network in &record.networks {
            println!("file    {}", network.compressed.path);
        }
        for line in said {
            println!("{line}");
        }
        println!("report  {}\nrecord  {}", page.display(), full.display());
    }
    // Float outputs may differ in their last bits; integers never.
    Ok(if !all_integer || report::consistent(&record) {
        Outcome::Passed
    } else {
        Outcome::CheckFailed
    })
}

/// The command as it was typed.
pub(crate) fn command_line() -> String {
    let quoted = |word: String| {
        if word.contains([' ', '\'', '"', '*']) { format!("'{word}'") } else { word }
    };
    let words: Vec<String> = std::env::args().skip(1).map(quoted).collect();
    format!("embdl {}", words.join(" "))
}

/// Versions and machine.
pub(crate) fn provenance() -> Provenance {
    let machine = Machine::detect();
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("EMBDL_COMMIT").map(str::to_owned),
        rustc: option_env!("EMBDL_RUSTC").unwrap_or("unknown").into(),
        cpu: machine.cpu,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        system: format!("{} {}", machine.system, machine.arch),
    }
}
