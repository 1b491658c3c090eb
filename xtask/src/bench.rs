//! `cargo xtask bench`: how long a model takes, on this machine, on a board, or, marked as such, by an emulator.
use crate::build;
use crate::process::say;
use crate::targets::{Board, Size, Target};
use crate::workspace::root;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

mod count;
pub(crate) mod gpu;
mod models;
mod peers;
mod picture;
mod place;
mod records;
mod roofline;
mod sensors;

use models::{Network, Precision};
use peers::Circumstances;
use place::Place;
pub(crate) use records::{Provenance, append};
use sensors::Sensors;

/// Measure the latency of models and print a table.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                                          (what the demo made, all levels of this machine)
  cargo xtask bench --models lenet-5,vgg-16 --isa sse41      (networks with initial weights, made for it)
  cargo xtask bench --peers                                  (the seven networks beside other runtimes, one core)
  cargo xtask bench --peers --isa sse41 --models lenet-5,squeezenet-1.1 --precision fp32,int8
  cargo xtask bench --peers --json peers.json --svg docs/src/images/peers.svg
  cargo xtask bench --target aarch64 --count --models lenet-5,squeezenet-1.1 --json counts.json
  cargo xtask bench --target aarch64 --count --peers --json counts.json --svg counts.svg --markdown counts.md
  cargo xtask bench --target aarch64 --count --peers --cpu cortex-a76 --models lenet-5 --only ncnn,mnn
  cargo xtask bench --target aarch64 --count --cpu max --isa dotprod --model lenet-5.embdl
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
    /// What is done to the weights of --models; without it, fp32, or all with --peers or --count.
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
    #[command(flatten)]
    count: count::Counting,
    /// Let our runtime measure which kernels are the fastest, where it has not yet; otherwise estimates choose, whatever was
    /// measured before.
    #[arg(long, conflicts_with_all = ["count", "peers", "roofline"])]
    tune: bool,
    /// Show what each layer of --models reaches of the core's measured peaks; x86 only.
    #[arg(long, requires = "models", conflicts_with = "peers")]
    roofline: bool,
    /// Write the records here; with --peers or --count, append them.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One measurement with where it comes from.
#[derive(Debug, Serialize)]
struct Measurement {
    model: String,
    precision: &'static str,
    file_bytes: u64,
    target: String,
    board: Option<String>,
    /// The emulated CPU, `native`, or `ssh`.
    place: String,
    /// `device`, `host` or `emulated`: an emulator's time says nothing about a board's.
    source: &'static str,
    /// What was asked for; 0 is as many as there are fast cores, and the scalar reference always has one.
    threads: usize,
    git: String,
    rustc: String,
    /// UTC.
    date: String,
    #[serde(skip_serializing_if = "Sensors::is_empty")]
    sensors: Sensors,
    /// What the runner printed, unchanged: one record for each runtime and instruction set.
    records: Vec<Value>,
}

impl Measurement {
    /// The records with the keys that comparisons with peers have.
    fn flat(&self) -> Vec<Value> {
        let flat = |record: &Value| {
            // Times of the runner are microseconds with a fraction.
            let ns = |key: &str| record[key].as_f64().map(|us| (us * 1e3).round());
            serde_json::json!({
                "model": self.model,
                "precision": self.precision,
                "runtime": record["runtime"],
                "isa": record["isa"],
                "threads": self.threads,
                "source": self.source,
                "board": self.board,
                "median_ns": ns("median_us"),
                "min_ns": ns("min_us"),
                "p90_ns": ns("p90_us"),
                "p99_ns": ns("p99_us"),
                "mad_ns": ns("mad_us"),
                "runs": record["runs"],
                "file_bytes": self.file_bytes,
                "peak_rss": record["peak_rss_bytes"],
                "sensors": self.sensors,
                "peers": [],
                "ratio_to_best_peer": null,
                "machine": record["machine"],
                "commit": self.git,
                "rustc": self.rustc,
                "date": self.date,
                "nodes": record["nodes"],
            })
        };
        self.records.iter().map(flat).collect()
    }
}

/// The part of the runner's record that the table shows.
#[derive(Debug, Deserialize)]
struct Record {
    runtime: String,
    isa: String,
    runs: u64,
    median_us: f64,
    p99_us: f64,
    mad_us: f64,
    arena_bytes: u64,
    /// 0 where the system does not say.
    peak_rss_bytes: u64,
    machine: Machine,
}

