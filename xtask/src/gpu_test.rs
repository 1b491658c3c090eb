//! `cargo xtask gpu-test`: what needs an NVIDIA GPU: the conformance suite, the demo networks' accuracy, times beside peers.
use crate::bench::{self, gpu};
use crate::process::{cargo, first_program, output, run as run_shown, say, warn};
use crate::{build, setup};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Test and time the CUDA runtime on the GPU of this machine.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask gpu-test                                       (all of it; records go to out/gpu-test.json)
  cargo xtask gpu-test --only conformance
  cargo xtask gpu-test --only bench --models lenet-5,vgg-16 --batch 1 --python ~/torch/bin/python

Ends with 3 where there is no driver or no GPU that serves, with 1 where something failed. Peers are those of the Python that is
given or found: PyTorch, its compiler, ONNX Runtime; what is missing there is told and left out.")]
pub(crate) struct Args {
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
    /// Networks of the zoo to time; without it, the seven that are compared on CPUs.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Samples of a run.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_values_t = [1, 8])]
    batch: Vec<usize>,
    /// Turns of about 60 ms that each program gets.
    #[arg(long, default_value_t = 15)]
    turns: usize,
    /// The Python that has PyTorch or ONNX Runtime with CUDA, and `onnx`.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// A folder with data sets, for the accuracy.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Append the records here.
    #[arg(long, value_name = "FILE", default_value = "out/gpu-test.json")]
    json: PathBuf,
}

/// A part of what is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Every problem of the suite.
    Conformance,
    /// The networks of the demo, on all test pictures.
    Accuracy,
    /// Networks of the zoo, beside peers.
    Bench,
}

/// What this ends with where there is nothing to test on.
const NO_GPU: u8 = 3;
/// The driver's library.
const DRIVER: &str = "libcuda.so.1";
/// Folders where drivers put it, beside those that the loader knows: of Jetsons, and of Linux on Windows.
const FOLDERS: [&str; 4] = [
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
];

