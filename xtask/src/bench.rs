//! `cargo xtask bench`: how long a model takes, on this machine, on a board, or, marked as such, by an emulator.
use crate::process::{output, say};
use crate::targets::{Board, Reach, Size, Target};
use crate::workspace::{self, root};
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

mod models;
mod peers;
mod roofline;

use models::{Network, Precision};

/// Measure the latency of models and print a table.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                                          (what the demo made, all levels of this machine)
  cargo xtask bench --models lenet-5,vgg-16 --isa sse41      (networks with initial weights, made for it)
  cargo xtask bench --peers                                  (the seven networks beside other runtimes, one core)
  cargo xtask bench --peers --isa sse41 --models lenet-5,squeezenet-1.1 --precision fp32,int8
  cargo xtask bench --peers --json peers.json --svg docs/src/images/peers.svg
  cargo xtask bench --roofline --models squeezenet-1.1 --precision int8 --isa sse41
  cargo xtask bench --target aarch64 --board raspberry-pi-4  (EMBDL_BOARD_RASPBERRY_PI_4=user@host)

With --peers and --isa sse41 or avx2, the peers are held to that level too: their own libraries, in a copy in which every
`cpuid` is answered without what the level lacks. docs/src/measuring.md says how, and what the numbers mean.")]
pub(crate) struct Args {
    /// A page of `targets/`: host, aarch64, atom.
    #[arg(long, default_value = "host")]
    target: String,
    /// A folder of `targets/boards/`; its address is in `EMBDL_BOARD_<NAME>`, as `user@host`.
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// A model; without it, those that `cargo xtask demo` made. With --peers, an ONNX file stands beside it.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// Networks of the zoo with initial weights, made for this and kept in out/peers; `embdl zoo` lists them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "model")]
    models: Vec<String>,
    /// What is done to the weights of --models; without it, fp32, or all with --peers.
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    precision: Vec<Precision>,
    /// The level that our runtime is held to, and with sse41 and avx2 the peers too; without it, the best of this machine.
    #[arg(long)]
    isa: Option<String>,
    /// Threads of our runtime and of the peers; without --peers, 0 stands for as many as there are fast cores.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    #[command(flatten)]
    peers: peers::Options,
    /// Show what each layer of --models reaches of the core's measured peaks; x86 only.
    #[arg(long, requires = "models", conflicts_with = "peers")]
    roofline: bool,
    /// Write the records here; with --peers, append them.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One measurement with where it comes from.
#[derive(Debug, Serialize)]
struct Measurement {
    model: String,
    target: String,
    board: Option<String>,
    /// The emulated CPU, `native`, or `ssh`.
    place: String,
    /// `device` or `emulated`: an emulator's time says nothing about a board's.
    provenance: &'static str,
    /// What was asked for; 0 is as many as there are fast cores, and the scalar reference always has one.
    threads: usize,
    git: Option<String>,
    rustc: String,
    /// What the runner printed, unchanged: one record for each runtime and instruction set.
    records: Vec<Value>,
}

/// The part of the runner's record that the table shows.
#[derive(Debug, Deserialize)]
struct Record {
    runtime: String,
    isa: String,
    runs: u64,
    median_us: f64,
    mad_us: f64,
    arena_bytes: u64,
    machine: Machine,
}

/// The part of the machine's description that is checked.
#[derive(Debug, Deserialize)]
struct Machine {
    emulated: bool,
}

/// Where the runner is started.
enum Place {
    /// Here, by a command that goes before the program (empty: none).
    Here { label: String, prefix: Vec<String>, is_emulated: bool },
    /// On a board, by ssh.
    Board { address: String },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.peers.peers {
        return compare(args);
    }
    if args.roofline {
        let networks = networks(&args.models, args, &[Precision::Fp32])?;
        let runner = build::programs("host", "release")?.runner;
        return roofline::run(&networks, &runner, args.isa.as_deref(), args.peers.core);
    }
    let places = places(args)?;
    let runner = build::programs(&args.target, "release")?.runner;
    let models = match (&args.models[..], &args.model[..]) {
        ([], []) => demo_models()?,
        ([], files) => files.to_vec(),
        (names, _) => networks(names, args, &[Precision::Fp32])?
            .into_iter()
            .flat_map(|network| network.ours.into_iter().map(|(_, file)| file))
            .collect(),
    };
    let git = workspace::commit();
    let rustc = output(Command::new("rustc").arg("--version"))?.trim().to_owned();
    let mut measurements = Vec::new();
    let isa = args.isa.iter().flat_map(|isa| ["--isa".to_owned(), isa.clone()]);
    let options: Vec<String> =
        isa.chain(["--threads".to_owned(), args.threads.to_string()]).collect();
    for place in &places {
        for model in &models {
            let text = place.bench(&runner, model, &options)?;
            let records = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
            let records =
                records.with_context(|| format!("reading the records of {}", model.display()))?;
            measurements.push(Measurement {
                model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                target: args.target.clone(),
                board: args.board.clone(),
                place: place.label().to_owned(),
                provenance: if place.is_emulated() { "emulated" } else { "device" },
                threads: args.threads,
                git: git.clone(),
                rustc: rustc.clone(),
                records,
            });
        }
    }
    println!("{}", table(&measurements, Target::read(&args.target)?.max_size.arena)?);
    let text = serde_json::to_string_pretty(&measurements)? + "\n";
    let kept = args.board.as_deref().map(|board| measurement_file(board, git.as_deref()));
    for file in args.json.iter().chain(&kept) {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("creating {}", folder.display()))?;
        }
        std::fs::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
        say(format!("wrote {}", file.display()));
    }
    Ok(())
}

