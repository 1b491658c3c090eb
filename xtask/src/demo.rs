//! `cargo xtask demo`: from data to verified, compressed files that run on two instruction sets, by one command.
use crate::process::{say, shown};
use crate::setup::{AARCH64_LINUX, Cross};
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Train, compress, retrain and retest two networks; ends with a table and a report page.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The long schedule, which gets the best numbers.
    #[arg(long)]
    full: bool,
    /// Write the results here as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the files and the report go.
    #[arg(long, value_name = "DIR", default_value = "out/demo")]
    out: PathBuf,
    /// Go on where a killed run stopped.
    #[arg(long)]
    resume: bool,
}

/// What `embdl` ends with when a check of its results failed.
const CHECK_FAILED: i32 = 3;

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let aarch64 = setup::cross(&AARCH64_LINUX)?;
    setup::dataset();
    say("building the embdl command and the programs for this machine");
    let host = build::programs("host")?;
    say("building the runner for AArch64");
    let board = build::programs("aarch64")?;
    say(format!("ready after {:.1} s", start.elapsed().as_secs_f64()));

    let embdl = host.embdl.context("the host build brought no embdl")?;
    let mut command = pipeline(&embdl, &board.runner, &aarch64, args);
    let line = shown(&command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(CHECK_FAILED) => {
            bail!("the files were made, yet a retest does not agree; see the table")
        }
        _ => bail!(
            "the pipeline ended with {status}; with --resume the demo goes on where it stopped"
        ),
    }
}

/// The command line of `embdl pipeline`. It runs in the caller's folder, so paths mean what the caller meant.
fn pipeline(embdl: &Path, runner: &Path, aarch64: &Cross, args: &Args) -> Command {
    let mut command = Command::new(embdl);
    command.arg("pipeline");
    command.args(["--schedule", if args.full { "full" } else { "short" }]);
    command.args(["--dataset", "fashion-mnist"]);
    command.args(["--network", "lenet-300-100", "--network", "lenet-5"]);
    command.arg("--out").arg(&args.out);
    if let Some(json) = &args.json {
        command.arg("--summary").arg(json);
    }
    if args.resume {
        command.arg("--resume");
    }
    for cpu in &aarch64.runners {
        let label = &cpu.label;
        // The scalar reference runs on this machine; the CPU without dotprod covers plain NEON.
        let isa = if label == "max" { " --isa dotprod" } else { "" };
        let retest = format!("{label}={} {} --runtime arm{isa}", cpu.command, runner.display());
        command.args(["--retest", &retest]);
    }
    command
}