/// What the runner says of a level of a device.
#[derive(Debug, Deserialize)]
struct Level {
    isa: String,
    machine: Value,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Before minutes of building.
    let Some(driver) = driver(std::env::var_os("LD_LIBRARY_PATH").as_deref()) else {
        eprintln!(
            "xtask: this machine has no NVIDIA driver: {DRIVER} is neither in LD_LIBRARY_PATH nor where the loader or drivers have it"
        );
        return Ok(ExitCode::from(NO_GPU));
    };
    say(format!("the driver is {}", driver.display()));
    let is_wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let programs = build::host_with("jetson", is_wanted(Part::Bench))?;
    let runner = programs.runner.clone();
    let levels = match levels(&runner) {
        Ok(levels) => levels,
        Err(error) => {
            eprintln!("xtask: no GPU to test on: {error:#}");
            return Ok(ExitCode::from(NO_GPU));
        }
    };
    let best = levels.last().context("the GPU has no level")?;
    let source = if best.machine["emulated"] == true { "emulated" } else { "device" };
    say(format!("the GPU is {}", best.machine["cpu"].as_str().unwrap_or("unknown")));
    let mut failed = Vec::new();
    let record = |part: &str, values: Value| -> Result<()> {
        let mut record = json!({ "kind": part, "source": source, "gpu": best.machine });
        merge(&mut record, values);
        merge(&mut record, serde_json::to_value(bench::Provenance::now()?)?);
        bench::append(&args.json, &[record])
    };
    if is_wanted(Part::Conformance) {
        let start = Instant::now();
        let passed = conformance();
        let seconds = start.elapsed().as_secs_f64();
        record("conformance", json!({ "passed": passed.is_ok(), "seconds": seconds }))?;
        failed.extend(passed.err());
    }
    if is_wanted(Part::Accuracy) {
        match accuracy(&runner, best, args) {
            Ok(found) => {
                for one in found {
                    if one["agrees"] != true {
                        failed
                            .push(anyhow::anyhow!("{} is not as accurate as it was", one["model"]));
                    }
                    record("accuracy", one)?;
                }
            }
            Err(error) => failed.push(error.context("the accuracy of the demo networks")),
        }
    }
    if is_wanted(Part::Bench) {
        let python = args.python.clone().or_else(|| first_program(&["python3", "python"]));
        let setting = gpu::Setting {
            programs: &programs,
            level: &best.isa,
            networks: args.models.clone(),
            batches: &args.batch,
            turns: args.turns,
            python: python.as_deref(),
            source,
        };
        let mut all = Vec::new();
        gpu::compare(&setting, |found| {
            print!("{}", gpu::table(found));
            all.extend_from_slice(found);
            found.iter().try_for_each(|one| record("bench", serde_json::to_value(one)?))
        })?;
        println!("\n{}", gpu::table(&all));
    }
    say(format!("records are in {}", args.json.display()));
    for error in &failed {
        eprintln!("xtask: FAILED: {error:#}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the driver's library is, if it is anywhere: in a folder of the path, or where loader and drivers have it.
fn driver(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let known = folders.chain(FOLDERS.map(PathBuf::from)).map(|folder| folder.join(DRIVER));
    known.chain(of_loader()).find(|file| file.is_file())
}

/// Where the loader of this machine has it.
fn of_loader() -> Option<PathBuf> {
    // The program is not on everybody's path.
    let programs = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"];
    let list = programs.iter().find_map(|name| output(Command::new(name).arg("-p")).ok())?;
    let line = list.lines().find(|line| line.trim_start().starts_with(DRIVER))?;
    line.split("=> ").nth(1).map(|file| PathBuf::from(file.trim()))
}

/// The levels of the GPU, the best one last.
fn levels(runner: &Path) -> Result<Vec<Level>> {
    let listed = output(Command::new(runner).args(["list", "--runtime", "jetson"]))?;
    let levels = listed.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>();
    levels.context("reading what the runner lists")
}

fn conformance() -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--package", "embdl-tests", "--features", "embdl-tests/gpu"]);
    run_shown(command.args(["--test", "conformance_gpu"])).context("the conformance suite")
}

/// Each model of the demo on all test pictures, on the GPU and on this machine's CPU.
fn accuracy(runner: &Path, best: &Level, args: &Args) -> Result<Vec<Value>> {
    let models = match bench::demo_models() {
        Ok(models) => models,
        Err(error) => {
            warn(format!("the accuracy is SKIPPED: {error:#}"));
            return Ok(Vec::new());
        }
    };
    setup::dataset();
    let test = |model: &Path, on: &[&str]| -> Result<Value> {
        let mut command = Command::new(runner);
        command.arg("test").arg(model).args(["--runtime"]).args(on);
        if let Some(data) = &args.data {
            command.arg("--data").arg(data);
        }
        let text = output(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("reading {text}"))
    };
    let each = |model: &PathBuf| -> Result<Value> {
        let on_gpu = test(model, &["jetson", "--isa", &best.isa])?;
        let on_cpu = test(model, &["native"])?;
        say(format!("{}: {} on the GPU", model.display(), on_gpu["accuracy"]));
        Ok(json!({
            "model": model.file_stem().unwrap_or_default().to_string_lossy(),
            "isa": best.isa,
            "accuracy": on_gpu["accuracy"],
            "accuracy_on_cpu": on_cpu["accuracy"],
            "agrees": agrees(&on_gpu, &on_cpu)?,
        }))
    };
    models.iter().map(each).collect()
}

/// Whether two retests have the same outputs, or, of floats whose last bits differ, the same accuracy to a picture in a thousand.
fn agrees(one: &Value, other: &Value) -> Result<bool> {
    let accuracy = |report: &Value| {
        report["accuracy"].as_f64().with_context(|| format!("no accuracy in {report}"))
    };
    let is_same =
        one["outputs_sha256"].is_string() && one["outputs_sha256"] == other["outputs_sha256"];
    Ok(is_same || (accuracy(one)? - accuracy(other)?).abs() <= 0.001)
}

/// Adds the keys of one object to another.
fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_found_in_the_path() {
        let folder = std::env::temp_dir().join(format!("embdl-driver-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = std::env::join_paths([Path::new("/nonexistent"), &folder]).unwrap();
        let without = driver(Some(&path));
        let file = folder.join(DRIVER);
        std::fs::write(&file, "").unwrap();
        let found = driver(Some(&path));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_ne!(without, Some(file.clone()));
        assert_eq!(found, Some(file));
    }

    #[test]
    fn a_runner_without_a_gpu_says_why() {
        let folder = std::env::temp_dir().join(format!("embdl-levels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let runner = folder.join("runner");
        let write = |script: &str| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&runner, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&runner, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("echo 'no driver' >&2; exit 1");
        let refused = levels(&runner);
        write(r#"echo '{"runtime":"jetson","isa":"sm62","machine":{"cpu":"x","emulated":false}}'"#);
        let there = levels(&runner);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(refused.unwrap_err().to_string().contains("no driver"));
        assert_eq!(there.unwrap()[0].isa, "sm62");
    }

    #[test]
    fn floats_agree_by_accuracy_and_integers_by_their_outputs() {
        let report =
            |accuracy: f64, sum: &str| json!({ "accuracy": accuracy, "outputs_sha256": sum });
        assert!(agrees(&report(0.9, "a"), &report(0.9005, "b")).unwrap());
        assert!(!agrees(&report(0.9, "a"), &report(0.95, "b")).unwrap());
        assert!(agrees(&report(0.9, "a"), &report(0.9, "a")).unwrap());
        assert!(agrees(&json!({}), &json!({})).is_err());
    }
}