/// The comparison with the peers.
fn compare(args: &Args) -> Result<()> {
    if args.target != "host" || args.board.is_some() {
        bail!("peers are compared on this machine only so far: leave out --target and --board");
    }
    let networks = if args.model.is_empty() {
        let all = models::ZOO.map(str::to_owned);
        let names = if args.models.is_empty() { &all[..] } else { &args.models };
        networks(names, args, &Precision::ALL)?
    } else {
        args.model.iter().map(|file| Network::of_file(file)).collect::<Result<_>>()?
    };
    let setting = peers::Setting {
        runner: &build::programs("host", "release")?.runner,
        isa: args.isa.as_deref(),
        threads: args.threads,
        json: args.json.as_deref(),
    };
    peers::compare(&networks, &args.peers, &setting)
}

/// The networks of these names, in the precisions that are asked for, or else in these.
fn networks(names: &[String], args: &Args, precisions: &[Precision]) -> Result<Vec<Network>> {
    let programs = build::programs("host", "release")?;
    let precisions = if args.precision.is_empty() { precisions } else { &args.precision };
    names.iter().map(|name| Network::of_zoo(name, precisions, &programs)).collect()
}

impl Place {
    fn label(&self) -> &str {
        match self {
            Self::Here { label, .. } => label,
            Self::Board { .. } => "ssh",
        }
    }

    fn is_emulated(&self) -> bool {
        matches!(self, Self::Here { is_emulated: true, .. })
    }

    /// Runs the benchmark of one model with options of the runner and returns the record that it prints.
    fn bench(&self, runner: &Path, model: &Path, options: &[String]) -> Result<String> {
        say(format!("{} on {}", model.display(), self.label()));
        match self {
            Self::Here { prefix, .. } => {
                let mut words =
                    prefix.iter().map(Into::into).chain([runner.as_os_str().to_owned()]);
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words).arg("bench").arg(model).args(options);
                output(&mut command)
            }
            Self::Board { address } => {
                let folder = output(ssh(address).arg("mktemp -d"))?;
                let folder = folder.trim();
                let mut copy = Command::new("scp");
                copy.args(["-q", "-B"]).args([runner, model]).arg(format!("{address}:{folder}/"));
                output(&mut copy)?;
                let [runner, model] = [runner, model].map(|file| {
                    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
                });
                let options = options.join(" ");
                let line = format!(
                    "cd '{folder}' && ./'{runner}' bench './{model}' {options}; code=$?; rm -r '{folder}'; exit $code"
                );
                output(ssh(address).arg(line))
            }
        }
    }
}

fn ssh(address: &str) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-o", "BatchMode=yes", address, "--"]);
    command
}

