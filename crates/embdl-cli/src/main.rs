//! The `embdl` command: train, compress, test, inspect, run, import, export. Never holds logic that a library should.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line program")]

mod commands;
mod data;
mod metadata;
mod progress;
mod samples;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Deep learning on small machines: train, compress, retest and run convolutional networks.
#[derive(Debug, Parser)]
#[command(name = "embdl", version, after_help = EXAMPLES)]
struct Cli {
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Say more: -v for what is done, -vv for details. `EMBDL_LOG` takes filters of the tracing crate.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains a network and writes it as ONNX.
    Train(commands::train::Args),
    /// Prunes, shares, quantizes and encodes a trained network, retraining it on the way; or, with --ptq, quantizes
    /// it without retraining.
    Compress(commands::compress::Args),
    /// Accuracy of an .embdl file on a complete test set, on every runtime of this machine.
    Test(commands::test::Args),
    /// How far two networks agree on the same images.
    Compare(commands::compare::Args),
    /// Prints an .embdl or ONNX file layer by layer.
    Inspect(commands::inspect::Args),
    /// Runs an .embdl file on photographs, or on an image of a test set.
    Run(commands::run::Args),
    /// Turns an ONNX file, or PyTorch or safetensors weights of a known network, into an .embdl file of the same floats.
    Import(commands::convert::ImportArgs),
    /// Turns an .embdl file into ONNX with the values it stands for.
    Export(commands::convert::ExportArgs),
    /// Measures kernels on this machine, so that models load with the fastest ones.
    Tune(commands::tune::Args),
    /// The networks known by name.
    Zoo(commands::zoo::Args),
    /// Data sets.
    Data(commands::data::Args),
    /// The whole way: train, compress, retrain, retest, report.
    Pipeline(commands::pipeline::Args),
}

const EXAMPLES: &str = "\
Examples:
  embdl train --network lenet-5 --dataset fashion-mnist --out lenet-5.onnx
  embdl compress lenet-5.onnx --network lenet-5 --dataset fashion-mnist --out lenet-5.embdl
  embdl inspect lenet-5.embdl
  embdl import mobilenet_v2.pth --network mobilenet-v2 --preprocess imagenet --labels names.txt -o mobilenet-v2.embdl
  embdl run mobilenet-v2.embdl cat.jpg
  embdl test lenet-5.embdl --dataset fashion-mnist --json
  embdl pipeline --network lenet-300-100 --dataset fashion-mnist --out out

Exit status: 0 if all is well, 1 if something failed, 2 if the command line is wrong, 3 if a check did not pass
(outputs that differ between runtimes, an accuracy below --min-accuracy, an agreement below --at-least).";

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Passed,
    /// A check did not pass.
    CheckFailed,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.verbose);
    let result = match &cli.command {
        Command::Train(args) => commands::train::run(args, cli.json),
        Command::Compress(args) => commands::compress::run(args, cli.json),
        Command::Test(args) => commands::test::run(args, cli.json),
        Command::Compare(args) => commands::compare::run(args, cli.json),
        Command::Inspect(args) => commands::inspect::run(args, cli.json),
        Command::Run(args) => commands::run::run(args, cli.json),
        Command::Import(args) => commands::convert::import(args, cli.json),
        Command::Export(args) => commands::convert::export(args, cli.json),
        Command::Tune(args) => commands::tune::run(args, cli.json),
        Command::Zoo(args) => commands::zoo::run(args, cli.json),
        Command::Data(args) => commands::data::run(args, cli.json),
        Command::Pipeline(args) => commands::pipeline::run(args, cli.json),
    };
    match result {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(3),
        Err(error) => {
            eprintln!("embdl: {}", text::causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn log(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = tracing_subscriber::EnvFilter::try_from_env("EMBDL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