/// The part of the machine's description that is checked.
#[derive(Debug, Deserialize)]
struct Machine {
    emulated: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.count.count {
        return count(args);
    }
    if args.peers.peers {
        return compare(args);
    }
    if args.roofline {
        let networks = networks(&args.models, args, &[Precision::Fp32])?;
        let runner = build::programs("host")?.runner;
        return roofline::run(&networks, &runner, args.isa.as_deref(), args.peers.core);
    }
    let places = Place::all(&args.target, args.board.as_deref())?;
    let runner = if args.board.is_some() {
        build::runner(&args.target)?
    } else {
        build::programs(&args.target)?.runner
    };
    let networks = if args.models.is_empty() {
        let files = if args.model.is_empty() { demo_models()? } else { args.model.clone() };
        files.into_iter().map(Network::of_model).collect()
    } else {
        networks(&args.models, args, &[Precision::Fp32])?
    };
    let isa = args.isa.iter().flat_map(|isa| ["--isa".to_owned(), isa.clone()]);
    let tuning = if args.tune { "--tune" } else { "--untuned" };
    let options: Vec<String> =
        isa.chain(["--threads".to_owned(), args.threads.to_string(), tuning.to_owned()]).collect();
    let circumstances = Circumstances::now()?;
    let mut measurements = Vec::new();
    for place in &places {
        for network in &networks {
            for (precision, file) in &network.ours {
                let (records, sensors) = place.bench(&runner, file, &options)?;
                measurements.push(Measurement {
                    model: network.name.clone(),
                    precision: precision.name(),
                    file_bytes: file.metadata().map_or(0, |data| data.len()),
                    target: args.target.clone(),
                    board: args.board.clone(),
                    place: place.label().to_owned(),
                    source: place.source(),
                    threads: args.threads,
                    git: circumstances.provenance.commit.clone(),
                    rustc: circumstances.provenance.rustc.clone(),
                    date: circumstances.provenance.date.clone(),
                    sensors,
                    records,
                });
            }
        }
    }
    println!("{}", table(&measurements, Target::read(&args.target)?.max_size.arena)?);
    if let Some(file) = &args.json {
        let records: Vec<Value> = measurements.iter().flat_map(Measurement::flat).collect();
        append(file, &records)?;
        say(format!("appended {} records to {}", records.len(), file.display()));
    }
    // What an emulator says is of no interest later.
    let is_device = measurements.iter().all(|measurement| measurement.source == "device");
    if let Some(board) =
        args.board.as_deref().filter(|board| is_device && Board::read(board).is_ok())
    {
        let file = measurement_file(board, &circumstances.provenance.commit);
        let writing = || format!("writing {}", file.display());
        std::fs::create_dir_all(file.parent().unwrap_or(&file)).with_context(writing)?;
        let text = serde_json::to_string_pretty(&measurements)? + "\n";
        std::fs::write(&file, text).with_context(writing)?;
        say(format!("wrote {}", file.display()));
    }
    Ok(())
}

/// The instructions of each network.
fn count(args: &Args) -> Result<()> {
    if args.target != "aarch64" || args.threads != 1 {
        bail!("instructions are counted for --target aarch64, on one thread");
    }
    let networks = if args.peers.peers {
        compared(args)?
    } else if args.models.is_empty() {
        let files = if args.model.is_empty() { demo_models()? } else { args.model.clone() };
        files.into_iter().map(Network::of_model).collect()
    } else {
        networks(&args.models, args, &Precision::ALL)?
    };
    let setting = count::Setting {
        isa: args.isa.as_deref(),
        json: args.json.as_deref(),
        peers: args.peers.peers.then_some(&args.peers.only),
        svg: args.peers.svg.as_deref(),
    };
    count::run(&networks, &args.count, &setting)
}

/// The comparison with the peers.
fn compare(args: &Args) -> Result<()> {
    if args.target != "host" || args.board.is_some() {
        bail!(
            "peers take times on this machine only; for AArch64, --count counts their instructions"
        );
    }
    let networks = compared(args)?;
    let setting = peers::Setting {
        runner: &build::programs("host")?.runner,
        isa: args.isa.as_deref(),
        threads: args.threads,
        json: args.json.as_deref(),
    };
    peers::compare(&networks, &args.peers, &setting)
}