fn places(args: &Args) -> Result<Vec<Place>> {
    if let Some(name) = &args.board {
        let board = Board::read(name)?;
        if board.target != args.target {
            bail!("{} belongs to the target {}, not {}", board.name, board.target, args.target);
        }
        let Reach::Ssh = board.reach;
        let variable = Board::address_variable(name);
        let address = std::env::var(&variable)
            .with_context(|| format!("set {variable} to user@host of your {}", board.name))?;
        return Ok(vec![Place::Board { address }]);
    }
    if Target::read(&args.target)?.triple.as_deref() == Some(crate::toolchain::AARCH64) {
        let runners = setup::aarch64()?.runners.into_iter();
        return Ok(runners
            .map(|runner| Place::Here {
                prefix: runner.command.split(' ').map(str::to_owned).collect(),
                label: runner.label,
                is_emulated: runner.is_emulated,
            })
            .collect());
    }
    Ok(vec![Place::Here { label: "native".into(), prefix: Vec::new(), is_emulated: false }])
}

/// The models that the demo left, in a stable order.
fn demo_models() -> Result<Vec<PathBuf>> {
    let mut folders = vec![root().join("out/demo")];
    let mut models = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "embdl") {
                models.push(path);
            }
        }
    }
    models.sort();
    if models.is_empty() {
        bail!("out/demo holds no model: give one by --model, or run `cargo xtask demo` first");
    }
    Ok(models)
}

fn measurement_file(board: &str, git: Option<&str>) -> PathBuf {
    let name = format!("{}.json", git.unwrap_or("unknown"));
    root().join("targets/boards").join(board).join("measurements").join(name)
}

/// Errors: a record lacks a field, contradicts where it was measured, or needs more memory than the target has for it.
fn table(measurements: &[Measurement], arena: Size) -> Result<String> {
    let mut text = format!(
        "{:<32} {:<10} {:<8} {:<12} {:>12} {:>9} {:>7} {:>12}  provenance\n",
        "model", "runtime", "isa", "place", "median µs", "MAD µs", "runs", "arena"
    );
    for measurement in measurements {
        for record in &measurement.records {
            let record = Record::deserialize(record)
                .with_context(|| format!("reading the record {record}"))?;
            let provenance = measurement.provenance;
            if record.machine.emulated != (provenance == "emulated") {
                bail!(
                    "the runner and we disagree on whether {} is {provenance}",
                    measurement.model
                );
            }
            let needed = Size(record.arena_bytes);
            if needed > arena {
                bail!("{} needs an arena of {needed}, the target has {arena}", measurement.model);
            }
            text += &format!(
                "{:<32} {:<10} {:<8} {:<12} {:>12.1} {:>9.1} {:>7} {:>12}  {provenance}\n",
                measurement.model,
                record.runtime,
                record.isa,
                measurement.place,
                record.median_us,
                record.mad_us,
                record.runs,
                needed.to_string(),
            );
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(emulated: bool, provenance: &'static str) -> Measurement {
        let record = format!(
            r#"{{"runtime":"arm","isa":"neon","runs":50,"median_us":123.4,"mad_us":0.5,"arena_bytes":2048,
                "machine":{{"emulated":{emulated}}},"nodes":[]}}"#
        );
        let record: Value = serde_json::from_str(&record).unwrap();
        Measurement {
            model: "lenet-5.embdl".into(),
            target: "aarch64".into(),
            board: None,
            place: "cortex-a57".into(),
            provenance,
            threads: 1,
            git: None,
            rustc: "rustc 1.95.0".into(),
            records: vec![record.clone(), record],
        }
    }

    #[test]
    fn every_row_says_where_it_is_from() {
        let measurements = [measured(true, "emulated"), measured(false, "device")];
        let text = table(&measurements, Size(2048)).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[0].contains("123.4") && rows[0].ends_with("2.0 KiB  emulated"), "{text}");
        assert!(rows[3].ends_with("device"), "{text}");
    }

    #[test]
    fn an_emulated_time_does_not_pass_for_a_devices() {
        let error = table(&[measured(true, "device")], Size(2048)).unwrap_err();
        assert!(error.to_string().contains("disagree"), "{error:#}");
    }

    #[test]
    fn an_arena_beyond_the_budget_and_a_record_without_latency_are_errors() {
        let error = table(&[measured(false, "device")], Size(2047)).unwrap_err();
        assert!(error.to_string().contains("needs an arena"), "{error:#}");
        let mut without = measured(false, "device");
        without.records[0].as_object_mut().unwrap().remove("median_us");
        let error = table(&[without], Size(2048)).unwrap_err();
        assert!(format!("{error:#}").contains("median_us"), "{error:#}");
    }
}