/// The networks that are compared with peers: those that are asked for, or the seven.
fn compared(args: &Args) -> Result<Vec<Network>> {
    if !args.model.is_empty() {
        return args.model.iter().map(|file| Network::of_file(file)).collect();
    }
    let all = models::ZOO.map(str::to_owned);
    networks(if args.models.is_empty() { &all } else { &args.models }, args, &Precision::ALL)
}

/// The networks of these names, in the precisions that are asked for, or else in these.
fn networks(names: &[String], args: &Args, precisions: &[Precision]) -> Result<Vec<Network>> {
    let programs = build::programs("host")?;
    let precisions = if args.precision.is_empty() { precisions } else { &args.precision };
    names.iter().map(|name| Network::of_zoo(name, precisions, &programs)).collect()
}

/// The models that the demo left, in a stable order.
pub(crate) fn demo_models() -> Result<Vec<PathBuf>> {
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

fn measurement_file(board: &str, git: &str) -> PathBuf {
    let name = format!("{git}.json");
    root().join("targets/boards").join(board).join("measurements").join(name)
}

/// Errors: a record lacks a field, contradicts where it was measured, or needs more memory than the target has for it.
fn table(measurements: &[Measurement], arena: Size) -> Result<String> {
    let mut text = format!(
        "{:<16} {:<10} {:<10} {:<8} {:<12} {:>12} {:>12} {:>9} {:>7} {:>12} {:>14}  source\n",
        "model",
        "precision",
        "runtime",
        "isa",
        "place",
        "median µs",
        "p99 µs",
        "MAD µs",
        "runs",
        "arena",
        "peak memory"
    );
    for measurement in measurements {
        for record in &measurement.records {
            let record = Record::deserialize(record)
                .with_context(|| format!("reading the record {record}"))?;
            let source = measurement.source;
            if record.machine.emulated != (source == "emulated") {
                bail!("the runner and we disagree on whether {} is {source}", measurement.model);
            }
            let needed = Size(record.arena_bytes);
            if needed > arena {
                bail!("{} needs an arena of {needed}, the target has {arena}", measurement.model);
            }
            text += &format!(
                "{:<16} {:<10} {:<10} {:<8} {:<12} {:>12.1} {:>12.1} {:>9.1} {:>7} {:>12} {:>14}  {source}\n",
                measurement.model,
                measurement.precision,
                record.runtime,
                record.isa,
                measurement.place,
                record.median_us,
                record.p99_us,
                record.mad_us,
                record.runs,
                needed.to_string(),
                Size(record.peak_rss_bytes).to_string(),
            );
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(emulated: bool, source: &'static str) -> Measurement {
        let record = format!(
            r#"{{"runtime":"arm","isa":"neon","runs":50,"median_us":123.4,"p99_us":130.0,"mad_us":0.5,"arena_bytes":2048,"peak_rss_bytes":4096,
                "machine":{{"emulated":{emulated}}},"nodes":[]}}"#
        );
        let record: Value = serde_json::from_str(&record).unwrap();
        Measurement {
            model: "lenet-5".into(),
            precision: "int8",
            file_bytes: 99,
            target: "aarch64".into(),
            board: None,
            place: "cortex-a57".into(),
            source,
            threads: 1,
            git: "abc".into(),
            rustc: "rustc 1.95.0".into(),
            date: "2026-01-01T00:00:00Z".into(),
            sensors: Sensors::default(),
            records: vec![record.clone(), record],
        }
    }

    #[test]
    fn every_row_says_where_it_is_from() {
        let measurements = [measured(true, "emulated"), measured(false, "device")];
        let text = table(&measurements, Size(2048)).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[0].contains("123.4") && rows[0].ends_with("4.0 KiB  emulated"), "{text}");
        assert!(rows[3].ends_with("device"), "{text}");
    }

    #[test]
    fn a_flat_record_has_the_keys_of_a_comparison() {
        let [record, _] = &measured(false, "device").flat()[..] else { panic!("two records") };
        assert_eq!(record["median_ns"], 123_400.0);
        assert_eq!((&record["source"], &record["isa"]), (&"device".into(), &"neon".into()));
        assert!(record["peers"].as_array().is_some_and(Vec::is_empty));
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
